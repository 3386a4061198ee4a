"""A user's bank account is linked once: a second link is refused, or replaces the first Item."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from plaid_sync.domain.errors import UnreadableItemError
from plaid_sync.domain.item import ItemState, StateName
from plaid_sync.linking.sessions import ListedResults

from tests.fakes.api import Api, content, problem
from tests.fakes.clock import NOON
from tests.fakes.plaid import login

if TYPE_CHECKING:
    from plaid_sync.domain.accounts import Account


def test_a_second_link_of_a_bank_is_refused_before_the_exchange_and_names_the_item(api: Api) -> None:
    item_id = api.linked()
    refused = problem(api.request("POST", "/items", api.went_through_link("user")), 409, "duplicate_item")
    assert (refused["item_id"], refused["field"]) == (item_id, "item_id")
    assert f"?replace={item_id}" in refused["fix"]
    assert api.plaid.calls["exchange"] == 1


def test_the_same_public_token_then_replaces_the_item_and_a_repeat_changes_nothing(api: Api) -> None:
    old = api.linked()
    held = api.tables.links.claims_of(old)
    again = api.went_through_link("user")
    problem(api.request("POST", "/items", again), 409, "duplicate_item")
    api.queue.take()
    new = content(api.request("POST", "/items", again, {"replace": old}), 201)["item_id"]
    assert new != old
    assert api.queue.take() == [(new, "linked"), (old, "request")]
    removal = api.removal(old)
    assert (api.item(old).removed, removal.erase, api.tables.items.replaced_by[old]) == (True, False, new)
    assert api.tables.links.claims_of(new) == held == api.item(new).bank_login_ids
    assert api.tables.links.claims_of(old) == set()
    assert [entry.get("published_events") for entry in api.history(old)] == [["ItemLinked"], ["ItemRemoved"]]
    assert api.history(new)[0]["replaces"] == old
    assert content(api.request("POST", "/items", again, {"replace": old}), 201)["item_id"] == new
    assert api.queue.take() == [(new, "linked"), (old, "request")]
    assert api.plaid.calls["exchange"] == 2


@pytest.mark.parametrize("removed", [False, True], ids=["lives", "removed"])
@pytest.mark.parametrize("completed", [False, True], ids=["incomplete", "completed"])
def test_the_rows_of_a_replaced_item_are_erased_on_request_also_after_its_removal(
    api: Api, *, removed: bool, completed: bool
) -> None:
    old = api.linked()
    if removed:
        content(api.request("DELETE", f"/items/{old}"), 202)
        removal = api.removal(old)
        api.tables.items.set(old, removal=replace(removal, completed_at=NOON if completed else None))
    body, query = api.went_through_link("user"), {"replace": old, "transactions": "erase"}
    new = content(api.request("POST", "/items", body, query), 201)["item_id"]
    after = api.removal(old)
    assert (after.erase, after.completed_at) == (True, None)
    assert api.history(old)[-1]["outcome"] == ("erasure_requested" if removed else "removal_requested")
    # The erased Item no longer has a user: the repeat is served all the same.
    api.tables.items.set(old, client_user_id=None)
    assert content(api.request("POST", "/items", body, query), 201)["item_id"] == new


def test_a_repeat_that_requests_erasure_erases_and_none_goes_back_to_keeping(api: Api) -> None:
    old = api.linked()
    body = api.went_through_link("user")
    new = content(api.request("POST", "/items", body, {"replace": old}), 201)["item_id"]
    for transactions in ("erase", "erase", "keep"):
        query = {"replace": old, "transactions": transactions}
        assert content(api.request("POST", "/items", body, query), 201)["item_id"] == new
        removal = api.removal(old)
        assert removal.erase
    assert [entry["outcome"] for entry in api.history(old)].count("erasure_requested") == 1


@pytest.mark.parametrize("name", ["another user's", "without a user", "unknown"])
def test_only_an_item_of_the_same_user_can_be_replaced(api: Api, name: str) -> None:
    api.plaid.add_public_token("public-1")
    alone = content(api.request("POST", "/items", {"public_token": "public-1"}), 201)["item_id"]
    item_id = {"another user's": api.linked("another"), "without a user": alone, "unknown": "unknown"}[name]
    exchanges = api.plaid.calls["exchange"]
    refused = problem(
        api.request("POST", "/items", api.went_through_link("user"), {"replace": item_id}), 404, "item_not_found"
    )
    assert refused["field"] == "replace"
    assert api.plaid.calls["exchange"] == exchanges
    assert name == "unknown" or not api.item(item_id).removed


def test_a_removed_item_of_another_user_is_not_erased(api: Api) -> None:
    theirs = api.linked("another")
    content(api.request("DELETE", f"/items/{theirs}"), 202)
    query = {"replace": theirs, "transactions": "erase"}
    refused = problem(api.request("POST", "/items", api.went_through_link("user"), query), 404, "item_not_found")
    removal = api.removal(theirs)
    assert (refused["field"], removal.erase) == ("replace", False)


def test_other_users_and_other_logins_are_no_duplicates(api: Api) -> None:
    assert len({api.linked(), api.linked("another"), api.linked("user", "other login")}) == 3


def test_one_common_account_is_a_duplicate(api: Api) -> None:
    item_id = api.linked()
    for key in sorted(api.tables.links.claims_of(item_id))[1:]:
        del api.tables.links.held[key]
    refused = problem(api.request("POST", "/items", api.went_through_link("user")), 409, "duplicate_item")
    assert refused["item_id"] == item_id


def test_a_claim_that_a_dead_attempt_left_behind_holds_no_account(api: Api) -> None:
    item_id = api.linked()
    held = api.item(item_id).bank_login_ids
    api.tables.links.take(api.item(item_id), held)
    # An attempt took the claims, and is about to record them, or died: the next comparison does, if it sees why.
    holds: list[dict[str, Any]] = [
        {"bank_login_ids": frozenset(), "unfinished_attempts": 1, "accounts_checked_at": NOON + timedelta(hours=1)},
        {"unfinished_attempts": 0, "accounts_checked_at": NOON + timedelta(minutes=1)},
        {"bank_login_ids": frozenset(sorted(held)[:1]), "accounts_checked_at": NOON + timedelta(hours=1)},
    ]
    for fields in holds:
        api.tables.items.set(item_id, **fields)
        problem(api.request("POST", "/items", api.went_through_link("user")), 409, "duplicate_item")
    api.tables.items.set(item_id, bank_login_ids=frozenset())
    new = api.linked()
    assert api.tables.links.claims_of(new) == held == api.item(new).bank_login_ids


def test_a_removed_item_or_one_that_is_gone_holds_no_account(api: Api) -> None:
    first = api.linked()
    content(api.request("DELETE", f"/items/{first}"), 202)
    second = api.linked()
    assert api.tables.links.claims_of(first) == set()
    assert api.tables.links.claims_of(second) == api.item(second).bank_login_ids != set()
    del api.tables.items.stored[second]
    assert api.linked() not in {first, second}


def test_of_two_sessions_that_race_for_one_bank_one_wins_and_the_other_is_rolled_back(api: Api) -> None:
    """Both found the bank free; the second one stores its Item while the first one is about to."""
    first, second = api.went_through_link("user"), api.went_through_link("user")
    winner = api.plaid.exchangeable[second["public_token"]].item_id
    loser = api.plaid.exchangeable[first["public_token"]]
    api.fail("registrations", "register", None, meanwhile=lambda: content(api.request("POST", "/items", second), 201))
    refused = problem(api.request("POST", "/items", first), 409, "duplicate_item")
    assert refused["item_id"] == winner
    assert api.plaid.removed == [loser.access_token]
    assert api.tables.items.stored.keys() == {winner}
    assert api.queue.take() == [(winner, "linked")]


def test_the_loser_of_a_race_that_cannot_be_removed_is_reported(api: Api) -> None:
    first, second = api.went_through_link("user"), api.went_through_link("user")
    api.plaid.refusals["remove"] = "INTERNAL_SERVER_ERROR"
    api.fail("registrations", "register", None, meanwhile=lambda: api.request("POST", "/items", second))
    problem(api.request("POST", "/items", first), 500, "item_orphaned")


def test_of_two_sessions_that_race_to_replace_an_item_one_wins(api: Api) -> None:
    old = api.linked()
    first, second = api.went_through_link("user"), api.went_through_link("user")
    query = {"replace": old}
    winner = api.plaid.exchangeable[second["public_token"]].item_id
    api.fail("registrations", "register", None, meanwhile=lambda: api.request("POST", "/items", second, query))
    assert problem(api.request("POST", "/items", first, query), 409, "duplicate_item")["item_id"] == winner
    assert api.tables.items.replaced_by == {old: winner}
    assert api.tables.items.stored.keys() == {old, winner}


def test_an_item_that_is_removed_while_it_is_replaced_does_not_block_the_link(api: Api) -> None:
    old = api.linked()
    removed = ItemState(StateName.REMOVED)
    api.fail("registrations", "register", None, meanwhile=lambda: api.tables.items.set(old, state=removed))
    new = content(api.request("POST", "/items", api.went_through_link("user"), {"replace": old}), 201)["item_id"]
    assert api.tables.links.claims_of(new)
    assert api.tables.items.replaced_by == {}


def test_two_equal_requests_at_once_are_no_duplicates_of_each_other(api: Api) -> None:
    """The repeat is served while the first request looks for duplicates: the claims that it finds are its own."""
    body = api.went_through_link("user")
    repeats: list[str] = []
    api.fail(
        "links",
        "claims",
        None,
        meanwhile=lambda: repeats.append(content(api.request("POST", "/items", body), 201)["item_id"]),
    )
    assert [content(api.request("POST", "/items", body), 201)["item_id"]] == repeats
    assert api.plaid.calls["exchange"] == 1


def test_a_replacement_whose_response_is_lost_is_completed(api: Api) -> None:
    old = api.linked()
    api.queue.take()
    api.fail("registrations", "register", after=True)
    new = content(api.request("POST", "/items", api.went_through_link("user"), {"replace": old}), 201)["item_id"]
    assert api.tables.items.replaced_by == {old: new}
    assert api.queue.take() == [(new, "linked"), (old, "request")]
    assert api.plaid.removed == []


def test_a_link_that_replaced_nothing_is_not_taken_for_one_that_did(api: Api) -> None:
    old, body = api.linked(), api.went_through_link("user", "other login")
    item_id = content(api.request("POST", "/items", body), 201)["item_id"]
    refused = problem(api.request("POST", "/items", body, {"replace": old}), 409, "linked_without_replace")
    assert refused["item_id"] == item_id
    assert not api.item(old).removed


def test_a_repeat_for_a_removed_item_is_410_with_and_without_the_session(api: Api) -> None:
    body = api.went_through_link("user")
    item_id = content(api.request("POST", "/items", body), 201)["item_id"]
    content(api.request("DELETE", f"/items/{item_id}"), 202)
    for repeat in (body, {"public_token": body["public_token"]}):
        assert problem(api.request("POST", "/items", repeat), 410, "item_removed")["item_id"] == item_id


def test_a_claim_of_an_item_in_an_unknown_state_is_held(api: Api) -> None:
    item_id = api.linked()
    api.tables.items.set(item_id, state=ItemState("frozen"))
    problem(api.request("POST", "/items", api.went_through_link("user")), 409, "duplicate_item")
    query = {"replace": item_id}
    problem(api.request("POST", "/items", api.went_through_link("user"), query), 409, "item_frozen")


# ---- banks that end the older connection, and siblings


@pytest.mark.parametrize("listed", [ListedResults.FULL, ListedResults.ABSENT])
def test_where_the_bank_ends_the_older_connection_replacing_is_recommended_and_the_old_item_checked(
    api: Api, listed: ListedResults
) -> None:
    api.plaid.link_results_listed = listed
    old = linked_at(api, "ins_56", login())["item_id"]
    api.queue.take()
    refused = problem(api.request("POST", "/items", body_at(api, "ins_56", login())), 409, "duplicate_item")
    assert f"replace {old}" in refused["fix"].replace("=", " ")
    assert "use that Item" not in refused["fix"]
    assert [check.code for check in api.item(old).pending_checks] == ["check_accounts"]
    assert api.queue.take() == [(old, "request")]


def body_at(api: Api, institution_id: str, accounts: tuple[Account, ...]) -> dict[str, Any]:
    token = api.link_token("user")
    public_token = api.plaid.complete(token, accounts, institution_id)
    return {"link_token": token, "client_user_id": "user", "public_token": public_token}


def linked_at(api: Api, institution_id: str, accounts: tuple[Account, ...]) -> dict[str, Any]:
    return content(api.request("POST", "/items", body_at(api, institution_id, accounts)), 201)


def test_an_equal_account_at_another_institution_id_warns_and_is_linked(api: Api) -> None:
    """A bank moved to another institution id: no claim distinguishes that from an equal account at another bank."""
    old = linked_at(api, "ins_3", login())
    assert old.keys() == {"item_id"}
    new = linked_at(api, "ins_56", login())
    (warning,) = new["warnings"]
    assert (warning["code"], warning["item_id"]) == ("possible_duplicate", old["item_id"])
    assert new["item_id"] != old["item_id"]
    assert not api.item(old["item_id"]).removed


def test_neither_other_accounts_nor_removed_items_nor_other_users_warn(api: Api) -> None:
    nameless = tuple(replace(account, mask=None) for account in login())
    linked_at(api, "ins_1", nameless)
    removed = linked_at(api, "ins_2", login())["item_id"]
    content(api.request("DELETE", f"/items/{removed}"), 202)
    api.linked("another")
    for institution_id, accounts in (("ins_3", login("other")), ("ins_4", nameless), ("ins_5", login())):
        assert "warnings" not in linked_at(api, institution_id, accounts)


def test_a_link_does_not_fail_for_want_of_a_warning(api: Api) -> None:
    api.fail("index", "page")
    assert "warnings" not in linked_at(api, "ins_1", login())


def test_a_damaged_item_of_the_same_user_does_not_fail_a_link(api: Api) -> None:
    old = linked_at(api, "ins_3", login())["item_id"]
    api.fail("items", "load", UnreadableItemError(old))
    new = linked_at(api, "ins_56", login())
    assert new.keys() == {"item_id"}
    assert api.ports["items"].times == 0
    assert not api.item(new["item_id"]).removed
