"""Plaid: a log of changes, final cursors (positions in it), pages of one change each, and what may happen next."""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.simulation.model.state import COMPLETE, GONE, IDS, LOGIN_LOST, LOGIN_REPAIRED, READY, Change, Log, truth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.model.state import State


class Reporting(StrEnum):
    """How Plaid reports what happened between two cursors. It documents none of these, so each must be right."""

    EVERY = "every change"
    NET = "net changes"
    NET_WITHOUT_REVERTS = "net changes without reverts"


class Page(NamedTuple):
    """One page; `kind` is empty where it holds no change. `late`: no time is left in the invocation after it."""

    kind: str
    change: Change
    next_cursor: str | None
    has_more: bool
    complete: bool
    late: bool = False

    def __str__(self) -> str:
        if self.next_cursor is None:
            return "nothing is ready"
        change = f"{self.kind} {IDS[self.change.key]}={self.change.value or 'removed'}" if self.kind else "nothing"
        return f"{change}, {'more at' if self.has_more else 'final cursor'} {self.next_cursor}"


class Refusal(StrEnum):
    """Plaid's error codes."""

    MUTATION = "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"
    CURSOR_REJECTED = "INVALID_FIELD"
    LOGIN_REQUIRED = "ITEM_LOGIN_REQUIRED"
    UNAVAILABLE = "INTERNAL_SERVER_ERROR"


_NO_CHANGE: Final = Change(READY)
LACKS: Final = "*"
"""The end of a final cursor that does not account for the whole history."""
NEWER: Final = "'"
"""Part of a cursor that Plaid issued after it had dropped all others."""


def is_complete(log: Log) -> bool:
    return Change(COMPLETE) in log


def login_required(log: Log) -> bool:
    """Return whether Plaid refuses to sync until the user logs in."""
    return log.count(Change(LOGIN_LOST)) > log.count(Change(LOGIN_REPAIRED))


def position(cursor: str | None) -> int:
    """Return the position in the log of a final cursor, or of that from which a pagination started."""
    return int((cursor or "0").partition(">")[0].rstrip(NEWER + LACKS))


def sync_page(
    log: Log, cursor: str | None, reporting: Reporting, *, dropped: bool = False, pulled_before: bool
) -> Page | Refusal:
    """Respond to /transactions/sync.

    While the history is incomplete, a repeated pull from the beginning omits what was there first and never changed:
    the worst that "incomplete" can mean. Its cursor reports that later, as added, once the history is complete.

    Args:
        log: everything that happened.
        cursor: None, a final cursor `p` (`p*` where it lacks something), or one in a pagination, `start>head@offset`.
        reporting: how changes are reported.
        dropped: cursors that were issued before are rejected.
        pulled_before: the Item was pulled to its end once.
    """
    if Change(READY) not in log:
        return Page("", _NO_CHANGE, None, has_more=False, complete=False)
    start, _, rest = (cursor or f"0{NEWER if dropped else ''}").partition(">")
    head, _, offset = rest.partition("@")
    if dropped and NEWER not in start:
        return Refusal.CURSOR_REJECTED
    if head and int(head) != len(log):
        return Refusal.MUTATION
    begin = position(start)
    reported = _changes_since(log, begin, reporting)
    lacks = start.endswith(LACKS) or (begin == 0 and pulled_before and not is_complete(log))
    lacks = lacks and sum(change.key == 0 for change in log) == 1
    if lacks:
        first = next(change for change in log if change.key == 0)
        reported = tuple(entry for entry in reported if entry[1] != first)
        reported += (("added", first),) if is_complete(log) else ()
        lacks = not is_complete(log)
    number = int(offset or 0)
    has_more = number + 1 < len(reported)
    final = f"{len(log)}{NEWER if dropped else ''}{LACKS if lacks else ''}"
    next_cursor = f"{start}>{len(log)}@{number + 1}" if has_more else final
    kind, change = reported[number] if reported else ("", _NO_CHANGE)
    return Page(kind, change, next_cursor, has_more, is_complete(log))


@cache
def _changes_since(log: Log, start: int, reporting: Reporting) -> tuple[tuple[str, Change], ...]:
    """Return what is reported of the changes after `start`. From the beginning that is always what exists now."""
    ids = 1 + max((change.key for change in log), default=0)
    known = truth(log[:start], max(ids, 1))
    changes = [change for change in log[start:] if change.key >= 0]
    if reporting is Reporting.EVERY and start > 0:
        return tuple(_every(changes, list(known)))
    last: dict[int, Change] = {}
    for change in changes:  # in the order of the last modification
        last.pop(change.key, None)
        last[change.key] = change
    return tuple(_net(list(last.values()), known, hide_reverts=reporting is Reporting.NET_WITHOUT_REVERTS))


def _every(changes: list[Change], values: list[int]) -> Iterator[tuple[str, Change]]:
    for change in changes:
        yield _kind(values[change.key], change.value), change
        values[change.key] = change.value


def _net(last: list[Change], known: tuple[int, ...], *, hide_reverts: bool) -> Iterator[tuple[str, Change]]:
    for change in last:
        before = known[change.key]
        if before == change.value and (hide_reverts or change.value == GONE):
            continue
        yield _kind(before, change.value), change


def _kind(before: int, after: int) -> str:
    if after == GONE:
        return "removed"
    return "added" if before == GONE else "modified"


def possible_changes(state: State, ids: int) -> Iterator[tuple[Change, str]]:
    """Yield what may happen at Plaid next, and its description."""
    if Change(READY) not in state.log:
        yield Change(READY), "the first transactions of the Item are ready"
        return
    if not is_complete(state.log):
        yield Change(COMPLETE), "the history is complete"
    if login_required(state.log):
        yield Change(LOGIN_REPAIRED), "the user logs in again"
    elif state.faults.logins:
        yield Change(LOGIN_LOST), "the bank requires the user's login"
    if not state.changes:
        return
    untouched = True
    for key, value in enumerate(truth(state.log, ids)):
        fresh = all(change.key != key for change in state.log)
        if fresh and not untouched:
            continue  # ids that nothing happened to are interchangeable: the first of them is enough
        untouched = untouched and not fresh
        for new in (1,) if fresh else (GONE, 1, 2):
            if new != value:
                yield Change(key, new), f"{IDS[key]} is {_kind(value, new)}{f' (content {new})' if new else ''}"
