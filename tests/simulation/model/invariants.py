"""The invariants: some hold for each write, the others in each quiescent state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.model import tables
from tests.simulation.model.plaid import is_complete, login_required
from tests.simulation.model.state import GONE, IDS, READY, Change, State, truth

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from tests.simulation.model.calls import Write, Written


def broken_by_write(state: State, call: Write, written: Written, without: AbstractSet[str]) -> str:
    """Return the invariant that a write broke, given the state before it; empty for none."""
    if written.refused:
        fence_held = "fence" not in without and call.generation == state.item.generation
        endless = fence_held and written != tables.SUPERSEDED
        return f"a write under a fence that held was refused: {written.refused}" if endless else ""
    if call.generation != state.item.generation and "fence" not in without:
        return "a superseded attempt wrote"
    for key, _ in call.rows:
        row = state.rows[key]
        if row and row.generation > call.generation:
            return f"row {IDS[key]} was overwritten by an older attempt"
    if call.commit is not None:
        if ">" in call.commit.cursor:
            return "a cursor within a pagination was stored"
        if int(call.commit.cursor) < int(state.item.cursor or 0):
            return "the cursor moved backwards"
    return ""


def is_quiescent(state: State) -> bool:
    """Return whether nothing is in flight: no webhook, no message, no worker that matters.

    A worker that has not claimed yet, or was superseded, may resume or not: the tables must be right without it.
    """
    if state.webhook_pending or state.queue:
        return False
    return not any(
        worker and (worker.receipts_valid or 0 < worker.generation == state.item.generation) for worker in state.workers
    )


def broken_when_quiescent(state: State, ids: int) -> str:
    """Return the invariant that a quiescent state breaks; empty for none."""
    item = state.item
    if Change(READY) not in state.log or login_required(state.log):
        return ""
    if item.pull_began != len(state.log):
        return f"a message was deleted, but no committed pull began after it ({item.pull_began} of {len(state.log)})"
    for key, value in enumerate(truth(state.log, ids)):
        row = state.rows[key]
        stored = row.value if row else GONE
        resync_pending = value == GONE and item.reconcile
        if stored != value and not resync_pending:
            return f"{IDS[key]} is {stored or 'absent'} in the table and {value or 'absent'} at Plaid"
    if is_complete(state.log) and item.reconcile:
        return "a full resync is pending, and nothing will request it"
    if item.needs_user:
        return "the Item needs its user, and nothing will clear that"
    return ""
