"""`POST /items`: an Item is linked, or nothing is left of it at Plaid; never an orphan that is billed."""

from __future__ import annotations

import base64
import json
import logging
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from local.plaid import Phase
from tests.component.crashes import asleep_at, unreachable
from tests.component.inside import function, reads_the_logs, strikes_a_call
from tests.component.world import http_event

if TYPE_CHECKING:
    from tests.component.world import World


def problem(answer: dict[str, Any]) -> dict[str, Any]:
    assert answer["headers"]["content-type"] == "application/problem+json"
    body: dict[str, Any] = json.loads(answer["body"])
    assert body["status"] == answer["statusCode"]
    return body


def test_a_linked_item_is_stored_encrypted_and_its_first_sync_is_enqueued(world: World) -> None:
    item_id = world.link(transactions=3)
    item = world.item(item_id)
    token = world.plaid.item(item_id).access_token
    assert (item["generation"], item["status"], item["days_requested"]) == (0, "active", 730)
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


def test_a_bad_request_names_field_and_fix_and_changes_nothing(world: World) -> None:
    for body, field in (
        ("{", "body"),
        ("[]", "body"),
        ('{"public_token": "access-sandbox-1"}', "public_token"),
        ('{"public_token": "public-sandbox-1", "days_requested": 1000}', "days_requested"),
    ):
        refused = problem(world.post_items_raw(body))
        assert (refused["status"], refused["field"]) == (400, field)
        assert refused["fix"]
    assert world.plaid.calls == {}


def test_an_unknown_public_token_is_refused_by_field(world: World) -> None:
    refused = problem(world.post_items({"public_token": "public-sandbox-unknown"}))
    assert (refused["status"], refused["code"], refused["field"]) == (400, "INVALID_PUBLIC_TOKEN", "public_token")


def test_a_retry_with_the_same_public_token_gives_the_same_item(world: World) -> None:
    token = world.plaid.create_public_token(transactions=3)
    first, second = (world.post_items({"public_token": token}) for _ in range(2))
    assert (first["statusCode"], first["body"]) == (second["statusCode"], second["body"])
    assert world.plaid.calls["/item/public_token/exchange"] == 1
    assert len(world.receive()) == 2


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
    with unreachable(target, before=before):
        answer = world.post_items({"public_token": token})
    if target == "TransactWriteItems" and not before:
        # It is stored, and the linker finds that out: nothing has to be undone.
        assert answer["statusCode"] == 201
        assert world.item(item_id)["status"] == "active"
        assert not world.plaid.item(item_id).removed
        return
    first = problem(answer)
    assert first["status"] == 503
    assert (first["code"] == "exchange_unknown") == target.startswith("/item")
    second = world.post_items({"public_token": token})
    if outcome == "undone":
        assert first["fix"] == "run Link again"
        assert world.plaid.item(item_id).removed
        assert world.item(item_id) == {}
    elif target.startswith("/item") and not before:
        # The answer with the access token is lost: no client can use or remove this Item, as the first answer has said.
        assert problem(second)["code"] == "INVALID_PUBLIC_TOKEN"
    else:
        assert second["statusCode"] == 201
        assert world.item(item_id)["status"] == "active"
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
    assert problem(answer)["code"] == "item_orphaned"
    assert item_id in problem(answer)["detail"]
    assert '"ItemOrphaned":[1.0]' in capsys.readouterr().out.replace(" ", "")


@reads_the_logs
@pytest.mark.parametrize(
    "fault",
    [
        {"drop": "after"},
        {"status": 200, "body": "<html>"},
        {"status": 200, "body": '{"item_id": "i"}'},
        {"status": 504, "body": "<html>gateway timeout</html>"},
        {"status": 503, "body": ""},
    ],
    ids=str,
)
def test_an_exchange_whose_answer_is_lost_is_told_to_the_caller_and_to_the_operator(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any]
) -> None:
    (handler,) = function("items").logger.handlers
    monkeypatch.setattr(handler, "stream", sys.stdout)
    token = world.plaid.create_public_token()
    world.plaid.inject_fault("/item/public_token/exchange", **fault)
    answer = world.post_items({"public_token": token})
    told = problem(answer)
    assert (told["status"], told["code"], answer["headers"]["retry-after"]) == (503, "exchange_unknown", "5")
    for part in ("send the same request again", "INVALID_PUBLIC_TOKEN", "billed", "Link again", "support"):
        assert part in told["fix"]
    output = capsys.readouterr().out.replace(" ", "")
    assert '"ExchangeUnknown":[1.0]' in output
    assert '"level":"CRITICAL"' in output
    assert token not in output


@pytest.mark.parametrize("fault", [{"error_code": "INTERNAL_SERVER_ERROR"}, {"error_code": "RATE_LIMIT_EXCEEDED"}])
def test_an_exchange_that_plaid_itself_refuses_did_not_happen(world: World, fault: dict[str, Any]) -> None:
    token = world.plaid.create_public_token()
    world.plaid.inject_fault("/item/public_token/exchange", **fault)
    assert problem(world.post_items({"public_token": token}))["code"] == fault["error_code"]
    assert world.post_items({"public_token": token})["statusCode"] == 201


@reads_the_logs
def test_no_answer_and_no_log_line_holds_a_token_whatever_the_log_level(
    world: World, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    public_token = world.plaid.create_public_token(transactions=4)
    answers = [world.post_items({"public_token": public_token}) for _ in range(2)]
    world.drain()
    item_id = json.loads(answers[0]["body"])["item_id"]
    output = capsys.readouterr().out + caplog.text + json.dumps(answers)
    assert item_id in output
    names = {str(row["name"]) for row in world.live(item_id).values()}
    for secret in (public_token, world.plaid.item(item_id).access_token, world.plaid.secret, *names):
        assert secret not in output
        assert base64.b64encode(secret.encode()).decode() not in output


@strikes_a_call
def test_an_item_that_a_repeated_request_was_told_of_is_not_undone(world: World) -> None:
    """The first request's write arrives and its answer does not; before it gives up, its repeat is answered 201."""
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


@pytest.mark.parametrize("event", [{"body": "\u00e9", "isBase64Encoded": True}, {"body": None}, {}])
def test_an_unreadable_request_is_400(world: World, event: dict[str, Any]) -> None:
    answer = world.call_items({"routeKey": "POST /items"} | event)
    assert problem(answer)["status"] == 400


def test_with_too_little_time_left_to_undo_it_nothing_is_exchanged(world: World) -> None:
    token = world.plaid.create_public_token()
    event = http_event("POST", "/items", json.dumps({"public_token": token}))
    assert problem(world.invoke("items", event, time_left=99))["code"] == "no_time_to_exchange"
    assert world.plaid.calls == {}
    assert world.post_items({"public_token": token})["statusCode"] == 201


def test_an_exchange_that_names_no_item_is_undone(world: World) -> None:
    token = world.plaid.create_public_token()
    item = world.plaid.public_tokens[token].item
    body = json.dumps({"item_id": "no id", "access_token": item.access_token, "request_id": "request-1"})
    world.plaid.exchange(token)
    world.plaid.inject_fault("/item/public_token/exchange", status=200, body=body)
    assert problem(world.post_items({"public_token": token}))["code"] == "link_undone"
    assert world.plaid.item(item.item_id).removed
    assert world.item(item.item_id) == {}
    assert world.receive() == []


@strikes_a_call
def test_two_equal_requests_at_once_give_the_same_item(world: World) -> None:
    """The second comes when the first has exchanged the token and is about to store the Item."""
    world.pause = time.sleep
    token = world.plaid.create_public_token(transactions=2)
    answers: list[dict[str, Any]] = []
    second = threading.Thread(target=lambda: answers.append(world.post_items({"public_token": token})))

    def start_second() -> None:
        second.start()
        while world.plaid.calls["/item/public_token/exchange"] < 2:
            time.sleep(0.01)

    with asleep_at(1, start_second, "TransactWriteItems"):
        answers.append(world.post_items({"public_token": token}))
    second.join()
    assert [answer["statusCode"] for answer in answers] == [201, 201]
    assert answers[0]["body"] == answers[1]["body"]


@strikes_a_call
@pytest.mark.parametrize("fault", ["INTERNAL_SERVER_ERROR", "ITEM_NOT_FOUND"])
def test_undoing_a_link_is_tried_again_and_knows_an_item_that_is_gone(world: World, fault: str) -> None:
    world.plaid.inject_fault("/item/remove", fault)
    token = world.plaid.create_public_token()
    with unreachable("Encrypt", before=True):
        answer = world.post_items({"public_token": token})
    assert problem(answer)["code"] == "link_undone"
