"""What the Items API reads: lists of Items, one Item, its history, its transactions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.core import exact_json
from plaid_sync.core.failures import PlaidError, RetryableError
from plaid_sync.core.items import ItemStatus
from plaid_sync.core.items_api.item_view import bank_of, entry, known, summary, whole
from plaid_sync.core.items_api.requests import (
    LONGEST_USER_ID,
    choice,
    item_not_found,
    limit,
    next_token,
    parse_next,
    refuse_unknown,
    text,
)
from plaid_sync.core.plain_text import LONGEST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plaid_sync.core.items import ItemId
    from plaid_sync.core.items_api.item_record import ItemRecord
    from plaid_sync.core.items_api.item_view import View
    from plaid_sync.ports.common import TokenDecryptor
    from plaid_sync.ports.items_api import ApiItems, HistoryPages, ItemLists, PlaidItemCalls, TransactionPages

_PAGE: Final = 50
_MOST: Final = 100
_TRANSACTIONS_PAGE: Final = 100
_MOST_TRANSACTIONS: Final = 500
_BANK_SECONDS: Final = 5.0
_LIST_PLACES: Final = {True: ("client_user_id", "item_id"), False: ("status", "fresh_at", "item_id")}
_ACCOUNT_PLACES: Final = {True: ("date_id", "transaction_id"), False: ("transaction_id",)}


@dataclass(frozen=True, slots=True)
class ItemQueries:
    """Answers what is asked about Items. All raise `InvalidRequestError`, `RefusedError` and `RetryableError`."""

    items: ApiItems
    lists: ItemLists
    histories: HistoryPages
    transactions: TransactionPages
    tokens: TokenDecryptor
    plaid: PlaidItemCalls

    def list_items(self, query: Mapping[str, str]) -> View:
        """Answer `GET /items`."""
        refuse_unknown(query, ("state", "client_user_id", "limit", "next"), "query parameter")
        user = text(query, "client_user_id", LONGEST_USER_ID)
        state = choice(query, "state", [status.value for status in ItemStatus])
        after = parse_next(query, _LIST_PLACES[user is not None])
        found, end = self.lists.page(user, state, limit(query, _PAGE, _MOST), after)
        return known(items=[summary(record) for record in found], next=next_token(end))

    def show(self, item_id: ItemId, query: Mapping[str, str]) -> View:
        """Answer `GET /items/{item_id}`."""
        refuse_unknown(query, (), "query parameter")
        record = self._load(item_id)
        bank = None if record.removed else self._bank(record)
        return whole(record, bank, self.transactions.count(item_id))

    def _bank(self, record: ItemRecord) -> View:
        """Return what Plaid says, if it says it soon: the rest of the answer is good without it."""
        try:
            access_token = self.tokens.decrypt(record.item_id, record.access_token)
            return bank_of(self.plaid.health(access_token, _BANK_SECONDS))
        except (PlaidError, RetryableError) as error:
            return {"unknown_because": error.code}

    def history(self, item_id: ItemId, query: Mapping[str, str]) -> View:
        """Answer `GET /items/{item_id}/history`."""
        refuse_unknown(query, ("limit", "next"), "query parameter")
        after, most = parse_next(query, ("entry_id",)), limit(query, _PAGE, _MOST)
        self._load(item_id)
        entries, end = self.histories.page(item_id, most, None if after is None else after["entry_id"])
        return known(
            history=[entry(recorded) for recorded in entries],
            next=next_token(None if end is None else {"entry_id": end}),
        )

    def list_transactions(self, item_id: ItemId, query: Mapping[str, str]) -> View:
        """Answer `GET /items/{item_id}/transactions`."""
        refuse_unknown(query, ("account_id", "limit", "next"), "query parameter")
        account_id = text(query, "account_id", LONGEST)
        after = parse_next(query, _ACCOUNT_PLACES[account_id is not None])
        most = limit(query, _TRANSACTIONS_PAGE, _MOST_TRANSACTIONS)
        self._load(item_id)
        documents, end = self.transactions.page(item_id, account_id, most, after)
        transactions: list[Any] = [exact_json.loads(document) for document in documents]
        return known(transactions=transactions, next=next_token(end))

    def _load(self, item_id: ItemId) -> ItemRecord:
        record = self.items.load(item_id)
        if record is None:
            raise item_not_found()
        return record
