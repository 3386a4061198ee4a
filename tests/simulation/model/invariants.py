"""The invariants: some hold for each write, the others in each quiescent state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.model import tables
from tests.simulation.model.calls import CommitPart
from tests.simulation.model.plaid import LACKS, login_required, position
from tests.simulation.model.state import GONE, IDS, READY, Change, Item, Resync, State, truth

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from tests.simulation.model.calls import Write, Written
    from tests.simulation.model.scenarios import Scenario


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
    if isinstance(call.end, CommitPart):
        if ">" in call.end.cursor:
            return "a cursor within a pagination was stored"
        if position(call.end.cursor) < position(state.item.cursor):
            return "the cursor moved backwards"
    return ""


def is_settled(state: State, scenario: Scenario) -> bool:
    """Return whether a look at Plaid would change nothing."""
    if Change(READY) not in state.log:
        return True
    required = login_required(state.log)
    if required and not scenario.served_without_login:
        return state.item.needs_user
    return position(state.item.cursor) == len(state.log) and state.item.needs_user == required


def broken_when_quiescent(state: State, scenario: Scenario) -> str:
    """Return the invariant that is broken in a state in which nothing is going to happen; empty for none."""
    if state.webhook_pending or state.hint_pending or state.queue or any(map(_is_alive, state.workers)):
        return "deadlock: nothing can happen, and something is in flight"
    if Change(READY) not in state.log:
        return ""
    required = login_required(state.log)
    if state.item.needs_user != required:
        return f"the Item {'needs' if required else 'does not need'} its user, and its state does not say so"
    if required and not scenario.served_without_login:
        return ""
    return _difference(state, scenario.ids) or _pending(state.item)


def _difference(state: State, ids: int) -> str:
    item = state.item
    if position(item.cursor) != len(state.log):
        return f"a message was deleted, but no committed pull has its change ({item.cursor} of {len(state.log)})"
    decided = item.decided and (item.cursor or "").endswith(LACKS)
    for key, value in enumerate(truth(state.log, ids)):
        row = state.rows[key]
        stored = row.value if row else GONE
        missing_by_decision = key == 0 and decided and stored == GONE
        resync_pending = value == GONE and item.reconcile is not Resync.NONE
        if stored != value and not missing_by_decision and not resync_pending:
            return f"{IDS[key]} is {stored or 'absent'} in the table and {value or 'absent'} at Plaid"
    return ""


def _pending(item: Item) -> str:
    if item.reconcile is not Resync.NONE:
        return "a full resync is pending, and nothing will request it"
    pending = item.writing_since is not None or item.checkpoint is not None or item.hint or item.failure
    return "something is pending, and nothing will request it" if pending else ""


def _is_alive(worker: object) -> bool:
    return bool(getattr(worker, "receipts_valid", False))
