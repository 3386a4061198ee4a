"""What the audit needs from the outside: everything is read, nothing written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from plaid_sync.core.items import Item, ItemId, ItemStatus
    from plaid_sync.core.sync.transactions import StoredRow, TransactionId


class AuditedItems(Protocol):
    """The Items table as the audit reads it."""

    def load(self, item_id: ItemId) -> Item | None:
        """Return the Item as last committed, or None when it is not registered.

        Raises:
            RetryableError: DynamoDB can't be read now.
        """
        ...

    def ids(self, status: ItemStatus) -> Iterator[ItemId]:
        """Iterate over the Items of a status, the stalest first; what was written a moment ago may be missing.

        Raises:
            RetryableError: DynamoDB can't be read now.
        """
        ...


class AuditedRows(Protocol):
    """The Transactions table as the audit reads it."""

    def attributes(
        self, item_id: ItemId, ids: Collection[TransactionId]
    ) -> Mapping[TransactionId, Mapping[str, object]]:
        """Return what those of the rows that exist hold under the engine's names, consistently, as it is.

        Raises:
            RetryableError: DynamoDB can't be read now.
        """
        ...

    def scan_item(self, item_id: ItemId, since: int = 0) -> Iterator[StoredRow]:
        """See `ports.sync.TransactionTable`."""
        ...
