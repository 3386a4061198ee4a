"""The webhook function: what is proven reaches the queue, and nothing else does."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from plaid_sync.webhook.keys import FRESH, NEW_IDS, TRUSTED, UNKNOWN_FOR

from local.plaid import SimulatedClock, utc_now
from tests.integration.in_process import steps_the_clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.harness import World

KEY_CALLS = "/webhook_verification_key/get"


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(utc_now())


def genuine(item_id: str = "item-1", code: str = "SYNC_UPDATES_AVAILABLE", kind: str = "TRANSACTIONS") -> bytes:
    body = {"webhook_type": kind, "webhook_code": code, "item_id": item_id, "environment": "sandbox"}
    return json.dumps(body, indent=2).encode()


def step(world: World, delay: float | timedelta) -> None:
    assert isinstance(world.clock, SimulatedClock)
    world.clock.advance(delay)


def refusal(answer: dict[str, Any]) -> tuple[int, str]:
    return answer["statusCode"], json.loads(answer["body"])["error"]


def test_a_genuine_webhook_is_queued_with_its_item_as_message_group(world: World) -> None:
    body = genuine("item-7")
    assert world.post_webhook(body, world.plaid.sign(body))["statusCode"] == 200
    (record,) = world.receive()
    assert record["attributes"]["MessageGroupId"] == "item-7"
    assert json.loads(record["body"]) == {"item_id": "item-7", "cause": "webhook", "webhook": json.loads(body)}


def test_a_base64_body_verifies(world: World) -> None:
    body = genuine()
    answer = world.post_webhook(
        b"", world.plaid.sign(body), {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
    )
    assert answer["statusCode"] == 200
    answer = world.post_webhook(b"", world.plaid.sign(body), {"body": "no base64!", "isBase64Encoded": True})
    assert refusal(answer) == (401, "malformed_body")


def test_the_header_may_have_any_case(world: World) -> None:
    body = genuine()
    answer = world.post_webhook(body, None, {"headers": {"Plaid-Verification": world.plaid.sign(body)}})
    assert answer["statusCode"] == 200


@steps_the_clock
def test_equal_bodies_90_seconds_apart_both_lead_to_a_sync(world: World) -> None:
    item_id = world.link(transactions=3)
    world.drain()
    body = genuine(item_id)
    for _ in range(2):
        assert world.post_webhook(body, world.plaid.sign(body))["statusCode"] == 200
        world.plaid.add(item_id)
        assert world.drain() == 1
        world.assert_exact(item_id)
        step(world, 90)
    assert world.plaid.calls["/transactions/sync"] == 3


def test_the_same_delivery_twice_is_queued_once(world: World) -> None:
    body = genuine()
    token = world.plaid.sign(body)
    assert [world.post_webhook(body, token)["statusCode"] for _ in range(2)] == [200, 200]
    assert len(world.receive()) == 1


def test_every_forgery_is_refused_with_its_reason_and_nothing_is_queued(world: World) -> None:
    body, ignored, plaid = genuine(), genuine(code="DEFAULT_UPDATE"), world.plaid
    now = world.clock()
    expired = plaid.keys.current.kid
    expired_token = plaid.sign(body)
    plaid.rotate_keys()
    good = plaid.sign(body)
    forged: dict[str, tuple[bytes, str | None]] = {
        "missing_header": (body, None),
        "malformed_token": (body, "garbage"),
        "wrong_algorithm none": (body, plaid.forge(body, "none")),
        "wrong_algorithm HS256": (body, plaid.forge(body, "HS256")),
        "bad_signature": (body, plaid.forge(body, "ES256")),
        "unknown_key": (body, plaid.sign(body, kid="00000000-0000-0000-0000-000000000000")),
        "expired_key": (body, expired_token),
        "stale": (ignored, plaid.sign(ignored, iat=now - timedelta(minutes=5, seconds=1))),
        "issued_in_future": (body, plaid.sign(body, iat=now + timedelta(minutes=1))),
        "body_mismatch space": (body + b" ", good),
        "body_mismatch replay": (genuine("item-2"), good),
    }
    assert expired != plaid.keys.current.kid
    for reason, (sent, token) in forged.items():
        assert refusal(world.post_webhook(sent, token)) == (401, reason.split()[0])
    assert world.receive() == []
    assert world.post_webhook(body, good)["statusCode"] == 200


@steps_the_clock
def test_a_thousand_unknown_keys_cost_a_bounded_number_of_calls(world: World) -> None:
    """All within a minute: those that get no look-up are not refused for good."""
    body = genuine()
    refusals = [
        refusal(world.post_webhook(body, world.plaid.sign(body, kid=f"unknown-{number}"))) for number in range(1000)
    ]
    assert set(refusals) == {(401, "unknown_key"), (429, "too_many_lookups")}
    assert refusals[: NEW_IDS.certain] == [(401, "unknown_key")] * NEW_IDS.certain
    assert world.plaid.calls[KEY_CALLS] <= NEW_IDS.maximum
    assert world.receive() == []


@steps_the_clock
def test_a_new_key_is_learned_in_a_flood_and_another_process_needs_no_look_up_for_it(world: World) -> None:
    body = genuine()
    for number in range(100):
        world.post_webhook(body, world.plaid.sign(body, kid=f"unknown-{number}"))
    first = world.post_webhook(body, world.plaid.sign(body))
    assert first["statusCode"] == 200 or (refusal(first), first["headers"]["retry-after"]) == (
        (429, "too_many_lookups"),
        "30",
    )
    assert world.post_webhook(body, world.plaid.sign(body))["statusCode"] == 200
    world.restart_webhook_function()
    calls = world.plaid.calls[KEY_CALLS]
    assert world.post_webhook(body, world.plaid.sign(body))["statusCode"] == 200
    assert world.plaid.calls[KEY_CALLS] == calls


def test_keys_are_looked_up_without_the_table_too(world: World, output: Callable[[], str]) -> None:
    body = genuine()
    world.restart_webhook_function(SHARED_TABLE=f"{world.stack.shared_table}-gone")
    assert world.post_webhook(body, world.plaid.sign(body))["statusCode"] == 200
    assert '"shared state failed"' in output()


@steps_the_clock
def test_a_webhook_that_is_stale_but_genuine_is_refused_and_its_item_is_synced_once(
    world: World, output: Callable[[], str]
) -> None:
    item_id = world.synced(transactions=2)
    world.plaid.add(item_id, notify=False)
    body = genuine(item_id)
    signed_at = world.clock() - timedelta(minutes=10)
    for _ in range(3):
        world.restart_webhook_function()
        assert refusal(world.post_webhook(body, world.plaid.sign(body, iat=signed_at))) == (401, "stale")
    assert output().count('"queued":true') >= 1
    (record,) = world.receive()
    assert json.loads(record["body"]) == {"item_id": item_id, "cause": "stale_webhook"}
    world.handle([record])
    world.assert_exact(item_id)


@steps_the_clock
def test_one_unknown_key_a_thousand_times_costs_one_call(world: World) -> None:
    body = genuine()
    token = world.plaid.sign(body, kid="unknown")
    assert {refusal(world.post_webhook(body, token)) for _ in range(1000)} == {(401, "unknown_key")}
    assert world.plaid.calls[KEY_CALLS] == 1
    step(world, UNKNOWN_FOR)
    world.post_webhook(body, world.plaid.sign(body, kid="unknown"))
    assert world.plaid.calls[KEY_CALLS] == 2


@steps_the_clock
def test_known_keys_serve_from_memory_and_outlive_an_outage_for_a_bounded_time(world: World) -> None:
    body = genuine()

    def post() -> int:
        status: int = world.post_webhook(body, world.plaid.sign(body))["statusCode"]
        return status

    assert [post() for _ in range(5)] == [200] * 5
    assert world.plaid.calls[KEY_CALLS] == 1
    world.plaid.inject_fault(KEY_CALLS, "INTERNAL_SERVER_ERROR", times=1_000)
    step(world, FRESH)
    assert post() == 200
    step(world, TRUSTED - FRESH)
    assert post() == 503
    world.plaid.clear_faults()
    assert post() == 200


@steps_the_clock
def test_a_key_that_expires_is_noticed_within_its_fresh_time(world: World) -> None:
    body = genuine()
    assert world.post_webhook(body, world.plaid.sign(body))["statusCode"] == 200
    kid = world.plaid.keys.current.kid
    world.plaid.rotate_keys()
    step(world, FRESH)
    assert refusal(world.post_webhook(body, world.plaid.sign(body, kid=kid))) == (401, "expired_key")
    assert world.post_webhook(body, world.plaid.sign(body))["statusCode"] == 200


@steps_the_clock
def test_a_flood_of_forgeries_does_not_lock_out_a_known_key(world: World) -> None:
    body = genuine()
    assert world.post_webhook(body, world.plaid.sign(body))["statusCode"] == 200
    step(world, FRESH)
    for number in range(50):
        world.post_webhook(body, world.plaid.sign(body, kid=f"unknown-{number}"))
    assert world.post_webhook(body, world.plaid.sign(body))["statusCode"] == 200


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"not json", "JSON"),
        (b"[]", "object"),
        (b'{"webhook_type": "TRANSACTIONS"}', "webhook_code"),
        (genuine(""), "item_id"),
    ],
)
def test_a_proven_but_unusable_body_is_400_and_says_why(world: World, body: bytes, complaint: str) -> None:
    status, error = refusal(world.post_webhook(body, world.plaid.sign(body)))
    assert status == 400
    assert complaint in error
    assert world.receive() == []


def test_codes_that_the_stack_does_not_act_on_are_published_and_not_queued(world: World) -> None:
    codes = ("TRANSACTIONS", "DEFAULT_UPDATE"), ("ITEM", "WEBHOOK_UPDATE_ACKNOWLEDGED"), ("HOLDINGS", "NEW_CODE")
    for kind, code in codes:
        body = genuine(code=code, kind=kind)
        answer = world.post_webhook(body, world.plaid.sign(body))
        assert (answer["statusCode"], json.loads(answer["body"])) == (200, {"result": "published"})
    assert world.receive() == []


def test_a_webhook_that_can_not_be_queued_is_not_acknowledged(world: World) -> None:
    body = genuine()
    with world.webhook_queue_gone():
        assert world.post_webhook(body, world.plaid.sign(body))["statusCode"] == 503
    assert world.post_webhook(body, world.plaid.sign(body))["statusCode"] == 200


@steps_the_clock
def test_ten_webhooks_for_one_item_lead_to_one_sync(world: World) -> None:
    item_id = world.link(transactions=4)
    world.drain()
    for _ in range(10):
        body = genuine(item_id)
        assert world.post_webhook(body, world.plaid.sign(body))["statusCode"] == 200
        step(world, 1)
    records = world.receive()
    assert len(records) == 10
    before = world.plaid.calls["/transactions/sync"]
    world.handle(records)
    assert world.plaid.calls["/transactions/sync"] == before + 1
    assert world.waiting() == 0


@pytest.mark.parametrize(
    "event",
    [
        {"body": "\u00e9", "isBase64Encoded": True},
        {"body": "\ud800"},
        {"body": None, "headers": None},
        {"headers": {"plaid-verification": "\ud800"}},
        {"headers": {"plaid-verification": "a" * 5000}},
        {"headers": {"plaid-verification": ",".join(["a.b.c"] * 2)}},
    ],
)
def test_every_unverified_event_is_401(world: World, event: dict[str, Any]) -> None:
    assert world.post_webhook(b"{}", "a.b.c", event)["statusCode"] == 401
    assert world.receive() == []


@pytest.mark.parametrize("size", [65_537, 90_000, 1_000_000])
def test_a_body_that_is_too_large_is_refused_in_both_encodings(world: World, size: int) -> None:
    start = genuine("item-1")[:-2] + b', "padding": "'
    body = start + b"x" * (size - len(start) - 2) + b'"}'
    token = world.plaid.sign(body)
    encoded = {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
    for answer in (world.post_webhook(body, token), world.post_webhook(b"", token, encoded)):
        assert refusal(answer) == (401, "body_too_large")
    assert world.receive() == []


def test_a_body_of_the_largest_size_is_accepted_in_both_encodings(world: World) -> None:
    start = genuine("item-1")[:-2] + b', "padding": "'
    for form in ("text", "base64"):
        body = start + b"x" * (64 * 1024 - len(start) - 2) + b'"}'
        event = {"body": base64.b64encode(body).decode(), "isBase64Encoded": True} if form == "base64" else {}
        assert world.post_webhook(body, world.plaid.sign(body), event)["statusCode"] == 200
        (record,) = world.receive()
        assert json.loads(record["body"])["webhook"] == json.loads(body)
        world.delete(record)
