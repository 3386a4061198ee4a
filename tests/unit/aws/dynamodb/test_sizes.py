"""How many bytes rows take, as DynamoDB counts them: a write of more than 1,024 takes two units, in an index, too."""

from __future__ import annotations

from datetime import date
from random import Random
from statistics import median
from typing import Any

import pytest
import simplejson
from plaid_sync.aws.dynamodb.account_rows import accounts_attribute, accounts_from
from plaid_sync.aws.dynamodb.expressions import serialize
from plaid_sync.aws.dynamodb.transactions import row_attributes
from plaid_sync.domain import exact_json
from plaid_sync.domain.transaction import parse_transaction
from plaid_sync.plaid.responses import parse_account_list

from local.plaid.generator import Generator
from tests.fakes.clock import NOON
from tests.integration.capacity import size_of

ITEM_ID = "eVBnVMp7zdTJLkRNr33Rs6zr7KNJqBFL9DrE6"
LIMIT = 1024
SEEDS = range(5)


def row_bytes(document: object) -> int:
    row = parse_transaction(document)
    numbers = {"generation": 100, "first_generation": 100}
    attributes = row_attributes(row, NOON) | {"item_id": ITEM_ID, "transaction_id": row.transaction_id} | numbers
    size = size_of({name: serialize(value) for name, value in attributes.items() if value is not None})
    assert row.stored_bytes >= size
    return size


def exact(value: object) -> Any:
    """Return what the simulator made as the engine reads it."""
    return exact_json.loads(simplejson.dumps(value, use_decimal=True))


def test_a_row_takes_one_write_unit() -> None:
    histories = (Generator(Random(seed)).history(400, 730, date(2026, 3, 1)) for seed in SEEDS)  # noqa: S311
    sizes = sorted(row_bytes(exact(document)) for history in histories for document in history)
    assert median(sizes) < 570
    assert sizes[len(sizes) * 99 // 100] < 720
    assert sum(size > LIMIT for size in sizes) / len(sizes) < 0.005


DOCUMENTED: dict[str, Any] = {
    "account_id": "BxBXxLj1m4HMXBm9WZZmCWVbPjX16EHwv99vp",
    "account_owner": None,
    "amount": 72.1,
    "authorized_date": "2023-09-22",
    "authorized_datetime": "2023-09-22T10:34:50Z",
    "check_number": None,
    "counterparties": [
        {
            "confidence_level": "VERY_HIGH",
            "entity_id": "O5W5j4dN9OR3E6ypQmjdkWZZRoXEzVMz2ByWM",
            "logo_url": "https://plaid-merchant-logos.plaid.com/walmart_1100.png",
            "name": "Walmart",
            "type": "merchant",
            "website": "walmart.com",
        }
    ],
    "date": "2023-09-24",
    "datetime": "2023-09-24T11:01:01Z",
    "iso_currency_code": "USD",
    "location": {
        "address": "13425 Community Rd",
        "city": "Poway",
        "country": "US",
        "lat": 32.959068,
        "lon": -117.037666,
        "postal_code": "92064",
        "region": "CA",
        "store_number": "1700",
    },
    "logo_url": "https://plaid-merchant-logos.plaid.com/walmart_1100.png",
    "merchant_entity_id": "O5W5j4dN9OR3E6ypQmjdkWZZRoXEzVMz2ByWM",
    "merchant_name": "Walmart",
    "name": "PURCHASE WM SUPERCENTER #1700",
    "payment_channel": "in store",
    "payment_meta": dict.fromkeys(
        (
            *("by_order_of", "payee", "payer", "payment_method"),
            *("payment_processor", "ppd_id", "reason", "reference_number"),
        )
    ),
    "pending": False,
    "pending_transaction_id": "no86Eox18VHMvaOVL7gPUM9ap3aR1LsAVZ5nc",
    "personal_finance_category": {
        "confidence_level": "VERY_HIGH",
        "detailed": "GENERAL_MERCHANDISE_SUPERSTORES",
        "primary": "GENERAL_MERCHANDISE",
    },
    "personal_finance_category_icon_url": "https://plaid-category-icons.plaid.com/PFC_GENERAL_MERCHANDISE.png",
    "transaction_code": None,
    "transaction_id": "lPNjeW1nR6CDn5okmGQ6hEpMo4lLNoSrzqDje",
    "transaction_type": "place",
    "unofficial_currency_code": None,
    "website": "walmart.com",
}
"""The example of https://plaid.com/docs/api/products/transactions/#transactionssync."""
FILLED: dict[str, Any] = {
    "account_owner": "Alberta Bobbeth Charleson",
    "check_number": "1182",
    "category": ["Shops", "Supermarkets and Groceries"],
    "category_id": "19047000",
    "original_description": "WM SUPERCENTER #1700 POWAY CA 09/22 PURCHASE",
    "payment_meta": {
        "by_order_of": "Alberta Charleson",
        "payee": "Walmart Inc.",
        "payer": "A. B. Charleson",
        "payment_method": "ACH",
        "payment_processor": "First Data",
        "ppd_id": "9000013204",
        "reason": "groceries",
        "reference_number": "0930014210",
    },
    "transaction_code": "purchase",
    "client_customization": {"custom_entity_id": "customer-4711"},
    "business_finance_category": {
        "confidence_level": "HIGH",
        "detailed": "OFFICE_SUPPLIES_AND_EQUIPMENT",
        "primary": "OFFICE",
    },
}


@pytest.mark.parametrize(("document", "limit"), [(DOCUMENTED, 720), (DOCUMENTED | FILLED, LIMIT)])
def test_plaids_documented_example_takes_one_write_unit(document: dict[str, Any], limit: int) -> None:
    assert row_bytes(exact(document)) < limit


@pytest.mark.parametrize("seed", SEEDS)
def test_the_accounts_of_an_item_are_a_small_part_of_it(seed: int) -> None:
    """Persistent ids are 64 random digits each, which no dictionary knows; Plaid has them for a few banks only."""
    listed = exact(Generator(Random(seed)).accounts)  # noqa: S311
    accounts = parse_account_list(exact_json.dumps({"accounts": listed}).encode()).accounts
    assert len(accounts) == 5
    attribute = accounts_attribute(accounts)
    assert accounts_from(attribute) == accounts
    assert len(attribute or b"") < 680
    without = [account | {"persistent_account_id": None} for account in listed]
    accounts = parse_account_list(exact_json.dumps({"accounts": without}).encode()).accounts
    assert len(accounts_attribute(accounts) or b"") < 480
