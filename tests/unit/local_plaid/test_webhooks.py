"""Webhooks: their bodies and signatures, when they fire, retries and delivery faults."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import jwt
import pytest

from local.plaid import Behavior, Phase, PlaidServer, PlaidSimulator, SimulatedClock, utc_now, webhooks
from local.plaid.delivery import parse_retry_after
from local.plaid.sync import SyncRequest
from local.plaid.wire import encode

from .conftest import MANUAL, NO_RECEIVER, Receiver

# From plaid-node#399: the only signed body that Plaid's users have published.
PUBLISHED = {
    "error": None,
    "item_id": "xVDbz8kaZRf69Nd18x81I3y83kZaxEF688545",
    "new_transactions": 0,
    "webhook_code": "DEFAULT_UPDATE",
    "webhook_type": "TRANSACTIONS",
}


@dataclass
class Scene:
    """An Item that was synced once, and the receiver of its webhooks."""

    sim: PlaidSimulator
    receiver: Receiver
    clock: SimulatedClock
    item_id: str

    def fire(self, *codes: str) -> None:
        """Send ITEM webhooks, by default one."""
        for code in codes or ("LOGIN_REPAIRED",):
            self.sim.fire_webhook(self.item_id, "ITEM", code)
        self.sim.run_due()

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.sim.run_due()


def link(sim: PlaidSimulator, receiver: Receiver) -> str:
    """Link an Item, and sync it once: SYNC_UPDATES_AVAILABLE fires only then."""
    item_id = sim.link_item(receiver.url, transactions=30, phase=Phase.HISTORICAL).item_id
    sim.sync(sim.item(item_id), SyncRequest())
    return item_id


@pytest.fixture
def scene(sim: PlaidSimulator, receiver: Receiver, clock: SimulatedClock) -> Scene:
    return Scene(sim, receiver, clock, link(sim, receiver))


def verified_iat(sim: PlaidSimulator, body: bytes, token: str) -> int:
    """Verify a webhook; return its `iat`."""
    key = jwt.PyJWK.from_dict(sim.keys.public(jwt.get_unverified_header(token)["kid"]))
    claims = jwt.decode(token, key, algorithms=["ES256"], options={"verify_iat": False})
    assert claims["request_body_sha256"] == hashlib.sha256(body).hexdigest()
    return int(claims["iat"])


def test_the_published_body_has_the_published_hash() -> None:
    digest = hashlib.sha256(encode(PUBLISHED)).hexdigest()
    assert digest == "c43741964e9b173d7bc1e840a21ce1ad26cfa27c1a379bba8cb5f5715aade40a"


def test_a_webhook_has_plaids_format_and_verifies(scene: Scene) -> None:
    scene.sim.fire_webhook(scene.item_id, "TRANSACTIONS", "SYNC_UPDATES_AVAILABLE")
    scene.sim.run_due()
    (webhook,) = scene.receiver.received
    expected = {
        "environment": "sandbox",
        "historical_update_complete": True,
        "initial_update_complete": True,
        "item_id": scene.item_id,
        "webhook_code": "SYNC_UPDATES_AVAILABLE",
        "webhook_type": "TRANSACTIONS",
    }
    assert webhook.body == json.dumps(expected, indent=2).encode()
    header = jwt.get_unverified_header(webhook.token)
    assert header == {"alg": "ES256", "kid": scene.sim.keys.current.kid, "typ": "JWT"}
    assert verified_iat(scene.sim, webhook.body, webhook.token) == int(scene.clock().timestamp())


EXTRA = {
    "SYNC_UPDATES_AVAILABLE": {"initial_update_complete", "historical_update_complete"},
    "INITIAL_UPDATE": {"new_transactions", "error"},
    "HISTORICAL_UPDATE": {"new_transactions", "error"},
    "DEFAULT_UPDATE": {"new_transactions", "error"},
    "TRANSACTIONS_REMOVED": {"removed_transactions", "error"},
    "RECURRING_TRANSACTIONS_UPDATE": {"account_ids"},
    "ERROR": {"error"},
    "LOGIN_REPAIRED": set(),
    "PENDING_DISCONNECT": {"reason", "disconnect_time"},
    "PENDING_EXPIRATION": {"consent_expiration_time"},
    "USER_PERMISSION_REVOKED": {"error"},
    "USER_ACCOUNT_REVOKED": {"account_id"},
    "NEW_ACCOUNTS_AVAILABLE": {"error"},
    "WEBHOOK_UPDATE_ACKNOWLEDGED": {"new_webhook_url", "error"},
}


@pytest.mark.parametrize("code", webhooks.TRANSACTIONS_CODES + webhooks.ITEM_CODES)
def test_every_code_has_its_own_fields(sim: PlaidSimulator, code: str) -> None:
    item_id = sim.link_item(NO_RECEIVER, transactions=30, phase=Phase.HISTORICAL).item_id
    webhook_type = "ITEM" if code in webhooks.ITEM_CODES else "TRANSACTIONS"
    sim.fire_webhook(item_id, webhook_type, code)
    (delivery,) = sim.webhooks()
    expected = {"environment": "sandbox", "item_id": item_id, "webhook_code": code, "webhook_type": webhook_type}
    assert delivery.payload.keys() == expected.keys() | EXTRA[code]
    assert expected.items() <= delivery.payload.items()
    if code == "ERROR":
        error = delivery.payload["error"]
        assert (error["error_code"], error["status"], "request_id" in error) == ("ITEM_LOGIN_REQUIRED", 400, False)


@pytest.mark.parametrize(
    ("synced", "codes"),
    [
        (False, ["INITIAL_UPDATE", "HISTORICAL_UPDATE", "SYNC_UPDATES_AVAILABLE"]),
        (True, ["INITIAL_UPDATE", "SYNC_UPDATES_AVAILABLE", "HISTORICAL_UPDATE", "SYNC_UPDATES_AVAILABLE"]),
    ],
)
def test_sync_updates_available_fires_only_after_a_first_sync_even_an_empty_one(
    sim: PlaidSimulator, receiver: Receiver, codes: list[str], *, synced: bool
) -> None:
    item_id = sim.link_item(receiver.url, transactions=30, initialize_at_link=not synced).item_id
    if synced:
        assert sim.sync(sim.item(item_id), SyncRequest())["transactions_update_status"] == "NOT_READY"
    sim.advance_phase(item_id)
    sim.run_due()
    sim.sync(sim.item(item_id), SyncRequest())
    sim.advance_phase(item_id)
    sim.run_due()
    assert receiver.codes() == codes
    bodies = [webhook.payload for webhook in receiver.received]
    assert sum(body.get("new_transactions", 0) for body in bodies) == len(sim.truth(item_id))
    complete = [body["historical_update_complete"] for body in bodies if "historical_update_complete" in body]
    assert complete == ([False, True] if synced else [True])


def test_a_first_sync_after_the_history_can_fire_at_once(sim: PlaidSimulator, receiver: Receiver) -> None:
    sim.configure(retroactive_sync_webhook=True)
    link(sim, receiver)
    sim.run_due()
    assert receiver.codes() == ["SYNC_UPDATES_AVAILABLE"]


def test_phases_advance_with_the_clock(receiver: Receiver, clock: SimulatedClock) -> None:
    sim = PlaidSimulator(clock=clock, behavior=Behavior(initial_seconds=10, historical_seconds=60))
    linked = sim.link_item(receiver.url, transactions=30)
    reached = []
    for seconds in (9, 1, 49, 1):
        clock.advance(seconds)
        sim.run_due()
        reached.append(sim.item(linked.item_id).phase)
    sim.stop()
    assert reached == [Phase.NOT_READY, Phase.INITIAL, Phase.INITIAL, Phase.HISTORICAL]
    assert receiver.codes() == ["INITIAL_UPDATE", "HISTORICAL_UPDATE"]


def test_changes_fire_the_matching_codes(scene: Scene) -> None:
    scene.sim.add(scene.item_id, 3)
    removed = scene.sim.remove(scene.item_id)
    scene.sim.reset_login(scene.item_id)
    scene.sim.repair_login(scene.item_id)
    scene.sim.set_item_error(scene.item_id, "USER_PERMISSION_REVOKED")
    scene.sim.set_item_error(scene.item_id, None, notify=False)
    scene.sim.run_due()
    assert scene.receiver.codes() == [
        "DEFAULT_UPDATE",
        "SYNC_UPDATES_AVAILABLE",
        "TRANSACTIONS_REMOVED",
        "SYNC_UPDATES_AVAILABLE",
        "ERROR",
        "LOGIN_REPAIRED",
        "USER_PERMISSION_REVOKED",
    ]
    bodies = [webhook.payload for webhook in scene.receiver.received]
    assert (bodies[0]["new_transactions"], bodies[2]["removed_transactions"]) == (3, [removed])
    assert bodies[4]["error"]["error_code"] == "ITEM_LOGIN_REQUIRED"


def test_retries_follow_plaids_schedule_for_24_hours(scene: Scene) -> None:
    scene.receiver.responses = [(503, {})] * 50
    start = scene.clock()
    scene.fire()
    while (due := scene.sim.scheduler.next_due()) is not None:
        scene.clock.advance((due - scene.clock()).total_seconds() - 1)
        assert scene.sim.run_due() == 0
        scene.clock.advance(1)
        assert scene.sim.run_due() == 1
    (delivery,) = scene.sim.webhooks()
    offsets = [(attempt.at - start).total_seconds() for attempt in delivery.attempts]
    assert (offsets, delivery.state) == ([0, 30, 150, 630, 2550, 10230, 40950], "failed")


def test_only_200_ends_the_retries(scene: Scene) -> None:
    scene.receiver.responses = [(204, {}), (302, {"Location": scene.receiver.url})]
    scene.fire()
    for _ in range(3):
        scene.advance(600)
    (delivery,) = scene.sim.webhooks()
    assert ([attempt.status for attempt in delivery.attempts], delivery.state) == ([204, 302, 200], "delivered")


def test_a_refused_connection_is_a_failed_attempt(scene: Scene) -> None:
    scene.sim.update_webhook(scene.item_id, NO_RECEIVER)
    scene.sim.run_due()
    (delivery,) = scene.sim.webhooks()
    assert [attempt.status for attempt in delivery.attempts] == [None]
    assert delivery.next_at == scene.clock() + timedelta(seconds=30)


@pytest.mark.parametrize(("fresh", "later"), [(True, 30), (False, 0)])
def test_a_retry_has_a_new_signature_or_the_same(scene: Scene, later: int, *, fresh: bool) -> None:
    scene.sim.configure(webhook_fresh_iat=fresh)
    scene.receiver.responses = [(500, {})]
    scene.fire()
    scene.advance(30)
    first, second = (verified_iat(scene.sim, webhook.body, webhook.token) for webhook in scene.receiver.received)
    assert second - first == later


def test_a_429_delays_the_retry_by_at_most_4_hours(scene: Scene) -> None:
    scene.receiver.responses = [(429, {"Retry-After": "7"}), (429, {"Retry-After": "999999"})]
    scene.fire()
    assert scene.sim.webhooks()[0].next_at == scene.clock() + timedelta(seconds=7)
    scene.advance(7)
    assert scene.sim.webhooks()[0].next_at == scene.clock() + timedelta(hours=4)


@pytest.mark.parametrize("text", ["3600", "Mon, 01 Jun 2026 13:00:00 GMT", "2026-06-01T13:00:00Z"])
def test_retry_after_has_three_formats(clock: SimulatedClock, text: str) -> None:
    assert parse_retry_after(text, clock()) == timedelta(hours=1)
    assert parse_retry_after("soon", clock()) is None


def test_retries_can_stop_for_a_receiver_that_rejects_nearly_all(scene: Scene) -> None:
    scene.sim.configure(webhook_stop_retries=True)
    scene.receiver.responses = [(401, {})] * 20
    scene.fire(*["LOGIN_REPAIRED"] * 12)
    assert [delivery.state for delivery in scene.sim.webhooks()] == ["waiting"] * 9 + ["failed"] * 3


def test_webhooks_can_be_lost_or_duplicated(scene: Scene) -> None:
    scene.sim.lose_webhooks()
    scene.fire("ERROR", "LOGIN_REPAIRED")
    assert scene.receiver.codes() == ["LOGIN_REPAIRED"]
    scene.sim.duplicate_webhooks()
    scene.fire("ERROR")
    assert scene.receiver.codes()[1:] == ["ERROR", "ERROR"]
    assert scene.receiver.received[1].body == scene.receiver.received[2].body


def test_held_webhooks_are_released_in_the_given_order(scene: Scene) -> None:
    scene.sim.hold_webhooks()
    scene.fire("ERROR", "LOGIN_REPAIRED", "PENDING_EXPIRATION")
    assert scene.receiver.codes() == []
    assert scene.sim.release_webhooks("lifo") == 3
    scene.advance(1)
    assert scene.receiver.codes() == ["PENDING_EXPIRATION", "LOGIN_REPAIRED", "ERROR"]


def test_webhooks_can_be_delayed(scene: Scene) -> None:
    scene.sim.configure(webhook_delay=90.0)
    scene.sim.add(scene.item_id)
    for seconds, codes in ((89, []), (1, ["DEFAULT_UPDATE", "SYNC_UPDATES_AVAILABLE"])):
        scene.advance(seconds)
        assert scene.receiver.codes() == codes


def test_random_delivery_faults_have_their_probabilities(sim: PlaidSimulator) -> None:
    sim.configure(webhook_loss=0.3, webhook_duplicates=0.3, webhook_reorder=0.3)
    linked = sim.link_item(NO_RECEIVER, transactions=30, phase=Phase.HISTORICAL)
    for _ in range(200):
        sim.fire_webhook(linked.item_id, "ITEM", "LOGIN_REPAIRED")
    deliveries = sim.webhooks()
    lost = sum(delivery.state == "lost" for delivery in deliveries)
    late = sum(delivery.next_at is not None and delivery.next_at > sim.clock() for delivery in deliveries)
    assert 230 < len(deliveries) < 290
    assert 0.2 < lost / len(deliveries) < 0.4
    assert 0.2 < late / (len(deliveries) - lost) < 0.4


def test_the_background_thread_delivers_webhooks(receiver: Receiver) -> None:
    sim = PlaidSimulator(clock=utc_now, behavior=MANUAL)
    with PlaidServer(sim):
        sim.add(link(sim, receiver))
        assert sim.wait_idle()
    assert sorted(receiver.codes()) == ["DEFAULT_UPDATE", "SYNC_UPDATES_AVAILABLE"]


def test_a_webhook_can_be_sent_again_with_a_new_signature(scene: Scene) -> None:
    scene.fire()
    scene.clock.advance(90)
    scene.sim.resend_webhook(scene.sim.webhooks()[0])
    scene.sim.run_due()
    first, second = scene.receiver.received
    assert first.body == second.body
    assert verified_iat(scene.sim, second.body, second.token) - verified_iat(scene.sim, first.body, first.token) == 90


def test_an_item_without_a_webhook_url_sends_nothing(sim: PlaidSimulator) -> None:
    item_id = sim.link_item(transactions=5, phase=Phase.HISTORICAL).item_id
    sim.add(item_id)
    warnings: tuple[Any, ...] = (sim.warn_expiration, sim.warn_disconnect, sim.offer_accounts)
    assert not any(warn(item_id) for warn in warnings)
    assert not sim.fire_webhook(item_id, "ITEM", "ERROR")
    assert sim.webhooks() == []
