"""What may happen at Plaid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.model.plaid import is_complete, login_lost
from tests.model.state import COMPLETE, GONE, IDS, LOST, READY, REPAIRED, Change, truth
from tests.model.wording import verb_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.model.state import State


def possible_changes(state: State, ids: int) -> Iterator[tuple[Change, str]]:
    """Yield what may happen at Plaid next, and what it is in words."""
    if Change(READY) not in state.log:
        yield Change(READY), "the first transactions of the Item are ready"
        return
    if not is_complete(state.log):
        yield Change(COMPLETE), "the history is complete"
    if login_lost(state.log):
        yield Change(REPAIRED), "the user has logged in again"
    elif state.faults.logins:
        yield Change(LOST), "the bank asks for the user's login"
    if not state.changes:
        return
    untouched = True
    for key, value in enumerate(truth(state.log, ids)):
        fresh = all(change.key != key for change in state.log)
        if fresh and not untouched:
            continue  # ids that nothing has happened to are interchangeable: the first of them will do
        untouched = untouched and not fresh
        for new in (1,) if fresh else (GONE, 1, 2):
            if new != value:
                yield Change(key, new), f"{IDS[key]} {verb_of(value, new)}"
