"""The Transactions table in memory, written under the Item's fence."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from plaid_sync.aws.dynamodb.item_rows import checkpoint_attributes, commit_attributes
from plaid_sync.aws.dynamodb.transactions import row_attributes
from plaid_sync.domain.annotations import AnnotatedRow
from plaid_sync.domain.errors import RowNewerThanItemError, SupersededError, TransientError
from plaid_sync.domain.pendings import posted_rows
from plaid_sync.domain.transaction import (
    PendingLink,
    RowRemoval,
    StoredRow,
    TransactionId,
    TransactionRow,
    plaid_object,
)
from plaid_sync.items_api.ports import ListedPage, ListedRow
from plaid_sync.items_api.transaction_query import Order
from plaid_sync.sync.planner import MAX_ROWS
from plaid_sync.sync.ports import Commit

from tests.fakes.items import require_storable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from plaid_sync.domain.clock import Deadline
    from plaid_sync.domain.item import Checkpoint, Item, ItemId
    from plaid_sync.domain.transaction import RowWrite
    from plaid_sync.items_api.ports import RowSelection

    from tests.fakes.items import FakeItems


@dataclass(slots=True)
class FakeTransactions:
    """Implements `TransactionsStore` and `ErasableRows`.

    Attributes:
        rows_of: the rows of each Item, tombstones included.
        erased: the ids of rows whose content is erased.
        annotations: an application's, by the ids of their rows.
    """

    items: FakeItems
    rows_of: dict[ItemId, dict[TransactionId, StoredRow]] = field(default_factory=dict)
    erased: set[TransactionId] = field(default_factory=set)
    annotations: dict[TransactionId, dict[str, Any]] = field(default_factory=dict)

    def live(self, item_id: ItemId) -> set[TransactionId]:
        return {row.transaction_id for row in self.rows_of.get(item_id, {}).values() if row.live}

    def rows(
        self, item_id: ItemId, ids: Collection[TransactionId], deadline: Deadline
    ) -> Mapping[TransactionId, StoredRow]:
        deadline.require(1.0)
        found = {key: row for key, row in self.rows_of.get(item_id, {}).items() if key in ids}
        return {key: replace(row, annotated=not row.live and key in self.annotations) for key, row in found.items()}

    def scan_item(self, item_id: ItemId, deadline: Deadline, since: int = 0) -> Iterator[StoredRow]:
        deadline.require(1.0)
        stored = list(self.rows_of.get(item_id, {}).values())
        return (replace(row, row=None) for row in stored if row.generation >= since)

    def write(
        self,
        item_id: ItemId,
        generation: int,
        writes: Collection[RowWrite],
        *,
        begin: bool,
        end: Commit | Checkpoint | None = None,
    ) -> None:
        assert len(writes) <= MAX_ROWS
        item, rows = self._fenced(item_id, generation, end), self.rows_of.setdefault(item_id, {})
        contents = [write for write in writes if not isinstance(write, PendingLink)]
        newest = max(
            (rows[each.transaction_id].generation for each in contents if each.transaction_id in rows), default=0
        )
        if newest >= generation:
            raise RowNewerThanItemError(newest)
        for write in contents:
            require_storable(row_attributes(write, self.items.clock.now()))
            self._write_row(rows, write, generation)
        for pending_id, posted in posted_rows(writes).items():
            if pending_id in {write.transaction_id for write in writes} & rows.keys():
                self._link(rows, pending_id, posted.transaction_id)
        for row in list(rows.values()):
            if not row.live and row.posted_transaction_id is not None:
                self._move(rows, row)
        if begin and item.writing_since is None:
            self.items.set(item_id, writing_since=generation)
        if isinstance(end, Commit):
            self._commit(item_id, end)
        elif end is not None:
            require_storable(checkpoint_attributes(end))
            self.items.set(item_id, checkpoint=end, generation=generation + 1)

    def _fenced(self, item_id: ItemId, generation: int, end: Commit | Checkpoint | None) -> Item:
        if not self.items.is_fenced(item_id, generation):
            raise SupersededError
        item = self.items.stored[item_id]
        if isinstance(end, Commit) and end.expected_cursor != item.cursor:
            raise TransientError("cursor_changed")
        return item

    def _write_row(
        self, rows: dict[TransactionId, StoredRow], write: TransactionRow | RowRemoval, generation: int
    ) -> None:
        older = rows.get(write.transaction_id)
        content = write if isinstance(write, TransactionRow) else None
        account_id = write.account_id or (None if older is None else older.account_id)
        if isinstance(write, RowRemoval) and write.erase:
            self.erased.add(write.transaction_id)
            self.annotations.pop(write.transaction_id, None)
        first = generation if older is None else older.first_generation
        live = content is not None
        had_content = older is not None and not older.erased
        erased = not live and (write.transaction_id in self.erased or not had_content)
        kept = isinstance(write, RowRemoval) and write.kept
        erases = isinstance(write, RowRemoval) and write.erase
        posted_id = None if older is None or erases else older.posted_transaction_id
        rows[write.transaction_id] = StoredRow(
            write.transaction_id,
            account_id,
            live,
            generation,
            first,
            content,
            erased,
            kept,
            posted_transaction_id=posted_id,
        )

    def _link(self, rows: dict[TransactionId, StoredRow], pending_id: TransactionId, posted_id: TransactionId) -> None:
        if not (pending_id in self.erased and rows[pending_id].erased):
            rows[pending_id] = replace(rows[pending_id], posted_transaction_id=posted_id)

    def _move(self, rows: dict[TransactionId, StoredRow], pending: StoredRow) -> None:
        """Move the annotations of a tombstone to its live posted row, unless the two contradict each other."""
        posted = rows.get(TransactionId(str(pending.posted_transaction_id)))
        ours = self.annotations.get(pending.transaction_id)
        if ours is None or posted is None or posted.row is None:
            return
        theirs = self.annotations.get(posted.transaction_id, {})
        names = posted.row.pending_transaction_id == pending.transaction_id
        if names and all(ours[name] == theirs[name] for name in ours.keys() & theirs.keys()):
            self.annotations[posted.transaction_id] = ours | theirs
            del self.annotations[pending.transaction_id]

    def _commit(self, item_id: ItemId, commit: Commit) -> None:
        require_storable(commit_attributes(item_id, commit))
        if commit.entry is not None:
            self.items.history.add(commit.entry)
        self.items.set(
            item_id,
            cursor=commit.cursor,
            writing_since=None,
            checkpoint=None,
            pull_restarts=0,
            reconcile=commit.reconciliation.pending,
            reconcile_after=commit.reconciliation.after,
            inconclusive_pulls=commit.reconciliation.inconclusive_pulls,
            history_complete=commit.reconciliation.history_complete,
            update_status=commit.update_status,
            pull_began_at=commit.pull_began_at,
            synced_at=commit.committed_at,
            state=commit.state,
            accounts=commit.accounts,
            accounts_checked_at=commit.accounts_checked_at,
            pulled_with=commit.pulled_with,
        )
        self.items.follow_up(item_id, commit.follow_up)

    # ---- the removal

    def count(self, item_id: ItemId, deadline: Deadline) -> int:  # noqa: ARG002 - the port's
        return len(self.rows_of.get(item_id, {}))

    def erase(self, item_id: ItemId, deadline: Deadline) -> None:
        rows = self.rows_of.get(item_id, {})
        for transaction_id in list(rows):
            deadline.require(1.0)
            del rows[transaction_id]


@dataclass(frozen=True, slots=True)
class FakeAnnotations:
    """Implements `AnnotationStore` on a table.

    Attributes:
        versions: how often the annotations of each row were changed.
        expired: rows that expire since their annotations were deleted.
    """

    table: FakeTransactions
    versions: dict[TransactionId, int] = field(default_factory=dict)
    expired: set[TransactionId] = field(default_factory=set)

    def load(self, item_id: ItemId, transaction_id: TransactionId) -> AnnotatedRow | None:
        stored = self.table.rows_of.get(item_id, {}).get(transaction_id)
        if stored is None:
            return None
        annotations = self.table.annotations.get(transaction_id)
        return AnnotatedRow(
            transaction_id,
            stored.account_id,
            None if stored.row is None else stored.row.date,
            None if stored.row is None else stored.row.amount,
            annotations or {},
            self.versions.get(transaction_id, 0),
            annotations,
            stored.posted_transaction_id,
            None if stored.live else "2026-06-01T12:00:00.000Z",
        )

    def save(self, item_id: ItemId, row: AnnotatedRow, annotations: dict[str, Any]) -> bool:
        return row.removed_at is None and self._write(item_id, row, annotations)

    def drop(self, item_id: ItemId, row: AnnotatedRow, *, expires: bool) -> bool:
        if expires:
            self.expired.add(row.transaction_id)
        return self._write(item_id, row, {})

    def _write(self, item_id: ItemId, row: AnnotatedRow, annotations: dict[str, Any]) -> bool:
        if self.load(item_id, row.transaction_id) != row:
            return False
        self.table.annotations[row.transaction_id] = annotations
        self.versions[row.transaction_id] = row.version + 1
        return True

    def unmoved(
        self, item_id: ItemId, limit: int, after: dict[str, str] | None
    ) -> tuple[list[tuple[AnnotatedRow, list[AnnotatedRow]]], dict[str, str] | None]:
        loaded = [self.load(item_id, transaction_id) for transaction_id in sorted(self.table.rows_of.get(item_id, {}))]
        start = "" if after is None else after["transaction_id"]
        found = [row for row in loaded if row and row.removed_at and row.annotations and row.transaction_id > start]
        last = {"transaction_id": str(found[limit - 1].transaction_id)} if len(found) > limit else None
        return [(row, []) for row in found[:limit]], last


def stored_attributes(row: TransactionRow) -> dict[str, object]:
    """Return the content of a row as the table has it."""
    return row.attributes | {"transaction_id": row.transaction_id, "plaid": row.plaid}


@dataclass(frozen=True, slots=True)
class FakeTransactionPages:
    """Implements `TransactionPages` on a table."""

    table: FakeTransactions

    def page(self, item_id: ItemId, selection: RowSelection, limit: int, after: str) -> ListedPage:
        name = "transaction_id" if selection.order is Order.ID else "date_id"
        newest_first = selection.order is Order.NEWEST
        stored = [row for row in self.table.rows_of.get(item_id, {}).values() if row.row is not None]
        keyed = sorted(((str(getattr(row.row, name)), row) for row in stored), key=lambda pair: pair[0])
        found: dict[str, dict[str, Any] | None] = {}
        last, left_out = after, False
        for key, row in reversed(keyed) if newest_first else keyed:
            if after and (key >= after if newest_first else key <= after):
                continue
            if len(found) == limit:
                return ListedPage(found, last, left_out)
            document = plaid_object(stored_attributes(row.row)) if row.row is not None else None
            if _is_selected(row, selection) and (document is None or selection.filter.matches(document)):
                if selection.not_newer_than is not None and row.generation > selection.not_newer_than:
                    left_out = True
                else:
                    found[row.transaction_id] = document
            last = key
        return ListedPage(found, None, left_out)

    def row(self, item_id: ItemId, transaction_id: str) -> ListedRow | None:
        row = self.table.rows_of.get(item_id, {}).get(TransactionId(transaction_id))
        if row is None:
            return None
        document = None if row.row is None else plaid_object(stored_attributes(row.row))
        return ListedRow(
            document,
            None if row.live else "2026-06-01T12:00:00.000Z",
            row.row is not None and document is None,
            self.table.annotations.get(row.transaction_id, {}),
            row.posted_transaction_id,
        )

    def count(self, item_id: ItemId) -> tuple[int, bool]:
        return len(self.table.live(item_id)), True


def _is_selected(row: StoredRow, selection: RowSelection) -> bool:
    return (selection.account_ids is None or row.account_id in selection.account_ids) and (
        selection.newer_than is None or row.generation > selection.newer_than
    )
