"""The reads of the Items API: lists of Items, one Item, its history, its transactions."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from plaid_sync.domain.errors import PlaidError, TransientError
from plaid_sync.domain.item import BankStatus
from plaid_sync.domain.requests import item_not_found_error
from plaid_sync.items_api.views import bank_view, history_view, item_detail, item_summary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from plaid_sync.domain.clock import Clock
    from plaid_sync.domain.item import Item, ItemId
    from plaid_sync.domain.ports import TokenDecryptor
    from plaid_sync.items_api.ports import (
        ApiItems,
        HistoryStore,
        ItemLists,
        PageKey,
        PlaidItemCalls,
        TransactionPages,
    )
    from plaid_sync.items_api.views import View

_BANK_SECONDS: Final = 5.0
BANK_STATUS_TTL: Final = timedelta(seconds=60)
"""Plaid allows 15 /item/get per minute and Item (https://plaid.com/docs/errors/rate-limit-exceeded/), and the sync
needs them: more frequent requests get the last result."""


@dataclass(frozen=True, slots=True)
class ItemQueries:
    """Reads Items. All raise `TransientError`, and `RefusedError` where there is no such Item.

    A list is returned with the key of its last entry, if more follow. One with `after` raises `InvalidRequestError`
    where that is no key of the list.

    Attributes:
        report_unreadable: is called with an Item and the ids of those of its transactions whose rows are damaged.
    """

    items: ApiItems
    lists: ItemLists
    history: HistoryStore
    transactions: TransactionPages
    tokens: TokenDecryptor
    plaid: PlaidItemCalls
    clock: Clock
    report_unreadable: Callable[[ItemId, Sequence[str]], None]

    def list_items(
        self, client_user_id: str | None, state: str | None, limit: int, after: PageKey | None
    ) -> tuple[list[View], PageKey | None]:
        """Return Items, filtered by user and state where given."""
        items, last = self.lists.page(client_user_id, state, limit, after)
        return [item_summary(item) for item in items], last

    def show(self, item_id: ItemId) -> View:
        """Return an Item."""
        item = self._load(item_id)
        bank = None if item.removed else self._bank(item)
        return item_detail(item, bank, self.transactions.count(item_id))

    def _bank(self, item: Item) -> View:
        """Return Plaid's connection to the bank, if Plaid responds soon: the rest is useful without it."""
        now = self.clock.now()
        if item.bank is not None and _is_fresh(item.bank, item.synced_at, now):
            return bank_view(item.bank)
        try:
            access_token = self.tokens.decrypt(item.item_id, item.access_token)
            health = self.plaid.health(access_token, _BANK_SECONDS)
        except (PlaidError, TransientError) as error:
            return {"unknown_because": error.code}
        status = BankStatus(now, health.last_success_at, health.last_failure_at, health.error_code)
        with suppress(TransientError):
            self.items.save_bank_status(item.item_id, status)
        return bank_view(status)

    def list_history(self, item_id: ItemId, limit: int, after: str | None) -> tuple[list[View], str | None]:
        """Return history entries of an Item, newest first."""
        self._load(item_id)
        entries, last = self.history.page(item_id, limit, after)
        return [history_view(entry) for entry in entries], last

    def list_transactions(
        self, item_id: ItemId, account_id: str | None, limit: int, after: PageKey | None
    ) -> tuple[list[View], list[str], PageKey | None]:
        """Return transactions of an Item, or of one account, newest first; and the ids of those with damaged rows."""
        self._load(item_id)
        documents, last = self.transactions.page(item_id, account_id, limit, after)
        unreadable = [transaction_id for transaction_id, document in documents.items() if document is None]
        if unreadable:
            self.report_unreadable(item_id, unreadable)
        return [document for document in documents.values() if document is not None], unreadable, last

    def _load(self, item_id: ItemId) -> Item:
        item = self.items.load(item_id)
        if item is None:
            raise item_not_found_error()
        return item


def _is_fresh(status: BankStatus, synced_at: datetime | None, now: datetime) -> bool:
    """Return whether the status can be shown again: it is young, and no sync committed since."""
    return now - status.checked_at < BANK_STATUS_TTL and (synced_at is None or synced_at <= status.checked_at)
