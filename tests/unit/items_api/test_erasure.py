"""The erasure of a user goes on from request to request, and ends only when no write can be on its way."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from plaid_sync.items_api.erasure import SETTLING
from pyrage import x25519

from tests.fakes.api import content

if TYPE_CHECKING:
    from plaid_sync.domain.item import ItemId

    from tests.fakes.api import Api

SECOND = timedelta(seconds=1)


def erase(api: Api, status: int, seconds: float = 900.0) -> dict[str, Any]:
    event = {"routeKey": "DELETE /users/{client_user_id}", "pathParameters": {"client_user_id": "user"}}
    return content(api.serve(event, seconds), status)


def removed(api: Api) -> ItemId:
    """Link an Item, begin the erasure, and let the worker remove the Item."""
    item_id = api.linked()
    assert erase(api, 202)["waiting_for"] == [item_id]
    tables = api.tables
    tables.remover(api.plaid).finish(api.item(item_id), tables.clock.deadline(900.0), ())
    return item_id


def test_an_erasure_ends_when_no_write_can_be_on_its_way(api: Api) -> None:
    item_id = removed(api)
    assert (erase(api, 202)["state"], api.tables.items.load(item_id)) == ("erasing", None)
    assert erase(api, 202)["state"] == "settling"
    api.tables.clock.time += SETTLING - SECOND
    assert erase(api, 202)["state"] == "settling"
    api.tables.clock.time += SECOND
    receipt = erase(api, 200)
    assert (receipt["erased"]["items"], receipt["remaining"]) == (1, 0)
    assert erase(api, 200) == receipt
    assert api.tables.entries == []


def test_a_request_without_time_erases_no_item_and_the_next_one_does(api: Api) -> None:
    item_id = removed(api)
    assert erase(api, 202, seconds=5.0)["erased"]["items"] == 0
    assert api.tables.items.load(item_id) is not None
    assert erase(api, 202)["erased"]["items"] == 1


def test_a_removal_that_kept_the_transactions_erases_them(api: Api) -> None:
    item_id = api.linked()
    content(api.request("DELETE", f"/items/{item_id}"), 202)
    erase(api, 202)
    assert api.removal(item_id).erase


def test_the_erasure_of_a_user_leaves_an_item_at_plaid_that_another_system_goes_on_with(api: Api) -> None:
    item_id, recipient = api.linked(), str(x25519.Identity.generate().to_public())
    content(api.request("POST", f"/access-tokens/{item_id}/export", {"recipient": recipient}))
    content(api.request("DELETE", f"/items/{item_id}", query={"at_plaid": "keep"}), 202)
    assert erase(api, 202)["waiting_for"] == [item_id]
    tables = api.tables
    tables.remover(api.plaid).finish(api.item(item_id), tables.clock.deadline(900.0), ())
    assert erase(api, 202)["erased"]["items"] == 1
    assert (tables.items.load(item_id), api.plaid.removed, tables.orphaned) == (None, [], [])


def test_of_an_unknown_user_nothing_is_written(api: Api) -> None:
    assert erase(api, 404)["code"] == "user_not_found"
    assert api.ports["users"].users == {}
