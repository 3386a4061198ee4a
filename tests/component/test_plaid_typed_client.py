"""plaid-python's typed client, with all its type checks, against every answer that the local Plaid can give."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import plaid
import pytest
import urllib3
from plaid.api import plaid_api
from plaid.model.accounts_get_request import AccountsGetRequest
from plaid.model.accounts_get_request_options import AccountsGetRequestOptions
from plaid.model.country_code import CountryCode
from plaid.model.custom_sandbox_transaction import CustomSandboxTransaction
from plaid.model.default_update_webhook import DefaultUpdateWebhook
from plaid.model.historical_update_webhook import HistoricalUpdateWebhook
from plaid.model.initial_update_webhook import InitialUpdateWebhook
from plaid.model.item_access_token_invalidate_request import ItemAccessTokenInvalidateRequest
from plaid.model.item_error_webhook import ItemErrorWebhook
from plaid.model.item_get_request import ItemGetRequest
from plaid.model.item_login_repaired_webhook import ItemLoginRepairedWebhook
from plaid.model.item_public_token_exchange_request import ItemPublicTokenExchangeRequest
from plaid.model.item_remove_request import ItemRemoveRequest
from plaid.model.item_webhook_update_request import ItemWebhookUpdateRequest
from plaid.model.link_token_create_hosted_link import LinkTokenCreateHostedLink
from plaid.model.link_token_create_request import LinkTokenCreateRequest
from plaid.model.link_token_create_request_update import LinkTokenCreateRequestUpdate
from plaid.model.link_token_create_request_user import LinkTokenCreateRequestUser
from plaid.model.link_token_get_request import LinkTokenGetRequest
from plaid.model.link_token_transactions import LinkTokenTransactions
from plaid.model.new_accounts_available_webhook import NewAccountsAvailableWebhook
from plaid.model.pending_disconnect_webhook import PendingDisconnectWebhook
from plaid.model.pending_expiration_webhook import PendingExpirationWebhook
from plaid.model.products import Products
from plaid.model.recurring_transactions_update_webhook import RecurringTransactionsUpdateWebhook
from plaid.model.sandbox_item_fire_webhook_request import SandboxItemFireWebhookRequest
from plaid.model.sandbox_item_reset_login_request import SandboxItemResetLoginRequest
from plaid.model.sandbox_public_token_create_request import SandboxPublicTokenCreateRequest
from plaid.model.sandbox_public_token_create_request_options import SandboxPublicTokenCreateRequestOptions
from plaid.model.sandbox_public_token_create_request_options_transactions import (
    SandboxPublicTokenCreateRequestOptionsTransactions,
)
from plaid.model.sandbox_transactions_create_request import SandboxTransactionsCreateRequest
from plaid.model.sync_updates_available_webhook import SyncUpdatesAvailableWebhook
from plaid.model.transactions_refresh_request import TransactionsRefreshRequest
from plaid.model.transactions_removed_webhook import TransactionsRemovedWebhook
from plaid.model.transactions_sync_request import TransactionsSyncRequest
from plaid.model.transactions_sync_request_options import TransactionsSyncRequestOptions
from plaid.model.user_account_revoked_webhook import UserAccountRevokedWebhook
from plaid.model.user_permission_revoked_webhook import UserPermissionRevokedWebhook
from plaid.model.webhook_update_acknowledged_webhook import WebhookUpdateAcknowledgedWebhook
from plaid.model.webhook_verification_key_get_request import WebhookVerificationKeyGetRequest

from local.plaid import Behavior, CustomTransaction, LinkedItem, Phase, PlaidServer, PlaidSimulator
from local.plaid.errors import ERROR_CODES
from local.plaid.webhooks import SANDBOX_CODES

if TYPE_CHECKING:
    from collections.abc import Iterator

BEHAVIOR = Behavior(rate_limits=False, initial_seconds=None, historical_seconds=None)
# Nothing listens on the discard port: these tests look at answers, not at webhooks.
NOWHERE = "http://127.0.0.1:9/webhooks/plaid"


@pytest.fixture
def sim() -> PlaidSimulator:
    return PlaidSimulator(seed=11, behavior=BEHAVIOR)


@pytest.fixture
def server(sim: PlaidSimulator) -> Iterator[PlaidServer]:
    with PlaidServer(sim) as server:
        yield server


@pytest.fixture
def client(server: PlaidServer) -> Iterator[Any]:
    with connect(server) as connection:
        yield plaid_api.PlaidApi(connection)


def connect(server: PlaidServer, secret: str | None = None) -> Any:
    keys = {"clientId": "local-client-id", "secret": secret or server.sim.secret}
    return plaid.ApiClient(plaid.Configuration(host=server.base_url, api_key=keys))


def ready(sim: PlaidSimulator, transactions: int = 60) -> LinkedItem:
    return sim.link_item(transactions=transactions, phase=Phase.HISTORICAL)


def pull(client: Any, access_token: str, cursor: str = "", count: int = 40) -> list[Any]:
    pages = []
    while True:
        request = TransactionsSyncRequest(access_token=access_token, cursor=cursor, count=count)
        pages.append(client.transactions_sync(request))
        if not pages[-1].has_more:
            return pages
        cursor = pages[-1].next_cursor


def refused(call: Any, request: Any) -> dict[str, Any]:
    with pytest.raises(plaid.ApiException) as caught:
        call(request)
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


def test_an_item_is_linked_read_and_removed(client: Any) -> None:
    created = client.sandbox_public_token_create(
        SandboxPublicTokenCreateRequest(
            institution_id="ins_109508",
            initial_products=[Products("transactions")],
            options=SandboxPublicTokenCreateRequestOptions(
                webhook=NOWHERE,
                transactions=SandboxPublicTokenCreateRequestOptionsTransactions(days_requested=730),
            ),
        )
    )
    linked = client.item_public_token_exchange(ItemPublicTokenExchangeRequest(public_token=created.public_token))
    shown = client.item_get(ItemGetRequest(access_token=linked.access_token))
    assert shown.item.item_id == linked.item_id
    assert shown.item.webhook == NOWHERE
    accounts = client.accounts_get(AccountsGetRequest(access_token=linked.access_token)).accounts
    assert {str(account.type) for account in accounts} == {"depository", "credit"}
    one = AccountsGetRequestOptions(account_ids=[accounts[0].account_id])
    chosen = client.accounts_get(AccountsGetRequest(access_token=linked.access_token, options=one)).accounts
    assert [account.account_id for account in chosen] == [accounts[0].account_id]
    client.item_remove(ItemRemoveRequest(access_token=linked.access_token))
    gone = refused(client.item_get, ItemGetRequest(access_token=linked.access_token))
    assert (gone["error_type"], gone["error_code"]) == ("ITEM_ERROR", "ITEM_NOT_FOUND")


def create_link_token(client: Any, **fields: Any) -> Any:
    asked = {
        "client_name": "Ledger",
        "language": "en",
        "country_codes": [CountryCode("US")],
        "user": LinkTokenCreateRequestUser(client_user_id="user-1"),
        **fields,
    }
    return client.link_token_create(LinkTokenCreateRequest(**asked))


def test_a_link_token_is_created_and_used(client: Any, sim: PlaidSimulator) -> None:
    created = create_link_token(
        client,
        products=[Products("transactions")],
        transactions=LinkTokenTransactions(days_requested=180),
        webhook=NOWHERE,
    )
    assert created.expiration > datetime.now(UTC)
    public_token = sim.complete_link(created.link_token)
    assert public_token is not None
    linked = client.item_public_token_exchange(ItemPublicTokenExchangeRequest(public_token=public_token))
    sim.advance_phase(linked.item_id)
    sim.advance_phase(linked.item_id)
    dates = [row["date"] for row in sim.truth(linked.item_id).values()]
    oldest = datetime.now(UTC).date() - timedelta(days=180)
    assert min(dates) >= oldest.isoformat()
    assert min(dates) < (oldest + timedelta(days=30)).isoformat()


@pytest.mark.parametrize("deprecated", [False, True])
def test_every_form_of_a_session_parses(client: Any, sim: PlaidSimulator, *, deprecated: bool) -> None:
    sim.configure(link_results_deprecated=deprecated)
    created = create_link_token(
        client, products=[Products("transactions")], webhook=NOWHERE, hosted_link=LinkTokenCreateHostedLink()
    )
    assert created.hosted_link_url.startswith("https://")

    def sessions() -> list[Any]:
        shown = client.link_token_get(LinkTokenGetRequest(link_token=created.link_token))
        assert (shown.link_token, shown.metadata.client_name) == (created.link_token, "Ledger")
        assert [str(product) for product in shown.metadata.initial_products] == ["transactions"]
        return list(shown.link_sessions)

    assert sessions() == []
    sim.open_link(created.link_token)
    (unfinished,) = sessions()
    assert unfinished.finished_at is None
    sim.leave_link(created.link_token, "INVALID_CREDENTIALS")
    (left,) = sessions()
    assert (left.on_exit if deprecated else left.exit).error.error_code == "INVALID_CREDENTIALS"
    sim.leave_link(created.link_token)
    assert (sessions()[0].on_exit if deprecated else sessions()[0].exit).error is None
    public_token = sim.complete_link(created.link_token)
    finished = sessions()[0]
    assert finished.finished_at >= finished.started_at
    assert [event.event_name for event in finished.events] == ["OPEN", "HANDOFF"]
    added = finished.on_success if deprecated else finished.results.item_add_results[0]
    assert added.public_token == public_token
    told = added.metadata if deprecated else added
    assert told.institution.institution_id == "ins_109508"
    assert {account.type for account in told.accounts} == {"depository", "credit"}


@pytest.mark.parametrize("deprecated", [False, True])
def test_an_item_parses_through_update_mode(client: Any, sim: PlaidSimulator, *, deprecated: bool) -> None:
    sim.configure(link_results_deprecated=deprecated)
    linked = ready(sim)
    sim.warn_expiration(linked.item_id)
    sim.set_item_error(linked.item_id, "USER_PERMISSION_REVOKED")
    gone = sim.revoke_account(linked.item_id)
    sick = client.item_get(ItemGetRequest(access_token=linked.access_token)).item
    assert sick.error.error_code == "USER_PERMISSION_REVOKED"
    accounts = AccountsGetRequest(access_token=linked.access_token)
    assert refused(client.accounts_get, accounts)["error_code"] == "USER_PERMISSION_REVOKED"
    created = create_link_token(
        client,
        access_token=linked.access_token,
        update=LinkTokenCreateRequestUpdate(account_selection_enabled=True),
    )
    assert sim.complete_link(created.link_token, new_account=True) is None
    (session,) = client.link_token_get(LinkTokenGetRequest(link_token=created.link_token)).link_sessions
    assert session.finished_at is not None
    assert session.on_success is None if deprecated else session.results.item_add_results == []
    well = client.item_get(ItemGetRequest(access_token=linked.access_token)).item
    assert well.error is None
    assert well.consent_expiration_time > sick.consent_expiration_time
    shown = client.accounts_get(accounts)
    assert gone not in {account.account_id for account in shown.accounts}
    assert (len(shown.accounts), shown.item.consent_expiration_time) == (5, well.consent_expiration_time)


def test_a_link_token_of_nobody_is_refused(client: Any) -> None:
    request = LinkTokenGetRequest(link_token="link-sandbox-of-nobody")
    assert refused(client.link_token_get, request)["error_code"] == "INVALID_LINK_TOKEN"


def test_every_phase_parses_and_reports_itself(client: Any, sim: PlaidSimulator) -> None:
    linked = sim.link_item(transactions=80, days=200)
    statuses = []
    for _ in range(3):
        page = pull(client, linked.access_token, count=500)[-1]
        statuses.append((str(page.transactions_update_status), len(page.added) == len(sim.truth(linked.item_id))))
        sim.advance_phase(linked.item_id)
    assert statuses == [
        ("NOT_READY", True),
        ("INITIAL_UPDATE_COMPLETE", True),
        ("HISTORICAL_UPDATE_COMPLETE", True),
    ]


def test_the_null_cursor_of_an_item_that_is_not_ready_breaks_this_client_as_known(
    client: Any, sim: PlaidSimulator
) -> None:
    sim.configure(not_ready_cursor_null=True)
    linked = sim.link_item()
    with pytest.raises(plaid.ApiTypeError):
        pull(client, linked.access_token)


@pytest.mark.parametrize("spell_out", [False, True])
@pytest.mark.parametrize("beta_fields", [False, True])
def test_a_history_full_of_odd_rows_parses_and_folds_to_the_truth(*, spell_out: bool, beta_fields: bool) -> None:
    sim = PlaidSimulator(seed=3, behavior=Behavior(rate_limits=False, spell_out=spell_out, beta_fields=beta_fields))
    with PlaidServer(sim) as server, connect(server) as connection:
        client = plaid_api.PlaidApi(connection)
        linked = ready(sim, transactions=150)
        pages = pull(client, linked.access_token)
        sim.evolve(linked.item_id, rng=5, steps=120)
        pages += pull(client, linked.access_token, pages[-1].next_cursor, count=17)
        rows: dict[str, Any] = {}
        for page in pages:
            rows |= {row.transaction_id: row for row in [*page.added, *page.modified]}
            for gone in page.removed:
                rows.pop(gone.transaction_id, None)
        truth = sim.truth(linked.item_id)
        assert rows.keys() == truth.keys()
        assert all(row.name == truth[key]["name"] for key, row in rows.items())
        assert all(row.amount == float(truth[key]["amount"]) for key, row in rows.items())
        assert all((row.iso_currency_code is None) != (row.unofficial_currency_code is None) for row in rows.values())
        assert any(row.merchant_name is None for row in rows.values())
        assert any(not row.name.isascii() for row in rows.values())


def test_the_options_of_sync_are_honoured(client: Any, sim: PlaidSimulator) -> None:
    linked = ready(sim)
    account_id = sim.account_rows(linked.item_id)[0]["account_id"]
    options = TransactionsSyncRequestOptions(account_id=account_id, include_original_description=True)
    page = client.transactions_sync(TransactionsSyncRequest(access_token=linked.access_token, options=options))
    assert {row.account_id for row in page.added} == {account_id}
    assert all(row.original_description for row in page.added)
    plain = pull(client, linked.access_token)[0].added[0]
    assert "original_description" not in plain.to_dict()


def test_created_refreshed_and_repaired_data_parse(client: Any, sim: PlaidSimulator) -> None:
    linked = ready(sim)
    cursor = pull(client, linked.access_token)[-1].next_cursor
    today = datetime.now(UTC).date()
    entries = [
        CustomSandboxTransaction(date_transacted=today, date_posted=today, amount=amount, description=f"Own {amount}")
        for amount in (12.0, -3.25, 0.1234567)
    ]
    client.sandbox_transactions_create(
        SandboxTransactionsCreateRequest(access_token=linked.access_token, transactions=entries)
    )
    client.transactions_refresh(TransactionsRefreshRequest(access_token=linked.access_token))
    names = {row.name: row.amount for page in pull(client, linked.access_token, cursor) for row in page.added}
    assert names["Own 0.1234567"] == 0.1234567
    assert {"Own 12.0", "Own -3.25"} <= names.keys()
    rotated = client.item_access_token_invalidate(ItemAccessTokenInvalidateRequest(access_token=linked.access_token))
    assert refused(client.item_get, ItemGetRequest(access_token=linked.access_token))["error_code"] == (
        "INVALID_ACCESS_TOKEN"
    )
    assert client.item_get(ItemGetRequest(access_token=rotated.new_access_token)).item.item_id == linked.item_id


def test_the_sandbox_fires_every_code_it_lists(client: Any, sim: PlaidSimulator) -> None:
    linked = ready(sim)
    update = ItemWebhookUpdateRequest(access_token=linked.access_token, webhook=NOWHERE)
    assert client.item_webhook_update(update).item.webhook == NOWHERE
    for code in SANDBOX_CODES:
        request = SandboxItemFireWebhookRequest(access_token=linked.access_token, webhook_code=code)
        assert client.sandbox_item_fire_webhook(request).webhook_fired
    fired = [delivery.payload["webhook_code"] for delivery in sim.webhooks()]
    assert fired == ["WEBHOOK_UPDATE_ACKNOWLEDGED", *SANDBOX_CODES]
    assert client.item_get(ItemGetRequest(access_token=linked.access_token)).status.last_webhook.code_sent == fired[-1]


class Body:
    """What ApiClient.deserialize reads."""

    def __init__(self, data: bytes) -> None:
        self.data = data.decode()


@pytest.mark.parametrize(
    ("kind", "code", "model"),
    [
        ("TRANSACTIONS", "SYNC_UPDATES_AVAILABLE", SyncUpdatesAvailableWebhook),
        ("TRANSACTIONS", "INITIAL_UPDATE", InitialUpdateWebhook),
        ("TRANSACTIONS", "HISTORICAL_UPDATE", HistoricalUpdateWebhook),
        ("TRANSACTIONS", "DEFAULT_UPDATE", DefaultUpdateWebhook),
        ("TRANSACTIONS", "TRANSACTIONS_REMOVED", TransactionsRemovedWebhook),
        ("TRANSACTIONS", "RECURRING_TRANSACTIONS_UPDATE", RecurringTransactionsUpdateWebhook),
        ("ITEM", "ERROR", ItemErrorWebhook),
        ("ITEM", "LOGIN_REPAIRED", ItemLoginRepairedWebhook),
        ("ITEM", "PENDING_DISCONNECT", PendingDisconnectWebhook),
        ("ITEM", "PENDING_EXPIRATION", PendingExpirationWebhook),
        ("ITEM", "USER_PERMISSION_REVOKED", UserPermissionRevokedWebhook),
        ("ITEM", "USER_ACCOUNT_REVOKED", UserAccountRevokedWebhook),
        ("ITEM", "NEW_ACCOUNTS_AVAILABLE", NewAccountsAvailableWebhook),
        ("ITEM", "WEBHOOK_UPDATE_ACKNOWLEDGED", WebhookUpdateAcknowledgedWebhook),
    ],
)
def test_every_webhook_parses_as_the_model_of_its_code(
    client: Any, sim: PlaidSimulator, kind: str, code: str, model: Any
) -> None:
    linked = sim.link_item(NOWHERE, transactions=3, phase=Phase.HISTORICAL)
    assert sim.fire_webhook(linked.item_id, kind, code)
    parsed = client.api_client.deserialize(Body(sim.webhooks()[-1].body), (model,), _check_type=True)
    assert (parsed.webhook_type, parsed.webhook_code, parsed.item_id) == (kind, code, linked.item_id)
    assert str(parsed.environment) == "sandbox"


def test_an_item_that_needs_its_user_says_so(client: Any, sim: PlaidSimulator) -> None:
    linked = ready(sim)
    assert client.sandbox_item_reset_login(SandboxItemResetLoginRequest(access_token=linked.access_token)).reset_login
    request = TransactionsSyncRequest(access_token=linked.access_token)
    assert refused(client.transactions_sync, request)["error_code"] == "ITEM_LOGIN_REQUIRED"
    shown = client.item_get(ItemGetRequest(access_token=linked.access_token))
    assert shown.item.error.error_code == "ITEM_LOGIN_REQUIRED"
    sim.repair_login(linked.item_id)
    assert client.transactions_sync(request).added


def test_keys_parse_before_and_after_they_expire(client: Any, sim: PlaidSimulator) -> None:
    old = sim.keys.current.kid
    assert client.webhook_verification_key_get(WebhookVerificationKeyGetRequest(key_id=old)).key.expired_at is None
    new = sim.rotate_keys()
    expired = client.webhook_verification_key_get(WebhookVerificationKeyGetRequest(key_id=old)).key
    assert isinstance(expired.expired_at, int)
    assert client.webhook_verification_key_get(WebhookVerificationKeyGetRequest(key_id=new)).key.kid == new
    unknown = refused(client.webhook_verification_key_get, WebhookVerificationKeyGetRequest(key_id="nobody"))
    assert (unknown["error_type"], unknown["error_code"]) == ("INVALID_INPUT", "INVALID_WEBHOOK_VERIFICATION_KEY_ID")


@pytest.mark.parametrize("code", sorted(ERROR_CODES))
def test_every_error_arrives_as_an_exception_with_its_body(client: Any, sim: PlaidSimulator, code: str) -> None:
    linked = ready(sim, transactions=2)
    sim.inject_fault("/transactions/sync", code)
    request = TransactionsSyncRequest(access_token=linked.access_token)
    assert refused(client.transactions_sync, request)["error_code"] == code
    assert client.transactions_sync(request).added


def test_wrong_credentials_are_refused(server: PlaidServer, sim: PlaidSimulator) -> None:
    linked = ready(sim, transactions=2)
    with connect(server, secret="someone-elses") as connection:
        error = refused(plaid_api.PlaidApi(connection).item_get, ItemGetRequest(access_token=linked.access_token))
    assert error["error_code"] == "INVALID_API_KEYS"


def test_a_broken_connection_and_a_proxys_page_arrive_as_they_are(client: Any, sim: PlaidSimulator) -> None:
    linked = ready(sim, transactions=2)
    sim.inject_fault("/item/get", status=502, body="<html>Bad Gateway</html>")
    with pytest.raises(plaid.ApiException) as caught:
        client.item_get(ItemGetRequest(access_token=linked.access_token))
    assert (caught.value.status, caught.value.body) == (502, "<html>Bad Gateway</html>")
    sim.inject_fault("/item/remove", drop="after")
    with pytest.raises(urllib3.exceptions.HTTPError):
        client.item_remove(ItemRemoveRequest(access_token=linked.access_token))
    assert sim.item(linked.item_id).removed


def test_dates_come_as_dates(client: Any, sim: PlaidSimulator) -> None:
    linked = ready(sim, transactions=1)
    moment = date(2026, 2, 3)
    (added,) = sim.add_custom_transactions(linked.item_id, [CustomTransaction(moment, pending=True)])
    rows = {row.transaction_id: row for page in pull(client, linked.access_token) for row in page.added}
    assert rows[added].date == moment
    assert rows[added].pending
