"""Webhooks: their bodies and signatures, when they fire, retries and delivery faults."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import jwt
import pytest

from local.plaid import Behavior, Phase, PlaidSimulator, SimulatedClock
from local.plaid.sync import SyncRequest
from local.plaid.wire import encode

from .conftest import NO_RECEIVER, Receiver

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


def test_only_200_ends_the_retries_each_with_a_new_signature(scene: Scene) -> None:
    scene.receiver.responses = [(204, {}), (302, {"Location": scene.receiver.url})]
    scene.fire()
    for _ in range(3):
        scene.advance(600)
    (delivery,) = scene.sim.webhooks()
    assert ([attempt.status for attempt in delivery.attempts], delivery.state) == ([204, 302, 200], "delivered")
    signed_at = [verified_iat(scene.sim, webhook.body, webhook.token) for webhook in scene.receiver.received]
    assert [moment - signed_at[0] for moment in signed_at] == [0, 600, 1200]
    scene.sim.update_webhook(scene.item_id, NO_RECEIVER)
    scene.sim.run_due()
    assert [attempt.status for attempt in scene.sim.webhooks()[-1].attempts] == [None]


def test_webhooks_can_be_lost_or_duplicated(scene: Scene) -> None:
    scene.sim.lose_webhooks()
    scene.fire("ERROR", "LOGIN_REPAIRED")
    assert scene.receiver.codes() == ["LOGIN_REPAIRED"]
    scene.sim.configure(webhook_duplicates=1.0)
    scene.fire("ERROR")
    assert scene.receiver.codes()[1:] == ["ERROR"] * 2
    assert len({webhook.body for webhook in scene.receiver.received[1:]}) == 1


def test_held_webhooks_are_released_in_the_given_order(scene: Scene) -> None:
    scene.sim.hold_webhooks()
    scene.fire("ERROR", "LOGIN_REPAIRED", "PENDING_EXPIRATION")
    assert scene.receiver.codes() == []
    assert scene.sim.release_webhooks("lifo") == 3
    scene.advance(1)
    assert scene.receiver.codes() == ["PENDING_EXPIRATION", "LOGIN_REPAIRED", "ERROR"]


def test_a_replaced_key_expires_after_the_overlap(sim: PlaidSimulator, clock: SimulatedClock) -> None:
    old = sim.keys.current.kid
    new = sim.rotate_keys(overlap=60)
    assert jwt.get_unverified_header(sim.sign(b"{}"))["kid"] == new
    assert jwt.get_unverified_header(sim.sign(b"{}", kid=old))["kid"] == old
    assert sim.keys.public(old)["expired_at"] is None
    clock.advance(60)
    now = int(clock().timestamp())
    assert (sim.keys.public(old)["expired_at"], sim.keys.public(new)["expired_at"]) == (now, None)


def test_an_item_without_a_webhook_url_sends_nothing(sim: PlaidSimulator) -> None:
    item_id = sim.link_item(transactions=5, phase=Phase.HISTORICAL).item_id
    sim.add(item_id)
    warnings: tuple[Any, ...] = (sim.warn_expiration, sim.warn_disconnect, sim.offer_accounts)
    assert not any(warn(item_id) for warn in warnings)
    assert not sim.fire_webhook(item_id, "ITEM", "ERROR")
    assert sim.webhooks() == []
