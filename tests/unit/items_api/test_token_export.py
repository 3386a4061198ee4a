"""The export of an access token: encrypted, recorded before it leaves, and no token that is dead."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pyrage
import pytest
from plaid_sync.domain.errors import OutcomeUnknownError
from plaid_sync.domain.history import DetailType
from plaid_sync.domain.item import Cursor
from plaid_sync.items_api.token_export import PLAID_OPTIONS
from plaid_sync.pull.puller import PullOptions
from pyrage import x25519

from tests.fakes.api import CALLER, WEBHOOK_URL, Api, content, problem

if TYPE_CHECKING:
    from plaid_sync.domain.item import ItemId

IDENTITY: Final = x25519.Identity.generate()
BODY: Final = {"recipient": str(IDENTITY.to_public())}


def path(item_id: str) -> str:
    return f"/access-tokens/{item_id}/export"


def token_of(api: Api, item_id: ItemId) -> str:
    return str(api.tables.tokens.decrypt(item_id, api.item(item_id).access_token))


def exported(api: Api, item_id: ItemId) -> dict[str, Any]:
    """Export a token; return what the recipient decrypts."""
    encrypted = content(api.request("POST", path(item_id), BODY))["encrypted"]
    document: dict[str, Any] = json.loads(pyrage.decrypt(encrypted.encode(), [IDENTITY]))
    return document


def rows_complete(api: Api, item_id: ItemId, **fields: Any) -> None:
    """Let the Item's rows be those up to a cursor, except for what `fields` say."""
    api.tables.items.set(item_id, cursor=Cursor("cursor-1"), **fields)


def test_the_recipient_gets_what_another_system_needs_and_the_response_has_no_token(api: Api, item_id: ItemId) -> None:
    rows_complete(api, item_id, pulled_with="original_description v2 gone_rows_kept", days_requested=90)
    response = api.request("POST", path(item_id), BODY)
    shown = content(response)
    assert shown.keys() == {"item_id", "client_user_id", "institution_id", "exported_at", "recipient", "encrypted"}
    assert (shown["item_id"], shown["client_user_id"]) == (item_id, "user")
    assert shown["encrypted"].startswith("-----BEGIN AGE ENCRYPTED FILE-----\n")
    assert token_of(api, item_id) not in response["body"]
    assert json.loads(pyrage.decrypt(shown["encrypted"].encode(), [IDENTITY])) == {
        "access_token": token_of(api, item_id),
        "client_user_id": "user",
        "cursor": "cursor-1",
        "item_id": item_id,
        "institution_id": api.item(item_id).institution_id,
        "environment": "sandbox",
        "options": {
            "include_original_description": True,
            "personal_finance_category_version": "v2",
            "days_requested": 90,
        },
        "webhook": WEBHOOK_URL,
    }


def test_the_export_is_recorded_with_caller_and_recipient_and_published_and_changes_no_sync(
    api: Api, item_id: ItemId
) -> None:
    before = api.item(item_id)
    exported(api, item_id)
    entry = api.history(item_id)[-1]
    assert (entry["outcome"], entry["caller"], entry["recipient"]) == ("token_exported", CALLER, BODY["recipient"])
    assert entry["published_events"] == [DetailType.TOKEN_EXPORTED]
    assert token_of(api, item_id) not in str(api.history(item_id))
    now = api.item(item_id)
    assert now.token_exported_at is not None
    assert (now.generation, now.next_attempt_at, now.state) == (before.generation, before.next_attempt_at, before.state)
    assert api.queue.take() == []


@pytest.mark.parametrize("call", ["load", "record_token_export"])
def test_what_cannot_be_recorded_is_not_given_out(api: Api, item_id: ItemId, call: str) -> None:
    api.fail("items", call)
    problem(api.request("POST", path(item_id), BODY), 503, "unreachable")
    assert [entry["outcome"] for entry in api.history(item_id)] == ["linked"]
    exported(api, item_id)


def test_without_the_key_nothing_is_recorded(api: Api, item_id: ItemId) -> None:
    api.fail("tokens", "decrypt")
    problem(api.request("POST", path(item_id), BODY), 503, "unreachable")
    assert [entry["outcome"] for entry in api.history(item_id)] == ["linked"]


def test_an_item_that_changes_between_read_and_record_is_read_again(api: Api, item_id: ItemId) -> None:
    rows_complete(api, item_id)

    def commit() -> None:
        api.tables.items.set(item_id, cursor=Cursor("cursor-2"), generation=api.item(item_id).generation + 1)

    api.fail("items", "record_token_export", None, meanwhile=commit)
    assert exported(api, item_id)["cursor"] == "cursor-2"


@pytest.mark.parametrize(
    "fields",
    [{"reconcile": True}, {"writing_since": 3}, {"cursor": None}],
    ids=["resync", "partial", "first"],
)
def test_there_is_no_cursor_where_the_rows_are_not_those_up_to_it(
    api: Api, item_id: ItemId, fields: dict[str, Any]
) -> None:
    rows_complete(api, item_id)
    api.tables.items.set(item_id, **fields)
    assert "cursor" not in exported(api, item_id)


@pytest.mark.parametrize("body", [{}, {"recipient": "age1x"}, {"recipient": str(IDENTITY)}, {"recipient": 1}])
def test_what_is_no_public_key_is_refused_and_not_recorded(api: Api, item_id: ItemId, body: dict[str, Any]) -> None:
    refused = problem(api.request("POST", path(item_id), body), 400, "invalid_request")
    assert refused["field"] == "recipient"
    assert str(IDENTITY) not in str(refused)
    assert api.item(item_id).token_exported_at is None


def test_other_fields_and_query_parameters_are_refused(api: Api, item_id: ItemId) -> None:
    problem(api.request("POST", path(item_id), BODY | {"plain": True}), 400, "invalid_request")
    problem(api.request("POST", path(item_id), BODY, {"plain": "true"}), 400, "invalid_request")


def test_there_is_no_export_of_a_removed_or_unknown_item(api: Api, item_id: ItemId) -> None:
    content(api.request("DELETE", f"/items/{item_id}"), 202)
    problem(api.request("POST", path(item_id), BODY), 410, "item_removed")
    problem(api.request("POST", path("unknown"), BODY), 404, "item_not_found")


def test_a_token_that_is_being_replaced_is_not_exported(api: Api, item_id: ItemId) -> None:
    api.fail("plaid", "invalidate_access_token", OutcomeUnknownError("timeout"), after=True)
    problem(api.request("POST", f"/items/{item_id}/access-token/rotate"), 500, "access_token_lost")
    problem(api.request("POST", path(item_id), BODY), 503, "access_token_rotating")
    api.tables.clock.sleep(360)
    problem(api.request("POST", path(item_id), BODY), 500, "access_token_lost")
    assert api.item(item_id).token_exported_at is None


def test_each_option_of_the_stack_has_plaids_name() -> None:
    """Those that change Plaid's response: what becomes of the rows of gone accounts is no option of Plaid's."""
    names = {
        word
        for description in (True, False)
        for version in ("", "v1", "v2")
        for word in PullOptions(description, version).name.split()
    }
    assert names == PLAID_OPTIONS.keys()


# ---- an Item that another system goes on with: removed here, kept at Plaid

KEEP: Final = {"at_plaid": "keep"}


def kept(api: Api, item_id: ItemId, **query: str) -> dict[str, Any]:
    return content(api.request("DELETE", f"/items/{item_id}", query=KEEP | query), 202)


def test_an_exported_item_is_removed_here_and_stays_at_plaid(api: Api, item_id: ItemId) -> None:
    exported(api, item_id)
    shown = kept(api, item_id)
    assert (shown["state"], shown["removal"]["at_plaid"]) == ("removed", "keep")
    assert api.item(item_id).access_token == b""
    assert api.queue.take() == [(item_id, "request")]
    entry = api.history(item_id)[-1]
    assert (entry["outcome"], entry["at_plaid"], entry["transactions"]) == ("removal_requested", "keep", "keep")
    assert entry["published_events"] == [DetailType.REMOVED]


def test_the_same_request_again_changes_nothing_and_erase_still_erases(api: Api, item_id: ItemId) -> None:
    exported(api, item_id)
    kept(api, item_id)
    kept(api, item_id)
    assert kept(api, item_id, transactions="erase")["removal"]["transactions"] == "erase"
    assert [entry["outcome"] for entry in api.history(item_id)][-2:] == ["removal_requested", "erasure_requested"]


def test_an_item_whose_token_no_other_system_has_is_not_kept(api: Api, item_id: ItemId) -> None:
    refused = problem(api.request("DELETE", f"/items/{item_id}", query=KEEP), 409, "token_not_exported")
    assert refused["item_id"] == item_id
    assert not api.item(item_id).removed


def test_a_rotation_makes_the_exported_token_worthless(api: Api, item_id: ItemId) -> None:
    exported(api, item_id)
    content(api.request("POST", f"/items/{item_id}/access-token/rotate"))
    problem(api.request("DELETE", f"/items/{item_id}", query=KEEP), 409, "token_not_exported")
    exported(api, item_id)
    kept(api, item_id)


def test_a_rotation_that_begins_meanwhile_prevents_that_the_item_is_kept(api: Api, item_id: ItemId) -> None:
    exported(api, item_id)
    rotate = f"/items/{item_id}/access-token/rotate"
    api.fail("items", "remove_here", None, meanwhile=lambda: api.request("POST", rotate))
    problem(api.request("DELETE", f"/items/{item_id}", query=KEEP), 409, "token_not_exported")
    assert not api.item(item_id).removed


def test_an_item_that_is_removed_at_plaid_is_not_reported_as_kept(api: Api, item_id: ItemId) -> None:
    exported(api, item_id)
    content(api.request("DELETE", f"/items/{item_id}"), 202)
    problem(api.request("DELETE", f"/items/{item_id}", query=KEEP), 410, "item_removed")


def test_a_later_removal_shows_that_the_item_was_kept(api: Api, item_id: ItemId) -> None:
    exported(api, item_id)
    kept(api, item_id)
    shown = content(api.request("DELETE", f"/items/{item_id}"), 202)
    assert shown["removal"]["at_plaid"] == "keep"


@pytest.mark.parametrize(
    ("query", "field"), [({"reason_code": "OTHER"}, "reason_code"), ({"at_plaid": "forget"}, "at_plaid")]
)
def test_a_reason_for_plaid_and_another_word_are_refused(
    api: Api, item_id: ItemId, query: dict[str, str], field: str
) -> None:
    exported(api, item_id)
    refused = problem(api.request("DELETE", f"/items/{item_id}", query=KEEP | query), 400, "invalid_request")
    assert refused["field"] == field
