"""The pages of /transactions/sync, their invalid entries, and the net changes of an update."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from plaid_sync.domain import exact_json
from plaid_sync.domain.errors import SchemaViolationError
from plaid_sync.domain.transaction import RowRemoval, TransactionId, TransactionRow, transaction_id_of

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from plaid_sync.domain.accounts import Account
    from plaid_sync.domain.item import Cursor


Source = Literal["added", "modified", "removed"]
"""The list of Plaid's response that an entry came in."""


@dataclass(frozen=True, slots=True)
class InvalidEntry:
    """An entry that violates Plaid's schema.

    Attributes:
        field: what of it is invalid, as `SchemaViolationError` names it.
        transaction_id: None where it is missing, or could not be a key.
        raw: the entry's JSON with exact numbers and sorted keys, in ASCII: half a surrogate pair, which UTF-8 cannot
            encode, stays the escape that it came as. Of an unreadable entry, its own bytes.
    """

    source: Source
    field: str
    transaction_id: TransactionId | None
    raw: bytes = dataclasses.field(repr=False)

    @classmethod
    def of(cls, source: Source, field: str, entry: object) -> InvalidEntry:
        """Return the entry, as parsed by `exact_json`, in the form that is kept.

        Raises:
            InvalidJsonError: it is nested too deeply: only its own text is certain to be readable.
        """
        if isinstance(entry, exact_json.Unreadable):
            return cls(source, field, _readable_id(entry.members), entry.text)
        return cls(source, field, _readable_id(entry), exact_json.dumps_for_storage(entry, ascii_only=True))

    @property
    def entry_id(self) -> str:
        """SHA-256 of its source and content, in hex."""
        return hashlib.sha256(self.source.encode() + self.raw).hexdigest()


@dataclass(frozen=True, slots=True)
class Page:
    """One response of /transactions/sync in stored form (https://plaid.com/docs/api/products/transactions/).

    Attributes:
        next_cursor: None while Plaid has nothing ready (it responds with an empty or a null cursor).
        update_status: Plaid's `transactions_update_status`; empty where it was absent or not printable.
        request_id: Plaid's id of the call; empty likewise.
        invalid: entries of the three lists that violate the schema. They are in none of the lists here, except for a
            removal whose id is readable: that is all it takes to apply it.
        accounts: the accounts that have transactions, those of them that are readable.
    """

    added: tuple[TransactionRow, ...]
    modified: tuple[TransactionRow, ...]
    removed: tuple[RowRemoval, ...]
    next_cursor: Cursor | None
    has_more: bool
    update_status: str
    request_id: str
    invalid: tuple[InvalidEntry, ...] = ()
    accounts: tuple[Account, ...] = ()


@dataclass(slots=True)
class NetChanges:
    """The pages of one update folded into one change per transaction.

    A later page wins over an earlier one. Within a page Plaid defines no order between its lists, so they apply as
    added, modified, removed: an id that is added and removed in one update is gone, because churned transactions return
    under a new id (https://plaid.com/docs/transactions/webhooks/).

    An invalid entry does not change its transaction: the readable mentions before and after it hold.

    Attributes:
        changes: the last mention of each transaction.
        modified: ids that came as `modified`, which is no proof of change.
        invalid: entries that violate the schema, by their entry_id.
    """

    changes: dict[TransactionId, TransactionRow | RowRemoval] = field(default_factory=dict)
    modified: set[TransactionId] = field(default_factory=set)
    invalid: dict[str, InvalidEntry] = field(default_factory=dict)

    def fold(self, page: Page) -> None:
        """Apply the next page of the update."""
        for row in (*page.added, *page.modified):
            self.changes[row.transaction_id] = row
        self.modified.update(row.transaction_id for row in page.modified)
        for removal in page.removed:
            self.changes[removal.transaction_id] = removal
        self.invalid.update((entry.entry_id, entry) for entry in page.invalid)

    @property
    def mentioned(self) -> AbstractSet[TransactionId]:
        """Every id that Plaid mentioned, also where the rest of the entry is unreadable: such a row is not gone."""
        return self.changes.keys() | {entry.transaction_id for entry in self.invalid.values() if entry.transaction_id}

    @property
    def removes_unknown(self) -> bool:
        """Whether a removal has no readable id."""
        return any(entry.source == "removed" and entry.transaction_id is None for entry in self.invalid.values())

    def rows(self) -> list[TransactionRow]:
        """Return the transactions that are live after the update, in Plaid's order."""
        return [change for change in self.changes.values() if isinstance(change, TransactionRow)]


def _readable_id(entry: object) -> TransactionId | None:
    if not isinstance(entry, dict):
        return None
    try:
        return transaction_id_of(entry)
    except SchemaViolationError:
        return None
