"""plaid-python's typed client, with all its type checks, against every response of the local Plaid."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import plaid
import pytest
from plaid.api import plaid_api

from local.plaid import Behavior, LinkedItem, Phase, PlaidServer, PlaidSimulator
from local.plaid.errors import ERROR_CODES
from local.plaid.webhooks import ITEM_CODES, SANDBOX_CODES, TRANSACTIONS_CODES

if TYPE_CHECKING:
    from collections.abc import Iterator

# Nothing listens on the discard port.
NO_RECEIVER = "http://127.0.0.1:9/webhooks/plaid"
LINK = {"client_name": "Ledger", "language": "en", "country_codes": ["US"], "user": {"client_user_id": "user-1"}}


def camel_case(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


class Client:
    """Each method is one of `PlaidApi`; it builds the typed request from keywords."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self._api = plaid_api.PlaidApi(connection)

    def __getattr__(self, endpoint: str) -> Any:
        request = camel_case(endpoint) + "Request"
        return lambda **fields: getattr(self._api, endpoint)(self.parse(json.dumps(fields), request))

    def parse(self, text: str, name: str) -> Any:
        """Return a document as a model of plaid-python."""
        model = getattr(import_module("plaid.model." + re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()), name)
        return self.connection.deserialize(SimpleNamespace(data=text), (model,), _check_type=True)


@pytest.fixture
def sim() -> PlaidSimulator:
    return PlaidSimulator(seed=11, behavior=Behavior(rate_limits=False, initial_seconds=None, historical_seconds=None))


@pytest.fixture
def client(sim: PlaidSimulator) -> Iterator[Client]:
    keys = {"clientId": "local-client-id", "secret": sim.secret}
    with PlaidServer(sim) as server:
        configuration = plaid.Configuration(host=server.base_url, api_key=keys)
        with plaid.ApiClient(configuration) as connection:
            yield Client(connection)


@pytest.fixture
def linked(sim: PlaidSimulator) -> LinkedItem:
    return sim.link_item(transactions=60, phase=Phase.HISTORICAL)


def pull(client: Client, access_token: str, cursor: str = "", count: int = 40) -> list[Any]:
    pages = []
    while True:
        pages.append(client.transactions_sync(access_token=access_token, cursor=cursor, count=count))
        if not pages[-1].has_more:
            return pages
        cursor = pages[-1].next_cursor


def error_of(call: Any, **fields: Any) -> str:
    """Return the error code of the exception that a call raises, whose body is complete."""
    with pytest.raises(plaid.ApiException) as caught:
        call(**fields)
    body: dict[str, Any] = json.loads(caught.value.body)
    optional = {"display_message", "documentation_url", "suggested_action"}
    assert body.keys() == {"error_code", "error_message", "error_type", "request_id"} | optional
    assert caught.value.status == ERROR_CODES[body["error_code"]].status
    return str(body["error_code"])


def test_an_item_is_linked_read_and_removed(client: Client) -> None:
    options = {"webhook": NO_RECEIVER, "transactions": {"days_requested": 730}}
    created = client.sandbox_public_token_create(
        institution_id="ins_109508", initial_products=["transactions"], options=options
    )
    linked = client.item_public_token_exchange(public_token=created.public_token)
    token = client.item_access_token_invalidate(access_token=linked.access_token).new_access_token
    assert error_of(client.item_get, access_token=linked.access_token) == "INVALID_ACCESS_TOKEN"
    item = client.item_get(access_token=token).item
    assert (item.item_id, item.webhook) == (linked.item_id, NO_RECEIVER)
    accounts = client.accounts_get(access_token=token).accounts
    assert {str(account.type) for account in accounts} == {"depository", "credit"}
    client.item_remove(access_token=token)
    assert error_of(client.item_get, access_token=token) == "ITEM_NOT_FOUND"


@pytest.mark.parametrize("deprecated", [False, True])
def test_a_link_session_parses_in_every_state(client: Client, sim: PlaidSimulator, *, deprecated: bool) -> None:
    sim.configure(link_results="deprecated" if deprecated else "full")
    options = {"transactions": {"days_requested": 180}, "webhook": NO_RECEIVER, "hosted_link": {}}
    created = client.link_token_create(**LINK, products=["transactions"], **options)
    assert created.expiration > datetime.now(UTC)
    assert created.hosted_link_url.startswith("https://")

    def sessions() -> list[Any]:
        token = client.link_token_get(link_token=created.link_token)
        assert (token.link_token, token.metadata.client_name) == (created.link_token, "Ledger")
        return list(token.link_sessions)

    assert sessions() == []
    sim.open_link(created.link_token)
    assert sessions()[0].finished_at is None
    for code in ("INVALID_CREDENTIALS", None):
        sim.leave_link(created.link_token, code)
        error = (sessions()[0].on_exit if deprecated else sessions()[0].exit).error
        assert (error and error.error_code) == code
    public_token = sim.complete_link(created.link_token)
    finished = sessions()[0]
    assert finished.finished_at >= finished.started_at
    assert [event.event_name for event in finished.events] == ["HANDOFF", "OPEN"]
    added = finished.on_success if deprecated else finished.results.item_add_results[0]
    assert added.public_token == public_token
    metadata = added.metadata if deprecated else added
    assert metadata.institution.institution_id == "ins_109508"
    assert {account.type for account in metadata.accounts} == {"depository", "credit"}
    assert error_of(client.link_token_get, link_token="link-sandbox-unknown") == "INVALID_LINK_TOKEN"


@pytest.mark.parametrize("deprecated", [False, True])
def test_an_item_parses_before_and_after_update_mode(
    client: Client, sim: PlaidSimulator, linked: LinkedItem, *, deprecated: bool
) -> None:
    sim.configure(link_results="deprecated" if deprecated else "full")
    sim.warn_expiration(linked.item_id)
    sim.set_item_error(linked.item_id, "USER_PERMISSION_REVOKED")
    token = linked.access_token
    before = client.item_get(access_token=token).item
    assert before.error.error_code == error_of(client.accounts_get, access_token=token) == "USER_PERMISSION_REVOKED"
    created = client.link_token_create(**LINK, access_token=token, update={"account_selection_enabled": True})
    assert sim.complete_link(created.link_token, new_account=True) is None
    (session,) = client.link_token_get(link_token=created.link_token).link_sessions
    assert "on_success" not in session
    assert deprecated or session.results.item_add_results == []
    after = client.accounts_get(access_token=token).item
    assert after.error is None
    assert after.consent_expiration_time > before.consent_expiration_time


@pytest.mark.parametrize("beta_fields", [False, True])
def test_a_history_with_edge_cases_parses_and_adds_up_to_the_truth(
    client: Client, sim: PlaidSimulator, *, beta_fields: bool
) -> None:
    sim.configure(spell_out=beta_fields, beta_fields=beta_fields)
    linked = sim.link_item(transactions=150)
    pages: list[Any] = []
    for status in ("NOT_READY", "INITIAL_UPDATE_COMPLETE", "HISTORICAL_UPDATE_COMPLETE"):
        pages = pull(client, linked.access_token, count=500)
        assert str(pages[-1].transactions_update_status) == status
        sim.advance_phase(linked.item_id)
    sim.evolve(linked.item_id, rng=5, steps=60)
    pages += pull(client, linked.access_token, pages[-1].next_cursor, count=17)
    rows: dict[str, Any] = {}
    for page in pages:
        rows |= {row.transaction_id: row for row in [*page.added, *page.modified]}
        for removed in page.removed:
            rows.pop(removed.transaction_id, None)
    truth = sim.truth(linked.item_id)
    assert rows.keys() == truth.keys()
    for key, row in rows.items():
        assert (row.name, row.date.isoformat()) == (truth[key]["name"], truth[key]["date"])
        assert row.amount == float(truth[key]["amount"])
        assert (row.iso_currency_code is None) != (row.unofficial_currency_code is None)
    assert any(row.merchant_name is None for row in rows.values())
    assert any(not row.name.isascii() for row in rows.values())


def test_sync_applies_its_options_and_the_sandbox_creates_transactions(
    client: Client, sim: PlaidSimulator, linked: LinkedItem
) -> None:
    token, account_id = linked.access_token, sim.account_rows(linked.item_id)[0]["account_id"]
    options = {"account_id": account_id, "include_original_description": True}
    page = client.transactions_sync(access_token=token, options=options)
    assert {row.account_id for row in page.added} == {account_id}
    assert all(row.original_description for row in page.added)
    cursor = pull(client, token)[-1].next_cursor
    today = datetime.now(UTC).date().isoformat()
    entry = {"date_transacted": today, "date_posted": today, "amount": 0.1234567, "description": "Custom"}
    client.sandbox_transactions_create(access_token=token, transactions=[entry])
    client.transactions_refresh(access_token=token)
    added = [row for page in pull(client, token, cursor) for row in page.added]
    assert ("Custom", 0.1234567) in [(row.name, row.amount) for row in added]
    assert "original_description" not in added[0].to_dict()


def test_the_sandbox_fires_every_code_and_resets_a_login(
    client: Client, sim: PlaidSimulator, linked: LinkedItem
) -> None:
    token = linked.access_token
    assert client.item_webhook_update(access_token=token, webhook=NO_RECEIVER).item.webhook == NO_RECEIVER
    for code in SANDBOX_CODES:
        assert client.sandbox_item_fire_webhook(access_token=token, webhook_code=code).webhook_fired
    fired = [delivery.payload["webhook_code"] for delivery in sim.webhooks()]
    assert fired == ["WEBHOOK_UPDATE_ACKNOWLEDGED", *SANDBOX_CODES]
    assert client.item_get(access_token=token).status.last_webhook.code_sent == fired[-1]
    assert client.sandbox_item_reset_login(access_token=token).reset_login
    assert error_of(client.transactions_sync, access_token=token) == "ITEM_LOGIN_REQUIRED"


@pytest.mark.parametrize("code", TRANSACTIONS_CODES + ITEM_CODES)
def test_every_webhook_parses_as_the_model_of_its_code(client: Client, sim: PlaidSimulator, code: str) -> None:
    linked = sim.link_item(NO_RECEIVER, transactions=3, phase=Phase.HISTORICAL)
    webhook_type = "ITEM" if code in ITEM_CODES else "TRANSACTIONS"
    name = {"ERROR": "ItemError", "LOGIN_REPAIRED": "ItemLoginRepaired"}.get(code, camel_case(code)) + "Webhook"
    assert sim.fire_webhook(linked.item_id, webhook_type, code)
    parsed = client.parse(sim.webhooks()[-1].body.decode(), name)
    assert (parsed.webhook_type, parsed.webhook_code, parsed.item_id) == (webhook_type, code, linked.item_id)
    assert str(parsed.environment) == "sandbox"


def test_keys_parse_before_and_after_they_expire(client: Client, sim: PlaidSimulator) -> None:
    old = sim.keys.current.kid
    assert client.webhook_verification_key_get(key_id=old).key.expired_at is None
    new = sim.rotate_keys()
    assert isinstance(client.webhook_verification_key_get(key_id=old).key.expired_at, int)
    assert client.webhook_verification_key_get(key_id=new).key.kid == new
    unknown = error_of(client.webhook_verification_key_get, key_id="unknown")
    assert unknown == "INVALID_WEBHOOK_VERIFICATION_KEY_ID"


def test_every_error_is_an_exception_with_its_body(client: Client, sim: PlaidSimulator, linked: LinkedItem) -> None:
    for code in ERROR_CODES:
        sim.inject_fault("/transactions/sync", code)
        assert error_of(client.transactions_sync, access_token=linked.access_token) == code


def test_the_data_of_other_products_parses(client: Client, linked: LinkedItem) -> None:
    token = {"access_token": linked.access_token}
    holdings = client.investments_holdings_get(**token)
    securities = {security.security_id for security in holdings.securities}
    assert {holding.security_id for holding in holdings.holdings} == securities
    period = {"start_date": "2000-01-01", "end_date": "2030-01-01"}
    trades = client.investments_transactions_get(**token, **period, options={"count": 3})
    assert len(trades.investment_transactions) == 3 < trades.total_investment_transactions
    (card,) = client.liabilities_get(**token).liabilities.credit
    checking, *_, brokerage = client.accounts_get(**token).accounts
    assert (str(checking.type), str(brokerage.type)) == ("depository", "investment")
    assert card.account_id not in {checking.account_id, brokerage.account_id}
    assert checking.account_id in {numbers.account_id for numbers in client.auth_get(**token).numbers.ach}
    assert client.identity_get(**token).accounts[0].owners[0].names
    assert client.accounts_balance_get(**token).accounts[0].balances.current is not None
    assert client.transactions_recurring_get(**token).outflow_streams is not None
