"""The stream of the Transactions table: one record for each change, in each row's own order, with both images."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plaid_sync.adapters.dynamodb.expressions import deserialize
from plaid_sync.core.sync.transactions import Removal, TransactionId

from tests.conformance.bench import TRANSACTIONS, Bench, key, row
from tests.conformance.case import compares, outcome

if TYPE_CHECKING:
    from plaid_sync.core.sync.plan import RowWrite

_PATIENCE_SECONDS = 10


@dataclass(frozen=True, slots=True)
class _Watch:
    """Reads the records that come after it was made.

    Attributes:
        iterators: where each shard is to be read on.
    """

    streams: Any
    iterators: list[str]

    @classmethod
    def start(cls, bench: Bench) -> _Watch:
        streams = bench.connect("dynamodbstreams")
        arn = bench.client.describe_table(TableName=TRANSACTIONS)["Table"]["LatestStreamArn"]
        shards = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
        return cls(streams, [_iterator(streams, arn, shard["ShardId"]) for shard in shards])

    def records(self, count: int) -> list[dict[str, Any]]:
        """Return so many records, or after ten seconds those that there are, and what came with the last ones."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        found: list[dict[str, Any]] = []
        while len(found) < count and time.monotonic() < deadline:
            for number, iterator in enumerate(self.iterators):
                answer = self.streams.get_records(ShardIterator=iterator)
                found += [record["dynamodb"] | {"kind": record["eventName"]} for record in answer["Records"]]
                self.iterators[number] = answer["NextShardIterator"]
            time.sleep(0.02)
        return found


def _iterator(streams: Any, arn: str, shard_id: str) -> str:
    answer = streams.get_shard_iterator(StreamArn=arn, ShardId=shard_id, ShardIteratorType="LATEST")
    return str(answer["ShardIterator"])


def _state(image: dict[str, Any] | None) -> str:
    if image is None:
        return "-"
    return f"{'tombstone' if 'removed_at' in image else 'live'} {image['generation']['N']}"


@compares("INSERT - > live 1; MODIFY live 1 > tombstone 2; MODIFY tombstone 2 > live 3; REMOVE live 3 > -")
def the_life_of_a_row(bench: Bench) -> str:
    item_id, watch = bench.registered(), _Watch.start(bench)
    life: list[RowWrite] = [row(), Removal(TransactionId("t")), row()]
    for generation, write in enumerate(life, start=1):
        bench.claim(item_id)
        bench.write(item_id, generation, write)
    bench.client.delete_item(TableName=TRANSACTIONS, Key=key(item_id))
    return "; ".join(
        f"{record['kind']} {_state(record.get('OldImage'))} > {_state(record.get('NewImage'))}"
        for record in watch.records(4)
    )


@compares("3 records, one a row, images as stored")
def a_transaction_of_three_rows(bench: Bench) -> str:
    item_id, watch = bench.registered(claims=1), _Watch.start(bench)
    bench.write(item_id, 1, *(row(name) for name in "abc"))
    records = watch.records(3)
    images = {record["Keys"]["transaction_id"]["S"]: deserialize(record["NewImage"]) for record in records}
    same = images == {stored["transaction_id"]: stored for stored in bench.rows(item_id)}
    return f"{len(records)} records, one a row, images {'as stored' if same else 'differ'}"


@compares("INSERT, MODIFY")
def a_write_that_changes_nothing(bench: Bench) -> str:
    watch = _Watch.start(bench)
    item_id = bench.put(v=1)
    bench.update(item_id, "SET v = :v", v=1)
    bench.update(item_id, "SET v = :v", v=2)
    return ", ".join(record["kind"] for record in watch.records(2))


@compares("superseded; the next write's alone")
def a_cancelled_transaction(bench: Bench) -> str:
    item_id, watch = bench.registered(claims=2), _Watch.start(bench)
    answer = outcome(lambda: bench.write(item_id, 1, row("cancelled")))
    bench.write(item_id, 2, row("next"))
    names = [record["Keys"]["transaction_id"]["S"] for record in watch.records(1)]
    return f"{answer}; the next write's alone" if names == ["next"] else f"{answer}; {names}"
