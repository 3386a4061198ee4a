"""A user's bank account is linked once: whoever comes second is told, and can replace what is there."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from local.plaid import Behavior, Phase
from tests.component.crashes import Crash, asleep_at, delivered_late, killed_at, unreachable
from tests.component.inside import strikes_a_call
from tests.component.links import claims_of, content, history, linked, refused, triggers, went_through_link

if TYPE_CHECKING:
    from tests.component.world import World

EXCHANGE = "/item/public_token/exchange"
REMOVE = "/item/remove"


@pytest.fixture
def behavior() -> Behavior:
    return Behavior(rate_limits=False, initial_seconds=None, historical_seconds=None, history_transactions=5)


@pytest.fixture
def user(request: pytest.FixtureRequest) -> str:
    return f"user of {request.node.name}"


def test_a_second_link_of_a_bank_is_refused_before_the_exchange_and_names_the_item(world: World, user: str) -> None:
    item_id = linked(world, user, "login")
    again = went_through_link(world, user, "login")
    problem = refused(world.request("POST", "/items", again), 409, "duplicate_item")
    assert (problem["item_id"], problem["field"]) == (item_id, "item_id")
    assert f"?replace={item_id}" in problem["fix"]
    assert world.plaid.calls[EXCHANGE] == 1


def test_the_same_public_token_then_replaces_the_item(world: World, user: str) -> None:
    old = linked(world, user, "login")
    held = claims_of(world, old)
    triggers(world)
    again = went_through_link(world, user, "login")
    refused(world.request("POST", "/items", again), 409, "duplicate_item")
    new = content(world.request("POST", "/items", again, {"replace": old}), 201)["item_id"]
    assert new != old
    assert sorted(triggers(world)) == sorted([(new, "linked"), (old, "request")])
    replaced = world.item(old)
    assert (replaced["status"], replaced["removal_erases"], replaced["replaced_by"]) == ("removed", False, new)
    assert world.item(new)["status"] == "active"
    assert claims_of(world, new) == held == world.item(new)["bank_login_ids"]
    assert claims_of(world, old) == set()
    assert [entry.get("announcements") for entry in history(world, old)] == [["ItemLinked"], ["ItemRemoved"]]
    # Again, as if the answer had been lost.
    assert content(world.request("POST", "/items", again, {"replace": old}), 201)["item_id"] == new
    assert sorted(triggers(world)) == sorted([(new, "linked"), (old, "request")])
    assert world.plaid.calls[EXCHANGE] == 2


def test_a_replaced_items_transactions_are_erased_where_that_is_asked_for(world: World, user: str) -> None:
    old = linked(world, user, "login")
    linked(world, user, "login", {"replace": old, "transactions": "erase"})
    assert world.item(old)["removal_erases"] is True


def filled(world: World, item_id: str) -> None:
    """Let the Item's transactions arrive."""
    while world.plaid.advance_phase(item_id) < Phase.HISTORICAL:
        pass
    world.drain()
    assert world.rows(item_id)


@pytest.mark.parametrize("completed", [False, True])
def test_an_item_that_was_removed_before_is_erased_where_its_replacement_asks_for_that(
    world: World, user: str, *, completed: bool
) -> None:
    old = linked(world, user, "login")
    filled(world, old)
    content(world.request("DELETE", f"/items/{old}"), 202)
    if completed:
        world.drain()
        assert world.item(old)["removal_completed_at"]
    body, query = went_through_link(world, user, "login"), {"replace": old, "transactions": "erase"}
    new = content(world.request("POST", "/items", body, query), 201)["item_id"]
    assert history(world, old)[-1]["outcome"] == "erasure_requested"
    world.drain()
    assert world.rows(old) == {}
    assert world.item(old)["removal_erases"] is True
    # Again, as if the answer had been lost: by now the old Item knows no user any more.
    assert content(world.request("POST", "/items", body, query), 201)["item_id"] == new


def test_a_retry_that_asks_for_the_rows_to_be_erased_after_all_has_them_erased(world: World, user: str) -> None:
    old = linked(world, user, "login")
    filled(world, old)
    body = went_through_link(world, user, "login")
    new = content(world.request("POST", "/items", body, {"replace": old}), 201)["item_id"]
    world.drain()
    assert world.rows(old)
    query = {"replace": old, "transactions": "erase"}
    assert content(world.request("POST", "/items", body, query), 201)["item_id"] == new
    world.drain()
    assert world.rows(old) == {}
    # Never back to keep.
    assert content(world.request("POST", "/items", body, {"replace": old}), 201)["item_id"] == new
    assert world.item(old)["removal_erases"] is True
    asked = [entry for entry in history(world, old) if entry["outcome"] == "erasure_requested"]
    assert len(asked) == 1


def test_nobody_erases_another_users_removed_item(world: World, user: str) -> None:
    theirs = linked(world, "another user", "login")
    world.drain()
    content(world.request("DELETE", f"/items/{theirs}"), 202)
    body, query = went_through_link(world, user, "login"), {"replace": theirs, "transactions": "erase"}
    assert refused(world.request("POST", "/items", body, query), 404, "item_not_found")["field"] == "replace"
    assert world.item(theirs)["removal_erases"] is False


def test_other_users_and_other_logins_are_no_duplicates(world: World, user: str) -> None:
    items = {linked(world, user, "login"), linked(world, f"{user} 2", "login"), linked(world, user, "other login")}
    assert len(items) == 3


def test_one_common_account_is_enough(world: World, user: str) -> None:
    item_id = linked(world, user, "login")
    table = world.stack.client("dynamodb")
    for key in sorted(claims_of(world, item_id))[1:]:
        table.delete_item(TableName=world.stack.links_table, Key={"link_key": {"S": key}})
    answer = world.request("POST", "/items", went_through_link(world, user, "login"))
    assert refused(answer, 409, "duplicate_item")["item_id"] == item_id


def test_a_removed_item_holds_nothing_even_before_its_removal_is_finished(world: World, user: str) -> None:
    item_id = linked(world, user, "login")
    content(world.request("DELETE", f"/items/{item_id}"), 202)
    new = linked(world, user, "login")
    assert claims_of(world, item_id) == set()
    assert claims_of(world, new) == world.item(new)["bank_login_ids"]
    world.drain()  # the removal releases its claims, which are another Item's by now
    assert claims_of(world, new) == world.item(new)["bank_login_ids"]


def test_an_item_that_is_gone_holds_nothing(world: World, user: str) -> None:
    item_id = linked(world, user, "login")
    world.stack.client("dynamodb").delete_item(TableName=world.stack.items_table, Key={"item_id": {"S": item_id}})
    assert linked(world, user, "login") != item_id


@strikes_a_call
def test_of_two_sessions_that_race_for_one_bank_one_wins_and_the_other_leaves_nothing(world: World, user: str) -> None:
    """Both have found the bank free, and have exchanged their tokens; the first one is about to store its Item."""
    first, second = went_through_link(world, user, "login"), went_through_link(world, user, "login")
    loser = world.plaid.public_tokens[first["public_token"]].item.item_id
    answers = []

    def second_comes() -> None:
        thread = threading.Thread(target=lambda: answers.append(world.request("POST", "/items", second)))
        thread.start()
        thread.join()

    with asleep_at(1, second_comes, "TransactWriteItems"):
        answer = world.request("POST", "/items", first)
    winner = content(answers[0], 201)["item_id"]
    assert refused(answer, 409, "duplicate_item")["item_id"] == winner
    assert world.plaid.item(loser).removed
    assert not world.plaid.item(winner).removed
    assert world.item(loser) == {}
    assert claims_of(world, loser) == set()
    assert triggers(world) == [(winner, "linked")]


@strikes_a_call
def test_of_two_sessions_that_race_to_replace_an_item_one_wins(world: World, user: str) -> None:
    old = linked(world, user, "login")
    first, second = went_through_link(world, user, "login"), went_through_link(world, user, "login")
    loser = world.plaid.public_tokens[first["public_token"]].item.item_id
    answers = []

    def second_comes() -> None:
        thread = threading.Thread(
            target=lambda: answers.append(world.request("POST", "/items", second, {"replace": old}))
        )
        thread.start()
        thread.join()

    with asleep_at(1, second_comes, "TransactWriteItems"):
        answer = world.request("POST", "/items", first, {"replace": old})
    winner = content(answers[0], 201)["item_id"]
    assert refused(answer, 409, "duplicate_item")["item_id"] == winner
    assert world.item(old)["replaced_by"] == winner
    assert world.plaid.item(loser).removed
    assert world.item(loser) == {}


@strikes_a_call
def test_an_item_that_is_removed_while_it_is_replaced_does_not_stand_in_the_way(world: World, user: str) -> None:
    old = linked(world, user, "login")
    again = went_through_link(world, user, "login")
    with asleep_at(1, lambda: world.set_attribute(old, "status", {"S": "removed"}), "TransactWriteItems"):
        answer = world.request("POST", "/items", again, {"replace": old})
    new = content(answer, 201)["item_id"]
    assert claims_of(world, new)
    assert "replaced_by" not in world.item(old)


@strikes_a_call
def test_the_loser_of_a_race_that_can_not_be_removed_is_reported(world: World, user: str) -> None:
    first, second = went_through_link(world, user, "login"), went_through_link(world, user, "login")

    def second_comes() -> None:
        thread = threading.Thread(target=lambda: world.request("POST", "/items", second))
        thread.start()
        thread.join()

    world.plaid.inject_fault(REMOVE, "INTERNAL_SERVER_ERROR", times=10)
    with asleep_at(1, second_comes, "TransactWriteItems"):
        refused(world.request("POST", "/items", first), 500, "item_orphaned")


def test_only_an_item_of_the_same_user_can_be_replaced(world: World, user: str) -> None:
    theirs, without = linked(world, "another user", "login"), world.link()
    body = went_through_link(world, user, "login")
    for item_id in (theirs, without, "unknown"):
        answer = world.request("POST", "/items", body, {"replace": item_id})
        assert refused(answer, 404, "item_not_found")["field"] == "replace"
    assert world.plaid.calls[EXCHANGE] == 2
    assert world.item(theirs)["status"] == "active"


def test_a_link_that_replaced_nothing_is_not_taken_for_one_that_did(world: World, user: str) -> None:
    old = linked(world, user, "login")
    body = went_through_link(world, user, "other login")
    item_id = content(world.request("POST", "/items", body), 201)["item_id"]
    problem = refused(world.request("POST", "/items", body, {"replace": old}), 409, "linked_without_replace")
    assert problem["item_id"] == item_id
    assert world.item(old)["status"] == "active"


def test_a_retry_of_a_link_whose_item_is_removed_is_410(world: World, user: str) -> None:
    body = went_through_link(world, user, "login")
    item_id = content(world.request("POST", "/items", body), 201)["item_id"]
    content(world.request("DELETE", f"/items/{item_id}"), 202)
    assert refused(world.request("POST", "/items", body), 410, "item_removed")["item_id"] == item_id
    alone = {"public_token": body["public_token"]}
    refused(world.request("POST", "/items", alone), 410, "item_removed")


@strikes_a_call
def test_two_equal_requests_at_once_are_no_duplicates_of_each_other(world: World, user: str) -> None:
    """The repeat is answered while the first looks for duplicates: the claims that it finds are its own."""
    body = went_through_link(world, user, "login")
    answers = []

    def repeat() -> None:
        thread = threading.Thread(target=lambda: answers.append(world.request("POST", "/items", body)))
        thread.start()
        thread.join()

    with asleep_at(1, repeat, "BatchGetItem"):
        answers.append(world.request("POST", "/items", body))
    assert [answer["statusCode"] for answer in answers] == [201, 201]
    assert answers[0]["body"] == answers[1]["body"]
    assert world.plaid.calls[EXCHANGE] == 1


@strikes_a_call
def test_a_replacement_whose_answer_is_lost_is_completed(world: World, user: str) -> None:
    old = linked(world, user, "login")
    again = went_through_link(world, user, "login")
    triggers(world)
    with unreachable("TransactWriteItems", before=False):
        answer = world.request("POST", "/items", again, {"replace": old})
    new = content(answer, 201)["item_id"]
    assert world.item(old)["replaced_by"] == new
    assert sorted(triggers(world)) == sorted([(new, "linked"), (old, "request")])
    assert not world.plaid.item(new).removed


@strikes_a_call
def test_a_registration_that_arrives_after_it_was_given_up_finds_the_item_void(world: World, user: str) -> None:
    """The Item is removed at Plaid by then: stored, it would be a corpse that holds the user's accounts."""
    body = went_through_link(world, user, "login")
    item_id = world.plaid.public_tokens[body["public_token"]].item.item_id
    with delivered_late("TransactWriteItems") as late:
        refused(world.request("POST", "/items", body), 503, "link_undone")
    assert world.plaid.item(item_id).removed
    assert late() == 400
    assert world.item(item_id) == {}
    assert claims_of(world, item_id) == set()
    assert linked(world, user, "login")


@strikes_a_call
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_a_replacement_that_dies_at_any_call_is_completed_by_its_retry(
    world: World, user: str, *, before: bool
) -> None:
    """At no point are both Items gone, or both alive with one claim."""
    number, struck = 0, True
    while struck:
        number += 1
        login = f"login {number}"
        old = linked(world, user, login)
        again = went_through_link(world, user, login)
        triggers(world)
        crash = Crash(number, before=before)
        with killed_at(crash):
            world.request("POST", "/items", again, {"replace": old})
        struck = crash.struck
        answer = world.request("POST", "/items", again, {"replace": old})
        if answer["statusCode"] == 400:  # dead between the exchange and the transaction: the old Item is what it was
            assert refused(answer, 400, "INVALID_PUBLIC_TOKEN")
            assert world.item(old)["status"] == "active"
            assert claims_of(world, old)
            continue
        new = content(answer, 201)["item_id"]
        assert world.item(old)["replaced_by"] == new
        assert {(new, "linked"), (old, "request")} <= set(triggers(world))
        assert claims_of(world, new)
    assert number > 8
