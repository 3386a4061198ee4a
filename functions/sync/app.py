"""Consumes the sync queue: brings each Item of a batch to Plaid's truth, once.

Event: SQS FIFO records whose bodies are `{"item_id", "cause", "webhook"?}`. Returns `{"batchItemFailures": [...]}`;
SQS deletes every message that is not in it: those whose outcome is recorded.
Environment: `plaid_sync.config.SyncSettings`.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from plaid_sync.aws.call_budget import call_budget
from plaid_sync.aws.clients import client, deadline_of
from plaid_sync.aws.dynamodb.attempts import SharedAttempts
from plaid_sync.aws.dynamodb.claims import ItemClaims
from plaid_sync.aws.dynamodb.erasure import ErasableTables
from plaid_sync.aws.dynamodb.history import HistoryTable
from plaid_sync.aws.dynamodb.items import ItemsTable
from plaid_sync.aws.dynamodb.quarantine import QuarantineTable
from plaid_sync.aws.dynamodb.transactions import TransactionsTable
from plaid_sync.aws.kms import KmsTokenCipher, RecentTokens
from plaid_sync.aws.sqs import SqsReceivedMessages
from plaid_sync.aws.sync_telemetry import emit_batch_telemetry, report_orphaned
from plaid_sync.aws.telemetry import count, logger, metrics, record_plaid_call
from plaid_sync.config import SyncSettings, from_environment
from plaid_sync.domain.budget import CallClass
from plaid_sync.domain.clock import SystemClock, jitter
from plaid_sync.metrics import Metric
from plaid_sync.plaid.client import PlaidTransport
from plaid_sync.plaid.credentials import PlaidSecret
from plaid_sync.plaid.items import PlaidItems, PlaidTransactionsClient
from plaid_sync.pull.puller import Puller, PullOptions
from plaid_sync.removal import Remover
from plaid_sync.sync.accounts import AccountChecks
from plaid_sync.sync.batch import BatchProcessor
from plaid_sync.sync.engine import SyncEngine
from plaid_sync.sync.heartbeat import thread_timer
from plaid_sync.sync.planner import UpdatePlanner
from plaid_sync.sync.refresh import ScheduledRefresh
from plaid_sync.sync.steps import AttemptSteps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aws_lambda_powertools.utilities.typing import LambdaContext
    from plaid_sync.domain.clock import Clock
    from plaid_sync.sync.heartbeat import Timer


def build_processor(
    environment: Mapping[str, str],
    clock: Clock | None = None,
    spread: Callable[[], float] = jitter,
    timer: Timer = thread_timer,
) -> BatchProcessor:
    """Wire the processor; nothing is called yet."""
    settings, clock = from_environment(SyncSettings, environment), clock or SystemClock()
    dynamodb = client("dynamodb")
    secret = PlaidSecret(lambda: client("secretsmanager"), settings.plaid_secret_id, clock)
    budget = call_budget(settings, clock, CallClass.WEBHOOK)
    transport = PlaidTransport(settings.plaid_host, secret, record_plaid_call, budget)
    options = PullOptions.of(settings)
    plaid = PlaidItems(transport, settings.plaid_env)
    items = ItemsTable(dynamodb, settings.items_table, settings.history_table, clock)
    transactions = TransactionsTable(
        dynamodb,
        settings.transactions_table,
        clock,
        settings.items_table,
        settings.history_table,
        logs_changes=settings.transaction_events == "true",
    )
    tokens = RecentTokens(KmsTokenCipher(client("kms"), settings.token_key_id), clock)
    erasable = (settings.transactions_table, "transaction_id"), (settings.quarantine_table, "entry_part")
    history, interval = HistoryTable(dynamodb, settings.history_table), timedelta(hours=settings.refresh_after_hours)
    claims = ItemClaims(dynamodb, settings.links_table, clock)
    puller = Puller(PlaidTransactionsClient(transport, options), clock, spread)
    engine = SyncEngine(
        items=items,
        steps=AttemptSteps(
            items=items,
            transactions=transactions,
            quarantine=QuarantineTable(dynamodb, settings.items_table, settings.quarantine_table, clock),
            tokens=tokens,
            plaid=plaid,
            planner=UpdatePlanner(transactions, puller, options.keeps_gone_rows),
            accounts=AccountChecks(items, transactions, plaid, claims, puller, options.keeps_gone_rows),
            clock=clock,
            pulled_with=options.name,
        ),
        removals=Remover(
            items=items,
            rows=ErasableTables(dynamodb, erasable, settings.history_table, clock),
            claims=claims,
            tokens=tokens,
            plaid=plaid,
            clock=clock,
            report_orphaned=report_orphaned,
        ),
        clock=clock,
        refresh=ScheduledRefresh(items, plaid, tokens, history, clock, interval) if interval else None,
    )
    messages = SqsReceivedMessages(client("sqs"), settings.sync_queue_url, settings.dead_letter_queue_url)
    answers = SharedAttempts(dynamodb, settings.shared_table, clock)
    return BatchProcessor(engine, messages, answers, timer, budget)


processor = build_processor(os.environ)


@metrics.log_metrics
@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Process one batch."""
    records = event["Records"]
    count(Metric.MESSAGES_RECEIVED, len(records))
    result = processor.process(records, deadline_of(context))
    emit_batch_telemetry(result)
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in result.failed_message_ids]}
