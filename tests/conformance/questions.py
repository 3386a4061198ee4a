"""What the engine relies on of DynamoDB: each question with its calls, AWS's documented answer, and known differences.

The answers of several calls are joined by `;`. A database may differ only where `differs` has its very answer, and the
reason why the engine is right all the same. Neither database cancels a transaction with TransactionConflict, which
AWS can: `tests/unit/aws` has what the engine does then.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from tests.conformance.calls import (
    ALL_OLD,
    ITEMS,
    OWN,
    Call,
    batch_delete,
    batch_get,
    check,
    delete,
    get,
    put,
    query,
    records,
    transact,
    update,
    wire,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

MINISTACK: Final = "ministack"
DYNAMODB_LOCAL: Final = "DynamoDB Local"


@dataclass(frozen=True, slots=True)
class Question:
    """One question.

    Attributes:
        text: what is in question.
        calls: the calls whose answers are compared.
        aws: AWS's answer, as its documentation has it.
        given: calls before, each of which must succeed.
        differs: by database, its known other answer, and why the engine is right with either.
    """

    text: str
    calls: tuple[Call, ...]
    aws: str
    given: tuple[Call, ...] = ()
    differs: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def expected(self, database: str) -> tuple[str, str]:
        """Return the answer that this database must give, and the reason where it is not AWS's."""
        return self.differs.get(database) or (self.aws, "")


def every(condition: str, *keys: str, **values: Any) -> tuple[Call, ...]:
    return tuple(update("SET x = :x", key, condition=condition, x=1, **values) for key in keys)


ROW: Final = "NOT attribute_type(generation, :number) OR generation < :new"
REFUSED: Final = "ConditionalCheckFailed"
CANCELED: Final = "TransactionCanceled"
NINES: Final = "9" * 38
FILLING: Final = b"p" * 300_000
LARGEST_ROW: Final = 400 * 1024 - len("pk" + "question-000" + "sk" + "t" + "v")
PROJECTION: Final = {"ProjectionExpression": "#sk, #v", "ExpressionAttributeNames": {"#sk": "sk", "#v": "v"}}
INDEXED: Final = {"account_id": OWN, "link_id": OWN}
BY_ACCOUNT: Final = query("account_id = :pk", index="by_account")

QUESTIONS: Final = (
    # Conditions: the fence of an Item, the generation of a row, claims of a bank account
    Question(
        "a condition on a row that is absent fails, and creates nothing",
        (*every("generation = :g AND s <> :r", "t", g=1, r="removed"), get()),
        f"{REFUSED}; nothing",
    ),
    Question(
        "<> holds where the attribute is absent or of another type",
        every("s <> :s", "absent", "other", "number", "equal", s="removed"),
        f"ok; ok; ok; {REFUSED}",
        given=(put("other", s="active"), put("number", s=5), put("equal", s="removed")),
    ),
    Question(
        "NOT attribute_type with OR takes absent, annotated, broken and older rows, no equal or newer one",
        every(ROW, "absent", "annotated", "broken", "older", "equal", "newer", number="N", new=2),
        f"ok; ok; ok; ok; {REFUSED}; {REFUSED}",
        given=(
            put("annotated", note="x"),
            put("broken", generation="1"),
            put("older", generation=1),
            put("equal", generation=2),
            put("newer", generation=10),
        ),
    ),
    Question(
        "numbers compare as numbers, texts of times by their bytes, and booleans by value",
        (
            *every("n > :nine AND m = :two", "t", nine=9, two=2),
            *every("due <= :now", "t", now="2026-03-01T12:00:00.000Z"),
            *every("erases = :no", "t", no=False),
        ),
        "ok; ok; ok",
        given=(put(n=10, m=Decimal("2.0"), due="2026-03-01T11:59:59.999Z", erases=False),),
    ),
    Question(
        "IN takes a row of any of these holders",
        every("attribute_not_exists(pk) OR holder IN (:a, :b)", "free", "own", "another", a="a", b="b"),
        f"ok; ok; {REFUSED}",
        given=(put("own", holder="b"), put("another", holder="c")),
    ),
    Question(
        "a conditional delete leaves what another holds",
        (delete(condition="holder = :a", a="a"), get(), delete(condition="holder = :b", b="b"), get()),
        f"{REFUSED}; {{holder: 'b'}}; ok; nothing",
        given=(put(holder="b"),),
    ),
    Question(
        "a refused update returns the stored row if that is requested, an accepted one the new row",
        (
            update("SET v = :v", condition="v = :v", v=2, extra=ALL_OLD),
            update("SET v = :v", condition="v = :v", v=2),
            update("SET v = :v", "absent", condition="v = :v", v=2, extra=ALL_OLD),
            update("SET v = :v", v=2, extra={"ReturnValues": "ALL_NEW"}),
        ),
        f"{REFUSED} {{a: 'kept', v: 1}}; {REFUSED}; {REFUSED}; {{a: 'kept', v: 2}}",
        given=(put(v=1, a="kept"),),
    ),
    Question(
        "one of sixteen conditional updates of one state is accepted",
        (update("SET g = g + :one", condition="g = :zero", zero=0, one=1, at_once=16), get()),
        "1 ok, 15 refused; {g: 1}",
        given=(put(g=0),),
    ),
    Question(
        "one of sixteen transactions on one state is accepted",
        (transact(update("SET g = g + :one", condition="g = :zero", zero=0, one=1), at_once=16), get()),
        "1 ok, 15 refused; {g: 1}",
        given=(put(g=0),),
    ),
    # Updates
    Question(
        "SET, a default and REMOVE go together; REMOVE of an absent attribute changes nothing",
        (update("SET a = :v, d = if_not_exists(d, :v) REMOVE b, c", v=2), get()),
        "ok; {a: 2, d: 2, e: 1}",
        given=(put(a=1, b=1, e=1),),
    ),
    Question(
        "if_not_exists sets a default once, and sees the row as it was before",
        (
            update("SET a = if_not_exists(a, :v), b = if_not_exists(a, :v)", v=1),
            update("SET a = :v, b = if_not_exists(a, :v)", v=2),
            get(),
        ),
        "ok; ok; {a: 2, b: 1}",
    ),
    # Values
    Question(
        "decimals of 38 digits come back exactly",
        (get(),),
        f"{{a: 0.1234567, b: -98765432109.87, c: {NINES}, d: -0.{NINES}, e: {NINES[:19]}.{NINES[19:]}}}",
        given=(
            put(
                a=Decimal("0.1234567"),
                b=Decimal("-98765432109.87"),
                c=Decimal(NINES),
                d=Decimal(f"-0.{NINES}"),
                e=Decimal(f"{NINES[:19]}.{NINES[19:]}"),
            ),
        ),
    ),
    Question(
        "a row has at most 400 KB",
        (put(v=b"p" * LARGEST_ROW), put(v=b"p" * (LARGEST_ROW + 1))),
        "ok; Validation",
    ),
    Question(
        "an expired row is a row until it is deleted",
        (get(), *every("attribute_not_exists(pk)", "t"), update("REMOVE expires_at"), get()),
        f"{{expires_at: 1577836800}}; {REFUSED}; ok; {{}}",
        given=(put(expires_at=1_577_836_800),),
    ),
    # Transactions
    Question(
        "a transaction takes 100 actions of all kinds",
        (
            transact(
                *(check(f"c{number:02}", "v = :v", ExpressionAttributeValues={":v": wire(1)}) for number in range(2)),
                *(delete(f"d{number:02}") for number in range(2)),
                *(update("SET v = :v", f"u{number:02}", v=2) for number in range(48)),
                *(put(f"p{number:02}", v=3) for number in range(48)),
            ),
            query(show="number"),
        ),
        "ok; 98 of 98",
        given=tuple(put(key, v=1) for key in ("c00", "c01", "d00", "d01", "u00")),
    ),
    Question(
        "a transaction of which one action fails writes nothing, in either table",
        (
            transact(
                put("i", table=ITEMS, v=1),
                *(put(f"p{number:02}", v=1) for number in range(98)),
                update("SET v = :v", condition="v = :w", v=2, w=9),
            ),
            query(show="attributes"),
            get("i", table=ITEMS),
        ),
        f"{CANCELED} [1 x {REFUSED}, 99 x None]; {{v: 1}}; nothing",
        given=(put(v=1),),
    ),
    Question(
        "101 actions, and two actions on one row, are refused",
        (
            transact(*(put(f"p{number:03}") for number in range(101))),
            transact(put("same"), update("SET v = :v", "same", v=1)),
            query(show="number"),
        ),
        "Validation; Validation; 0 of 0",
    ),
    Question(
        "a transaction takes the engine's 3 MB, and not more than 4 MB",
        (
            transact(*(put(f"a{number:02}", v=FILLING) for number in range(10))),
            transact(*(put(f"b{number:02}", v=FILLING) for number in range(14))),
        ),
        "ok; Validation",
    ),
    Question(
        "reasons are in the order of the actions, with the stored row where that is requested",
        (
            transact(
                put("new"),
                check("a", "attribute_not_exists(v)", **ALL_OLD),
                check("b", "attribute_not_exists(v)"),
                check("absent", "attribute_exists(v)", **ALL_OLD),
                update("SET v = :v", "c", v=2, extra=ALL_OLD),
                Call("put_item", put("c2").arguments | {"ConditionExpression": "attribute_exists(v)"} | ALL_OLD),
            ),
        ),
        f"{CANCELED} [None, {REFUSED} {{v: 1}}, {REFUSED}, {REFUSED}, None, {REFUSED}]",
        given=(put("a", v=1), put("b", v=1), put("c", v=1)),
    ),
    Question(
        "a repeat under the same ClientRequestToken succeeds and writes nothing",
        (
            transact(update("SET v = :one", condition="v = :zero", zero=0, one=1), ClientRequestToken=OWN),
            update("SET v = :zero", zero=0),
            transact(update("SET v = :one", condition="v = :zero", zero=0, one=1), ClientRequestToken=OWN),
            get(),
        ),
        "ok; ok; ok; {v: 0}",
        given=(put(v=0),),
    ),
    Question(
        "another transaction under the same ClientRequestToken is refused",
        (
            transact(update("SET v = :v", v=1), ClientRequestToken=OWN),
            transact(update("SET v = :v", v=2), ClientRequestToken=OWN),
            get(),
        ),
        "ok; IdempotentParameterMismatch; {v: 1}",
    ),
    Question(
        "a canceled transaction is decided again under a new token",
        (
            transact(update("SET v = :v", condition="v = :w", v=2, w=1)),
            update("SET v = :w", w=1),
            transact(update("SET v = :v", condition="v = :w", v=2, w=1)),
        ),
        f"{CANCELED} [{REFUSED}]; ok; ok",
        given=(put(v=0),),
    ),
    # Reads
    Question(
        "a batch of 100 keys gives the rows that there are",
        (batch_get((f"t{number}" for number in range(100)), **PROJECTION),),
        "60 rows",
        given=tuple(put(f"t{number}", v=1) for number in range(60)),
    ),
    Question(
        "a batch gives at most 16 MB",
        (batch_get((f"t{number}" for number in range(60)), **PROJECTION),),
        "a part, unprocessed: ConsistentRead, ExpressionAttributeNames, Keys, ProjectionExpression",
        given=tuple(put(f"t{number}", v=FILLING) for number in range(60)),
        differs={MINISTACK: ("60 rows", "unit tests give the adapter AWS's answer; it reads on until nothing is left")},
    ),
    Question(
        "25 deletes in a batch are done, also those of absent rows",
        (batch_delete(f"t{number:02}" for number in range(25)), query()),
        "ok; t25",
        given=tuple(put(f"t{number:02}") for number in range(10, 26)),
    ),
    Question(
        "a page is 1 MB before the filter, and an empty page can have a next one",
        (query(keep="v = :v", pages=True, v=1),),
        "none | none | last",
        given=(*(put(f"a{number:02}", v=b"p" * 60_000) for number in range(39)), put("last", v=1)),
        differs={DYNAMODB_LOCAL: ("last", "it cuts pages after the filter; ministack shows empty pages")},
    ),
    Question(
        "Limit counts before the filter",
        (query(keep="v = :v", pages=True, v=1, extra={"Limit": 2}),),
        "none | c d | none",
        given=(put("a"), put("b"), put("c", v=1), put("d", v=1)),
    ),
    Question(
        "sort keys are in the order of their bytes, backwards if requested, and begins_with selects a prefix",
        (query(), query(extra={"ScanIndexForward": False}), query("pk = :pk AND begins_with(sk, :p)", p="b")),
        "B a b b1; b1 b a B; b b1",
        given=(put("b1"), put("b"), put("a"), put("B")),
    ),
    Question(
        "a page begins after its ExclusiveStartKey, and a key without a sort key is refused",
        (
            query(extra={"ExclusiveStartKey": {"pk": wire(OWN), "sk": wire("b")}}),
            query(extra={"ExclusiveStartKey": {"pk": wire(OWN)}}),
        ),
        "c; Validation",
        given=(put("a"), put("b"), put("c")),
    ),
    # Indexes
    Question(
        "an index has the rows that have both of its keys, in its order",
        (BY_ACCOUNT, update("REMOVE date_id", "b"), BY_ACCOUNT, update("SET date_id = :d", "b", d="2027"), BY_ACCOUNT),
        "b c; ok; c; ok; c b",
        given=(
            put("a", account_id=OWN),
            put("b", account_id=OWN, date_id="2025"),
            put("c", account_id=OWN, date_id="2026"),
        ),
    ),
    Question(
        "an index is read in pages, also backwards",
        (query("account_id = :pk", index="by_account", pages=True, extra={"Limit": 2, "ScanIndexForward": False}),),
        "e d | c b | a",
        given=tuple(put(key, account_id=OWN, date_id=f"2026#{key}") for key in "abcde"),
    ),
    Question(
        "an index of all attributes has the application's, too; an index of keys has keys only",
        (
            query("account_id = :pk", index="by_account", show="attributes"),
            query("link_id = :pk", index="by_link", show="attributes"),
        ),
        "{account_id: '$', date_id: '2026', link_id: '$', note: 'x'}; {link_id: '$'}",
        given=(put("a", date_id="2026", note="x", **INDEXED),),
    ),
    # The stream
    Question(
        "the stream has each change with both images, and none of a write that changes nothing",
        (
            put(v=1),
            update("SET v = :v", v=1),
            update("SET v = :v", v=2),
            delete(),
            records(3),
        ),
        "ok; ok; ok; ok; INSERT - > {v: 1}, MODIFY {v: 1} > {v: 2}, REMOVE {v: 2} > -",
    ),
    Question(
        "the stream has a record for each row of a transaction, and none of a canceled one",
        (
            transact(put("a", v=1), check("absent", "attribute_exists(v)")),
            transact(put("b", v=2), put("c", v=2)),
            records(2),
        ),
        f"{CANCELED} [None, {REFUSED}]; ok; INSERT - > {{v: 2}}, INSERT - > {{v: 2}}",
    ),
)
