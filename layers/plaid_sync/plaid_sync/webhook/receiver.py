"""What a verified webhook leads to, by its type and code.

Only a webhook that can change the response of /transactions/sync, or the Item's state, is queued:
SYNC_UPDATES_AVAILABLE and the ITEM webhooks, also those that Plaid adds. The sync that it leads to records it. One
that the stack has no rule for is recorded here, and published from the history on the event bus: an application may
act on it. A LINK webhook of a session that the user finished completes it at once: Plaid's retries are the queue, so
that no public token is stored.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.domain import exact_json
from plaid_sync.domain.errors import PlaidSyncError, TransientError
from plaid_sync.domain.history import DetailType, EntryKind, HistoryEntry, partition_without_item
from plaid_sync.domain.item import ItemId
from plaid_sync.domain.messages import ITEM_WEBHOOK_TYPE, Cause, SyncMessage, is_item_id
from plaid_sync.domain.text import MAX_TEXT_LENGTH, is_printable_ascii, is_token
from plaid_sync.domain.transitions import ITEM_WEBHOOK_EVENTS, EventType
from plaid_sync.webhook.redaction import fit, redact
from plaid_sync.webhook.signature import MAX_AGE, RejectedError, parse_signature, require_size, verify

if TYPE_CHECKING:
    from datetime import datetime

    from plaid_sync.domain.clock import Clock
    from plaid_sync.domain.ports import History, SyncQueue
    from plaid_sync.webhook.keys import VerificationKeys
    from plaid_sync.webhook.ports import AttemptRequests, LinkSessions, SharedState

HANDLED_CODES: Final = frozenset(
    {("TRANSACTIONS", "SYNC_UPDATES_AVAILABLE"), *((ITEM_WEBHOOK_TYPE, code.value) for code in ITEM_WEBHOOK_EVENTS)}
)
_ACKNOWLEDGMENT: Final = (ITEM_WEBHOOK_TYPE, EventType.WEBHOOK_UPDATE_ACKNOWLEDGED.value)
_RECURRING_UPDATE: Final = ("TRANSACTIONS", "RECURRING_TRANSACTIONS_UPDATE")
MAX_STALE_AGE: Final = timedelta(days=1)
"""Plaid retries a webhook for up to 24 hours, and does not document whether it signs each retry."""
STALE_EVERY: Final = timedelta(minutes=10)
"""One stale webhook of an Item in this time leads to a message: a captured one can be replayed all day."""
_LINK_WEBHOOK_TYPE: Final = "LINK"
_SESSION_FINISHED: Final = "SESSION_FINISHED"
_ITEM_ADD_RESULT: Final = "ITEM_ADD_RESULT"
_SUCCESS: Final = "SUCCESS"
"""What LINK webhooks say of a user who finished Link (https://plaid.com/docs/api/link/#session_finished)."""
_MAX_PUBLIC_TOKENS: Final = 100
_MAX_OMITTED_NAMES: Final = 20
_MAX_QUEUED_BRACKETS: Final = 200
"""A deeper body might parse here, and fail to serialize, or to parse in the sync function."""


class UnprocessableWebhookError(PlaidSyncError):
    """The webhook is verified, but unusable; no retry changes that."""


class NotQueuedError(TransientError):
    """The webhook is verified, and the queue has not accepted its message."""


class NotLinkedError(TransientError):
    """The webhook is verified, and what the user linked is not linked yet."""


class NotRecordedError(TransientError):
    """The webhook is verified, and the history has not accepted its entry, from which it is published."""


class StaleWebhookError(RejectedError):
    """The webhook is genuine in all but its age: it is rejected, as Plaid's rule wants, and its Item is looked at.

    Attributes:
        queued: whether a message was sent; None where none was due.
    """

    def __init__(self, queued: bool | None) -> None:  # noqa: FBT001 - an attribute
        super().__init__("stale")
        self.queued = queued


@dataclass(frozen=True, slots=True)
class Webhook:
    """A verified webhook; types and codes stay open strings, because Plaid adds to them.

    Attributes:
        item_id: None where it is not about an Item, or has no usable item_id.
    """

    webhook_type: str
    webhook_code: str
    item_id: ItemId | None
    body: dict[str, Any]

    @property
    def is_handled(self) -> bool:
        """Whether the stack knows what to do about it."""
        return (self.webhook_type, self.webhook_code) in HANDLED_CODES

    @property
    def is_finished_link(self) -> bool:
        """Whether the user finished Link, other than by leaving it: the session may be one of this stack's."""
        if self.webhook_type != _LINK_WEBHOOK_TYPE or not is_token(self.body.get("link_token")):
            return False
        if self.webhook_code == _SESSION_FINISHED:
            return str(self.body.get("status", "")).upper() == _SUCCESS
        return self.webhook_code == _ITEM_ADD_RESULT

    @property
    def is_queued(self) -> bool:
        """Whether it leads to a look at its Item: an ITEM webhook that Plaid has added is a hint, too."""
        kind = self.webhook_type, self.webhook_code
        is_hint = self.webhook_type == ITEM_WEBHOOK_TYPE and kind != _ACKNOWLEDGMENT
        return self.is_handled or (is_hint and self.item_id is not None)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The result of an acknowledged webhook.

    Attributes:
        queued: whether a message was sent.
        delay: from Plaid's signature until it was received, by two clocks.
        published: whether the event bus gets it, because the stack has no rule for it, or could not act.
    """

    webhook: Webhook
    queued: bool
    delay: timedelta
    published: bool


@dataclass(frozen=True, slots=True)
class _Action:
    """What was done about a webhook.

    Attributes:
        published: whether it has to be published.
        refusal: why what the user linked is not linked.
        client_user_id: the user that a published webhook is about; None where that is unknown.
    """

    published: bool = False
    refusal: str | None = None
    client_user_id: str | None = None


@dataclass(frozen=True, slots=True)
class WebhookReceiver:
    """Verifies webhooks and sends their messages."""

    keys: VerificationKeys
    queue: SyncQueue
    history: History
    attempts: AttemptRequests
    shared: SharedState
    links: LinkSessions
    clock: Clock

    def receive(self, body: bytes, token: str | None, correlation_id: str = "") -> Receipt:
        """Verify, classify and, where a sync is needed, enqueue; returns only after the queue accepted the message.

        Args:
            body: as delivered.
            token: the value of the `Plaid-Verification` header.
            correlation_id: the id of this request, for the Item's history.

        Raises:
            RejectedError: it is not verified; a `StaleWebhookError` if only its age is wrong, by a day at most.
            UnprocessableWebhookError: it is verified, but unusable.
            TransientError: it could not be verified, enqueued or recorded: Plaid has to send it again.
        """
        now = self.clock.now()
        require_size(len(body))
        signature = parse_signature(token)
        signed_at = verify(body, signature, self.keys.get(signature.key_id, now), now, MAX_STALE_AGE)
        delivery = deduplication_id(str(token))
        if now - signed_at > MAX_AGE:
            raise StaleWebhookError(self._act_on_stale(body, delivery, signed_at, correlation_id))
        webhook = parse_webhook(body)
        action = self._act_on(webhook, body, delivery, correlation_id)
        if action.published or webhook.is_finished_link:
            self._record(webhook, action, delivery, signed_at, correlation_id)
        return Receipt(webhook, webhook.is_queued, now - signed_at, action.published)

    def _act_on(self, webhook: Webhook, body: bytes, delivery: str, correlation_id: str) -> _Action:
        """Do what the webhook is about, before it is recorded."""
        if webhook.is_finished_link:
            return self._complete_link(webhook, correlation_id)
        if not webhook.is_queued:
            return _Action(published=True)
        if webhook.item_id is None:
            raise UnprocessableWebhookError("item_id must be 1 to 128 printable ASCII characters")
        self._queue(_message(webhook, webhook.item_id, body), delivery)
        return _Action(published=not webhook.is_handled)

    def _complete_link(self, webhook: Webhook, correlation_id: str) -> _Action:
        body = webhook.body
        try:
            ended = webhook.webhook_code == _SESSION_FINISHED
            outcome = self.links.complete(str(body["link_token"]), _public_tokens(body), correlation_id, ended=ended)
        except TransientError as error:
            raise NotLinkedError(error.code) from error
        published = outcome.code is not None
        return _Action(published, outcome.code, outcome.client_user_id if published else None)

    def _queue(self, message: SyncMessage, delivery: str) -> None:
        try:
            self._send(message, delivery)
        except TransientError as error:
            raise NotQueuedError(error.code) from error

    def _send(self, message: SyncMessage, delivery: str) -> None:
        """Send a message; where the queue refuses it, a request for the sweep remembers it.

        Plaid's next try may come hours after the queue is back; the sweep tries every minute.
        """
        try:
            self.queue.send(message, delivery)
        except TransientError:
            with suppress(TransientError):
                self.attempts.request_attempt(message.item_id, self.clock.now())
            raise

    def _act_on_stale(self, body: bytes, delivery: str, signed_at: datetime, correlation_id: str) -> bool | None:
        """Do what a late webhook still allows; return whether that worked, if anything was due.

        One that has to be published is published, once: applications have no sweep. A failure is tried again with
        Plaid's next retry.
        """
        try:
            webhook = parse_webhook(body)
        except UnprocessableWebhookError:
            return None
        worked = self._queue_stale(webhook, delivery, signed_at, correlation_id)
        if not (webhook.is_handled or webhook.is_finished_link):
            try:
                self._record(webhook, _Action(published=True), delivery, signed_at, correlation_id)
            except NotRecordedError:
                return False
        return worked

    def _queue_stale(self, webhook: Webhook, delivery: str, signed_at: datetime, correlation_id: str) -> bool | None:
        """Request a sync without the webhook, whose content may be outdated; return whether that worked, if it is due.

        After a failure the sweep does it. A finished link is still one: it is completed, and a failure is tried again
        with Plaid's next retry.
        """
        now = self.clock.now()
        try:
            subject = webhook.item_id if webhook.is_queued else None
            if webhook.is_finished_link:
                subject = ItemId(deduplication_id(str(webhook.body["link_token"])))
            if subject is None or not self.shared.once(f"stale#{subject}", STALE_EVERY, now):
                return None
            if webhook.is_finished_link:
                action = self._complete_link(webhook, correlation_id)
                self._record(webhook, action, delivery, signed_at, correlation_id)
            else:
                self._send(SyncMessage(subject, Cause.STALE_WEBHOOK), delivery)
        except TransientError:
            return False
        return True

    def _record(
        self, webhook: Webhook, action: _Action, delivery: str, signed_at: datetime, correlation_id: str
    ) -> None:
        """Record it, and publish it with its entry if that is needed.

        One about recurring streams first ends the stored response about them.
        The same delivery has the same entry, however often it comes, so that it is published once.

        Raises:
            NotRecordedError: it is not recorded.
        """
        try:
            if (webhook.webhook_type, webhook.webhook_code) == _RECURRING_UPDATE and webhook.item_id is not None:
                # Before it is published: an application that reads the streams then gets the new ones.
                self.shared.invalidate_recurring(webhook.item_id, self.clock.now())
            self.history.add(_entry(webhook, action, delivery, signed_at, correlation_id))
        except TransientError as error:
            raise NotRecordedError(error.code) from error


def parse_webhook(body: bytes) -> Webhook:
    """Parse a verified body.

    Raises:
        UnprocessableWebhookError: it is not an object with a webhook_type and a webhook_code that are printable.
    """
    try:
        document = exact_json.loads(body)
    except exact_json.InvalidJsonError as error:
        raise UnprocessableWebhookError("the body is not JSON") from error
    if not isinstance(document, dict):
        raise UnprocessableWebhookError("the body is not an object")
    for name in ("webhook_type", "webhook_code"):
        if not is_printable_ascii(document.get(name)):
            raise UnprocessableWebhookError(f"{name} must be 1 to {MAX_TEXT_LENGTH} printable ASCII characters")
    item_id = document.get("item_id")
    return Webhook(
        webhook_type=document["webhook_type"],
        webhook_code=document["webhook_code"],
        item_id=ItemId(str(item_id)) if is_item_id(item_id) else None,
        body=document,
    )


def deduplication_id(token: str) -> str:
    """Return an id for this delivery: equal bodies 90 seconds apart are two updates, and their tokens differ."""
    return hashlib.sha256(token.encode()).hexdigest()


def _message(webhook: Webhook, item_id: ItemId, raw: bytes) -> SyncMessage:
    """Return the message: with the whole webhook, or of a deeply nested one with the fields that the sync needs."""
    body = webhook.body
    if raw.count(b"{") + raw.count(b"[") > _MAX_QUEUED_BRACKETS:
        kept = ("webhook_type", "webhook_code", "account_id")
        body = {name: body[name] for name in kept if is_printable_ascii(body.get(name))}
    return SyncMessage(item_id, Cause.WEBHOOK, body)


def _public_tokens(body: dict[str, Any]) -> tuple[str, ...]:
    """Return the public tokens of a LINK webhook; `public_token` is Plaid's older name for a single one."""
    listed = body.get("public_tokens")
    tokens = [*(listed if isinstance(listed, list) else []), body.get("public_token")]
    readable = (token for token in tokens if is_token(token))
    return tuple(dict.fromkeys(readable))[:_MAX_PUBLIC_TOKENS]


def _entry(webhook: Webhook, action: _Action, delivery: str, signed_at: datetime, correlation_id: str) -> HistoryEntry:
    details: dict[str, Any] = {
        "webhook_type": webhook.webhook_type,
        "webhook_code": webhook.webhook_code,
        "correlation_ids": [correlation_id] if correlation_id else None,
        "code": action.refusal,
        "client_user_id": action.client_user_id,
    }
    published: tuple[str, ...] = ()
    if action.published:
        body, omitted = fit(redact(webhook.body))
        names = [name[:MAX_TEXT_LENGTH] for name in omitted[:_MAX_OMITTED_NAMES]]
        details |= {"body": body, "omitted_members": names or None}
        published = (DetailType.PLAID_WEBHOOK,)
    item_id, suffix = webhook.item_id or partition_without_item(action.client_user_id), f"w{delivery[:16]}"
    outcome = outcome_of(webhook, published=action.published)
    return HistoryEntry(item_id, signed_at, suffix, EntryKind.WEBHOOK, outcome, details, published)


def outcome_of(webhook: Webhook, *, published: bool) -> str:
    """Return what became of an accepted webhook: `queued`, `published`, or else the link session is completed."""
    return "queued" if webhook.is_queued else "published" if published else "linked"
