"""plaid-python's typed client, with all its type checks, against every response of the local Plaid."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any

import plaid
import pytest
import urllib3
from plaid.api import plaid_api

from local.plaid import Behavior, CustomTransaction, LinkedItem, Phase, PlaidServer, PlaidSimulator
from local.plaid.errors import ERROR_CODES
from local.plaid.webhooks import ITEM_CODES, SANDBOX_CODES, TRANSACTIONS_CODES

if TYPE_CHECKING:
    from collections.abc import Iterator

BEHAVIOR = Behavior(rate_limits=False, initial_seconds=None, historical_seconds=None)
# Nothing listens on the discard port.
NO_RECEIVER = "http://127.0.0.1:9/webhooks/plaid"


def model(name: str) -> Any:
    """Return a model class of plaid-python."""
    return getattr(import_module("plaid.model." + re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()), name)


def camel_case(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


class Client:
    """Each method is one of `PlaidApi`; it builds the typed request from keywords."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self._api = plaid_api.PlaidApi(connection)

    def __getattr__(self, endpoint: str) -> Any:
        request = model(camel_case(endpoint) + "Request")
        return lambda **fields: getattr(self._api, endpoint)(request(**fields))


@pytest.fixture
def sim() -> PlaidSimulator:
    return PlaidSimulator(seed=11, behavior=BEHAVIOR)


@pytest.fixture
def server(sim: PlaidSimulator) -> Iterator[PlaidServer]:
    with PlaidServer(sim) as server:
        yield server


@pytest.fixture
def client(server: PlaidServer) -> Iterator[Client]:
    with connect(server) as connection:
        yield Client(connection)


@pytest.fixture
def linked(sim: PlaidSimulator) -> LinkedItem:
    return sim.link_item(transactions=60, phase=Phase.HISTORICAL)


def connect(server: PlaidServer, secret: str | None = None) -> Any:
    keys = {"clientId": "local-client-id", "secret": secret or server.sim.secret}
    return plaid.ApiClient(plaid.Configuration(host=server.base_url, api_key=keys))


def pull(client: Client, access_token: str, cursor: str = "", count: int = 40) -> list[Any]:
    """Return all pages of one pagination loop."""
    pages = []
    while True:
        pages.append(client.transactions_sync(access_token=access_token, cursor=cursor, count=count))
        if not pages[-1].has_more:
            return pages
        cursor = pages[-1].next_cursor


def error_of(call: Any, **fields: Any) -> dict[str, Any]:
    """Return the body of the exception that a call raises."""
    with pytest.raises(plaid.ApiException) as caught:
        call(**fields)
    body: dict[str, Any] = json.loads(caught.value.body)
    assert caught.value.status == ERROR_CODES[body["error_code"]].status
    assert set(body) == {
        "display_message",
        "documentation_url",
        "error_code",
        "error_message",
        "error_type",
        "request_id",
        "suggested_action",
    }
    return body


def test_an_item_is_linked_read_and_removed(client: Client) -> None:
    options = "SandboxPublicTokenCreateRequestOptions"
    created = client.sandbox_public_token_create(
        institution_id="ins_109508",
        initial_products=[model("Products")("transactions")],
        options=model(options)(webhook=NO_RECEIVER, transactions=model(options + "Transactions")(days_requested=730)),
    )
    linked = client.item_public_token_exchange(public_token=created.public_token)
    item = client.item_get(access_token=linked.access_token).item
    assert (item.item_id, item.webhook) == (linked.item_id, NO_RECEIVER)
    accounts = client.accounts_get(access_token=linked.access_token).accounts
    assert {str(account.type) for account in accounts} == {"depository", "credit"}
    first = model("AccountsGetRequestOptions")(account_ids=[accounts[0].account_id])
    filtered = client.accounts_get(access_token=linked.access_token, options=first).accounts
    assert [account.account_id for account in filtered] == [accounts[0].account_id]
    client.item_remove(access_token=linked.access_token)
    error = error_of(client.item_get, access_token=linked.access_token)
    assert (error["error_type"], error["error_code"]) == ("ITEM_ERROR", "ITEM_NOT_FOUND")


def create_link_token(client: Client, **fields: Any) -> Any:
    return client.link_token_create(
        client_name="Ledger",
        language="en",
        country_codes=[model("CountryCode")("US")],
        user=model("LinkTokenCreateRequestUser")(client_user_id="user-1"),
        **fields,
    )


def test_a_link_token_is_created_and_used(client: Client, sim: PlaidSimulator) -> None:
    created = create_link_token(
        client,
        products=[model("Products")("transactions")],
        transactions=model("LinkTokenTransactions")(days_requested=180),
        webhook=NO_RECEIVER,
    )
    assert created.expiration > datetime.now(UTC)
    linked = client.item_public_token_exchange(public_token=sim.complete_link(created.link_token))
    for _ in range(2):
        sim.advance_phase(linked.item_id)
    first = min(row["date"] for row in sim.truth(linked.item_id).values())
    oldest = datetime.now(UTC).date() - timedelta(days=180)
    assert oldest.isoformat() <= first < (oldest + timedelta(days=30)).isoformat()


@pytest.mark.parametrize("deprecated", [False, True])
def test_a_link_session_parses_in_every_state(client: Client, sim: PlaidSimulator, *, deprecated: bool) -> None:
    sim.configure(link_results_deprecated=deprecated)
    hosted = model("LinkTokenCreateHostedLink")()
    products = [model("Products")("transactions")]
    created = create_link_token(client, products=products, webhook=NO_RECEIVER, hosted_link=hosted)
    assert created.hosted_link_url.startswith("https://")

    def sessions() -> list[Any]:
        token = client.link_token_get(link_token=created.link_token)
        assert (token.link_token, token.metadata.client_name) == (created.link_token, "Ledger")
        assert [str(product) for product in token.metadata.initial_products] == ["transactions"]
        return list(token.link_sessions)

    assert sessions() == []
    sim.open_link(created.link_token)
    (unfinished,) = sessions()
    assert unfinished.finished_at is None
    for code in ("INVALID_CREDENTIALS", None):
        sim.leave_link(created.link_token, code)
        error = (sessions()[0].on_exit if deprecated else sessions()[0].exit).error
        assert (error and error.error_code) == code
    public_token = sim.complete_link(created.link_token)
    finished = sessions()[0]
    assert finished.finished_at >= finished.started_at
    assert [event.event_name for event in finished.events] == ["OPEN", "HANDOFF"]
    added = finished.on_success if deprecated else finished.results.item_add_results[0]
    assert added.public_token == public_token
    metadata = added.metadata if deprecated else added
    assert metadata.institution.institution_id == "ins_109508"
    assert {account.type for account in metadata.accounts} == {"depository", "credit"}


@pytest.mark.parametrize("deprecated", [False, True])
def test_an_item_parses_before_and_after_update_mode(
    client: Client, sim: PlaidSimulator, linked: LinkedItem, *, deprecated: bool
) -> None:
    sim.configure(link_results_deprecated=deprecated)
    sim.warn_expiration(linked.item_id)
    sim.set_item_error(linked.item_id, "USER_PERMISSION_REVOKED")
    revoked = sim.revoke_account(linked.item_id)
    before = client.item_get(access_token=linked.access_token).item
    assert before.error.error_code == "USER_PERMISSION_REVOKED"
    error = error_of(client.accounts_get, access_token=linked.access_token)
    assert error["error_code"] == "USER_PERMISSION_REVOKED"
    update = model("LinkTokenCreateRequestUpdate")(account_selection_enabled=True)
    created = create_link_token(client, access_token=linked.access_token, update=update)
    assert sim.complete_link(created.link_token, new_account=True) is None
    (session,) = client.link_token_get(link_token=created.link_token).link_sessions
    assert session.finished_at is not None
    assert session.on_success is None if deprecated else session.results.item_add_results == []
    after = client.item_get(access_token=linked.access_token).item
    assert after.error is None
    assert after.consent_expiration_time > before.consent_expiration_time
    answer = client.accounts_get(access_token=linked.access_token)
    assert revoked not in {account.account_id for account in answer.accounts}
    assert (len(answer.accounts), answer.item.consent_expiration_time) == (5, after.consent_expiration_time)


def test_every_phase_parses_with_its_update_status(client: Client, sim: PlaidSimulator) -> None:
    linked = sim.link_item(transactions=80, days=200)
    for status in ("NOT_READY", "INITIAL_UPDATE_COMPLETE", "HISTORICAL_UPDATE_COMPLETE"):
        page = pull(client, linked.access_token, count=500)[-1]
        assert str(page.transactions_update_status) == status
        assert len(page.added) == len(sim.truth(linked.item_id))
        sim.advance_phase(linked.item_id)


def test_a_null_cursor_fails_in_this_client_as_with_plaid(client: Client, sim: PlaidSimulator) -> None:
    sim.configure(not_ready_cursor_null=True)
    with pytest.raises(plaid.ApiTypeError):
        pull(client, sim.link_item().access_token)


@pytest.mark.parametrize("spell_out", [False, True])
@pytest.mark.parametrize("beta_fields", [False, True])
def test_a_history_with_edge_cases_parses_and_adds_up_to_the_truth(*, spell_out: bool, beta_fields: bool) -> None:
    sim = PlaidSimulator(seed=3, behavior=Behavior(rate_limits=False, spell_out=spell_out, beta_fields=beta_fields))
    linked = sim.link_item(transactions=150, phase=Phase.HISTORICAL)
    with PlaidServer(sim) as server, connect(server) as connection:
        client = Client(connection)
        pages = pull(client, linked.access_token)
        sim.evolve(linked.item_id, rng=5, steps=120)
        pages += pull(client, linked.access_token, pages[-1].next_cursor, count=17)
    rows: dict[str, Any] = {}
    for page in pages:
        rows |= {row.transaction_id: row for row in [*page.added, *page.modified]}
        for removed in page.removed:
            rows.pop(removed.transaction_id, None)
    truth = sim.truth(linked.item_id)
    assert rows.keys() == truth.keys()
    assert all(row.name == truth[key]["name"] for key, row in rows.items())
    assert all(row.amount == float(truth[key]["amount"]) for key, row in rows.items())
    assert all((row.iso_currency_code is None) != (row.unofficial_currency_code is None) for row in rows.values())
    assert any(row.merchant_name is None for row in rows.values())
    assert any(not row.name.isascii() for row in rows.values())


def test_sync_applies_its_options(client: Client, sim: PlaidSimulator, linked: LinkedItem) -> None:
    account_id = sim.account_rows(linked.item_id)[0]["account_id"]
    options = model("TransactionsSyncRequestOptions")(account_id=account_id, include_original_description=True)
    page = client.transactions_sync(access_token=linked.access_token, options=options)
    assert {row.account_id for row in page.added} == {account_id}
    assert all(row.original_description for row in page.added)
    assert "original_description" not in pull(client, linked.access_token)[0].added[0].to_dict()


def test_custom_and_refreshed_transactions_parse(client: Client, linked: LinkedItem) -> None:
    cursor = pull(client, linked.access_token)[-1].next_cursor
    today = datetime.now(UTC).date()
    entries = [
        model("CustomSandboxTransaction")(
            date_transacted=today, date_posted=today, amount=amount, description=f"Custom {amount}"
        )
        for amount in (12.0, -3.25, 0.1234567)
    ]
    client.sandbox_transactions_create(access_token=linked.access_token, transactions=entries)
    client.transactions_refresh(access_token=linked.access_token)
    amounts = {row.name: row.amount for page in pull(client, linked.access_token, cursor) for row in page.added}
    assert amounts["Custom 0.1234567"] == 0.1234567
    assert {"Custom 12.0", "Custom -3.25"} <= amounts.keys()


def test_an_invalidated_access_token_is_replaced(client: Client, linked: LinkedItem) -> None:
    rotated = client.item_access_token_invalidate(access_token=linked.access_token)
    assert error_of(client.item_get, access_token=linked.access_token)["error_code"] == "INVALID_ACCESS_TOKEN"
    assert client.item_get(access_token=rotated.new_access_token).item.item_id == linked.item_id


def test_the_sandbox_fires_every_code(client: Client, sim: PlaidSimulator, linked: LinkedItem) -> None:
    updated = client.item_webhook_update(access_token=linked.access_token, webhook=NO_RECEIVER)
    assert updated.item.webhook == NO_RECEIVER
    for code in SANDBOX_CODES:
        assert client.sandbox_item_fire_webhook(access_token=linked.access_token, webhook_code=code).webhook_fired
    fired = [delivery.payload["webhook_code"] for delivery in sim.webhooks()]
    assert fired == ["WEBHOOK_UPDATE_ACKNOWLEDGED", *SANDBOX_CODES]
    assert client.item_get(access_token=linked.access_token).status.last_webhook.code_sent == fired[-1]


class Body:
    """What ApiClient.deserialize reads."""

    def __init__(self, data: bytes) -> None:
        self.data = data.decode()


@pytest.mark.parametrize("code", TRANSACTIONS_CODES + ITEM_CODES)
def test_every_webhook_parses_as_the_model_of_its_code(client: Client, sim: PlaidSimulator, code: str) -> None:
    linked = sim.link_item(NO_RECEIVER, transactions=3, phase=Phase.HISTORICAL)
    webhook_type = "ITEM" if code in ITEM_CODES else "TRANSACTIONS"
    name = {"ERROR": "ItemError", "LOGIN_REPAIRED": "ItemLoginRepaired"}.get(code, camel_case(code)) + "Webhook"
    assert sim.fire_webhook(linked.item_id, webhook_type, code)
    parsed = client.connection.deserialize(Body(sim.webhooks()[-1].body), (model(name),), _check_type=True)
    assert (parsed.webhook_type, parsed.webhook_code, parsed.item_id) == (webhook_type, code, linked.item_id)
    assert str(parsed.environment) == "sandbox"


def test_an_item_requires_login_until_it_is_repaired(client: Client, sim: PlaidSimulator, linked: LinkedItem) -> None:
    assert client.sandbox_item_reset_login(access_token=linked.access_token).reset_login
    error = error_of(client.transactions_sync, access_token=linked.access_token)
    assert error["error_code"] == "ITEM_LOGIN_REQUIRED"
    assert client.item_get(access_token=linked.access_token).item.error.error_code == "ITEM_LOGIN_REQUIRED"
    sim.repair_login(linked.item_id)
    assert client.transactions_sync(access_token=linked.access_token).added


def test_keys_parse_before_and_after_they_expire(client: Client, sim: PlaidSimulator) -> None:
    old = sim.keys.current.kid
    assert client.webhook_verification_key_get(key_id=old).key.expired_at is None
    new = sim.rotate_keys()
    assert isinstance(client.webhook_verification_key_get(key_id=old).key.expired_at, int)
    assert client.webhook_verification_key_get(key_id=new).key.kid == new


@pytest.mark.parametrize(
    ("endpoint", "fields", "code"),
    [
        ("webhook_verification_key_get", {"key_id": "unknown"}, "INVALID_WEBHOOK_VERIFICATION_KEY_ID"),
        ("link_token_get", {"link_token": "link-sandbox-unknown"}, "INVALID_LINK_TOKEN"),
    ],
)
def test_an_unknown_key_or_link_token_is_an_invalid_input(
    client: Client, endpoint: str, fields: dict[str, str], code: str
) -> None:
    error = error_of(getattr(client, endpoint), **fields)
    assert (error["error_type"], error["error_code"]) == ("INVALID_INPUT", code)


@pytest.mark.parametrize("code", sorted(ERROR_CODES))
def test_every_error_is_an_exception_with_its_body(client: Client, sim: PlaidSimulator, code: str) -> None:
    linked = sim.link_item(transactions=2, phase=Phase.HISTORICAL)
    sim.inject_fault("/transactions/sync", code)
    assert error_of(client.transactions_sync, access_token=linked.access_token)["error_code"] == code
    assert client.transactions_sync(access_token=linked.access_token).added


def test_wrong_credentials_are_rejected(server: PlaidServer, linked: LinkedItem) -> None:
    with connect(server, secret="someone-elses") as connection:
        error = error_of(Client(connection).item_get, access_token=linked.access_token)
    assert error["error_code"] == "INVALID_API_KEYS"


def test_a_dropped_connection_and_a_proxys_error_page_raise(
    client: Client, sim: PlaidSimulator, linked: LinkedItem
) -> None:
    sim.inject_fault("/item/get", status=502, body="<html>Bad Gateway</html>")
    with pytest.raises(plaid.ApiException) as caught:
        client.item_get(access_token=linked.access_token)
    assert (caught.value.status, caught.value.body) == (502, "<html>Bad Gateway</html>")
    sim.inject_fault("/item/remove", drop="after")
    with pytest.raises(urllib3.exceptions.HTTPError):
        client.item_remove(access_token=linked.access_token)
    assert sim.item(linked.item_id).removed


def test_dates_parse_as_dates(client: Client, sim: PlaidSimulator, linked: LinkedItem) -> None:
    day = date(2026, 2, 3)
    (added,) = sim.add_custom_transactions(linked.item_id, [CustomTransaction(day, pending=True)])
    rows = {row.transaction_id: row for page in pull(client, linked.access_token) for row in page.added}
    assert (rows[added].date, rows[added].pending) == (day, True)
