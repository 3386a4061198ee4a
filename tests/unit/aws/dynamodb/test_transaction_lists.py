"""Lists of transactions on the table and its index: orders, filters, and pages while syncs write."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from plaid_sync.aws.dynamodb.expressions import serialize
from plaid_sync.aws.dynamodb.transaction_lists import TransactionLists
from plaid_sync.aws.dynamodb.transactions import row_attributes
from plaid_sync.domain.accounts import Account
from plaid_sync.domain.transaction import parse_transaction

from tests.fakes.api import Api
from tests.fakes.clock import NOON
from tests.fakes.plaid import transaction

if TYPE_CHECKING:
    from plaid_sync.domain.item import ItemId

TABLE = "listed"
ACCOUNTS = ("one", "two", "three")


@pytest.fixture
def client(aws: None) -> Any:  # noqa: ARG001 - the mock has to be up first
    """The table with its index."""
    client = boto3.client("dynamodb")
    keys = ("item_id", "transaction_id"), ("account_id", "date_id")
    schemas = [
        [{"AttributeName": key, "KeyType": kind} for key, kind in zip(pair, ("HASH", "RANGE"), strict=True)]
        for pair in keys
    ]
    client.create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for pair in keys for key in pair],
        KeySchema=schemas[0],
        GlobalSecondaryIndexes=[
            {"IndexName": "by_account", "KeySchema": schemas[1], "Projection": {"ProjectionType": "ALL"}}
        ],
    )
    return client


@dataclass
class Listed:
    """An Item whose rows are in the table, and what a sync does to them."""

    api: Api
    item_id: ItemId
    client: Any
    generation: int = 1
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)

    def write(self, document: dict[str, Any]) -> None:
        row = parse_transaction(document)
        values = row_attributes(row, NOON) | {"generation": self.generation, "first_generation": 1}
        self._put(row.transaction_id, values)
        self.documents[row.transaction_id] = document

    def remove(self, transaction_id: str) -> None:
        self._put(transaction_id, {"generation": self.generation, "removed_at": "2026-06-01T12:00:00.000Z"})
        del self.documents[transaction_id]

    def _put(self, transaction_id: str, values: dict[str, Any]) -> None:
        values = values | {"item_id": self.item_id, "transaction_id": transaction_id}
        self.client.put_item(
            TableName=TABLE, Item={name: serialize(value) for name, value in values.items() if value is not None}
        )

    def claim(self) -> None:
        self.generation += 1
        self.api.tables.items.set(self.item_id, generation=self.generation)

    def ids(self, **query: str) -> list[str]:
        shown = self.api.pages(f"/items/{self.item_id}/transactions", "transactions", **query)
        return [document["transaction_id"] for document in shown]


@pytest.fixture
def listed(client: Any) -> Listed:
    api = Api()
    item_id = api.linked()
    api.ports["transactions"] = TransactionLists(client, TABLE)
    api.tables.items.set(item_id, generation=1, accounts=tuple(map(Account, ACCOUNTS)))
    return Listed(api, item_id, client)


def example(number: int, day: int, **changes: Any) -> dict[str, Any]:
    account_id = ACCOUNTS[number % len(ACCOUNTS)]
    return transaction(f"t{number:02}") | {"date": f"2026-01-{day:02}", "account_id": account_id} | changes


def test_orders_merge_the_accounts_by_date(listed: Listed) -> None:
    for number in range(12):
        listed.write(example(number, 1 + number * 5 % 7))
    by_date = sorted(listed.documents, key=lambda each: (listed.documents[each]["date"], each))
    for limit in ("1", "5", "500"):
        assert listed.ids(order="oldest", limit=limit) == by_date
        assert listed.ids(order="newest", limit=limit) == by_date[::-1]
        assert listed.ids(limit=limit) == sorted(by_date)
    days = {"from": "2026-01-02", "to": "2026-01-04"}
    expected = [each for each in by_date if "2026-01-02" <= listed.documents[each]["date"] <= "2026-01-04"]
    assert (
        listed.ids(order="oldest", limit="2", **days) == listed.ids(order="newest", limit="2", **days)[::-1] == expected
    )
    assert listed.ids(**days) == sorted(expected)


@pytest.mark.parametrize("order", ["id", "newest"])
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"min_amount": "0.3"}, {"t01", "t02"}),
        ({"max_amount": "0.30"}, {"t00", "t01"}),
        ({"min_amount": "-5.00", "max_amount": "-5"}, {"t00"}),
        ({"pending": "true"}, {"t02"}),
        ({"pending": "false", "text": "COFFEE"}, {"t00", "t01"}),
        ({"text": "stra\u00dfe"}, {"t02"}),
        ({"category": "FOOD_AND_DRINK"}, {"t00"}),
        ({"category": "FOOD_AND_DRINK_COFFEE"}, {"t00"}),
        ({"category": "FOOD"}, set()),
        ({"from": "2026-01-02", "to": "2026-01-02"}, {"t01"}),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_list_has_what_its_filter_describes(
    listed: Listed, order: str, query: dict[str, str], expected: set[str]
) -> None:
    category = {"primary": "FOOD_AND_DRINK", "detailed": "FOOD_AND_DRINK_COFFEE"}
    listed.write(example(0, 1, amount=Decimal(-5), name="Coffee", personal_finance_category=category))
    listed.write(example(1, 2, amount=Decimal("0.3"), merchant_name="The coffee house"))
    listed.write(example(2, 3, amount=Decimal("1e2"), original_description="HAUPTSTRASSE 1", pending=True))
    assert set(listed.ids(order=order, limit="1", **query)) == expected


def test_a_page_that_a_filter_empties_says_where_the_next_one_begins(listed: Listed) -> None:
    for number in range(50):
        listed.write(example(number, 1 + number % 20, pending=number == 49))
    page = listed.api.get(f"/items/{listed.item_id}/transactions", limit="1", pending="true")
    assert page["transactions"] == []
    assert listed.ids(limit="1", pending="true") == listed.ids(order="oldest", limit="1", pending="true") == ["t49"]


@pytest.mark.parametrize("order", ["id", "newest", "oldest"])
@pytest.mark.parametrize("seed", range(5))
def test_no_list_has_a_gap_or_a_duplicate_while_syncs_write(listed: Listed, order: str, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - no secret
    for number in range(40):
        listed.write(example(number, chance.randint(1, 28)))
    throughout, query = set(listed.documents), {"order": order, "limit": "6"}
    transactions: list[str] = []
    changed: list[str] = []
    next_number = 40
    while True:
        page = listed.api.get(f"/items/{listed.item_id}/transactions", **query)
        transactions += [each["transaction_id"] for each in page["transactions"]]
        changed += [each["transaction_id"] for each in page.get("changed", ())]
        if "next" not in page:
            break
        query["next"] = page["next"]
        listed.claim()
        for transaction_id in chance.sample(sorted(listed.documents), 5):
            document = listed.documents[transaction_id]
            listed.write(document | {"date": f"2026-01-{chance.randint(1, 28):02}"})
        listed.write(example(next_number, chance.randint(1, 28)))
        next_number += 1
        removed = chance.choice(sorted(listed.documents))
        throughout.discard(removed)
        listed.remove(removed)
    assert len(transactions) == len(set(transactions))
    assert len(changed) == len(set(changed))
    assert throughout <= {*transactions, *changed}
    assert bool(changed) == (order != "id")


def test_an_attempt_that_was_running_when_a_list_began_moves_no_row_out_of_it(listed: Listed) -> None:
    """Its generation is the Item's; so is that of what it writes after the first page."""
    for number in range(6):
        listed.write(example(number, 10 + number))
    listed.claim()
    listed.api.tables.items.set(listed.item_id, unfinished_attempts=1)
    path = f"/items/{listed.item_id}/transactions"
    first = listed.api.get(path, order="newest", limit="3")
    listed.write(example(0, 28))
    listed.write(example(5, 1))
    second = listed.api.get(path, order="newest", limit="3", next=first["next"])
    third = listed.api.get(path, order="newest", limit="3", next=second["next"])
    shown = [[each["transaction_id"] for each in page["transactions"]] for page in (first, second)]
    assert shown == [["t05", "t04", "t03"], ["t02", "t01"]]
    assert [each["transaction_id"] for each in third["changed"]] == ["t00", "t05"]
    assert "next" not in third


def test_an_idle_items_list_has_no_page_of_changes(listed: Listed) -> None:
    listed.write(example(0, 1))
    page = listed.api.get(f"/items/{listed.item_id}/transactions", order="newest")
    assert page.keys() == {"transactions"}
