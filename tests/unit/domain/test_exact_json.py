from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plaid_sync.domain import exact_json

AMOUNTS = ["0.1234567", "-98765432109.87", "0", "0.00", "12.50", "1E+3", "123456789012345678901234567890.12345678"]


@pytest.mark.parametrize("literal", AMOUNTS)
def test_a_number_keeps_every_digit_from_the_wire_and_back(literal: str) -> None:
    parsed = exact_json.loads(f'{{"amount":{literal}}}')
    assert not isinstance(parsed["amount"], float)
    assert Decimal(parsed["amount"]) == Decimal(literal)
    assert exact_json.loads(exact_json.dumps(parsed)) == parsed


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_every_finite_decimal_survives_a_round_trip_with_its_exponent(number: Decimal) -> None:
    assert str(Decimal(exact_json.loads(exact_json.dumps([number]))[0])) == str(number)


@pytest.mark.parametrize(
    "document", [b"", b"{", b"NaN", b"[Infinity]", b"\xff\xfe", b"[" * 100_000, b"1e9999999999999999999", b"9" * 5000]
)
def test_a_document_that_is_not_json_raises_one_error(document: bytes) -> None:
    with pytest.raises(exact_json.InvalidJsonError):
        exact_json.loads(document)


def test_a_value_that_is_nested_too_deeply_raises_the_same_error() -> None:
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(exact_json.InvalidJsonError):
        exact_json.dumps(nested)


def test_half_a_surrogate_pair_survives_in_ascii() -> None:
    text = exact_json.dumps({"é": "\ud83d"}, ascii_only=True)
    assert text.isascii()
    assert exact_json.loads(text.encode()) == {"é": "\ud83d"}


def test_equal_objects_give_equal_text_in_any_order() -> None:
    assert exact_json.dumps({"b": 1, "a": "é"}) == exact_json.dumps({"a": "é", "b": 1}) == '{"a":"é","b":1}'
