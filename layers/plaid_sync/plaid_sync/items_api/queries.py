"""The reads of the Items API: lists of Items, one Item, its history, its transactions."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from plaid_sync.domain.clock import parse_timestamp
from plaid_sync.domain.errors import PlaidError, TransientError
from plaid_sync.domain.item import BankStatus
from plaid_sync.domain.requests import account_not_found_error, item_not_found_error, transaction_not_found_error
from plaid_sync.domain.transaction import is_transaction_id
from plaid_sync.items_api.page_tokens import ListPosition
from plaid_sync.items_api.ports import RowSelection
from plaid_sync.items_api.transaction_query import Order
from plaid_sync.items_api.views import (
    bank_view,
    drop_none,
    history_view,
    item_detail,
    item_summary,
    transaction_view,
)

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
        ListedPage,
        PageKey,
        PlaidItemCalls,
        TransactionPages,
    )
    from plaid_sync.items_api.transaction_query import TransactionsQuery
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
        self, item_id: ItemId, account_id: str | None, chosen: TransactionsQuery, position: ListPosition | None
    ) -> tuple[View, ListPosition | None]:
        """Return a page of the transactions of an Item, or of one account, and where the list continues.

        An order by date can list no row twice that a sync moves: on later pages it leaves out what may have been
        written since the list began, and that follows at the end, as `changed`.

        Raises:
            RefusedError: the Item has no such account.
        """
        item = self._load(item_id)
        if account_id is not None and account_id not in item.known_account_ids:
            raise account_not_found_error()
        accounts: tuple[str, ...] | None = None if account_id is None else (account_id,)
        if chosen.order is Order.ID:
            return self._page(item_id, RowSelection(Order.ID, chosen.filter, accounts), chosen.limit, position)
        position = position or ListPosition(generation=_quiet_generation(item))
        if position.changes:
            selection = RowSelection(Order.ID, chosen.filter, accounts, newer_than=position.generation)
            return self._page(item_id, selection, chosen.limit, position)
        accounts = accounts or tuple(sorted(item.known_account_ids))
        bound = position.generation if position.after else None
        selection = RowSelection(chosen.order, chosen.filter, accounts, not_newer_than=bound)
        page = self.transactions.page(item_id, selection, chosen.limit, position.after)
        position = replace(position, left_out=position.left_out or page.left_out)
        # Loaded again: what is written while the last page is read can move past it, too.
        if page.end is None and (position.left_out or self._load(item_id).generation != position.generation):
            return self._listed(item_id, page, position), replace(position, after="", changes=True)
        return self._listed(item_id, page, position), _after(page, position)

    def _page(
        self, item_id: ItemId, selection: RowSelection, limit: int, position: ListPosition | None
    ) -> tuple[View, ListPosition | None]:
        position = position or ListPosition()
        page = self.transactions.page(item_id, selection, limit, position.after)
        return self._listed(item_id, page, position), _after(page, position)

    def _listed(self, item_id: ItemId, page: ListedPage, position: ListPosition) -> View:
        """Return a page as its response shows it; report its damaged rows."""
        documents = [document for document in page.documents.values() if document is not None]
        unreadable = [transaction_id for transaction_id, document in page.documents.items() if document is None]
        if unreadable:
            self.report_unreadable(item_id, unreadable)
        listed = {"transactions": [], "changed": documents} if position.changes else {"transactions": documents}
        return listed | drop_none(unreadable=unreadable or None)

    def show_transaction(self, item_id: ItemId, transaction_id: str) -> View:
        """Return a live or removed transaction, with its annotations and its lineage.

        Raises:
            RefusedError: the Item has no such transaction.
        """
        self._load(item_id)
        row = self.transactions.row(item_id, transaction_id)
        if row is None:
            raise transaction_not_found_error()
        if row.damaged:
            self.report_unreadable(item_id, [transaction_id])
        pending_id = (row.document or {}).get("pending_transaction_id")
        lineage = drop_none(
            pending=self._relative(item_id, pending_id), posted=self._relative(item_id, row.posted_transaction_id)
        )
        return transaction_view(transaction_id, row) | {"annotations": row.annotations, "lineage": lineage}

    def _relative(self, item_id: ItemId, transaction_id: object) -> View | None:
        """Return the pending or the posted transaction of another one, as far as it is stored."""
        if not isinstance(transaction_id, str) or not is_transaction_id(transaction_id):
            return None
        return transaction_view(transaction_id, self.transactions.row(item_id, transaction_id))

    def _load(self, item_id: ItemId) -> Item:
        item = self.items.load(item_id)
        if item is None:
            raise item_not_found_error()
        return item


def _after(page: ListedPage, position: ListPosition) -> ListPosition | None:
    return None if page.end is None else replace(position, after=page.end)


def _is_fresh(status: BankStatus, synced_at: datetime | None, now: datetime) -> bool:
    """Return whether the status can be shown again: it is young, and no sync committed since."""
    return now - status.checked_at < BANK_STATUS_TTL and (synced_at is None or synced_at <= status.checked_at)


def _quiet_generation(item: Item) -> int:
    """Return the last generation of which nothing is written any more, as far as the Item shows it."""
    began_at = parse_timestamp(item.attempt_id.partition("#")[0])
    # A worker whose attempt a request superseded begins another one, which does not count as unfinished.
    has_pulled = began_at is None or (item.pull_began_at is not None and item.pull_began_at >= began_at)
    return item.generation if item.unfinished_attempts == 0 and has_pulled else item.generation - 1
