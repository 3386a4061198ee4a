"""Expressions and values: conditions, defaults, names, numbers, sizes."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Any

from plaid_sync.core.items import ItemId
from plaid_sync.core.sync.transactions import TransactionId

from tests.conformance.bench import ITEMS, TRANSACTIONS, Bench, key, row
from tests.conformance.case import compares, outcome, relies_on

_LARGEST_ITEM = 400 * 1024
_CCF = "ConditionalCheckFailedException"


def _put_number(bench: Bench, digits: str) -> tuple[str, str]:
    """Put a number in wire form; return how that ended, and what is stored."""
    item_id = bench.fresh()
    item = key(item_id) | {"n": {"N": digits}}
    answer = outcome(lambda: bench.client.put_item(TableName=TRANSACTIONS, Item=item))
    stored = bench.client.get_item(TableName=TRANSACTIONS, Key=key(item_id)).get("Item", {})
    return answer, stored.get("n", {}).get("N", "nothing")


def _updates(bench: Bench, rows: dict[str, ItemId], condition: str, value: object) -> str:
    """Update each row under a condition on `:v`; return how each ended."""
    answers = {
        label: outcome(partial(bench.update, item_id, "SET x = :v", condition=condition, v=value))
        for label, item_id in rows.items()
    }
    return "; ".join(f"{label}: {answer}" for label, answer in answers.items())


def _amounts(bench: Bench, *amounts: str) -> str:
    """Write amounts through the adapter; return which come back as other numbers."""
    item_id = bench.registered(claims=1)
    rows = {TransactionId(f"t{number}"): row(f"t{number}", amount=Decimal(a)) for number, a in enumerate(amounts)}
    bench.write(item_id, 1, *rows.values())
    found = bench.transactions.rows(item_id, rows)
    wrong = [str(rows[one].amount) for one in rows if found[one].row != rows[one]]
    return f"not equal: {', '.join(wrong)}" if wrong else f"{len(found)} equal"


@relies_on(f"absent: {_CCF}; older: ok; same: {_CCF}; newer: {_CCF}")
def a_condition_on_the_generation(bench: Bench) -> str:
    found = {
        "absent": ItemId(bench.fresh()),
        "older": bench.put(generation=1),
        "same": bench.put(generation=2),
        "newer": bench.put(generation=10),
    }
    return _updates(bench, found, "generation < :v", 2)


@relies_on(f"absent: ok; annotation: ok; older: ok; same: {_CCF}")
def the_rows_condition_new_or_older(bench: Bench) -> str:
    found = {
        "absent": ItemId(bench.fresh()),
        "annotation": bench.put(note="x"),
        "older": bench.put(generation=1),
        "same": bench.put(generation=2),
    }
    return _updates(bench, found, "attribute_not_exists(generation) OR generation < :v", 2)


@relies_on(f"absent: ok; another: ok; of another type: ok; equal: {_CCF}")
def not_equal_holds_where_the_attribute_is_absent(bench: Bench) -> str:
    """`claim` asks for `status <> removed`."""
    found = {
        "absent": bench.put(),
        "another": bench.put(s="active"),
        "of another type": bench.put(s=5),
        "equal": bench.put(s="removed"),
    }
    return _updates(bench, found, "s <> :v", "removed")


@relies_on("numbers, not texts: 10 > 9, 2.0 = 2")
def numbers_compare_as_numbers(bench: Bench) -> str:
    item_id = bench.put(generation=10, n=Decimal("2.0"))
    larger = outcome(lambda: bench.update(item_id, "SET v = :g", condition="generation > :g", g=9))
    equal = outcome(lambda: bench.update(item_id, "SET v = :g", condition="n = :g", g=2))
    return "numbers, not texts: 10 > 9, 2.0 = 2" if larger == equal == "ok" else f"{larger}, {equal}"


@relies_on("first: a=1 b=1; second: a=1 b=2")
def if_not_exists_gives_a_default_once(bench: Bench) -> str:
    item_id, seen = bench.put(), []
    for value in (1, 2):
        bench.update(item_id, "SET a = if_not_exists(a, :v), b = :v", v=value)
        stored = bench.row(item_id)
        seen.append(f"a={stored['a']} b={stored['b']}")
    return f"first: {seen[0]}; second: {seen[1]}"


@relies_on("set, default and removal in one: a=2 d=2, b gone, c never there, e kept")
def setting_and_removing_in_one_expression(bench: Bench) -> str:
    item_id = bench.put(a=1, b=1, e=1)
    bench.update(item_id, "SET a = :v, d = if_not_exists(d, :v) REMOVE b, c", v=2)
    stored = bench.row(item_id)
    gone = "gone" if "b" not in stored else "there"
    never = "never there" if "c" not in stored else "there"
    return (
        f"set, default and removal in one: a={stored['a']} d={stored['d']}, b {gone}, c {never}, "
        f"e {'kept' if stored.get('e') == 1 else 'lost'}"
    )


@relies_on("an update sees the row as it was before: a=2 b=1")
def all_of_an_expression_sees_the_old_row(bench: Bench) -> str:
    item_id = bench.put(a=1)
    bench.update(item_id, "SET a = :v, b = if_not_exists(a, :v)", v=2)
    stored = bench.row(item_id)
    return f"an update sees the row as it was before: a={stored['a']} b={stored['b']}"


@relies_on("ok, 6 stored")
def reserved_words_behind_placeholders(bench: Bench) -> str:
    item_id, words = bench.put(), ("name", "date", "status", "cursor", "values", "size")
    update = "SET " + ", ".join(f"#{word} = :v" for word in words)
    names = {f"#{word}": word for word in words}
    answer = outcome(lambda: bench.update(item_id, update, names=names, v=1))
    return f"{answer}, {sum(word in bench.row(item_id) for word in words)} stored"


@compares("ValidationException")
def a_reserved_word_without_a_placeholder(bench: Bench) -> str:
    item_id = bench.put()
    return outcome(lambda: bench.update(item_id, "SET status = :v", v=1))


@compares("ValidationException")
def a_placeholder_that_no_expression_uses(bench: Bench) -> str:
    item_id = bench.put()
    return outcome(lambda: bench.update(item_id, "SET v = :v", v=1, unused=2))


@compares("ValidationException")
def one_attribute_set_twice_in_one_expression(bench: Bench) -> str:
    item_id = bench.put()
    return outcome(lambda: bench.update(item_id, "SET v = :v, v = :w", v=1, w=2))


@relies_on("attribute: ok, stored as ''; through the adapter: name ''")
def an_empty_text_as_an_attribute(bench: Bench) -> str:
    item_id = bench.registered(claims=1)
    raw = bench.put(text="")
    bench.write(item_id, 1, row(name=""))
    stored = bench.row(raw).get("text")
    return f"attribute: ok, stored as {stored!r}; through the adapter: name {bench.row(item_id).get('name')!r}"


@compares("table's key: ValidationException; index's key: ValidationException")
def an_empty_text_as_a_key(bench: Bench) -> str:
    """The engine refuses empty ids before they get here."""
    table = outcome(lambda: bench.client.put_item(TableName=TRANSACTIONS, Item=key(bench.fresh(), "")))
    index = outcome(lambda: bench.put(account_id="", date_id="2026"))
    return f"table's key: {table}; index's key: {index}"


@relies_on("6 equal")
def exact_amounts(bench: Bench) -> str:
    return _amounts(bench, "0.1234567", "-98765432109.87", "1E+3", "0.00", "-0.10", "1E-30")


@relies_on("3 equal")
def amounts_of_38_digits(bench: Bench) -> str:
    nines = "9" * 38
    return _amounts(bench, nines, f"-0.{nines}", f"{nines[:19]}.{nines[19:]}")


@compares("ValidationException, nothing stored")
def a_number_of_39_digits(bench: Bench) -> str:
    answer, stored = _put_number(bench, "1" * 39)
    return f"{answer}, {stored} stored"


@compares("1E+3: 1000; 1.500: 1.5; 0.00: 0; -0: 0; 1E-7: 0.0000001")
def how_numbers_are_written(bench: Bench) -> str:
    """Both forms are the same decimal to whoever reads a number as one."""
    return "; ".join(f"{digits}: {_put_number(bench, digits)[1]}" for digits in ("1E+3", "1.500", "0.00", "-0", "1E-7"))


@compares(f"1{'0' * 36}1")
def a_number_of_38_digits_goes_up_by_one(bench: Bench) -> str:
    item_id = bench.put(g=Decimal("1E+37"))
    bench.update(item_id, "SET g = g + :one", one=1)
    return f"{bench.row(item_id)['g']:f}"


@relies_on("409,600 bytes: ok; 409,601 bytes: ValidationException", slow=True)
def the_largest_row(bench: Bench) -> str:
    answers = []
    for size in (_LARGEST_ITEM, _LARGEST_ITEM + 1):
        item_id = f"{bench.fresh():_<12}"
        filling = size - len("item_id" + "transaction_id" + "t" + "filling") - len(item_id)
        item: dict[str, Any] = key(item_id) | {"filling": {"B": b"p" * filling}}
        answer = outcome(partial(bench.client.put_item, TableName=TRANSACTIONS, Item=item))
        answers.append(f"{size:,} bytes: {answer}")
    return "; ".join(answers)


@relies_on("ALL_NEW: generation 1 and the rest; refused with ALL_OLD: Item")
def what_a_conditional_update_returns(bench: Bench) -> str:
    item_id = bench.registered(claims=1)
    claimed = bench.claim(item_id)
    item = bench.item(item_id)
    complete = "and the rest" if claimed.access_token == item["access_token"] else "alone"
    try:
        bench.client.update_item(
            TableName=ITEMS,
            Key={"item_id": {"S": item_id}},
            UpdateExpression="SET v = :v",
            ConditionExpression="generation = :v",
            ExpressionAttributeValues={":v": {"N": "9"}},
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    except bench.client.exceptions.ConditionalCheckFailedException as error:
        found = "Item" if error.response.get("Item") else "no Item"
    return f"ALL_NEW: generation {claimed.generation - 1} {complete}; refused with ALL_OLD: {found}"
