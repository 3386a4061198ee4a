"""The call budget: no minute has more calls than Plaid allows, and the most urgent come first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING

import pytest
from plaid_sync.domain.budget import (
    LIMITS,
    SHARES,
    SLICE,
    SYNC_ENDPOINT,
    CallBudget,
    CallClass,
    CallCounts,
    ceilings_of,
    limits_of,
    slice_of,
)
from plaid_sync.domain.errors import CallBudgetError

from local.plaid import rate_limits
from tests.fakes.calls import FakeCallCounts
from tests.fakes.clock import NOON, FakeClock
from tests.fakes.failing import UNREACHABLE

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT = 2_500
REFRESH = "/transactions/refresh"
MINUTE = timedelta(minutes=1)
QUEUED = [call_class for call_class in CallClass if call_class is not CallClass.INTERACTIVE]
"""The classes that wait in the queue, not in the budget."""


@dataclass(slots=True)
class Crowded(FakeClock):
    """A clock whose waits let other processes take calls."""

    then: Callable[[], object] = field(default=lambda: None)

    def sleep(self, seconds: float) -> None:
        FakeClock.sleep(self, seconds)
        self.then()


@dataclass(slots=True)
class Account:
    """A Plaid account that processes share, and what each has of it."""

    counts: FakeCallCounts = field(default_factory=FakeCallCounts)
    clock: FakeClock = field(default_factory=FakeClock)

    def process(self, call_class: CallClass, limit: int = LIMIT) -> CallBudget:
        return CallBudget(self.counts, limits_of("production", limit), self.clock, call_class)

    def require(self, budget: CallBudget, endpoint: str, number: int) -> None:
        for _ in range(number):
            budget.take(endpoint)

    def calls(self, budget: CallBudget, endpoint: str = SYNC_ENDPOINT, attempts: int = 10_000) -> int:
        """Take calls until one is refused; return how many."""
        for number in range(attempts):
            try:
                budget.take(endpoint)
            except CallBudgetError:
                return number
        return attempts


def test_an_endpoint_without_a_documented_limit_has_none() -> None:
    account = Account()
    assert account.calls(account.process(CallClass.AUDIT), "/item/remove") == 10_000
    assert (account.counts.reads, account.counts.writes) == (0, 0)


def test_a_worker_with_a_call_in_a_minute_costs_no_request() -> None:
    account = Account()
    budget = account.process(CallClass.WEBHOOK)
    for _ in range(50):
        budget.take(SYNC_ENDPOINT)
        account.clock.sleep(66.0)
    assert (account.counts.reads, account.counts.writes) == (0, 0)


@pytest.mark.parametrize("seconds", [5.0, 11.0, 50.0])
def test_a_slow_worker_counts_every_call_three_at_once(seconds: float) -> None:
    account = Account()
    budget = account.process(CallClass.WEBHOOK)
    for _ in range(60):
        budget.take(SYNC_ENDPOINT)
        account.clock.sleep(seconds)
    assert sum(each["total"] for each in account.counts.counts.values()) == 60
    assert (account.counts.reads, account.counts.writes) == (20, 20)


def test_a_slow_worker_of_several_classes_leaves_no_more_calls_uncounted_than_one_of_a_single_class() -> None:
    account = Account()
    budget, classes = account.process(CallClass.WEBHOOK), [CallClass.WEBHOOK, CallClass.RETRY, CallClass.ROUTINE]
    for number in range(1, 61):
        budget.call_class = classes[number % 3]
        budget.take(SYNC_ENDPOINT)
        assert number - sum(each["total"] for each in account.counts.counts.values()) <= 2
        account.clock.sleep(5.0)


def test_slow_workers_take_no_calls_from_more_urgent_ones() -> None:
    random = Random(3)  # noqa: S311 - reproducible
    account, limit, made = Account(), 1_000, list[tuple[datetime, CallClass]]()
    slow = [account.process(CallClass.RETRY, limit) for _ in range(20)]
    urgent = [account.process(CallClass.WEBHOOK, limit) for _ in range(20)]
    for _ in range(5 * 12):
        for budget in random.sample(slow + urgent, len(slow + urgent)):
            number = account.calls(budget, attempts=1 if budget in slow else 8)
            made += [(account.clock.time, budget.call_class)] * number
        account.clock.sleep(SLICE.total_seconds())
    busiest = max(sum(at <= other < at + MINUTE for other, _ in made) for at in {at for at, _ in made})
    assert busiest <= limit
    last = Counter(call_class for at, call_class in made if at >= NOON + 2 * MINUTE)
    assert last[CallClass.WEBHOOK] > 3 * last[CallClass.RETRY] > 0


def test_a_busy_worker_takes_permits_in_blocks_and_counts_each_call() -> None:
    account = Account()
    budget = account.process(CallClass.WEBHOOK)
    for _ in range(400):
        budget.take(SYNC_ENDPOINT)
        account.clock.sleep(1.0)
    counted = sum(each["total"] for each in account.counts.counts.values())
    assert 390 <= counted <= 410
    assert account.counts.writes / 400 <= 0.25
    assert account.counts.reads <= account.counts.writes


def test_processes_of_all_classes_never_exceed_the_limit_wherever_the_minute_begins() -> None:
    random = Random(7)  # noqa: S311 - reproducible
    account, limit, made = Account(), 500, list[datetime]()
    budgets = [account.process(call_class, limit) for call_class in QUEUED for _ in range(5)]
    while account.clock.time < NOON + 5 * MINUTE:
        number = account.calls(random.choice(budgets), attempts=random.randrange(100))
        made += [account.clock.time] * number
        account.clock.sleep(random.random())
    busiest = max(sum(began <= at < began + MINUTE for at in made) for began in set(made))
    assert 0.7 * limit < busiest <= limit


@pytest.mark.parametrize("call_class", CallClass)
def test_each_class_alone_gets_what_is_below_its_level(call_class: CallClass) -> None:
    account = Account()
    budget, number = account.process(call_class), 0
    while account.clock.time < NOON + 5 * MINUTE:
        number += account.calls(budget, attempts=50)
        account.clock.sleep(0.5)
    level = {CallClass.INTERACTIVE: 0.8, CallClass.WEBHOOK: 0.85, CallClass.RETRY: 0.64, CallClass.ROUTINE: 0.46}
    assert number / 5 == pytest.approx(LIMIT * level.get(call_class, 0.28), rel=0.12)


def test_shares_follow_the_priorities_and_reserve_less_than_a_fifth() -> None:
    levels = [share.level for share in SHARES.values()]
    assert list(SHARES) == list(CallClass)
    assert all(before > after for before, after in pairwise(levels))
    assert sum(share.own for share in SHARES.values()) < 0.2
    assert all(share.own > 0 for share in SHARES.values())


@pytest.mark.parametrize("call_class", QUEUED)
def test_each_class_has_calls_of_its_own_while_the_others_take_all_that_they_may(call_class: CallClass) -> None:
    account, slices = Account(), 24
    others = [account.process(other) for other in QUEUED if other is not call_class]
    budget, numbers = account.process(call_class), list[int]()
    for _ in range(slices):
        for other in others:
            account.calls(other)
        numbers.append(account.calls(budget))
        account.clock.sleep(SLICE.total_seconds())
    assert min(numbers) >= int(SHARES[call_class].own * LIMIT / 13)


def test_an_interactive_call_waits_for_the_next_slice() -> None:
    account = Account()
    budget = account.process(CallClass.INTERACTIVE)
    while account.clock.time == NOON:
        budget.take(REFRESH)
    assert account.clock.pauses == [SLICE.total_seconds()]


def test_an_interactive_call_that_finds_no_room_in_the_next_slice_either_is_refused() -> None:
    clock = Crowded()
    account = Account(clock=clock)
    budget = account.process(CallClass.INTERACTIVE)
    clock.then = lambda: account.counts.counts.update({(REFRESH, slice_of(clock.time)): Counter(total=100)})
    account.calls(budget, REFRESH, attempts=50)
    with pytest.raises(CallBudgetError) as refused:
        account.require(budget, REFRESH, 51)
    assert 0 < refused.value.retry_after <= SLICE.total_seconds()
    assert account.clock.pauses == [SLICE.total_seconds()]


def test_a_burst_of_interactive_calls_takes_half_a_minutes_limit_at_once() -> None:
    account = Account()
    account.calls(account.process(CallClass.INTERACTIVE), REFRESH, attempts=50)
    assert account.clock.time == NOON


@pytest.mark.parametrize(
    ("call_class", "waits"),
    [(CallClass.WEBHOOK, True), (CallClass.RETRY, False), (CallClass.ROUTINE, False), (CallClass.AUDIT, True)],
)
def test_a_retry_and_a_routine_attempt_hold_up_no_worker(call_class: CallClass, *, waits: bool) -> None:
    account = Account()
    budget = account.process(call_class)
    account.calls(budget)
    with pytest.raises(CallBudgetError) as refused:
        budget.take(SYNC_ENDPOINT)
    assert refused.value.waits is waits
    assert account.clock.pauses == []


def test_without_the_table_every_call_is_made() -> None:
    account = Account(FakeCallCounts(failing=True))
    reported: list[tuple[str, str]] = []
    for call_class in CallClass:
        budget = account.process(call_class)
        budget.report_uncounted = lambda endpoint, code: reported.append((endpoint, code))
        assert account.calls(budget) == 10_000
    account.process(CallClass.WEBHOOK).throttled(SYNC_ENDPOINT)
    assert reported == [(SYNC_ENDPOINT, UNREACHABLE.code)] * len(CallClass), "once in a slice"


def test_a_table_that_comes_back_is_used_from_the_next_slice_on() -> None:
    account = Account(FakeCallCounts(failing=True))
    budget = account.process(CallClass.AUDIT)
    account.calls(budget, attempts=100)
    account.counts.failing = False
    account.clock.sleep(5.0)
    assert account.calls(budget) < 100


def test_after_several_throttled_calls_less_urgent_classes_have_only_their_own() -> None:
    few, many = CallCounts(total=1_000, throttled=4), CallCounts(total=40, throttled=5)
    for call_class in CallClass:
        urgent = call_class in {CallClass.INTERACTIVE, CallClass.WEBHOOK}
        assert ceilings_of(call_class, LIMIT, few).shared > 0
        assert (ceilings_of(call_class, LIMIT, many).shared > 0) is urgent
        assert ceilings_of(call_class, LIMIT, many).own > 0


def test_calls_that_plaid_throttles_are_counted_where_there_is_a_limit() -> None:
    account = Account()
    budget = account.process(CallClass.RETRY)
    for _ in range(5):
        budget.throttled(SYNC_ENDPOINT)
        budget.throttled("/item/remove")
    account.clock.sleep(5.0)
    assert account.counts.before(SYNC_ENDPOINT, slice_of(account.clock.now())).throttled == 5
    assert account.counts.writes == 5
    assert account.calls(budget) < 15


def test_the_local_plaid_has_the_limits_of_the_sandbox() -> None:
    limits = limits_of("sandbox", 1_000)
    assert limits == {endpoint: rate_limits.LIMITS[endpoint].per_client for endpoint in limits}


def test_the_sync_limit_is_the_stacks() -> None:
    for environment in LIMITS:
        assert limits_of(environment, 300)[SYNC_ENDPOINT] == 300
        assert limits_of(environment, 300)[REFRESH] == 100
