"""The update log of one Item: every change in order, and what a client is told between two points of it."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from local.plaid.wire import JsonObject

Kind = Literal["added", "modified", "removed"]
# The order in which a client applies the three arrays of one page.
_RANK: dict[Kind, int] = {"added": 0, "modified": 1, "removed": 2}


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that happened to one transaction.

    Attributes:
        row: the transaction as it then was; for a removal, as it last was (None if it never existed).
        new_page: whether the row is told of on a later page than what came before it.
        phantom: whether it removes a row that no client was ever shown.
    """

    kind: Kind
    transaction_id: str
    account_id: str
    row: JsonObject | None = None
    new_page: bool = False
    phantom: bool = False


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the log as one client sees it.

    Attributes:
        start: the client knows everything up to here.
        head: and is to know everything up to here.
        origin: where a cursor `now` began: what happened before was never shown.
        account_id: only this account's changes, if given.
        spell_out: every step instead of the net change.
        hide_reverts: the net change leaves out rows that are again what the client already has.
    """

    start: int
    head: int
    origin: int = 0
    account_id: str | None = None
    spell_out: bool = False
    hide_reverts: bool = False


@dataclass(slots=True)
class UpdateLog:
    """Every change of an Item's transactions; positions count from 0 (nothing) to `head` (everything)."""

    changes: list[Change] = field(default_factory=list)
    live: dict[str, JsonObject] = field(default_factory=dict)
    # Accounts that nobody is told about any more, and the position at which that began.
    muted: dict[str, int] = field(default_factory=dict)
    _touched: dict[str, list[int]] = field(default_factory=dict)

    @property
    def head(self) -> int:
        """The newest position."""
        return len(self.changes)

    def append(self, change: Change) -> None:
        """Record a change that has just happened."""
        self.changes.append(change)
        self._touched.setdefault(change.transaction_id, []).append(self.head)
        if change.kind == "removed":
            self.live.pop(change.transaction_id, None)
        elif change.row is not None:
            self.live[change.transaction_id] = change.row

    def mute(self, account_id: str) -> None:
        """Fall silent about an account: its rows are gone, and no client is told of any of them again."""
        self.live = {key: row for key, row in self.live.items() if row["account_id"] != account_id}
        # Nobody sees this change, but it lets a pagination that is under way notice that the data moved.
        self.append(Change("removed", f"muted {account_id}", account_id, phantom=True))
        self.muted[account_id] = self.head

    def at(self, position: int) -> dict[str, JsonObject]:
        """Return the live rows as they were at a position."""
        rows: dict[str, JsonObject] = {}
        for change in self.changes[:position]:
            if change.kind == "removed":
                rows.pop(change.transaction_id, None)
            elif change.row is not None:
                rows[change.transaction_id] = change.row
        return rows

    def between(self, span: Span) -> list[Change]:
        """Return what a client is told that moves along a span.

        From the very beginning that is always the net result, all of it as `added`.
        """
        steps = self.changes[span.start : span.head]
        silent = {account_id for account_id, position in self.muted.items() if position <= span.head}
        if silent:
            steps = [change for change in steps if change.account_id not in silent]
        if span.account_id is not None:
            steps = [change for change in steps if change.account_id == span.account_id]
        if span.spell_out and span.start > 0 and span.origin == 0:
            return _postponed(steps)
        last: dict[str, Change] = {}
        for change in steps:  # re-inserted, so that the result is in order of last modification
            last.pop(change.transaction_id, None)
            last[change.transaction_id] = change
        return _postponed(list(self._net(last, span)))

    def _net(self, last: dict[str, Change], span: Span) -> Iterator[Change]:
        for transaction_id, change in last.items():
            known = self._known(transaction_id, span)
            if change.kind == "removed":
                before_now = span.origin > 0 and self._touched[transaction_id][0] <= span.origin
                if known is not None or before_now or (change.phantom and span.start > 0):
                    yield change
            elif not (span.hide_reverts and known == change.row):
                kind: Kind = "added" if known is None else "modified"
                new_page = change.new_page and span.start > 0
                yield Change(kind, transaction_id, change.account_id, change.row, new_page)

    def _known(self, transaction_id: str, span: Span) -> JsonObject | None:
        """Return this row as the client at the start of the span holds it, if it does."""
        positions = self._touched[transaction_id]
        index = bisect_right(positions, span.start)
        if index == 0 or positions[index - 1] <= span.origin:
            return None
        last = self.changes[positions[index - 1] - 1]
        return None if last.kind == "removed" else last.row


def _postponed(changes: list[Change]) -> list[Change]:
    """Move the story of every row that belongs on a later page to the end, where a page begins."""
    late = {change.transaction_id for change in changes if change.new_page}
    if not late:
        return changes
    ahead = [change for change in changes if change.transaction_id not in late]
    behind = [replace(change, new_page=False) for change in changes if change.transaction_id in late]
    return [*ahead, replace(behind[0], new_page=True), *behind[1:]]


def page_of(changes: Sequence[Change], offset: int, count: int) -> tuple[list[Change], int]:
    """Cut the page that starts at an offset; return it with the offset of the next.

    A page ends early where applying its arrays in the order added, modified, removed would get one
    transaction's story wrong (removed, then added again), or where a later page is asked for.
    """
    page: list[Change] = []
    ranks: dict[str, int] = {}
    for change in changes[offset : offset + count]:
        rank = _RANK[change.kind]
        backwards = rank < ranks.get(change.transaction_id, rank)
        if page and (backwards or change.new_page):
            break
        page.append(change)
        ranks[change.transaction_id] = rank
    return page, offset + len(page)
