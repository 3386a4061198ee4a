"""Runs the model: the busiest hour of a deployment, or the scenarios of `make load` on the local stack."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Final

import simpy

from local.capacity.stations import AwsStations, LocalStations
from local.capacity.system import Limits, System, Writes, arrive, poisson, send_at_once

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from local.capacity.figures import Plan
    from local.capacity.resources import Item

HOUR: Final = 3600.0
_MAX_DRAIN: Final = 12 * HOUR
SENDERS: Final = 8
"""Webhooks that the local Plaid sends at a time."""
_SEED: Final = 1


@dataclass(frozen=True, slots=True)
class Run:
    """What a simulation found.

    Attributes:
        webhooks: that Plaid sent.
        committed: webhooks whose changes are committed.
        lag_p50: seconds from a webhook's acceptance until its changes are committed.
        delay_mean: seconds from the first time that Plaid sent a webhook until then.
        sync_lags: median and 99th percentile as the stack measures them: of all syncs, from their oldest message.
        workers: busy sync workers, in the mean of the simulated time, and at most.
        throttled: webhooks that API Gateway or Lambda refused, calls that Plaid refused, writes that waited for a hot
            partition.
        backlog: messages in the queue, at most.
        drained: seconds after the last webhook until the queue was empty.
        seconds: all that were simulated.
        little: mean number of webhooks that wait for their commit, by Little's law and as it was.
    """

    webhooks: int
    committed: int
    lag_p50: float
    lag_p99: float
    lag_mean: float
    delay_mean: float
    sync_lags: tuple[float, float]
    pulls: int
    coalesced: int
    workers: float
    max_workers: int
    max_webhooks: int
    throttled: tuple[int, int, int]
    backlog: int
    drained: float
    seconds: float
    little: tuple[float, float]


def percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[round((len(ordered) - 1) * share)] if ordered else 0.0


def simulate(plan: Plan, limits: Limits, *, share: float = 1.0, seconds: float = HOUR) -> Run:
    """Simulate the busiest hour, and what follows until the queue is empty.

    Args:
        plan: how many Items, and how busy they are.
        limits: of the whole system.
        share: simulate a slice of the system: so many of its Items, with as small a part of each limit.
        seconds: how long webhooks arrive.
    """
    env, rng, items = simpy.Environment(), Random(_SEED), max(1, round(plan.items * share))  # noqa: S311 # nosec B311
    pairs = {step: tuple(each) for step, each in plan.figures["seconds"].items() if isinstance(each, list)}
    system = System(env, limits.slice(share), AwsStations(env, Random(_SEED + 1), pairs), plan.writes, rng)  # noqa: S311 # nosec B311
    webhooks = poisson(Random(_SEED + 2), plan.webhooks_per_second * share, seconds, items)  # noqa: S311 # nosec B311
    arrivals = env.process(arrive(system, webhooks))
    env.process(system.sweep(plan.routine_per_second * share, items, seconds))
    env.run(until=seconds)
    return _drained(system, arrivals, seconds)


def simulate_local(cpu: Mapping[str, Mapping[str, float]], scenario: Mapping[str, Any]) -> Run:
    """Simulate a scenario of `make load`: one poller, one process each, two cores.

    Args:
        cpu: seconds of CPU time by thing and process (see `LocalStations`).
        scenario: number of Items and webhooks, webhooks a second (0: all at once), calls that Plaid allows for an Item
            in a minute (0: any number), and the cores that other programs left in each five seconds.
    """
    env, items = simpy.Environment(), int(scenario["items"])
    limits = Limits(workers=1, workers_at_start=1, calls_per_item=scenario["calls_per_item"] or float("inf"))
    stations = LocalStations(env, cpu, scenario["free"], lambda: system.queue.depth)
    system = System(env, limits, stations, Writes(0, 0), Random(_SEED))  # noqa: S311 # nosec B311
    system.queue.whole_groups = False
    arrivals = env.process(send_at_once(system, _local_webhooks(scenario, items), SENDERS))
    seconds = scenario["webhooks"] / scenario["rate"] if scenario["rate"] else 1.0
    env.run(until=seconds)
    return _drained(system, arrivals, seconds)


def _local_webhooks(scenario: Mapping[str, Any], items: int) -> list[tuple[float, Item]]:
    per_second = scenario["rate"] or 1000.0  # a millisecond apart: at once
    return [(number / per_second, number * 7 % items) for number in range(int(scenario["webhooks"]))]


def _drained(system: System, arrivals: simpy.Process, seconds: float) -> Run:
    env = system.env
    while (
        arrivals.is_alive or system.queue.depth or len(system.lags) < system.sent
    ) and env.now < seconds + _MAX_DRAIN:
        env.run(until=env.now + 1.0)
    lags, sync_lags = sorted(system.lags), sorted(system.sync_lags)
    mean = sum(lags) / max(1, len(lags))
    return Run(
        webhooks=system.sent,
        committed=len(lags),
        lag_p50=percentile(lags, 0.5),
        lag_p99=percentile(lags, 0.99),
        lag_mean=mean,
        sync_lags=(percentile(sync_lags, 0.5), percentile(sync_lags, 0.99)),
        delay_mean=sum(system.delays) / max(1, len(lags)),
        pulls=system.pulls,
        coalesced=system.coalesced,
        workers=system.workers.mean,
        max_workers=system.workers.maximum,
        max_webhooks=system.webhooks.maximum,
        throttled=(
            system.throttled_webhooks,
            system.throttled_calls,
            system.state_writes.refused + system.attempt_writes.refused,
        ),
        backlog=system.queue.max_depth,
        drained=env.now - seconds,
        seconds=env.now,
        little=(len(lags) / env.now * mean, system.waiting.mean),
    )
