"""Plaid's verification keys: through outages of Plaid and of the shared state, and under floods of invented ids."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta
from heapq import heappop, heappush
from random import Random
from typing import TYPE_CHECKING

import pytest
from plaid_sync.domain.errors import TransientError
from plaid_sync.plaid.verification_keys import PlaidVerificationKeyApi
from plaid_sync.webhook.keys import (
    CERTAIN_ALONE,
    FRESH,
    MAX_KEYS,
    MAX_UNKNOWN,
    NEW_IDS,
    REFRESH_EVERY,
    SEEN_IDS,
    SHARED_PER_MINUTE,
    TRUSTED,
    UNKNOWN_FOR,
    VerificationKeys,
)
from plaid_sync.webhook.ports import KeyRecord
from plaid_sync.webhook.signature import RejectedError

from local.plaid import PlaidSimulator
from tests.fakes.aws import secret_of_plaid
from tests.fakes.clock import NOON
from tests.fakes.localhost import KEY_CALLS, Plaid
from tests.fakes.shared import FakeSharedState
from tests.unit.properties.signing import KeyEndpoint
from tests.unit.webhook.test_signature import KEY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from plaid_sync.webhook.signature import VerificationKey

SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
RETRIES = (30, 150, 630, 2_550, 10_230, 40_950)
"""Plaid's, in seconds after the first try: each delay is four times the one before."""


@dataclass(slots=True)
class KeyApi:
    """Plaid's key endpoint in memory.

    Attributes:
        keys: its keys by id.
        reachable: whether it answers.
        lookups: how often each id was looked up.
    """

    keys: dict[str, VerificationKey] = field(default_factory=lambda: {"plaids": replace(KEY, key_id="plaids")})
    reachable: bool = True
    lookups: Counter[str] = field(default_factory=Counter)

    def fetch(self, key_id: str) -> VerificationKey | None:
        self.lookups[key_id] += 1
        if not self.reachable:
            raise TransientError("unreachable")
        return self.keys.get(key_id)


@dataclass(slots=True)
class Stack:
    """Several processes of the webhook function over one Plaid and one shared state.

    Attributes:
        failures: failures of the shared state that were observed.
    """

    processes: list[VerificationKeys] = field(default_factory=list)
    api: KeyApi = field(default_factory=KeyApi)
    shared: FakeSharedState = field(default_factory=FakeSharedState)
    random: Random = field(default_factory=lambda: Random(7))  # noqa: S311 - reproducible on purpose
    failures: int = 0

    def start(self) -> VerificationKeys:
        """Start a process with an empty memory."""
        self.processes.append(VerificationKeys(self.api, self.shared, self._observe, self.random.random))
        return self.processes[-1]

    def _observe(self, _error: TransientError) -> None:
        self.failures += 1

    def answer(self, key_id: str, now: datetime, process: int | None = None) -> str:
        """Return what one of the processes makes of a webhook with this key id, in one word."""
        keys = self.random.choice(self.processes) if process is None else self.processes[process]
        try:
            return keys.get(key_id, now).key_id
        except RejectedError as error:
            return error.reason
        except TransientError:
            return "503"


def stack_of(processes: int) -> Stack:
    stack = Stack()
    for _ in range(processes):
        stack.start()
    return stack


# ---- known keys


def test_a_process_that_starts_needs_no_look_up_for_a_key_that_another_one_knows() -> None:
    stack = stack_of(2)
    assert [stack.answer("plaids", NOON, process) for process in (0, 1)] == ["plaids"] * 2
    assert stack.api.lookups["plaids"] == 1
    calls = stack.shared.calls
    assert [stack.answer("plaids", NOON + FRESH - SECOND, process) for process in (0, 1)] == ["plaids"] * 2
    assert stack.shared.calls == calls


def test_one_process_refreshes_a_key_for_all_and_each_notices_its_expiry_within_minutes() -> None:
    stack = stack_of(3)
    for process in range(3):
        stack.answer("plaids", NOON + process * MINUTE, process)
    stack.api.keys["plaids"] = replace(KEY, key_id="plaids", expired_at=NOON + MINUTE)
    later = NOON + FRESH + 3 * MINUTE
    assert all(keys.get("plaids", later).is_expired(later) for keys in stack.processes)
    assert stack.api.lookups["plaids"] == 2
    # It stays expired: a flood that names it leads to no look-up for a day.
    assert all(keys.get("plaids", later + timedelta(hours=20)) for keys in stack.processes)
    assert stack.api.lookups["plaids"] == 2


def test_while_plaid_is_unreachable_a_key_is_trusted_for_a_day_and_looked_up_at_times() -> None:
    stack = stack_of(3)
    stack.answer("plaids", NOON, 0)
    stack.api.reachable = False
    for seconds in range(600):
        assert stack.answer("plaids", NOON + FRESH + seconds * SECOND) == "plaids"
    assert stack.api.lookups["plaids"] - 1 <= 600 * SECOND / REFRESH_EVERY
    stack.start()
    assert stack.answer("plaids", NOON + TRUSTED - SECOND, 3) == "plaids"
    assert stack.answer("plaids", NOON + TRUSTED, 3) == "503"
    assert stack.answer("plaids", NOON + TRUSTED + SECOND, 0) == "503"
    stack.api.reachable = True
    assert stack.answer("plaids", NOON + TRUSTED + MINUTE, 3) == "plaids"


def test_a_known_key_costs_few_look_ups_while_plaid_and_the_shared_state_are_unreachable() -> None:
    stack = stack_of(1)
    stack.answer("plaids", NOON)
    stack.api.reachable, stack.shared.failing = False, True
    for tenth in range(40):
        assert stack.answer("plaids", NOON + FRESH + timedelta(seconds=tenth / 10)) == "plaids"
    assert stack.api.lookups["plaids"] == 2
    assert stack.failures == 1
    assert stack.answer("plaids", NOON + FRESH + 30 * SECOND) == "plaids"
    assert stack.api.lookups["plaids"] == 3


def test_without_the_shared_state_a_process_asks_plaid_a_bounded_number_of_times() -> None:
    stack = stack_of(1)
    stack.shared.failing = True
    assert stack.answer("plaids", NOON) == "plaids"
    answers = Counter(stack.answer(f"invented-{number}", NOON + SECOND) for number in range(1_000))
    assert answers.keys() == {"unknown_key", "too_many_lookups"}
    assert CERTAIN_ALONE <= stack.api.lookups.total() <= 2 * drawn(1_000, CERTAIN_ALONE)
    assert stack.answer("plaids", NOON + FRESH) == "plaids"


def test_a_key_that_is_known_to_the_table_is_refreshed_also_when_nothing_can_be_written() -> None:
    stack = stack_of(1)
    stack.shared.records["plaids"] = KeyRecord(stack.api.keys["plaids"], NOON - FRESH)
    stack.shared.failing_writes = True
    stack.api.reachable = False
    assert stack.answer("plaids", NOON) == "plaids"
    assert stack.failures == 1


def test_a_key_that_plaid_no_longer_knows_is_not_used_in_a_later_outage(plaid: Plaid) -> None:
    keys, kid = VerificationKeys(plaid.key_api, FakeSharedState()), plaid.simulator.keys.current.kid
    keys.get(kid, NOON)
    plaid.simulator.inject_fault(KEY_CALLS, "INVALID_WEBHOOK_VERIFICATION_KEY_ID")
    with pytest.raises(RejectedError, match="unknown_key"):
        keys.get(kid, NOON + FRESH)
    plaid.simulator.inject_fault(KEY_CALLS, "INTERNAL_SERVER_ERROR")
    with pytest.raises(TransientError):
        keys.get(kid, NOON + FRESH + UNKNOWN_FOR)


@pytest.mark.parametrize("ahead", [timedelta(hours=1), -timedelta(hours=1)])
def test_a_clock_that_is_wrong_by_an_hour_makes_no_other_process_trust_a_key_for_longer(ahead: timedelta) -> None:
    stack = stack_of(2)
    stack.answer("plaids", NOON + ahead, 0)
    del stack.api.keys["plaids"]
    assert stack.answer("plaids", NOON, 1) == "unknown_key"


# ---- unknown key ids


def drawn(requests: int, certain: int) -> float:
    """Return how many of a minute's requests are looked up on average."""
    return min(requests, certain * (1 + math.log(max(requests / certain, 1))))


def test_an_unknown_id_is_looked_up_once_by_all_processes_and_again_after_minutes() -> None:
    stack = stack_of(3)
    for seconds in (*range(100), UNKNOWN_FOR.total_seconds()):
        assert stack.answer("invented", NOON + seconds * SECOND) == "unknown_key"
    assert stack.api.lookups["invented"] == 2
    assert stack.shared.calls < 20  # a process that knows it makes no call


def test_in_the_largest_flood_look_ups_and_the_calls_of_a_process_are_bounded() -> None:
    stack = stack_of(1)
    number = 30_000
    for request in range(number):
        stack.answer(f"invented-{request}", NOON)
    assert NEW_IDS.certain <= stack.api.lookups.total() <= NEW_IDS.maximum
    reached = SHARED_PER_MINUTE * (1 + math.log(number / SHARED_PER_MINUTE))
    assert stack.shared.calls < 1.2 * 3 * reached


def test_look_ups_are_bounded_however_the_draw_falls() -> None:
    stack = stack_of(1)
    stack.processes[0].draw = lambda: 0.0
    for minute in range(3):
        for request in range(200):
            stack.answer(f"invented-{minute}-{request}", NOON + minute * MINUTE)
    assert stack.api.lookups.total() == 3 * NEW_IDS.maximum


def flood(per_minute: int, times: int, duration: timedelta) -> Iterator[tuple[datetime, str]]:
    """Yield when an attacker sends which key id: each id so many times, all of a minute in its first half."""
    for minute in range(int(duration / MINUTE)):
        for place in range(per_minute):
            yield NOON + minute * MINUTE + 30 * SECOND * place / per_minute, f"{minute // times}-{place}"


@pytest.mark.parametrize(
    ("per_minute", "times", "hours", "max_delay"),
    [(30, 1, 24, 0), (300, 1, 6, RETRIES[0]), (300, 2, 12, RETRIES[4])],
    ids=["a trickle", "a stream", "a stream of ids that come twice"],
)
def test_invented_ids_starve_only_themselves_for_a_day_with_a_new_key_in_the_middle(
    per_minute: int, times: int, hours: int, max_delay: float
) -> None:
    """Plaid sends a webhook every five minutes, retries it, and changes its key; processes start and stop."""
    stack, duration = stack_of(3), timedelta(hours=hours)
    stack.api.keys["new"] = replace(KEY, key_id="new")
    sent = [NOON + (5 * number + 0.8) * MINUTE for number in range(hours * 12)]
    pending = [(moment, moment, 0) for moment in sent]
    delays, answers = [], set()
    for now, invented in flood(per_minute, times, duration):
        while pending and pending[0][0] <= now:
            due, moment, tries = heappop(pending)
            if stack.random.random() < 0.05:  # a process that starts knows nothing
                stack.processes[0] = VerificationKeys(stack.api, stack.shared, draw=stack.random.random)
            key_id = "plaids" if moment < NOON + duration / 2 else "new"
            answer = stack.answer(key_id, due)
            answers.add(answer)
            if answer == key_id:
                delays.append(due - moment)
            else:
                heappush(pending, (moment + RETRIES[tries] * SECOND, moment, tries + 1))
        assert stack.answer(invented, now) in {"unknown_key", "too_many_lookups"}
    assert answers <= {"plaids", "new", "too_many_lookups"}  # the last is no refusal: Plaid sends it again
    assert len(delays) == len(sent)
    assert max(delays) <= max_delay * SECOND
    genuine = stack.api.lookups["plaids"] + stack.api.lookups["new"]
    assert genuine <= duration / FRESH + 10
    classes = (NEW_IDS, SEEN_IDS)[:times]
    average = sum(drawn(per_minute // times, budget.certain) for budget in classes)
    assert stack.api.lookups.total() - genuine <= 1.1 * hours * 60 * average


def test_the_memory_for_known_and_unknown_keys_is_bounded() -> None:
    """Days of a flood within its budget, and more keys than Plaid has ever had."""
    secret = secret_of_plaid()
    simulator = PlaidSimulator(seed=7)
    endpoint = KeyEndpoint(simulator.keys)
    api = PlaidVerificationKeyApi("http://plaid.invalid", secret, endpoint)  # type: ignore[arg-type] # a fake
    keys, now = VerificationKeys(api, FakeSharedState()), NOON
    for number in range(MAX_UNKNOWN + 20):
        now += timedelta(seconds=60 / CERTAIN_ALONE)
        with pytest.raises(RejectedError, match="unknown_key"):
            keys.get(f"invented-{number}", now)
    assert len(keys._unknown_until) == MAX_UNKNOWN  # noqa: SLF001 - memory is visible nowhere else
    for _ in range(MAX_KEYS + 8):
        now += timedelta(seconds=60 / CERTAIN_ALONE)
        keys.get(simulator.keys.current.kid, now)
        simulator.rotate_keys(overlap=3_600)
    assert len(keys._known) == MAX_KEYS  # noqa: SLF001
