"""Invalid entries: kept exactly, addressed by their content, split into parts."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from decimal import Decimal
from typing import Any

import pytest
from plaid_sync.domain import exact_json
from plaid_sync.pull.pages import InvalidEntry
from plaid_sync.sync.quarantine import PART_BYTES, join_parts, split_entry

ENTRIES: list[Any] = [
    None,
    7,
    "text",
    ["a", ["list"]],
    {"transaction_id": "t", "amount": "12.50", "balance": Decimal("0.1234567890")},
    {"name": "مقهى ☕ 🎉", "half": "\ud83d", "\udfff": 1},
]


@pytest.mark.parametrize("entry", ENTRIES, ids=repr)
def test_an_entry_of_any_kind_is_kept_exactly(entry: object) -> None:
    raw = InvalidEntry.of("added", "amount", entry).raw
    assert exact_json.loads(raw) == entry
    assert raw.isascii()
    assert json.loads(raw, parse_float=Decimal) == entry


def test_an_entry_is_addressed_by_its_content() -> None:
    entry = InvalidEntry.of("added", "amount", {"a": 1, "b": 2})
    assert entry.entry_id == InvalidEntry.of("added", "date", {"b": 2, "a": 1}).entry_id
    others = [InvalidEntry.of("modified", "amount", {"a": 1, "b": 2}), InvalidEntry.of("added", "amount", {"a": 1})]
    assert len({entry.entry_id, *(other.entry_id for other in others)}) == 3
    assert len(entry.entry_id) == 64


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"transaction_id": "t"}, "t"),
        ({"transaction_id": "x" * 1001}, None),
        ({"transaction_id": 7}, None),
        ({"transaction_id": "\ud83d"}, None),
        ({}, None),
        (["t"], None),
    ],
)
def test_the_transaction_id_is_one_that_a_row_can_have_or_none(entry: object, expected: str | None) -> None:
    assert InvalidEntry.of("added", "amount", entry).transaction_id == expected


def test_a_large_entry_is_split_into_parts_that_fit_and_joined_again() -> None:
    long = {"transaction_id": "t", "name": b64encode(os.urandom(1_500_000)).decode()}
    parts = split_entry(InvalidEntry.of("added", "transaction", long))
    assert [part.number for part in parts] == list(range(7))
    assert {part.parts for part in parts} == {7}
    assert all(len(part.content) <= PART_BYTES for part in parts)
    assert exact_json.loads(join_parts(part.content for part in parts)) == long
    assert len(split_entry(InvalidEntry.of("added", "transaction", None))) == 1


def test_the_content_is_not_in_the_representation() -> None:
    entry = InvalidEntry.of("added", "amount", {"name": "a secret"})
    assert "secret" not in f"{entry!r}{split_entry(entry)!r}"
