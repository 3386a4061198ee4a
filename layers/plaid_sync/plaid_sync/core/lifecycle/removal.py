"""The end of an Item: Plaid lets go of it, then its rows are erased or kept as asked.

The API marks the Item removed, and from then on no transaction that writes rows holds. What is left to do is done
here, under the Item's message group, as often as it takes: every step can be repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from plaid_sync.core.history import EntryKind, HistoryEntry

if TYPE_CHECKING:
    from collections.abc import Callable

    from plaid_sync.core.items import Item, ItemRemoval
    from plaid_sync.ports.common import Clock, TokenDecryptor
    from plaid_sync.ports.lifecycle import BankLogins, ErasableRows, PlaidItem, RemovalItems


@dataclass(frozen=True, slots=True)
class Remover:
    """Finishes what `DELETE /items/{item_id}` began."""

    items: RemovalItems
    rows: ErasableRows
    logins: BankLogins
    tokens: TokenDecryptor
    plaid: PlaidItem
    clock: Clock

    def finish(self, item: Item, time_left: Callable[[], float], causes: tuple[str, ...]) -> int:
        """Do what is left to do about a removed Item; return how many rows were erased.

        Raises:
            PlaidError: Plaid does not let go of the Item.
            RetryableError: something failed that passes, or time is running out: what is done is done.
        """
        removal = item.removal
        if removal is None or removal.completed:
            return 0
        if not removal.plaid_removed:
            self.plaid.remove(self.tokens.decrypt(item.item_id, item.access_token))
            self.items.record_plaid_removed(item.item_id)
        erased = self._erase(item, removal, time_left) if removal.erase else 0
        self.logins.release(item.item_id, item.bank_login_ids)
        self.items.record_removal_completed(item, self._entry(item, removal, erased, causes))
        return erased

    def _erase(self, item: Item, removal: ItemRemoval, time_left: Callable[[], float]) -> int:
        rows = removal.rows_to_erase
        if rows is None:
            # Nothing is written any more, so that this number is final, and true however often the rest is repeated.
            rows = self.items.record_rows_to_erase(item.item_id, self.rows.count(item.item_id))
        self.rows.erase(item.item_id, time_left)
        return rows

    def _entry(self, item: Item, removal: ItemRemoval, erased: int, causes: tuple[str, ...]) -> HistoryEntry:
        details = {"causes": list(causes), "erased": erased if removal.erase else None, "status": item.status.value}
        outcome = "erased" if removal.erase else "kept"
        return HistoryEntry(item.item_id, self.clock(), f"end-{outcome}", EntryKind.REMOVAL, outcome, details)
