"""The feed in a schedule: the stream of the Items table, a bus that keeps what it accepts, and consumers of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.aws.dynamodb.account_rows import accounts_from
from plaid_sync.domain.transaction import plaid_object
from plaid_sync.feed import account_document, exact_texts
from plaid_sync.outbound.delivery import Deliverer, Fate, OutboundMessage
from plaid_sync.outbound.endpoints import Endpoint
from plaid_sync_cli.endpoints import new_secret

from tests.event_schemas import validate
from tests.fakes.outbound import FixedEndpoints, OutboundQueueInMemory, Receiver, ReceivingPoster
from tests.fakes.subscriber import Subscriber
from tests.simulation.faults.boundary import Fault
from tests.simulation.faults.checker import DivergenceError

if TYPE_CHECKING:
    from random import Random

    from local.stack import LocalStack
    from tests.simulation.faults.boundary import Call
    from tests.simulation.faults.checker import Checker

PUT_EVENTS: Final = "AWSEvents.PutEvents"
BATCH: Final = 20
PUBLISHING_FAULTS: Final = (
    *(Fault.CRASH_BEFORE, Fault.CRASH_AFTER, Fault.NOT_SENT),
    *(Fault.RESPONSE_LOST, Fault.THROTTLED, Fault.SERVER_ERROR),
)


@dataclass(slots=True)
class ItemsStream:
    """The stream of the Items table, read as an event source mapping does: a record stays until it is published.

    Attributes:
        waiting: records that are not published.
    """

    stack: LocalStack
    waiting: list[dict[str, Any]] = field(default_factory=list)
    _iterator: str = ""

    def __post_init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        arn = self.stack.client("dynamodb").describe_table(TableName=self.stack.items_table)["Table"]["LatestStreamArn"]
        (shard,) = self._streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
        self._iterator = self._streams.get_shard_iterator(
            StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="LATEST"
        )["ShardIterator"]

    @property
    def _streams(self) -> Any:
        return self.stack.client("dynamodbstreams")

    def records(self) -> list[dict[str, Any]]:
        """Return the records of the next batch, as an event has them."""
        found = self._streams.get_records(ShardIterator=self._iterator, Limit=1000)
        self._iterator = found["NextShardIterator"]
        self.waiting += [_as_event(record) for record in found["Records"] if record["eventName"] != "REMOVE"]
        return self.waiting[:BATCH]

    def acknowledge(self, records: list[dict[str, Any]], response: dict[str, Any] | None) -> None:
        """Drop what is published: everything before the first failure; nothing after a crash."""
        if response is None:
            return
        failed = {failure["itemIdentifier"] for failure in response["batchItemFailures"]}
        numbers = [record["dynamodb"]["SequenceNumber"] for record in records]
        ended = min((numbers.index(number) for number in failed), default=len(numbers))
        del self.waiting[:ended]


def _as_event(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record as Lambda gets it: JSON, binary values in Base64, times as numbers."""
    change = record["dynamodb"]
    images = {name: change[name] for name in ("Keys", "OldImage", "NewImage") if name in change}
    created = change["ApproximateCreationDateTime"].timestamp()
    return {
        "eventName": record["eventName"],
        "dynamodb": images | {"SequenceNumber": change["SequenceNumber"], "ApproximateCreationDateTime": created},
    }


@dataclass(slots=True)
class Bus:
    """What the bus accepted, and who consumes it.

    Attributes:
        archive: every event that was accepted, repeats included.
        subscribers: one of the bus, one of signed webhooks, one that began late with a snapshot, and one of a replay.
    """

    rng: Random
    archive: list[dict[str, Any]] = field(default_factory=list)
    subscribers: dict[str, Subscriber] = field(
        default_factory=lambda: {name: Subscriber() for name in ("bus", "webhook", "late", "replay")}
    )

    def observe(self, call: Call) -> None:
        """Take what a call put on the bus."""
        if call.operation != PUT_EVENTS:
            return
        for entry in call.body["Entries"]:
            detail = json.loads(entry["Detail"])
            if "specversion" in detail:
                validate(detail)
                self.archive.append(detail)

    def join(self, snapshot: dict[str, Any] | None) -> None:
        """Let a consumer begin with the snapshot of an Item."""
        if snapshot is not None:
            self.subscribers["late"].begin(snapshot)

    def deliver(self) -> None:
        """Deliver what was accepted, out of order, and some of it twice; replay all of it."""
        for name in ("bus", "late"):
            for detail in self._shuffled():
                self.subscribers[name].receive(detail)
        for detail in posted(self._shuffled(), self.rng):
            self.subscribers["webhook"].receive(detail)
        for detail in self.archive * 2:
            self.subscribers["replay"].receive(detail)

    def _shuffled(self) -> list[dict[str, Any]]:
        events = self.archive + [each for each in self.archive if self.rng.random() < 0.2]
        self.rng.shuffle(events)
        return events

    def check(self, item_id: str, checker: Checker) -> None:
        """Check that a consumer's copy equals the tables; also at each commit.

        Raises:
            DivergenceError: it does not.
        """
        for name, subscriber in self.subscribers.items():
            if name == "late" and item_id not in subscriber.snapshots:
                continue
            try:
                _check(subscriber, item_id, checker)
            except (AssertionError, KeyError) as error:
                raise DivergenceError(f"{item_id}: the feed of {name}: {type(error).__name__} {error}") from error


def _check(subscriber: Subscriber, item_id: str, checker: Checker) -> None:
    record, copy = checker.record(item_id), subscriber.copy(item_id)
    assert copy.state == record["state"], f"state {copy.state}, not {record['state']}"
    if copy.state == "removed":
        assert copy.erased == record["removal_erases"]
        return
    rows_now = checker.rows(item_id)
    expected = live_texts(rows_now)
    assert copy.rows == expected, _difference(copy.rows, expected)
    assert copy.accounts == accounts_of(record), _difference(copy.accounts, accounts_of(record))
    subscriber.check_complete(item_id)
    since, _ = subscriber.snapshots.get(item_id, ("", None))
    # A snapshot cannot show what was erased before the next commit says so.
    unknown = {key for key, row in rows_now.items() if since and "removed_at" in row and "date" not in row}
    for (committed, generation), rows in checker.committed.items():
        if committed == item_id and f"{generation:010d}-2" > since:
            found = without(unknown, subscriber.copy(item_id, f"{generation:010d}-2").rows)
            expected = without(unknown, live_texts(rows))
            assert found == expected, f"at generation {generation}: {_difference(found, expected)}"


def without(keys: set[str], rows: dict[str, Any]) -> dict[str, Any]:
    return {key: row for key, row in rows.items() if key not in keys}


class _RealClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        raise AssertionError(seconds)


def posted(events: list[dict[str, Any]], rng: Random) -> list[dict[str, Any]]:
    """Return what a receiver of signed webhooks gets of events, and verifies; some posts fail at first."""
    secret = new_secret()
    receiver, queue = Receiver(secret), OutboundQueueInMemory()
    endpoint = Endpoint("copy", "https://copy.example/events", (secret,))
    deliverer = Deliverer(
        FixedEndpoints((endpoint,)), ReceivingPoster({endpoint.url: receiver}), queue, _RealClock(), lambda: 1.0
    )
    for detail in events:
        body = {"id": "bus", "source": detail["source"], "detail-type": detail["type"].partition(".")[0]}
        deliverer.process(OutboundMessage("handle", json.dumps(body | {"detail": detail}), None, 1))
    for delivery in queue.sent:
        receiver.answers.extend([500] * rng.choice((0, 0, 0, 1, 2)))
        message = OutboundMessage("handle", delivery.event.body, delivery, 1)
        while deliverer.process(message).fate is not Fate.DELIVERED:
            pass
    assert receiver.refused == 0
    return receiver.events


def live_texts(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the live rows of a table as events show them."""
    live = {key: plaid_object(row) for key, row in rows.items() if "removed_at" not in row}
    return {key: exact_texts(document) for key, document in live.items() if document is not None}


def accounts_of(record: dict[str, Any]) -> dict[str, Any]:
    """Return the accounts of an Item as events show them."""
    shown = {each.account_id: exact_texts(account_document(each)) for each in accounts_from(record.get("accounts"))}
    without = {*record.get("revoked_accounts", ()), *record.get("erased_accounts", ())}
    return shown | dict.fromkeys(without)


def _difference(found: dict[str, Any], expected: dict[str, Any]) -> str:
    keys = [key for key in sorted(found.keys() | expected.keys()) if found.get(key) != expected.get(key)]
    shown = [(key, str(found.get(key))[:300], str(expected.get(key))[:300]) for key in keys[:1]]
    return f"{len(keys)} of {len(expected)} differ: {shown}"
