"""A batch of SQS messages: one sync per Item, and the result of each message. The retry policy is here.

SQS deletes every message that is not reported as failed, so every exit here is explicit. One Item's failure never
fails another Item's messages.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.domain.clock import OUT_OF_TIME
from plaid_sync.domain.errors import FailureClass, PlaidError, RemovalIncompleteError, TransientError, is_known
from plaid_sync.domain.item import ItemId
from plaid_sync.domain.messages import (
    CORRELATION_ID,
    ITEM_WEBHOOK_TYPE,
    SINCE,
    Cause,
    MalformedMessageError,
    ReceivedMessage,
    attribute_of,
    parse_record,
)
from plaid_sync.domain.state_machine import ItemEvent
from plaid_sync.domain.text import is_printable_ascii
from plaid_sync.domain.transitions import ITEM_WEBHOOK_EVENTS, EventType
from plaid_sync.sync.job import Outcome, SyncJob, SyncReport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from plaid_sync.domain.clock import Deadline
    from plaid_sync.sync.engine import SyncEngine
    from plaid_sync.sync.ports import ReceivedMessages

UNREGISTERED: Final = "unregistered"
MALFORMED: Final = "malformed"
_ITEM_SECONDS: Final = 120.0
_BACKOFF: Final = {
    FailureClass.TRANSIENT: (5, 900),
    FailureClass.CLIENT_ERROR: (30, 900),
    FailureClass.THROTTLED: (20, 300),
    # Not longer: a newer webhook of the Item waits behind the hidden message.
    FailureClass.INSTITUTION_DOWN: (900, 3600),
}
"""Retry policy: first and maximum delay of the exponential backoff by failure class, in seconds, before jitter."""
_OWN_CODES: Final = frozenset({OUT_OF_TIME, Outcome.UNKNOWN_STATE})
"""Why messages return to the queue although Plaid refused nothing."""
_RETRY_FOREVER: Final = frozenset({FailureClass.THROTTLED, FailureClass.INSTITUTION_DOWN})
"""Neither is the message's fault: a bank can be down for a weekend."""
REQUEUE_AFTER: Final = 12
"""Receives of a message that must never be dead-lettered: replaced by a copy, before the queue does it."""
DEAD_LETTER_UNREGISTERED_AFTER: Final = 8
"""Receives, about ten minutes at the delays of `transient`: a webhook can arrive seconds before its link is stored."""
_DEADLINES: Final = {
    EventType.PENDING_EXPIRATION: "consent_expiration_time",
    EventType.PENDING_DISCONNECT: "disconnect_time",
}
_MAX_DEADLINE_DISTANCE: Final = timedelta(days=5 * 365)


@dataclass(frozen=True, slots=True)
class Failure:
    """An Item whose messages stay in the queue.

    Attributes:
        code: Plaid's error code or our reason.
        delay: seconds until they return; None where that could not be set, and the queue's visibility timeout applies.
        correlation_ids: ids of the requests that led to it.
        bug: the unexpected exception, where one is the cause.
        unknown: whether it is a code of Plaid's that is not in our table.
    """

    item_id: ItemId
    failure_class: FailureClass
    code: str
    delay: int | None
    correlation_ids: tuple[str, ...] = ()
    bug: Exception | None = None
    unknown: bool = False


@dataclass(slots=True)
class BatchResult:
    """The result of a batch.

    Attributes:
        failed_message_ids: reported to SQS; all other messages are deleted.
        waits: how long each message that was received for the first time had been in the queue.
        jobs: the input of each Item's attempt.
        reports: one for each Item that was synced (or needed no sync).
        lags: for each Item whose rows were committed, the time since the oldest of its webhooks was accepted.
        failures: one for each Item whose messages return.
        dead_lettered: message ids and reasons of what was sent to the dead-letter queue.
        coalesced: messages that another message's sync covered.
        requeued: messages that were replaced by a copy, so that waiting for Plaid never dead-letters them.
    """

    failed_message_ids: list[str] = field(default_factory=list)
    waits: list[timedelta] = field(default_factory=list)
    jobs: dict[ItemId, SyncJob] = field(default_factory=dict)
    reports: dict[ItemId, SyncReport] = field(default_factory=dict)
    lags: dict[ItemId, timedelta] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    dead_lettered: dict[str, str] = field(default_factory=dict)
    coalesced: int = 0
    requeued: int = 0


@dataclass(frozen=True, slots=True)
class BatchProcessor:
    """Processes a batch of SQS records.

    Attributes:
        jitter: returns a factor around 1 that spreads retries.
    """

    engine: SyncEngine
    messages: ReceivedMessages
    jitter: Callable[[], float]

    def process(self, records: list[dict[str, Any]], deadline: Deadline) -> BatchResult:
        """Sync each Item of the batch once; one Item's failure never raises."""
        result = BatchResult()
        for item_id, received in self._group(records, result).items():
            self._process_item(item_id, received, deadline, result)
        return result

    def _group(self, records: list[dict[str, Any]], result: BatchResult) -> dict[ItemId, list[ReceivedMessage]]:
        groups: dict[ItemId, list[ReceivedMessage]] = {}
        for record in records:
            try:
                received = parse_record(record)
            except MalformedMessageError as error:
                group_id = record["attributes"].get("MessageGroupId", record["messageId"])
                reason = f"{MALFORMED}: {error.reason}"
                attributes = {name: value for name in (CORRELATION_ID, SINCE) if (value := attribute_of(record, name))}
                self._dead_letter(record["body"], group_id, record["messageId"], reason, attributes, result)
            else:
                if received.receive_count == 1:
                    result.waits.append(self.engine.clock.now() - received.sent_at)
                groups.setdefault(received.message.item_id, []).append(received)
        return groups

    def _process_item(
        self, item_id: ItemId, received: list[ReceivedMessage], deadline: Deadline, result: BatchResult
    ) -> None:
        job = result.jobs[item_id] = _job_of(item_id, received, deadline)
        if not deadline.allows(_ITEM_SECONDS):
            # Not begun because of other Items of the batch, which must not use up the receives of these messages.
            self._return_to_queue(received, FailureClass.THROTTLED, OUT_OF_TIME, result)
            return
        try:
            report = self.engine.sync(job)
        except PlaidError as error:
            self._return_to_queue(received, error.failure_class, error.code, result)
        except RemovalIncompleteError as error:
            self._return_to_queue(received, error.failure_class, error.code, result, never_dead_letter=True)
        except TransientError as error:
            self._retry_later(received, FailureClass.TRANSIENT, error.code, result)
        except Exception as error:  # noqa: BLE001 - a bug that one Item meets must not fail the others' messages
            self._retry_later(received, FailureClass.CLIENT_ERROR, type(error).__name__, result, bug=error)
        else:
            if report.outcome is Outcome.COMMITTED and job.webhook_since is not None:
                result.lags[item_id] = self.engine.clock.now() - job.webhook_since
            self._finish(received, report, result)

    def _finish(self, received: list[ReceivedMessage], report: SyncReport, result: BatchResult) -> None:
        item_id = received[0].message.item_id
        if report.outcome is not Outcome.UNREGISTERED:
            result.reports[item_id] = report
            if report.outcome is Outcome.SUPERSEDED:
                # The newer attempt may be a zombie whose messages have expired: if it dies, only these are left.
                self._retry_later(received, FailureClass.TRANSIENT, report.outcome, result)
                return
            if report.retry is not None:
                self._return_to_queue(received, report.retry, report.code or report.outcome, result)
                return
            covered = report.outcome is Outcome.COVERED
            result.coalesced += len(received) - (0 if covered else 1)
            return
        waiting = [message for message in received if message.receive_count < DEAD_LETTER_UNREGISTERED_AFTER]
        for message in received:
            if message not in waiting:
                self._dead_letter(message.body, item_id, message.message_id, UNREGISTERED, message.attributes, result)
        if waiting:
            self._retry_later(waiting, FailureClass.TRANSIENT, UNREGISTERED, result)

    def _return_to_queue(
        self,
        received: list[ReceivedMessage],
        failure_class: FailureClass,
        code: str,
        result: BatchResult,
        *,
        never_dead_letter: bool = False,
    ) -> None:
        """Return messages to the queue; requeue those that must never be dead-lettered before the receive limit."""
        if never_dead_letter or failure_class in _RETRY_FOREVER:
            near_limit = [message for message in received if message.receive_count >= REQUEUE_AFTER]
            for message in near_limit:
                self._requeue(message, result)
            received = [message for message in received if message not in near_limit]
        if received:
            unknown = not is_known(code) and code not in _OWN_CODES and not never_dead_letter
            self._retry_later(received, failure_class, code, result, unknown=unknown)

    def _requeue(self, message: ReceivedMessage, result: BatchResult) -> None:
        try:
            self.messages.requeue(message.body, message.message.item_id, message.message_id, message.attributes)
        except TransientError as error:
            self._retry_later([message], FailureClass.THROTTLED, error.code, result)
        else:
            result.requeued += 1

    def _retry_later(  # noqa: PLR0913 - what is reported of a failure
        self,
        received: list[ReceivedMessage],
        failure_class: FailureClass,
        code: str,
        result: BatchResult,
        bug: Exception | None = None,
        *,
        unknown: bool = False,
    ) -> None:
        receives = max(message.receive_count for message in received)
        seconds = round(backoff(failure_class, receives) * self.jitter())
        result.failed_message_ids.extend(message.message_id for message in received)
        delay: int | None = seconds
        try:
            # The same delay for all: a message that stayed hidden longer than the first would block the group.
            self.messages.change_visibility([message.receipt_handle for message in received], seconds)
        except TransientError:
            delay = None
        item_id = received[0].message.item_id
        correlation_ids = _correlation_ids(received)
        result.failures.append(Failure(item_id, failure_class, code, delay, correlation_ids, bug, unknown))

    def _dead_letter(  # noqa: PLR0913, PLR0917 - a message, the reason, and where that is reported
        self,
        body: str,
        group_id: str,
        message_id: str,
        reason: str,
        attributes: Mapping[str, str],
        result: BatchResult,
    ) -> None:
        try:
            self.messages.dead_letter(body, group_id, message_id, reason, attributes)
        except TransientError as error:
            result.failed_message_ids.append(message_id)
            result.failures.append(Failure(ItemId(group_id), FailureClass.TRANSIENT, error.code, None))
        else:
            result.dead_lettered[message_id] = reason


def backoff(failure_class: FailureClass, receives: int) -> int:
    """Return the delay after the n-th receive of a message (n from 1): exponential, in seconds, before jitter."""
    first, maximum = _BACKOFF.get(failure_class, _BACKOFF[FailureClass.TRANSIENT])
    return min(first * (1 << min(receives - 1, 16)), maximum)


# ---- from messages to a job


def _job_of(item_id: ItemId, received: list[ReceivedMessage], deadline: Deadline) -> SyncJob:
    hints = (event_of_message(message) for message in received)
    webhooks = [message.since for message in received if message.message.cause == Cause.WEBHOOK]
    return SyncJob(
        item_id,
        newest_message_at=max(message.sent_at for message in received),
        receives=max(message.receive_count for message in received),
        deadline=deadline,
        hints=tuple(hint for hint in hints if hint is not None),
        causes=tuple(dict.fromkeys(map(cause_of, received))),
        webhook_since=min(webhooks, default=None),
        correlation_ids=_correlation_ids(received),
    )


def _correlation_ids(received: list[ReceivedMessage]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(message.correlation_id for message in received if message.correlation_id))


def event_of_message(received: ReceivedMessage) -> ItemEvent | None:
    """Return the event of an ITEM webhook; None for a message that only says that transactions may have changed.

    Foreign JSON, though verified: what is unreadable is omitted, and never fails the sync that it led to.
    """
    webhook = received.message.webhook
    if webhook is None or webhook.get("webhook_type") != ITEM_WEBHOOK_TYPE:
        return None
    code = webhook.get("webhook_code")
    if not isinstance(code, str) or code not in ITEM_WEBHOOK_EVENTS:
        return None
    event = EventType(code)
    account_id = webhook.get("account_id")
    return ItemEvent(
        event,
        until=_parse_deadline(webhook.get(_DEADLINES.get(event, "")), received.since),
        reported_at=received.since,
        account_id=str(account_id)
        if event is EventType.USER_ACCOUNT_REVOKED and is_printable_ascii(account_id)
        else None,
    )


def cause_of(received: ReceivedMessage) -> str:
    """Return what led to a sync, for the Item's history: `request`, `webhook ITEM ERROR`."""
    webhook: dict[str, Any] = received.message.webhook or {}
    words = [webhook.get("webhook_type"), webhook.get("webhook_code")]
    return " ".join([received.message.cause, *(str(word) for word in words if is_printable_ascii(word))])


def _parse_deadline(value: object, reported_at: datetime) -> datetime | None:
    """Return Plaid's deadline of a warning (ISO 8601), if it is plausible."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return aware.astimezone(UTC) if abs(aware - reported_at) < _MAX_DEADLINE_DISTANCE else None
    except (ValueError, OverflowError):
        return None
