"""A user's bank account is linked once: the second link is refused, and can replace the first."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from local.plaid import Behavior
from tests.integration.crashes import Crash, asleep_at, delivered_late, killed_at, unreachable
from tests.integration.in_process import strikes_a_call
from tests.integration.link_flows import (
    claims_of,
    content,
    history,
    is_rolled_back,
    linked,
    refused,
    take_messages,
    went_through_link,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.harness import World

EXCHANGE = "/item/public_token/exchange"


@pytest.fixture
def behavior() -> Behavior:
    return Behavior(rate_limits=False, initial_seconds=None, historical_seconds=None, history_transactions=5)


def test_a_second_link_of_a_bank_is_refused_and_then_replaces_the_item(world: World, user: str) -> None:
    old = linked(world, user, "login")
    held = claims_of(world, old)
    take_messages(world)
    again = went_through_link(world, user, "login")
    refused(world.request("POST", "/items", again), 409, "duplicate_item")
    new = content(world.request("POST", "/items", again, {"replace": old}), 201)["item_id"]
    assert new != old
    assert sorted(take_messages(world)) == sorted([(new, "linked"), (old, "request")])
    replaced = world.item(old)
    assert (replaced["state"], replaced["removal_erases"], replaced["replaced_by"]) == ("removed", False, new)
    assert world.item(new)["state"] == "active"
    assert claims_of(world, new) == held == world.item(new)["bank_login_ids"]
    assert claims_of(world, old) == set()
    assert [entry.get("published_events") for entry in history(world, old)] == [["ItemLinked"], ["ItemRemoved"]]
    # Again, as if the answer had been lost; erasure can be requested with it.
    query = {"replace": old, "transactions": "erase"}
    assert content(world.request("POST", "/items", again, query), 201)["item_id"] == new
    assert sorted(take_messages(world)) == sorted([(new, "linked"), (old, "request")])
    assert world.item(old)["removal_erases"] is True
    assert world.plaid.calls[EXCHANGE] == 2


@strikes_a_call
@pytest.mark.parametrize("replaces", [False, True])
def test_of_two_sessions_that_race_for_one_bank_one_wins_and_the_other_leaves_nothing(
    world: World, user: str, *, replaces: bool
) -> None:
    """Both have exchanged their tokens; the first one is about to store its Item, which may replace another."""
    old = linked(world, user, "login") if replaces else None
    take_messages(world)
    query = {"replace": old} if old else None
    first, second = went_through_link(world, user, "login"), went_through_link(world, user, "login")
    loser = world.plaid.public_tokens[first["public_token"]].item.item_id
    answers = []

    def second_comes() -> None:
        thread = threading.Thread(target=lambda: answers.append(world.request("POST", "/items", second, query)))
        thread.start()
        thread.join()

    # The first transaction stores the token of the exchanged Item, the second one registers it.
    with asleep_at(2, second_comes, "TransactWriteItems"):
        answer = world.request("POST", "/items", first, query)
    winner = content(answers[0], 201)["item_id"]
    assert refused(answer, 409, "duplicate_item")["item_id"] == winner
    assert world.plaid.item(loser).removed
    assert not world.plaid.item(winner).removed
    assert is_rolled_back(world, loser)
    assert claims_of(world, loser) == set()
    assert set(take_messages(world)) == {(winner, "linked")} | ({(old, "request")} if old else set())
    assert old is None or world.item(old)["replaced_by"] == winner


@strikes_a_call
def test_two_equal_requests_at_once_are_no_duplicates_of_each_other(world: World, user: str) -> None:
    """The repeat is answered while the first one looks for duplicates: the claims that it finds are its own."""
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
    take_messages(world)
    with unreachable("TransactWriteItems", before=False, at=2):
        answer = world.request("POST", "/items", again, {"replace": old})
    new = content(answer, 201)["item_id"]
    assert world.item(old)["replaced_by"] == new
    assert sorted(take_messages(world)) == sorted([(new, "linked"), (old, "request")])
    assert not world.plaid.item(new).removed


@strikes_a_call
def test_a_registration_that_arrives_after_its_rollback_finds_the_item_void(world: World, user: str) -> None:
    """The Item is removed at Plaid by then: stored, it would be a corpse that holds the user's accounts."""
    body = went_through_link(world, user, "login")
    item_id = world.plaid.public_tokens[body["public_token"]].item.item_id
    with delivered_late("TransactWriteItems", at=2) as late:
        refused(world.request("POST", "/items", body), 503, "link_rolled_back")
    assert world.plaid.item(item_id).removed
    assert late() == 400
    assert is_rolled_back(world, item_id)
    assert claims_of(world, item_id) == set()
    assert linked(world, user, "login")


@strikes_a_call
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_a_replacement_that_dies_at_any_call_is_completed_by_its_retry(
    world: World, user: str, calls_to_die_at: Iterator[int], *, before: bool
) -> None:
    """At no point are both Items gone, or both alive with one claim."""
    for number in calls_to_die_at:
        login = f"login {number}"
        old = linked(world, user, login)
        again = went_through_link(world, user, login)
        take_messages(world)
        crash = Crash(number, before=before)
        with killed_at(crash):
            world.request("POST", "/items", again, {"replace": old})
        answer = world.request("POST", "/items", again, {"replace": old})
        if answer["statusCode"] == 400:  # dead between the exchange and the transaction: the old Item is what it was
            assert refused(answer, 400, "INVALID_PUBLIC_TOKEN")
            assert world.item(old)["state"] == "active"
            assert claims_of(world, old)
            continue
        new = content(answer, 201)["item_id"]
        assert world.item(old)["replaced_by"] == new
        assert {(new, "linked"), (old, "request")} <= set(take_messages(world))
        assert claims_of(world, new)
        if not crash.struck:
            break
    assert number > 8
