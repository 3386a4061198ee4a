"""Compares Items with Plaid, row by row and field by field, and reports what differs. Its role can write nothing.

Event: `{"item_id": "…"}` for one Item, with `"values": true` if the answer shall quote what differs (bank data);
anything else, as from the schedule, for a random sample, `{"sample": 5}` for one of another size. Answers the report,
or `{"audited", "reports"}`. Environment: `plaid_sync.config.AuditSettings`.
"""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING, Any

from plaid_sync.adapters.aws import client, utc_now
from plaid_sync.adapters.dynamodb.audit_items import AuditItems
from plaid_sync.adapters.dynamodb.stored_rows import StoredRows
from plaid_sync.adapters.plaid.credentials import PlaidSecret
from plaid_sync.adapters.plaid.transactions import PlaidTransactionsClient
from plaid_sync.adapters.plaid.transport import PlaidTransport
from plaid_sync.adapters.telemetry import count, logger, metrics, tell_plaid_call
from plaid_sync.adapters.token_cipher import KmsTokens
from plaid_sync.config import AuditSettings, from_environment
from plaid_sync.core.audit.auditing import Auditor
from plaid_sync.core.audit.report import JUDGED, UNJUDGED
from plaid_sync.core.audit.sampling import Sampler
from plaid_sync.core.items import ItemId
from plaid_sync.core.sync.pulling import Puller
from plaid_sync.core.triggers import is_item_id
from plaid_sync.signals import Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aws_lambda_powertools.utilities.typing import LambdaContext
    from plaid_sync.core.audit.report import AuditReport
    from plaid_sync.ports.common import Clock


def build_sampler(
    environment: Mapping[str, str],
    clock: Clock = utc_now,
    pause: Callable[[float], None] = time.sleep,
    jitter: Callable[[], float] = lambda: random.uniform(0.8, 1.2),  # noqa: S311 # nosec B311 - no secret
    below: Callable[[int], int] = random.randrange,
) -> Sampler:
    """Wire the audit; nothing is called yet."""
    settings = from_environment(AuditSettings, environment)
    dynamodb = client("dynamodb")
    secret = PlaidSecret(lambda: client("secretsmanager"), settings.plaid_secret_id, clock)
    plaid = PlaidTransactionsClient(PlaidTransport(settings.plaid_host, secret, tell_plaid_call))
    auditor = Auditor(
        items=AuditItems(dynamodb, settings.items_table),
        rows=StoredRows(dynamodb, settings.transactions_table, pause),
        tokens=KmsTokens(client("kms"), settings.token_key_id),
        puller=Puller(plaid, clock, pause, jitter),
    )
    return Sampler(auditor, settings.audit_sample_size, below)


sampler = build_sampler(os.environ)


@metrics.log_metrics(capture_cold_start_metric=True)
@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Audit one Item, or a sample.

    Raises:
        ValueError: `item_id` or `sample` can't be one; the text says what it must be.
    """
    logger.set_correlation_id(context.aws_request_id)

    def time_left() -> float:
        return context.get_remaining_time_in_millis() / 1000

    if "item_id" in event:
        report = sampler.auditor.audit(_item_of(event), time_left)
        _tell(report)
        _measure([report])
        return report.as_json(values=event.get("values") is True)
    reports: list[AuditReport] = []
    try:
        for report in sampler.audits(_size_of(event), time_left):
            _tell(report)
            reports.append(report)
    finally:
        _measure(reports)
    return {"audited": len(reports), "reports": [report.counts() for report in reports]}


def _item_of(event: dict[str, Any]) -> ItemId:
    if not is_item_id(event["item_id"]):
        raise ValueError("item_id must be 1 to 128 printable ASCII characters")
    return ItemId(event["item_id"])


def _size_of(event: dict[str, Any]) -> int | None:
    size = event.get("sample")
    if size is not None and (type(size) is not int or size < 1):
        raise ValueError("sample must be a whole number from 1 on; leave it out for the function's own size")
    return size


def _tell(report: AuditReport) -> None:
    tell = logger.error if report.drift else logger.info
    tell("item audited", extra=report.counts())


def _measure(reports: list[AuditReport]) -> None:
    """Count, zeros too: an alarm on drift must be able to tell none from no audit."""
    count(Signal.ITEMS_AUDITED, sum(report.outcome in JUDGED for report in reports))
    count(Signal.ITEMS_DRIFTED, sum(report.drift > 0 for report in reports))
    count(Signal.DRIFT_FOUND, sum(report.drift for report in reports))
    count(Signal.AUDIT_UNSETTLED, sum(report.outcome in UNJUDGED for report in reports))
