"""Collects the evidence of a deployment: what was observed about each claim, and the measurements behind it.

A report has numbers, states and names of resources: no secret, token, account, caller, or amount.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import urllib3
from botocore.exceptions import BotoCoreError, ClientError
from plaid_sync.domain.errors import PlaidSyncError
from plaid_sync.metrics import Metric

from plaid_sync_cli import monitoring, versions
from plaid_sync_cli.api import ApiError
from plaid_sync_cli.checks import run_checks
from plaid_sync_cli.claims import CLAIMS, Claim, Observation, Verdict
from plaid_sync_cli.deployment import LOSABLE_TABLES, TABLES
from plaid_sync_cli.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable

    from plaid_sync_cli.deployment import Deployment
    from plaid_sync_cli.findings import Finding
    from plaid_sync_cli.observations import Observations

_PARAMETERS: Final = (
    *("Stage", "PlaidEnvironment", "Architecture", "SyncMaximumConcurrency", "PlaidCallsPerMinute"),
    *("ReserveSyncConcurrency", "WebhookReservedConcurrency", "SnapStart", "WebhookRateLimit", "WebhookBurstLimit"),
    *("ItemsRateLimit", "ItemsBurstLimit", "DeploymentType", "CustomerManagedKey"),
    *("IncludeOriginalDescription", "PersonalFinanceCategoryVersion", "GoneAccountRows", "AuditSampleSize", "LogLevel"),
    *("TransactionEvents", "EventArchiveDays", "OutboundWebhooks", "PlaidEndpoints", "RecurringCacheHours"),
    "RefreshAfterHours",
)
"""The parameters in a report: none has a name, an address or an identifier of its owner."""
_QUEUES: Final = ("SyncQueueUrl", "DeadLetterQueueUrl", "FailedEventsQueueUrl")
_COUNTED: Final = (
    *(Metric.TRANSACTIONS_ADDED, Metric.TRANSACTIONS_MODIFIED, Metric.TRANSACTIONS_REMOVED),
    *(Metric.SYNC_COMMITTED, Metric.SYNC_FAILED),
)
_EXPECTED: Final = (CommandError, BotoCoreError, ClientError, PlaidSyncError, urllib3.exceptions.HTTPError)


def observe(seen: Observations, claim: Claim) -> Observation:
    """Observe a claim; what cannot be read is not observed."""
    if seen.deployment.local and not claim.emulated:
        return Observation(Verdict.NOT_OBSERVED, "the emulator does not show it")
    try:
        return claim.observe(seen)
    except _EXPECTED as error:
        return Observation(Verdict.NOT_OBSERVED, _cause(error))


def _cause(error: Exception) -> str:
    """Describe a failure without AWS's message, which names the caller and the account."""
    if isinstance(error, ClientError):
        return f"AWS returned {error.response['Error']['Code']} for {error.operation_name}"
    if isinstance(error, ApiError):
        return f"the Items API returned {error.status}"
    return error.message if isinstance(error, CommandError) else type(error).__name__


def _check_result(name: str, finding: Finding) -> dict[str, str]:
    cause = {} if finding.error is None else {"cause": _cause(finding.error)}
    return {"check": name, "result": finding.result.value, **cause}


def collect(seen: Observations) -> dict[str, Any]:
    """Return the report."""
    deployment = seen.deployment
    observed = [(claim, observe(seen, claim)) for claim in CLAIMS]
    return {
        "stack": deployment.name,
        "region": deployment.region,
        "from": seen.start,
        "to": seen.end,
        "emulator": deployment.local,
        "claims": [
            {
                "id": claim.id,
                "claim": claim.text,
                "source": claim.source,
                "verdict": found.verdict.value,
                "observed": found.what,
            }
            for claim, found in observed
        ],
        "doctor": [_check_result(name, finding) for name, finding in run_checks(deployment)],
        "measurements": {name: _read(measure, seen) for name, measure in _MEASUREMENTS.items()},
    }


def _read(measure: Callable[[Observations], Any], seen: Observations) -> Any:  # noqa: ANN401 - JSON
    try:
        return measure(seen)
    except _EXPECTED as error:
        return {"error": _cause(error)}


def _stack(seen: Observations) -> dict[str, Any]:
    kinds = [kind for kind, _ in seen.deployment.resources()]
    parameters = seen.deployment.parameters
    return {
        "status": seen.deployment.status,
        "parameters": {name: parameters[name] for name in _PARAMETERS if name in parameters},
        "resources": {kind: kinds.count(kind) for kind in sorted(set(kinds))},
    }


def _functions(seen: Observations) -> dict[str, Any]:
    found = {version.function: version for version in versions.read(seen.deployment)}
    return {name: _function(seen, name, found[name]) for name in seen.deployment.functions}


def _function(seen: Observations, name: str, version: versions.Version) -> dict[str, Any]:
    reported = seen.invocations[name]
    counts = {
        metric.lower(): seen.total("AWS/Lambda", metric, FunctionName=name)
        for metric in ("Invocations", "Errors", "Throttles")
    }
    return {
        **counts,
        "longest_ms": seen.highest("AWS/Lambda", "Duration", FunctionName=name),
        "concurrent": seen.highest("AWS/Lambda", "ConcurrentExecutions", FunctionName=name),
        "reported": reported.reported,
        "cold_ms": sorted(reported.cold),
        "memory_used": round(reported.memory_used, 2),
        "live": version.live,
        "newest": version.newest,
    }


def _tables(seen: Observations) -> dict[str, dict[str, float]]:
    return {output: _capacity(seen, seen.deployment.output(output)) for output in (*TABLES, *LOSABLE_TABLES)}


def _capacity(seen: Observations, table: str) -> dict[str, float]:
    names = {"write_units": "ConsumedWriteCapacityUnits", "read_units": "ConsumedReadCapacityUnits"}
    return {key: seen.total("AWS/DynamoDB", name, TableName=table) for key, name in names.items()}


def _queues(seen: Observations) -> dict[str, dict[str, str]]:
    client = seen.deployment.client("sqs")
    return {output: _attributes(client, seen.deployment, output) for output in _QUEUES}


def _attributes(client: Any, deployment: Deployment, output: str) -> dict[str, str]:  # noqa: ANN401 - a boto3 client
    answer = client.get_queue_attributes(QueueUrl=deployment.output(output), AttributeNames=["All"])
    return {name: value for name, value in answer["Attributes"].items() if "arn:" not in value}


def _alarms(seen: Observations) -> dict[str, str]:
    return {alarm.slug: alarm.state for alarm in monitoring.alarms(seen.deployment)}


def _rows(seen: Observations) -> dict[str, float | None]:
    counts: dict[str, float | None] = {metric.value: seen.own(metric) for metric in _COUNTED}
    return counts | {metric.value: seen.average(metric) for metric in (Metric.SYNC_LAG, Metric.WEBHOOK_DELAY)}


_MEASUREMENTS: Final = {
    "stack": _stack,
    "functions": _functions,
    "tables": _tables,
    "queues": _queues,
    "alarms": _alarms,
    "rows": _rows,
}
