"""`POST /items`: an Item is linked, or nothing is left of it at Plaid; never an orphan that is billed."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from plaid_sync.domain.errors import OutcomeUnknownError, PlaidError, TransientError
from plaid_sync.domain.item import ItemId
from plaid_sync.domain.schedule import AttemptClass
from plaid_sync.linking.sessions import AddedItem, ListedResults

from tests.fakes.api import Api, content, problem
from tests.fakes.failing import KilledError
from tests.fakes.plaid import login

TOKEN = "public-1"
BODY = {"public_token": TOKEN}


@pytest.fixture
def api() -> Api:
    api = Api()
    api.plaid.add_public_token(TOKEN)
    return api


ITEM = ItemId("item-1")
ACCESS_TOKEN = f"access-{ITEM}"


def test_a_linked_item_is_stored_encrypted_and_its_first_sync_is_enqueued(api: Api) -> None:
    response = api.request("POST", "/items", BODY)
    assert content(response, 201) == {"item_id": ITEM}
    assert response["headers"]["location"] == f"/items/{ITEM}"
    item = api.item(ITEM)
    assert (item.generation, item.state.name, item.days_requested, item.client_user_id) == (0, "active", 730, None)
    assert ACCESS_TOKEN.encode() not in item.access_token
    assert api.tables.tokens.decrypt(ITEM, item.access_token) == ACCESS_TOKEN
    assert api.queue.take() == [(ITEM, "linked")]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ("{", "body"),
        ("[]", "body"),
        (None, "body"),
        ({"public_token": "access-sandbox-1"}, "public_token"),
        ({"public_token": TOKEN, "days_requested": 1000}, "days_requested"),
    ],
    ids=str,
)
def test_a_bad_request_names_field_and_fix_and_changes_nothing(api: Api, body: object, field: str) -> None:
    refused = problem(api.request("POST", "/items", body), 400, "invalid_request")
    assert (refused["field"], bool(refused["fix"])) == (field, True)
    assert (api.plaid.calls, api.tables.items.stored) == ({}, {})


@pytest.mark.parametrize("event", [{"body": "\u00e9", "isBase64Encoded": True}, {"body": None}, {}])
def test_an_unreadable_event_is_400(api: Api, event: dict[str, Any]) -> None:
    problem(api.serve({"routeKey": "POST /items"} | event), 400, "invalid_request")


def test_an_unknown_public_token_is_rejected_by_field(api: Api) -> None:
    refused = problem(api.request("POST", "/items", {"public_token": "public-unknown"}), 400, "INVALID_PUBLIC_TOKEN")
    assert (refused["field"], refused["plaid_request_id"]) == ("public_token", "refusal")


def test_a_retry_with_the_same_public_token_gives_the_same_item(api: Api) -> None:
    first, second = (api.request("POST", "/items", BODY) for _ in range(2))
    assert first == second
    assert api.plaid.calls["exchange"] == 1
    assert api.queue.take() == [(ITEM, "linked")] * 2


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("port", "call"), [("index", "id_by_link"), ("queue", "send"), ("tokens", "encrypt"), ("registrations", "register")]
)
def test_a_link_that_fails_at_any_call_leaves_no_orphan(api: Api, port: str, call: str, *, after: bool) -> None:
    api.fail(port, call, after=after)
    response = api.request("POST", "/items", BODY)
    if call == "register" and after:
        # It is stored, and the linker finds that out: nothing is rolled back.
        assert content(response, 201) == {"item_id": ITEM}
        assert api.plaid.removed == []
    elif call in {"encrypt", "register"}:
        assert problem(response, 503, "link_rolled_back")["fix"] == "run Link again"
        assert (api.plaid.removed, api.tables.items.stored) == ([ACCESS_TOKEN], {})
        return
    else:
        assert problem(response, 503, "unreachable")["fix"] == "send the same request again"
        assert content(api.request("POST", "/items", BODY), 201) == {"item_id": ITEM}
    assert api.item(ITEM).state.name == "active"
    assert api.plaid.removed == []
    assert (ITEM, "linked") in api.queue.take()


@pytest.mark.parametrize(
    "error",
    [OutcomeUnknownError("plaid_response_not_json"), PlaidError("HTTP_504"), PlaidError("HTTP_503", "gateway")],
    ids=lambda error: error.code,
)
def test_an_exchange_whose_response_is_lost_is_reported_with_what_to_do(api: Api, error: Exception) -> None:
    api.fail("plaid", "exchange", error, after=True)
    response = api.request("POST", "/items", BODY)
    lost = problem(response, 503, "exchange_unknown")
    assert response["headers"]["retry-after"] == "5"
    for part in ("send the same request again", "INVALID_PUBLIC_TOKEN", "billed", "Link again", "support"):
        assert part in lost["fix"]
    assert TOKEN not in json.dumps(response)
    problem(api.request("POST", "/items", BODY), 400, "INVALID_PUBLIC_TOKEN")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (PlaidError("INTERNAL_SERVER_ERROR"), 503),
        (PlaidError("RATE_LIMIT_EXCEEDED"), 429),
        (TransientError("plaid_unreachable"), 503),
    ],
    ids=lambda value: str(getattr(value, "code", value)),
)
def test_an_exchange_that_plaid_refuses_or_never_receives_did_not_happen(api: Api, error: Any, status: int) -> None:
    api.fail("plaid", "exchange", error)
    problem(api.request("POST", "/items", BODY), status, error.code)
    assert content(api.request("POST", "/items", BODY), 201) == {"item_id": ITEM}


def test_an_exchange_without_a_usable_item_id_is_rolled_back(api: Api) -> None:
    api.plaid.exchangeable[TOKEN] = replace(api.plaid.exchangeable[TOKEN], item_id=None)
    problem(api.request("POST", "/items", BODY), 503, "link_rolled_back")
    assert (api.plaid.removed, api.tables.items.stored, api.queue.take()) == ([ACCESS_TOKEN], {}, [])


def test_a_rollback_is_retried_and_an_item_that_cannot_be_removed_is_reported(api: Api) -> None:
    api.fail("tokens", "encrypt", times=2)
    api.fail("plaid", "remove", PlaidError("INTERNAL_SERVER_ERROR"), times=2)
    problem(api.request("POST", "/items", BODY), 503, "link_rolled_back")
    assert (api.plaid.removed, api.tables.clock.pauses) == ([ACCESS_TOKEN], [0.5, 0.5])
    api.plaid.add_public_token(TOKEN)
    api.plaid.refusals["remove"] = "INTERNAL_SERVER_ERROR"
    orphaned = problem(api.request("POST", "/items", BODY), 500, "item_orphaned")
    assert ITEM in orphaned["detail"]
    assert orphaned["plaid_request_id"] == "exchanged"


def test_an_item_whose_registration_is_unknown_is_rolled_back_rather_than_orphaned(api: Api) -> None:
    api.fail("registrations", "register")
    api.fail("registrations", "block_registration")
    api.fail("items", "load")
    problem(api.request("POST", "/items", BODY), 503, "link_rolled_back")
    assert api.plaid.removed == [ACCESS_TOKEN]


def test_a_registration_that_arrives_after_the_rollback_is_blocked(api: Api) -> None:
    api.fail("registrations", "register")
    problem(api.request("POST", "/items", BODY), 503, "link_rolled_back")
    api.plaid.add_public_token(TOKEN)
    problem(api.request("POST", "/items", BODY), 503, "link_rolled_back")
    assert api.tables.items.stored == {}


def test_with_too_little_time_for_a_rollback_nothing_is_exchanged(api: Api) -> None:
    problem(api.request("POST", "/items", BODY, seconds=168), 503, "not_enough_time_to_exchange")
    assert api.plaid.calls == {}
    content(api.request("POST", "/items", BODY, seconds=170), 201)


def test_an_item_that_a_concurrent_repeat_returned_is_not_rolled_back(api: Api) -> None:
    """The first request's write arrives and its response does not; meanwhile its repeat is served."""
    api.fail("registrations", "register", after=True)
    api.fail(
        "registrations", "block_registration", None, meanwhile=lambda: content(api.request("POST", "/items", BODY), 201)
    )
    assert content(api.request("POST", "/items", BODY), 201) == {"item_id": ITEM}
    assert api.plaid.removed == []


@pytest.mark.parametrize("pauses", [1, 3])
def test_a_request_whose_concurrent_repeat_used_the_token_waits_for_the_item(api: Api, pauses: int) -> None:
    """The repeat has exchanged the token, and stores its progress and the Item while this request waits."""
    content(api.request("POST", "/items", BODY), 201)
    links, stored = api.tables.links.links, dict(api.tables.links.links)
    links |= {link_id: replace(progress, item_id=None) for link_id, progress in stored.items()}
    api.tables.items.index_lags = True

    def arrives() -> None:
        if len(api.tables.clock.pauses) == pauses - 1:
            links.update(stored)

    api.fail("clock", "sleep", None, times=pauses, meanwhile=arrives)
    assert content(api.request("POST", "/items", BODY), 201) == {"item_id": ITEM}
    assert len(api.tables.clock.pauses) == pauses


# ---- killed at any call


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("port", "call"),
    [
        ("index", "id_by_link"),
        ("links", "begin"),
        ("plaid", "exchange"),
        ("tokens", "encrypt"),
        ("registrations", "record_exchange"),
        ("plaid", "accounts"),
        ("registrations", "register"),
        ("queue", "send"),
    ],
)
def test_a_link_that_is_killed_at_any_call_is_completed_by_its_retry(
    api: Api, port: str, call: str, *, after: bool
) -> None:
    """All but where the access token is stored nowhere: between the exchange and the record of its progress."""
    api.fail(port, call, KilledError(), after=after)
    with pytest.raises(KilledError):
        api.request("POST", "/items", BODY)
    response = api.request("POST", "/items", BODY)
    token_is_lost = (port, call, after) == ("plaid", "exchange", True) or call == "encrypt"
    if token_is_lost or (call == "record_exchange" and not after):
        problem(response, 400, "INVALID_PUBLIC_TOKEN")
        assert api.tables.items.stored == {}
        return
    assert content(response, 201) == {"item_id": ITEM}
    assert api.plaid.calls["exchange"] == 1
    assert (ITEM, "linked") in api.queue.take()
    (progress,) = api.tables.links.links.values()
    assert progress.item_id == ITEM
    assert api.tables.items.exchanged == {}
    assert api.tables.tokens.decrypt(ITEM, api.item(ITEM).access_token) == ACCESS_TOKEN


def test_the_token_of_a_link_is_kept_encrypted_and_in_one_place(api: Api) -> None:
    api.fail("registrations", "register", KilledError())
    with pytest.raises(KilledError):
        api.request("POST", "/items", BODY)
    (progress,) = api.tables.links.links.values()
    assert progress.item_id == ITEM
    exchanged = api.tables.items.exchanged[ITEM]
    assert ACCESS_TOKEN.encode() not in exchanged.access_token
    assert api.tables.tokens.decrypt(ITEM, exchanged.access_token) == ACCESS_TOKEN
    problem(api.request("GET", f"/items/{ITEM}"), 404, "item_not_found")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("port", "call"), [("registrations", "record_exchange"), ("plaid", "accounts"), ("registrations", "register")]
)
def test_a_killed_link_that_is_never_repeated_is_removed_at_plaid_after_ten_minutes(
    api: Api, port: str, call: str, *, after: bool
) -> None:
    api.fail(port, call, KilledError(), after=after)
    with pytest.raises(KilledError):
        api.request("POST", "/items", BODY)
    exchanged = dict(api.tables.items.exchanged)
    assert not api.tables.remover(api.plaid).roll_back(ITEM)
    assert api.plaid.removed == []
    api.tables.clock.time += timedelta(minutes=12)
    due = [item.item_id for item in api.tables.items.due(AttemptClass.FIRST_SYNC, api.tables.clock.now())]
    if call == "register" and after:
        assert (exchanged, api.tables.remover(api.plaid).roll_back(ITEM)) == ({}, False)
    elif call == "record_exchange" and not after:
        assert (exchanged, due) == ({}, [])
    else:
        assert due == [ITEM]
        assert api.tables.remover(api.plaid).roll_back(ITEM)
        assert (api.plaid.removed, api.tables.items.stored) == ([ACCESS_TOKEN], {})
        assert [found.access_token for found in api.tables.items.exchanged.values()] == [b""]
        assert list(api.tables.items.due(AttemptClass.FIRST_SYNC, api.tables.clock.now())) == []
        problem(api.request("POST", "/items", BODY), 503, "link_rolled_back")
        assert not api.tables.remover(api.plaid).roll_back(ITEM)


def test_a_rollback_that_began_is_never_registered_and_one_that_fails_is_retried(api: Api) -> None:
    """The rollback begins between the request's last look and its registration."""

    def rolls_back() -> None:
        api.tables.clock.time += timedelta(minutes=12)
        with pytest.raises(PlaidError):
            api.tables.remover(api.plaid).roll_back(ITEM)

    api.plaid.refusals["remove"] = "INTERNAL_SERVER_ERROR"
    api.fail("registrations", "register", None, meanwhile=rolls_back)
    problem(api.request("POST", "/items", BODY), 500, "item_orphaned")
    assert (api.tables.items.stored, api.plaid.removed) == ({}, [])
    del api.plaid.refusals["remove"]
    assert api.tables.remover(api.plaid).roll_back(ITEM)
    assert (api.plaid.removed, api.tables.items.exchanged[ITEM].access_token) == ([ACCESS_TOKEN], b"")


def test_a_link_without_a_session_learns_its_institution_and_accounts(api: Api) -> None:
    accounts = login()
    api.plaid.connected[ACCESS_TOKEN] = AddedItem(TOKEN, "ins_7", accounts)
    content(api.request("POST", "/items", BODY), 201)
    item = api.item(ITEM)
    assert (item.institution_id, item.bank_login_ids) == ("ins_7", frozenset())
    assert item.accounts == tuple(replace(account, as_of=item.linked_at) for account in accounts)
    assert (item.accounts_checked_at, item.pending_checks) == (item.linked_at, ())


@pytest.mark.parametrize(
    "error",
    [TransientError("plaid_unreachable"), PlaidError("ITEM_LOGIN_REQUIRED"), PlaidError("INTERNAL_SERVER_ERROR")],
    ids=lambda error: error.code,
)
def test_an_item_whose_accounts_cannot_be_listed_now_is_stored_without_them(api: Api, error: Exception) -> None:
    api.fail("plaid", "accounts", error)
    content(api.request("POST", "/items", BODY), 201)
    item = api.item(ITEM)
    assert (item.accounts, item.accounts_checked_at, api.plaid.removed) == ((), None, [])
    assert [check.code for check in item.pending_checks] == ["check_accounts"]


@pytest.mark.parametrize("code", ["ITEM_NOT_FOUND", "INVALID_ACCESS_TOKEN", "ITEM_NOT_SUPPORTED"])
def test_an_item_that_plaid_does_not_serve_is_rolled_back(api: Api, code: str) -> None:
    api.plaid.refusals["accounts"] = code
    problem(api.request("POST", "/items", BODY), 503, "link_rolled_back")
    assert (api.plaid.removed, api.tables.items.stored) == ([ACCESS_TOKEN], {})


def test_a_public_token_that_plaid_exchanges_twice_does_not_change_the_user_of_its_item(api: Api) -> None:
    theirs, own = api.went_through_link("victim"), api.went_through_link("user", "other login")
    api.plaid.link_results_listed = ListedResults.ABSENT
    item_id = content(api.request("POST", "/items", theirs), 201)["item_id"]
    api.plaid.add_public_token(theirs["public_token"])
    api.tables.items.index_lags = True
    api.tables.links.links.clear()
    stolen = own | {"public_token": theirs["public_token"]}
    problem(api.request("POST", "/items", stolen), 403, "public_token_of_another_session")
    assert api.item(item_id).client_user_id == "victim"
