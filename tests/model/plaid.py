"""Plaid's side: a log of changes, final cursors (positions in it), pages of one change each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from tests.model.state import COMPLETE, GONE, LOST, READY, REPAIRED, Change, Log, Telling, truth

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class PageAnswer:
    """One page; `kind` is empty where it holds no change."""

    kind: str
    change: Change
    next_cursor: str | None
    has_more: bool
    complete: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error of Plaid's."""

    code: str


MUTATION = Refusal("TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION")
CURSOR_REJECTED = Refusal("INVALID_FIELD")
LOGIN_REQUIRED = Refusal("ITEM_LOGIN_REQUIRED")
NO_CHANGE = Change(READY)


def is_complete(log: Log) -> bool:
    """Tell whether Plaid has all of the history."""
    return Change(COMPLETE) in log


def login_lost(log: Log) -> bool:
    """Tell whether Plaid refuses to sync until the user logs in."""
    return log.count(Change(LOST)) > log.count(Change(REPAIRED))


def answer_page(log: Log, cursor: str | None, telling: Telling, *, told_before: bool) -> PageAnswer | Refusal:
    """Answer a sync call.

    Args:
        log: everything that has happened.
        cursor: None, a final cursor `p`, or one of a pagination in progress, `start>head@offset`.
        telling: how changes are told.
        told_before: the Item had been pulled to its end once. A repeated pull from the beginning leaves out what was
            there first and never changed, while history is not complete: the worst that "not complete" can mean.
    """
    if login_lost(log):
        return LOGIN_REQUIRED
    if Change(READY) not in log:
        return PageAnswer("", NO_CHANGE, None, has_more=False, complete=False)
    if cursor is not None and ">" in cursor:
        if int(cursor.partition(">")[2].partition("@")[0]) != len(log):
            return MUTATION
        start, offset = int(cursor.partition(">")[0]), int(cursor.partition("@")[2])
    else:
        start, offset = int(cursor or 0), 0
    told = _told(log, start, telling)
    if start == 0 and told_before and not is_complete(log) and sum(change.key == 0 for change in log) == 1:
        told = tuple(one for one in told if one[1].key != 0)
    has_more = offset + 1 < len(told)
    following = f"{start}>{len(log)}@{offset + 1}" if has_more else str(len(log))
    kind, change = told[offset] if told else ("", NO_CHANGE)
    return PageAnswer(kind, change, following, has_more, is_complete(log))


@cache
def _told(log: Log, start: int, telling: Telling) -> tuple[tuple[str, Change], ...]:
    """Return what is told of the changes after `start`. From the beginning that is always what is there now."""
    ids = 1 + max((change.key for change in log), default=0)
    known = truth(log[:start], max(ids, 1))
    steps = [change for change in log[start:] if change.key >= 0]
    if telling is Telling.SPELLED and start > 0:
        return tuple(_spelled(steps, list(known)))
    last: dict[int, Change] = {}
    for change in steps:  # in order of last modification
        last.pop(change.key, None)
        last[change.key] = change
    return tuple(_netted(list(last.values()), known, hide_reverts=telling is Telling.HIDDEN))


def _spelled(steps: list[Change], values: list[int]) -> Iterator[tuple[str, Change]]:
    for change in steps:
        yield _kind(values[change.key], change.value), change
        values[change.key] = change.value


def _netted(last: list[Change], known: tuple[int, ...], *, hide_reverts: bool) -> Iterator[tuple[str, Change]]:
    for change in last:
        before = known[change.key]
        if before == change.value and (hide_reverts or change.value == GONE):
            continue
        yield _kind(before, change.value), change


def _kind(before: int, after: int) -> str:
    if after == GONE:
        return "removed"
    return "added" if before == GONE else "modified"
