"""The update log of one Item: every change in order, and the changes that a client gets between two positions."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from local.plaid.wire import JsonObject

Kind = Literal["added", "modified", "removed"]
# The order in which a client applies the three arrays of one page.
_RANK: dict[Kind, int] = {"added": 0, "modified": 1, "removed": 2}


@dataclass(frozen=True, slots=True)
class Change:
    """One change to one transaction.

    Attributes:
        row: the transaction after the change; for a removal, before it (None if it never existed).
        new_page: whether the change starts a new page.
        phantom: whether it removes a transaction that no client ever received.
        mute: whether it deletes the account's transactions without a change that clients get.
    """

    kind: Kind
    transaction_id: str
    account_id: str
    row: JsonObject | None = None
    new_page: bool = False
    phantom: bool = False
    mute: bool = False


@dataclass(frozen=True, slots=True)
class Span:
    """A range of the log that one pagination loop covers.

    Attributes:
        account_id: only changes of this account, if set.
        spell_out: every change instead of the net change.
        hide_reverts: the net change leaves out transactions that equal what the client already has.
    """

    start: int
    head: int
    account_id: str | None = None
    spell_out: bool = False
    hide_reverts: bool = False


@dataclass(slots=True)
class UpdateLog:
    """Every change to an Item's transactions; positions count from 0 (nothing) to `head` (everything).

    Attributes:
        live: the current transactions, by id.
        muted: accounts whose transactions no client gets any more, each with the ids of those transactions.
        restored: transactions that clients get as `added`, although they may hold them, each with its position.
    """

    changes: list[Change] = field(default_factory=list)
    live: dict[str, JsonObject] = field(default_factory=dict)
    muted: dict[str, set[str]] = field(default_factory=dict)
    restored: dict[str, int] = field(default_factory=dict)
    _positions: dict[str, list[int]] = field(default_factory=dict)

    @property
    def head(self) -> int:
        return len(self.changes)

    def append(self, change: Change) -> None:
        self.changes.append(change)
        if not change.mute:
            self._positions.setdefault(change.transaction_id, []).append(self.head)
        _apply(self.live, change)

    def mute(self, account_id: str) -> None:
        """Delete an account's transactions without a change that clients get. They get what was removed before."""
        last = {key: self.changes[positions[-1] - 1] for key, positions in self._positions.items()}
        of_account = (key for key, change in last.items() if change.account_id == account_id)
        self.muted[account_id] = {key for key in of_account if last[key].kind != "removed"}
        # No client gets this change, but it makes a running pagination detect the mutation.
        self.append(Change("removed", "", account_id, mute=True))

    def restore(self, account_id: str, rows: Iterable[JsonObject]) -> None:
        """Add an account's transactions again, for every client, under their old ids."""
        self.muted.pop(account_id, None)
        for row in rows:
            self.append(Change("added", row["transaction_id"], account_id, row))
            self.restored[row["transaction_id"]] = self.head

    def at(self, position: int) -> dict[str, JsonObject]:
        rows: dict[str, JsonObject] = {}
        for change in self.changes[:position]:
            _apply(rows, change)
        return rows

    def between(self, span: Span) -> list[Change]:
        """Return the changes that a client gets over a span.

        From position 0 that is always the net result, all of it as `added`.
        """
        hidden = set().union(*self.muted.values())
        steps = [
            change
            for change in self.changes[span.start : span.head]
            if not change.mute and change.transaction_id not in hidden and span.account_id in (None, change.account_id)
        ]
        if span.spell_out and span.start > 0:
            return _with_new_page_last(steps)
        last: dict[str, Change] = {}
        for change in steps:  # re-inserted, so that the result is in order of last modification
            last.pop(change.transaction_id, None)
            last[change.transaction_id] = change
        return _with_new_page_last(list(self._net(last, span)))

    def _net(self, last: dict[str, Change], span: Span) -> Iterator[Change]:
        for transaction_id, change in last.items():
            held = self._held_by_client(transaction_id, span)
            if change.kind == "removed":
                if held is not None or (change.phantom and span.start > 0):
                    yield change
                continue
            again = self.restored.get(transaction_id, 0) > span.start
            if again or not (span.hide_reverts and held == change.row):
                kind: Kind = "added" if again or held is None else "modified"
                new_page = change.new_page and span.start > 0
                yield Change(kind, transaction_id, change.account_id, change.row, new_page)

    def _held_by_client(self, transaction_id: str, span: Span) -> JsonObject | None:
        """Return the transaction as the client has it at the start of the span, if it does."""
        positions = self._positions[transaction_id]
        index = bisect_right(positions, span.start)
        if index == 0:
            return None
        last = self.changes[positions[index - 1] - 1]
        return None if last.kind == "removed" else last.row


def _apply(rows: dict[str, JsonObject], change: Change) -> None:
    if change.mute:
        for key in [key for key, row in rows.items() if row["account_id"] == change.account_id]:
            del rows[key]
    elif change.kind == "removed":
        rows.pop(change.transaction_id, None)
    elif change.row is not None:
        rows[change.transaction_id] = change.row


def _with_new_page_last(changes: list[Change]) -> list[Change]:
    """Move every change to a transaction that belongs on a new page to the end, onto one new page."""
    late = {change.transaction_id for change in changes if change.new_page}
    if not late:
        return changes
    first = [change for change in changes if change.transaction_id not in late]
    rest = [replace(change, new_page=False) for change in changes if change.transaction_id in late]
    return [*first, replace(rest[0], new_page=True), *rest[1:]]


def page_of(changes: Sequence[Change], offset: int, count: int) -> tuple[list[Change], int]:
    """Return the page that starts at an offset, and the offset of the next page.

    Clients apply `added`, `modified`, then `removed`. A page ends early if one transaction's changes on it would
    be applied in the wrong order (removed, then added again), or before a change that starts a new page.
    """
    page: list[Change] = []
    ranks: dict[str, int] = {}
    for change in changes[offset : offset + count]:
        rank = _RANK[change.kind]
        out_of_order = rank < ranks.get(change.transaction_id, rank)
        if page and (out_of_order or change.new_page):
            break
        page.append(change)
        ranks[change.transaction_id] = rank
    return page, offset + len(page)
