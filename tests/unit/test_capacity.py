"""The capacity model: it loses nothing and exceeds no limit, and its figures are the code's and the template's."""

from __future__ import annotations

import random
from dataclasses import fields, replace
from math import exp, inf
from typing import Any, Final

import pytest
import simpy
from plaid_sync.aws.dynamodb.item_rows import SHARDS
from plaid_sync.domain.clock import MAX_CLOCK_SKEW
from plaid_sync.domain.errors import FailureClass
from plaid_sync.domain.item import StateName
from plaid_sync.domain.schedule import RETRY_DELAYS, ROUTINE_INTERVALS, AttemptClass
from plaid_sync.pull import puller
from plaid_sync.sweep import _SENDING, SHARES
from plaid_sync.sync import heartbeat

from local.capacity import system as model
from local.capacity.figures import Plan, read, resources
from local.capacity.report import DOCUMENT, table_in_document, tables
from local.capacity.resources import FifoQueue, Rate, Window
from local.capacity.simulate import SENDERS, simulate, simulate_local
from local.capacity.system import Limits
from local.cost import read_figures
from local.plaid import clock, delivery

FIGURES: Final = read()
COST: Final = read_figures()
PLAN: Final = Plan(100_000, 2.0, FIGURES)
TIGHT: Final = Limits(
    api_per_second=2.0,
    api_burst=4.0,
    webhook_concurrency=2,
    sends_per_second=2.0,
    in_flight=30,
    workers=3,
    workers_at_start=1,
    workers_per_second=0.01,
    calls_per_minute=90,
    calls_per_item=50,
    state_writes=3.0,
    attempt_writes=3.0,
    swept_per_minute=6,
    retried_per_minute=10,
)
"""Each of these is used up by two webhooks a second."""
SMALL: Final = Plan(30_000, 2.0, FIGURES)
QUICK: Final = 300.0
"""Seconds in which webhooks arrive."""
STATED_ERROR: Final = 0.25
"""Of docs/capacity.md."""
SLOW_TABLES: Final = {"capacity", "model", "slice", "workers"}


@pytest.mark.parametrize("limits", [PLAN.limits(), TIGHT], ids=["deployed", "tight"])
def test_every_webhook_ends_in_a_commit(limits: Limits) -> None:
    run = simulate(SMALL, limits, seconds=QUICK)
    assert run.webhooks == run.committed > 500


def test_no_limit_is_exceeded() -> None:
    run = simulate(SMALL, TIGHT, seconds=QUICK)
    seconds = QUICK + run.drained
    assert run.workers <= run.max_workers <= TIGHT.workers
    assert run.max_webhooks <= TIGHT.webhook_concurrency
    assert run.pulls <= TIGHT.calls_per_minute * (seconds / 60 + 1)
    assert run.pulls * PLAN.writes.state <= TIGHT.state_writes * (seconds + 1)
    assert all(run.throttled)


@pytest.mark.parametrize("limits", [PLAN.limits(), TIGHT], ids=["deployed", "tight"])
def test_littles_law_holds(limits: Limits) -> None:
    by_law, measured = simulate(SMALL, limits, seconds=QUICK).little
    assert by_law == pytest.approx(measured, rel=0.01)


@pytest.mark.parametrize("limit", sorted({each.name for each in fields(Limits)} - {"swept_per_minute"}))
def test_without_a_limit_no_webhook_waits_longer(limit: str) -> None:
    limited = simulate(SMALL, TIGHT, seconds=QUICK)
    free = simulate(SMALL, replace(TIGHT, **{limit: inf}), seconds=QUICK)
    assert free.delay_mean <= limited.delay_mean * 1.02


def test_the_budget_of_the_sweep_protects_webhooks() -> None:
    limited = simulate(SMALL, TIGHT, seconds=QUICK)
    free = simulate(SMALL, replace(TIGHT, swept_per_minute=inf), seconds=QUICK)
    assert free.delay_mean > limited.delay_mean * 1.1


def test_a_slice_of_the_system_is_as_fast_as_the_whole() -> None:
    whole = simulate(PLAN, PLAN.limits(), seconds=QUICK)
    half = simulate(PLAN, PLAN.limits(), share=0.5, seconds=QUICK)
    assert half.lag_p50 == pytest.approx(whole.lag_p50, rel=0.1)
    assert half.workers * 2 == pytest.approx(whole.workers, rel=0.1)


def saturation(name: str, plan: Plan) -> float:
    (found,) = (each.items(plan) for each in resources(plan) if each.name == name)
    return found


def test_limits_are_used_up_by_as_many_items_as_arithmetic_says() -> None:
    even = Plan(1_000, 2.0, {**FIGURES, "traffic": {"webhooks": 2.0, "peak": 1.0}})
    # An Item without a webhook for 12 hours: e^-1 of the times between two syncs, which last (1 - e^-1) / 2 days.
    routine = 2 * exp(-1) / (1 - exp(-1))
    assert saturation("routine attempts of the sweep", even) == pytest.approx(375 * 1440 / routine)
    assert saturation("Plaid's limit of /transactions/sync", even) == pytest.approx(2_500 * 1440 / (2 + routine))
    assert saturation("messages of a run of the sweep", even) == pytest.approx(2_200 * 1440 / routine)
    assert saturation("partition `active` of by_state", even) == pytest.approx(500 * 86_400 / (2 + routine))
    assert saturation("API Gateway's route", even) == pytest.approx(500 * 86_400 / 2)


@pytest.mark.parametrize(("share", "grows"), [(0.8, False), (1.3, True)])
def test_a_backlog_grows_where_a_limit_is_used_up(share: float, grows: bool) -> None:  # noqa: FBT001
    items = saturation("sync workers", PLAN) * share
    run = simulate(Plan(round(items), 2.0, FIGURES), PLAN.limits(), seconds=600)
    assert (run.backlog > 1_000) is grows


def test_a_storm_for_one_item_waits_for_the_limit_of_its_calls() -> None:
    cpu = FIGURES["load"]["service_times"]
    storm = {"items": 1, "webhooks": 300, "rate": 0, "free": [2.0]}
    free = simulate_local(cpu, {**storm, "calls_per_item": 0})
    limited = simulate_local(cpu, {**storm, "calls_per_item": 10})
    assert free.committed == limited.committed == 300
    assert limited.lag_p99 > 60 > free.lag_p99
    assert free.coalesced > 250  # ten messages are one pull


@pytest.mark.parametrize("scenario", FIGURES["load"]["outcomes"], ids=lambda scenario: scenario["name"])
def test_the_model_has_the_lags_that_were_measured_on_the_local_stack(scenario: dict[str, Any]) -> None:
    run = simulate_local(FIGURES["load"]["service_times"], scenario)
    assert run.committed == scenario["webhooks"]
    assert run.sync_lags[0] == pytest.approx(scenario["lag_p50"], rel=STATED_ERROR)
    assert run.seconds == pytest.approx(scenario["seconds"], rel=STATED_ERROR)
    assert run.pulls == pytest.approx(scenario["commits"], rel=STATED_ERROR)
    if not scenario["calls_per_item"]:  # docs/capacity.md says why
        assert run.sync_lags[1] == pytest.approx(scenario["lag_p99"], rel=STATED_ERROR)


# ---- the parts


def test_a_group_is_closed_while_its_messages_are_in_flight_and_returned_ones_keep_their_place() -> None:
    queue = FifoQueue(simpy.Environment(), inf)
    for item in (1, 1, 2, 1):
        queue.send(item)
    first, second = queue.receive(4)
    assert [(each.item, [number for number, _ in each.messages]) for each in (first, second)] == [
        (1, [0, 1, 3]),
        (2, [2]),
    ]
    queue.send(1)
    assert queue.receive(10) == []
    queue.put_back(first)
    queue.delete(second)
    assert [(each.item, [number for number, _ in each.messages]) for each in queue.receive(10)] == [(1, [0, 1, 3, 4])]
    assert queue.depth == 4


def test_the_emulator_receives_messages_by_their_order_alone() -> None:
    queue = FifoQueue(simpy.Environment(), inf, whole_groups=False)
    for item in (1, 2, 1, 3, 1):
        queue.send(item)
    assert [(each.item, len(each.messages)) for each in queue.receive(3)] == [(1, 2), (2, 1)]
    assert [each.item for each in queue.receive(3)] == [3]
    assert not queue.has_open


def test_no_more_messages_are_in_flight_than_sqs_allows() -> None:
    queue = FifoQueue(simpy.Environment(), 2)
    for item in range(5):
        queue.send(item)
    received = queue.receive(2)
    assert len(received) == 2
    assert queue.receive(10) == []
    queue.delete(received[0])
    assert len(queue.receive(1)) == 1


def test_a_rate_lets_a_burst_through_and_then_so_many_a_second() -> None:
    env = simpy.Environment()
    rate = Rate(env, per_second=2.0, burst=3.0)
    assert [rate.allows() for _ in range(4)] == [True, True, True, False]
    env.run(until=0.5)
    assert [rate.allows(), rate.allows()] == [True, False]
    assert [rate.wait(), rate.wait()] == pytest.approx([0.5, 1.0])


def test_a_window_counts_the_calls_of_the_last_minute() -> None:
    env = simpy.Environment()
    window = Window(env, 1)
    window.count()
    assert window.is_full
    env.run(until=60)
    assert not window.is_full


# ---- the figures


def test_the_models_constants_are_the_engines() -> None:
    assert heartbeat.RETURN_AFTER.total_seconds() == model.RETURN_AFTER
    assert MAX_CLOCK_SKEW.total_seconds() == model.CLOCK_SKEW
    assert puller._THROTTLE_PAUSES == model.THROTTLE_PAUSES  # noqa: SLF001 - the model repeats it
    assert tuple(each.total_seconds() for each in RETRY_DELAYS[FailureClass.THROTTLED]) == model.RETRY_DELAYS
    assert list(model.PLAID_RETRY) == [delivery.FIRST_RETRY_SECONDS, delivery.RETRY_FACTOR]
    assert _SENDING.total_seconds() == model.SENDING
    assert clock._WORKERS == SENDERS  # noqa: SLF001 - the model repeats it


def test_the_figures_of_the_engine_are_the_codes() -> None:
    figures = FIGURES["engine"]
    assert figures["shards"] == SHARDS
    assert figures["routine_hours"] == ROUTINE_INTERVALS[StateName.ACTIVE].total_seconds() / 3600
    assert figures["routine_share"] == SHARES[AttemptClass.ROUTINE]
    assert figures["failing_share"] == SHARES[AttemptClass.FAILING]
    assert figures["state_row_bytes"] == COST["measured"]["gauge_bytes"]


def test_the_steps_take_as_long_as_the_costs_assume() -> None:
    seconds, assumed = PLAN.seconds, COST["assumed"]
    assert PLAN.webhook_seconds == pytest.approx(assumed["webhook_seconds"], rel=0.1)
    of_the_function = sum(seconds[step] for step in ("claim", "pull", "commit"))
    assert of_the_function == pytest.approx(assumed["sync_seconds"], rel=0.1)


# ---- the document


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.exhaustive) if name in SLOW_TABLES else name for name in tables(FIGURES)],
)
def test_a_table_of_the_document_is_what_the_model_finds(name: str) -> None:
    assert table_in_document(name) == tables(FIGURES)[name](), f"write it: make capacity ARGS=--document ({DOCUMENT})"


def test_the_model_is_the_same_in_each_run() -> None:
    random.seed(1)
    first: Any = simulate(SMALL, TIGHT, seconds=60)
    random.seed(2)
    assert simulate(SMALL, TIGHT, seconds=60) == first
