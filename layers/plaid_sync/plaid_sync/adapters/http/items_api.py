"""The Items API, wired."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plaid_sync.adapters.aws import ITEMS_CONFIG, client
from plaid_sync.adapters.dynamodb.history_table import HistoryTable
from plaid_sync.adapters.dynamodb.item_changes import ItemChanges
from plaid_sync.adapters.dynamodb.item_lists import ItemIndexes
from plaid_sync.adapters.dynamodb.item_registry import ItemRegistry
from plaid_sync.adapters.dynamodb.links_table import LinksTable
from plaid_sync.adapters.dynamodb.transaction_reader import TransactionReader
from plaid_sync.adapters.plaid.credentials import PlaidSecret
from plaid_sync.adapters.plaid.items import PlaidItems
from plaid_sync.adapters.plaid.link import PlaidLinkClient
from plaid_sync.adapters.plaid.transport import PlaidTransport
from plaid_sync.adapters.queues import SqsSyncQueue
from plaid_sync.adapters.token_cipher import KmsTokens
from plaid_sync.core.items_api.item_operations import ItemOperations
from plaid_sync.core.items_api.item_queries import ItemQueries
from plaid_sync.core.linking.link_tokens import LinkTokens
from plaid_sync.core.linking.link_wish import LinkWishes
from plaid_sync.core.linking.linker import Linker
from plaid_sync.core.linking.session_reader import SessionReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from plaid_sync.config import ItemsSettings
    from plaid_sync.ports.common import Clock, PlaidCalls


@dataclass(frozen=True, slots=True)
class Telling:
    """What the API tells, and marks what it does with.

    Attributes:
        plaid_call: is told how each call to Plaid went.
        correlation_id: returns what marks the request that is answered now.
    """

    plaid_call: PlaidCalls
    correlation_id: Callable[[], str]


@dataclass(frozen=True, slots=True)
class ItemsApi:
    """What answers requests; `item_routes` knows which.

    Attributes:
        webhook_url: where Plaid sends webhooks; empty for the host name that is called.
    """

    linker: Linker
    link_tokens: LinkTokens
    queries: ItemQueries
    operations: ItemOperations
    webhook_url: str


def build(settings: ItemsSettings, clock: Clock, pause: Callable[[float], None], telling: Telling) -> ItemsApi:
    """Wire the API; nothing is called yet."""
    dynamodb: Any = client("dynamodb", ITEMS_CONFIG)
    transport = PlaidTransport(
        settings.plaid_host,
        PlaidSecret(lambda: client("secretsmanager", ITEMS_CONFIG), settings.plaid_secret_id, clock),
        telling.plaid_call,
    )
    plaid, calls = PlaidLinkClient(transport), PlaidItems(transport, settings.plaid_env)
    tokens = KmsTokens(client("kms", ITEMS_CONFIG), settings.token_key_id)
    queue = SqsSyncQueue(client("sqs", ITEMS_CONFIG), settings.sync_queue_url, telling.correlation_id)
    links, history = LinksTable(dynamodb, settings.links_table, pause), HistoryTable(dynamodb, settings.history_table)
    registry = ItemRegistry(dynamodb, settings.items_table, settings.links_table, settings.history_table, clock, pause)
    changes = ItemChanges(dynamodb, settings.items_table, settings.history_table, pause)
    sessions = SessionReader(links, plaid, clock, pause)
    transactions = TransactionReader(dynamodb, settings.transactions_table)
    return ItemsApi(
        linker=Linker(
            LinkWishes(sessions, links, registry), plaid, calls, tokens, registry, changes, queue, clock, pause
        ),
        link_tokens=LinkTokens(plaid, links, changes, tokens, clock, settings.link_client_name),
        queries=ItemQueries(
            changes, ItemIndexes(dynamodb, settings.items_table), history, transactions, tokens, calls, clock
        ),
        operations=ItemOperations(changes, history, sessions, tokens, calls, queue, clock),
        webhook_url=settings.webhook_url,
    )
