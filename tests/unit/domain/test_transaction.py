"""Transactions in stored form: exact amounts, whole objects, and fields that no row can do without."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from hypothesis import example, given
from hypothesis import strategies as st
from plaid_sync.domain import exact_json
from plaid_sync.domain.errors import SchemaViolationError
from plaid_sync.domain.transaction import decompress_object, parse_removal, parse_transaction


def plaid_transaction(**fields: Any) -> dict[str, Any]:
    document = {
        "transaction_id": "lPNjeW1nR6CDn5okmGQ6hEpMo4lLNoSrzqDje",
        "account_id": "BxBXxLj1m4HMXBm9WZZmCWVbPjX16EHwv99vp",
        "amount": Decimal("12.50"),
        "iso_currency_code": "USD",
        "unofficial_currency_code": None,
        "date": "2026-02-28",
        "authorized_date": None,
        "name": "مقهى ☕",
        "merchant_name": None,
        "pending": False,
        "pending_transaction_id": None,
        "payment_channel": "in store",
        "personal_finance_category": {"primary": "FOOD_AND_DRINK", "detailed": "FOOD_AND_DRINK_COFFEE"},
        "location": {"lat": Decimal("40.740352"), "lon": Decimal("-74.001761")},
    }
    return document | fields


def test_a_row_has_the_queried_attributes_and_the_whole_object() -> None:
    row = parse_transaction(plaid_transaction())
    assert (row.amount, row.iso_currency_code, row.unofficial_currency_code) == (Decimal("12.50"), "USD", None)
    assert (row.category, row.name, row.merchant_name) == ("FOOD_AND_DRINK", "مقهى ☕", None)
    assert row.date_id == "2026-02-28#lPNjeW1nR6CDn5okmGQ6hEpMo4lLNoSrzqDje"
    assert decompress_object(row.plaid) == plaid_transaction()
    assert parse_transaction(dict(reversed(plaid_transaction().items()))) == row
    unknown = plaid_transaction(merchant_category_code="5812", running_balance={"amount": Decimal("0.1234567")})
    assert decompress_object(parse_transaction(unknown).plaid) == unknown


@given(
    st.decimals(allow_nan=False, allow_infinity=False)
    | st.builds(Decimal, st.tuples(st.just(0), st.lists(st.integers(0, 9)).map(tuple), st.integers(-200, 200)))
)
@example(Decimal("1E+1000000000"))
@example(Decimal("1E+38"))
@example(Decimal(f"1.{'0' * 60}"))
@example(Decimal(f"1{'0' * 60}"))
@example(Decimal(f"1.{'0' * 12_000}1"))
@example(Decimal(f"0.{'0' * 200}"))
def test_an_amount_is_rejected_or_fits_into_dynamodb_exactly(amount: Decimal) -> None:
    try:
        row = parse_transaction(plaid_transaction(amount=amount))
    except SchemaViolationError:
        return
    assert row.amount == amount
    written = Decimal(TypeSerializer().serialize(row.amount)["N"])
    for notation in (str(written), f"{written:f}", f"{written:E}"):
        assert TypeDeserializer().deserialize({"N": notation}) == amount


@pytest.mark.parametrize(
    "literal",
    [
        f"1.{'0' * 60}",
        f"12{'0' * 36}.{'0' * 60}",
        "1E+37",
        "9" * 38,
        "1E-125",
        "-0.00",
        "0.1234567",
        "-98765432109.87",
        "0.00",
        "7",
        "0",
    ],
)
def test_an_amount_that_dynamodb_can_hold_is_exact(literal: str) -> None:
    amount = exact_json.loads(literal)
    row = parse_transaction(plaid_transaction(amount=amount))
    assert row.amount == Decimal(literal)
    assert len(literal) > 20 or str(row.amount) == literal


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("transaction_id", None),
        ("transaction_id", ""),
        ("transaction_id", "x" * 1025),
        ("account_id", 7),
        ("amount", "12.50"),
        ("amount", True),
        ("amount", None),
        ("amount", 12.5),
        ("amount", Decimal("1." + "1" * 38)),
        ("amount", Decimal("1E+200")),
        ("amount", Decimal("1E-140")),
        ("account_id", "a" * 2100),
        ("name", "\ud800"),
        ("date", None),
        ("date", "yesterday"),
        ("date", "20260228"),
        ("amount", Decimal("NaN")),
        ("pending", "no"),
        ("name", ["a"]),
    ],
)
def test_an_object_that_violates_the_schema_is_rejected_by_field(field: str, value: object) -> None:
    with pytest.raises(SchemaViolationError) as rejected:
        parse_transaction(plaid_transaction(**{field: value}))
    assert rejected.value.field == field


@pytest.mark.parametrize(
    "change", [{"name": "n" * 2_000_000}, {"note": "\ud800"}, {"counterparties": [{"name": "\udfff"}]}]
)
def test_an_object_that_no_row_can_hold_is_rejected(change: dict[str, Any]) -> None:
    with pytest.raises(SchemaViolationError) as rejected:
        parse_transaction(plaid_transaction(**change))
    assert rejected.value.field == "transaction"


@pytest.mark.parametrize(
    "removal",
    [["t"], {}, {"transaction_id": "t", "account_id": 0}, {"transaction_id": "t", "account_id": "a" * 2100}],
    ids=lambda removal: str(removal)[:40],
)
def test_a_removal_may_lack_its_account_and_an_invalid_one_is_rejected(removal: object) -> None:
    assert parse_removal({"transaction_id": "t"}).account_id is None
    assert parse_removal({"transaction_id": "t", "account_id": "a"}).account_id == "a"
    assert parse_removal({"transaction_id": "t", "account_id": ""}).account_id is None
    with pytest.raises(SchemaViolationError):
        parse_removal(removal)
