"""What the Items API reads: lists of Items, one Item, its history, its transactions."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.core import exact_json
from plaid_sync.core.failures import PlaidError, RetryableError
from plaid_sync.core.items import ItemStatus
from plaid_sync.core.items_api.item_record import BankContact
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
    from datetime import datetime

    from plaid_sync.core.items import ItemId
    from plaid_sync.core.items_api.item_record import ItemRecord
    from plaid_sync.core.items_api.item_view import View
    from plaid_sync.ports.common import Clock, TokenDecryptor
    from plaid_sync.ports.items_api import ApiItems, HistoryPages, ItemLists, PlaidItemCalls, TransactionPages

_PAGE: Final = 50
_MOST: Final = 100
_TRANSACTIONS_PAGE: Final = 100
_MOST_TRANSACTIONS: Final = 500
_BANK_SECONDS: Final = 5.0
BANK_KEPT: Final = timedelta(seconds=60)
"""Plaid allows 15 /item/get a minute and Item (https://plaid.com/docs/errors/rate-limit-exceeded/), and the sync needs
them: who asks more often gets the last answer again."""
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
    clock: Clock

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
        now = self.clock()
        if record.bank is not None and _is_fresh(record.bank, record.synced_at, now):
            return bank_of(record.bank)
        try:
            access_token = self.tokens.decrypt(record.item_id, record.access_token)
            health = self.plaid.health(access_token, _BANK_SECONDS)
        except (PlaidError, RetryableError) as error:
            return {"unknown_because": error.code}
        contact = BankContact(now, health.last_success_at, health.last_failure_at, health.error_code)
        with suppress(RetryableError):
            self.items.keep_bank_contact(record.item_id, contact)
        return bank_of(contact)

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


def _is_fresh(contact: BankContact, synced_at: datetime | None, now: datetime) -> bool:
    """Tell whether Plaid's answer can be shown again: it is young, and no sync has committed since."""
    return now - contact.asked_at < BANK_KEPT and (synced_at is None or synced_at <= contact.asked_at)
