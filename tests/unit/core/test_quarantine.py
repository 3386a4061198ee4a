from __future__ import annotations

import json
import os
from base64 import b64encode
from decimal import Decimal
from typing import Any

import pytest
from plaid_sync.core import exact_json
from plaid_sync.core.sync.quarantine import PART_BYTES, BrokenEntry, into_parts, join

ENTRIES: list[Any] = [
    None,
    7,
    "text",
    ["a", ["list"]],
    {"transaction_id": "t", "amount": "12.50", "balance": Decimal("0.1234567890")},
    {"name": "مقهى ☕ 🎉", "half": "\ud83d", "\udfff": 1},
]


@pytest.mark.parametrize("entry", ENTRIES, ids=repr)
def test_an_entry_is_kept_exactly_whatever_it_is(entry: object) -> None:
    raw = BrokenEntry.of("added", "amount", entry).raw
    assert exact_json.loads(raw) == entry
    assert raw.isascii()
    assert json.loads(raw, parse_float=Decimal) == entry


def test_its_address_is_its_content() -> None:
    entry = BrokenEntry.of("added", "amount", {"a": 1, "b": 2})
    assert entry.entry_id == BrokenEntry.of("added", "date", {"b": 2, "a": 1}).entry_id
    others = [BrokenEntry.of("modified", "amount", {"a": 1, "b": 2}), BrokenEntry.of("added", "amount", {"a": 1})]
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
def test_its_id_is_one_that_a_row_could_have_or_none(entry: object, expected: str | None) -> None:
    assert BrokenEntry.of("added", "amount", entry).transaction_id == expected


def test_it_is_cut_into_parts_that_fit_and_joined_again() -> None:
    long = {"transaction_id": "t", "name": b64encode(os.urandom(1_500_000)).decode()}
    parts = into_parts(BrokenEntry.of("added", "transaction", long))
    assert [part.number for part in parts] == list(range(7))
    assert {part.parts for part in parts} == {7}
    assert all(len(part.content) <= PART_BYTES for part in parts)
    assert exact_json.loads(join(part.content for part in parts)) == long
    assert len(into_parts(BrokenEntry.of("added", "transaction", None))) == 1


def test_what_it_holds_is_not_told_by_its_representation() -> None:
    entry = BrokenEntry.of("added", "amount", {"name": "a secret"})
    assert "secret" not in f"{entry!r}{into_parts(entry)!r}"
