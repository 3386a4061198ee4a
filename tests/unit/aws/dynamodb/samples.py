"""One Item, and what tests write about it; the adapters of its tables."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from plaid_sync.aws.dynamodb.history import HistoryTable
from plaid_sync.aws.dynamodb.items import ItemsTable
from plaid_sync.aws.dynamodb.registration import Registrations
from plaid_sync.aws.dynamodb.transactions import TransactionsTable
from plaid_sync.domain.history import DetailType, EntryKind, HistoryEntry
from plaid_sync.domain.item import Cursor, Item, ItemId, ItemState, StateName
from plaid_sync.domain.schedule import AttemptClass, NextAttempt
from plaid_sync.domain.transaction import TransactionId, TransactionRow
from plaid_sync.linking.sessions import LinkProgress, Registration
from plaid_sync.sync.ports import Claim, Commit, FollowUp, ItemStateUpdate, Reconciliation

from tests.fakes.clock import NOON, FakeClock
from tests.fakes.items import new_item

if TYPE_CHECKING:
    from plaid_sync.domain.clock import Clock

ITEMS, TRANSACTIONS, QUARANTINE, HISTORY, LINKS = "items", "transactions", "quarantine", "history", "links"
SHARED = "shared"
ITEM = ItemId("item")
NEW = new_item(ITEM, access_token=b"encrypted", link_id="link", days_requested=730, linked_at=NOON)
ENTRY = HistoryEntry(ITEM, NOON, "g1", EntryKind.SYNC, "committed", {"causes": ["request"], "added": 1})
COMMIT = Commit(
    expected_cursor=None,
    cursor=Cursor("one"),
    update_status="HISTORICAL_UPDATE_COMPLETE",
    pull_began_at=NOON,
    committed_at=NOON,
    state=ItemState(StateName.ACTIVE),
    entry=ENTRY,
    follow_up=FollowUp(NextAttempt(NOON, AttemptClass.ROUTINE)),
    reconciliation=Reconciliation(history_complete=True),
)
NEEDS_USER = ItemStateUpdate(
    ItemState(StateName.NEEDS_USER, "ITEM_LOGIN_REQUIRED", NOON),
    FollowUp(NextAttempt(NOON, AttemptClass.ROUTINE)),
    HistoryEntry(ITEM, NOON, "g2", EntryKind.SYNC, "needs_user", {}, (DetailType.NEEDS_USER,)),
)
ROW = TransactionRow(TransactionId("t"), "account", "2026-02-28", Decimal("0.1234567"), False, b"{}")  # noqa: FBT003
CLAIMED = NextAttempt(NOON, AttemptClass.FAILING)
REMOVED = {"S": StateName.REMOVED.value}


def items_table(client: Any, clock: Clock | None = None) -> ItemsTable:
    return ItemsTable(client, ITEMS, HISTORY, clock or FakeClock())


def registrations(client: Any) -> Registrations:
    return Registrations(client, ITEMS, LINKS, HISTORY, FakeClock())


def transactions_table(client: Any, clock: Clock | None = None) -> TransactionsTable:
    return TransactionsTable(client, TRANSACTIONS, clock or FakeClock(), ITEMS, HISTORY)


def register(client: Any, item: Item = NEW, **registration: Any) -> ItemsTable:
    """Register an Item; return the table as a sync uses it."""
    linked = HistoryEntry(item.item_id, NOON, "linked", EntryKind.REQUEST, "linked")
    progress = LinkProgress(item.link_id, None, NOON, item.item_id)
    registrations(client).register(replace(Registration(item, progress, linked), **registration))
    return items_table(client)


def loaded(items: ItemsTable, item_id: ItemId = ITEM) -> Item:
    """Return an Item that exists."""
    item = items.load(item_id)
    assert item is not None
    return item


def claim_of(attempt_id: str, **fields: Any) -> Claim:
    return Claim(attempt_id, CLAIMED, **fields)


def claim(items: ItemsTable, attempt_id: str = "attempt") -> Item:
    return items.claim(loaded(items), claim_of(attempt_id))


def history_of_kind(client: Any, kind: EntryKind, item_id: ItemId = ITEM) -> list[HistoryEntry]:
    """Return the entries of one kind of an Item's history, the newest first."""
    entries, _ = HistoryTable(client, HISTORY).page(item_id, 100)
    return [entry for entry in entries if entry.kind == kind]


def set_attribute(client: Any, name: str, value: dict[str, Any], table: str = ITEMS, **key: str) -> None:
    client.update_item(
        TableName=table,
        Key={name: {"S": value} for name, value in ({"item_id": ITEM} | key).items()},
        UpdateExpression="SET #n = :v",
        ExpressionAttributeNames={"#n": name},
        ExpressionAttributeValues={":v": value},
    )


def cancellation(*codes: str) -> dict[str, Any]:
    """Return the arguments of `Stubber.add_client_error` for a transaction that is canceled for these reasons."""
    return {
        "method": "transact_write_items",
        "service_error_code": "TransactionCanceledException",
        "modeled_fields": {"CancellationReasons": [{"Code": code} for code in codes], "Message": "canceled"},
    }
