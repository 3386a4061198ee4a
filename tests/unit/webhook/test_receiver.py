"""A verified webhook: which are queued, which are unprocessable, and what is recorded."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from plaid_sync.aws.dynamodb.expressions import deserialize
from plaid_sync.aws.dynamodb.history import entry_put
from plaid_sync.domain import exact_json
from plaid_sync.domain.errors import TransientError
from plaid_sync.domain.history import NO_ITEM, partition_without_item
from plaid_sync.domain.item import ItemId
from plaid_sync.domain.messages import SyncMessage, parse_message
from plaid_sync.events import BusEvent, events_of_entry
from plaid_sync.webhook.keys import VerificationKeys
from plaid_sync.webhook.receiver import (
    MAX_STALE_AGE,
    STALE_EVERY,
    NotLinkedError,
    NotQueuedError,
    NotRecordedError,
    Receipt,
    StaleWebhookError,
    UnprocessableWebhookError,
    WebhookReceiver,
    deduplication_id,
    parse_webhook,
)
from plaid_sync.webhook.signature import RejectedError, VerificationKey

from tests.fakes.attempts import FakeAttempts
from tests.fakes.clock import FakeClock
from tests.fakes.failing import Failing
from tests.fakes.history import FakeHistory
from tests.fakes.links import FakeLinkSessions
from tests.fakes.queue import FakeQueue
from tests.fakes.shared import FakeSharedState
from tests.unit.webhook.test_signature import KEY, NOW, sign

QUEUED = {
    "TRANSACTIONS": {"SYNC_UPDATES_AVAILABLE"},
    "ITEM": {
        "ERROR",
        "LOGIN_REPAIRED",
        "PENDING_DISCONNECT",
        "PENDING_EXPIRATION",
        "USER_PERMISSION_REVOKED",
        "USER_ACCOUNT_REVOKED",
        "NEW_ACCOUNTS_AVAILABLE",
    },
}
PUBLISHED = {
    "TRANSACTIONS": {
        "INITIAL_UPDATE",
        "HISTORICAL_UPDATE",
        "DEFAULT_UPDATE",
        "TRANSACTIONS_REMOVED",
        "RECURRING_TRANSACTIONS_UPDATE",
    },
    "ITEM": {"WEBHOOK_UPDATE_ACKNOWLEDGED"},
    "LINK": {"SESSION_FINISHED", "EVENTS"},
    "AUTH": {"AUTOMATICALLY_VERIFIED"},
    "HOLDINGS": {"DEFAULT_UPDATE"},
    "LIABILITIES": {"DEFAULT_UPDATE"},
    "STATEMENTS": {"STATEMENTS_REFRESH_COMPLETE"},
    "SOMETHING_NEW": {"SYNC_UPDATES_AVAILABLE"},
}


class Keys:
    """Plaid's /webhook_verification_key/get."""

    def fetch(self, key_id: str) -> VerificationKey | None:
        return KEY if key_id == KEY.key_id else None


@dataclass(slots=True)
class Scene:
    """A receiver on fakes."""

    queue: Any = field(default_factory=FakeQueue)
    history: Any = field(default_factory=FakeHistory)
    attempts: FakeAttempts = field(default_factory=FakeAttempts)
    shared: Any = field(default_factory=FakeSharedState)
    links: FakeLinkSessions = field(default_factory=FakeLinkSessions)
    clock: FakeClock = field(default_factory=lambda: FakeClock(NOW))

    def receive(self, body: bytes, token: str | None = None) -> Receipt:
        """Receive a body, in a process with an empty memory."""
        keys = VerificationKeys(Keys(), self.shared)
        receiver = WebhookReceiver(keys, self.queue, self.history, self.attempts, self.shared, self.links, self.clock)
        return receiver.receive(body, sign(body) if token is None else token, "request")

    def receive_stale(self, body: bytes) -> tuple[bool | None, list[tuple[str, str]]]:
        """Receive what Plaid signed at `NOW`; return whether its Item was queued, and what is in the queue."""
        with pytest.raises(StaleWebhookError, match="stale") as stale:
            self.receive(body)
        return stale.value.queued, self.queue.take()


def published(scene: Scene) -> list[BusEvent]:
    """Return the events of all history entries, as the stream's function publishes them."""
    rows = [entry_put("history", entry).request["Put"]["Item"] for entry in scene.history.entries]
    return [event for row in rows for event in events_of_entry(deserialize(row))]


def body_of(**members: str) -> bytes:
    texts = {"webhook_type": '"ITEM"', "webhook_code": '"ERROR"', "item_id": '"item"'} | members
    return ("{" + ",".join(f'"{name}":{text}' for name, text in texts.items()) + "}").encode()


def test_the_codes_that_can_change_an_items_rows_or_state_are_queued_and_all_others_are_published() -> None:
    def effects(kind: str, code: str) -> tuple[bool, bool]:
        webhook = parse_webhook(body_of(webhook_type=f'"{kind}"', webhook_code=f'"{code}"'))
        return webhook.is_queued, not webhook.is_handled

    assert {effects(kind, code) for kind, codes in QUEUED.items() for code in codes} == {(True, False)}
    assert {effects(kind, code) for kind, codes in PUBLISHED.items() for code in codes} == {(False, True)}
    assert effects("ITEM", "A_CODE_OF_NEXT_YEAR") == (True, True)


@pytest.mark.parametrize("item_id", ["7", '""', '"a b"', '"\\u00e9"', "null"])
def test_an_item_id_that_no_message_group_can_have_is_none_and_its_webhook_is_not_queued(item_id: str) -> None:
    scene, body = Scene(), body_of(item_id=item_id)
    assert parse_webhook(body).item_id is None
    with pytest.raises(UnprocessableWebhookError, match="item_id"):
        scene.receive(body)
    assert scene.queue.take() == []


@pytest.mark.parametrize(
    ("body", "field_name"),
    [
        (b"\xff", "JSON"),
        (b"[]", "object"),
        (b'{"webhook_code": "ERROR"}', "webhook_type"),
        (body_of(extra="1e9999999999999999999"), "JSON"),
        *(
            (body_of(**{name: text}), name)
            for name in ("webhook_type", "webhook_code")
            for text in ('""', '"\\ud800"', '"\u00e9"', '"\\u0000"', '"\\u202e"', f'"{"x" * 129}"', "null", "7")
        ),
    ],
)
def test_a_verified_webhook_that_is_unusable_is_unprocessable(body: bytes, field_name: str) -> None:
    with pytest.raises(UnprocessableWebhookError, match=field_name):
        Scene().receive(body)


def test_a_webhook_that_is_not_verified_is_neither_queued_nor_recorded() -> None:
    scene = Scene()
    with pytest.raises(RejectedError, match="body_mismatch"):
        scene.receive(body_of(), sign(b"another"))
    with pytest.raises(RejectedError, match="unknown_key"):
        scene.receive(body_of(), sign(body_of(), header={"kid": "another"}))
    assert (scene.queue.attempts, scene.history.entries) == (0, [])


@pytest.mark.parametrize("text", ['"\\ud800"', '"\\ufffe"', '"\uffff"', '{"\\udfff":[]}', '"\\u0000\u007f"'])
def test_a_webhook_with_characters_that_sqs_rejects_is_queued_whole(text: str) -> None:
    scene, body = Scene(), body_of(extra=text)
    scene.receive(body)
    (message,) = scene.queue.sent.values()
    assert parse_message(message.to_json()).webhook == exact_json.loads(body)


@pytest.mark.parametrize("token", [None, "garbage", "genuine"])
def test_a_body_that_is_too_large_is_rejected_before_anything_else(token: str | None) -> None:
    scene = Scene()
    room = 64 * 1024 - len(body_of(extra='""'))
    fits = body_of(extra=f'"{"x" * room}"')
    assert scene.receive(fits).queued
    calls = scene.shared.calls
    body = fits.replace(b"xx", b"xxx", 1)
    assert len(body) == 64 * 1024 + 1
    with pytest.raises(RejectedError, match="body_too_large"):
        scene.receive(body, sign(body) if token == "genuine" else str(token))
    assert (scene.shared.calls, len(scene.queue.sent)) == (calls, 1)


@pytest.mark.parametrize("text", ["[" * 300 + "]" * 300, '{"a":' * 900 + "1" + "}" * 900], ids=len)
def test_of_a_deeply_nested_webhook_the_codes_and_the_account_are_queued(text: str) -> None:
    scene = Scene()
    scene.receive(body_of(account_id='"account"', extra=text))
    (message,) = scene.queue.sent.values()
    assert (message.item_id, message.webhook) == (
        "item",
        {"webhook_type": "ITEM", "webhook_code": "ERROR", "account_id": "account"},
    )


def test_a_webhook_that_is_published_is_recorded_and_one_that_is_queued_is_left_to_its_sync() -> None:
    scene = Scene()
    acknowledged = body_of(webhook_code='"WEBHOOK_UPDATE_ACKNOWLEDGED"')
    no_item = body_of(webhook_type='"LINK"', webhook_code='"SESSION_FINISHED"', item_id="null")
    receipts = [scene.receive(body) for body in (body_of(), acknowledged, no_item)]
    assert [(receipt.queued, receipt.published) for receipt in receipts] == [
        (True, False),
        (False, True),
        (False, True),
    ]
    recorded = [(entry.item_id, entry.details["webhook_code"], entry.outcome) for entry in scene.history.entries]
    assert recorded == [
        ("item", "WEBHOOK_UPDATE_ACKNOWLEDGED", "published"),
        (NO_ITEM, "SESSION_FINISHED", "published"),
    ]


@pytest.mark.parametrize(("item_id", "published_item"), [('"item"', {"item_id": "item"}), ("null", {}), ("7", {})])
def test_a_webhook_that_the_stack_does_not_act_on_is_published_whole_without_its_tokens(
    item_id: str, published_item: dict[str, str]
) -> None:
    scene = Scene()
    body = body_of(
        webhook_type='"AUTH"',
        webhook_code='"AUTOMATICALLY_VERIFIED"',
        item_id=item_id,
        account_id='"account"',
        amount="12.3400",
        public_token='"opaque"',
        note='"access-sandbox-1f2e"',
    )
    scene.receive(body)
    (event,) = published(scene)
    assert event.detail_type == "PlaidWebhook"
    assert {name: event.detail[name] for name in ("kind", "outcome", "webhook_type", "webhook_code")} == {
        "kind": "webhook",
        "outcome": "published",
        "webhook_type": "AUTH",
        "webhook_code": "AUTOMATICALLY_VERIFIED",
    }
    assert {name: value for name, value in event.detail.items() if name == "item_id"} == published_item
    text = exact_json.dumps(event.detail["body"])
    assert exact_json.loads(text) == exact_json.loads(body) | {"public_token": "[redacted]", "note": "[redacted]"}
    assert '"amount":12.3400' in text


def test_a_delivery_that_comes_twice_is_published_once() -> None:
    """A captured one can be replayed for five minutes."""
    scene, body = Scene(), body_of(webhook_type='"HOLDINGS"', webhook_code='"DEFAULT_UPDATE"')
    token = sign(body)
    scene.receive(body, token)
    scene.clock.sleep(60)
    scene.receive(body, token)
    assert len(published(scene)) == 1
    scene.receive(body, sign(body, iat=int(NOW.timestamp()) + 60))
    assert len(published(scene)) == 2


RECURRING = body_of(webhook_type='"TRANSACTIONS"', webhook_code='"RECURRING_TRANSACTIONS_UPDATE"')


def test_a_webhook_about_recurring_streams_ends_their_stored_response_before_it_is_published() -> None:
    scene = Scene()
    before_publication: list[dict[str, int]] = []
    history, invalidations = scene.history, scene.shared.invalidations
    scene.history = Failing(history, "add", None, meanwhile=lambda: before_publication.append(dict(invalidations)))
    assert scene.receive(RECURRING).published
    assert before_publication == [{"item": 1}]
    assert [entry.outcome for entry in history.entries] == ["published"]


def test_a_late_one_ends_it_too_and_other_webhooks_do_not() -> None:
    scene = Scene()
    scene.receive(body_of(webhook_type='"HOLDINGS"', webhook_code='"DEFAULT_UPDATE"'))
    scene.receive(body_of(webhook_type='"TRANSACTIONS"', webhook_code='"DEFAULT_UPDATE"'))
    scene.receive(body_of(webhook_type='"TRANSACTIONS"', webhook_code='"RECURRING_TRANSACTIONS_UPDATE"', item_id="7"))
    assert scene.shared.invalidations == {}
    token = sign(RECURRING)
    scene.clock.sleep(600)
    with pytest.raises(StaleWebhookError):
        scene.receive(RECURRING, token)
    assert scene.shared.invalidations == {"item": 1}


def test_one_that_does_not_end_it_is_sent_again_by_plaid_and_not_published() -> None:
    scene = Scene()
    scene.shared.failing = True
    with pytest.raises(NotRecordedError):
        scene.receive(RECURRING)
    assert scene.history.entries == []


@pytest.mark.parametrize(
    ("text", "omitted"),
    [('"' + "\u007f" * 65_000 + '"', ["extra"]), ("[" * 90 + "]" * 90, None), ('"\\ud800"', None)],
    ids=["large", "deep", "surrogate"],
)
def test_a_webhook_that_no_event_can_hold_is_published_without_what_is_too_much(
    text: str, omitted: list[str] | None
) -> None:
    scene = Scene()
    scene.receive(body_of(webhook_type='"NEW"', extra=text))
    (event,) = published(scene)
    assert event.detail.get("omitted_members") == omitted
    assert event.detail["body"]["item_id"] == "item"
    assert len(exact_json.dumps(dict(event.detail)).encode()) < 200_000


@pytest.mark.parametrize("kind", ["AUTH", "ITEM"])
def test_a_webhook_that_can_not_be_published_is_sent_again_by_plaid(kind: str) -> None:
    scene = Scene(history=Failing(FakeHistory(), "add"))
    body = body_of(webhook_type=f'"{kind}"', webhook_code='"A_CODE_OF_NEXT_YEAR"')
    token = sign(body)
    with pytest.raises(NotRecordedError):
        scene.receive(body, token)
    assert scene.receive(body, token).published
    assert len(scene.queue.sent) == int(kind == "ITEM")


def test_an_item_webhook_that_plaid_has_added_is_queued_and_published() -> None:
    scene = Scene()
    receipt = scene.receive(body_of(webhook_code='"A_CODE_OF_NEXT_YEAR"'))
    assert (receipt.queued, scene.queue.take()) == (True, [("item", "webhook")])
    assert [event.detail["outcome"] for event in published(scene)] == ["queued"]
    without_item = scene.receive(body_of(webhook_code='"A_CODE_OF_NEXT_YEAR"', item_id="null"))
    assert (without_item.queued, scene.queue.take(), len(published(scene))) == (False, [], 2)


def test_a_queue_that_fails_makes_plaid_send_again_and_what_is_queued_needs_no_history() -> None:
    with pytest.raises(NotQueuedError):
        Scene(queue=Failing(FakeQueue(), "send", TransientError("InternalError"))).receive(body_of())
    scene = Scene(history=Failing(FakeHistory(), "add"))
    receipt = scene.receive(body_of())
    assert (receipt.queued, scene.queue.take()) == (True, [("item", "webhook")])


def test_a_delivery_is_deduplicated_by_its_token_alone() -> None:
    assert deduplication_id("token-1") == deduplication_id("token-1") != deduplication_id("token-2")
    assert len(deduplication_id("token-1")) <= 128


def test_two_deliveries_of_equal_bodies_are_two_messages_and_a_repeated_delivery_is_one() -> None:
    scene, body, token = Scene(), body_of(), sign(body_of())
    for delivered in (token, token, sign(body)):
        scene.receive(body, delivered)
    assert len(scene.queue.sent) == 2


def test_a_genuine_webhook_that_is_only_too_old_is_rejected_and_looks_at_its_item_once_in_ten_minutes() -> None:
    scene, other = Scene(), body_of(item_id='"other"')
    acknowledged = body_of(webhook_code='"WEBHOOK_UPDATE_ACKNOWLEDGED"')
    scene.clock.time = NOW + timedelta(minutes=5, seconds=1)
    assert scene.receive_stale(body_of()) == (True, [("item", "stale_webhook")])
    assert scene.receive_stale(body_of(webhook_code='"LOGIN_REPAIRED"')) == (None, [])
    assert scene.receive_stale(other) == (True, [("other", "stale_webhook")])
    assert scene.receive_stale(acknowledged) == scene.receive_stale(b"[]") == (None, [])
    scene.clock.time += STALE_EVERY - timedelta(seconds=1)
    assert scene.receive_stale(body_of()) == (None, [])
    scene.clock.time += timedelta(seconds=1)
    assert scene.receive_stale(body_of()) == (True, [("item", "stale_webhook")])
    assert [entry.details["webhook_code"] for entry in scene.history.entries] == ["WEBHOOK_UPDATE_ACKNOWLEDGED"]


def test_the_message_of_a_stale_webhook_has_none_of_its_content() -> None:
    scene = Scene()
    scene.clock.time += timedelta(hours=1)
    with pytest.raises(StaleWebhookError):
        scene.receive(body_of(webhook_code='"USER_ACCOUNT_REVOKED"', account_id='"account"'))
    (message,) = scene.queue.sent.values()
    assert parse_message(message.to_json()) == SyncMessage(ItemId("item"), "stale_webhook", None)


def test_a_stale_webhook_that_is_not_genuine_or_older_than_a_day_leads_to_nothing() -> None:
    scene, body = Scene(), body_of()
    scene.clock.time = NOW + MAX_STALE_AGE
    for token in (sign(b"another"), sign(body, signer=ec.generate_private_key(ec.SECP256R1()))):
        with pytest.raises(RejectedError, match=r"body_mismatch|bad_signature"):
            scene.receive(body, token)
    scene.clock.time += timedelta(seconds=1)
    with pytest.raises(RejectedError, match="stale") as rejected:
        scene.receive(body)
    assert not isinstance(rejected.value, StaleWebhookError)
    assert scene.queue.attempts == 0


@pytest.mark.parametrize("failing", ["queue", "shared"])
def test_a_stale_webhook_stays_rejected_when_its_item_cannot_be_queued(failing: str) -> None:
    scene = Scene()
    if failing == "queue":
        scene.queue = Failing(scene.queue, "send")
    else:
        scene.shared.failing_writes = True
    scene.clock.time += timedelta(hours=1)
    assert scene.receive_stale(body_of()) == (False, [])


@pytest.mark.parametrize("stale", [False, True])
def test_an_item_whose_message_the_queue_refuses_is_enqueued_by_the_next_sweep(*, stale: bool) -> None:
    """Plaid's next try can come hours after the queue is back."""
    scene = Scene(FakeQueue(refused={"item"}))
    if stale:
        scene.clock.sleep(3600)
        assert scene.receive_stale(body_of()) == (False, [])
    else:
        with pytest.raises(NotQueuedError):
            scene.receive(body_of())
    (due,) = scene.attempts.requested()
    assert due.item_id == "item"


# ---- Link

LINK_TOKEN, PUBLIC_TOKEN = "link-sandbox-1", "public-sandbox-1"
FINISHED: dict[str, Any] = {
    "webhook_type": "LINK",
    "webhook_code": "SESSION_FINISHED",
    "status": "SUCCESS",
    "link_token": LINK_TOKEN,
    "public_tokens": [PUBLIC_TOKEN, "public-sandbox-2"],
    "public_token": PUBLIC_TOKEN,
}
ADDED: dict[str, Any] = {
    "webhook_type": "LINK",
    "webhook_code": "ITEM_ADD_RESULT",
    "link_token": LINK_TOKEN,
    "public_token": PUBLIC_TOKEN,
}


def link_webhook(body: dict[str, Any]) -> bytes:
    return exact_json.dumps(body).encode()


@pytest.mark.parametrize(
    ("body", "public_tokens"),
    [
        (FINISHED, (PUBLIC_TOKEN, "public-sandbox-2")),
        (FINISHED | {"public_tokens": None}, (PUBLIC_TOKEN,)),
        (FINISHED | {"public_tokens": [], "public_token": None}, ()),
        (FINISHED | {"public_tokens": [7, None, "p" * 600]}, (PUBLIC_TOKEN,)),
        (ADDED, (PUBLIC_TOKEN,)),
    ],
)
def test_a_finished_session_is_completed_and_no_token_is_stored_or_published(
    body: dict[str, Any], public_tokens: tuple[str, ...]
) -> None:
    scene = Scene()
    receipt = scene.receive(link_webhook(body))
    assert scene.links.completed == [(LINK_TOKEN, public_tokens)]
    assert (receipt.queued, receipt.published) == (False, False)
    assert published(scene) == []
    (entry,) = scene.history.entries
    assert entry.outcome == "linked"
    assert "sandbox" not in repr(entry)


@pytest.mark.parametrize(
    "body",
    [
        FINISHED | {"status": "EXITED"},
        FINISHED | {"status": None},
        FINISHED | {"link_token": None},
        FINISHED | {"webhook_code": "EVENTS"},
        ADDED | {"webhook_type": "HOLDINGS"},
    ],
)
def test_a_session_that_is_not_finished_is_published_without_tokens(body: dict[str, Any]) -> None:
    scene = Scene()
    assert scene.receive(link_webhook(body)).published
    assert scene.links.completed == []
    (event,) = published(scene)
    assert "sandbox" not in repr(event)


@pytest.mark.parametrize("user", ["user", None])
def test_what_cannot_be_linked_is_published_with_the_reason_and_its_user_and_without_tokens(user: str | None) -> None:
    scene = Scene(links=FakeLinkSessions(refusal="duplicate_item", client_user_id=user))
    assert scene.receive(link_webhook(FINISHED)).published
    (entry,) = scene.history.entries
    (event,) = published(scene)
    assert entry.details["code"] == "duplicate_item"
    assert "duplicate_item" in repr(event)
    assert event.detail.get("client_user_id") == user
    assert entry.item_id == partition_without_item(user)
    assert "item_id" not in event.detail
    assert "sandbox" not in repr((entry, event))


def test_a_session_that_cannot_be_completed_now_is_plaids_to_send_again_and_leaves_nothing_behind() -> None:
    scene = Scene(links=FakeLinkSessions(unreachable=True))
    with pytest.raises(NotLinkedError):
        scene.receive(link_webhook(FINISHED))
    assert (scene.history.entries, scene.queue.take()) == ([], [])


def test_a_completed_session_that_is_not_recorded_is_plaids_to_send_again() -> None:
    scene = Scene(history=Failing(FakeHistory(), "add"))
    token = sign(link_webhook(FINISHED))
    with pytest.raises(NotRecordedError):
        scene.receive(link_webhook(FINISHED), token)
    scene.receive(link_webhook(FINISHED), token)
    assert [entry.outcome for entry in scene.history.entries] == ["linked"]


def test_a_late_retry_is_stale_and_completes_the_session_once_in_ten_minutes() -> None:
    """Whether Plaid signs a retry again is not documented."""
    scene = Scene()
    body = link_webhook(FINISHED)
    scene.clock.time += timedelta(minutes=11)
    assert scene.receive_stale(body) == (True, [])
    assert scene.receive_stale(body) == (None, [])
    assert len(scene.links.completed) == 1
    scene.links.unreachable = True
    scene.clock.time += STALE_EVERY
    assert scene.receive_stale(body) == (False, [])


@pytest.mark.parametrize("queue_fails", [False, True])
@pytest.mark.parametrize("kind", ["HOLDINGS", "ITEM"])
def test_a_late_webhook_that_only_an_application_acts_on_is_published_once(kind: str, *, queue_fails: bool) -> None:
    scene, body = Scene(), body_of(webhook_type=f'"{kind}"', webhook_code='"A_CODE_OF_NEXT_YEAR"')
    if queue_fails:
        scene.queue = Failing(scene.queue, "send")
    token = sign(body)
    scene.clock.time += timedelta(hours=1)
    for _ in range(2):
        with pytest.raises(StaleWebhookError):
            scene.receive(body, token)
    (event,) = published(scene)
    assert event.detail["webhook_code"] == "A_CODE_OF_NEXT_YEAR"


def test_a_webhook_that_was_published_in_time_is_not_published_again_by_a_late_retry() -> None:
    scene, body = Scene(), body_of(webhook_type='"HOLDINGS"', webhook_code='"DEFAULT_UPDATE"')
    token = sign(body)
    scene.receive(body, token)
    scene.clock.time += timedelta(hours=1)
    with pytest.raises(StaleWebhookError):
        scene.receive(body, token)
    assert len(published(scene)) == 1


def test_a_late_webhook_that_cannot_be_published_is_published_by_the_next_retry() -> None:
    scene = Scene(history=Failing(FakeHistory(), "add"))
    body = body_of(webhook_code='"A_CODE_OF_NEXT_YEAR"')
    token = sign(body)
    scene.clock.time += timedelta(hours=1)
    with pytest.raises(StaleWebhookError) as stale:
        scene.receive(body, token)
    assert (stale.value.queued, scene.queue.take()) == (False, [("item", "stale_webhook")])
    with pytest.raises(StaleWebhookError):
        scene.receive(body, token)
    assert len(published(scene)) == 1
