"""The local Plaid against Plaid's own OpenAPI file: every endpoint, webhook, error code and form of a Link session."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from local.plaid import REASONS, ItemOptions, LinkTokenConfig, Phase, PlaidSimulator
from local.plaid.endpoints import ENDPOINTS
from local.plaid.errors import ERROR_CODES
from local.plaid.webhooks import EXTRA_FIELDS, SANDBOX_CODES
from tests.plaid_openapi import PlaidOpenApi, Report, openapi, show, validate

from .conftest import NO_RECEIVER

if TYPE_CHECKING:
    from .conftest import Http

LINK_WEBHOOKS = {("LINK", code) for code in ("ITEM_ADD_RESULT", "SESSION_FINISHED", "EVENTS")}
NEW = {
    "client_name": "Ledger",
    "country_codes": ["US", "CA"],
    "language": "en",
    "products": ["transactions"],
    "user": {"client_user_id": "user-1", "phone_number": "+1 415 5550123"},
    "webhook": NO_RECEIVER,
}


@pytest.fixture
def calls(sim: PlaidSimulator) -> list[tuple[str, bytes, int, bytes]]:
    openapi()  # or skip
    recorded: list[tuple[str, bytes, int, bytes]] = []
    sim.configure(rate_limits=False)
    sim.observer = lambda *call: recorded.append(call)
    return recorded


def call_every_endpoint(http: Http, sim: PlaidSimulator, token: str) -> None:
    day = sim.clock().date().isoformat()
    entry = {"amount": 7, "date_posted": day, "date_transacted": day, "description": "Custom"}
    period = {"start_date": "2026-01-01", "end_date": day}
    calls: list[tuple[str, dict[str, Any]]] = [
        ("/transactions/sync", {}),
        ("/transactions/sync", {"count": 500, "options": {"include_original_description": True}}),
        ("/transactions/get", {**period, "options": {"count": 500}}),
        ("/transactions/recurring/get", {}),
        ("/transactions/refresh", {}),
        ("/sandbox/transactions/create", {"transactions": [entry]}),
        ("/accounts/get", {}),
        ("/accounts/balance/get", {}),
        ("/auth/get", {}),
        ("/identity/get", {}),
        ("/investments/holdings/get", {}),
        ("/investments/transactions/get", {**period, "options": {"count": 500, "async_update": False}}),
        ("/liabilities/get", {}),
        ("/item/get", {}),
        ("/item/webhook/update", {"webhook": NO_RECEIVER}),
        ("/sandbox/item/fire_webhook", {"webhook_type": "ITEM", "webhook_code": "NEW_ACCOUNTS_AVAILABLE"}),
        ("/sandbox/item/reset_login", {}),
        ("/item/get", {}),
        ("/accounts/get", {}),
        ("/item/remove", {"reason_code": "OTHER", "reason_note": "moved"}),
    ]
    for path, fields in calls:
        http(path, access_token=token, **fields)
    kinds = {"count": 5, "offset": 0, "country_codes": ["US"], "options": {"include_optional_metadata": True}}
    http("/institutions/get", **kinds)
    by_id = {"institution_id": "ins_56", "country_codes": ["US"], "options": {"include_status": True}}
    http("/institutions/get_by_id", **by_id)
    http("/webhook_verification_key/get", key_id=sim.rotate_keys())
    http("/webhook_verification_key/get", key_id=sim.keys.kids()[0])


def link(http: Http) -> tuple[str, str]:
    """Link an Item over HTTP; return its id and access token."""
    wanted = {"webhook": NO_RECEIVER, "transactions": {"days_requested": 730}}
    created = {"institution_id": "ins_109508", "initial_products": ["transactions"], "options": wanted}
    public_token = http("/sandbox/public_token/create", **created)[1]["public_token"]
    _, linked = http("/item/public_token/exchange", public_token=public_token)
    token = http("/item/access_token/invalidate", access_token=linked["access_token"])[1]["new_access_token"]
    return linked["item_id"], token


def test_responses_and_requests_of_every_endpoint(
    http: Http, sim: PlaidSimulator, calls: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    sim.configure(history_transactions=300, beta_fields=True)
    item_id, token = link(http)
    http("/transactions/sync", access_token=token)
    for _ in range(2):
        sim.advance_phase(item_id)
    sim.evolve(item_id, 1, 60)
    created = http("/link/token/create", **NEW)[1]
    http("/link/token/get", link_token=created["link_token"])
    call_every_endpoint(http, sim, token)
    report = validate(sim, calls)
    show(report, capsys)
    assert report.count("response") == report.count("request") == {(path,) for path in ENDPOINTS}


@pytest.mark.parametrize("form", ["full", "deprecated", "partial", "absent"])
def test_link_sessions_in_every_form_and_their_webhooks(
    http: Http, sim: PlaidSimulator, calls: list[Any], capsys: pytest.CaptureFixture[str], form: str
) -> None:
    sim.configure(link_results=form, link_webhooks_always=True)
    item_id = sim.link_item(NO_RECEIVER, transactions=9, phase=Phase.HISTORICAL).item_id
    every_field = {
        "account_filters": {"depository": {"account_subtypes": ["checking"]}},
        "additional_consented_products": ["liabilities"],
        "hosted_link": {"completion_redirect_uri": "https://ledger.example", "is_mobile_app": False},
        "link_customization_name": "dark",
        "optional_products": ["identity"],
        "redirect_uri": "https://ledger.example",
        "required_if_supported_products": ["auth"],
        "transactions": {"days_requested": 30},
        "user_id": "usr_1",
    }
    tokens = [http("/link/token/create", **NEW, **more)[1]["link_token"] for more in ({}, every_field)]
    config = LinkTokenConfig(multi_item=True, user_id="usr_1")
    tokens.append(sim.create_link_token(ItemOptions(NO_RECEIVER, transactions=3), None, config)[0])
    tokens.append(sim.create_link_token(ItemOptions(NO_RECEIVER), item_id)[0])
    for token in tokens:
        sim.open_link(token)
        http("/link/token/get", link_token=token)
        sim.complete_link(token)
        if token == tokens[2]:
            sim.finish_link(token)
        http("/link/token/get", link_token=token)
        for code in (None, "INVALID_CREDENTIALS"):
            sim.leave_link(token, code)
        http("/link/token/get", link_token=token)
    report = validate(sim, calls)
    show(report, capsys)
    assert report.count("webhook") == LINK_WEBHOOKS


def test_every_webhook(http: Http, sim: PlaidSimulator, calls: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    linked = sim.link_item(NO_RECEIVER, transactions=30)
    http("/transactions/sync", access_token=linked.access_token)
    for _ in range(2):
        sim.advance_phase(linked.item_id)
    sim.evolve(linked.item_id, 1, 40)
    for code in SANDBOX_CODES:
        http("/sandbox/item/fire_webhook", access_token=linked.access_token, webhook_code=code)
    for reason in (None, *REASONS):
        sim.set_item_error(linked.item_id, "ITEM_LOGIN_REQUIRED", reason=reason)
        http("/item/get", access_token=linked.access_token)
        http("/accounts/get", access_token=linked.access_token)
    sim.repair_login(linked.item_id)
    sim.warn_expiration(linked.item_id)
    sim.warn_disconnect(linked.item_id)
    sim.offer_accounts(linked.item_id)
    sim.regrant_account(linked.item_id, sim.revoke_account(linked.item_id))
    sim.renumber_account(linked.item_id)
    sim.update_webhook(linked.item_id, NO_RECEIVER)
    for webhook_type, code in EXTRA_FIELDS:
        assert sim.fire_webhook(linked.item_id, webhook_type, code)
    http("/transactions/sync", access_token=linked.access_token)
    sim.depermission(linked.item_id)
    report = validate(sim, calls)
    show(report, capsys)
    assert report.count("webhook") == set(EXTRA_FIELDS)


def test_every_error_code(
    http: Http, sim: PlaidSimulator, calls: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    for code in ERROR_CODES:
        sim.inject_fault("/item/get", code)
        http("/item/get")
    for reason in REASONS:
        sim.inject_fault("/item/get", "ITEM_LOGIN_REQUIRED", reason=reason)
        http("/item/get")
    report = validate(sim, calls)
    show(report, capsys)
    assert report.count("error") == {(code,) for code in ERROR_CODES}
    assert json.loads(calls[-1][3])["error_code_reason"] == REASONS[-1]


SCHEMAS: dict[str, Any] = {
    "Base": {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]},
    "Thing": {
        "allOf": [
            {"$ref": "#/components/schemas/Base"},
            {
                "additionalProperties": True,
                "properties": {"at": {"type": "string", "format": "date", "nullable": True}},
                "required": ["at"],
            },
        ]
    },
    "ThingWebhook": {
        "type": "object",
        "properties": {
            "webhook_type": {"type": "string", "description": "`THING`"},
            "webhook_code": {"type": "string", "description": "`READY`"},
        },
        "required": ["webhook_type", "webhook_code"],
    },
}
BODY = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}}
DOCUMENT = {
    "paths": {"/item/get": {"post": {"requestBody": BODY, "responses": {"200": BODY, "default": BODY}}}},
    "components": {"schemas": SCHEMAS},
}


@pytest.mark.parametrize(
    ("body", "violations"),
    [
        ({"id": "a", "at": None}, 0),
        ({"id": "a", "at": "2026-01-01"}, 0),
        ({"id": "a", "at": "yesterday"}, 1),
        ({"id": None, "at": None}, 1),
        ({"id": "a"}, 1),
        ({"id": "a", "at": None, "more": 1}, 1),
    ],
)
def test_a_violation_is_found(body: dict[str, Any], violations: int) -> None:
    report = Report()
    PlaidOpenApi(DOCUMENT).response(report, "/item/get", 200, json.dumps(body).encode())
    assert len(report.violations) == violations, report.violations
    assert str(report) == f"Plaid's OpenAPI file: 1 responses validated, {violations} violations"


def test_an_undocumented_webhook_is_a_violation() -> None:
    report = Report()
    for code in ("READY", "UNREADY"):
        body = json.dumps({"webhook_type": "THING", "webhook_code": code}).encode()
        PlaidOpenApi(DOCUMENT).webhook(report, body)
    assert len(report.violations) == 1
