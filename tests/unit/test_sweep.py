"""The sweep: each class within its budget, one Item's failure blocks no other, and nothing is enqueued twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import pytest
from plaid_sync.domain.errors import FailureClass
from plaid_sync.domain.item import ItemId, StateName
from plaid_sync.domain.schedule import (
    LEASED,
    ROUTINE_INTERVALS,
    AttemptClass,
    DueItem,
    Lease,
    NextAttempt,
    after_claim,
    after_failure,
    after_outcome,
    next_failure,
)
from plaid_sync.sweep import PROBES, SHARES, Sweeper, SweepResult

from tests.fakes.attempts import FakeAttempts
from tests.fakes.clock import NOON, FakeClock
from tests.fakes.items import FakeItems, new_item
from tests.fakes.queue import FakeQueue

if TYPE_CHECKING:
    from plaid_sync.domain.messages import SyncMessage

CALLS: Final = 2_500
"""Plaid's limit of calls per minute (https://plaid.com/docs/errors/rate-limit-exceeded/)."""
MINUTE: Final = timedelta(minutes=1)
CALL_SECONDS: Final = 0.01
"""A call of DynamoDB, and one of SQS, by the sweep's function (docs/decisions.md, "The sweep")."""
SEND_SECONDS: Final = 0.015
BEGIN_SECONDS: Final = 0.1
"""From a message's acceptance until the index shows that a worker has begun its Item."""


def due(*names: str, attempt_class: AttemptClass = AttemptClass.ROUTINE, items: FakeItems | None = None) -> FakeItems:
    """Return a table with these Items, the first due for longest."""
    items = items or FakeItems()
    for minutes, name in enumerate(reversed(names)):
        items.put(new_item(name))
        items.plan(ItemId(name), NextAttempt(NOON - MINUTE * minutes, attempt_class))
    return items


@dataclass(slots=True)
class WorkedQueue(FakeQueue):
    """A queue whose messages workers begin at once."""

    items: FakeItems = field(default_factory=FakeItems)

    def send(self, message: SyncMessage, deduplication_id: str | None = None) -> None:
        FakeQueue.send(self, message, deduplication_id)
        self.items.plan(message.item_id, after_claim(message.item_id, NOON))


def numbered(prefix: str, number: int) -> list[str]:
    return [f"{prefix}{each:05}" for each in range(number)]


def sweep(  # noqa: PLR0913, PLR0917 - a run depends on as much
    items: FakeItems,
    queue: FakeQueue,
    calls: int = CALLS,
    seconds: float = 120.0,
    now: datetime = NOON,
    attempts: FakeAttempts | None = None,
) -> SweepResult:
    clock = FakeClock(now)
    return Sweeper(items, attempts or FakeAttempts(), queue, clock, calls).sweep(clock.deadline(seconds))


def test_an_item_whose_message_the_queue_rejects_blocks_no_other_item_and_stays_due() -> None:
    items, queue, attempts = due("a", "b", "c"), FakeQueue(refused={"a"}), FakeAttempts()
    result = sweep(items, queue, attempts=attempts)
    assert queue.take() == [("b", "sweep"), ("c", "sweep")]
    assert ([item.item_id for item in result.enqueued], result.deferred) == (["b", "c"], 1)
    assert result.failures == ["InvalidParameterValue"]
    queue.refused = ()
    sweep(items, queue, now=NOON + MINUTE, attempts=attempts)
    assert queue.take() == [("a", "sweep")]


def test_a_queue_that_accepts_nothing_ends_the_run() -> None:
    names = numbered("", 50)
    items, queue, attempts = due(*names), FakeQueue(refused=set(names)), FakeAttempts()
    result = sweep(items, queue, attempts=attempts)
    assert (queue.attempts, result.deferred) == (10, 50)
    queue.refused = ()
    sweep(items, WorkedQueue(items=items), now=NOON + MINUTE, attempts=attempts)
    assert [item.item_id for each in AttemptClass for item in items.due(each, NOON + MINUTE)] == []


def test_an_item_that_no_worker_begins_is_enqueued_again_when_its_lease_ends() -> None:
    items, queue, attempts = due("a"), FakeQueue(), FakeAttempts()
    sent = []
    for minutes in range(12):
        sweep(items, queue, now=NOON + MINUTE * minutes, attempts=attempts)
        sent += [MINUTE * minutes for _ in queue.take()]
    assert sent == [LEASED * 0, LEASED, LEASED * 2]


def test_items_that_no_worker_can_begin_delay_no_other() -> None:
    """Their attempts stay the most overdue ones, and more of them may be leased again than the budget allows."""
    items, queue, attempts = due(*numbered("stuck", 1_000)), FakeQueue(), FakeAttempts()
    for item in items.due(AttemptClass.ROUTINE, NOON):
        assert attempts.take(Lease(item), Lease(item, NOON))
    due("well", items=items)
    result = sweep(items, queue, attempts=attempts)
    assert [item.item_id for item in result.enqueued] == ["well", *numbered("stuck", 9)]


def test_two_runs_at_once_enqueue_an_attempt_once() -> None:
    attempts = FakeAttempts()

    class Slow(FakeItems):
        """A table whose Items another run enqueues while this one reads them."""

        def is_due(self, item: DueItem) -> bool:
            sweep(due(*names), others, attempts=attempts)
            return FakeItems.is_due(self, item)

    names, queue, others = numbered("", 30), FakeQueue(), FakeQueue()
    sweep(due(*names, items=Slow()), queue, attempts=attempts)
    sent = [*queue.take(), *others.take()]
    assert sorted(sent) == sorted(set(sent))
    assert len(sent) == 30


def test_an_attempt_that_a_webhook_requested_is_enqueued_until_a_worker_answers() -> None:
    items, queue, attempts = due("due"), FakeQueue(), FakeAttempts()
    attempts.request_attempt(ItemId("requested"), NOON)
    result = sweep(items, queue, attempts=attempts)
    assert queue.take() == [("requested", "refused_webhook"), ("due", "sweep")]
    assert {item.item_id: item.requested for item in result.enqueued} == {"requested": True, "due": False}
    sweep(items, queue, now=NOON + LEASED, attempts=attempts)
    assert ("requested", "refused_webhook") in queue.take()
    attempts.answer(ItemId("requested"))
    sweep(items, queue, now=NOON + LEASED * 2, attempts=attempts)
    assert queue.take() == [("due", "sweep")]


def test_a_request_whose_message_is_refused_too_is_enqueued_by_the_next_run() -> None:
    items, queue, attempts = FakeItems(), FakeQueue(refused={"a"}), FakeAttempts()
    attempts.request_attempt(ItemId("a"), NOON)
    sweep(items, queue, attempts=attempts)
    queue.refused = ()
    sweep(items, queue, now=NOON + MINUTE, attempts=attempts)
    assert queue.take() == [("a", "refused_webhook")]


@dataclass(slots=True)
class AnsweredQueue(WorkedQueue):
    """A queue whose messages workers begin at once, and whose requests they answer."""

    requests: FakeAttempts = field(default_factory=FakeAttempts)

    def send(self, message: SyncMessage, deduplication_id: str | None = None) -> None:
        if message.cause == "sweep":
            WorkedQueue.send(self, message, deduplication_id)
        else:
            FakeQueue.send(self, message, deduplication_id)
            self.requests.answer(message.item_id)


def test_requests_and_other_attempts_come_in_the_order_of_their_times() -> None:
    """An hour of refused webhooks delays no pull that goes on in another invocation."""
    items, attempts = due(*numbered("due", 3), attempt_class=AttemptClass.FIRST_SYNC), FakeAttempts()
    for number, name in enumerate(numbered("webhook", 700)):
        attempts.request_attempt(ItemId(name), NOON - MINUTE * 1.5 + timedelta(seconds=number))
    queue = AnsweredQueue(items=items, requests=attempts)
    sweep(items, queue, now=NOON + MINUTE * 15, attempts=attempts)
    sent = [name for name, _ in queue.take()]
    assert [sent.index(name) for name in numbered("due", 3)] == [0, 31, 92]
    assert len(sent) == CALLS * SHARES[AttemptClass.FIRST_SYNC]


def test_while_workers_begin_nothing_a_few_requests_wait() -> None:
    """A webhook of another Item must not wait behind all those that the queue refused for an hour."""
    attempts, queue = FakeAttempts(), FakeQueue()
    for name in numbered("webhook", 5_000):
        attempts.request_attempt(ItemId(name), NOON)
    assert len(sweep(FakeItems(), queue, attempts=attempts).enqueued) == 13


def test_each_class_has_its_own_budget_and_the_most_overdue_come_first() -> None:
    items = FakeItems()
    queue = WorkedQueue(items=items)
    for attempt_class in AttemptClass:
        due(*numbered(attempt_class, 600), attempt_class=attempt_class, items=items)
    items.put(new_item("synced", synced_at=NOON))
    result = sweep(items, queue, calls=1_000)
    sent = [name for name, _ in queue.take()]
    budgets = Counter(name[:-5] for name in sent)
    assert budgets == {"failing": 250, "first_sync": 200, "routine": 150, "bank_down": 100}
    turn = list(map(str, AttemptClass))
    assert sent[:8] == [f"{each}{number:05}" for number in range(2) for each in turn]
    # The sweep leaves room for webhooks.
    assert len(sent) <= 700
    assert result.deferred == len(AttemptClass)


@pytest.mark.parametrize("calls", [1, 9])
def test_the_smallest_limit_still_sweeps_each_class(calls: int) -> None:
    items, queue = FakeItems(), FakeQueue()
    for attempt_class in AttemptClass:
        due(attempt_class, attempt_class=attempt_class, items=items)
    assert len(sweep(items, queue, calls=calls).enqueued) == len(AttemptClass)


def test_while_nothing_succeeds_a_few_failing_items_are_probes_and_a_success_releases_the_others() -> None:
    items = due(*numbered("", 500), attempt_class=AttemptClass.FAILING)
    due("routine", items=items)
    queue = WorkedQueue(items=items)
    result = sweep(items, queue)
    assert (result.probing, len(result.enqueued)) == (True, PROBES + 1)
    items.put(new_item("synced", synced_at=NOON))
    result = sweep(items, queue, now=NOON + MINUTE)
    assert (result.probing, len(result.enqueued)) == (False, 500 - PROBES)


def test_a_large_bank_that_is_down_delays_no_lost_webhook_of_another_bank() -> None:
    """40,000 Items of one bank fail; an Item of another bank whose webhook is lost is swept by routine all the same."""
    items, queue, down = FakeItems(), FakeQueue(), numbered("down", 40_000)
    for name in down:
        items.put(new_item(name))
        failure = next_failure(None, "INSTITUTION_DOWN", FailureClass.INSTITUTION_DOWN, NOON)
        items.plan(ItemId(name), after_failure(ItemId(name), FailureClass.INSTITUTION_DOWN, None, failure))
    lost = new_item("lost", synced_at=NOON, history_complete=True)
    items.put(lost)
    items.plan(lost.item_id, after_outcome(lost, StateName.ACTIVE, "HISTORICAL_UPDATE_COMPLETE", NOON))
    routine = ROUTINE_INTERVALS[StateName.ACTIVE] * 1.1
    now = NOON + routine - MINUTE * 30
    while ("lost", "sweep") not in queue.take():
        result = sweep(items, queue, now=now)
        assert len(result.enqueued) <= CALLS * 0.1 + 1
        now += MINUTE
        assert now - NOON < routine + 2 * MINUTE


def test_a_run_stops_when_time_is_short_and_messages_are_sent_over_the_minute() -> None:
    assert sweep(due("a"), FakeQueue(), seconds=20).enqueued == []
    items, clock = due(*numbered("", 300)), FakeClock()
    result = Sweeper(items, FakeAttempts(), WorkedQueue(items=items), clock, CALLS).sweep(clock.deadline(96))
    assert len(result.enqueued) == 300
    assert max(clock.pauses) <= 5.0
    assert 20.0 <= sum(clock.pauses) < 60.0


@dataclass(slots=True)
class DistantItems(FakeItems):
    """A table whose responses take time."""

    seconds: float = CALL_SECONDS
    begun_at: dict[ItemId, datetime] = field(default_factory=dict)

    def is_due(self, item: DueItem) -> bool:
        self.clock.time += timedelta(seconds=self.seconds)
        return self.clock.now() < self.begun_at[item.item_id]


@dataclass(slots=True)
class DistantAttempts(FakeAttempts):
    """Leases whose writes take time."""

    clock: FakeClock = field(default_factory=FakeClock)
    seconds: float = CALL_SECONDS

    def take(self, before: Lease, lease: Lease) -> bool:
        self.clock.time += timedelta(seconds=self.seconds)
        return FakeAttempts.take(self, before, lease)


@dataclass(slots=True)
class DistantQueue(FakeQueue):
    """A queue whose responses take time, and whose workers do; it counts the messages of each second."""

    items: DistantItems = field(default_factory=DistantItems)
    seconds: Counter[int] = field(default_factory=Counter)

    def send(self, message: SyncMessage, deduplication_id: str | None = None) -> None:
        self.items.clock.time += timedelta(seconds=SEND_SECONDS)
        self.seconds[int((self.items.clock.now() - NOON).total_seconds())] += 1
        self.items.begun_at[message.item_id] = self.items.clock.now() + timedelta(seconds=BEGIN_SECONDS)
        FakeQueue.send(self, message, deduplication_id)


def test_the_full_budget_of_every_class_is_sent_within_the_minute_and_spread_over_it() -> None:
    """The calls take as long as on AWS: their time is a part of each second, not added to it."""
    items = DistantItems()
    queue = DistantQueue(items=items)
    budgets = {attempt_class: int(CALLS * share) for attempt_class, share in SHARES.items()}
    for attempt_class, budget in budgets.items():
        due(*numbered(attempt_class, budget), attempt_class=attempt_class, items=items)
    items.put(new_item("synced", synced_at=NOON))
    sweeper = Sweeper(items, DistantAttempts(clock=items.clock), queue, items.clock, CALLS)
    result = sweeper.sweep(items.clock.deadline(120))
    assert Counter(item.attempt_class for item in result.enqueued) == budgets
    assert (result.deferred, result.failures) == (0, [])
    assert items.clock.now() <= NOON + timedelta(seconds=53)
    assert len(queue.seconds) >= 40
    assert max(queue.seconds.values()) <= sum(budgets.values()) / 40


def test_a_run_whose_calls_are_slow_leaves_the_rest_to_the_next() -> None:
    items = DistantItems(seconds=0.5)
    queue, clock = DistantQueue(items=items), items.clock
    due(*numbered("", 300), items=items)
    result = Sweeper(items, DistantAttempts(clock=clock, seconds=0.5), queue, clock, CALLS).sweep(clock.deadline(120))
    assert 0 < len(result.enqueued) < 300
    assert len(result.enqueued) + result.deferred == 300
    assert clock.now() < NOON + MINUTE + timedelta(seconds=6)


def test_while_workers_begin_nothing_a_few_messages_wait() -> None:
    """Attempts may be slow: a webhook must never wait behind a minute's worth of messages."""
    items, queue, clock = due(*numbered("", 300)), FakeQueue(), FakeClock()
    result = Sweeper(items, FakeAttempts(), queue, clock, CALLS).sweep(clock.deadline(120))
    assert len(queue.take()) == len(result.enqueued) <= 10
    assert result.deferred == 300 - len(result.enqueued)
    assert clock.now() < NOON + MINUTE


def test_each_message_says_what_the_calls_of_its_attempt_are_for() -> None:
    items, queue, attempts = FakeItems(), WorkedQueue(), FakeAttempts()
    for attempt_class in AttemptClass:
        due(attempt_class.value, attempt_class=attempt_class, items=items)
    attempts.request_attempt(ItemId("webhook"), NOON)
    queue.items = items
    items.put(new_item("webhook"))
    sweep(items, queue, attempts=attempts)
    assert {message.item_id: message.call_class.value for message in queue.sent.values()} == {
        "failing": "retry",
        "first_sync": "webhook",
        "routine": "routine",
        "bank_down": "retry",
        "webhook": "webhook",
    }
