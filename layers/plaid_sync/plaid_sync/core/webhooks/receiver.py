"""What a proven webhook asks for, by its type and code.

Only what can change the answer of /transactions/sync, or how the Item stands, is queued. The older transaction codes
keep firing beside SYNC_UPDATES_AVAILABLE for the same change (https://plaid.com/docs/transactions/webhooks/). Whatever
becomes of it, a proven webhook about an Item is recorded in the Item's history.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.core import exact_json
from plaid_sync.core.failures import PlaidSyncError, RetryableError
from plaid_sync.core.history import EntryKind, HistoryEntry
from plaid_sync.core.items import ItemId
from plaid_sync.core.lifecycle import notices
from plaid_sync.core.plain_text import LONGEST, is_plain
from plaid_sync.core.triggers import Cause, SyncTrigger, is_item_id
from plaid_sync.core.webhooks.verification import key_id_of, verify

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from plaid_sync.core.webhooks.verification_keys import VerificationKeys
    from plaid_sync.ports.common import Clock, SyncQueue
    from plaid_sync.ports.lifecycle import History

QUEUED_CODES: Final = frozenset(
    {("TRANSACTIONS", "SYNC_UPDATES_AVAILABLE"), *((notices.ITEM, code.value) for code in notices.CODES)}
)
_LONGEST_QUEUED_WEBHOOK: Final = 64 * 1024
_MOST_BRACKETS_QUEUED: Final = 200
"""What nests more deeply could be read here, and not be written again, or not be read in the sync function."""


class UnusableError(PlaidSyncError):
    """The webhook is Plaid's, but nothing can be done with it; no retry changes that."""


class NotQueuedError(RetryableError):
    """The body is proven to be Plaid's, and the queue has not accepted it."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """A proven webhook; types and codes stay open strings, for Plaid adds to them.

    Attributes:
        item_id: None where it concerns no Item, or names none that could be one.
    """

    webhook_type: str
    webhook_code: str
    item_id: ItemId | None
    body: dict[str, Any]

    @property
    def is_queued(self) -> bool:
        """Whether it asks for something to be done."""
        return (self.webhook_type, self.webhook_code) in QUEUED_CODES


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a webhook that is acknowledged.

    Attributes:
        queued: whether it triggered a sync, or needs nothing from us.
        delay: from when Plaid signed it until it was received, by two clocks.
        recorded: whether the Item's history has it; None where it names no Item.
    """

    webhook: Webhook
    queued: bool
    delay: timedelta
    recorded: bool | None = None


@dataclass(frozen=True, slots=True)
class WebhookReceiver:
    """Proves webhooks and turns them into triggers."""

    keys: VerificationKeys
    queue: SyncQueue
    history: History
    clock: Clock

    def receive(self, body: bytes, token: str | None, correlation_id: str = "") -> Receipt:
        """Verify, classify and, where a sync is needed, enqueue; returns only after the queue has accepted it.

        Args:
            body: as delivered.
            token: the value of the `Plaid-Verification` header.
            correlation_id: what marks this request, for the Item's history.

        Raises:
            RejectedError: it is not proven to be Plaid's.
            UnusableError: it is, but it can't be used.
            RetryableError: we could not find out, or not enqueue: Plaid has to send it again.
        """
        now = self.clock()
        key = self.keys.get(key_id_of(token), now)
        signed_at = verify(body, token, {key.key_id: key}, now)
        webhook = parse_webhook(body)
        delivery = deduplication_id(str(token))
        if webhook.is_queued:
            if webhook.item_id is None:
                raise UnusableError("item_id must be 1 to 128 printable ASCII characters")
            self._queue(_trigger(webhook, webhook.item_id, body), delivery)
        return Receipt(
            webhook, webhook.is_queued, now - signed_at, self._record(webhook, delivery, now, correlation_id)
        )

    def _queue(self, trigger: SyncTrigger, delivery: str) -> None:
        try:
            self.queue.send(trigger, delivery)
        except RetryableError as error:
            raise NotQueuedError(error.code) from error

    def _record(self, webhook: Webhook, delivery: str, now: datetime, correlation_id: str) -> bool | None:
        """Record it; that it can't be is no reason to have Plaid send again what the queue has accepted."""
        if webhook.item_id is None:
            return None
        details = {
            "webhook_type": webhook.webhook_type,
            "webhook_code": webhook.webhook_code,
            "correlation_ids": [correlation_id] if correlation_id else None,
        }
        outcome = "queued" if webhook.is_queued else "ignored"
        entry = HistoryEntry(webhook.item_id, now, f"w{delivery[:16]}", EntryKind.WEBHOOK, outcome, details)
        try:
            self.history.add(entry)
        except RetryableError:
            return False
        return True


def parse_webhook(body: bytes) -> Webhook:
    """Parse a proven body.

    Raises:
        UnusableError: it is not an object with a webhook_type and a webhook_code that can be logged.
    """
    try:
        document = exact_json.loads(body)
    except exact_json.InvalidJsonError as error:
        raise UnusableError("the body is not JSON") from error
    if not isinstance(document, dict):
        raise UnusableError("the body is not an object")
    for name in ("webhook_type", "webhook_code"):
        if not is_plain(document.get(name)):
            raise UnusableError(f"{name} must be 1 to {LONGEST} printable ASCII characters")
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


def _trigger(webhook: Webhook, item_id: ItemId, raw: bytes) -> SyncTrigger:
    """Return the message: with the whole webhook where that fits, else with what the sync needs of it."""
    body = webhook.body
    if len(raw) > _LONGEST_QUEUED_WEBHOOK or raw.count(b"{") + raw.count(b"[") > _MOST_BRACKETS_QUEUED:
        kept = ("webhook_type", "webhook_code", "account_id")
        body = {name: body[name] for name in kept if is_plain(body.get(name))}
    return SyncTrigger(item_id, Cause.WEBHOOK, body)
