"""Removal of an Item: Plaid removes it, or keeps it for another system, then its rows are erased or kept as requested.

The API marks the Item removed; from then on no transaction that writes its rows succeeds. The rest is done here, in the
Item's message group, as often as it takes: every step is idempotent.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

from plaid_sync.domain.errors import TOKEN_ROTATING, PlaidError, TransientError, says_token_is_dead
from plaid_sync.domain.history import EntryKind, HistoryEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime

    from plaid_sync.domain.clock import Clock, Deadline
    from plaid_sync.domain.item import Item, ItemHealth, ItemId, Removal, RemovalReason
    from plaid_sync.domain.ports import TokenDecryptor


class RemovalItems(Protocol):
    """The Items table as the removal uses it. Every write holds only while the Item is removed, or not registered."""

    def begin_rollback(self, item_id: ItemId, exchanged_before: datetime) -> bytes | None:
        """Make sure that an Item is never registered that was exchanged before; return its encrypted token.

        Returns:
            None where there is no such Item: it is registered, rolled back, unknown, or exchanged later.

        Raises:
            TransientError: the table cannot accept the write now.
        """
        ...

    def record_rolled_back(self, item_id: ItemId) -> None:
        """Drop the access token of an Item whose rollback began, and which Plaid removed; nothing is left to do.

        Raises:
            TransientError: the table cannot accept the write now.
        """
        ...

    def record_plaid_removed(self, item_id: ItemId) -> None:
        """Record that Plaid removed the Item, and drop its access token.

        Raises:
            TransientError: the table cannot accept the write now.
        """
        ...

    def record_rows_to_erase(self, item_id: ItemId, rows: int) -> int:
        """Record how many rows there are to erase, unless that is recorded; return the recorded number.

        Raises:
            TransientError: the table cannot accept the write now.
        """
        ...

    def record_removal_completed(self, item: Item, entry: HistoryEntry) -> None:
        """Record that nothing is left to do, in one transaction with the history entry; idempotent.

        Raises:
            TransientError: the table cannot accept the write now, or erasure was requested concurrently.
        """
        ...


class PlaidItemRemoval(Protocol):
    """Plaid's endpoints about an Item that is removed. Both raise `PlaidError` and `TransientError`."""

    def health(self, access_token: str) -> ItemHealth:
        """Return Plaid's report about the Item (/item/get)."""
        ...

    def remove(self, access_token: str, reason: RemovalReason | None = None) -> None:
        """Remove the Item at Plaid, which ends its billing; idempotent: a dead token counts as a removed Item."""
        ...


class ErasableRows(Protocol):
    """Everything that is stored of an Item's transactions."""

    def count(self, item_id: ItemId, deadline: Deadline) -> int:
        """Return how many rows there are, tombstones and quarantined parts included, consistently.

        Raises:
            TransientError: DynamoDB cannot be read now, or time is running out.
        """
        ...

    def erase(self, item_id: ItemId, deadline: Deadline) -> None:
        """Delete them all.

        Raises:
            TransientError: DynamoDB cannot accept the writes now, or time is running out; the deleted rows stay
                deleted.
        """
        ...


class AccountClaims(Protocol):
    """The claims by which an Item holds its accounts, so that no second Item is linked for them."""

    def release(self, item_id: ItemId, bank_login_ids: Collection[str]) -> None:
        """Release those that a removed Item still holds.

        Raises:
            TransientError: the table cannot accept the write now.
        """
        ...


_LINK_TAKES: Final = timedelta(minutes=5)
"""Longer than the request that registers an exchanged Item can run: the sweep comes later (`schedule.ROLLBACK_AFTER`),
and a webhook of the new Item that comes earlier does not interrupt it."""


@dataclass(frozen=True, slots=True)
class Remover:
    """Finishes what `DELETE /items/{item_id}` began.

    Attributes:
        report_orphaned: is called with an Item that Plaid keeps, and bills: its access token was lost when it was
            replaced, or with its row. At least once; also where a worker dies right after Plaid removed such an Item by
            a valid token.
    """

    items: RemovalItems
    rows: ErasableRows
    claims: AccountClaims
    tokens: TokenDecryptor
    plaid: PlaidItemRemoval
    clock: Clock
    report_orphaned: Callable[[ItemId], None]

    def roll_back(self, item_id: ItemId) -> bool:
        """Remove an Item at Plaid that a link left unregistered; return whether there was one.

        Raises:
            PlaidError: Plaid does not remove the Item.
            TransientError: a transient failure.
        """
        ciphertext = self.items.begin_rollback(item_id, self.clock.now() - _LINK_TAKES)
        if ciphertext is None:
            return False
        self.plaid.remove(self.tokens.decrypt(item_id, ciphertext))
        self.items.record_rolled_back(item_id)
        return True

    def finish(self, item: Item, deadline: Deadline, causes: tuple[str, ...]) -> int:
        """Do what is left of the removal; return how many rows were erased.

        Raises:
            PlaidError: Plaid does not remove the Item.
            TransientError: a transient failure, or time is running out; what is done stays done.
        """
        removal = item.removal
        if removal is None or removal.completed_at is not None:
            return 0
        if item.token_is_rotating(self.clock.now()):
            # By a token that is being replaced, Plaid would seem to have removed the Item already.
            raise TransientError(TOKEN_ROTATING)
        # One that is kept at Plaid has no access token any more: another system goes on with it.
        if removal.plaid_removed_at is None and not removal.keeps_at_plaid:
            self._end_at_plaid(item, removal)
        erased = self._erase(item, removal, deadline) if removal.erase else 0
        self.claims.release(item.item_id, item.bank_login_ids)
        self.items.record_removal_completed(item, self._entry(item, removal, erased, causes))
        return erased

    def _end_at_plaid(self, item: Item, removal: Removal) -> None:
        if not item.access_token:
            # Its row was lost, and a restore knew it by its history only: nothing but Plaid's support can remove it.
            self.report_orphaned(item.item_id)
            return
        self._remove_at_plaid(item, removal)
        self.items.record_plaid_removed(item.item_id)

    def _remove_at_plaid(self, item: Item, removal: Removal) -> None:
        access_token = self.tokens.decrypt(item.item_id, item.access_token)
        token_is_lost = item.token_rotation_began_at is not None and self._is_dead(access_token)
        self.plaid.remove(access_token, removal.reason)
        if token_is_lost:
            self.report_orphaned(item.item_id)

    def _is_dead(self, access_token: str) -> bool:
        try:
            self.plaid.health(access_token)
        except PlaidError as error:
            return says_token_is_dead(error)
        return False

    def _erase(self, item: Item, removal: Removal, deadline: Deadline) -> int:
        rows = removal.rows_to_erase
        if rows is None:
            # Nothing is written any more, so this number is final, however often the rest is repeated.
            rows = self.items.record_rows_to_erase(item.item_id, self.rows.count(item.item_id, deadline))
        self.rows.erase(item.item_id, deadline)
        return rows

    def _entry(self, item: Item, removal: Removal, erased: int, causes: tuple[str, ...]) -> HistoryEntry:
        details = {
            "causes": list(causes),
            "erased": erased if removal.erase else None,
            "state": str(item.state.name),
        }
        outcome = "erased" if removal.erase else "kept"
        return HistoryEntry(item.item_id, self.clock.now(), f"end-{outcome}", EntryKind.REMOVAL, outcome, details)
