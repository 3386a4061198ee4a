"""The two tables: the conditions that `aws.dynamodb` has DynamoDB check, and their effects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.simulation.model.calls import CommitPart, Written
from tests.simulation.model.plaid import LACKS
from tests.simulation.model.state import GONE, Checkpoint, Item, Next, Resync, Row

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from tests.simulation.model.calls import After, Claim, Find, Record, RestartPull, Write
    from tests.simulation.model.state import State

SUPERSEDED: Final = Written("superseded")
THROTTLED: Final = Written("throttled")
_WRITTEN: Final = Written()


def claim(state: State, call: Claim, without: AbstractSet[str]) -> tuple[State, Item | Written]:
    """Raise the generation if it is the loaded one; return also the response."""
    if call.generation != state.item.generation and "claim-cas" not in without:
        return state, Written("item_modified_concurrently")
    return _claimed(state, call.next_attempt, hint=call.hint or state.item.hint, without=without)


def find(state: State, call: Find, without: AbstractSet[str]) -> tuple[State, Item]:
    """Raise the generation, whichever it is; return also the response."""
    return _claimed(state, call.next_attempt, hint=state.item.hint, without=without)


def _claimed(state: State, next_attempt: Next, *, hint: bool, without: AbstractSet[str]) -> tuple[State, Item]:
    item = state.item._replace(generation=state.item.generation + 1, hint=hint, next_attempt=next_attempt)
    stored = item._replace(writing_since=None) if "writing-since-kept" in without else item
    stored = stored._replace(hint=state.item.hint) if "checks-remembered" in without else stored
    # A claimed attempt reads neither: that they differ must not make two histories of one.
    return state._replace(item=stored), item._replace(pull_began=None, next_attempt=Next.ROUTINE, decided=False)


def record(state: State, call: Record) -> tuple[State, Written]:
    """Record an outcome, under the fence."""
    if call.generation != state.item.generation:
        return state, SUPERSEDED
    return state._replace(item=_with_outcome(state.item, call.after)), _WRITTEN


def restart_pull(state: State, call: RestartPull, without: AbstractSet[str]) -> tuple[State, Written]:
    """Drop the checkpoint and raise the generation, under the fence."""
    item = state.item
    if call.generation != item.generation:
        return state, SUPERSEDED
    requested = call.from_beginning and "reconcile-remembered" not in without
    reconcile = Resync.DUE if requested else item.reconcile
    was_reset = item.was_reset or call.resets_cursor
    item = item._replace(generation=item.generation + 1, checkpoint=None, reconcile=reconcile, was_reset=was_reset)
    return state._replace(item=item), _WRITTEN


def write(state: State, call: Write, without: AbstractSet[str]) -> tuple[State, Written]:
    """Write one transaction, all or nothing."""
    refused = _refusal(state, call, without)
    if refused is not None:
        return state, refused
    rows = list(state.rows)
    for key, value in call.rows:
        before = rows[key]
        first = call.generation if before is None or "first-generation" in without else before.first_generation
        gone = value == GONE and "tombstones" in without
        rows[key] = None if gone else Row(value, call.generation, first)
    return state._replace(rows=tuple(rows), item=_item_after(state, call, without)), _WRITTEN


def _refusal(state: State, call: Write, without: AbstractSet[str]) -> Written | None:
    """Classify failed conditions as `transact.write_fenced` does."""
    newest = call.generation == state.item.generation
    if not newest and "fence" not in without:
        return SUPERSEDED
    moved = isinstance(call.end, CommitPart) and call.end.expected_cursor != state.item.cursor
    if moved and "cursor-cas" not in without:
        return Written("cursor_changed") if newest else SUPERSEDED
    stored = (state.rows[key] for key, _ in call.rows)
    if "row-condition" not in without and any(row and row.generation >= call.generation for row in stored):
        return Written("row_newer_than_item")
    return None


def _item_after(state: State, call: Write, without: AbstractSet[str]) -> Item:
    item, end = state.item, call.end
    if isinstance(end, CommitPart):
        return _with_outcome(item, end.after)._replace(
            cursor=end.cursor,
            writing_since=None,
            checkpoint=None,
            reconcile=end.reconcile,
            inconclusive=end.inconclusive,
            decided=(end.decided or item.decided) and end.cursor.endswith(LACKS),
            pull_began=len(state.log) if "pull-began-before" in without else end.pull_began,
        )
    if call.begin and (item.writing_since is None or "writing-since-oldest" in without):
        item = item._replace(writing_since=call.generation)
    if isinstance(end, Checkpoint):
        raised = 0 if "checkpoint-generation" in without else 1
        item = item._replace(generation=call.generation + raised, checkpoint=end)
    return item


def _with_outcome(item: Item, after: After) -> Item:
    return item._replace(
        needs_user=after.needs_user, hint=after.hint, failure=after.failure, next_attempt=after.next_attempt
    )
