"""Generated histories: plausible, complete and exact, with edge cases."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from functools import partial
from random import Random

import pytest
from plaid.model.transaction import Transaction

from local.plaid import CustomTransaction
from local.plaid.generator import Generator

SEEDED = partial(Random, 2)
TODAY = date(2026, 6, 1)
# In the client's model, but not in what the sandbox sends.
ABSENT = {"business_finance_category", "client_customization", "merchant_category_code", "running_balance"}


@pytest.fixture
def rows() -> list[dict[str, object]]:
    return Generator(SEEDED()).history(400, 180, TODAY)


def test_every_transaction_has_every_field_of_the_client_model(rows: list[dict[str, object]]) -> None:
    assert {frozenset(row) for row in rows} == {frozenset(Transaction.openapi_types.keys() - ABSENT)}
    beta = Generator(SEEDED(), beta_fields=True).transaction(CustomTransaction(TODAY))
    assert {"merchant_category_code", "running_balance"} <= beta.keys()


def test_amounts_are_decimals_of_all_sizes(rows: list[dict[str, object]]) -> None:
    amounts = [row["amount"] for row in rows if isinstance(row["amount"], Decimal)]
    assert len(amounts) == len(rows)
    assert {Decimal("0.1234567"), Decimal("-98765432109.87"), Decimal("0.00")} <= set(amounts)
    places = [-int(amount.as_tuple().exponent) for amount in amounts]
    assert max(places) == 7
    assert sum(place == 2 for place in places) > len(places) * 0.8


def test_a_history_is_in_order_and_only_its_end_is_pending(rows: list[dict[str, object]]) -> None:
    dates = [str(row["date"]) for row in rows]
    assert dates == sorted(dates)
    assert dates[0] < "2025-12-15" < dates[-1] <= TODAY.isoformat()
    pending = [row["pending"] for row in rows]
    assert (any(pending[-20:]), any(pending[:-20])) == (True, False)


def test_a_custom_transaction_keeps_its_fields() -> None:
    generator = Generator(SEEDED())
    account_id = generator.accounts[2]["account_id"]
    custom = {
        "pending": True,
        "account_id": account_id,
        "name": "Custom name",
        "amount": Decimal("12.5"),
        "iso_currency_code": "CHF",
    }
    row = generator.transaction(CustomTransaction(TODAY, **custom))
    assert {**custom, "date": "2026-06-01", "unofficial_currency_code": None}.items() <= row.items()
