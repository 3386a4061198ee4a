"""Consumes the sync queue: brings each Item of a batch to Plaid's truth, once.

Event: SQS FIFO records whose bodies are `{"item_id", "cause", "webhook"?}`. Answers `{"batchItemFailures": [...]}`;
SQS deletes every message that is not in it. Environment: `plaid_sync.config.SyncSettings`.
"""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING, Any

from plaid_sync.adapters.aws import client, utc_now
from plaid_sync.adapters.dynamodb.erasable_rows import ErasableTables
from plaid_sync.adapters.dynamodb.items_table import ItemsTable
from plaid_sync.adapters.dynamodb.links_table import LinksTable
from plaid_sync.adapters.dynamodb.quarantine_table import QuarantineTable
from plaid_sync.adapters.dynamodb.transactions_table import TransactionsTable
from plaid_sync.adapters.plaid.credentials import PlaidSecret
from plaid_sync.adapters.plaid.items import PlaidItems
from plaid_sync.adapters.plaid.transactions import PlaidTransactionsClient
from plaid_sync.adapters.plaid.transport import PlaidTransport
from plaid_sync.adapters.queues import SqsReceivedMessages
from plaid_sync.adapters.sync_telling import tell_batch
from plaid_sync.adapters.telemetry import count, logger, metrics, tell_plaid_call
from plaid_sync.adapters.token_cipher import KmsTokens
from plaid_sync.config import SyncSettings, from_environment
from plaid_sync.core.lifecycle.removal import Remover
from plaid_sync.core.sync.batch import BatchProcessor
from plaid_sync.core.sync.catching_up import CatchUp
from plaid_sync.core.sync.pulling import Puller
from plaid_sync.core.sync.syncing import SyncEngine
from plaid_sync.signals import Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aws_lambda_powertools.utilities.typing import LambdaContext
    from plaid_sync.ports.common import Clock


def build_processor(
    environment: Mapping[str, str],
    clock: Clock = utc_now,
    pause: Callable[[float], None] = time.sleep,
    jitter: Callable[[], float] = lambda: random.uniform(0.8, 1.2),  # noqa: S311 # nosec B311 - no secret
) -> BatchProcessor:
    """Wire the processor; nothing is called yet."""
    settings = from_environment(SyncSettings, environment)
    dynamodb = client("dynamodb")
    secret = PlaidSecret(lambda: client("secretsmanager"), settings.plaid_secret_id, clock)
    transport = PlaidTransport(settings.plaid_host, secret, tell_plaid_call)
    plaid = PlaidItems(transport, settings.plaid_env)
    items = ItemsTable(dynamodb, settings.items_table, settings.history_table, clock, pause)
    tables = settings.items_table, settings.transactions_table, settings.history_table
    transactions = TransactionsTable(dynamodb, *tables, clock, pause)
    tokens = KmsTokens(client("kms"), settings.token_key_id)
    erasable = (settings.transactions_table, "transaction_id"), (settings.quarantine_table, "entry_part")
    engine = SyncEngine(
        items=items,
        transactions=transactions,
        quarantine=QuarantineTable(dynamodb, settings.items_table, settings.quarantine_table, clock, pause),
        tokens=tokens,
        plaid=plaid,
        catch_up=CatchUp(transactions, Puller(PlaidTransactionsClient(transport), clock, pause, jitter)),
        remover=Remover(
            items=items,
            rows=ErasableTables(dynamodb, erasable, pause),
            logins=LinksTable(dynamodb, settings.links_table, pause),
            tokens=tokens,
            plaid=plaid,
            clock=clock,
        ),
        clock=clock,
    )
    messages = SqsReceivedMessages(client("sqs"), settings.sync_queue_url, settings.dead_letter_queue_url)
    return BatchProcessor(engine, messages, jitter)


processor = build_processor(os.environ)


@metrics.log_metrics(capture_cold_start_metric=True)
@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Work through one batch."""
    records = event["Records"]
    count(Signal.TRIGGERS_RECEIVED, len(records))
    result = processor.process(records, lambda: context.get_remaining_time_in_millis() / 1000)
    tell_batch(result)
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in result.failed_message_ids]}
