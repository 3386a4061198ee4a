"""A batch of queue messages: one sync per Item, and for each message whether it is done.

What is not reported as failed is deleted from the queue, so that every way out of here is explicit. One Item's
failure never fails another's messages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.core.error_codes import FailureClass, is_known
from plaid_sync.core.failures import PlaidError, RemovalUnfinishedError, RetryableError
from plaid_sync.core.items import ItemId
from plaid_sync.core.lifecycle.notices import cause_of, occurrence_of
from plaid_sync.core.sync.batch_result import BatchResult, Failure
from plaid_sync.core.sync.pulling import OUT_OF_TIME
from plaid_sync.core.sync.sync_job import Outcome, SyncJob
from plaid_sync.core.triggers import (
    CORRELATION_ID,
    SINCE,
    Cause,
    MalformedTriggerError,
    ReceivedTrigger,
    attribute_of,
    parse_record,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from plaid_sync.core.sync.sync_job import SyncReport
    from plaid_sync.core.sync.syncing import SyncEngine
    from plaid_sync.ports.sync import ReceivedMessages

UNREGISTERED: Final = "unregistered"
MALFORMED: Final = "malformed"
_SECONDS_FOR_AN_ITEM: Final = 120.0
_DELAYS: Final = {
    FailureClass.RETRY: (5, 900),
    FailureClass.OURS: (30, 900),
    FailureClass.THROTTLED: (20, 300),
    # Not longer: a newer webhook of the Item waits behind.
    FailureClass.INSTITUTION_DOWN: (900, 3600),
}
"""First and longest wait, in seconds."""
_NEVER_GIVEN_UP: Final = frozenset({FailureClass.THROTTLED, FailureClass.INSTITUTION_DOWN})
"""Neither says anything against the message: a bank can be down for a weekend."""
RENEW_AFTER: Final = 12
"""Receives of a message that must not be given up: replaced by a copy, before the queue does."""
PARK_UNREGISTERED_AFTER: Final = 8
"""Receives, at the delays of `retry` about ten minutes: a webhook outruns its link by seconds."""


@dataclass(frozen=True, slots=True)
class BatchProcessor:
    """Works through a batch of SQS records.

    Attributes:
        jitter: returns a factor around 1 that spreads retries.
    """

    engine: SyncEngine
    messages: ReceivedMessages
    jitter: Callable[[], float]

    def process(self, records: list[dict[str, Any]], time_left: Callable[[], float]) -> BatchResult:
        """Sync each Item of the batch once; never raises for the sake of one Item."""
        result = BatchResult()
        for item_id, received in self._group(records, result).items():
            self._process_item(item_id, received, time_left, result)
        return result

    def _group(self, records: list[dict[str, Any]], result: BatchResult) -> dict[ItemId, list[ReceivedTrigger]]:
        groups: dict[ItemId, list[ReceivedTrigger]] = {}
        for record in records:
            try:
                received = parse_record(record)
            except MalformedTriggerError as error:
                group_id = record["attributes"].get("MessageGroupId", record["messageId"])
                reason = f"{MALFORMED}: {error.reason}"
                attributes = {name: value for name in (CORRELATION_ID, SINCE) if (value := attribute_of(record, name))}
                self._park(record["body"], group_id, record["messageId"], reason, attributes, result)
            else:
                if received.receive_count == 1:
                    result.waits.append(self.engine.clock() - received.sent_at)
                groups.setdefault(received.trigger.item_id, []).append(received)
        return groups

    def _process_item(
        self,
        item_id: ItemId,
        received: list[ReceivedTrigger],
        time_left: Callable[[], float],
        result: BatchResult,
    ) -> None:
        job = result.jobs[item_id] = _job_of(item_id, received, time_left)
        if time_left() < _SECONDS_FOR_AN_ITEM:
            # Not begun: others of the batch had to wait, which must not use up the receives of this one's messages.
            self._give_back(received, FailureClass.THROTTLED, OUT_OF_TIME, result)
            return
        try:
            report = self.engine.sync(job)
        except PlaidError as error:
            self._give_back(received, error.failure_class, error.code, result)
        except RemovalUnfinishedError as error:
            self._give_back(received, error.failure_class, error.code, result, patient=True)
        except RetryableError as error:
            self._postpone(received, FailureClass.RETRY, error.code, result)
        except Exception as error:  # noqa: BLE001 - a bug met by one Item must not fail the others' messages
            self._postpone(received, FailureClass.OURS, type(error).__name__, result, bug=error)
        else:
            if report.outcome is Outcome.COMMITTED and job.webhook_since is not None:
                result.lags[item_id] = self.engine.clock() - job.webhook_since
            self._finish(received, report, result)

    def _finish(self, received: list[ReceivedTrigger], report: SyncReport, result: BatchResult) -> None:
        item_id = received[0].trigger.item_id
        if report.outcome is not Outcome.UNREGISTERED:
            result.reports[item_id] = report
            if report.outcome is Outcome.SUPERSEDED:
                # Whoever claimed later may be a zombie whose messages have expired: if it dies, only these are left.
                self._postpone(received, FailureClass.RETRY, report.outcome, result)
                return
            if report.again is not None:
                self._give_back(received, report.again, report.code, result)
                return
            covered = report.outcome is Outcome.COVERED
            result.coalesced += len(received) - (0 if covered else 1)
            return
        waiting = [message for message in received if message.receive_count < PARK_UNREGISTERED_AFTER]
        for message in received:
            if message not in waiting:
                self._park(message.body, item_id, message.message_id, UNREGISTERED, message.attributes, result)
        if waiting:
            self._postpone(waiting, FailureClass.RETRY, UNREGISTERED, result)

    def _give_back(
        self,
        received: list[ReceivedTrigger],
        failure_class: FailureClass,
        code: str,
        result: BatchResult,
        *,
        patient: bool = False,
    ) -> None:
        """Let messages come back; those that must never be given up are replaced by copies before they are."""
        if patient or failure_class in _NEVER_GIVEN_UP:
            worn = [message for message in received if message.receive_count >= RENEW_AFTER]
            for message in worn:
                self._renew(message, result)
            received = [message for message in received if message not in worn]
        if received:
            unknown = not is_known(code) and code != OUT_OF_TIME and not patient
            self._postpone(received, failure_class, code, result, unknown=unknown)

    def _renew(self, message: ReceivedTrigger, result: BatchResult) -> None:
        try:
            self.messages.renew(message.body, message.trigger.item_id, message.message_id, message.attributes)
        except RetryableError as error:
            self._postpone([message], FailureClass.THROTTLED, error.code, result)
        else:
            result.renewed += 1

    def _postpone(  # noqa: PLR0913 - what is told of a failure
        self,
        received: list[ReceivedTrigger],
        failure_class: FailureClass,
        code: str,
        result: BatchResult,
        bug: Exception | None = None,
        *,
        unknown: bool = False,
    ) -> None:
        attempt = max(message.receive_count for message in received)
        wait = round(backoff(failure_class, attempt) * self.jitter())
        result.failed_message_ids.extend(message.message_id for message in received)
        try:
            # All wait equally long: a follower that stayed hidden longer than its head would hold up the group.
            self.messages.postpone([message.receipt_handle for message in received], wait)
            delay: int | None = wait
        except RetryableError:
            delay = None
        item_id = received[0].trigger.item_id
        marks = _correlation_ids(received)
        result.failures.append(Failure(item_id, failure_class, code, delay, marks, bug, unknown))

    def _park(  # noqa: PLR0913, PLR0917 - a message, why it is parked, and where that is told
        self,
        body: str,
        group_id: str,
        message_id: str,
        reason: str,
        attributes: Mapping[str, str],
        result: BatchResult,
    ) -> None:
        try:
            self.messages.park(body, group_id, message_id, reason, attributes)
        except RetryableError as error:
            result.failed_message_ids.append(message_id)
            result.failures.append(Failure(ItemId(group_id), FailureClass.RETRY, error.code, None))
        else:
            result.parked[message_id] = reason


def _job_of(item_id: ItemId, received: list[ReceivedTrigger], time_left: Callable[[], float]) -> SyncJob:
    hints = (occurrence_of(message) for message in received)
    webhooks = [message.since for message in received if message.trigger.cause is Cause.WEBHOOK]
    return SyncJob(
        item_id,
        newest_trigger_at=max(message.sent_at for message in received),
        attempt=max(message.receive_count for message in received),
        time_left=time_left,
        hints=tuple(hint for hint in hints if hint is not None),
        causes=tuple(dict.fromkeys(map(cause_of, received))),
        webhook_since=min(webhooks, default=None),
        correlation_ids=_correlation_ids(received),
    )


def _correlation_ids(received: list[ReceivedTrigger]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(message.correlation_id for message in received if message.correlation_id))


def backoff(failure_class: FailureClass, attempt: int) -> int:
    """Return the seconds to wait after the n-th receive of a message (n from 1), before jitter."""
    first, longest = _DELAYS.get(failure_class, _DELAYS[FailureClass.RETRY])
    return min(first * (1 << min(attempt - 1, 16)), longest)
