"""What must hold: at every write, and whenever everything has come to rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.model import tables
from tests.model.plaid import is_complete, login_lost
from tests.model.state import GONE, IDS, READY, Change, State, truth

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from tests.model.calls import Write, Written


def broken_by(state: State, call: Write, written: Written, without: AbstractSet[str]) -> str:
    """Return which invariant a write has broken, judged by the state before it; empty for none."""
    if written.refused:
        fenced = "fence" not in without and call.generation == state.item.generation
        poison = fenced and written != tables.SUPERSEDED
        return f"a write under a fence that held was refused: {written.refused}" if poison else ""
    if call.generation != state.item.generation and "fence" not in without:
        return "a superseded attempt wrote"
    for key, _ in call.rows:
        row = state.rows[key]
        if row and row.generation > call.generation:
            return f"the row {IDS[key]} was overwritten by an older attempt"
    if call.commit is not None:
        if ">" in call.commit.cursor:
            return "a cursor from the midst of a pagination was stored"
        if int(call.commit.cursor) < int(state.item.cursor or 0):
            return "the cursor moved backwards"
    return ""


def at_rest(state: State) -> bool:
    """Tell whether nothing is on its way: no webhook, no message, no worker that anything could depend on.

    A worker that has not claimed yet, or was superseded, may wake up or not: the tables must be right without it.
    """
    if state.owed or state.queue:
        return False
    return not any(
        worker and (worker.valid or 0 < worker.generation == state.item.generation) for worker in state.workers
    )


def wrong_at_rest(state: State, ids: int) -> str:
    """Return what is wrong with a state at rest; empty when nothing is."""
    if Change(READY) not in state.log or login_lost(state.log):
        return ""
    if state.item.began != len(state.log):
        return f"a trigger was deleted, but no committed pull began after it ({state.item.began} of {len(state.log)})"
    for key, value in enumerate(truth(state.log, ids)):
        row = state.rows[key]
        stored = row.value if row else GONE
        owed = value == GONE and state.item.reconcile
        if stored != value and not owed:
            return f"{IDS[key]} is {stored or 'absent'} in the table and {value or 'absent'} at Plaid"
    if is_complete(state.log) and state.item.reconcile:
        return "a reconciliation is owed and nothing will trigger it"
    if state.item.in_trouble:
        return "the Item is marked as in trouble and nothing will clear it"
    return ""
