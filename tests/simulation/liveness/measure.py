"""Everything that is measured, in as many processes as there are processors."""

from __future__ import annotations

import os
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING, Final

from plaid_sync.domain.schedule import AttemptClass

from tests.simulation.faults.harness import harness
from tests.simulation.liveness.fleet import BATCH_SIZE, WORKERS, budget, neighbor, recovery
from tests.simulation.liveness.large import PAGE_SECONDS, PAGE_SIZE, pull_long_history
from tests.simulation.liveness.scenarios import SCENARIOS, Measurement

if TYPE_CHECKING:
    from collections.abc import Iterable

_LIMIT: Final = 360.0
"""Seconds: the longest delay after a failure, and the sweep's minute."""


def many_items(number: int, *, crowded: bool) -> list[Measurement]:
    seconds, fleet = recovery(number, seconds=10.0, crowded=crowded)
    wait = 60 * number / budget(AttemptClass.FAILING)
    detail = f"{number:,} / {budget(AttemptClass.FAILING)} a minute = {wait:.0f} s; {fleet.most_in_flight} in flight"
    assert fleet.most_in_flight <= WORKERS * BATCH_SIZE
    others = ", all classes due" if crowded else ""
    name = f"{number:,} Items fail for 4 h, then well, no webhook{others}"
    return [Measurement(name, _LIMIT + wait, seconds, detail)]


def one_bank_down(seconds: float) -> list[Measurement]:
    webhook, routine, fleet = neighbor(40_000, seconds)
    assert fleet.most_in_flight <= WORKERS * BATCH_SIZE
    name = f"40,000 Items of one bank down ({seconds:.0f} s an attempt)"
    detail = f"{fleet.most_waiting:,} messages waiting at most, {fleet.most_in_flight} in flight"
    return [
        Measurement(f"{name}, webhook of another bank's Item", 15, webhook, detail),
        Measurement(f"{name}, that webhook lost", 120, routine, "after the time of the routine attempt"),
    ]


def long_history() -> list[Measurement]:
    pull = pull_long_history(100_000 // PAGE_SIZE, {37, 119, 190})
    detail = f"requested pages, of 100; {pull.invocations} invocations, {pull.elapsed.total_seconds():.0f} s"
    name = f"{pull.rows:,} transactions at {PAGE_SECONDS:.0f} s a page, killed three times"
    return [Measurement(name, 130, 100 * pull.pages, detail)]


def on_the_stack(names: Iterable[str]) -> list[Measurement]:
    """Run scenarios on one emulator."""
    warnings.filterwarnings("ignore", message="No application metrics")  # of an invocation that was killed
    with harness() as shared:
        return [measurement for name in names for measurement in SCENARIOS[name](shared)]


def measure() -> list[Measurement]:
    """Measure everything, in as many processes as there are processors."""
    names = list(SCENARIOS)
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        parts = [
            pool.submit(on_the_stack, names[::2]),
            pool.submit(on_the_stack, names[1::2]),
            pool.submit(long_history),
            *(
                pool.submit(many_items, number, crowded=crowded)
                for crowded in (False, True)
                for number in (1, 1_000, 40_000)
            ),
            *(pool.submit(one_bank_down, seconds) for seconds in (1.0, 10.0)),
        ]
        return [measurement for part in parts for measurement in part.result()]
