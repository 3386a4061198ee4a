"""What Plaid's /transactions/sync answers, page by page, and what an update nets out to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from plaid_sync.core import exact_json
from plaid_sync.core.failures import ContractBrokenError
from plaid_sync.core.items import Cursor
from plaid_sync.core.transactions import (
    Removal,
    TransactionId,
    TransactionRow,
    reduce_removal,
    reduce_transaction,
)

HISTORY_COMPLETE: Final = "HISTORICAL_UPDATE_COMPLETE"


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of /transactions/sync in stored form (https://plaid.com/docs/api/products/transactions/).

    Attributes:
        next_cursor: None while Plaid has nothing ready (it answers with an empty or a null cursor).
        update_status: Plaid's `transactions_update_status`; empty where it was absent.
    """

    added: tuple[TransactionRow, ...]
    modified: tuple[TransactionRow, ...]
    removed: tuple[Removal, ...]
    next_cursor: Cursor | None
    has_more: bool
    update_status: str
    request_id: str


def parse_page(document: bytes) -> Page:
    """Parse the body of a /transactions/sync answer; amounts stay exact.

    Raises:
        InvalidJsonError: it is not JSON.
        ContractBrokenError: it has not the documented shape.
    """
    answer = exact_json.loads(document)
    if not isinstance(answer, dict):
        raise ContractBrokenError("body")
    cursor, has_more = answer.get("next_cursor"), answer.get("has_more")
    if cursor is not None and not isinstance(cursor, str):
        raise ContractBrokenError("next_cursor")
    if not isinstance(has_more, bool):
        raise ContractBrokenError("has_more")
    page = Page(
        added=tuple(reduce_transaction(entry) for entry in _list(answer, "added")),
        modified=tuple(reduce_transaction(entry) for entry in _list(answer, "modified")),
        removed=tuple(reduce_removal(entry) for entry in _list(answer, "removed")),
        next_cursor=Cursor(cursor) if cursor else None,
        has_more=has_more,
        update_status=str(answer.get("transactions_update_status") or ""),
        request_id=str(answer.get("request_id") or ""),
    )
    # Rows without a cursor could never be fetched again from where they came: do not take them for "not ready".
    if page.next_cursor is None and (has_more or page.added or page.modified or page.removed):
        raise ContractBrokenError("next_cursor")
    return page


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

    Attributes:
        changes: the last word on each transaction.
        modified: ids that came as `modified`, which is no proof of change.
    """

    changes: dict[TransactionId, TransactionRow | Removal] = field(default_factory=dict)
    modified: set[TransactionId] = field(default_factory=set)

    def fold(self, page: Page) -> None:
        """Apply the next page of the update."""
        for row in (*page.added, *page.modified):
            self.changes[row.transaction_id] = row
        self.modified.update(row.transaction_id for row in page.modified)
        for removal in page.removed:
            self.changes[removal.transaction_id] = removal

    def rows(self) -> list[TransactionRow]:
        """The transactions that are live after the update, in Plaid's order."""
        return [change for change in self.changes.values() if isinstance(change, TransactionRow)]
