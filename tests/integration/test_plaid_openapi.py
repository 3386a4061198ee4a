"""What the functions send to Plaid against Plaid's own OpenAPI file, and what the local Plaid answers them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local.plaid import Phase
from tests.integration.link_flows import content, link_token, linked, went_through_link
from tests.plaid_openapi import openapi, show, validate

if TYPE_CHECKING:
    import pytest

    from tests.integration.harness import World

OTHER_PRODUCTS: dict[str, dict[str, Any]] = {
    "/accounts/balance/get": {},
    "/auth/get": {},
    "/identity/get": {"options": {}},
    "/investments/holdings/get": {},
    "/investments/transactions/get": {"start_date": "2020-01-01", "end_date": "2030-01-01", "options": {"count": 9}},
    "/liabilities/get": {},
    "/transactions/recurring/get": {},
}
SENT = {
    *OTHER_PRODUCTS,
    "/accounts/get",
    "/item/get",
    "/item/public_token/exchange",
    "/item/remove",
    "/item/webhook/update",
    "/link/token/create",
    "/link/token/get",
    "/transactions/refresh",
    "/transactions/sync",
    "/webhook_verification_key/get",
}


def test_the_requests_of_the_functions_are_plaids(world: World, user: str, capsys: pytest.CaptureFixture[str]) -> None:
    openapi()  # or skip
    calls: list[tuple[str, bytes, int, bytes]] = []
    world.plaid.observer = lambda *call: calls.append(call)
    wanted: dict[str, Any] = {"country_codes": ["US", "CA"], "days_requested": 90, "redirect_uri": "https://a.example"}
    body = went_through_link(world, user, "ana", hosted_link={}, client_name="Blue", **wanted)
    item_id = content(world.request("POST", "/items", body), 201)["item_id"]
    other = linked(world, f"another {user}")
    for item in (item_id, other):
        while world.plaid.advance_phase(item) < Phase.HISTORICAL:
            pass
        world.sync(item)
    session = link_token(world, user, item_id=item_id, account_selection=True)
    world.plaid.complete_link(session, new_account=True)
    world.request("POST", f"/items/{item_id}/sync", {"link_token": session})
    for action in ("accounts", "refresh", "webhook"):
        world.request("POST", f"/items/{item_id}/{action}")
    for path, fields in OTHER_PRODUCTS.items():
        content(world.request("POST", f"/items/{item_id}/plaid{path}", fields))
    world.drain()
    world.plaid.reset_login(other)
    webhook = world.plaid.webhooks(other)[-1].body
    world.post_webhook(webhook, world.plaid.sign(webhook))
    world.drain()
    world.audit({"item_id": item_id})
    world.request("DELETE", f"/items/{other}", query={"transactions": "erase"})
    world.drain()
    report = validate(world.plaid, calls)
    show(report, capsys)
    assert {path for (path,) in report.count("request")} >= SENT
