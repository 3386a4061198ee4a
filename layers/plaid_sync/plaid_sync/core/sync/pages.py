"""What Plaid's /transactions/sync answers, page by page, and what an update nets out to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.core import exact_json
from plaid_sync.core.failures import ContractBrokenError
from plaid_sync.core.items import Cursor
from plaid_sync.core.plain_text import is_plain, plain_or_empty
from plaid_sync.core.sync.accounts import parse_accounts
from plaid_sync.core.sync.quarantine import BrokenEntry
from plaid_sync.core.sync.transactions import (
    Removal,
    TransactionId,
    TransactionRow,
    reduce_removal,
    reduce_transaction,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

    from plaid_sync.core.items import Account
    from plaid_sync.core.sync.quarantine import Source

HISTORY_COMPLETE: Final = "HISTORICAL_UPDATE_COMPLETE"
_LONGEST_CURSOR: Final = 1024  # Plaid says 256


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of /transactions/sync in stored form (https://plaid.com/docs/api/products/transactions/).

    Attributes:
        next_cursor: None while Plaid has nothing ready (it answers with an empty or a null cursor).
        update_status: Plaid's `transactions_update_status`; empty where it was absent or not plain.
        request_id: Plaid's id of the call; empty likewise.
        broken: entries of the three lists that break the contract. They are in none of the lists here, but for a
            removal whose id can be read: that is all it takes to apply it.
        accounts: the accounts that have transactions, those of them that can be read.
    """

    added: tuple[TransactionRow, ...]
    modified: tuple[TransactionRow, ...]
    removed: tuple[Removal, ...]
    next_cursor: Cursor | None
    has_more: bool
    update_status: str
    request_id: str
    broken: tuple[BrokenEntry, ...] = ()
    accounts: tuple[Account, ...] = ()


def parse_page(document: bytes) -> Page:
    """Parse the body of a /transactions/sync answer; amounts stay exact.

    An entry that breaks the contract does not fail the page.

    Raises:
        InvalidJsonError: it is not JSON.
        ContractBrokenError: the page around the entries has not the documented shape: nothing in it can be trusted.
    """
    answer = exact_json.loads(document)
    if not isinstance(answer, dict):
        raise ContractBrokenError("body")
    cursor, has_more = answer.get("next_cursor"), answer.get("has_more")
    if cursor is not None and cursor != "" and not is_plain(cursor, _LONGEST_CURSOR):
        raise ContractBrokenError("next_cursor")
    if not isinstance(has_more, bool):
        raise ContractBrokenError("has_more")
    broken: list[BrokenEntry] = []
    added, modified = tuple(_rows(answer, "added", broken)), tuple(_rows(answer, "modified", broken))
    page = Page(
        added=added,
        modified=modified,
        removed=tuple(_removals(answer, broken)),
        next_cursor=Cursor(cursor) if cursor else None,
        has_more=has_more,
        update_status=plain_or_empty(answer.get("transactions_update_status")),
        request_id=plain_or_empty(answer.get("request_id")),
        broken=tuple(broken),
        accounts=parse_accounts(answer.get("accounts")),
    )
    # Rows without a cursor could never be fetched again from where they came: do not take them for "not ready".
    if page.next_cursor is None and (has_more or page.added or page.modified or page.removed or page.broken):
        raise ContractBrokenError("next_cursor")
    return page


def _rows(answer: dict[str, Any], source: Source, broken: list[BrokenEntry]) -> Iterator[TransactionRow]:
    """Yield the rows of one list; what is none goes to `broken`."""
    for entry in _list(answer, source):
        try:
            row = reduce_transaction(entry)
        except ContractBrokenError as error:
            broken.append(BrokenEntry.of(source, error.field, entry))
        else:
            yield row


def _removals(answer: dict[str, Any], broken: list[BrokenEntry]) -> Iterator[Removal]:
    """Yield the removals, those that are broken beside their id included; what is broken goes to `broken` as well."""
    for entry in _list(answer, "removed"):
        try:
            removal = reduce_removal(entry)
        except ContractBrokenError as error:
            broken.append(BrokenEntry.of("removed", error.field, entry))
            transaction_id = broken[-1].transaction_id
            if transaction_id is not None:
                yield Removal(transaction_id)
        else:
            yield removal


def _list(answer: dict[str, Any], name: str) -> list[object]:
    value = answer.get(name)
    if not isinstance(value, list):
        raise ContractBrokenError(name)
    return value


@dataclass(slots=True)
class NetChanges:
    """The pages of one update folded into one change per transaction.

    A later page wins over an earlier one. Within a page Plaid gives no order between its lists, so they apply
    as added, modified, removed: an id that is added and removed in one update is gone, because churned
    transactions come back under a new id (https://plaid.com/docs/transactions/webhooks/).

    A broken entry is no word on its transaction: what can be read of the transaction before and after it stands.

    Attributes:
        changes: the last word on each transaction.
        modified: ids that came as `modified`, which is no proof of change.
        broken: entries that break the contract, by their entry_id.
    """

    changes: dict[TransactionId, TransactionRow | Removal] = field(default_factory=dict)
    modified: set[TransactionId] = field(default_factory=set)
    broken: dict[str, BrokenEntry] = field(default_factory=dict)

    def fold(self, page: Page) -> None:
        """Apply the next page of the update."""
        for row in (*page.added, *page.modified):
            self.changes[row.transaction_id] = row
        self.modified.update(row.transaction_id for row in page.modified)
        for removal in page.removed:
            self.changes[removal.transaction_id] = removal
        self.broken.update((entry.entry_id, entry) for entry in page.broken)

    @property
    def mentioned(self) -> AbstractSet[TransactionId]:
        """Every id that Plaid spoke of, also where nothing else of the entry can be read: such a row is not gone."""
        return self.changes.keys() | {entry.transaction_id for entry in self.broken.values() if entry.transaction_id}

    @property
    def removes_unknown(self) -> bool:
        """Whether something is removed, and nobody can tell what."""
        return any(entry.source == "removed" and entry.transaction_id is None for entry in self.broken.values())

    def rows(self) -> list[TransactionRow]:
        """The transactions that are live after the update, in Plaid's order."""
        return [change for change in self.changes.values() if isinstance(change, TransactionRow)]
