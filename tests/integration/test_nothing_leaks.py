"""Every path is walked with marked secrets, at the most talkative log level, and all that is put out is searched.

Tokens, Plaid's secret, names, amounts and masks may go into the tables, to Plaid and to an authorized caller;
never into a log, a metric or the text of a failure.
"""

from __future__ import annotations

import base64
import json
import logging
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import pytest
from pyrage import x25519

from local.plaid import CustomTransaction, Phase
from tests.integration.in_process import function

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.artifact import Artifact
    from tests.integration.harness import World

NAME: Final = "MARKED MERCHANT 7e1f"
AMOUNT: Final = Decimal("918273.6455463")
WEBHOOK_KEY: Final = "marked-key-of-the-other-system"
USER: Final = "user-of-the-marked-secrets"
_TOO_SHORT: Final = 8
"""A name of so few letters can occur in a log by chance."""


class Output:
    """Everything that the functions have put out."""

    def __init__(self, read: Callable[[], str], of_libraries: str) -> None:
        self._read, self.of_libraries = read, of_libraries
        self.refusals: list[str] = []

    def text(self) -> str:
        return "\n".join([self._read(), *self.refusals])


@pytest.fixture
def every_output(
    output: Callable[[], str],
    artifact: Artifact | None,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> Iterator[Output]:
    """Catch all logs of all libraries, down to DEBUG."""
    if artifact is not None:
        with artifact.with_variables({"AWS_LAMBDA_LOG_LEVEL": "DEBUG", "POWERTOOLS_LOG_LEVEL": "DEBUG"}):
            # At DEBUG nothing is heard of the libraries but this: the engine holds them at INFO.
            yield Output(output, "botocore.credentials")
        return
    caplog.set_level(logging.DEBUG)
    loggers = [function(name).logger for name in ("items", "sync", "webhook", "sweep")]
    for logger in loggers:
        logger.setLevel("DEBUG")
    yield Output(lambda: "\n".join([*capsys.readouterr(), output(), caplog.text]), "DEBUG")
    for logger in loggers:
        logger.setLevel("INFO")


def call(world: World, output: Output, method: str, path: str, body: object = None, **query: str) -> dict[str, Any]:
    """Make a request; keep what is answered to one that fails."""
    answer = world.request(method, path, body, query or None)
    if answer["statusCode"] >= 400:
        output.refusals.append(answer["body"])
    document: dict[str, Any] = json.loads(answer["body"])
    return document


def deliver(world: World, item_id: str) -> None:
    for delivery in world.plaid.webhooks(item_id):
        if delivery.state == "held":
            delivery.state = "delivered"
            world.post_webhook(delivery.body, world.plaid.sign(delivery.body))
    world.drain()


def walk(world: World, output: Output) -> list[str]:
    """Walk every path, the good ones and the bad ones; return every secret that was met."""
    plaid = world.plaid
    plaid.hold_webhooks()
    session = call(world, output, "POST", "/link-tokens", {"client_user_id": USER})["link_token"]
    public_token = plaid.complete_link(session, login="the marked login")
    assert public_token is not None
    body = {"public_token": public_token, "link_token": session, "client_user_id": USER}
    call(world, output, "POST", "/items", body | {"client_user_id": "another"})
    call(world, output, "POST", "/items", body | {"public_token": "public-sandbox-unknown"})
    moved = _import(world, output)
    item_id = call(world, output, "POST", "/items", body)["item_id"]
    again = call(world, output, "POST", "/link-tokens", {"client_user_id": USER})["link_token"]
    twin = plaid.complete_link(again, login="the marked login")
    call(world, output, "POST", "/items", {"public_token": twin, "link_token": again, "client_user_id": USER})
    world.drain()
    while plaid.advance_phase(item_id) < Phase.HISTORICAL:
        pass
    plaid.add_custom_transactions(item_id, [CustomTransaction(plaid.clock().date(), amount=AMOUNT, name=NAME)])
    deliver(world, item_id)
    assert AMOUNT in {row["amount"] for row in world.live(item_id).values()}
    _fail(world, item_id)
    update = call(world, output, "POST", "/link-tokens", {"item_id": item_id, "client_user_id": USER})["link_token"]
    plaid.complete_link(update)
    call(world, output, "POST", f"/items/{item_id}/sync", {"link_token": update})
    for route in ("sync", "refresh", "refresh", "resync", "webhook", "accounts"):
        call(world, output, "POST", f"/items/{item_id}/{route}")
        deliver(world, item_id)
    products = call_other_products(world, output, item_id)
    for path in ("/items", f"/items/{item_id}", f"/items/{item_id}/history", f"/items/{item_id}/transactions"):
        call(world, output, "GET", path)
        call(world, output, "GET", path, nonsense="1")
    plaid.warn_expiration(item_id)
    plaid.offer_accounts(item_id)
    plaid.revoke_account(item_id)
    deliver(world, item_id)
    token = plaid.item(item_id).access_token
    export = f"/access-tokens/{item_id}/export"
    exported = call(world, output, "POST", export, {"recipient": str(x25519.Identity.generate().to_public())})
    assert exported["encrypted"]
    private_key = str(x25519.Identity.generate())
    call(world, output, "POST", export, {"recipient": private_key})
    accounts = [account["name"] for account in plaid.account_rows(item_id)]
    world.sweep()
    call(world, output, "DELETE", f"/items/{item_id}", transactions="erase")
    world.drain()
    names = {str(row["name"]) for row in plaid.truth(item_id).values() if len(row["name"]) > _TOO_SHORT}
    tokens = [public_token, str(twin), session, again, update, token, private_key, *moved]
    return [*tokens, plaid.secret, NAME, str(AMOUNT), *accounts, *names, *products]


def _import(world: World, output: Output) -> list[str]:
    """Import an Item, in every way in which that is refused, too; return its secrets."""
    plaid = world.plaid
    moved = plaid.link_item(f"https://other-system.invalid/plaid?key={WEBHOOK_KEY}", phase=Phase.HISTORICAL)
    body: dict[str, Any] = {"access_token": moved.access_token, "client_user_id": USER}
    for refused in ({"cursor": 7}, {moved.access_token: "x"}, {"client_user_id": ""}, {"dry_run": "x"}):
        call(world, output, "POST", "/items/import", body | refused)
    call(world, output, "POST", "/items/import", body | {"access_token": f"{moved.access_token}-unknown"})
    call(world, output, "POST", "/items/import", nonsense=moved.access_token)
    for path in ("/item/get", "/accounts/get", "/item/webhook/update"):
        for fault in ({"error_code": "INTERNAL_SERVER_ERROR"}, {"status": 502, "body": NAME}, {"drop": "after"}):
            plaid.inject_fault(path, item_id=moved.item_id, **fault)
            call(world, output, "POST", "/items/import", body)
    assert call(world, output, "POST", "/items/import", body).get("item_id") == moved.item_id, output.refusals
    call(world, output, "POST", "/items/import", body | {"client_user_id": "another"})
    world.drain()
    assert world.live(moved.item_id)
    call(world, output, "DELETE", f"/items/{moved.item_id}/webhook")
    assert (plaid.item(moved.item_id).webhook_url or "").endswith(WEBHOOK_KEY)
    return [moved.access_token, WEBHOOK_KEY]


def call_other_products(world: World, output: Output, item_id: str) -> list[str]:
    """Call other products' endpoints, with every outcome; return what identifies the user."""
    path = f"/items/{item_id}/plaid"
    numbers = call(world, output, "POST", f"{path}/auth/get")["numbers"]["ach"]
    (owner, *_) = call(world, output, "POST", f"{path}/identity/get")["accounts"][0]["owners"]
    call(world, output, "POST", f"{path}/liabilities/get", {"options": {"account_ids": [NAME]}})
    call(world, output, "POST", f"{path}/liabilities/get", {"access_token": NAME})
    call(world, output, "POST", f"{path}/item/remove", {"reason_note": NAME})
    for fault in ({"drop": "after"}, {"error_code": "INVALID_API_KEYS"}, {"error_code": "SOMETHING_NEW"}):
        world.plaid.inject_fault("/auth/get", **fault)
        call(world, output, "POST", f"{path}/auth/get")
    (address,) = owner["addresses"]
    street: str = address["data"]["street"]
    return [*(entry["account"] for entry in numbers), owner["emails"][0]["data"], owner["names"][0], street]


def _fail(world: World, item_id: str) -> None:
    """Meet every class of failure, answers that break the contract, and a bug."""
    plaid = world.plaid
    faults: list[dict[str, Any]] = [
        {"error_code": "INTERNAL_SERVER_ERROR"},
        {"error_code": "INVALID_API_KEYS"},
        {"error_code": "ITEM_LOGIN_REQUIRED"},
        {"error_code": "INSTITUTION_DOWN"},
        {"error_code": "INVALID_FIELD"},
        {"error_code": "SOMETHING_NEW", "status": 400},
        {"status": 200, "body": json.dumps({"added": [{"name": NAME, "amount": float(AMOUNT)}]})},
        {"status": 502, "body": f"<html>{NAME}</html>"},
        {"drop": "after"},
    ]
    for fault in faults:
        plaid.inject_fault("/transactions/sync", item_id=item_id, **fault)
        world.enqueue(item_id)
        world.handle(world.receive())
        world.drain()
    broken = next(iter(plaid.truth(item_id)))
    plaid.corrupt_row(item_id, broken, "amount a text")
    plaid.modify(item_id, broken, name=NAME)
    deliver(world, item_id)
    plaid.restore_row(item_id, broken)
    deliver(world, item_id)
    generation = world.item(item_id)["generation"]
    world.set_attribute(item_id, "generation", {"S": NAME})
    world.enqueue(item_id)
    world.handle(world.receive())
    world.set_attribute(item_id, "generation", {"N": str(generation)})
    world.drain()
    for body in (b"{", b"[]", json.dumps({"webhook_type": NAME, "webhook_code": NAME * 50}).encode()):
        world.post_webhook(body, plaid.sign(body))
        world.post_webhook(body, "e30.e30.e30")


def test_no_log_no_metric_and_no_failure_holds_a_secret(world: World, every_output: Output) -> None:
    secrets = walk(world, every_output)
    text = every_output.text()
    proofs = "item synced", "request served", "webhook accepted", "sweep completed", "sync failed", "RowsErased"
    for proof in (*proofs, every_output.of_libraries):
        assert proof in text, "the output that is searched must be there"
    assert len(secrets) > 15
    for secret in secrets:
        for form in (secret, base64.b64encode(secret.encode()).decode(), quote(secret), secret.encode().hex()):
            assert form not in text, f"{form} leaks: {text[max(0, text.index(form) - 300) :][:400]}"
