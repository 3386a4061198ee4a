"""The two tables: what `items_table` and `transactions_table` of the adapters have DynamoDB check and write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.model.calls import Claimed, Written
from tests.model.state import GONE, Item, Row

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from tests.model.calls import Claim, Record, Write
    from tests.model.state import State

TAKEN = Written()
SUPERSEDED = Written("superseded")


def claim(state: State, call: Claim, without: AbstractSet[str]) -> tuple[State, Claimed | Written]:
    """Raise the fence, if it stands where it was loaded; return also what the worker is shown."""
    if call.generation != state.item.generation and "claim-cas" not in without:
        return state, Written("item_changed_while_claiming")
    item = state.item._replace(generation=state.item.generation + 1)
    stored = item._replace(writing_since=None) if "lasting-mark" in without else item
    return state._replace(item=stored), Claimed(item)


def record(state: State, call: Record) -> tuple[State, Written]:
    """Record trouble (or that Plaid has nothing ready), fenced."""
    if call.generation != state.item.generation:
        return state, SUPERSEDED
    return state._replace(item=state.item._replace(in_trouble=call.trouble)), TAKEN


def write(state: State, call: Write, without: AbstractSet[str]) -> tuple[State, Written]:
    """Write one transaction: all of it or nothing."""
    refused = _refusal(state, call, without)
    if refused is not None:
        return state, refused
    rows = list(state.rows)
    for key, value in call.rows:
        before = rows[key]
        first = call.generation if before is None or "first-generation" in without else before.first_generation
        gone = value == GONE and "tombstones" in without
        rows[key] = None if gone else Row(value, call.generation, first)
    return state._replace(rows=tuple(rows), item=_item_after(state, call, without)), TAKEN


def _refusal(state: State, call: Write, without: AbstractSet[str]) -> Written | None:
    """Judge the conditions as `transactions_table._raise_if_final` tells them apart."""
    ours = call.generation == state.item.generation
    if not ours and "fence" not in without:
        return SUPERSEDED
    moved = call.commit is not None and call.commit.expected_cursor != state.item.cursor
    if moved and "cursor-cas" not in without:
        return Written("cursor_changed") if ours else SUPERSEDED
    stored = (state.rows[key] for key, _ in call.rows)
    if "row-condition" not in without and any(row and row.generation >= call.generation for row in stored):
        return Written("row_newer_than_item")
    return None


def _item_after(state: State, call: Write, without: AbstractSet[str]) -> Item:
    item = state.item
    if call.commit is not None:
        began = len(state.log) if "began-after" in without else call.commit.began
        return item._replace(
            cursor=call.commit.cursor,
            writing_since=None,
            reconcile=call.commit.reconcile,
            began=began,
            in_trouble=call.commit.trouble,
        )
    if call.begin and (item.writing_since is None or "oldest-mark" in without):
        return item._replace(writing_since=call.generation)
    return item
