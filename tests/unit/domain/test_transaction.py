"""Transactions in stored form: exact amounts, whole objects, and fields that no row can do without."""

from __future__ import annotations

import zlib
from decimal import Context, Decimal
from typing import Any

import pytest
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from hypothesis import example, given
from hypothesis import strategies as st
from plaid_sync.domain import exact_json
from plaid_sync.domain.compression import decompress
from plaid_sync.domain.errors import SchemaViolationError
from plaid_sync.domain.transaction import parse_removal, parse_transaction, plaid_object

from local.stack.paths import PROJECT
from tests.fakes.transactions import stored_attributes


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
    assert row.plaid_object == plaid_transaction()
    assert parse_transaction(dict(reversed(plaid_transaction().items()))) == row
    unknown = plaid_transaction(merchant_category_code="5812", running_balance={"amount": Decimal("0.1234567")})
    assert parse_transaction(unknown).plaid_object == unknown


def stored(document: dict[str, Any]) -> dict[str, Any]:
    """Return the row's attributes as DynamoDB returns them: a number without zeros at its end, an application's own."""
    attributes = stored_attributes(parse_transaction(document))
    amount = attributes["amount"]
    assert isinstance(amount, Decimal)
    returned = Decimal(f"{amount.normalize(Context(prec=38)):f}")
    return attributes | {"amount": returned, "item_id": "item", "note": "an application's", "original_description": "x"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=5,
)
OPTIONAL = (
    *("authorized_date", "iso_currency_code", "unofficial_currency_code", "name", "merchant_name"),
    *("pending_transaction_id", "payment_channel"),
)
AMOUNTS = st.sampled_from(["7", "7.0", "7E0", "12.50", "12.5", "0", "-0.0", "0.1234567", "1E+2", "100", "1E-7", "1E37"])


@given(
    AMOUNTS.map(exact_json.loads),
    st.dictionaries(st.sampled_from(OPTIONAL), st.none() | st.text(), max_size=8),
    st.dictionaries(st.sampled_from(["category", "plaid", "generation", "date_id", "removed_at", "x"]), JSON),
    st.sets(st.sampled_from(OPTIONAL)),
)
def test_a_row_gives_the_whole_object_back_digit_for_digit(
    amount: Any, texts: dict[str, Any], others: dict[str, Any], missing: set[str]
) -> None:
    document = plaid_transaction(amount=amount) | texts | others
    document = {name: value for name, value in document.items() if name not in missing}
    for row in (stored(document), stored(document) | {"plaid": older(document)}):
        assert exact_json.dumps(plaid_object(row)) == exact_json.dumps(document)


def older(document: dict[str, Any]) -> bytes:
    """Return the attribute `plaid` as an older version wrote it."""
    return zlib.compress(exact_json.dumps_for_storage(document), 9)


def test_the_documented_code_reads_every_row() -> None:
    document = plaid_transaction(counterparties=[{"name": "A"}], website=None)
    section = (PROJECT / "docs" / "data.md").read_text().split("\n### Reading Plaid's object\n")[1]
    names: dict[str, Any] = {}
    exec(section.split("```python\n")[1].split("```")[0], names)  # noqa: S102 - our own document
    for row in (stored(document), stored(document) | {"plaid": older(document)}):
        assert names["plaid_object"](row) == document
        assert str(names["plaid_object"](row)["amount"]) == "12.50"


def test_a_field_is_stored_once_and_a_null_in_the_remainder() -> None:
    remainder = exact_json.loads(decompress(stored(plaid_transaction())["plaid"]) or b"")
    assert remainder.keys() & parse_transaction(plaid_transaction()).attributes.keys() == {"amount"}
    assert remainder.keys() & set(OPTIONAL) == {
        *("authorized_date", "merchant_name", "pending_transaction_id", "unofficial_currency_code")
    }
    whole = exact_json.loads(decompress(stored(plaid_transaction(amount=Decimal("12.5")))["plaid"]) or b"")
    assert remainder.pop("amount") == Decimal("12.50")
    assert whole == remainder


@pytest.mark.parametrize("name", ["account_id", "date", "amount", "pending", "name"])
@pytest.mark.parametrize("value", [None, b"bytes", Decimal("0.5"), "0.5"], ids=str)
def test_a_row_whose_attributes_others_have_damaged_has_no_object(name: str, value: object) -> None:
    good = stored(plaid_transaction(amount=7))
    damaged = good | {name: value}
    if type(value) is type(good[name]):
        assert (plaid_object(damaged) or {})[name] == value
    else:
        assert plaid_object(damaged) is None


def test_a_large_object_that_compresses_well_is_stored() -> None:
    document = plaid_transaction(note="n" * 1_000_000)
    assert len(stored(document)["plaid"]) < 10_000
    assert plaid_object(stored(document)) == document


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
