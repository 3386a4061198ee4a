"""TransactWriteItems as such: what it takes, what it refuses, and what it says about that."""

from __future__ import annotations

from typing import Any

from tests.conformance.actions import Action, check, delete, put, transact, update
from tests.conformance.bench import ITEMS, Bench, commit, key, row
from tests.conformance.case import compares, outcome, refused, relies_on


def _hundred(bench: Bench) -> tuple[str, list[Action]]:
    """Make a transaction of all four kinds, 25 of each; those that need a row find one."""
    item_id = bench.fresh()
    actions = []
    for number in range(25):
        for name in ("check", "delete", "update"):
            bench.put(f"{name}{number}", item_id=item_id, v=1)
        actions += [
            check(item_id, f"check{number}"),
            delete(item_id, f"delete{number}"),
            update(item_id, f"update{number}"),
            put(item_id, f"put{number}"),
        ]
    return item_id, actions


@relies_on("ok; 75 rows, 25 updated", slow=True)
def a_hundred_mixed_actions(bench: Bench) -> str:
    item_id, actions = _hundred(bench)
    answer = outcome(lambda: transact(bench, *actions))
    rows = bench.rows(item_id)
    return f"{answer}; {len(rows)} rows, {sum(stored['v'] == 2 for stored in rows)} updated"


@relies_on("TransactionCanceledException, 1 of 100 failed; 75 rows, 0 updated", slow=True)
def a_hundred_mixed_actions_of_which_one_fails(bench: Bench) -> str:
    item_id, actions = _hundred(bench)
    actions[-1] = put(item_id, "update0", ConditionExpression="attribute_not_exists(item_id)")
    actions = [action for action in actions if action.get("Update", {}).get("Key") != key(item_id, "update0")]
    actions.append(put(item_id, "one more"))
    error: Any = refused(lambda: transact(bench, *actions))
    codes = [reason["Code"] for reason in error.response["CancellationReasons"]]
    rows = bench.rows(item_id)
    failed = codes.count("ConditionalCheckFailed")
    name = error.response["Error"]["Code"]
    return f"{name}, {failed} of {len(codes)} failed; {len(rows)} rows, {sum(r['v'] == 2 for r in rows)} updated"


@compares("ValidationException; 0 rows")
def a_hundred_and_one_actions(bench: Bench) -> str:
    item_id = bench.fresh()
    answer = outcome(lambda: transact(bench, *(put(item_id, f"t{number}") for number in range(101))))
    return f"{answer}; {len(bench.rows(item_id))} rows"


@compares("ValidationException; 0 rows")
def two_actions_on_one_row(bench: Bench) -> str:
    item_id = bench.fresh()
    answer = outcome(lambda: transact(bench, put(item_id), update(item_id)))
    return f"{answer}; {len(bench.rows(item_id))} rows"


@compares("ValidationException; 0 rows", slow=True)
def more_than_four_megabytes(bench: Bench) -> str:
    item_id, filling = bench.fresh(), {"B": b"p" * 390_000}
    actions = [put(item_id, f"t{number}") for number in range(11)]
    for action in actions:
        action["Put"]["Item"]["filling"] = filling
    answer = outcome(lambda: transact(bench, *actions))
    return f"{answer}; {len(bench.rows(item_id))} rows"


@relies_on("None, ConditionalCheckFailed, None, ConditionalCheckFailed, ConditionalCheckFailed; 1 row")
def reasons_stand_in_the_order_of_the_actions(bench: Bench) -> str:
    item_id = bench.put("here", v=1)
    actions = [put(item_id, "a"), check(item_id, "b"), update(item_id, "c"), check(item_id, "d")]
    actions.append(put(item_id, "here", ConditionExpression="attribute_not_exists(v)"))
    error: Any = refused(lambda: transact(bench, *actions))
    codes = ", ".join(reason["Code"] for reason in error.response["CancellationReasons"])
    return f"{codes}; {len(bench.rows(item_id))} row"


@relies_on("asked for: v=1; not asked for: none; absent: none; held: none")
def the_item_in_a_reason(bench: Bench) -> str:
    item_id = bench.put("a", v=1)
    bench.put("b", item_id=item_id, v=1)
    gone, asked = "attribute_not_exists(v)", {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    actions = [check(item_id, "a", gone, **asked), check(item_id, "b", gone), check(item_id, "c", **asked)]
    error: Any = refused(lambda: transact(bench, *actions, put(item_id, "d", **asked)))
    items = [reason.get("Item") for reason in error.response["CancellationReasons"]]
    words = [f"v={item['v']['N']}" if item else "none" for item in items]
    labels = ("asked for", "not asked for", "absent", "held")
    return "; ".join(f"{label}: {word}" for label, word in zip(labels, words, strict=True))


@relies_on("ok, ok; applied once")
def a_repeat_with_the_same_token(bench: Bench) -> str:
    """The SDK's repeat after a lost answer: it must not take its own success for a failed condition."""
    item_id = bench.put(v=0)
    once = {"ConditionExpression": "v = :zero", "UpdateExpression": "SET v = :one"}
    call: Any = {"ClientRequestToken": f"token {item_id}"}
    first = outcome(lambda: transact(bench, update(item_id, **once), **call))
    bench.update(item_id, "SET v = :v", v=0)
    again = outcome(lambda: transact(bench, update(item_id, **once), **call))
    stored = bench.row(item_id)["v"]
    return f"{first}, {again}; applied {'once' if stored == 0 else 'twice'}"


@relies_on("ok, IdempotentParameterMismatchException; v=1")
def another_transaction_with_the_same_token(bench: Bench) -> str:
    item_id = bench.put(v=0)
    token = f"token {item_id}"
    first = outcome(lambda: transact(bench, update(item_id), ClientRequestToken=token))
    more = {":zero": {"N": "0"}, ":one": {"N": "5"}}
    other = outcome(lambda: transact(bench, update(item_id, ExpressionAttributeValues=more), ClientRequestToken=token))
    return f"{first}, {other}; v={bench.row(item_id)['v']}"


@relies_on("TransactionCanceledException [ConditionalCheckFailed], then ok; v=2")
def a_cancelled_transaction_again_under_a_new_token(bench: Bench) -> str:
    item_id = bench.put(v=0)
    action = update(item_id, ConditionExpression="v = :one")
    first = outcome(lambda: transact(bench, action))
    bench.update(item_id, "SET v = :v", v=1)
    return f"{first}, then {outcome(lambda: transact(bench, action))}; v={bench.row(item_id)['v']}"


@compares("TransactionCanceledException [None, ValidationError]; 0 rows")
def a_type_error_that_only_the_stored_row_shows(bench: Bench) -> str:
    item_id = bench.put(v="text")
    answer = outcome(lambda: transact(bench, put(item_id, "other"), update(item_id)))
    return f"{answer}; {len(bench.rows(item_id)) - 1} rows"


@relies_on("superseded, none stored")
def a_fence_that_fell_between_two_transactions(bench: Bench) -> str:
    item_id = bench.registered(claims=1)
    bench.write(item_id, 1, row("a"), begin=True)
    bench.claim(item_id)
    answer = outcome(lambda: bench.write(item_id, 1, row("b"), commit=commit()))
    stored = bench.row(item_id, "b") or bench.item(item_id).get("cursor")
    return f"{answer}, {'something' if stored else 'none'} stored"


@compares("ok")
def a_transaction_over_two_tables_without_any_row(bench: Bench) -> str:
    item_id = bench.registered(claims=1)
    actions: list[Action] = [
        {
            "ConditionCheck": {
                "TableName": ITEMS,
                "Key": {"item_id": {"S": item_id}},
                "ConditionExpression": "generation = :g",
                "ExpressionAttributeValues": {":g": {"N": "1"}},
            }
        },
        delete(item_id, "absent"),
    ]
    return outcome(lambda: transact(bench, *actions))
