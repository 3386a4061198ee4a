"""The feed: events of what writes of Items committed, each with the same id whenever it is published again."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from plaid_sync.domain import exact_json
from plaid_sync.domain.accounts import Account, AccountStates
from plaid_sync.domain.changes import Change, ChangeKind
from plaid_sync.domain.clock import Deadline
from plaid_sync.domain.errors import TransientError
from plaid_sync.domain.item import ItemId, ItemState, Removal, StateName
from plaid_sync.domain.transaction import TransactionId
from plaid_sync.events import EventPublisher, UnpublishedEvent
from plaid_sync.feed import (
    MAX_EVENT_BYTES,
    PART_EVENTS,
    ChangeRecord,
    FeedPublisher,
    ItemEvents,
    ItemWrite,
)

from tests.event_schemas import validate
from tests.fakes.clock import NOON, PLENTY, FakeClock
from tests.fakes.items import new_item
from tests.fakes.subscriber import Subscriber

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from plaid_sync.domain.item import Item
    from plaid_sync.events import BusEvent

BEFORE = new_item("item", generation=4, changes_at=3, synced_at=NOON, client_user_id="user-17")
AFTER = replace(BEFORE, changes_at=4, synced_at=NOON + timedelta(minutes=1))
COMMIT = ItemWrite(BEFORE, AFTER, NOON)


@dataclass
class Log:
    """A change log in memory; implements `ChangeLog`."""

    stored: dict[int, list[ChangeRecord]] = field(default_factory=dict)
    expired: list[str] = field(default_factory=list)
    saved: dict[int, int] = field(default_factory=dict)

    def records(self, item_id: ItemId, after: int, until: int, deadline: Deadline) -> Iterator[ChangeRecord]:
        assert item_id == "item"
        for generation in range(after + 1, until + 1):
            deadline.require(1)
            yield from self.stored.get(generation, ())

    def expire(self, item_id: ItemId, record_id: str) -> None:
        assert item_id == "item"
        self.expired.append(record_id)

    def progress(self, item_id: ItemId, changes_at: int) -> int:  # noqa: ARG002 - the port's
        return self.saved.get(changes_at, 0)

    def save_progress(self, item_id: ItemId, changes_at: int, published: int) -> None:  # noqa: ARG002 - the port's
        self.saved[changes_at] = published


@dataclass
class Bus:
    """A bus that accepts so many events."""

    room: int = 10_000
    published: list[BusEvent] = field(default_factory=list)

    def calls(self, events: Iterable[BusEvent]) -> Iterable[list[BusEvent]]:
        return ([event] for event in events)

    def publish(self, events: Sequence[BusEvent], deadline: Deadline) -> list[UnpublishedEvent]:
        deadline.require(1)
        if self.room < len(events):
            return [UnpublishedEvent(event, "InternalFailure", permanent=False) for event in events]
        self.room -= len(events)
        self.published += events
        return []

    def keep(self, failed: UnpublishedEvent) -> None:
        raise AssertionError(failed)


def added(key: str, **content: Any) -> Change:
    document = {"transaction_id": key, "account_id": "account", "date": "2026-06-01", "amount": Decimal("1.5")}
    document |= {"pending": False} | content
    return Change(TransactionId(key), ChangeKind.ADDED, "account", document)


def removed(key: str) -> Change:
    return Change(TransactionId(key), ChangeKind.REMOVED, "account", {"transaction_id": key})


def log_of(*changes: Change, generation: int = 4, expires: bool = True) -> Log:
    return Log({generation: [ChangeRecord(f"{generation}", changes, expires)]})


def events(write: ItemWrite, log: Log | None = None) -> list[BusEvent]:
    """Return the events of a write; each is as its schema says."""
    found = list(ItemEvents(write, log or Log(), PLENTY))
    for event in found:
        validate(json.loads(exact_json.dumps(dict(event.detail))))
    return found


def kinds(found: list[BusEvent]) -> list[str]:
    return [event.detail_type for event in found]


def test_a_commit_publishes_what_it_and_the_attempts_before_it_changed_and_ends_with_a_count() -> None:
    log = log_of(added("b", pending_transaction_id=None), generation=4)
    log.stored[3] = [ChangeRecord("3", (added("published before"),))]
    first, completed = events(replace(COMMIT, before=replace(BEFORE, changes_at=3)), log)
    assert first.detail == {
        "specversion": "1.0",
        "id": "item/0000000004-10000001",
        "source": "plaid-sync-engine",
        "type": "TransactionAdded.v1",
        "subject": "item",
        "time": "2026-06-01T12:00:00.000Z",
        "datacontenttype": "application/json",
        "sequence": "0000000004-10000001",
        "data": {
            "item_id": "item",
            "client_user_id": "user-17",
            "transaction_id": "b",
            "account_id": "account",
            "transaction": {
                "transaction_id": "b", "account_id": "account", "date": "2026-06-01", "amount": "1.5",
                "pending": False, "pending_transaction_id": None,
            },
        },
    }  # fmt: skip
    counts = {"accounts": 0, "added": 1, "modified": 0, "posted": 0, "removed": 0}
    assert completed.detail["data"] == {
        "item_id": "item", "client_user_id": "user-17", "counts": counts, "events": 1,
        "previous_sequence": "0000000003-19999999", "lag_seconds": None,
    }  # fmt: skip


def test_what_an_attempt_wrote_that_never_committed_is_no_event() -> None:
    log = log_of(added("a"), generation=3)
    log.stored[4] = [ChangeRecord("4", (removed("a"), added("b")))]
    write = replace(COMMIT, before=replace(BEFORE, changes_at=2))
    assert [event.detail["data"].get("transaction_id") for event in events(write, log)] == ["b", None]


def test_a_pending_transaction_and_its_posted_one_are_one_event() -> None:
    log = log_of(removed("pending"), added("posted", pending_transaction_id="pending"), removed("other"))
    found = events(COMMIT, log)
    assert kinds(found) == ["TransactionRemoved", "TransactionPosted", "SyncCompleted"]
    assert found[1].detail["data"]["pending_transaction_id"] == "pending"
    assert found[1].detail["data"]["transaction_id"] == "posted"


@pytest.mark.parametrize("pending_id", ["self", "unknown", None])
def test_a_posted_transaction_whose_pending_one_is_not_removed_with_it_is_added(pending_id: str | None) -> None:
    log = log_of(added("self", pending_transaction_id=pending_id))
    assert kinds(events(COMMIT, log)) == ["TransactionAdded", "SyncCompleted"]


def test_a_content_that_no_event_can_hold_is_omitted() -> None:
    large = added("large", name="x" * MAX_EVENT_BYTES)
    without = replace(added("without"), content=None)
    for event in events(COMMIT, log_of(large, without))[:-1]:
        assert event.detail["data"]["content"] == "omitted"
        assert "transaction" not in event.detail["data"]
        assert len(exact_json.dumps(dict(event.detail))) < MAX_EVENT_BYTES


def test_a_write_that_changes_nothing_of_concern_has_no_event() -> None:
    claimed = replace(BEFORE, generation=5, attempt_id="now", unfinished_attempts=1)
    same_object = replace(BEFORE, accounts=(account(as_of=NOON),))
    later = replace(same_object, accounts=(account(as_of=NOON + timedelta(days=1)),))
    assert events(ItemWrite(BEFORE, claimed, NOON)) == []
    assert events(ItemWrite(same_object, later, NOON)) == []


def test_a_state_is_an_event_with_what_is_wrong_and_a_removal_says_whether_it_erases() -> None:
    broken = replace(BEFORE, state=ItemState(StateName.NEEDS_USER, "ITEM_LOGIN_REQUIRED", NOON))
    (event,) = events(ItemWrite(BEFORE, broken, NOON))
    assert (event.detail_type, event.detail["sequence"]) == ("ItemStateChanged", "0000000004-10000001")
    data = event.detail["data"]
    assert (data["state"], data["state_before"], data["code"]) == ("needs_user", "active", "ITEM_LOGIN_REQUIRED")
    gone = replace(BEFORE, generation=5, state=ItemState(StateName.REMOVED), removal=Removal(NOON, erase=True))
    (event,) = events(ItemWrite(BEFORE, gone, NOON))
    assert (event.detail["data"]["erases"], event.detail["sequence"]) == (True, "0000000005-00000001")


def account(name: str = "account", balance: str = "10.50", **fields: Any) -> Account:
    plaid = f'{{"account_id":"{name}","balances":{{"current":{balance}}}}}'.encode()
    return Account(name, name="Checking", plaid=plaid, **fields)


ACCOUNTS = replace(BEFORE, accounts=(account(),))


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        (BEFORE, ACCOUNTS, "added"),
        (ACCOUNTS, replace(ACCOUNTS, accounts=(account(balance="10.51"),)), "changed"),
        (ACCOUNTS, replace(ACCOUNTS, account_states=AccountStates(gone=frozenset({"account"}))), "gone"),
        (replace(ACCOUNTS, account_states=AccountStates(gone=frozenset({"account"}))), ACCOUNTS, "returned"),
        (ACCOUNTS, replace(BEFORE, account_states=AccountStates(withdrawn=frozenset({"account"}))), "withdrawn"),
        (ACCOUNTS, replace(BEFORE, account_states=AccountStates(erased=frozenset({"account"}))), "erased"),
    ],
)
def test_what_happens_to_an_account_is_an_event(before: Item, after: Item, change: str) -> None:
    (event,) = events(ItemWrite(before, after, NOON))
    assert (event.detail_type, event.detail["data"]["change"]) == ("AccountChanged", change)
    balances = (event.detail["data"]["account"] or {}).get("balances")
    assert (balances or {}).get("current") == {"withdrawn": None, "erased": None, "changed": "10.51"}.get(
        change, "10.50"
    )


def test_a_registered_item_begins_with_its_state_and_accounts() -> None:
    item = replace(ACCOUNTS, generation=0, changes_at=0)
    found = events(ItemWrite(None, item, NOON))
    assert kinds(found) == ["ItemStateChanged", "AccountChanged"]
    assert [event.detail["sequence"] for event in found] == ["0000000000-00000001", "0000000000-00000002"]


@pytest.mark.parametrize(
    ("webhook", "lag"), [(None, None), (timedelta(seconds=20), 40), (timedelta(0), None), (timedelta(minutes=2), 0)]
)
def test_the_lag_is_that_of_the_webhook_that_led_to_the_commit(webhook: timedelta | None, lag: int | None) -> None:
    after = replace(AFTER, webhook_at=None if webhook is None else NOON + webhook)
    assert events(ItemWrite(BEFORE, after, NOON))[-1].detail["data"]["lag_seconds"] == lag


# ---- publishing


def publish(bus: Bus, log: Log, *writes: ItemWrite, seconds: float = 900) -> int | None:
    publisher = FeedPublisher(log, EventPublisher(bus, bus, FakeClock()))
    return publisher.publish(writes, Deadline(lambda: seconds)).unfinished


def test_records_of_dead_attempts_expire_once_their_commit_is_published() -> None:
    log, bus = log_of(added("a"), generation=3, expires=False), Bus(room=0)
    write = replace(COMMIT, before=replace(BEFORE, changes_at=2))
    assert publish(bus, log, ItemWrite(BEFORE, BEFORE, NOON), write) == 1
    assert log.expired == []
    bus.room = 10
    assert publish(bus, log, write) is None
    assert log.expired == ["3"]


def test_a_commit_of_many_events_continues_with_the_part_that_is_not_published() -> None:
    many = [added(f"{number:05}") for number in range(3 * PART_EVENTS)]
    log, bus = log_of(*many, expires=False), Bus(room=PART_EVENTS)
    small = ItemWrite(replace(BEFORE, item_id=ItemId("another")), replace(ACCOUNTS, item_id=ItemId("another")), NOON)
    assert publish(bus, log, small, COMMIT) == 1, "the one event of the other Item takes room that a part needs"
    bus.room = 10_000
    assert publish(bus, log, COMMIT) is None
    subscriber = Subscriber()
    for event in bus.published:
        subscriber.receive(dict(event.detail))
    assert subscriber.repeats == PART_EVENTS - 1, "what was accepted of the part comes twice, with the same ids"
    assert subscriber.copy("item").rows.keys() == {change.transaction_id for change in many}
    subscriber.check_complete("item")
    assert log.expired == ["4"]


def test_a_large_commit_goes_on_where_time_ran_out() -> None:
    many = [added(f"{number:05}") for number in range(3 * PART_EVENTS)]
    log, bus = log_of(*many), Bus()
    bus.room = 2 * PART_EVENTS
    assert publish(bus, log, COMMIT) == 0
    assert log.saved == {4: 2 * PART_EVENTS}
    bus.room = 10_000
    assert publish(bus, log, COMMIT) is None
    ids = [event.detail["id"] for event in bus.published]
    assert len(ids) == len(set(ids)) == 3 * PART_EVENTS + 1, "nothing twice"
    log.saved.clear()
    assert publish(bus, log, COMMIT, seconds=20) == 0, "a part is not begun that may not end"


def test_a_log_that_cannot_be_read_holds_up_what_is_behind_and_not_what_is_before() -> None:
    class Broken(Log):
        def records(self, *_: object) -> Iterator[ChangeRecord]:
            raise TransientError("throttled")

    bus = Bus()
    state = replace(BEFORE, state=ItemState(StateName.NEEDS_USER, "ITEM_LOGIN_REQUIRED", NOON))
    assert publish(bus, Broken(), ItemWrite(BEFORE, state, NOON), COMMIT, ItemWrite(BEFORE, state, NOON)) == 1
    assert kinds(bus.published) == ["ItemStateChanged"]
