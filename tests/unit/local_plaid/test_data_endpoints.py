"""Balances, institutions, the older ways to read transactions, and Items of one login."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from local.plaid import REASONS, CustomTransaction, LinkedItem, Phase, PlaidSimulator, SimulatedClock
from local.plaid.sync import SyncRequest

from .conftest import Receiver, loop

if TYPE_CHECKING:
    from .conftest import Http

PERIOD = {"start_date": "2000-01-01", "end_date": "2030-01-01"}


def balances(http: Http, linked: LinkedItem, path: str = "/accounts/get") -> dict[str, dict[str, Any]]:
    _, answer = http(path, access_token=linked.access_token)
    return {account["account_id"]: account["balances"] for account in answer["accounts"]}


@pytest.mark.parametrize(("number", "sign"), [(0, -1), (2, 1)])
def test_balances_change_with_the_transactions_of_the_account_and_currency(
    http: Http, sim: PlaidSimulator, linked: LinkedItem, number: int, sign: int
) -> None:
    account_id = sim.account_rows(linked.item_id)[number]["account_id"]
    before = balances(http, linked)
    amount, day = Decimal("12.3456789"), sim.clock().date()
    for pending, currency in ((False, "USD"), (True, "USD"), (False, "EUR")):
        custom = CustomTransaction(
            day, pending=pending, account_id=account_id, amount=amount, iso_currency_code=currency
        )
        sim.add_custom_transactions(linked.item_id, [custom])
    after = balances(http, linked)
    assert after[account_id]["current"] - before[account_id]["current"] == sign * amount
    assert after[account_id]["available"] - before[account_id]["available"] == -2 * amount
    assert {key: value for key, value in after.items() if key != account_id} == {
        key: value for key, value in before.items() if key != account_id
    }
    _, page = http("/transactions/sync", access_token=linked.access_token)
    assert {account["account_id"]: account["balances"] for account in page["accounts"]} == after
    assert balances(http, linked, "/accounts/balance/get") == after


def test_transactions_get_pages_through_the_truth_newest_first(
    http: Http, sim: PlaidSimulator, linked: LinkedItem
) -> None:
    rows: list[dict[str, Any]] = []
    total = 1
    while len(rows) < total:
        options = {"count": 50, "offset": len(rows)}
        _, answer = http("/transactions/get", access_token=linked.access_token, options=options, **PERIOD)
        rows += answer["transactions"]
        total = answer["total_transactions"]
    assert {row["transaction_id"]: row for row in rows} == sim.truth(linked.item_id)
    days = [row["date"] for row in rows]
    assert days == sorted(days, reverse=True)
    only: dict[str, Any] = {"account_ids": [rows[0]["account_id"]], "count": 500}
    _, answer = http("/transactions/get", access_token=linked.access_token, options=only, **PERIOD)
    assert {row["account_id"] for row in answer["transactions"]} == set(only["account_ids"])
    day = {"start_date": days[0], "end_date": days[0]}
    _, answer = http("/transactions/get", access_token=linked.access_token, **day)
    assert {row["date"] for row in answer["transactions"]} == {days[0]}


def test_transactions_get_and_recurring_need_a_history(http: Http, sim: PlaidSimulator) -> None:
    token = sim.link_item(transactions=30).access_token
    assert http.error("/transactions/get", access_token=token, **PERIOD) == "PRODUCT_NOT_READY"
    assert http.error("/transactions/recurring/get", access_token=token) == "PRODUCT_NOT_READY"
    backwards = {"start_date": "2026-02-01", "end_date": "2026-01-01"}
    assert http.error("/transactions/get", access_token=token, **backwards) == "INVALID_FIELD"


def test_recurring_streams_consist_of_transactions_of_one_merchant(
    http: Http, sim: PlaidSimulator, linked: LinkedItem
) -> None:
    _, answer = http("/transactions/recurring/get", access_token=linked.access_token)
    streams = answer["inflow_streams"] + answer["outflow_streams"]
    truth = sim.truth(linked.item_id)
    assert streams
    for stream in streams:
        rows = [truth[transaction_id] for transaction_id in stream["transaction_ids"]]
        assert len(rows) >= 3
        assert {(row["account_id"], row["merchant_name"]) for row in rows} == {
            (stream["account_id"], stream["merchant_name"])
        }
        assert (rows[0]["date"], rows[-1]["date"]) == (stream["first_date"], stream["last_date"])
        assert stream["last_amount"]["amount"] == rows[-1]["amount"]
        assert (stream in answer["outflow_streams"]) is (rows[0]["amount"] > 0)


def test_institutions(http: Http) -> None:
    by_id = {"institution_id": "ins_56", "country_codes": ["US"]}
    institution = http("/institutions/get_by_id", **by_id)[1]["institution"]
    assert (institution["name"], institution["oauth"], "status" in institution) == ("Chase", True, False)
    assert "status" in http("/institutions/get_by_id", **by_id, options={"include_status": True})[1]["institution"]
    unknown = {"institution_id": "chase", "country_codes": ["US"]}
    assert http.error("/institutions/get_by_id", **unknown) == "INVALID_INSTITUTION"
    created = {"institution_id": "chase", "initial_products": ["transactions"]}
    assert http.error("/sandbox/public_token/create", **created) == "INVALID_INSTITUTION"
    page = {"count": 2, "offset": 1, "country_codes": ["US"]}
    _, answer = http("/institutions/get", **page)
    assert (len(answer["institutions"]), answer["total"]) == (2, 6)
    _, answer = http("/institutions/get", **page, options={"oauth": True})
    assert answer["total"] == 1
    assert http.error("/institutions/get", count=1, offset=0) == "MISSING_FIELDS"


def test_institutions_have_a_limit_per_client(http: Http, clock: SimulatedClock) -> None:
    page = {"count": 2, "offset": 0, "country_codes": ["US"]}
    assert [http("/institutions/get", **page)[0] for _ in range(11)] == [200] * 10 + [429]
    clock.advance(60)
    assert http("/institutions/get", **page)[0] == 200


@pytest.mark.parametrize("reason", [None, *REASONS])
def test_an_error_can_have_a_reason(http: Http, sim: PlaidSimulator, linked: LinkedItem, reason: str | None) -> None:
    sim.set_item_error(linked.item_id, "ITEM_LOGIN_REQUIRED", reason=reason)
    _, refused = http("/transactions/sync", access_token=linked.access_token)
    _, got = http("/item/get", access_token=linked.access_token)
    webhook = sim.webhooks()[-1].payload["error"]
    assert refused.get("error_code_reason") == reason
    assert got["item"]["error"]["error_code_reason"] == webhook["error_code_reason"] == reason
    sim.repair_login(linked.item_id)
    assert sim.item(linked.item_id).error is None


def test_a_revoked_permission_has_another_type_in_webhooks(http: Http, sim: PlaidSimulator, linked: LinkedItem) -> None:
    sim.set_item_error(linked.item_id, "USER_PERMISSION_REVOKED")
    _, refused = http("/transactions/sync", access_token=linked.access_token)
    types = (refused["error_type"], sim.webhooks()[-1].payload["error"]["error_type"])
    assert types == ("INVALID_INPUT", "ITEM_ERROR")


def content_of(sim: PlaidSimulator, linked: LinkedItem) -> list[tuple[Any, ...]]:
    persistent = {
        account["account_id"]: account["persistent_account_id"] for account in sim.account_rows(linked.item_id)
    }
    return sorted(
        (persistent[row["account_id"]], row["date"], row["name"], row["amount"])
        for row in sim.truth(linked.item_id).values()
    )


def test_a_relinked_login_has_equal_transactions_under_other_ids(sim: PlaidSimulator) -> None:
    first = sim.link_item(transactions=60, phase=Phase.HISTORICAL, login="ana")
    sim.evolve(first.item_id, 1, 40)
    sim.remove_item(first.item_id)
    second = sim.link_item(transactions=60, phase=Phase.HISTORICAL, login="ana")
    other = sim.link_item(transactions=60, phase=Phase.HISTORICAL, login="ben")
    assert content_of(sim, first) == content_of(sim, second) != content_of(sim, other)
    assert not sim.truth(first.item_id).keys() & sim.truth(second.item_id).keys()


def test_sync_can_return_an_unknown_status_and_null_lists(sim: PlaidSimulator, linked: LinkedItem) -> None:
    sim.configure(update_status_unknown=True, null_lists=True)
    (page,) = loop(sim, linked.item_id)
    assert page["transactions_update_status"] == "TRANSACTIONS_UPDATE_STATUS_UNKNOWN"
    assert (page["modified"], page["removed"], bool(page["added"])) == (None, None, True)
    again = sim.sync(sim.item(linked.item_id), SyncRequest(page["next_cursor"]))
    assert [again[kind] for kind in ("added", "modified", "removed")] == [None] * 3


@pytest.mark.parametrize("again", [True, False])
def test_a_retry_is_signed_again_or_has_the_first_token(
    sim: PlaidSimulator, receiver: Receiver, clock: SimulatedClock, *, again: bool
) -> None:
    sim.configure(webhook_retries_signed_again=again)
    item_id = sim.link_item(receiver.url, transactions=3, phase=Phase.HISTORICAL).item_id
    receiver.responses = [(503, {})]
    sim.fire_webhook(item_id, "ITEM", "LOGIN_REPAIRED")
    for _ in range(2):
        sim.run_due()
        clock.advance(600)
    first, second = (
        jwt.decode(webhook.token, options={"verify_signature": False})["iat"] for webhook in receiver.received
    )
    assert second - first == (600 if again else 0)


PRODUCTS = [
    ("auth", "/auth/get", {}, "AUTH"),
    ("holdings", "/investments/holdings/get", {}, "HOLDINGS"),
    ("identity", "/identity/get", {}, "IDENTITY"),
    ("investments_transactions", "/investments/transactions/get", PERIOD, "INVESTMENTS_TRANSACTIONS"),
    ("liabilities", "/liabilities/get", {}, "LIABILITIES"),
    ("recurring", "/transactions/recurring/get", {}, "TRANSACTIONS"),
]


@pytest.mark.parametrize(("product", "path", "body", "webhook_type"), PRODUCTS)
def test_the_data_of_a_product_stays_until_it_is_changed_with_its_webhook(  # noqa: PLR0913, PLR0917 - a row of the table
    http: Http,
    sim: PlaidSimulator,
    clock: SimulatedClock,
    linked: LinkedItem,
    product: str,
    path: str,
    body: dict[str, Any],
    webhook_type: str,
) -> None:
    def data() -> dict[str, Any]:
        status, answer = http(path, access_token=linked.access_token, **body)
        assert status == 200, answer
        return {name: value for name, value in answer.items() if name != "request_id"}

    first = data()
    assert data() == first
    clock.advance(7)
    http.control(f"/items/{linked.item_id}/products", product=product)
    assert data() != first
    assert sim.webhooks(linked.item_id)[-1].payload["webhook_type"] == webhook_type


def test_product_data_is_of_the_accounts_of_the_item(http: Http, linked: LinkedItem) -> None:
    token = linked.access_token
    _, holdings = http("/investments/holdings/get", access_token=token)
    _, listed = http("/accounts/get", access_token=token)
    accounts = {account["account_id"]: account for account in listed["accounts"]}
    brokerage = [account for account in accounts.values() if account["type"] == "investment"]
    assert [account["account_id"] for account in holdings["accounts"]] == [brokerage[0]["account_id"]]
    (security, *_) = holdings["securities"]
    for holding in holdings["holdings"]:
        assert holding["account_id"] == brokerage[0]["account_id"]
        if holding["security_id"] == security["security_id"]:
            assert holding["institution_value"] == holding["quantity"] * security["close_price"]
    _, debts = http("/liabilities/get", access_token=token)
    assert {accounts[card["account_id"]]["type"] for card in debts["liabilities"]["credit"]} == {"credit"}
    _, numbers = http("/auth/get", access_token=token)
    assert {accounts[entry["account_id"]]["type"] for entry in numbers["numbers"]["ach"]} == {"depository"}
    only = {"account_ids": [brokerage[0]["account_id"]]}
    assert http.error("/auth/get", access_token=token, options=only) == "NO_AUTH_ACCOUNTS"
    assert http.error("/liabilities/get", access_token=token, options=only) == "NO_LIABILITY_ACCOUNTS"
    _, owners = http("/identity/get", access_token=token, options=only)
    assert [account["account_id"] for account in owners["accounts"]] == only["account_ids"]


def test_investment_transactions_have_pages_of_a_period_newest_first(http: Http, linked: LinkedItem) -> None:
    rows: list[dict[str, Any]] = []
    total = 1
    while len(rows) < total:
        options = {"count": 15, "offset": len(rows)}
        _, page = http("/investments/transactions/get", access_token=linked.access_token, options=options, **PERIOD)
        rows += page["investment_transactions"]
        total = page["total_investment_transactions"]
    days = [row["date"] for row in rows]
    assert (len(rows), days) == (total, sorted(days, reverse=True))
    assert len({row["investment_transaction_id"] for row in rows}) == total
    day = {"start_date": days[0], "end_date": days[0]}
    _, page = http("/investments/transactions/get", access_token=linked.access_token, **day)
    assert {row["date"] for row in page["investment_transactions"]} == {days[0]}


def test_an_item_in_an_error_state_has_no_product_data(http: Http, sim: PlaidSimulator, linked: LinkedItem) -> None:
    sim.set_item_error(linked.item_id, "ITEM_LOGIN_REQUIRED")
    for _, path, body, _ in PRODUCTS:
        assert http.error(path, access_token=linked.access_token, **body) == "ITEM_LOGIN_REQUIRED"
