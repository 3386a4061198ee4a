"""`POST /items`: an Item is linked, or nothing is left of it at Plaid; never an orphan that is billed."""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from local.plaid import Phase
from tests.integration.crashes import Crash, asleep_at, killed_at, unreachable
from tests.integration.in_process import function, reads_the_logs, strikes_a_call
from tests.integration.link_flows import content, is_rolled_back, refused

if TYPE_CHECKING:
    from tests.integration.harness import World


def test_a_linked_item_is_stored_encrypted_and_its_first_sync_is_enqueued(world: World) -> None:
    item_id = world.link(transactions=3)
    item = world.item(item_id)
    token = world.plaid.item(item_id).access_token
    assert (item["generation"], item["state"], item["days_requested"]) == (0, "active", 730)
    assert token.encode() not in item["access_token"]
    opened = world.stack.role_client("sync", "kms").decrypt(
        CiphertextBlob=item["access_token"], EncryptionContext={"item_id": item_id}
    )
    assert opened["Plaintext"].decode() == token
    (record,) = world.receive()
    assert json.loads(record["body"]) == {"item_id": item_id, "cause": "linked"}


def test_a_ciphertext_does_not_open_for_another_item(world: World) -> None:
    item = world.item(world.link())
    kms = world.stack.client("kms")
    with pytest.raises(kms.exceptions.ClientError):
        kms.decrypt(CiphertextBlob=item["access_token"], EncryptionContext={"item_id": "another"})


@strikes_a_call
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize(
    ("target", "outcome"),
    [
        ("GetSecretValue", "retry completes"),
        ("Query", "retry completes"),
        ("SendMessage", "retry completes"),
        ("Encrypt", "undone"),
        ("TransactWriteItems", "undone"),
        ("/item/public_token/exchange", "retry completes"),
    ],
)
def test_a_link_that_fails_at_any_call_leaves_no_orphan(
    world: World, target: str, outcome: str, *, before: bool
) -> None:
    token = world.plaid.create_public_token(transactions=2)
    item_id = world.plaid.public_tokens[token].item.item_id
    # The first transaction stores the token of the exchanged Item, the second one registers it.
    with unreachable(target, before=before, at=2 if target == "TransactWriteItems" and not before else 0):
        answer = world.post_items({"public_token": token})
    if target == "TransactWriteItems" and not before:
        # It is stored, and the linker finds that out: nothing has to be undone.
        assert answer["statusCode"] == 201
        assert world.item(item_id)["state"] == "active"
        assert not world.plaid.item(item_id).removed
        return
    first = content(answer, 503)
    assert (first["code"] == "exchange_unknown") == target.startswith("/item")
    second = world.post_items({"public_token": token})
    if outcome == "undone":
        assert first["fix"] == "run Link again"
        assert world.plaid.item(item_id).removed
        assert is_rolled_back(world, item_id)
    elif target.startswith("/item") and not before:
        # The answer with the access token is lost: no client can use or remove this Item, as the first answer has said.
        refused(second, 400, "INVALID_PUBLIC_TOKEN")
    else:
        assert second["statusCode"] == 201
        assert world.item(item_id)["state"] == "active"
        assert not world.plaid.item(item_id).removed


@strikes_a_call
def test_an_item_that_can_neither_be_kept_nor_removed_is_reported_loudly(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.plaid.inject_fault("/item/remove", "INTERNAL_SERVER_ERROR", times=10)
    token = world.plaid.create_public_token()
    item_id = world.plaid.public_tokens[token].item.item_id
    with unreachable("Encrypt", before=True):
        answer = world.post_items({"public_token": token})
    assert item_id in refused(answer, 500, "item_orphaned")["detail"]
    assert '"ItemOrphaned":[1.0]' in capsys.readouterr().out.replace(" ", "")


@reads_the_logs
@pytest.mark.parametrize(
    "fault",
    [{"drop": "after"}, {"status": 200, "body": '{"item_id": "i"}'}, {"status": 504, "body": "<html>timeout</html>"}],
    ids=str,
)
def test_an_exchange_whose_response_is_lost_is_reported_to_the_caller_and_to_the_operator(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any]
) -> None:
    (handler,) = function("items").logger.handlers
    monkeypatch.setattr(handler, "stream", sys.stdout)
    token = world.plaid.create_public_token()
    world.plaid.inject_fault("/item/public_token/exchange", **fault)
    answer = world.post_items({"public_token": token})
    failure = refused(answer, 503, "exchange_unknown")
    assert answer["headers"]["retry-after"] == "5"
    for part in ("send the same request again", "INVALID_PUBLIC_TOKEN", "billed", "Link again", "support"):
        assert part in failure["fix"]
    output = capsys.readouterr().out.replace(" ", "")
    assert '"ExchangeUnknown":[1.0]' in output
    assert '"level":"CRITICAL"' in output
    assert token not in output


@strikes_a_call
def test_an_item_that_a_repeated_request_returned_is_not_rolled_back(world: World) -> None:
    """The first request's write arrives and its answer does not; before it rolls back, its repeat is answered 201."""
    token = world.plaid.create_public_token(transactions=2)
    item_id = world.plaid.public_tokens[token].item.item_id
    answers: list[dict[str, Any]] = []

    def repeat_then_lose() -> None:
        if not answers:
            repeat = threading.Thread(target=lambda: answers.append(world.post_items({"public_token": token})))
            repeat.start()
            repeat.join()

    with unreachable("TransactWriteItems", before=False, meanwhile=repeat_then_lose):
        answers.append(world.post_items({"public_token": token}))
    assert [answer["statusCode"] for answer in answers] == [201, 201]
    assert not world.plaid.item(item_id).removed
    while world.plaid.advance_phase(item_id) < Phase.HISTORICAL:
        pass
    world.drain()
    world.assert_exact(item_id)


@strikes_a_call
@pytest.mark.parametrize("about_to", ["register", "store the token"])
def test_two_equal_requests_at_once_give_the_same_item(world: World, about_to: str) -> None:
    """The second comes when the first has exchanged the token, and is about to register the Item or to store the token.

    In the first case it completes the link itself; in the second one it waits for the token.
    """
    world.pause = time.sleep
    token = world.plaid.create_public_token(transactions=2)
    answers: list[dict[str, Any]] = []
    second = threading.Thread(target=lambda: answers.append(world.post_items({"public_token": token})))

    def start_second() -> None:
        second.start()
        if about_to == "register":
            second.join()
            return
        while world.plaid.calls["/item/public_token/exchange"] < 2:
            time.sleep(0.01)

    with asleep_at(2 if about_to == "register" else 1, start_second, "TransactWriteItems"):
        answers.append(world.post_items({"public_token": token}))
    second.join()
    assert [answer["statusCode"] for answer in answers] == [201, 201]
    assert answers[0]["body"] == answers[1]["body"]


def test_after_a_rotation_of_its_token_an_item_is_synced_and_removed_with_the_new_one(world: World) -> None:
    item_id = world.synced(transactions=3)
    old, sealed = world.plaid.item(item_id).access_token, world.item(item_id)["access_token"]
    content(world.request("POST", f"/items/{item_id}/access-token/rotate"))
    new = world.plaid.item(item_id).access_token
    assert new != old
    assert new not in str(world.item(item_id))
    assert world.item(item_id)["access_token"] != sealed
    world.drain()
    world.assert_exact(item_id)
    content(world.request("DELETE", f"/items/{item_id}", query={"reason_code": "OTHER", "reason_note": "test"}), 202)
    world.drain()
    assert world.plaid.item(item_id).removed
    assert "plaid_removed_at" in world.item(item_id)


@strikes_a_call
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_a_rotation_that_dies_at_any_call_is_repeated_or_reported_as_lost(world: World, *, before: bool) -> None:
    number = 0
    while True:
        number += 1
        item_id = world.link(transactions=1)
        world.drain()
        crash = Crash(number, before=before)
        with killed_at(crash):
            world.request("POST", f"/items/{item_id}/access-token/rotate")
        if "token_rotation_began_at" in world.item(item_id):
            refused(world.request("POST", f"/items/{item_id}/access-token/rotate"), 503, "access_token_rotating")
            world.set_attribute(item_id, "token_rotation_began_at", {"S": "2026-01-01T00:00:00.000Z"})
        answer = world.request("POST", f"/items/{item_id}/access-token/rotate")
        called = any("/invalidate" in call for call in crash.calls[:-1])
        stored = "token_rotation_began_at" not in world.item(item_id)
        if crash.struck and not stored:
            assert refused(answer, 500, "access_token_lost")["remedy"] == "relink"
            assert called or not before
        else:
            content(answer)
            world.drain()
            world.assert_exact(item_id)
        if not crash.struck:
            break
    assert number > 7
