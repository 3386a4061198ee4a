"""Audits Items with the audit function, which can decrypt their tokens, and repairs them with the Items API."""

from __future__ import annotations

import time
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from typing import TYPE_CHECKING, Any, Final

from botocore.config import Config
from plaid_sync.audit.report import CONCLUSIVE, INCONCLUSIVE, AuditOutcome, AuditReport
from plaid_sync.domain import exact_json
from plaid_sync.domain.item import ItemId

from plaid_sync_cli.api import ApiError, ItemApi, item_path
from plaid_sync_cli.deployment import ALIAS
from plaid_sync_cli.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from plaid_sync_cli.bulk import RateLimiter
    from plaid_sync_cli.deployment import Deployment

Report = dict[str, Any]
"""The audit function's report on an Item (docs/audit.md)."""

MAX_CONCURRENCY: Final = 4
_LAMBDA_CONFIG: Final = Config(
    # The function takes up to 900 seconds; a retry would start a second audit in parallel.
    connect_timeout=3,
    read_timeout=930,
    retries={"total_max_attempts": 1},
    max_pool_connections=MAX_CONCURRENCY,
    user_agent_extra="plaid-sync",
)
_BAD: Final = INCONCLUSIVE | {AuditOutcome.DRIFTED, AuditOutcome.UNREGISTERED}
_REPAIR_SECONDS: Final = 600.0
_POLL_INTERVAL: Final = 2.0
_WAIT_SECONDS: Final = 0.5
"""A signal can reach another thread than the one that waits, and then ends no wait: each wait is short."""


@dataclass(frozen=True, slots=True)
class Auditor:
    """Audits Items.

    Attributes:
        values: whether the reports quote differing values, which are bank data.
    """

    deployment: Deployment
    values: bool = False

    def audit(self, ids: Sequence[str], limiter: RateLimiter, on_report: Callable[[Report], None]) -> list[Report]:
        """Audit Items, a few in parallel, and call `on_report` with each report; return them in the order of the ids.

        Ctrl-C ends it at once: the pool's threads are daemons, and an invocation can take 15 minutes.
        """
        deployment, name = self.deployment, self.deployment.output("AuditFunctionName")
        functions = deployment.session.client("lambda", endpoint_url=deployment.endpoint_url, config=_LAMBDA_CONFIG)

        def audit_item(item_id: str) -> Report:
            report = _invoke(functions, name, item_id, values=self.values)
            on_report(report)
            return report

        with ThreadPool(MAX_CONCURRENCY) as pool:
            started = []
            for item_id in ids:
                limiter.wait()
                started.append(pool.apply_async(audit_item, (item_id,)))
            for result in started:
                while not result.ready():
                    result.wait(_WAIT_SECONDS)
            return [result.get() for result in started]


def _invoke(functions: Any, name: str, item_id: str, *, values: bool) -> Report:  # noqa: ANN401 - a boto3 client
    """Audit an Item; a failed invocation is a report, so that the other Items are not affected."""
    event = exact_json.dumps({"item_id": item_id, "values": values})
    response = functions.invoke(FunctionName=f"{name}:{ALIAS}", Payload=event.encode())
    document: Any = exact_json.loads(response["Payload"].read())
    if "FunctionError" in response:
        kind = document.get("errorType") if isinstance(document, dict) else None
        failed = AuditReport(ItemId(item_id), AuditOutcome.FAILED, code=str(kind or response["FunctionError"]))
        return failed.as_json(values=False)
    report: Report = document
    return report


def is_bad(report: Report) -> bool:
    """Return whether an Item has drifted, or the audit is inconclusive."""
    return AuditOutcome(report["outcome"]) in _BAD


def is_conclusive(report: Report) -> bool:
    """Return whether the audit compared the Item's rows with Plaid's."""
    return AuditOutcome(report["outcome"]) in CONCLUSIVE


def has_drifted(report: Report) -> bool:
    """Return whether an Item's rows differ from Plaid's."""
    return AuditOutcome(report["outcome"]) is AuditOutcome.DRIFTED


def drifted_rows(report: Report) -> int:
    """Return the number of drifted rows."""
    return sum(report[kind] for kind in ("missing", "extra", "different")) if has_drifted(report) else 0


def repair(api: ItemApi, item_id: str) -> str:
    """Resync an Item and wait until it is committed; return the reason of a failure, or "".

    Raises:
        ApiError: the Items API is unreachable.
    """
    try:
        api.call("POST", item_path(item_id, "resync"))
    except ApiError as error:
        if error.exit_code is ExitCode.UNREACHABLE:
            raise
        return f"{error.message}. {error.fix}"
    deadline = time.monotonic() + _REPAIR_SECONDS
    while api.call("GET", item_path(item_id))["reconcile_pending"]:
        if time.monotonic() > deadline:
            return f"not resynced within {_REPAIR_SECONDS / 60:.0f} minutes: plaid-sync item {item_id}"
        time.sleep(_POLL_INTERVAL)
    return ""
