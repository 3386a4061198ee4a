"""A history at Plaid, compared with the table page by page: memory holds ids and what differs, never a history.

Pages are folded as the sync folds them (`core.sync.pages.NetChanges`): the later word on a transaction wins, and within
a page `removed` has the last one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from plaid_sync.core.audit.comparing import ABSENT, FieldDifference, compare_row
from plaid_sync.core.audit.report import MOST_DIFFERENCES, Difference, DriftKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from plaid_sync.core.items import Item
    from plaid_sync.core.sync.pages import Page
    from plaid_sync.core.sync.transactions import StoredRow, TransactionId, TransactionRow
    from plaid_sync.ports.audit import AuditedRows

ROW: Final = "(row)"
LIVE: Final = "live"
REMOVED: Final = "removed"


@dataclass(slots=True)
class Tally:
    """What a pull from the beginning has shown so far; fulfils `PageFold`.

    Attributes:
        item: the Item as loaded before the pull.
        live: transactions that Plaid has.
        gone: ids that Plaid calls removed.
        excused: ids that are not judged: of entries that break the contract, and of withdrawn accounts.
        broken: ids of such entries.
        nameless: whether one of them has no readable transaction id.
        drifted: how each row that differs does.
    """

    rows: AuditedRows
    item: Item
    live: set[TransactionId] = field(default_factory=set)
    gone: set[TransactionId] = field(default_factory=set)
    excused: set[TransactionId] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    nameless: bool = False
    drifted: dict[TransactionId, DriftKind] = field(default_factory=dict)
    _details: dict[TransactionId, tuple[Difference, ...]] = field(default_factory=dict)
    _detailed: int = 0

    def fold(self, page: Page) -> None:
        """Compare the next page with the table, as it is now."""
        news = {row.transaction_id: row for row in (*page.added, *page.modified)}
        removed = {removal.transaction_id for removal in page.removed}
        for transaction_id in removed:
            self._forget(transaction_id)
            self.gone.add(transaction_id)
        self._judge([row for key, row in news.items() if key not in removed])
        self.broken.update(entry.entry_id for entry in page.broken)
        self.excused.update(entry.transaction_id for entry in page.broken if entry.transaction_id is not None)
        self.nameless = self.nameless or any(entry.transaction_id is None for entry in page.broken)

    def _judge(self, rows: Iterable[TransactionRow]) -> None:
        judged: list[TransactionRow] = []
        for row in rows:
            self._forget(row.transaction_id)
            if row.account_id in self.item.revoked_accounts:
                self.excused.add(row.transaction_id)
            else:
                self.live.add(row.transaction_id)
                judged.append(row)
        found = self.rows.attributes(self.item.item_id, [row.transaction_id for row in judged])
        for row in judged:
            self._compare(row, found.get(row.transaction_id))

    def _compare(self, row: TransactionRow, found: Mapping[str, object] | None) -> None:
        if found is None or "removed_at" in found:
            in_table = ABSENT if found is None else REMOVED
            self._note(row.transaction_id, DriftKind.MISSING, [FieldDifference(ROW, LIVE, in_table)])
        elif differences := list(compare_row(row, found, self.item.generation)):
            self._note(row.transaction_id, DriftKind.DIFFERENT, differences)

    def finish(self, stored: Iterable[StoredRow], *, history_complete: bool) -> None:
        """Look for live rows that Plaid has no transaction for, among all of the Item's.

        What a history that is not complete does not mention may still come, and a broken entry without an id may be any
        row's. What Plaid calls removed is so in any case.
        """
        silence_tells = history_complete and not self.nameless
        for row in stored:
            if not row.live or row.transaction_id in self.live or row.account_id in self.item.revoked_accounts:
                continue
            if row.transaction_id in self.gone:
                self._note(row.transaction_id, DriftKind.EXTRA, [FieldDifference(ROW, REMOVED, LIVE)])
            elif silence_tells and row.transaction_id not in self.excused:
                self._note(row.transaction_id, DriftKind.EXTRA, [FieldDifference(ROW, ABSENT, LIVE)])

    def _note(self, transaction_id: TransactionId, kind: DriftKind, differences: list[FieldDifference]) -> None:
        self.drifted[transaction_id] = kind
        room = MOST_DIFFERENCES - self._detailed
        kept = tuple(
            Difference(transaction_id, kind, one.field, one.at_plaid, one.in_table) for one in differences[:room]
        )
        if kept:
            self._details[transaction_id] = kept
            self._detailed += len(kept)

    def _forget(self, transaction_id: TransactionId) -> None:
        """Take back what an earlier page made known of a transaction."""
        self.live.discard(transaction_id)
        self.gone.discard(transaction_id)
        self.drifted.pop(transaction_id, None)
        self._detailed -= len(self._details.pop(transaction_id, ()))

    def count(self, kind: DriftKind) -> int:
        """Return how many rows differ so."""
        return Counter(self.drifted.values())[kind]

    @property
    def differences(self) -> tuple[Difference, ...]:
        """The first differences, row by row."""
        return tuple(one for differences in self._details.values() for one in differences)
