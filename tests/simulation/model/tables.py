"""The two tables: the conditions that `aws.dynamodb` has DynamoDB check, and their effects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.simulation.model.calls import Written
from tests.simulation.model.state import GONE, Item, Row

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from tests.simulation.model.calls import Claim, Record, Write
    from tests.simulation.model.state import State

SUPERSEDED: Final = Written("superseded")
_WRITTEN: Final = Written()


def claim(state: State, call: Claim, without: AbstractSet[str]) -> tuple[State, Item | Written]:
    """Raise the generation if it is the loaded one; return also the response."""
    if call.generation != state.item.generation and "claim-cas" not in without:
        return state, Written("item_modified_concurrently")
    item = state.item._replace(generation=state.item.generation + 1)
    stored = item._replace(writing_since=None) if "writing-since-kept" in without else item
    return state._replace(item=stored), item


def record(state: State, call: Record) -> tuple[State, Written]:
    """Record the Item's state, under the fence."""
    if call.generation != state.item.generation:
        return state, SUPERSEDED
    return state._replace(item=state.item._replace(needs_user=call.needs_user)), _WRITTEN


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
    moved = call.commit is not None and call.commit.expected_cursor != state.item.cursor
    if moved and "cursor-cas" not in without:
        return Written("cursor_changed") if newest else SUPERSEDED
    stored = (state.rows[key] for key, _ in call.rows)
    if "row-condition" not in without and any(row and row.generation >= call.generation for row in stored):
        return Written("row_newer_than_item")
    return None


def _item_after(state: State, call: Write, without: AbstractSet[str]) -> Item:
    item = state.item
    if call.commit is not None:
        return item._replace(
            cursor=call.commit.cursor,
            writing_since=None,
            reconcile=call.commit.reconcile,
            pull_began=len(state.log) if "pull-began-before" in without else call.commit.pull_began,
            needs_user=call.commit.needs_user,
        )
    if call.begin and (item.writing_since is None or "writing-since-oldest" in without):
        return item._replace(writing_since=call.generation)
    return item
