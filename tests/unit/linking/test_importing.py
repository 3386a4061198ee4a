"""Imports of Items that another system linked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from plaid_sync.domain.errors import OutcomeUnknownError, PlaidError
from plaid_sync.domain.item import ItemHealth, ItemId
from pyrage import x25519

from tests.fakes.api import WEBHOOK_URL, Api, content, problem
from tests.fakes.failing import KilledError
from tests.fakes.plaid import login

TOKEN = "access-sandbox-moved"
BODY = {"access_token": TOKEN, "client_user_id": "user"}
RECIPIENT = str(x25519.Identity.generate().to_public())
OTHER_SYSTEM = "https://other.invalid/hook"
ITEM_ID = ItemId("moved")


def api_with_item() -> Api:
    """Return an API whose Plaid knows an Item that another system linked."""
    api = Api()
    api.plaid.webhooks[TOKEN] = OTHER_SYSTEM
    api.plaid.listed = login("moved")
    api.plaid.report = ItemHealth(institution_id="ins_1", request_id="described")
    return api


@pytest.fixture
def api() -> Api:
    return api_with_item()


def import_item(api: Api, status: int = 201, **body: Any) -> dict[str, Any]:
    return content(api.request("POST", "/items/import", BODY | body), status)


def test_an_item_moves_in_with_its_webhooks_and_is_synced_after_the_switch(api: Api) -> None:
    assert import_item(api) == {
        "item_id": ITEM_ID,
        "outcome": "imported",
        "institution_id": "ins_1",
        "accounts": 2,
        "duplicates": [],
    }
    assert api.plaid.webhooks[TOKEN] == WEBHOOK_URL
    assert api.queue.take() == [(ITEM_ID, "request")]
    item, shown = api.item(ITEM_ID), api.get(f"/items/{ITEM_ID}")
    assert item.cursor is None
    assert item.days_requested == 730, "where the other system never synced, the first sync decides for ever"
    assert shown["client_user_id"] == "user"
    assert shown["imported"] == {"previous_webhook": OTHER_SYSTEM, "webhook_switched_at": "2026-06-01T12:00:00.000Z"}
    published = {entry["outcome"]: entry.get("published_events") for entry in api.history(ITEM_ID)}
    assert published == {"imported": ["ItemLinked"], "done": None}
    assert len(api.tables.links.claims_of(ITEM_ID)) == 2
    assert TOKEN not in json.dumps([shown, api.history(ITEM_ID)])


def test_an_import_sent_again_changes_nothing(api: Api) -> None:
    import_item(api)
    stored, calls = api.item(ITEM_ID), dict(api.plaid.calls)
    assert import_item(api, 200) == {
        "item_id": ITEM_ID,
        "outcome": "present",
        "institution_id": "ins_1",
        "duplicates": [],
    }
    assert (api.item(ITEM_ID), dict(api.plaid.calls)) == (stored, calls), "the digest of the token is enough"


def test_the_sync_begins_at_a_given_cursor(api: Api) -> None:
    import_item(api, cursor="their-cursor")
    assert api.item(ITEM_ID).cursor == "their-cursor"


def test_a_dry_run_changes_nothing(api: Api) -> None:
    assert import_item(api, 200, dry_run=True)["outcome"] == "would_import"
    assert api.plaid.webhooks == {TOKEN: OTHER_SYSTEM}
    assert (api.tables.items.stored, api.queue.take(), api.tables.links.held) == ({}, [], {})
    import_item(api)
    assert import_item(api, 200, dry_run=True)["outcome"] == "present"


@pytest.mark.parametrize("port", ["items", "registrations", "tokens", "links", "queue", "plaid"])
def test_an_import_that_dies_anywhere_is_continued_by_the_same_request(port: str) -> None:
    names = {
        "items": ["load", "record_webhook"],
        "registrations": ["register_imported"],
        "tokens": ["encrypt", "decrypt"],
        "links": ["claims"],
        "queue": ["send"],
        "plaid": ["describe", "accounts", "set_webhook"],
    }
    for name in names[port]:
        for after in (False, True):
            world = api_with_item()
            ports = dict(world.ports)
            world.fail(port, name, KilledError(), after=after)
            with pytest.raises(KilledError):
                world.request("POST", "/items/import", BODY)
            world.ports = ports
            response = world.request("POST", "/items/import", BODY)
            assert content(response, response["statusCode"])["outcome"] in {"imported", "present"}
            assert world.plaid.webhooks[TOKEN] == WEBHOOK_URL
            imported = world.item(ITEM_ID).imported
            assert imported is not None
            assert imported.webhook == OTHER_SYSTEM, "not our own, which it has meanwhile"
            assert imported.switched_at is not None
            assert world.plaid.calls["remove"] == 0, "the other system has the Item"


def test_duplicates_are_reported_and_keep_their_accounts(api: Api) -> None:
    linked = api.linked(name="moved")
    held = api.tables.links.claims_of(linked)
    assert import_item(api)["duplicates"] == [linked]
    assert api.tables.links.claims_of(linked) == held
    assert api.item(ITEM_ID).bank_login_ids == frozenset()
    assert import_item(api, 200, dry_run=True)["outcome"] == "present"


def test_the_accounts_of_a_removed_item_are_taken(api: Api) -> None:
    linked = api.linked(name="moved")
    content(api.request("DELETE", f"/items/{linked}"), 202)
    assert import_item(api)["duplicates"] == []
    assert len(api.tables.links.claims_of(ITEM_ID)) == 2


def test_an_item_that_needs_its_user_moves_in_and_is_checked(api: Api) -> None:
    api.plaid.refusals["accounts"] = PlaidError("ITEM_LOGIN_REQUIRED", endpoint="/accounts/get")
    api.plaid.report = ItemHealth("ITEM_LOGIN_REQUIRED", institution_id="ins_1")
    shown = import_item(api)
    assert (shown["error_code"], "accounts" in shown) == ("ITEM_LOGIN_REQUIRED", False)
    assert [check.code for check in api.item(ITEM_ID).pending_checks] == ["check_accounts"]


def test_an_item_of_this_stack_is_recognized_and_stays_as_it_is(api: Api) -> None:
    item_id = api.linked()
    before, webhooks = api.item(item_id), dict(api.plaid.webhooks)
    token = f"access-sandbox-{item_id}"
    assert import_item(api, 200, access_token=token)["outcome"] == "present"
    assert (api.item(item_id), api.plaid.webhooks) == (before, webhooks)
    problem(
        api.request("POST", "/items/import", {"access_token": token, "client_user_id": "another"}),
        403,
        "item_of_another_user",
    )


def test_a_removed_item_is_not_imported_again(api: Api) -> None:
    import_item(api)
    content(api.request("DELETE", f"/items/{ITEM_ID}"), 202)
    problem(api.request("POST", "/items/import", BODY), 410, "item_removed")


def test_the_webhooks_go_back_and_come_again(api: Api) -> None:
    import_item(api)
    api.queue.take()
    for _ in range(2):
        assert content(api.request("DELETE", f"/items/{ITEM_ID}/webhook")) == {"webhook": OTHER_SYSTEM}
        assert api.plaid.webhooks[TOKEN] == OTHER_SYSTEM
    assert api.get(f"/items/{ITEM_ID}")["imported"]["webhook_switched_at"] is None
    assert import_item(api)["outcome"] == "imported"
    assert api.plaid.webhooks[TOKEN] == WEBHOOK_URL
    assert api.queue.take() == [(ITEM_ID, "request")], "what was reported to the other system meanwhile"


def test_an_item_without_webhooks_gets_none_again(api: Api) -> None:
    del api.plaid.webhooks[TOKEN]
    import_item(api)
    assert content(api.request("DELETE", f"/items/{ITEM_ID}/webhook")) == {"webhook": None}
    assert api.plaid.webhooks[TOKEN] is None


def test_only_an_imported_item_has_a_previous_webhook(api: Api) -> None:
    item_id = api.linked()
    problem(api.request("DELETE", f"/items/{item_id}/webhook"), 409, "item_not_imported")


def test_plaids_refusal_to_switch_leaves_a_registered_item_and_is_repeated(api: Api) -> None:
    api.plaid.refusals["webhook"] = PlaidError("ITEM_LOGIN_REQUIRED", endpoint="/item/webhook/update")
    problem(api.request("POST", "/items/import", BODY), 409, "ITEM_LOGIN_REQUIRED")
    assert api.get(f"/items/{ITEM_ID}")["imported"]["webhook_switched_at"] is None
    api.plaid.refusals.clear()
    assert import_item(api)["outcome"] == "imported"


@pytest.mark.parametrize("code", ["INVALID_ACCESS_TOKEN", "ITEM_NOT_FOUND"])
def test_a_token_that_plaid_does_not_know_is_refused_without_quoting_it(api: Api, code: str) -> None:
    api.plaid.refusals["describe"] = code
    response = api.request("POST", "/items/import", BODY)
    assert problem(response, 400, "invalid_request")["field"] == "access_token"
    assert TOKEN not in response["body"]


def test_while_plaid_throttles_or_does_not_respond_nothing_is_stored(api: Api) -> None:
    for name in ("describe", "accounts"):
        api.plaid.refusals[name] = PlaidError("RATE_LIMIT", endpoint="/accounts/get")
        problem(api.request("POST", "/items/import", BODY), 429, "RATE_LIMIT")
        api.plaid.refusals.clear()
        ports = dict(api.ports)
        api.fail("plaid", name, OutcomeUnknownError("plaid_unreachable"))
        problem(api.request("POST", "/items/import", BODY), 503, "plaid_unreachable")
        api.ports = ports
    assert api.tables.items.stored == {}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "body"),
        ({}, "access_token"),
        ({"access_token": TOKEN}, "client_user_id"),
        ({**BODY, "access_token": "access-production-1"}, "access_token"),
        ({**BODY, "access_token": 17}, "access_token"),
        ({**BODY, "client_user_id": ""}, "client_user_id"),
        ({**BODY, "cursor": ""}, "cursor"),
        ({**BODY, "cursor": None}, "cursor"),
        ({**BODY, "cursor": "x" * 1025}, "cursor"),
        ({**BODY, "dry_run": "yes"}, "dry_run"),
        ({**BODY, "token": "x"}, "token"),
        ({**BODY, TOKEN: "x"}, "body"),
    ],
)
def test_an_invalid_request_names_the_field_and_quotes_nothing(api: Api, body: Any, field: str) -> None:
    response = api.request("POST", "/items/import", body)
    assert problem(response, 400, "invalid_request")["field"] == field
    assert "access-sandbox-moved" not in response["body"]
    assert api.plaid.calls["describe"] == 0


def test_a_claim_that_is_taken_meanwhile_is_a_duplicate(api: Api) -> None:
    taken: list[ItemId] = []
    api.fail("tokens", "encrypt", None, meanwhile=lambda: taken.append(api.linked(name="moved")))
    assert import_item(api)["duplicates"] == taken
    assert len(api.tables.links.claims_of(taken[0])) == 2
    assert api.item(ITEM_ID).bank_login_ids == frozenset()


def test_a_restored_url_whose_response_is_lost_is_not_taken_for_ours(api: Api) -> None:
    import_item(api)
    ports = dict(api.ports)
    api.fail("plaid", "set_webhook", KilledError(), after=True)
    with pytest.raises(KilledError):
        api.request("DELETE", f"/items/{ITEM_ID}/webhook")
    api.ports = ports
    assert api.plaid.webhooks[TOKEN] == OTHER_SYSTEM
    assert import_item(api)["outcome"] == "imported"
    assert api.plaid.webhooks[TOKEN] == WEBHOOK_URL


@pytest.mark.parametrize("first", ["POST", "DELETE"])
def test_of_two_requests_about_the_webhook_the_record_is_that_of_the_last(api: Api, first: str) -> None:
    import_item(api)
    second = "DELETE" if first == "POST" else "POST"
    ports = dict(api.ports)

    def meanwhile() -> None:
        now, api.ports = api.ports, ports
        content(api.request(second, f"/items/{ITEM_ID}/webhook"))
        api.ports = now

    for after in (False, True):
        api.ports = dict(ports)
        api.fail("plaid", "set_webhook", None, after=after, meanwhile=meanwhile)
        content(api.request(first, f"/items/{ITEM_ID}/webhook"))
        api.ports = ports
        imported = api.item(ITEM_ID).imported
        assert imported is not None
        assert (imported.switched_at is not None) == (api.plaid.webhooks[TOKEN] == WEBHOOK_URL) == (first == "POST")


def test_an_item_that_left_is_refused_without_advising_a_relink(api: Api) -> None:
    import_item(api)
    content(api.request("POST", f"/access-tokens/{ITEM_ID}/export", {"recipient": RECIPIENT}))
    content(api.request("DELETE", f"/items/{ITEM_ID}", query={"at_plaid": "keep"}), 202)
    assert "other system" in problem(api.request("POST", "/items/import", BODY), 410, "item_removed")["fix"]


def test_an_item_of_no_user_is_recognized(api: Api) -> None:
    public_token = api.plaid.add_public_token("public-1")
    item_id = content(api.request("POST", "/items", {"public_token": "public-1"}), 201)["item_id"]
    assert item_id == public_token
    assert import_item(api, 200, access_token=f"access-sandbox-{item_id}")["outcome"] == "present"
