"""Put load on the local stack, and find the lag, the pulls, the losses and the memory.

(a) All Items change at once. (b) Plaid sends as many webhooks for one Item. (c) Plaid sends so many webhooks a second
over all Items. Between them the service times are measured, which the capacity model starts from. At the end of each
scenario every row is compared with Plaid. Exit status: 0 if nothing is lost, 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from tests.load.scenarios import (
    CALLS_PER_ITEM,
    Outcome,
    Scenario,
    ServiceTimes,
    all_items_at_once,
    measure,
    service_times,
    steady,
    storm_for_one_item,
)
from tests.load.world import loaded_world

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    parser.add_argument("--items", type=int, default=200, help="Items, and webhooks of the storm (default: 200)")
    parser.add_argument("--rate", type=float, default=100.0, help="webhooks a second of (c) (default: 100)")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long (c) sends them (default: 20)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(arguments)
    began = time.monotonic()

    def progress(line: str) -> None:
        sys.stderr.write(f"{time.monotonic() - began:6.0f} s  {line}\n")

    with loaded_world(progress) as world:
        world.link(options.items)
        times = service_times(world, max(10, min(200, options.items) // 10 * 10))
        outcomes = [
            measure(world, scenario)
            for scenario in (
                Scenario("all Items at once", options.items, 0, 0, all_items_at_once),
                Scenario("a storm for one Item", 1, 0, CALLS_PER_ITEM, storm_for_one_item),
                Scenario(
                    "steady", options.items, options.rate, 0, lambda it: steady(it, options.rate, options.seconds)
                ),
            )
        ]
    if options.json:
        found = {"service_times": asdict(times), "outcomes": [asdict(outcome) for outcome in outcomes]}
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    else:
        sys.stdout.write("\n".join(_lines(times, outcomes)) + "\n")
    return int(any(outcome.differences or outcome.accepted < outcome.webhooks for outcome in outcomes))


def _lines(times: ServiceTimes, outcomes: Sequence[Outcome]) -> list[str]:
    header = f"{'':<22}{'webhooks':>9}{'accepted/s':>11}{'lag p50':>9}{'p99':>9}{'pulls/webhook':>14}{'coalesced':>10}"
    lines = [f"{header}{'differences':>12}{'seconds':>9}{'free':>7}"]
    for each in outcomes:
        lag = f"{each.lag_p50:>8.2f}s{each.lag_p99:>8.2f}s"
        pulls = f"{each.pulls_per_webhook:>14.2f}{each.coalesced:>10,}"
        free = sum(each.free) / len(each.free)
        line = f"{each.name:<22}{each.webhooks:>9,}{each.accepted_per_second:>11.1f}{lag}{pulls}"
        lines.append(f"{line}{each.differences:>12,}{each.seconds:>9.1f}{free:>7.1f}")
    lines += ["", "CPU milliseconds of one, when nothing else happens"]
    for name, cpu in (("webhook", times.webhook), ("batch", times.batch), ("sync", times.sync)):
        lines.append(f"  {name:<9}" + "  ".join(f"{process} {1000 * each:.1f}" for process, each in cpu.items()))
    lines += ["", "Peak of resident memory, of the largest process of each name"]
    lines += [f"  {name:<9}{each.largest:6.0f} MiB  ({each.processes})" for name, each in outcomes[-1].memory.items()]
    return lines


if __name__ == "__main__":
    sys.exit(main())
