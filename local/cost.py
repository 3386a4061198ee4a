"""What a stack costs in a month, by formulas; their figures are in docs/cost.toml, and their results in docs/cost.md.

`python -m local.cost` prints the document's tables.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from local.stack.paths import PROJECT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Cost = dict[str, float]
"""USD in a month, by service."""
SIZES: Final = (0, 1_000, 10_000, 100_000, 1_000_000)
DOCUMENT: Final = PROJECT / "docs" / "cost.md"
_HOURS: Final = 730
_MINUTES: Final = _HOURS * 60
_SECONDS: Final = _MINUTES * 60
_DAYS: Final = _HOURS / 24
_GB: Final = 1e9
_CHANGES: Final = ("added", "modified", "removed")


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack that costs something.

    Attributes:
        items: how many Items are linked.
        alive: every metric has a value in every hour; otherwise the usual ones of a stack without Items.
        figures: the sections of docs/cost.toml.
    """

    items: int
    figures: Mapping[str, Any]
    alive: bool = True
    monitored: bool = True
    traced: bool = True
    infrequent_access: bool = False
    account_index: bool = True

    def cost(self) -> Cost:
        """Return what it costs in a month."""
        parts = (_fixed, _lambda, _requests, _dynamodb, _observation)
        return {service: usd for part in parts for service, usd in part(self).items()}

    def total(self) -> float:
        """Return the sum."""
        return sum(self.cost().values())

    def of(self, section: str) -> SimpleNamespace:
        """Return a section of the figures, as attributes."""
        return SimpleNamespace(**self.figures[section])

    @property
    def audited(self) -> float:
        """How many Items are audited in a month."""
        return _DAYS * min(self.items, int(self.figures["stack"]["audited_a_day"]))

    def monthly(self, name: str) -> float:
        """Return how often something happens in a month that is assumed of each Item."""
        return self.items * float(self.figures["assumed"][name])


def read_figures() -> dict[str, Any]:
    """Return the sections of docs/cost.toml."""
    return tomllib.loads((PROJECT / "docs" / "cost.toml").read_text())


def _fixed(stack: Stack) -> Cost:
    prices, has = stack.of("prices"), stack.of("stack")
    metrics = has.metrics_alive if stack.alive else has.metrics_idle
    routes = has.metrics_per_detailed_route * has.detailed_routes if stack.alive else 0
    return {
        "Key and secret": has.keys * prices.key_month + has.secrets * prices.secret_month,
        "Alarms": (has.alarm_metrics * stack.monitored + has.version_alarms) * prices.alarm_metric_month,
        "Dashboard": has.dashboards * prices.dashboard_month * stack.monitored,
        "Metrics": (metrics + routes) * prices.metric_month,
    }


def _lambda(stack: Stack) -> Cost:
    prices, assumed = stack.of("prices"), stack.of("assumed")
    runs = {
        "webhook": (stack.monthly("syncs"), assumed.webhook_seconds),
        "sync": (stack.monthly("syncs") + stack.monthly("looks"), assumed.sync_seconds),
        "sweep": (_MINUTES, assumed.sweep_seconds),
        "audit": (_DAYS, assumed.audit_seconds * stack.audited / _DAYS),
    }
    memory = stack.of("stack").memory_mb
    gb_seconds = sum(number * seconds * memory[name] / 1024 for name, (number, seconds) in runs.items())
    requests = sum(number for number, _ in runs.values()) + stack.monthly("events")
    return {"Lambda": requests * prices.lambda_request + gb_seconds * prices.lambda_gb_second}


def _requests(stack: Stack) -> Cost:
    prices, assumed = stack.of("prices"), stack.of("assumed")
    webhooks = stack.monthly("syncs")
    syncs = webhooks + stack.monthly("looks")
    polls = assumed.pollers * _SECONDS / 20
    processes = max(1.0, syncs * assumed.sync_seconds / _SECONDS) if syncs else 0.0
    secret_requests = processes * _HOURS * 12  # every five minutes
    return {
        "API Gateway": webhooks * prices.api_request,
        "SQS": (polls + syncs * assumed.sqs_requests) * prices.sqs_request,
        "EventBridge": stack.monthly("events") * prices.event,
        "KMS and Secrets Manager, requests": syncs * prices.kms_request + secret_requests * prices.secret_request,
    }


def _dynamodb(stack: Stack) -> Cost:
    prices, measured, assumed = stack.of("prices"), stack.of("measured"), stack.of("assumed")
    write, read, stored = prices.write_unit, prices.read_unit, prices.stored_gb_month
    row_write, row_read, row_stored = (
        (prices.ia_write_unit, prices.ia_read_unit, prices.ia_stored_gb_month)
        if stack.infrequent_access
        else (write, read, stored)
    )
    kinds = ("writes", "index_writes") if stack.account_index else ("writes",)
    rows = sum(stack.monthly(change) * getattr(measured, f"{change}_{kind}") for change in _CHANGES for kind in kinds)
    others = stack.monthly("syncs") * measured.sync_writes + stack.monthly("looks") * measured.look_writes
    audited_rows = stack.audited * assumed.added * assumed.months_of_history
    row_reads = stack.monthly("modified") * measured.modified_reads + audited_rows * measured.audited_row_reads
    gauges = _MINUTES / 4 * stack.items * measured.gauge_bytes / 4096 / 2
    reads = _MINUTES * measured.sweep_reads + gauges
    history = stack.monthly("syncs") * assumed.history_days / _DAYS * measured.history_bytes
    row_bytes = stack.monthly("added") * assumed.months_of_history * measured.row_bytes
    recovered = row_bytes + history + stack.items * measured.item_bytes
    copies = 2 if stack.account_index else 1
    return {
        "DynamoDB, writes": rows * row_write + others * write,
        "DynamoDB, reads": row_reads * row_read + reads * read,
        "DynamoDB, storage": (row_bytes * copies * row_stored + (recovered - row_bytes) * stored) / _GB,
        "DynamoDB, point-in-time recovery": recovered / _GB * prices.recovery_gb_month,
    }


def _observation(stack: Stack) -> Cost:
    prices, measured, assumed = stack.of("prices"), stack.of("measured"), stack.of("assumed")
    webhooks, looks = stack.monthly("syncs"), stack.monthly("looks")
    of_a_sync = measured.sync_log_bytes + assumed.platform_log_bytes
    of_a_webhook = measured.webhook_log_bytes + assumed.platform_log_bytes + assumed.access_log_bytes
    of_a_sweep = measured.sweep_log_bytes + assumed.platform_log_bytes
    ingested = (webhooks * of_a_webhook + (webhooks + looks) * of_a_sync + _MINUTES * of_a_sweep) / _GB
    stored = ingested * assumed.log_compression * assumed.log_months
    requests = 2 * webhooks + looks
    traces = min(requests, _SECONDS) + assumed.trace_share * max(0.0, requests - _SECONDS)
    return {
        "Logs": ingested * prices.log_ingested_gb + stored * prices.log_stored_gb_month,
        "X-Ray": traces * prices.trace * stack.traced,
    }


def idle(figures: Mapping[str, Any]) -> Stack:
    """Return a stack without Items."""
    return Stack(0, figures, alive=False)


def stacks(figures: Mapping[str, Any]) -> list[Stack]:
    """Return the stacks of the document's table: an idle one, and those with Items."""
    return [idle(figures), *(Stack(items, figures) for items in SIZES[1:])]


def savings(figures: Mapping[str, Any], items: int) -> dict[str, float]:
    """Return what each choice takes off the total in a month, by its name in the document."""
    full = Stack(items, figures) if items else idle(figures)
    assumed = figures["assumed"]
    choices = {
        "`Monitoring=none`": replace(full, monitored=False),
        "X-Ray off": replace(full, traced=False),
        "Standard-IA for Transactions": replace(full, infrequent_access=True),
        "without by_account": replace(full, account_index=False),
        "`LogRetentionDays=30`": replace(full, figures={**figures, "assumed": assumed | {"log_months": 1}}),
        "one sync a day and Item": replace(full, figures={**figures, "assumed": assumed | {"syncs": 30}}),
    }
    return {name: full.total() - chosen.total() for name, chosen in choices.items()}


def cost_table(figures: Mapping[str, Any]) -> str:
    """Return the document's table of costs by number of Items."""
    costs = [stack.cost() for stack in stacks(figures)]
    rows = [[service, *(_usd(cost[service]) for cost in costs)] for service in costs[0]]
    totals = [sum(cost.values()) for cost in costs]
    rows.append(["**Total**", *(f"**{_usd(total)}**" for total in totals)])
    rows.append(["per Item", "", *(f"{total / items:.4f}" for total, items in zip(totals[1:], SIZES[1:], strict=True))])
    return table(["USD a month", "idle", *(f"{items:,} Items" for items in SIZES[1:])], rows)


def savings_table(figures: Mapping[str, Any]) -> str:
    """Return the document's table of what each choice saves."""
    sizes = (0, 10_000, 1_000_000)
    found = [savings(figures, items) for items in sizes]
    rows = [[name, *(_usd(saved[name]) for saved in found)] for name in found[0]]
    return table(["USD a month less", "idle", *(f"{items:,} Items" for items in sizes[1:])], rows)


def _usd(value: float) -> str:
    return f"{value:,.2f}" if abs(value) < 100 else f"{value:,.0f}"  # noqa: PLR2004 - from here on cents are noise


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    print(f"{cost_table(read_figures())}\n\n{savings_table(read_figures())}")
