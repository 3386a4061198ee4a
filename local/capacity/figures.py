"""The figures of docs/capacity.toml, and what follows from them for so many Items."""

from __future__ import annotations

import json
import math
import tomllib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from local.capacity.system import SENDING, Limits, Writes
from local.cost import Stack, read_figures
from local.stack.paths import PROJECT

if TYPE_CHECKING:
    from collections.abc import Mapping

DATA: Final = PROJECT / "docs" / "capacity.toml"
LOAD: Final = PROJECT / "docs" / "load.json"
DAY: Final = 86_400
_P99: Final = 2.3263478740408408
_PAGE: Final = 1_000_000
_HEADROOM: Final = 0.7
"""Of what a raised limit allows, so much is used in the busiest hour."""


def read() -> dict[str, Any]:
    """Return the sections of docs/capacity.toml; `load` is what `make load` measured."""
    return tomllib.loads(DATA.read_text()) | {"load": json.loads(LOAD.read_text())}


def mean_of(median: float, p99: float) -> float:
    """Return the mean of a lognormal distribution."""
    return median * math.exp((math.log(p99 / median) / _P99) ** 2 / 2)


@dataclass(frozen=True)
class Plan:
    """So many Items, each with so many webhooks a day.

    Attributes:
        figures: the sections of docs/capacity.toml.
    """

    items: int
    webhooks: float
    figures: Mapping[str, Any]

    @property
    def peak(self) -> float:
        return float(self.figures["traffic"]["peak"])

    @property
    def webhooks_per_second(self) -> float:
        """Webhooks in the busiest hour."""
        return self.items * self.webhooks * self.peak / DAY

    @property
    def routine_per_second(self) -> float:
        """Items whose routine attempt comes, in the mean.

        An Item's attempt comes when there was no webhook for so many hours; the time to its next sync is the shorter of
        an exponential time and these hours.
        """
        days = self.figures["engine"]["routine_hours"] / 24
        without = math.exp(-self.webhooks * days)
        between = (1 - without) / self.webhooks if self.webhooks else days
        return self.items * without / between / DAY

    @property
    def routine_budget(self) -> float:
        """Routine attempts that the sweep begins in a second."""
        return float(self.figures["limits"]["calls_per_minute"] * self.figures["engine"]["routine_share"] / 60)

    @property
    def syncs_per_second(self) -> float:
        """Syncs in the busiest hour, if each webhook has one."""
        return self.webhooks_per_second + min(self.routine_per_second, self.routine_budget)

    @cached_property
    def seconds(self) -> dict[str, float]:
        """How long each step takes, in the mean."""
        pairs = {step: each for step, each in self.figures["seconds"].items() if isinstance(each, list)}
        return {step: mean_of(*pair) for step, pair in pairs.items()}

    @property
    def sync_seconds(self) -> float:
        """How long a worker is busy with one Item of a batch of one."""
        return sum(self.seconds[step] for step in ("receive", "claim", "pull", "commit"))

    @property
    def webhook_seconds(self) -> float:
        return self.seconds["deliver"] + self.seconds["respond"]

    @property
    def sweep_messages(self) -> float:
        """Messages that one run of the sweep can send in its minute."""
        return float(SENDING / self.figures["seconds"]["sweep_message"])

    @property
    def gauge_seconds(self) -> float:
        """How long the gauges' scan of by_state takes."""
        pages = self.items * self.figures["engine"]["state_row_bytes"] / _PAGE
        return float(pages * self.figures["seconds"]["state_page"])

    @property
    def writes(self) -> Writes:
        engine = self.figures["engine"]
        return Writes(engine["state_writes"], engine["attempt_writes"])

    @property
    def table_writes(self) -> float:
        """Write units a second of the busiest table, Transactions with its index, in the busiest hour."""
        cost = read_figures()
        a_month = sum(
            cost["assumed"][change]
            * (cost["measured"][f"{change}_writes"] + cost["measured"][f"{change}_index_writes"])
            for change in ("added", "modified", "removed")
        )
        return float(self.items * self.peak * a_month / (365 / 12 * DAY))

    def limits(self) -> Limits:
        """Return the limits of the stack as the template deploys it."""
        limit, engine = self.figures["limits"], self.figures["engine"]
        return Limits(
            api_per_second=limit["api_per_second"],
            api_burst=limit["api_burst"],
            webhook_concurrency=limit["lambda_concurrency"] - limit["workers"],
            sends_per_second=limit["sends_per_second"],
            in_flight=limit["in_flight"],
            workers=limit["workers"],
            workers_at_start=limit["workers_at_start"],
            workers_per_second=limit["workers_per_minute"] / 60,
            calls_per_minute=limit["calls_per_minute"],
            calls_per_item=limit["calls_per_item"],
            state_writes=limit["partition_writes"],
            attempt_writes=limit["partition_writes"] * engine["shards"],
            swept_per_minute=limit["calls_per_minute"] * engine["routine_share"],
            retried_per_minute=limit["calls_per_minute"] * engine["failing_share"],
        )

    @property
    def demand(self) -> float:
        """Syncs a second in the busiest hour, if nothing bounds them."""
        return self.webhooks_per_second + self.routine_per_second

    def raised(self) -> Limits:
        """Return the limits with each quota and parameter raised that the busiest hour uses up, until some is left."""
        before = self.limits()
        calls = max(before.calls_per_minute, self.demand * 60 / _HEADROOM)
        engine = self.figures["engine"]
        return replace(
            before,
            api_per_second=max(before.api_per_second, self.webhooks_per_second / _HEADROOM),
            workers=min(self.figures["limits"]["max_workers"], max(before.workers, self._workers)),
            calls_per_minute=calls,
            swept_per_minute=min(self.sweep_messages, max(calls * engine["routine_share"], self._routine)),
            retried_per_minute=calls * engine["failing_share"],
        )

    def redesigned(self) -> Limits:
        """Return the raised limits, and also those raised that no quota or parameter changes."""
        raised = self.raised()
        return replace(
            raised,
            workers=max(raised.workers, self._workers),
            state_writes=max(raised.state_writes, self.demand * self.writes.state / _HEADROOM),
            swept_per_minute=max(raised.swept_per_minute, self._routine),
        )

    @property
    def _routine(self) -> float:
        return self.routine_per_second * 60 / _HEADROOM

    @property
    def _workers(self) -> int:
        return math.ceil(self.demand * self.sync_seconds / _HEADROOM)

    def dollars(self) -> float:
        """Return what the stack costs in a month, by docs/cost.md's formulas."""
        cost, month = read_figures(), 365 / 12
        counts = {"syncs": self.webhooks * month, "looks": self.routine_per_second / self.items * DAY * month}
        return Stack(self.items, {**cost, "assumed": cost["assumed"] | counts}).total()


@dataclass(frozen=True, slots=True)
class Resource:
    """Something that saturates.

    Attributes:
        use: by the Items of a plan, in the unit of `limit`.
        raise_by: what an operator can do.
    """

    name: str
    unit: str
    use: float
    limit: float
    raise_by: str

    def items(self, plan: Plan) -> float:
        """Return with how many Items it is used up: use grows with their number."""
        return plan.items * self.limit / self.use


def resources(plan: Plan) -> list[Resource]:
    """Return what saturates, the first one first."""
    limit, limits, writes = plan.figures["limits"], plan.limits(), plan.writes
    demand = plan.demand
    found = [
        Resource(
            "routine attempts of the sweep",
            "a minute",
            plan.routine_per_second * 60,
            limits.swept_per_minute,
            "Plaid's rate limit, then `PlaidCallsPerMinute`",
        ),
        Resource(
            "sync workers",
            "at a time",
            demand * plan.sync_seconds,
            limits.workers,
            f"`SyncMaximumConcurrency`, {limit['max_workers']:,} at most",
        ),
        Resource(
            "Plaid's limit of /transactions/sync",
            "calls a minute",
            demand * 60,
            limits.calls_per_minute,
            "Plaid's rate limit, then `PlaidCallsPerMinute`",
        ),
        Resource(
            "Plaid's limit of /accounts/get",
            "calls a minute",
            plan.items / 1440,
            limit["account_calls_per_minute"],
            "Plaid's rate limit",
        ),
        Resource(
            "partition `active` of by_state",
            "write units a second",
            demand * writes.state,
            limits.state_writes,
            "redesign: a shard in its partition key",
        ),
        Resource(
            "partitions of a class of by_next_attempt",
            "write units a second",
            demand * writes.attempt,
            limits.attempt_writes,
            "redesign: more shards",
        ),
        Resource(
            "messages of a run of the sweep",
            "a minute",
            plan.routine_per_second * 60,
            plan.sweep_messages,
            "redesign: send batches, or several runs at a time",
        ),
        Resource(
            "the sweep's gauges, beside its messages",
            "seconds",
            plan.gauge_seconds,
            limit["sweep_seconds"] - SENDING,
            "redesign: counts that each commit keeps",
        ),
        Resource(
            "API Gateway's route",
            "webhooks a second",
            plan.webhooks_per_second,
            limits.api_per_second,
            "`WebhookRateLimit`",
        ),
        Resource(
            "concurrency of the webhook function",
            "at a time",
            plan.webhooks_per_second * plan.webhook_seconds,
            limits.webhook_concurrency,
            "Lambda's quota *Concurrent executions*",
        ),
        Resource(
            "SQS without high throughput, which is on",
            "messages a second",
            demand,
            limit["sends_per_second_without_high_throughput"],
            "on in template.yaml",
        ),
        Resource(
            "SQS with high throughput",
            "messages a second",
            demand,
            limits.sends_per_second,
            "another region has less",
        ),
        Resource(
            "the Transactions table with its index",
            "write units a second",
            plan.table_writes,
            limit["table_writes"],
            "DynamoDB's quota *Table-level write throughput limit*",
        ),
    ]
    return sorted(found, key=lambda each: each.items(plan))
