"""The histories that banks hold: believable, complete, exact, and odd where real ones are."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from functools import partial
from random import Random

import pytest
from plaid.model.transaction import Transaction

from local.plaid import CustomTransaction
from local.plaid.generator import Generator

TODAY = date(2026, 6, 1)
CHANCE = partial(Random, 2)
# In the client's model, but not in what the sandbox sends.
ABSENT = {"business_finance_category", "client_customization", "merchant_category_code", "running_balance"}


@pytest.fixture
def rows() -> list[dict[str, object]]:
    return Generator(CHANCE()).history(400, 180, TODAY)


def test_every_row_has_every_field_of_the_client_model(rows: list[dict[str, object]]) -> None:
    assert {frozenset(row) for row in rows} == {frozenset(Transaction.openapi_types.keys() - ABSENT)}
    beta = Generator(CHANCE(), beta_fields=True).transaction(CustomTransaction(TODAY))
    assert {"merchant_category_code", "running_balance"} <= beta.keys()


def test_exactly_one_currency_code_is_null(rows: list[dict[str, object]]) -> None:
    assert all((row["iso_currency_code"] is None) != (row["unofficial_currency_code"] is None) for row in rows)
    assert {row["iso_currency_code"] for row in rows} > {"USD", "EUR", None}


def test_amounts_are_decimals_of_all_sizes(rows: list[dict[str, object]]) -> None:
    amounts = [row["amount"] for row in rows]
    assert all(isinstance(amount, Decimal) for amount in amounts)
    exact = [amount for amount in amounts if isinstance(amount, Decimal)]
    assert {Decimal("0.1234567"), Decimal("-98765432109.87"), Decimal("0.00")} <= set(exact)
    places = [-int(amount.as_tuple().exponent) for amount in exact]
    assert max(places) == 7
    assert sum(place == 2 for place in places) > len(places) * 0.8


def test_names_are_of_all_scripts_and_lengths(rows: list[dict[str, object]]) -> None:
    names = [str(row["name"]) for row in rows]
    assert any("🍕" in name for name in names)
    assert any("\u0627" in name for name in names)
    assert max(map(len, names)) > 400
    assert any(row["merchant_name"] is None for row in rows)
    assert any(row["merchant_name"] for row in rows)


def test_a_history_covers_its_days_in_order_and_ends_with_some_pending(rows: list[dict[str, object]]) -> None:
    dates = [str(row["date"]) for row in rows]
    assert dates == sorted(dates)
    assert dates[-1] <= TODAY.isoformat()
    assert dates[0] < "2025-12-15"
    pending = [row["pending"] for row in rows]
    assert any(pending[-20:])
    assert not any(pending[:-20])


def test_a_draft_fixes_what_it_says() -> None:
    generator = Generator(CHANCE())
    account_id = generator.accounts[2]["account_id"]
    row = generator.transaction(
        CustomTransaction(
            TODAY, pending=True, account_id=account_id, name="Own name", amount=Decimal("12.5"), iso_currency_code="CHF"
        )
    )
    fixed = ("date", "pending", "account_id", "name", "amount", "iso_currency_code", "unofficial_currency_code")
    assert [row[field] for field in fixed] == [
        "2026-06-01",
        True,
        account_id,
        "Own name",
        Decimal("12.5"),
        "CHF",
        None,
    ]
