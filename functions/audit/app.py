"""Compares Items with Plaid, row by row and field by field, and reports the differences. Its role writes no data.

Event: `{"item_id": "…"}` for one Item, with `"values": true` if the response shall quote the differences (bank data);
any other event, such as the schedule's, for a random sample, `{"sample": 5}` for one of another size. Returns the
report, or `{"audited", "reports"}`. Environment: `plaid_sync.config.AuditSettings`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from plaid_sync.audit.auditor import Auditor, Sampler
from plaid_sync.audit.report import CONCLUSIVE, AuditOutcome
from plaid_sync.aws.call_budget import call_budget
from plaid_sync.aws.clients import client, deadline_of
from plaid_sync.aws.dynamodb.item_indexes import ItemIndexes
from plaid_sync.aws.dynamodb.items import ItemsTable
from plaid_sync.aws.dynamodb.transactions import TransactionRows
from plaid_sync.aws.kms import KmsTokenCipher
from plaid_sync.aws.telemetry import count, logger, metrics, record_plaid_call
from plaid_sync.config import AuditSettings, from_environment
from plaid_sync.domain.budget import CallClass
from plaid_sync.domain.clock import RANDOM, SystemClock, jitter
from plaid_sync.domain.item import ItemId
from plaid_sync.domain.messages import is_item_id
from plaid_sync.metrics import Metric
from plaid_sync.plaid.client import PlaidTransport
from plaid_sync.plaid.credentials import PlaidSecret
from plaid_sync.plaid.items import PlaidTransactionsClient
from plaid_sync.pull.puller import Puller, PullOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aws_lambda_powertools.utilities.typing import LambdaContext
    from plaid_sync.audit.report import AuditReport
    from plaid_sync.domain.clock import Clock


def build_sampler(
    environment: Mapping[str, str],
    clock: Clock | None = None,
    spread: Callable[[], float] = jitter,
    randbelow: Callable[[int], int] = RANDOM.randrange,
) -> Sampler:
    """Wire the audit; nothing is called yet."""
    settings, clock = from_environment(AuditSettings, environment), clock or SystemClock()
    dynamodb = client("dynamodb")
    secret = PlaidSecret(lambda: client("secretsmanager"), settings.plaid_secret_id, clock)
    options = PullOptions.of(settings)
    budget = call_budget(settings, clock, CallClass.AUDIT)
    transport = PlaidTransport(settings.plaid_host, secret, record_plaid_call, budget)
    auditor = Auditor(
        items=ItemsTable(dynamodb, settings.items_table, "", clock),
        rows=TransactionRows(dynamodb, settings.transactions_table, clock),
        tokens=KmsTokenCipher(client("kms"), settings.token_key_id),
        puller=Puller(PlaidTransactionsClient(transport, options), clock, spread),
        pulled_with=options.name,
        keeps_gone_rows=options.keeps_gone_rows,
    )
    return Sampler(auditor, ItemIndexes(dynamodb, settings.items_table), settings.audit_sample_size, randbelow)


sampler = build_sampler(os.environ)


@metrics.log_metrics
@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Audit one Item, or a sample.

    Raises:
        ValueError: `item_id` or `sample` is malformed; the text says what it must be.
    """
    logger.set_correlation_id(context.aws_request_id)
    deadline = deadline_of(context)
    if "item_id" in event:
        report = sampler.auditor.audit(_item_of(event), deadline)
        _log(report)
        _emit([report])
        return report.as_json(values=event.get("values") is True)
    reports: list[AuditReport] = []
    try:
        for report in sampler.audits(_size_of(event), deadline):
            _log(report)
            reports.append(report)
    finally:
        _emit(reports)
    return {"audited": len(reports), "reports": [report.counts() for report in reports]}


def _item_of(event: dict[str, Any]) -> ItemId:
    if not is_item_id(event["item_id"]):
        raise ValueError("item_id must be 1 to 128 printable ASCII characters")
    return ItemId(event["item_id"])


def _size_of(event: dict[str, Any]) -> int | None:
    size = event.get("sample")
    if size is not None and (type(size) is not int or size < 1):
        raise ValueError("sample must be a positive integer; leave it out for the function's own size")
    return size


def _log(report: AuditReport) -> None:
    log = logger.error if report.drift else logger.info
    log("item audited", extra=report.counts())


def _emit(reports: list[AuditReport]) -> None:
    """Emit the metrics; the log has each report."""
    count(Metric.ITEMS_AUDITED, sum(report.outcome in CONCLUSIVE for report in reports))
    count(Metric.DRIFT_FOUND, sum(report.drift for report in reports))
    count(Metric.UNKNOWN_STATES, sum(report.outcome is AuditOutcome.UNKNOWN_STATE for report in reports))
