"""Values in DynamoDB's wire form: the same as boto3's, but for what boto3 refuses."""

from __future__ import annotations

from decimal import Decimal, Inexact
from typing import Any

import pytest
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from hypothesis import given
from hypothesis import strategies as st
from plaid_sync.aws.dynamodb.expressions import deserialize, serialize
from plaid_sync.domain.item import StateName

NUMBERS = st.integers(-(10**38) + 1, 10**38 - 1) | st.decimals(-(10**29), 10**29, places=8)
SCALARS = st.none() | st.booleans() | NUMBERS | st.text() | st.sampled_from(StateName)
WRITER: Any = TypeSerializer()
READER: Any = TypeDeserializer()
STORED = st.recursive(
    SCALARS | st.sets(st.text(), min_size=1),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=10,
)


@given(STORED)
def test_a_value_is_written_and_read_as_boto3_does(value: Any) -> None:
    written = serialize(value)
    assert sets_sorted({"v": written}) == sets_sorted({"v": WRITER.serialize(value)})
    assert deserialize({"v": written}) == {"v": READER.deserialize(written)}


def sets_sorted(value: Any) -> Any:
    """Return the wire form with sets in order."""
    if isinstance(value, dict):
        return {
            key: sorted(of) if key == "SS" and isinstance(of, list) else sets_sorted(of) for key, of in value.items()
        }
    return [sets_sorted(member) for member in value] if isinstance(value, list) else value


def test_bytes_are_bytes_at_every_depth() -> None:
    assert serialize(b"\0\xff") == {"B": b"\0\xff"}
    assert deserialize({"blob": {"L": [{"B": b"\0\xff"}]}}) == {"blob": [b"\0\xff"]}


def test_sets_of_every_type_are_read() -> None:
    read = deserialize({"numbers": {"NS": ["1", "2.50"]}, "blobs": {"BS": [b"a"]}, "texts": {"SS": ["a"]}})
    assert read == {"numbers": {Decimal(1), Decimal("2.50")}, "blobs": {b"a"}, "texts": {"a"}}


def test_a_number_is_read_with_all_its_digits() -> None:
    """DynamoDB may write a number out, zeros included, and boto3 refuses those of more than 38 digits."""
    written_out = f"{'9' * 38}{'0' * 20}"
    assert deserialize({"amount": {"N": written_out}}) == {"amount": Decimal(written_out)}
    with pytest.raises(Inexact):
        serialize(Decimal("1" * 39))


@pytest.mark.parametrize("value", [1.5, Decimal("NaN"), Decimal("Infinity"), {1, 2}, object(), [0.1], {"a": 0.1}])
def test_what_would_not_be_exact_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        serialize(value)


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(KeyError):
        deserialize({"a": {"X": "1"}})
