"""A few of the scenarios of `make liveness`: one of each kind."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from plaid_sync.domain.budget import SHARES, CallClass

from tests.simulation.faults.boundary import PLAID, Fault
from tests.simulation.faults.harness import harness
from tests.simulation.liveness.crowd import LIMIT, crowd
from tests.simulation.liveness.fleet import neighbor, recovery
from tests.simulation.liveness.large import pull_long_history
from tests.simulation.liveness.scenarios import Measurement, killed_worker, outage, slow_item
from tests.simulation.liveness.stack import stack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.faults.harness import Harness


@pytest.fixture(scope="module")
def shared() -> Iterator[Harness]:
    with harness() as shared:
        yield shared


@pytest.mark.filterwarnings("ignore:No application metrics")
def test_a_killed_workers_messages_are_visible_again_after_a_minute(shared: Harness) -> None:
    seconds = killed_worker(shared, 3, Fault.CRASH_BEFORE, webhook=True)
    assert seconds is not None
    assert 60 <= seconds < 70


def test_heartbeats_keep_a_message_hidden_and_delete_it_before_the_batch_ends(shared: Harness) -> None:
    with stack(shared) as world:
        first, second = world.link(), world.link()
        for item_id in (first, second):
            world.plaid.add(item_id)
        world.deliver_due()
        worker = world.invoke_sync()
        assert worker is not None
        while not world.is_exact(first) and not world.is_exact(second):
            world.step(worker)
        while worker.waiting is not None and not worker.waiting.is_page:
            world.step(worker)
        assert world.queues.in_flight() == 2
        world.wait(200)
        assert world.queues.in_flight() == 1, "the finished one is deleted, and the other one still hidden"
        world.complete(worker)
        assert world.until_exact(timedelta(minutes=5)) < 1


def test_an_item_of_a_batch_that_is_not_begun_returns_at_once(shared: Harness) -> None:
    assert slow_item(shared, number=3).met


def test_an_outage_ends_within_minutes(shared: Harness) -> None:
    measured = outage(shared, PLAID, Fault.SERVER_ERROR, timedelta(hours=1), "Plaid 5xx")
    assert measured.met
    assert measured.detail == "dead letters: 0"


def test_a_bound_can_be_missed() -> None:
    assert not Measurement("a fault", bound=15, seconds=16).met


@pytest.mark.parametrize("crowded", [False, True])
def test_many_failing_items_recover_at_the_budget_of_their_class(*, crowded: bool) -> None:
    seconds, fleet = recovery(3_000, seconds=10.0, crowded=crowded)
    assert sum(item_id.startswith("item-") for item_id in fleet.exact_at) == 3_000
    assert seconds < 360 + 3_000 / 625 * 60


def test_a_bank_that_is_down_delays_no_other_banks_item() -> None:
    webhook, routine, _ = neighbor(5_000, seconds=10.0)
    assert webhook <= 15
    assert routine <= 120


def test_a_long_history_is_pulled_about_once_although_workers_die() -> None:
    pull = pull_long_history(60, {19, 47})
    assert pull.rows == 60 * 500
    assert pull.pages <= 1.3


def test_when_every_class_of_calls_wants_more_than_plaid_allows_none_starves_and_few_are_throttled() -> None:
    found = crowd(2)
    assert found.calls > 0.75 * 2 * LIMIT
    assert found.throttled < 0.01 * found.calls
    served = [len(found.served[call_class]) for call_class in CallClass]
    assert all(more > fewer for more, fewer in pairwise(served)), served
    for call_class in CallClass:
        assert found.longest_pause(call_class) < 15
        assert found.of_minute(call_class, 1) >= 0.8 * SHARES[call_class].own * LIMIT
    assert found.counts.writes + found.counts.reads < 4 * found.calls


def test_without_the_call_budget_a_third_of_the_calls_is_throttled() -> None:
    found = crowd(1, with_budget=False)
    assert found.throttled > 0.3 * found.calls


def test_an_ordinary_load_costs_a_fraction_of_a_request_for_each_call() -> None:
    found = crowd(2, [CallClass.WEBHOOK], processes=8)
    assert (found.throttled, found.refused.total()) == (0, 0)
    assert found.counts.writes < 0.5 * found.calls
