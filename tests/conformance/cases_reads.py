"""Reading: the indexes, batches and pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plaid_sync.adapters.dynamodb.expressions import serialize
from plaid_sync.core.sync.transactions import Removal, TransactionId

from tests.conformance.bench import ITEMS, TRANSACTIONS, Bench, key, row
from tests.conformance.case import compares, outcome, relies_on

if TYPE_CHECKING:
    from plaid_sync.core.sync.plan import RowWrite

_PAGE_ROWS, _PAGE_ROW_BYTES = 40, 60_000


def _of_account(bench: Bench, account_id: str, **extra: Any) -> list[str]:
    """Return the transaction ids that the index has of an account, in its order."""
    answer = bench.client.query(
        TableName=TRANSACTIONS,
        IndexName="by_account",
        KeyConditionExpression="account_id = :a",
        ExpressionAttributeValues={":a": {"S": account_id}},
        **extra,
    )
    return [item["transaction_id"]["S"] for item in answer["Items"]]


@relies_on("live: 1; removed: 0; revived: 1; moved to another account: 0 and 1")
def the_index_has_live_rows_only(bench: Bench) -> str:
    item_id, account = bench.registered(), bench.fresh()
    seen = []
    live = row(account_id=account)
    life: list[RowWrite] = [live, Removal(TransactionId("t"), account), live]
    for generation, write in enumerate(life, start=1):
        bench.claim(item_id)
        bench.write(item_id, generation, write)
        seen.append(len(_of_account(bench, account)))
    bench.claim(item_id)
    bench.write(item_id, 4, row(account_id=f"{account} b"))
    moved = [len(_of_account(bench, one)) for one in (account, f"{account} b")]
    return (
        f"live: {seen[0]}; removed: {seen[1]}; revived: {seen[2]}; moved to another account: {moved[0]} and {moved[1]}"
    )


@relies_on("0 rows")
def a_tombstone_of_a_row_never_seen_is_not_in_the_index(bench: Bench) -> str:
    item_id, account = bench.registered(claims=1), bench.fresh()
    bench.write(item_id, 1, Removal(TransactionId("t"), account))
    return f"{len(_of_account(bench, account))} rows"


@relies_on("oldest first: c a B b; newest first: b B a c")
def the_index_is_in_order_of_date_and_bytes(bench: Bench) -> str:
    item_id, account = bench.registered(claims=1), bench.fresh()
    dates = {"a": "2026-02-01", "b": "2026-02-28", "B": "2026-02-28", "c": "2025-12-31"}
    bench.write(item_id, 1, *(row(name, account, date=date) for name, date in dates.items()))
    forwards, backwards = _of_account(bench, account), _of_account(bench, account, ScanIndexForward=False)
    return f"oldest first: {' '.join(forwards)}; newest first: {' '.join(backwards)}"


@relies_on("3 pages, 5 rows, in order")
def the_index_read_in_pages_of_two(bench: Bench) -> str:
    item_id, account = bench.registered(claims=1), bench.fresh()
    bench.write(item_id, 1, *(row(name, account) for name in "edcba"))
    pages = list(
        bench.client.get_paginator("query").paginate(
            TableName=TRANSACTIONS,
            IndexName="by_account",
            KeyConditionExpression="account_id = :a",
            ExpressionAttributeValues={":a": {"S": account}},
            PaginationConfig={"PageSize": 2},
        )
    )
    names = [item["transaction_id"]["S"] for page in pages for item in page["Items"]]
    order = "in order" if names == sorted(names) else "out of order"
    return f"{len(pages)} pages, {len(names)} rows, {order}"


@relies_on("the whole row, the application's note in it")
def what_the_index_holds_of_a_row(bench: Bench) -> str:
    item_id, account = bench.registered(claims=1), bench.fresh()
    bench.write(item_id, 1, row(account_id=account))
    bench.update(item_id, "SET note = :n", n="x")
    (item,) = bench.client.query(
        TableName=TRANSACTIONS,
        IndexName="by_account",
        KeyConditionExpression="account_id = :a",
        ExpressionAttributeValues={":a": {"S": account}},
    )["Items"]
    whole = item.keys() == bench.row(item_id).keys() and "note" in item
    return "the whole row, the application's note in it" if whole else ", ".join(sorted(item))


@relies_on("item_id, link_id")
def what_the_index_of_links_holds_of_an_item(bench: Bench) -> str:
    item_id = bench.registered()
    (item,) = bench.client.query(
        TableName=ITEMS,
        IndexName="by_link",
        KeyConditionExpression="link_id = :l",
        ExpressionAttributeValues={":l": {"S": f"link of {item_id}"}},
    )["Items"]
    return ", ".join(sorted(item))


@compares("ValidationException")
def a_consistent_read_of_an_index(bench: Bench) -> str:
    return outcome(lambda: _of_account(bench, "any", ConsistentRead=True))


@relies_on("60 of 100, no UnprocessedKeys")
def a_batch_of_100_keys(bench: Bench) -> str:
    item_id = bench.registered(claims=1)
    bench.write(item_id, 1, *(row(f"t{number}") for number in range(60)))
    keys = [key(item_id, f"t{number}") for number in range(100)]
    answer = bench.client.batch_get_item(RequestItems={TRANSACTIONS: {"Keys": keys, "ConsistentRead": True}})
    unprocessed = "UnprocessedKeys" if answer.get("UnprocessedKeys") else "no UnprocessedKeys"
    return f"{len(answer['Responses'].get(TRANSACTIONS, []))} of 100, {unprocessed}"


@compares("101 keys: ValidationException; one key twice: ValidationException")
def a_batch_that_is_not_allowed(bench: Bench) -> str:
    def read(keys: list[Any]) -> str:
        return outcome(lambda: bench.client.batch_get_item(RequestItems={TRANSACTIONS: {"Keys": keys}}))

    many = read([key("x", f"t{number}") for number in range(101)])
    return f"101 keys: {many}; one key twice: {read([key('x'), key('x')])}"


@compares("UnprocessedKeys: Keys, ConsistentRead, ProjectionExpression, ExpressionAttributeNames", slow=True)
def the_shape_of_what_a_batch_leaves_over(bench: Bench) -> str:
    request = _large_batch(bench, rows=48, size=360_000)
    left = bench.client.batch_get_item(RequestItems={TRANSACTIONS: request}).get("UnprocessedKeys", {})
    parts = [name for name in request if name in left.get(TRANSACTIONS, {})]
    return f"UnprocessedKeys: {', '.join(parts)}" if parts else "all in one answer"


@relies_on("48 of 48", slow=True)
def seventeen_megabytes_in_one_batch_through_the_adapter(bench: Bench) -> str:
    request = _large_batch(bench, rows=48, size=360_000)
    ids = [TransactionId(one["transaction_id"]["S"]) for one in request["Keys"]]
    return f"{len(bench.transactions.rows(request['Keys'][0]['item_id']['S'], ids))} of {len(ids)}"


@compares("UnprocessedKeys after 1 MB", slow=True)
def more_than_a_megabyte_of_one_partition_in_a_batch(bench: Bench) -> str:
    """AWS answers a part of it, and the adapter asks for the rest."""
    request = _large_batch(bench, rows=10, size=300_000)
    answer = bench.client.batch_get_item(RequestItems={TRANSACTIONS: request})
    return "UnprocessedKeys after 1 MB" if answer.get("UnprocessedKeys") else "3 MB in one answer"


def _large_batch(bench: Bench, rows: int, size: int) -> dict[str, Any]:
    """Store large rows of one Item; return the request for all of them."""
    item_id = bench.fresh()
    for number in range(rows):
        bench.put(f"t{number}", item_id=item_id, generation=1, first_generation=1, filling=b"p" * size)
    names = {"#t": "transaction_id", "#g": "generation", "#f": "first_generation"}
    return {
        "Keys": [key(item_id, f"t{number}") for number in range(rows)],
        "ConsistentRead": True,
        "ProjectionExpression": "#t, #g, #f",
        "ExpressionAttributeNames": names,
    }


@relies_on("all: 40; the last alone: 1", slow=True)
def scanning_an_item_of_more_than_two_megabytes(bench: Bench) -> str:
    item_id = _large_item(bench)
    found = len(list(bench.transactions.scan_item(item_id)))
    return f"all: {found}; the last alone: {len(list(bench.transactions.scan_item(item_id, since=2)))}"


@compares("3 pages, the first two empty and with more to come", slow=True)
def pages_of_a_megabyte_before_the_filter(bench: Bench) -> str:
    item_id = _large_item(bench)
    pages = list(
        bench.client.get_paginator("query").paginate(
            TableName=TRANSACTIONS,
            KeyConditionExpression="item_id = :i",
            FilterExpression="generation >= :g",
            ExpressionAttributeValues={":i": {"S": item_id}, ":g": {"N": "2"}},
        )
    )
    early = ["empty" if not page["Items"] else "not empty" for page in pages[:-1]]
    told = "the first two empty and with more to come" if early == ["empty"] * 2 else f"before the last: {early}"
    return f"{len(pages)} pages, {told}" if early else "1 page, none before the last"


def _large_item(bench: Bench) -> Any:
    """Store 2.4 MB of rows of one Item, the last one of generation 2."""
    item_id = bench.fresh()
    filling = serialize(b"p" * _PAGE_ROW_BYTES)
    for number in range(_PAGE_ROWS):
        generation = {"N": "2" if number == _PAGE_ROWS - 1 else "1"}
        item = key(item_id, f"t{number:02}") | {"generation": generation, "first_generation": {"N": "1"}}
        bench.client.put_item(TableName=TRANSACTIONS, Item=item | {"filling": filling})
    return item_id
