"""The claims about AWS and Plaid that only a real deployment can confirm, each with its evidence (field-report)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from plaid_sync.metrics import Metric

from plaid_sync_cli import monitoring, quotas, versions
from plaid_sync_cli.checks import link_results
from plaid_sync_cli.findings import Result
from plaid_sync_cli.observations import DENIED
from plaid_sync_cli.output import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plaid_sync_cli.observations import Observations

    Observe = Callable[[Observations], "Observation"]

_HEARTBEAT_MS: Final = 60_000
_PLAID_WAITS_MS: Final = 10_000
_MIN_ROWS: Final = 100
_UNITS_PER_ROW: Final = (2.0, 4.5)
_ROW_LAG_MS: Final = 10_000
_MEMORY: Final = 0.85
_RUNS_PER_HOUR: Final = (58, 62)
_ITERATOR_AGE_MS: Final = 60_000
_WITHOUT_INFO: Final = ("WARN", "ERROR")
_IF: Final = re.compile(r"IF\(.+, (?P<metric>[a-z]+), [01]\)")
"""The alarms' expressions (infra/alarms.yaml): the metric that may be missing, and what counts where nothing is due."""


class Verdict(StrEnum):
    """What an observation says about a claim."""

    CONFIRMED = "confirmed"
    REFUTED = "refuted"
    NOT_OBSERVED = "not observed"


@dataclass(frozen=True, slots=True)
class Observation:
    """What was observed about a claim: numbers and states only."""

    verdict: Verdict
    what: str


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim, and how to observe it.

    Attributes:
        id: its row in docs/first-deployment.md.
        source: the document that relies on it.
        observe: returns what was observed; may raise what AWS and the network raise.
        emulated: the emulator behaves as AWS here, so that the local stack shows it, too.
    """

    id: str
    text: str
    source: str
    observe: Observe
    emulated: bool = False


CLAIMS: Final[list[Claim]] = []
"""The most consequential first."""


def _claim(name: str, text: str, source: str, *, emulated: bool = False) -> Callable[[Observe], Observe]:
    """Register a function as the evidence of a claim."""

    def register(function: Observe) -> Observe:
        CLAIMS.append(Claim(name, text, source, function, emulated))
        return function

    return register


def _none(what: str) -> Observation:
    return Observation(Verdict.NOT_OBSERVED, what)


def _verdict(what: str, *, holds: bool) -> Observation:
    return Observation(Verdict.CONFIRMED if holds else Verdict.REFUTED, what)


def _function(seen: Observations, name: str) -> str:
    return seen.deployment.output(f"{name}FunctionName")


@_claim("exact", "The rows equal Plaid's.", "docs/audit.md", emulated=True)
def _exact(seen: Observations) -> Observation:
    audited, drift = seen.own(Metric.ITEMS_AUDITED), seen.own(Metric.DRIFT_FOUND)
    what = f"{plural(round(audited), 'Item')} audited, {drift:,.0f} rows differ"
    return _verdict(what, holds=not drift) if audited else _none(f"{what}: plaid-sync audit --sample 20")


@_claim("versions", "What is deployed reaches the alias: a changed parameter publishes a version.", "docs/deploying.md")
def _published(seen: Observations) -> Observation:
    found = versions.read(seen.deployment)
    unpublished = [f"{each.function} ({', '.join(each.unpublished)})" for each in found if each.unpublished]
    if seen.deployment.updating:
        return _none(f"the stack is in {seen.deployment.status}")
    if unpublished:
        return _verdict(f"not as $LATEST: {', '.join(unpublished)}", holds=False)
    numbers = ", ".join(f"{each.function} {each.live}" for each in found)
    if all(each.newest == "1" for each in found):
        return _none("each function has one version: change a parameter")
    return _verdict(f"as $LATEST: {numbers}", holds=True)


@_claim("canary", "CodeDeploy shifts the aliases to a new version.", "docs/deploying.md")
def _shifted(seen: Observations) -> Observation:
    statuses = [found["status"] for found in seen.deployments]
    succeeded = statuses.count("Succeeded")
    what = f"{plural(len(statuses), 'deployment')} by CodeDeploy, {succeeded} succeeded"
    return _verdict(what, holds=True) if succeeded else _none(what)


@_claim("rollback", "An alarm rolls a deployment back.", "docs/deploying.md")
def _rolled_back(seen: Observations) -> Observation:
    stopped = [found for found in seen.deployments if found.get("errorInformation", {}).get("code") == "ALARM_ACTIVE"]
    rollbacks = [found.get("rollbackInfo", {}).get("rollbackDeploymentId", "unknown") for found in stopped]
    what = f"{plural(len(stopped), 'deployment')} stopped with ALARM_ACTIVE"
    what += f", rolled back by {', '.join(rollbacks)}" if rollbacks else ""
    return _verdict(what, holds=True) if stopped else _none(what)


@_claim("quotas", "The account's quotas are enough.", "docs/deploying.md")
def _quotas(seen: Observations) -> Observation:
    needs = replace(quotas.Needs.of(seen.deployment.parameters), production=False)  # which would want a reservation
    found = list(quotas.check(seen.deployment.client, needs, needs, emulated=seen.deployment.local))
    what = "; ".join(each.what for each in found)
    unread = [each for each in found if quotas.UNREAD in each.what]
    short = [each for each in found if each.result is not Result.OK and each not in unread]
    return _none(what) if unread and not short else _verdict(what, holds=not short)


@_claim(
    "parallel-groups",
    "Lambda runs message groups of a FIFO queue in parallel, up to MaximumConcurrency.",
    "docs/decisions.md",
)
def _parallel(seen: Observations) -> Observation:
    workers = quotas.Needs.of(seen.deployment.parameters).workers
    found = seen.highest("AWS/Lambda", "ConcurrentExecutions", FunctionName=_function(seen, "Sync"))
    if found is None or found <= 1:
        return _none("no two syncs at a time: link several Items, and resync them")
    return _verdict(f"at most {found:.0f} workers at a time, {workers} allowed", holds=found <= workers)


@_claim("no-throttles", "MaximumConcurrency alone keeps the queue's pollers from being throttled.", "docs/decisions.md")
def _unthrottled(seen: Observations) -> Observation:
    function = _function(seen, "Sync")
    invocations = seen.total("AWS/Lambda", "Invocations", FunctionName=function)
    throttles = seen.total("AWS/Lambda", "Throttles", FunctionName=function)
    what = f"{throttles:,.0f} throttles at {invocations:,.0f} invocations of sync"
    return _verdict(what, holds=not throttles) if invocations else _none(what)


@_claim(
    "heartbeat",
    "A worker keeps its messages hidden for longer than a minute by extending their visibility.",
    "docs/decisions.md",
)
def _heartbeat(seen: Observations) -> Observation:
    function = _function(seen, "Sync")
    longest = seen.highest("AWS/Lambda", "Duration", FunctionName=function) or 0.0
    batches = seen.records(function, "{ $.visibility_failures > 0 }")
    failures = sum(record.get("visibility_failures", 0) for record in batches)
    syncs = seen.records(function, '{ $.outcome = "superseded" }')
    superseded = sum(record.get("outcome") == "superseded" for record in syncs)
    what = f"longest sync {longest / 1000:.0f} s, {failures} failed changes of visibility, {superseded} superseded"
    if failures:
        return _verdict(what, holds=False)
    if seen.deployment.parameters.get("LogLevel") in _WITHOUT_INFO:
        return _none(f"{what}; LogLevel hides them")
    return _verdict(what, holds=True) if longest > _HEARTBEAT_MS and not superseded else _none(what)


@_claim("high-throughput", "The queue is in high throughput mode.", "docs/architecture.md", emulated=True)
def _high_throughput(seen: Observations) -> Observation:
    attributes = seen.deployment.client("sqs").get_queue_attributes(
        QueueUrl=seen.deployment.output("SyncQueueUrl"), AttributeNames=["DeduplicationScope", "FifoThroughputLimit"]
    )["Attributes"]
    found = attributes.get("DeduplicationScope"), attributes.get("FifoThroughputLimit")
    return _verdict(f"{found[0]}, {found[1]}", holds=found == ("messageGroup", "perMessageGroupId"))


@_claim("no-loop", "Lambda takes no function for a recursive loop.", "docs/decisions.md")
def _no_loop(seen: Observations) -> Observation:
    invocations = dropped = 0.0
    for name in seen.deployment.functions:
        invocations += seen.total("AWS/Lambda", "Invocations", FunctionName=name)
        dropped += seen.total("AWS/Lambda", "RecursiveInvocationsDropped", FunctionName=name)
    what = f"{dropped:,.0f} invocations dropped as recursive, of {invocations:,.0f}"
    return _verdict(what, holds=not dropped) if invocations else _none(what)


@_claim("write-units", "A row takes 2 to 4.5 write units of its table: twice its size, in a transaction.", "README.md")
def _write_units(seen: Observations) -> Observation:
    rows = sum(map(seen.own, (Metric.TRANSACTIONS_ADDED, Metric.TRANSACTIONS_MODIFIED, Metric.TRANSACTIONS_REMOVED)))
    table = seen.deployment.output("TransactionsTable")
    units = seen.total("AWS/DynamoDB", "ConsumedWriteCapacityUnits", TableName=table)
    if rows < _MIN_ROWS:
        return _none(f"{rows:,.0f} rows written, fewer than {_MIN_ROWS}")
    lowest, most = _UNITS_PER_ROW
    return _verdict(f"{units / rows:.2f} units per row, {rows:,.0f} rows", holds=lowest <= units / rows <= most)


@_claim("cold-start", "A cold start of the webhook function answers within Plaid's ten seconds.", "docs/decisions.md")
def _cold_start(seen: Observations) -> Observation:
    cold = seen.invocations[_function(seen, "Webhook")].cold
    if not cold:
        return _none("no cold start of webhook in Lambda's records")
    what = f"{plural(len(cold), 'cold start')}, the longest with its request {max(cold):,.0f} ms"
    return _verdict(what, holds=max(cold) < _PLAID_WAITS_MS)


@_claim("memory", "No function uses more than 85% of its memory.", "docs/decisions.md")
def _memory(seen: Observations) -> Observation:
    used = {name: found.memory_used for name, found in seen.invocations.items() if found.reported}
    if not used:
        return _none("no record of Lambda's about memory")
    name = max(used, key=used.__getitem__)
    return _verdict(f"at most {used[name]:.0%} of its memory, in {name}", holds=used[name] <= _MEMORY)


@_claim(
    "roles",
    "Each role allows what its function does, with conditions on LeadingKeys.",
    "docs/security.md",
    emulated=True,
)
def _roles(seen: Observations) -> Observation:
    counts = {name: sum(1 for _ in seen.logged(name, DENIED)) for name in seen.deployment.functions}
    invoked = [name for name in counts if seen.total("AWS/Lambda", "Invocations", FunctionName=name)]
    denied = {name: count for name, count in counts.items() if count}
    if denied:
        return _verdict(f"log records with AccessDenied: {denied}", holds=False)
    idle = sorted(set(counts) - set(invoked))
    what = f"no call was denied to {len(invoked)} of {plural(len(counts), 'function')}"
    return _none(f"{what}; not invoked: {', '.join(idle)}") if idle else _verdict(what, holds=True)


@_claim("schedule", "The sweep runs every minute.", "docs/decisions.md")
def _schedule(seen: Observations) -> Observation:
    runs = seen.hourly(Metric.SWEEP_RUNS)[1:]  # the stack may be younger than the first hour
    if not runs:
        return _none("no full hour of the sweep yet")
    lowest, most = _RUNS_PER_HOUR
    what = f"{min(runs):.0f} to {max(runs):.0f} runs of the sweep an hour, in {plural(len(runs), 'hour')}"
    return _verdict(what, holds=lowest <= min(runs) and max(runs) <= most)


@_claim("stream", "Events follow their history entries within a minute.", "docs/items.md")
def _events(seen: Observations) -> Observation:
    age = seen.highest("AWS/Lambda", "IteratorAge", FunctionName=_function(seen, "Changes"))
    published, failures = seen.own(Metric.EVENTS_PUBLISHED), seen.own(Metric.PUBLISH_FAILURES)
    if not published:
        return _none("no event was published")
    what = f"{published:,.0f} events published, {failures:.0f} failures, oldest record {(age or 0) / 1000:.0f} s"
    return _verdict(what, holds=not failures and (age or 0) < _ITERATOR_AGE_MS)


@_claim("alarm-math", "IF(gauge, metric) has data where the metric has none.", "docs/decisions.md")
def _math(seen: Observations) -> Observation:
    results = {alarm.slug: list(_results_without(seen, alarm)) for alarm in monitoring.alarms(seen.deployment)}
    counts = {slug: (found.count(0), found.count(None)) for slug, found in sorted(results.items())}
    shown = [f"{slug} {zeros} as 0, {missing} missing" for slug, (zeros, missing) in counts.items() if zeros or missing]
    if not shown:
        return _none("no period in which an alarm's gauge has data and its metric has none")
    what = f"periods without the metric: {'; '.join(shown)}"
    return _verdict(what, holds=not any(missing for _, missing in counts.values()))


def _results_without(seen: Observations, alarm: monitoring.Alarm) -> Iterator[float | None]:
    """Yield the results of an alarm's expression in the periods in which only its gauges have data."""
    for query in alarm.queries:
        if found := _IF.fullmatch(query.get("Expression", "")):
            points = seen.evaluate(alarm.queries)
            others = {each["Id"] for each in alarm.queries} - {query["Id"], found["metric"]}
            gauged = set.intersection(*(set(points[name]) for name in others))
            yield from (points[query["Id"]].get(period) for period in gauged - points[found["metric"]].keys())


@_claim("alarm-delivery", "Alarms reach the subscriptions of both topics.", "docs/decisions.md")
def _delivered(seen: Observations) -> Observation:
    if not seen.deployment.monitored:
        return _none("no alarm: deploy with Monitoring=full")
    sent = failed = 0.0
    for output in ("PageTopicArn", "AlarmTopicArn"):
        topic = seen.deployment.output(output).rsplit(":", 1)[-1]
        sent += seen.total("AWS/SNS", "NumberOfNotificationsDelivered", TopicName=topic)
        failed += seen.total("AWS/SNS", "NumberOfNotificationsFailed", TopicName=topic)
    what = f"{sent:.0f} notifications delivered, {failed:.0f} failed"
    return _verdict(what, holds=not failed) if sent or failed else _none(what)


@_claim("route-throttles", "Each route has its own limit.", "docs/security.md")
def _route_throttles(seen: Observations) -> Observation:
    stage = seen.deployment.client("apigatewayv2").get_stage(
        ApiId=seen.deployment.output("ApiId"), StageName="$default"
    )
    parameters = quotas.DEFAULTS | dict(seen.deployment.parameters)
    webhook = stage.get("RouteSettings", {}).get("POST /webhooks/plaid", {}).get("ThrottlingRateLimit")
    others = stage.get("DefaultRouteSettings", {}).get("ThrottlingRateLimit")
    wanted = float(parameters["WebhookRateLimit"]), float(parameters["ItemsRateLimit"])
    return _verdict(f"webhook {webhook}, other routes {others} requests a second", holds=(webhook, others) == wanted)


@_claim("row-lag", "Rows follow their webhook within ten seconds on average.", "README.md")
def _row_lag(seen: Observations) -> Observation:
    average = seen.average(Metric.SYNC_LAG)
    if average is None:
        return _none("no row followed a webhook")
    return _verdict(f"{average:,.0f} ms from a webhook to its rows on average", holds=average < _ROW_LAG_MS)


@_claim("signed-again", "Plaid signs each retry of a webhook again.", "docs/decisions.md")
def _signed_again(seen: Observations) -> Observation:
    rejected = seen.records(_function(seen, "Webhook"), "{ $.queued IS TRUE }")
    stale = sum(record.get("queued") is True for record in rejected)
    what = f"{plural(stale, 'webhook')} of genuine signature, older than five minutes"
    return _verdict(what, holds=False) if stale else _none(what)


@_claim("link-results", "Plaid lists the results of ordinary Link sessions.", "docs/items.md")
def _link_results(seen: Observations) -> Observation:
    what = link_results(seen.deployment).what
    if what.startswith("unknown"):
        return _none(what)
    return _verdict(what, holds=what.startswith("full"))
