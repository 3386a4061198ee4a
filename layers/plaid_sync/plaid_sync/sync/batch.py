"""A batch of SQS messages: one attempt per Item, and the result of each message.

A message means "look now": it is deleted as soon as the outcome of its attempt is durable, a recorded failure included.
It returns to the queue only where nothing could be recorded. SQS deletes every message that is not reported as failed,
so every exit here is explicit. One Item's failure never fails another Item's messages.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.domain.budget import CallClass
from plaid_sync.domain.errors import WORKER_DIED, TransientError
from plaid_sync.domain.item import CHECK_ACCOUNTS, ItemId, PendingCheck
from plaid_sync.domain.messages import (
    CORRELATION_ID,
    ITEM_WEBHOOK_TYPE,
    Cause,
    MalformedMessageError,
    ReceivedMessage,
    attribute_of,
    parse_record,
)
from plaid_sync.domain.text import is_printable_ascii
from plaid_sync.domain.transitions import ITEM_WEBHOOK_EVENTS, EventType
from plaid_sync.sync.heartbeat import Heartbeat
from plaid_sync.sync.job import Outcome, SyncJob, SyncReport

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plaid_sync.domain.clock import Deadline
    from plaid_sync.sync.engine import SyncEngine
    from plaid_sync.sync.heartbeat import Timer
    from plaid_sync.sync.ports import AttemptAnswers, ClassifiedCalls, ReceivedMessages

MALFORMED: Final = "malformed"
DEAD_LETTER_AFTER: Final = 5
"""Receives after which a message is dead-lettered whose Item kills its workers, or meets a bug before its claim."""
_DEADLINES: Final = {
    EventType.PENDING_EXPIRATION: "consent_expiration_time",
    EventType.PENDING_DISCONNECT: "disconnect_time",
}
_MAX_DEADLINE_DISTANCE: Final = timedelta(days=5 * 365)


@dataclass(frozen=True, slots=True)
class Returned:
    """An Item whose messages return to the queue, within a minute.

    Attributes:
        code: why.
        correlation_ids: ids of the requests that led to it.
        bug: the unexpected exception, where one is the cause.
    """

    item_id: ItemId
    code: str
    correlation_ids: tuple[str, ...] = ()
    bug: Exception | None = None


@dataclass(slots=True)
class BatchResult:
    """The result of a batch.

    Attributes:
        failed_message_ids: reported to SQS; all other messages are deleted.
        waits: how long each message that was received for the first time had been in the queue.
        jobs: the input of each Item's attempt.
        reports: one for each Item whose attempt has an outcome.
        lags: for each Item whose rows were committed, the time since the oldest of its webhooks was accepted.
        returned: one for each Item whose messages return.
        dead_lettered: message ids and reasons of what was sent to the dead-letter queue.
        coalesced: messages that another message's sync covered.
        visibility_failures: messages whose visibility could not be changed.
    """

    failed_message_ids: list[str] = field(default_factory=list)
    waits: list[timedelta] = field(default_factory=list)
    jobs: dict[ItemId, SyncJob] = field(default_factory=dict)
    reports: dict[ItemId, SyncReport] = field(default_factory=dict)
    lags: dict[ItemId, timedelta] = field(default_factory=dict)
    returned: list[Returned] = field(default_factory=list)
    dead_lettered: dict[str, str] = field(default_factory=dict)
    coalesced: int = 0
    visibility_failures: int = 0


@dataclass(frozen=True, slots=True)
class BatchProcessor:
    """Processes a batch of SQS records.

    Attributes:
        calls: learns what the calls of each attempt are for.
    """

    engine: SyncEngine
    messages: ReceivedMessages
    answers: AttemptAnswers
    timer: Timer
    calls: ClassifiedCalls | None = None

    def process(self, records: list[dict[str, Any]], deadline: Deadline) -> BatchResult:
        """Attempt each Item of the batch once; one Item's failure never raises."""
        result = BatchResult()
        groups = self._group(records, result)
        handles = {item_id: [message.receipt_handle for message in received] for item_id, received in groups.items()}
        heartbeat = Heartbeat.start(self.messages, self.engine.clock, handles)
        with self.timer(heartbeat.beat):
            for item_id, received in groups.items():
                heartbeat.beat()
                if heartbeat.begin(item_id):
                    self._process_item(item_id, received, deadline, result)
                    failed = set(result.failed_message_ids)
                    heartbeat.finish(
                        deletable=[each.receipt_handle for each in received if each.message_id not in failed]
                    )
                else:
                    result.failed_message_ids.extend(message.message_id for message in received)
        result.visibility_failures = heartbeat.failures
        return result

    def _group(self, records: list[dict[str, Any]], result: BatchResult) -> dict[ItemId, list[ReceivedMessage]]:
        groups: dict[ItemId, list[ReceivedMessage]] = {}
        for record in records:
            try:
                received = parse_record(record)
            except MalformedMessageError as error:
                group_id = record["attributes"].get("MessageGroupId", record["messageId"])
                reason = f"{MALFORMED}: {error.reason}"
                correlation_id = attribute_of(record, CORRELATION_ID)
                attributes = {CORRELATION_ID: correlation_id} if correlation_id else {}
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
        if self.calls is not None:
            self.calls.call_class = job.call_class
        if any(message.message.cause == Cause.REFUSED_WEBHOOK for message in received):
            with suppress(TransientError):
                self.answers.answer(item_id)
        try:
            report = self.engine.sync(job)
        except TransientError as error:
            self._return(received, Returned(item_id, error.code, job.correlation_ids), result)
        except Exception as error:  # noqa: BLE001 - a bug that one Item meets must not fail the others' messages
            code = type(error).__name__
            received = self._dead_letter_worn(received, code, result)
            self._return(received, Returned(item_id, code, job.correlation_ids, error), result)
        else:
            result.reports[item_id] = report
            result.coalesced += len(received) - (0 if report.outcome is Outcome.COVERED else 1)
            if report.outcome is Outcome.COMMITTED and job.webhook_since is not None:
                result.lags[item_id] = self.engine.clock.now() - job.webhook_since
            if report.kills_workers:
                self._dead_letter_worn(received, WORKER_DIED, result)

    def _return(self, received: list[ReceivedMessage], returned: Returned, result: BatchResult) -> None:
        """Return messages to the queue: they are visible again when the last extension of their visibility ends."""
        if received:
            result.failed_message_ids.extend(message.message_id for message in received)
            result.returned.append(returned)

    def _dead_letter_worn(
        self, received: list[ReceivedMessage], reason: str, result: BatchResult
    ) -> list[ReceivedMessage]:
        """Dead-letter those of the messages that were received too often; return the others."""
        worn = [message for message in received if message.receive_count >= DEAD_LETTER_AFTER]
        for message in worn:
            group_id, attributes = message.message.item_id, message.attributes
            self._dead_letter(message.body, group_id, message.message_id, reason, attributes, result)
        return [message for message in received if message not in worn]

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
            result.returned.append(Returned(ItemId(group_id), error.code))
        else:
            result.dead_lettered[message_id] = reason


# ---- from messages to a job


def _job_of(item_id: ItemId, received: list[ReceivedMessage], deadline: Deadline) -> SyncJob:
    checks = (check_of_message(message) for message in received)
    webhooks = [message.sent_at for message in received if message.message.cause == Cause.WEBHOOK]
    return SyncJob(
        item_id,
        newest_message_at=max(message.sent_at for message in received),
        deadline=deadline,
        checks=tuple(check for check in checks if check is not None),
        causes=tuple(dict.fromkeys(map(cause_of, received))),
        webhook_since=min(webhooks, default=None),
        webhook_at=max(webhooks, default=None),
        correlation_ids=_correlation_ids(received),
        call_class=min((message.message.call_class for message in received), key=list(CallClass).index),
    )


def _correlation_ids(received: list[ReceivedMessage]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(message.correlation_id for message in received if message.correlation_id))


def check_of_message(received: ReceivedMessage) -> PendingCheck | None:
    """Return what a request or an ITEM webhook is about; None where only transactions may have changed.

    A webhook is foreign JSON, though verified: what is unreadable is omitted, and never fails the sync that it led to.
    """
    if received.message.cause == Cause.ACCOUNTS:
        return PendingCheck(CHECK_ACCOUNTS, received.sent_at)
    webhook = received.message.webhook
    if webhook is None or webhook.get("webhook_type") != ITEM_WEBHOOK_TYPE:
        return None
    code = webhook.get("webhook_code")
    if not isinstance(code, str) or code == EventType.WEBHOOK_UPDATE_ACKNOWLEDGED:
        return None
    # A code that Plaid has added since is a hint to look, as an ERROR is.
    event = EventType(code) if code in ITEM_WEBHOOK_EVENTS else EventType.ERROR
    account_id = webhook.get("account_id")
    withdrawn = event is EventType.USER_ACCOUNT_REVOKED and is_printable_ascii(account_id)
    return PendingCheck(
        event.value,
        reported_at=received.sent_at,
        until=_parse_deadline(webhook.get(_DEADLINES.get(event, "")), received.sent_at),
        account_id=str(account_id) if withdrawn else None,
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
