"""The rotation of an access token: the old one is dead at once, and the new one is never lost silently."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from plaid_sync.domain.errors import OutcomeUnknownError, PlaidError, TransientError

from tests.fakes.api import Api, content, problem
from tests.fakes.failing import KilledError

if TYPE_CHECKING:
    from plaid_sync.domain.item import ItemId


def path(item_id: str) -> str:
    return f"/items/{item_id}/access-token/rotate"


def token_of(api: Api, item_id: ItemId) -> str:
    return str(api.tables.tokens.decrypt(item_id, api.item(item_id).access_token))


def test_the_new_token_is_stored_encrypted_and_supersedes_attempts_with_the_old_one(api: Api, item_id: ItemId) -> None:
    before, old = api.item(item_id).generation, token_of(api, item_id)
    assert content(api.request("POST", path(item_id))).keys() == {"rotated_at"}
    new = token_of(api, item_id)
    assert old in api.plaid.replaced_tokens
    assert new not in api.plaid.replaced_tokens
    item = api.item(item_id)
    assert (item.token_rotation_began_at, item.generation) == (None, before + 2)
    assert new.encode() not in item.access_token
    assert api.queue.take() == [(item_id, "request")]
    assert {entry["outcome"] for entry in api.history(item_id)} >= {"token_rotation_began", "token_rotated"}
    assert new not in str(api.history(item_id))


@pytest.mark.parametrize(
    ("port", "call"),
    [("tokens", "decrypt"), ("tokens", "encrypt"), ("items", "load"), ("items", "begin_token_rotation")],
)
def test_without_key_or_table_nothing_is_replaced(api: Api, item_id: ItemId, port: str, call: str) -> None:
    api.fail(port, call)
    problem(api.request("POST", path(item_id)), 503, "unreachable")
    assert api.plaid.calls["invalidate"] == 0
    content(api.request("POST", path(item_id)))


def test_the_new_token_is_stored_as_often_as_it_takes(api: Api, item_id: ItemId) -> None:
    api.fail("items", "finish_token_rotation", times=5)
    content(api.request("POST", path(item_id)))
    assert token_of(api, item_id) not in api.plaid.replaced_tokens


def test_a_token_that_cannot_be_stored_in_time_is_reported_with_the_remedy(api: Api, item_id: ItemId) -> None:
    api.fail("items", "finish_token_rotation", times=1000)
    lost = problem(api.request("POST", path(item_id), seconds=110), 500, "access_token_lost")
    assert (lost["remedy"], bool(lost["fix"])) == ("relink", True)
    assert "token_rotation_began_at" in api.get(f"/items/{item_id}")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("port", "call"),
    [
        ("items", "begin_token_rotation"),
        ("plaid", "invalidate_access_token"),
        ("items", "finish_token_rotation"),
        ("queue", "send"),
    ],
)
def test_a_rotation_that_is_killed_at_any_call_is_repeated_or_reported_as_lost(
    api: Api, item_id: ItemId, port: str, call: str, *, after: bool
) -> None:
    old = token_of(api, item_id)
    api.fail(port, call, KilledError(), after=after)
    with pytest.raises(KilledError):
        api.request("POST", path(item_id))
    incomplete = api.item(item_id).token_rotation_began_at is not None
    lost = incomplete and old in api.plaid.replaced_tokens
    assert ("token_rotation_began_at" in api.get(f"/items/{item_id}")) == incomplete
    if incomplete:
        problem(api.request("POST", path(item_id)), 503, "access_token_rotating")
        api.tables.clock.sleep(300)
    answer = api.request("POST", path(item_id))
    if lost:
        assert problem(answer, 500, "access_token_lost")["remedy"] == "relink"
        return
    content(answer)
    assert token_of(api, item_id) not in api.plaid.replaced_tokens | {old}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_where_the_response_is_lost_the_old_token_shows_whether_it_was_replaced(
    api: Api, item_id: ItemId, *, after: bool
) -> None:
    api.fail("plaid", "invalidate_access_token", OutcomeUnknownError("plaid_unreachable"), after=after)
    answer = api.request("POST", path(item_id))
    if after:
        problem(answer, 500, "access_token_lost")
        return
    problem(answer, 503, "plaid_unreachable")
    assert api.item(item_id).token_rotation_began_at is None
    content(api.request("POST", path(item_id)))


REFUSALS = [
    PlaidError("INTERNAL_SERVER_ERROR", "refusal"),
    PlaidError("HTTP_502"),
    PlaidError("INVALID_ACCESS_TOKEN", "refusal"),
    PlaidError("RATE_LIMIT_EXCEEDED", "refusal"),
]


@pytest.mark.parametrize("error", REFUSALS, ids=str)
def test_after_any_refusal_a_token_that_was_replaced_is_reported_as_lost(
    api: Api, item_id: ItemId, error: PlaidError
) -> None:
    api.fail("plaid", "invalidate_access_token", error, after=True)
    problem(api.request("POST", path(item_id)), 500, "access_token_lost")
    assert api.item(item_id).token_rotation_began_at is not None


@pytest.mark.parametrize(
    "error", [PlaidError("HTTP_502"), PlaidError("INVALID_API_KEYS"), TransientError("plaid_unreachable")], ids=str
)
@pytest.mark.parametrize("replaced", [False, True])
def test_while_it_cannot_be_found_out_whether_a_token_was_replaced_the_rotation_stays_incomplete(
    api: Api, item_id: ItemId, error: Exception, *, replaced: bool
) -> None:
    api.fail("plaid", "invalidate_access_token", PlaidError("HTTP_502"), after=replaced)
    api.fail("plaid", "health", error, times=2)
    for _ in range(2):
        assert api.request("POST", path(item_id))["statusCode"] >= 500
        assert api.item(item_id).token_rotation_began_at is not None
        api.tables.clock.sleep(300)
    answer = api.request("POST", path(item_id))
    if replaced:
        problem(answer, 500, "access_token_lost")
    else:
        content(answer)


def test_an_item_whose_user_has_to_act_keeps_its_token_when_a_rotation_is_refused(api: Api, item_id: ItemId) -> None:
    api.plaid.refusals["health"] = "ITEM_LOGIN_REQUIRED"
    api.fail("plaid", "invalidate_access_token", PlaidError("HTTP_502"))
    api.request("POST", path(item_id))
    assert api.item(item_id).token_rotation_began_at is None


@pytest.mark.parametrize("error", [*REFUSALS, TransientError("plaid_unreachable")], ids=str)
def test_a_refused_rotation_changes_nothing(api: Api, item_id: ItemId, error: Exception) -> None:
    old = token_of(api, item_id)
    api.fail("plaid", "invalidate_access_token", error)
    assert api.request("POST", path(item_id))["statusCode"] >= 429
    assert (token_of(api, item_id), api.item(item_id).token_rotation_began_at) == (old, None)


def test_an_item_that_is_removed_meanwhile_keeps_the_new_token_for_its_removal(api: Api, item_id: ItemId) -> None:
    api.fail("plaid", "invalidate_access_token", None, meanwhile=lambda: api.request("DELETE", f"/items/{item_id}"))
    content(api.request("POST", path(item_id)))
    assert api.item(item_id).removed
    assert token_of(api, item_id) not in api.plaid.replaced_tokens


def test_a_removed_item_and_too_little_time_are_refused(api: Api, item_id: ItemId) -> None:
    problem(api.request("POST", path(item_id), seconds=99), 503, "not_enough_time_to_rotate")
    content(api.request("DELETE", f"/items/{item_id}"), 202)
    problem(api.request("POST", path(item_id)), 410, "item_removed")
    assert api.plaid.calls["invalidate"] == 0


@pytest.mark.parametrize(
    ("port", "call"),
    [
        ("tokens", "encrypt"),
        ("items", "begin_token_rotation"),
        ("plaid", "invalidate_access_token"),
        ("items", "finish_token_rotation"),
    ],
)
def test_of_two_rotations_at_once_one_replaces_the_token_and_no_token_is_lost(
    api: Api, item_id: ItemId, port: str, call: str
) -> None:
    statuses = []
    api.fail(
        port,
        call,
        None,
        meanwhile=lambda: statuses.append(api.request("POST", path(item_id), seconds=110)["statusCode"]),
    )
    statuses.append(api.request("POST", path(item_id), seconds=110)["statusCode"])
    assert sorted(statuses) in ([200, 200], [200, 503])
    assert token_of(api, item_id) not in api.plaid.replaced_tokens
    assert api.item(item_id).token_rotation_began_at is None


def test_a_token_that_was_stored_although_the_response_was_lost_is_not_reported_as_lost(
    api: Api, item_id: ItemId
) -> None:
    api.fail("items", "finish_token_rotation", after=True)
    content(api.request("POST", path(item_id), seconds=110))
    assert token_of(api, item_id) not in api.plaid.replaced_tokens


def test_a_new_token_that_another_rotation_leaves_no_place_for_is_reported_as_lost(api: Api, item_id: ItemId) -> None:
    def took_over() -> None:
        api.tables.clock.sleep(1)
        api.tables.items.set(item_id, token_rotation_began_at=api.tables.clock.now())

    api.fail("items", "finish_token_rotation", None, meanwhile=took_over)
    problem(api.request("POST", path(item_id), seconds=300), 500, "access_token_lost")
