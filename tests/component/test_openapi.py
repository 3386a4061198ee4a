"""docs/openapi.yaml is what the functions do: requests are made from it, and the real handlers answer them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from local.plaid import Phase
from tests.component.exploring import explore
from tests.component.gateway import gateway_of
from tests.component.lasting import lasting_world
from tests.component.links import content, link_token, linked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.component.functions import Functions
    from tests.component.gateway import Gateway
    from tests.component.world import World
    from tests.deployment import Deployment

Known = dict[str, list[str]]

DOCUMENT: Final[dict[str, Any]] = yaml.safe_load((Path(__file__).parents[2] / "docs" / "openapi.yaml").read_text())
ROUTES: Final = {
    f"{method.upper()} {path}": operation
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
    if "operationId" in operation
}
# Removing comes last: the others want Items in all states.
OPERATIONS: Final = sorted((route["operationId"] for route in ROUTES.values()), key=lambda name: name == "removeItem")
USER: Final = "user-17"
ABSENT: Final = object()
ITEM: Final = "paths|/items/{item_id}"
LIMIT: Final = "paths|/items|get|parameters|2|schema"
INVALID: Final = "components|responses|Invalid"
NOTHING: Final = "components|requestBodies|Nothing|content|application/json|schema"
SUMMARY: Final = "components|schemas|ItemSummary|properties"
FRESHNESS: Final = "components|schemas|Freshness|properties"


@pytest.fixture(scope="module")
def world(deployment: Deployment, functions: Functions) -> Iterator[World]:
    with lasting_world(deployment, seed=20, functions=functions) as world:
        yield world


@pytest.fixture(scope="module")
def gateway(world: World) -> Gateway:
    return gateway_of(world, ROUTES)


@pytest.fixture(scope="module")
def known(world: World) -> Known:
    """Items in several states, and what else nobody could guess."""
    well, broken, ended, gone = (linked(world, USER, login) for login in ("ana", "ben", "cem", "dea"))
    nobodys = world.link(transactions=5)
    for item_id in (well, broken, ended, gone):
        while world.plaid.advance_phase(item_id) < Phase.HISTORICAL:
            pass
    world.plaid.set_item_error(broken, "ITEM_LOGIN_REQUIRED", notify=False)
    world.plaid.set_item_error(ended, "USER_PERMISSION_REVOKED", notify=False)
    content(world.request("DELETE", f"/items/{gone}", query={"transactions": "erase"}), 202)
    world.drain()
    shown = {item_id: content(world.request("GET", f"/items/{item_id}")) for item_id in (well, broken, ended, gone)}
    assert [item["state"] for item in shown.values()] == ["active", "needs_user", "revoked", "removed"]
    assert shown[well]["transactions"]["live"] > 0
    items = [*shown, nobodys]
    return {
        "path.item_id": items,
        "query.replace": items,
        "query.account_id": [account["account_id"] for account in shown[well]["accounts"]],
        "query.client_user_id": [USER],
        "body.client_user_id": [USER],
        "body.public_token": [world.plaid.create_public_token(transactions=2) for _ in range(5)],
        "body.link_token": [link_token(world, USER), link_token(world, USER, item_id=broken)],
    }


@pytest.mark.parametrize(
    ("error_code", "status"), [("ITEM_LOCKED", 409), ("ACCOUNTS_LIMIT", 429), ("INVALID_FIELD", 502), ("HTTP_500", 503)]
)
def test_a_refusal_of_plaids_is_answered_as_documented(
    world: World, gateway: Gateway, known: Known, error_code: str, status: int
) -> None:
    world.plaid.inject_fault("/accounts/get", error_code, times=1000)
    found = explore(DOCUMENT, gateway, "fetchAccounts", known)
    world.plaid.clear_faults()
    assert found.differences == []
    assert status in found.answers


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_the_functions_do_what_the_document_says(gateway: Gateway, known: Known, operation_id: str) -> None:
    found = explore(DOCUMENT, gateway, operation_id, known)
    assert found.differences == []
    (operation,) = (route for route in ROUTES.values() if route["operationId"] == operation_id)
    documented = {int(status) for status in operation["responses"]}
    # Nobody can guess a signature of Plaid's.
    successes = {401} if operation_id == "receiveWebhook" else {status for status in documented if status < 300}
    assert successes <= set(found.answers)
    assert len(found.answers) > 1 or operation_id == "receiveWebhook"


@pytest.mark.parametrize(
    ("operation_id", "broken", "difference"),
    [
        ("getItem", (f"{ITEM}|get|responses|404", ABSENT), "Undocumented status code"),
        ("listHistory", (f"{INVALID}|content", {"text/plain": {"schema": {}}}), "Undocumented Content-Type"),
        ("listItems", (f"{SUMMARY}|state|$ref", "#/components/schemas/Remedy"), "violates schema"),
        ("getItem", (f"{FRESHNESS}|pulled_at", ABSENT), "Unevaluated properties"),
        ("getItem", ("components|schemas|Item|allOf|1|required|0", "account_list"), "is a required property"),
        ("removeItem", ("components|headers|ItemLocation|schema|pattern", "^/item/"), "header does not conform"),
        ("listItems", (f"{LIMIT}|maximum", 50), "Schema-violating request accepted"),
        ("listItems", (f"{LIMIT}|maximum", 101), "valid data is refused"),
        ("resyncItem", (f"{NOTHING}|additionalProperties", True), "valid data is refused"),
    ],
)
def test_a_difference_is_noticed(
    gateway: Gateway, known: Known, operation_id: str, broken: tuple[str, object], difference: str
) -> None:
    found = explore(changed(*broken), gateway, operation_id, known)
    assert difference in "\n".join(found.differences)


def changed(at: str, value: object) -> dict[str, Any]:
    """Return a copy of the document with another value somewhere, or without one."""
    document = copy.deepcopy(DOCUMENT)
    *parents, last = at.split("|")
    target: Any = document
    for step in parents:
        target = target[int(step)] if isinstance(target, list) else target[step]
    if value is ABSENT:
        del target[last]
    else:
        target[int(last) if isinstance(target, list) else last] = value
    return document
