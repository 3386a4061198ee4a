"""The model's values as the engine's own objects."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

from plaid_sync.core.items import Cursor, ItemId, ItemStatus, Standing
from plaid_sync.core.items import Item as RealItem
from plaid_sync.core.sync.pages import HISTORY_COMPLETE, Page
from plaid_sync.core.sync.transactions import Removal, StoredRow, TransactionId, TransactionRow

from tests.model.plaid import LOGIN_REQUIRED
from tests.model.state import GONE, IDS

if TYPE_CHECKING:
    from datetime import datetime

    from tests.model.plaid import PageAnswer
    from tests.model.state import Item, Row

_WELL: Final = Standing(ItemStatus.ACTIVE)


def real_item(item_id: ItemId, item: Item, began: datetime | None) -> RealItem:
    return RealItem(
        item_id=item_id,
        access_token=b"",
        generation=item.generation,
        standing=Standing(ItemStatus.NEEDS_USER, LOGIN_REQUIRED.code) if item.in_trouble else _WELL,
        cursor=None if item.cursor is None else Cursor(item.cursor),
        writing_since=item.writing_since,
        reconcile=item.reconcile,
        pull_began_at=began,
    )


def real_transaction(key: int, value: int) -> TransactionRow:
    return TransactionRow(TransactionId(IDS[key]), "account", "2030-01-01", Decimal(value), pending=False, plaid=b"")


def real_row(key: int, row: Row, *, content: bool) -> StoredRow:
    live = row.value != GONE
    return StoredRow(
        TransactionId(IDS[key]),
        "account",
        live,
        row.generation,
        row.first_generation,
        real_transaction(key, row.value) if content and live else None,
    )


def real_page(answer: PageAnswer) -> Page:
    told: dict[str, tuple[TransactionRow, ...]] = {"added": (), "modified": ()}
    removed: tuple[Removal, ...] = ()
    if answer.kind == "removed":
        removed = (Removal(TransactionId(IDS[answer.change.key]), "account"),)
    elif answer.kind:
        told[answer.kind] = (real_transaction(answer.change.key, answer.change.value),)
    return Page(
        added=told["added"],
        modified=told["modified"],
        removed=removed,
        next_cursor=None if answer.next_cursor is None else Cursor(answer.next_cursor),
        has_more=answer.has_more,
        update_status=HISTORY_COMPLETE if answer.complete else "INITIAL_UPDATE_COMPLETE",
        request_id="",
    )
