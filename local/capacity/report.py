"""The tables of docs/capacity.md."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from local.capacity.figures import Plan, resources
from local.capacity.simulate import Run, simulate, simulate_local
from local.cost import table
from local.stack.paths import PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from local.capacity.system import Limits

DOCUMENT: Final = PROJECT / "docs" / "capacity.md"
SIZES: Final = (10_000, 100_000, 1_000_000, 10_000_000)
SLICED: Final = 100_000
WORKED: Final = (150_000, 400_000, 600_000)
MORE_WORKERS: Final = (50, 100)
WORKED_SHARE: Final = 0.2
_SIMULATED_WEBHOOKS: Final = 60_000
"""An hour with more is simulated as a slice."""
_MIN_WORKERS: Final = 4
_HOPELESS: Final = 10.0
"""So many times the capacity: the backlog of the hour is not simulated."""
Table = tuple[str, list[list[str]]]


def saturation_table(figures: Mapping[str, Any], webhooks: float) -> str:
    """Return with how many Items each limit is used up."""
    busy = Plan(1_000_000, webhooks, figures)
    even = Plan(1_000_000, webhooks, {**figures, "traffic": {**figures["traffic"], "peak": 1.0}})
    mean = {each.name: each.items(even) for each in resources(even)}
    header = ["What is used up", "Limit", "Items, by the busiest hour", "Items, by the mean", "What to raise"]
    rows = [
        [each.name, f"{each.limit:,.0f} {each.unit}", _items(each.items(busy)), _items(mean[each.name]), each.raise_by]
        for each in resources(busy)
    ]
    return table(header, rows)


def share_of(plan: Plan, limits: Limits) -> float:
    """Return which share of the system is simulated: all of it, or a slice that has a whole number of workers."""
    hour = plan.webhooks_per_second * 3600
    if hour <= _SIMULATED_WEBHOOKS:
        return 1.0
    workers = max(_MIN_WORKERS, round(limits.workers * _SIMULATED_WEBHOOKS / hour))
    return min(1.0, workers / limits.workers)


def capacity_table(plans: list[Plan]) -> str:
    """Return what the busiest hour of each plan is like, with the limits of the template and with raised ones."""
    header = ["Items", "Limits", "Webhooks a second", "Lag p50", "Lag p99", "Workers", "Throttled", "Backlog"]
    header += ["Empty after", "Slice", "USD a month"]
    rows = []
    for plan in plans:
        for name, limits in variants(plan).items():
            share = share_of(plan, limits)
            start = [f"{plan.items:,}", name, f"{plan.webhooks_per_second:,.1f}"]
            rows.append([*start, *_busiest_hour(plan, limits, share), f"{plan.dollars():,.0f}"])
    return table(header, rows)


def variants(plan: Plan) -> dict[str, Limits]:
    """Return the limits to simulate, by name: those of the template, and others where these are not enough."""
    limits = {plan.redesigned(): "redesigned", plan.raised(): "raised", plan.limits(): "deployed"}
    return {name: each for each, name in reversed(limits.items())}


def _busiest_hour(plan: Plan, limits: Limits, share: float) -> list[str]:
    capacity = limits.workers / plan.sync_seconds
    if plan.syncs_per_second > _HOPELESS * capacity:
        return [
            "grows",
            "grows",
            f"{limits.workers:,.0f}",
            "",
            f"grows by {plan.syncs_per_second - capacity:,.0f}/s",
            "",
            "",
        ]
    run = simulate(plan, limits, share=share)
    return [
        _seconds(run.lag_p50),
        _seconds(run.lag_p99),
        f"{run.workers / share:,.1f} of {limits.workers:,.0f}",
        _throttled(run, share),
        f"{run.backlog / share:,.0f}",
        _seconds(run.drained),
        "all" if share == 1 else f"1/{1 / share:.0f}",
    ]


def raised_table(plans: list[Plan]) -> str:
    """Return what has to be raised for each plan: what is as deployed is omitted."""
    names: dict[str, tuple[str, Callable[[Limits], float]]] = {
        "`SyncMaximumConcurrency`": ("workers", lambda limits: limits.workers),
        "/transactions/sync, Plaid's limit": ("calls a minute", lambda limits: limits.calls_per_minute),
        "`WebhookRateLimit`": ("webhooks a second", lambda limits: limits.api_per_second),
        "routine attempts of the sweep": ("a minute", lambda limits: limits.swept_per_minute),
        "by_state, of one state": ("write units a second", lambda limits: limits.state_writes),
    }
    header = ["Limit", "Deployed", *(f"{plan.items:,} Items" for plan in plans)]
    rows = []
    for name, (unit, value) in names.items():
        raised = [value(plan.redesigned()) for plan in plans]
        deployed = value(plans[0].limits())
        if max(raised) > deployed:
            found = [f"{each:,.0f}" if each > deployed else "" for each in raised]
            rows.append([f"{name} ({unit})", f"{deployed:,.0f}", *found])
    return table(header, rows)


def workers_table(figures: Mapping[str, Any], webhooks: float) -> str:
    """Return the busiest hour with more workers, and Plaid's default limit."""
    rows = []
    for items in WORKED:
        plan = Plan(items, webhooks, figures)
        for workers in (plan.limits().workers, *MORE_WORKERS):
            run = simulate(plan, replace(plan.limits(), workers=workers), share=WORKED_SHARE)
            cells = [_seconds(run.lag_p50), _seconds(run.lag_p99), f"{run.workers / WORKED_SHARE:,.0f}"]
            rows.append([f"{items:,}", f"{workers:,.0f}", *cells, _throttled(run, WORKED_SHARE), _seconds(run.drained)])
    return table(["Items", "Workers", "Lag p50", "Lag p99", "Busy", "Throttled", "Empty after"], rows)


def slice_table(figures: Mapping[str, Any], webhooks: float) -> str:
    """Return the same hour, simulated whole and as slices."""
    plan = Plan(SLICED, webhooks, figures)
    rows = []
    for share in (1.0, 0.5, 0.25):
        run = simulate(plan, plan.limits(), share=share)
        name = "all" if share == 1 else f"1/{1 / share:.0f}"
        workers = f"{run.workers / share:.1f} of {plan.limits().workers:.0f}"
        rows.append([name, f"{run.webhooks:,}", _seconds(run.lag_p50), _seconds(run.lag_p99), workers])
    return table(["Simulated", "Webhooks", "Lag p50", "Lag p99", "Workers"], rows)


def load_table(figures: Mapping[str, Any]) -> str:
    """Return what `make load` measured."""
    header = [
        "",
        "Webhooks",
        "Accepted a second",
        "Lag p50",
        "Lag p99",
        "Pulls per webhook",
        "Coalesced",
        "Differences",
    ]
    rows = [
        [
            each["name"],
            f"{each['webhooks']:,}",
            f"{each['accepted_per_second']:.1f}",
            f"{each['lag_p50']:.1f} s",
            f"{each['lag_p99']:.1f} s",
            f"{each['pulls'] / each['webhooks']:.2f}",
            f"{each['coalesced']:,}",
            f"{each['differences']}",
        ]
        for each in figures["load"]["outcomes"]
    ]
    return table(header, rows)


def memory_table(figures: Mapping[str, Any]) -> str:
    """Return the memory of the local stack's processes under load."""
    rows = [
        [name, f"{each['processes']}", f"{each['largest']:.0f}"]
        for name, each in figures["load"]["outcomes"][-1]["memory"].items()
    ]
    return table(["Process", "Number", "MiB of the largest"], rows)


def model_table(figures: Mapping[str, Any]) -> str:
    """Return the measured lags of the local stack, and those of the model."""
    rows = []
    for each in figures["load"]["outcomes"]:
        run = simulate_local(figures["load"]["service_times"], each)
        measured = (each["lag_p50"], each["lag_p99"], each["seconds"], each["commits"])
        modeled = (*run.sync_lags, run.seconds, run.pulls)
        cells = [
            f"{found:,.0f} / {made:,.0f} ({made / found - 1:+.0%})"
            for found, made in zip(measured, modeled, strict=True)
        ]
        rows.append([each["name"], *cells])
    header = ["Measured / modeled", "Lag p50, seconds", "Lag p99, seconds", "Empty after, seconds", "Commits"]
    return table(header, rows)


def tables(figures: Mapping[str, Any]) -> dict[str, Callable[[], str]]:
    """Return what makes each table of the document, by its name there."""
    webhooks = float(figures["traffic"]["webhooks"])
    plans = [Plan(items, webhooks, figures) for items in SIZES]
    return {
        "load": lambda: load_table(figures),
        "memory": lambda: memory_table(figures),
        "model": lambda: model_table(figures),
        "saturation": lambda: saturation_table(figures, webhooks),
        "capacity": lambda: capacity_table(plans),
        "raised": lambda: raised_table(plans[2:]),
        "workers": lambda: workers_table(figures, webhooks),
        "slice": lambda: slice_table(figures, webhooks),
    }


def write_document(figures: Mapping[str, Any]) -> None:
    """Replace the tables of docs/capacity.md."""
    text = DOCUMENT.read_text()
    for name, made in tables(figures).items():
        before, after = text.split(f"<!-- {name} -->\n")
        _, rest = after.split("<!-- end -->\n", 1)
        text = f"{before}<!-- {name} -->\n\n{made()}\n\n<!-- end -->\n{rest}"
    DOCUMENT.write_text(text)


def table_in_document(name: str) -> str:
    """Return a table of docs/capacity.md: it is between two comments."""
    return DOCUMENT.read_text().split(f"<!-- {name} -->\n")[1].split("<!-- end -->\n")[0].strip()


def _items(number: float) -> str:
    """Return a number of Items with two digits."""
    digits = 10 ** (len(str(int(number))) - 2)
    return f"{round(number / digits) * digits:,.0f}"


def _seconds(seconds: float) -> str:
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"  # noqa: PLR2004


def _throttled(run: Run, share: float) -> str:
    names = ("webhooks", "calls", "writes")
    found = zip(names, run.throttled, strict=True)
    return ", ".join(f"{number / share:,.0f} {name}" for name, number in found if number) or "0"
