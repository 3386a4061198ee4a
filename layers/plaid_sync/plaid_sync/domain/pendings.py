"""Pending transactions and their posted ones: which writes belong together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plaid_sync.domain.transaction import PendingLink, TransactionId, TransactionRow, is_transaction_id

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from plaid_sync.domain.transaction import RowWrite


def pending_id_of(write: RowWrite) -> TransactionId | None:
    """Return the other transaction that a row names as its pending one; None without one that a row can have."""
    if not isinstance(write, TransactionRow) or write.pending_transaction_id == write.transaction_id:
        return None
    named = write.pending_transaction_id
    return TransactionId(named) if named is not None and is_transaction_id(named) else None


def posted_rows(writes: Collection[RowWrite]) -> dict[TransactionId, TransactionRow]:
    """Return the rows that name a pending transaction, by its id; of several that name the same, the first."""
    rows: dict[TransactionId, TransactionRow] = {}
    for write in writes:
        pending_id = pending_id_of(write)
        if isinstance(write, TransactionRow) and pending_id is not None:
            rows.setdefault(pending_id, write)
    return rows


def pending_links(writes: Collection[RowWrite]) -> dict[TransactionId, PendingLink]:
    """Return the links of pending transactions that are named and not written, by their ids."""
    written = {write.transaction_id for write in writes}
    return {
        pending_id: PendingLink(pending_id, row.transaction_id)
        for pending_id, row in posted_rows(writes).items()
        if pending_id not in written
    }


def paired(writes: Collection[RowWrite]) -> Iterator[list[RowWrite]]:
    """Yield the writes in order, a posted row together with the write of its pending one, which comes first.

    A row is in one pair: of a chain, the rest stays alone.
    """
    posted = posted_rows(writes)
    by_id = {write.transaction_id: write for write in writes}
    yielded: set[int] = set()
    for write in writes:
        if id(write) in yielded:
            continue
        pending_id = pending_id_of(write)
        pending = by_id.get(pending_id) if pending_id is not None and posted[pending_id] is write else None
        after = posted.get(write.transaction_id)
        pair = [write]
        if pending is not None and id(pending) not in yielded:
            pair = [pending, write]
        elif after is not None and id(after) not in yielded:
            pair = [write, after]
        yielded.update(map(id, pair))
        yield pair
