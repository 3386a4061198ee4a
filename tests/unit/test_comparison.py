"""The comparison finds every kind of difference, names it, and finds none in equal tables."""

from __future__ import annotations

import zlib
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
import simplejson

from local.comparison import ABSENT, THE_ITEM, Difference, PlaidItem, Tables, compare

CURSOR = "a final cursor"


def transaction(transaction_id: str, **fields: Any) -> dict[str, Any]:
    return {
        "account_id": "account",
        "amount": Decimal("12.30"),
        "authorized_date": None,
        "date": "2026-11-02",
        "iso_currency_code": "USD",
        "location": {"city": "Boise", "lat": Decimal("43.615")},
        "counterparties": [{"name": "Corner Market"}],
        "merchant_name": "Corner Market",
        "name": "CORNER MARKET 12",
        "payment_channel": "in store",
        "pending": False,
        "pending_transaction_id": None,
        "personal_finance_category": {"primary": "FOOD_AND_DRINK"},
        "transaction_id": transaction_id,
        "unofficial_currency_code": None,
    } | fields


def row(item_id: str, source: dict[str, Any], **attributes: Any) -> dict[str, Any]:
    names = ("account_id", "amount", "date", "iso_currency_code", "merchant_name", "name", "payment_channel")
    return {
        **{name: source[name] for name in (*names, "pending")},
        "category": source["personal_finance_category"]["primary"],
        "date_id": f"{source['date']}#{source['transaction_id']}",
        "generation": Decimal(1),
        "item_id": item_id,
        "plaid": zlib.compress(simplejson.dumps(source, use_decimal=True).encode()),
        "transaction_id": source["transaction_id"],
    } | attributes


def tombstone(item_id: str, transaction_id: str, **attributes: Any) -> dict[str, Any]:
    return {
        "item_id": item_id,
        "transaction_id": transaction_id,
        "removed_at": "2026-11-02T00:00:00.000Z",
        "expires_at": Decimal(1),
    } | attributes


def plaid(item_id: str = "A", *transactions: dict[str, Any], removed: tuple[str, ...] = ()) -> PlaidItem:
    rows = {entry["transaction_id"]: entry for entry in transactions}
    return PlaidItem(item_id, rows, head=9, final_cursors={CURSOR: 9, "older": 4}, removed=frozenset(removed))


def record(item_id: str = "A", **attributes: Any) -> dict[str, Any]:
    return {"item_id": item_id, "state": "active", "cursor": CURSOR} | attributes


def found(truth: list[PlaidItem], rows: list[dict[str, Any]], **tables: Any) -> list[Difference]:
    records = tables.pop("items", [record(item.item_id) for item in truth])
    return compare(truth, Tables(records, rows, **tables)).differences


def test_equal_tables_have_no_differences_and_are_counted() -> None:
    first, second = transaction("t1"), transaction("t2")
    items = [plaid("A", first, second), plaid("B", transaction("t3"))]
    rows = [row("A", first), row("A", second), row("B", transaction("t3")), tombstone("A", "gone")]
    verdict = compare(items, Tables([record("A"), record("B")], rows))
    assert verdict.differences == []
    assert (verdict.in_table, verdict.at_plaid, verdict.changes) == (3, 3, 18)
    assert [(item.in_table, item.at_plaid) for item in verdict.items] == [(2, 2), (1, 1)]


ONE = transaction("t1")


@pytest.mark.parametrize(
    ("truth", "rows", "differences"),
    [
        ([plaid("A", ONE)], [], [("A", "t1", "(row)", "live", ABSENT)]),
        ([plaid("A")], [row("A", ONE)], [("A", "t1", "(row)", ABSENT, "live")]),
        ([plaid("A", removed=("t1",))], [row("A", ONE)], [("A", "t1", "(row)", "removed", "live")]),
        ([plaid("A", ONE)], [tombstone("A", "t1")], [("A", "t1", "(row)", "live", "removed")]),
        (
            [plaid("A", ONE), plaid("B")],
            [row("B", ONE)],
            [("A", "t1", "(row)", "live", ABSENT), ("B", "t1", "item_id", "A", "B")],
        ),
    ],
    ids=["missing", "unknown at Plaid", "live again", "removed too early", "under another Item"],
)
def test_a_row_where_it_does_not_belong_is_named(
    truth: list[PlaidItem], rows: list[dict[str, Any]], differences: list[tuple[str, str, str, object, object]]
) -> None:
    assert found(truth, rows) == [Difference(*difference) for difference in differences]


def test_amounts_are_compared_by_value_and_exactly() -> None:
    truth = transaction("t1", amount=Decimal("0.1"))
    equal = row("A", truth, amount=Decimal("0.10"))
    assert found([plaid("A", truth)], [equal]) == []
    for wrong in ("0.11", "0.1000000000000000055511151231257827", "-0.1"):
        other = row("A", truth, amount=Decimal(wrong))
        assert found([plaid("A", truth)], [other]) == [Difference("A", "t1", "amount", Decimal("0.1"), Decimal(wrong))]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "corner market 12"),
        ("merchant_name", None),
        ("pending", True),
        ("pending", Decimal(0)),
        ("date", "2026-11-03"),
        ("date_id", "2026-11-03#t1"),
        ("account_id", "another"),
        ("category", None),
        ("iso_currency_code", "EUR"),
        ("unofficial_currency_code", "BTC"),
        ("authorized_date", "2026-11-01"),
        ("pending_transaction_id", "p1"),
        ("payment_channel", "online"),
        ("expires_at", Decimal(5)),
    ],
)
def test_a_wrong_attribute_is_named(field: str, value: object) -> None:
    truth = transaction("t1")
    (difference,) = found([plaid("A", truth)], [row("A", truth, **{field: value})])
    assert (difference.transaction_id, difference.field, difference.in_table) == ("t1", field, value)


@pytest.mark.parametrize(
    ("stored", "field"),
    [
        ({"location": {"city": "Boise", "lat": Decimal("43.61")}}, "plaid.location.lat"),
        ({"location": {"city": "Boise"}}, "plaid.location.lat"),
        ({"counterparties": [{"name": "Other"}]}, "plaid.counterparties[0].name"),
        ({"counterparties": []}, "plaid.counterparties"),
        ({"new": None}, "plaid.new"),
    ],
)
def test_a_difference_inside_the_plaid_object_is_named_by_its_place(stored: dict[str, Any], field: str) -> None:
    truth = transaction("t1")
    packed = row("A", transaction("t1", **stored))["plaid"]
    (difference,) = found([plaid("A", truth)], [row("A", truth, plaid=packed)])
    assert difference.field == field


@pytest.mark.parametrize("packed", [None, b"", b"not zlib", zlib.compress(b"not JSON"), zlib.compress(b"[]"), "text"])
def test_a_plaid_object_that_cannot_be_read_is_a_difference(packed: object) -> None:
    truth = transaction("t1")
    (difference,) = found([plaid("A", truth)], [row("A", truth, plaid=packed)])
    assert difference.field == "plaid"


def test_a_tombstone_must_have_left_the_index_and_expire() -> None:
    rows = [tombstone("A", "t1", date_id="2026-11-02#t1"), {**tombstone("A", "t2"), "expires_at": None}]
    del rows[1]["expires_at"]
    fields = [(entry.transaction_id, entry.field) for entry in found([plaid("A")], rows)]
    assert fields == [("t1", "date_id"), ("t2", "expires_at")]


def test_the_tombstone_of_a_transaction_of_an_account_that_is_not_listed_may_stay() -> None:
    kept = {**row("A", transaction("t1")), "removed_at": "2026-11-02T00:00:00.000Z"}
    del kept["date_id"]
    listed = replace(plaid("A"), accounts=frozenset({kept["account_id"]}))
    assert found([plaid("A")], [kept]) == []
    assert [difference.field for difference in found([listed], [kept])] == ["expires_at"]


def test_unknown_items_unregistered_items_and_dead_letters_are_differences() -> None:
    (missing,) = found([plaid("A")], [], items=[])
    assert (missing.item_id, missing.in_table) == ("A", ABSENT)
    (dead_letter,) = found([plaid("A")], [], dead_letters=["a message"])
    assert dead_letter.in_table == "a message"
    verdict = compare([plaid("A")], Tables([{"item_id": "A", "state": "active"}], []))
    assert ([difference.field for difference in verdict.differences], verdict.changes) == (["cursor"], 0)
    differences = found([], [row("X", transaction("t1"))], items=[record("Y")])
    assert [(entry.item_id, entry.transaction_id) for entry in differences] == [("X", "t1"), ("Y", THE_ITEM)]


@pytest.mark.parametrize(
    ("attributes", "field"),
    [
        ({"cursor": "invented"}, "cursor"),
        ({"cursor": "older"}, "cursor"),
        ({"state": "needs_user"}, "state"),
        ({"writing_since": Decimal(3)}, "writing_since"),
        ({"reconcile": True}, "reconcile"),
    ],
)
def test_an_item_that_is_not_at_rest_at_plaids_latest_cursor_is_a_difference(
    attributes: dict[str, Any], field: str
) -> None:
    (difference,) = found([plaid("A")], [], items=[record("A", **attributes)])
    assert (difference.transaction_id, difference.field) == (THE_ITEM, field)
