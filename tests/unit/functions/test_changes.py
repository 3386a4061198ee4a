"""The function that publishes events: ten in a call, those of an Item in order; none holds up the others for long."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plaid_sync.aws.dynamodb.history import entry_put
from plaid_sync.domain.batches import batches
from plaid_sync.domain.errors import TransientError
from plaid_sync.domain.history import NO_ITEM, DetailType, EntryKind, HistoryEntry
from plaid_sync.domain.item import ItemId
from plaid_sync.events import MAX_RETRY_AGE, EventPublisher, UnpublishedEvent

from tests.fakes.clock import NOON, FakeClock
from tests.fakes.functions import import_app, lambda_context

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from plaid_sync.domain.clock import Deadline
    from plaid_sync.events import BusEvent


@dataclass(slots=True)
class Bus:
    """A bus that accepts so many events, none of some detail-types, and the queue of those that fail.

    Attributes:
        failures: by the outcome of their entry, how often events fail before they are accepted.
        calls_made: how many events each call had.
        done: what was published or kept, in order.
    """

    room: int = 1000
    refused: frozenset[str] = frozenset()
    failures: Counter[str] = field(default_factory=Counter)
    queue_is_up: bool = True
    published: list[tuple[str, Any]] = field(default_factory=list)
    failed: list[tuple[str, Any, str]] = field(default_factory=list)
    calls_made: list[int] = field(default_factory=list)
    done: list[tuple[str, str]] = field(default_factory=list)

    def calls(self, events: Iterable[BusEvent]) -> Iterable[list[BusEvent]]:
        return batches(events, lambda _: 0, 10, 0)

    def publish(self, events: Sequence[BusEvent], deadline: Deadline) -> list[UnpublishedEvent]:
        deadline.require(1)
        self.calls_made.append(len(events))
        return [UnpublishedEvent(event, *failure) for event in events if (failure := self._failure_of(event))]

    def _failure_of(self, event: BusEvent) -> tuple[str, bool] | None:
        outcome = event.detail["outcome"]
        if event.detail_type in self.refused:
            return "MalformedDetail", True
        if len(self.published) == self.room or self.failures[outcome] > 0:
            self.failures[outcome] -= 1
            return "InternalFailure", False
        self.published.append((event.detail_type, outcome))
        self.done.append((event.detail_type, outcome))
        return None

    def keep(self, failed: UnpublishedEvent) -> None:
        if not self.queue_is_up:
            raise TransientError("ServiceUnavailable")
        self.failed.append((failed.event.detail_type, failed.event.detail["outcome"], failed.code))
        self.done.append((failed.event.detail_type, failed.event.detail["outcome"]))


def record(number: int, *published_events: DetailType, item_id: str = "item", age: float = 0) -> dict[str, Any]:
    """Return the record of an entry with the outcome `sync <number>`, written so many seconds ago."""
    outcome = f"sync {number}"
    entry = HistoryEntry(ItemId(item_id), NOON, f"g{number}", EntryKind.SYNC, outcome, {}, published_events)
    image = entry_put("history", entry).request["Put"]["Item"]
    written_at = (NOON - timedelta(seconds=age)).timestamp()
    change = {"SequenceNumber": str(number), "NewImage": image, "ApproximateCreationDateTime": written_at}
    return {"eventName": "INSERT", "dynamodb": change}


def handle(bus: Bus, *records: dict[str, Any], seconds: float = 60) -> list[str]:
    """Let the function publish the records; return the sequence numbers from which Lambda retries."""
    app = import_app("changes")
    with patch.object(app, "publishers", replace(app.publishers, signals=EventPublisher(bus, bus, FakeClock()))):
        response = app.lambda_handler({"Records": list(records)}, lambda_context(seconds))
    return [failure["itemIdentifier"] for failure in response["batchItemFailures"]]


def test_the_events_of_every_record_are_published_in_order() -> None:
    bus = Bus()
    records = record(1, DetailType.NEEDS_USER), record(2), record(3, DetailType.NEW_ACCOUNTS, DetailType.ACTIVE)
    assert handle(bus, *records, {"dynamodb": {"SequenceNumber": "4"}}) == []
    assert bus.published == [("ItemNeedsUser", "sync 1"), ("NewAccountsAvailable", "sync 3"), ("ItemActive", "sync 3")]


def test_lambda_retries_from_the_first_record_that_was_not_published() -> None:
    """Later ones are not published before it: an application must not see a repair before the trouble."""
    bus = Bus(room=1)
    records = [record(number, DetailType.ACTIVE) for number in (1, 2, 3)]
    assert handle(bus, *records) == ["2"]
    assert bus.published == [("ItemActive", "sync 1")]
    bus.room = 1000
    assert handle(bus, *records[1:]) == []
    assert bus.published == [("ItemActive", f"sync {number}") for number in (1, 2, 3)]


def test_an_event_that_is_never_accepted_is_kept_and_the_records_behind_it_are_published() -> None:
    bus = Bus(refused=frozenset({"ItemActive"}))
    records = record(1, DetailType.ACTIVE, DetailType.NEW_ACCOUNTS), record(2, DetailType.NEEDS_USER)
    assert handle(bus, *records) == []
    assert bus.published == [("NewAccountsAvailable", "sync 1"), ("ItemNeedsUser", "sync 2")]
    assert bus.failed == [("ItemActive", "sync 1", "MalformedDetail")]


@pytest.mark.parametrize(("seconds", "held"), [(-1.0, True), (0.0, False)])
def test_a_record_that_fails_again_and_again_holds_up_its_shard_for_a_limited_time(
    seconds: float, *, held: bool
) -> None:
    bus = Bus(room=0)
    old = record(1, DetailType.ACTIVE, age=MAX_RETRY_AGE.total_seconds() + seconds)
    assert handle(bus, old, record(2, DetailType.NEEDS_USER)) == ["1" if held else "2"]
    assert bus.failed == ([] if held else [("ItemActive", "sync 1", "InternalFailure")])


def test_an_event_that_is_neither_published_nor_kept_is_retried() -> None:
    bus = Bus(refused=frozenset({"ItemActive"}), queue_is_up=False)
    assert handle(bus, record(1, DetailType.ACTIVE)) == ["1"]


# ---- several entries in a call


def test_two_hundred_entries_of_as_many_items_take_twenty_calls() -> None:
    bus = Bus()
    assert handle(bus, *(record(number, DetailType.ACTIVE, item_id=f"item-{number}") for number in range(200))) == []
    assert bus.calls_made == [10] * 20
    assert bus.published == [("ItemActive", f"sync {number}") for number in range(200)]


def test_entries_of_an_item_never_share_a_call_and_those_about_no_item_do() -> None:
    bus = Bus()
    of_items = [record(number, DetailType.ACTIVE, item_id=f"item-{number % 2}") for number in range(4)]
    of_none = [record(number, DetailType.PLAID_WEBHOOK, item_id=NO_ITEM) for number in range(4, 8)]
    assert handle(bus, *of_items, *of_none) == []
    assert bus.calls_made == [2, 6]


def test_a_later_event_of_an_item_waits_for_an_earlier_one() -> None:
    bus = Bus(failures=Counter({"sync 1": 1}))
    records = [record(number, DetailType.ACTIVE, item_id=item) for number, item in enumerate("abba")]
    assert handle(bus, *records) == ["1"]
    assert bus.published == [("ItemActive", "sync 0")]
    assert handle(bus, *records[1:]) == []
    assert bus.published[1:] == [("ItemActive", f"sync {number}") for number in (1, 2, 3)]


def test_an_entry_that_may_have_failed_before_is_published_before_all_others() -> None:
    """Else those behind it would be published again, each time that it fails."""
    bus = Bus(failures=Counter({"sync 0": 1}))
    records = [record(number, DetailType.ACTIVE, item_id=f"item-{number}", age=10) for number in range(3)]
    assert handle(bus, *records) == ["0"]
    assert bus.published == []
    assert handle(bus, *records) == []
    assert bus.published == [("ItemActive", f"sync {number}") for number in range(3)]


def test_what_no_time_is_left_for_is_left_to_the_next_invocation() -> None:
    bus = Bus()
    assert handle(bus, record(1), record(2, DetailType.ACTIVE), seconds=0.5) == ["2"]
    assert (bus.calls_made, bus.published) == ([], [])


@given(
    entries=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2)), min_size=1, max_size=30),
    age=st.integers(0, 7200),
    refused=st.booleans(),
)
def test_every_event_is_published_or_kept_and_none_of_an_item_before_an_earlier_one(
    entries: list[tuple[str, int]], age: int, *, refused: bool
) -> None:
    outcomes = [f"sync {number}" for number in range(len(entries))]
    failures = Counter(dict(zip(outcomes, (times for _, times in entries), strict=True)))
    bus = Bus(refused=frozenset({"NewAccountsAvailable"}) if refused else frozenset(), failures=failures)
    types = DetailType.NEW_ACCOUNTS, DetailType.ACTIVE
    records = [record(number, *types, item_id=item, age=age) for number, (item, _) in enumerate(entries)]
    first = 0
    for _ in range(200):
        left = handle(bus, *records[first:])
        if not left:
            break
        first = int(left[0])
    else:
        pytest.fail("the records are never through")
    assert set(bus.done) == {(name.value, outcome) for name in types for outcome in outcomes}
    for item in "abc":
        of_item = [outcome for outcome, (name, _) in zip(outcomes, entries, strict=True) if name == item]
        published = [of_item.index(outcome) for _, outcome in bus.done if outcome in of_item]
        assert sorted(set(published)) == list(range(len(of_item)))
        # Not even a copy of an earlier one: the last event that an application gets is the newest.
        assert published == sorted(published)
