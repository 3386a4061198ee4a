"""Webhooks: their bytes, their signatures, when they fire, and how they are retried."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from local.plaid import Behavior, Phase, PlaidServer, PlaidSimulator, SimulatedClock, utc_now, webhooks
from local.plaid.delivery import parse_retry_after
from local.plaid.sync import SyncRequest
from local.plaid.wire import encode

from .conftest import MANUAL, Receiver

if TYPE_CHECKING:
    from local.plaid import LinkedItem

# From plaid-node#399: the only signed body that Plaid's users have published.
PUBLISHED = {
    "error": None,
    "item_id": "xVDbz8kaZRf69Nd18x81I3y83kZaxEF688545",
    "new_transactions": 0,
    "webhook_code": "DEFAULT_UPDATE",
    "webhook_type": "TRANSACTIONS",
}


def ready(sim: PlaidSimulator, receiver: Receiver) -> LinkedItem:
    linked = sim.link_item(receiver.url, transactions=30, phase=Phase.HISTORICAL)
    sim.sync(sim.item(linked.item_id), SyncRequest())
    return linked


def verify(sim: PlaidSimulator, body: bytes, token: str) -> dict[str, Any]:
    kid = jwt.get_unverified_header(token)["kid"]
    key = jwt.PyJWK.from_dict(sim.keys.public(kid))
    claims: dict[str, Any] = jwt.decode(token, key, algorithms=["ES256"], options={"verify_iat": False})
    assert claims["request_body_sha256"] == hashlib.sha256(body).hexdigest()
    return claims


def test_the_published_body_has_the_published_hash() -> None:
    digest = hashlib.sha256(encode(PUBLISHED)).hexdigest()
    assert digest == "c43741964e9b173d7bc1e840a21ce1ad26cfa27c1a379bba8cb5f5715aade40a"


def test_a_webhook_arrives_as_plaid_writes_it_and_verifies(
    sim: PlaidSimulator, receiver: Receiver, clock: SimulatedClock
) -> None:
    linked = ready(sim, receiver)
    sim.fire_webhook(linked.item_id, "TRANSACTIONS", "SYNC_UPDATES_AVAILABLE")
    sim.run_due()
    (webhook,) = receiver.received
    expected = {
        "environment": "sandbox",
        "historical_update_complete": True,
        "initial_update_complete": True,
        "item_id": linked.item_id,
        "webhook_code": "SYNC_UPDATES_AVAILABLE",
        "webhook_type": "TRANSACTIONS",
    }
    assert webhook.body == json.dumps(expected, indent=2).encode()
    header = jwt.get_unverified_header(webhook.token)
    assert header == {"alg": "ES256", "kid": sim.keys.current.kid, "typ": "JWT"}
    assert verify(sim, webhook.body, webhook.token)["iat"] == int(clock().timestamp())


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


@pytest.mark.parametrize(
    ("kind", "code"),
    [("TRANSACTIONS", code) for code in webhooks.TRANSACTIONS_CODES] + [("ITEM", code) for code in webhooks.ITEM_CODES],
)
def test_every_code_carries_its_own_fields(sim: PlaidSimulator, receiver: Receiver, kind: str, code: str) -> None:
    linked = ready(sim, receiver)
    sim.fire_webhook(linked.item_id, kind, code)
    sim.run_due()
    payload = receiver.received[0].payload
    assert payload.keys() - EXTRA[code] == {"environment", "item_id", "webhook_code", "webhook_type"}
    assert payload.keys() >= EXTRA[code]
    if code == "ERROR":
        error = payload["error"]
        assert (error["error_code"], error["status"], "request_id" in error) == ("ITEM_LOGIN_REQUIRED", 400, False)


def test_the_sync_webhook_waits_for_a_first_sync_and_its_siblings_do_not(
    sim: PlaidSimulator, receiver: Receiver
) -> None:
    linked = sim.link_item(receiver.url, transactions=30)
    sim.advance_phase(linked.item_id)
    sim.run_due()
    assert receiver.codes() == ["INITIAL_UPDATE"]
    sim.sync(sim.item(linked.item_id), SyncRequest())
    sim.advance_phase(linked.item_id)
    sim.run_due()
    assert receiver.codes() == ["INITIAL_UPDATE", "HISTORICAL_UPDATE", "SYNC_UPDATES_AVAILABLE"]
    counts = [webhook.payload["new_transactions"] for webhook in receiver.received[:2]]
    assert sum(counts) == len(sim.truth(linked.item_id))


def test_an_empty_first_sync_arms(sim: PlaidSimulator, receiver: Receiver) -> None:
    linked = sim.link_item(receiver.url, transactions=30, initialize_at_link=False)
    assert sim.sync(sim.item(linked.item_id), SyncRequest())["transactions_update_status"] == "NOT_READY"
    sim.advance_phase(linked.item_id)
    sim.run_due()
    assert receiver.codes() == ["INITIAL_UPDATE", "SYNC_UPDATES_AVAILABLE"]
    assert receiver.received[1].payload["historical_update_complete"] is False


def test_a_first_sync_after_the_history_fires_at_once_if_so_switched(sim: PlaidSimulator, receiver: Receiver) -> None:
    sim.configure(retroactive_sync_webhook=True)
    ready(sim, receiver)
    sim.run_due()
    assert receiver.codes() == ["SYNC_UPDATES_AVAILABLE"]


def test_phases_come_by_themselves_as_the_clock_goes_on(receiver: Receiver, clock: SimulatedClock) -> None:
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


def test_changes_are_told_by_the_code_that_fits(sim: PlaidSimulator, receiver: Receiver) -> None:
    linked = ready(sim, receiver)
    sim.add(linked.item_id, 3)
    gone = sim.remove(linked.item_id)
    sim.run_due()
    assert receiver.codes() == [
        "DEFAULT_UPDATE",
        "SYNC_UPDATES_AVAILABLE",
        "TRANSACTIONS_REMOVED",
        "SYNC_UPDATES_AVAILABLE",
    ]
    assert receiver.received[0].payload["new_transactions"] == 3
    assert receiver.received[2].payload["removed_transactions"] == [gone]


def test_retries_follow_plaids_schedule_and_end_within_a_day(
    sim: PlaidSimulator, receiver: Receiver, clock: SimulatedClock
) -> None:
    linked = ready(sim, receiver)
    receiver.answers = [(503, {})] * 50
    start = clock()
    sim.fire_webhook(linked.item_id, "TRANSACTIONS", "SYNC_UPDATES_AVAILABLE")
    sim.run_due()
    while (due := sim.scheduler.next_due()) is not None:
        clock.advance((due - clock()).total_seconds() - 1)
        assert sim.run_due() == 0
        clock.advance(1)
        assert sim.run_due() == 1
    (delivery,) = sim.webhooks()
    offsets = [(attempt.at - start).total_seconds() for attempt in delivery.attempts]
    assert offsets == [0, 30, 150, 630, 2550, 10230, 40950]
    assert delivery.state == "failed"


def test_only_200_ends_the_retries(sim: PlaidSimulator, receiver: Receiver, clock: SimulatedClock) -> None:
    linked = ready(sim, receiver)
    receiver.answers = [(204, {}), (302, {"Location": receiver.url})]
    sim.fire_webhook(linked.item_id, "ITEM", "LOGIN_REPAIRED")
    for _ in range(3):
        sim.run_due()
        clock.advance(600)
    assert sim.run_due() == 0
    assert [attempt.status for attempt in sim.webhooks()[0].attempts] == [204, 302, 200]
    assert sim.webhooks()[0].state == "delivered"


def test_nobody_listening_counts_as_a_failure(sim: PlaidSimulator, clock: SimulatedClock, receiver: Receiver) -> None:
    linked = ready(sim, receiver)
    sim.update_webhook(linked.item_id, "http://127.0.0.1:9/nobody")
    sim.run_due()
    (delivery,) = sim.webhooks()
    assert [attempt.status for attempt in delivery.attempts] == [None]
    assert delivery.next_at == clock() + timedelta(seconds=30)


@pytest.mark.parametrize("fresh", [True, False])
def test_a_retry_is_signed_anew_or_not(
    sim: PlaidSimulator, receiver: Receiver, clock: SimulatedClock, *, fresh: bool
) -> None:
    sim.configure(webhook_fresh_iat=fresh)
    linked = ready(sim, receiver)
    receiver.answers = [(500, {})]
    sim.fire_webhook(linked.item_id, "ITEM", "LOGIN_REPAIRED")
    sim.run_due()
    clock.advance(30)
    sim.run_due()
    first, second = (verify(sim, webhook.body, webhook.token)["iat"] for webhook in receiver.received)
    assert second - first == (30 if fresh else 0)


def test_a_receiver_that_is_busy_says_when_to_come_back(
    sim: PlaidSimulator, receiver: Receiver, clock: SimulatedClock
) -> None:
    linked = ready(sim, receiver)
    receiver.answers = [(429, {"Retry-After": "7"}), (429, {"Retry-After": "999999"})]
    sim.fire_webhook(linked.item_id, "ITEM", "LOGIN_REPAIRED")
    sim.run_due()
    assert sim.webhooks()[0].next_at == clock() + timedelta(seconds=7)
    clock.advance(7)
    sim.run_due()
    assert sim.webhooks()[0].next_at == clock() + timedelta(hours=4)


def test_retry_after_is_read_in_its_three_forms(clock: SimulatedClock) -> None:
    hour = timedelta(hours=1)
    assert parse_retry_after("3600", clock()) == hour
    assert parse_retry_after("Mon, 01 Jun 2026 13:00:00 GMT", clock()) == hour
    assert parse_retry_after("2026-06-01T13:00:00Z", clock()) == hour
    assert parse_retry_after("soon", clock()) is None


def test_a_receiver_that_rejects_nearly_all_is_given_up(sim: PlaidSimulator, receiver: Receiver) -> None:
    sim.configure(webhook_stop_retries=True)
    linked = ready(sim, receiver)
    receiver.answers = [(401, {})] * 20
    for _ in range(12):
        sim.fire_webhook(linked.item_id, "ITEM", "LOGIN_REPAIRED")
    sim.run_due()
    states = [delivery.state for delivery in sim.webhooks()]
    assert states == ["waiting"] * 9 + ["failed"] * 3


def test_webhooks_are_lost_duplicated_held_and_reordered_on_demand(sim: PlaidSimulator, receiver: Receiver) -> None:
    linked = ready(sim, receiver)

    def fire(*codes: str) -> list[str]:
        receiver.received.clear()
        for code in codes:
            sim.fire_webhook(linked.item_id, "ITEM", code)
        sim.run_due()
        return receiver.codes()

    sim.lose_webhooks()
    assert fire("ERROR", "LOGIN_REPAIRED") == ["LOGIN_REPAIRED"]
    sim.duplicate_webhooks()
    assert fire("ERROR") == ["ERROR", "ERROR"]
    assert receiver.received[0].body == receiver.received[1].body
    sim.hold_webhooks()
    assert fire("ERROR", "LOGIN_REPAIRED", "PENDING_EXPIRATION") == []
    assert sim.release_webhooks("lifo") == 3


def test_released_webhooks_come_in_the_order_asked_for(
    sim: PlaidSimulator, receiver: Receiver, clock: SimulatedClock
) -> None:
    linked = ready(sim, receiver)
    sim.hold_webhooks()
    for code in ("ERROR", "LOGIN_REPAIRED", "PENDING_EXPIRATION"):
        sim.fire_webhook(linked.item_id, "ITEM", code)
    sim.release_webhooks("lifo")
    clock.advance(1)
    sim.run_due()
    assert receiver.codes() == ["PENDING_EXPIRATION", "LOGIN_REPAIRED", "ERROR"]


def test_webhooks_can_be_late(sim: PlaidSimulator, receiver: Receiver, clock: SimulatedClock) -> None:
    sim.configure(webhook_delay=90.0)
    linked = ready(sim, receiver)
    sim.add(linked.item_id)
    clock.advance(89)
    sim.run_due()
    assert receiver.codes() == []
    clock.advance(1)
    sim.run_due()
    assert receiver.codes() == ["DEFAULT_UPDATE", "SYNC_UPDATES_AVAILABLE"]


def test_disturbances_by_chance_reach_their_share(sim: PlaidSimulator, receiver: Receiver) -> None:
    sim.configure(webhook_loss=0.3, webhook_duplicates=0.3, webhook_reorder=0.3)
    linked = ready(sim, receiver)
    for _ in range(200):
        sim.fire_webhook(linked.item_id, "ITEM", "LOGIN_REPAIRED")
    deliveries = sim.webhooks()
    lost = sum(delivery.state == "lost" for delivery in deliveries)
    late = sum(delivery.next_at is not None and delivery.next_at > sim.clock() for delivery in deliveries)
    assert 230 < len(deliveries) < 290
    assert 0.2 < lost / len(deliveries) < 0.4
    assert 0.2 < late / (len(deliveries) - lost) < 0.4


def test_the_background_delivers_without_being_asked(receiver: Receiver) -> None:
    sim = PlaidSimulator(clock=utc_now, behavior=MANUAL)
    with PlaidServer(sim):
        linked = ready(sim, receiver)
        sim.add(linked.item_id)
        assert sim.wait_idle()
    assert sorted(receiver.codes()) == ["DEFAULT_UPDATE", "SYNC_UPDATES_AVAILABLE"]


def test_errors_and_repairs_are_told(sim: PlaidSimulator, receiver: Receiver) -> None:
    linked = ready(sim, receiver)
    sim.reset_login(linked.item_id)
    sim.repair_login(linked.item_id)
    sim.set_item_error(linked.item_id, "USER_PERMISSION_REVOKED")
    sim.set_item_error(linked.item_id, None, notify=False)
    sim.run_due()
    assert receiver.codes() == ["ERROR", "LOGIN_REPAIRED", "USER_PERMISSION_REVOKED"]
    assert receiver.received[0].payload["error"]["error_code"] == "ITEM_LOGIN_REQUIRED"


def test_a_webhook_can_be_sent_once_more(sim: PlaidSimulator, receiver: Receiver, clock: SimulatedClock) -> None:
    linked = ready(sim, receiver)
    sim.fire_webhook(linked.item_id, "ITEM", "LOGIN_REPAIRED")
    sim.run_due()
    clock.advance(90)
    sim.resend_webhook(sim.webhooks()[0])
    sim.run_due()
    first, second = receiver.received
    assert first.body == second.body
    assert verify(sim, second.body, second.token)["iat"] - verify(sim, first.body, first.token)["iat"] == 90


def test_an_item_without_a_url_sends_nothing(sim: PlaidSimulator) -> None:
    linked = sim.link_item(transactions=5, phase=Phase.HISTORICAL)
    assert not sim.fire_webhook(linked.item_id, "ITEM", "ERROR")
    sim.add(linked.item_id)
    assert sim.webhooks() == []
