"""The arithmetic of a month's bill."""

from __future__ import annotations

from decimal import Decimal

from plaid_sync_cli.costing import Line, Quantity, Workload, bill, cents, expected, total
from plaid_sync_cli.prices import LAMBDA_GB_SECOND, LOOKED_UP, UNCONFIRMED, WRITE_UNIT


def test_a_line_is_quantity_times_price() -> None:
    assert Line("writes", Quantity(Decimal(2_000_000), "two million"), WRITE_UNIT).dollars == Decimal("1.25")
    assert cents(Line("time", Quantity(Decimal(1_000_000), ""), LAMBDA_GB_SECOND).dollars) == Decimal("13.33")


def test_the_bill_has_the_largest_line_first_and_sums_up() -> None:
    lines = bill(expected(10_000))
    assert [line.dollars for line in lines] == sorted((line.dollars for line in lines), reverse=True)
    assert total(lines) == cents(sum((line.dollars for line in lines), Decimal(0)))


def test_what_grows_with_the_items_grows_with_them_and_the_rest_stays() -> None:
    one, ten = ({line.name: line.dollars for line in bill(expected(items))} for items in (1_000, 10_000))
    fixed = {"Metrics", "Alarms", "Composite alarms", "Dashboard", "Keys", "Secret of Plaid's keys"}
    assert {name for name in one if one[name] == ten[name]} == fixed
    reads = {"DynamoDB reads"}  # the sample of the daily audit does not grow
    assert all(ten[name] == 10 * one[name] for name in one.keys() - fixed - reads)
    assert one["DynamoDB reads"] < ten["DynamoDB reads"] < 10 * one["DynamoDB reads"]


def test_what_was_not_looked_up_says_so() -> None:
    lines = bill(expected(10))
    looked_up = {line.name for line in lines if line.price.standing == LOOKED_UP}
    assert looked_up == {
        *("API Gateway", "Lambda requests", "Lambda time"),
        *("DynamoDB writes", "DynamoDB reads", "DynamoDB storage"),
    }
    assert {line.price.standing for line in lines} == {LOOKED_UP, UNCONFIRMED}


def test_the_quantities_are_those_of_the_workload() -> None:
    usage = expected(100, Workload(webhooks=10, syncs=5, changes=20, rows=1_000, row_bytes=2_000))
    assert usage.api_requests.value == 1_000
    assert usage.queue_requests.value == 1_500
    assert usage.write_units.value == 100 * (20 * 4 + 5 * 6 + 10)
    assert usage.stored_gb.value == Decimal("0.2")
    assert "100 Items x 10 webhooks" in usage.api_requests.formula
