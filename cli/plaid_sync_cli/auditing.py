"""Audits and repairs of Items: by the audit function, which alone can open their tokens, and by the Item API."""

from __future__ import annotations

import time
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from typing import TYPE_CHECKING, Any, Final

from botocore.config import Config
from plaid_sync.core import exact_json
from plaid_sync.core.audit.report import JUDGED, UNJUDGED, AuditOutcome, AuditReport
from plaid_sync.core.items import ItemId

from plaid_sync_cli.api import ApiError, ItemApi, item_path
from plaid_sync_cli.deployment import ALIAS
from plaid_sync_cli.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from plaid_sync_cli.deployment import Deployment
    from plaid_sync_cli.pacing import Pace

Report = dict[str, Any]
"""What the audit function answers for an Item (docs/audit.md)."""

MOST_AT_ONCE: Final = 4
_INVOCATION: Final = Config(
    # The function takes up to 900 seconds; a repeat would start a second audit beside the first.
    connect_timeout=3,
    read_timeout=930,
    retries={"total_max_attempts": 1},
    max_pool_connections=MOST_AT_ONCE,
    user_agent_extra="plaid-sync",
)
_BAD: Final = UNJUDGED | {AuditOutcome.DRIFTED, AuditOutcome.UNREGISTERED}
_REPAIR_SECONDS: Final = 600.0
_LOOK_EVERY: Final = 2.0


@dataclass(frozen=True, slots=True)
class Auditing:
    """Has Items audited and repaired.

    Attributes:
        values: whether the reports quote what differs, which is bank data.
    """

    deployment: Deployment
    values: bool = False

    def audit(self, ids: Sequence[str], pace: Pace, done: Callable[[Report], None]) -> list[Report]:
        """Audit Items, a few at a time, at a steady rate; `done` is told of each. The order is that of the ids.

        Ctrl-C ends it at once: this pool's threads are daemons, and nobody waits for an answer that takes 15 minutes.
        """
        deployment, name = self.deployment, self.deployment.output("AuditFunctionName")
        functions = deployment.session.client("lambda", endpoint_url=deployment.endpoint_url, config=_INVOCATION)

        def one(item_id: str) -> Report:
            report = _invoke(functions, name, item_id, values=self.values)
            done(report)
            return report

        with ThreadPool(MOST_AT_ONCE) as pool:
            begun = []
            for item_id in ids:
                pace.wait()
                begun.append(pool.apply_async(one, (item_id,)))
            return [answer.get() for answer in begun]


def _invoke(functions: Any, name: str, item_id: str, *, values: bool) -> Report:  # noqa: ANN401 - boto3's, made at run time
    """Audit an Item; where the function fails, that is the report: it says nothing of the other Items."""
    event = exact_json.dumps({"item_id": item_id, "values": values})
    answer = functions.invoke(FunctionName=name, Qualifier=ALIAS, Payload=event.encode())
    document: Any = exact_json.loads(answer["Payload"].read())
    if "FunctionError" in answer:
        kind = document.get("errorType") if isinstance(document, dict) else None
        failed = AuditReport(ItemId(item_id), AuditOutcome.FAILED, code=str(kind or answer["FunctionError"]))
        return failed.as_json(values=False)
    report: Report = document
    return report


def is_bad(report: Report) -> bool:
    """Tell whether an Item has drifted, or nobody knows."""
    return AuditOutcome(report["outcome"]) in _BAD


def is_judged(report: Report) -> bool:
    """Tell whether it is known if an Item's rows are Plaid's."""
    return AuditOutcome(report["outcome"]) in JUDGED


def has_drifted(report: Report) -> bool:
    """Tell whether an Item's rows are not Plaid's."""
    return AuditOutcome(report["outcome"]) is AuditOutcome.DRIFTED


def drift_of(report: Report) -> int:
    """Return how many rows have drifted."""
    return sum(report[kind] for kind in ("missing", "extra", "different")) if has_drifted(report) else 0


def repair(api: ItemApi, item_id: str) -> str:
    """Resync an Item and wait until its rows are committed; return why that did not come about, or nothing.

    Raises:
        ApiError: the Item API can't be used.
    """
    try:
        api.call("POST", item_path(item_id, "resync"))
    except ApiError as error:
        if error.exit_code is ExitCode.UNREACHABLE:
            raise
        return f"{error.message}. {error.fix}"
    deadline = time.monotonic() + _REPAIR_SECONDS
    while api.call("GET", item_path(item_id))["reconcile_owed"]:
        if time.monotonic() > deadline:
            return f"not resynced within {_REPAIR_SECONDS / 60:.0f} minutes: see plaid-sync item {item_id}"
        time.sleep(_LOOK_EVERY)
    return ""
