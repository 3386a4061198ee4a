"""What became of a batch of queue messages, for whoever tells of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import timedelta

    from plaid_sync.core.error_codes import FailureClass
    from plaid_sync.core.items import ItemId
    from plaid_sync.core.sync.sync_job import SyncJob, SyncReport


@dataclass(frozen=True, slots=True)
class Failure:
    """An Item whose messages stay in the queue.

    Attributes:
        code: Plaid's error code or our reason.
        delay: seconds until they come back; None where that could not be set, and the queue's own timeout holds.
        correlation_ids: what marks the requests that led to it.
        bug: the exception that nobody expected, where one is the cause.
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
    """What became of a batch.

    Attributes:
        failed_message_ids: to be reported to SQS; all others are done.
        waits: how long each trigger that was received for the first time had been in the queue.
        jobs: what was asked for of each Item that was begun.
        reports: one for each Item that was synced (or needed no sync).
        lags: of each Item whose rows were committed, from when the oldest of its webhooks was accepted until then.
        failures: one for each Item that has to come back.
        parked: message ids and reasons of what went to the dead-letter queue.
        coalesced: triggers that another one's sync covered.
        renewed: triggers that were put into the queue anew, so that waiting for Plaid's limits never ends them.
    """

    failed_message_ids: list[str] = field(default_factory=list)
    waits: list[timedelta] = field(default_factory=list)
    jobs: dict[ItemId, SyncJob] = field(default_factory=dict)
    reports: dict[ItemId, SyncReport] = field(default_factory=dict)
    lags: dict[ItemId, timedelta] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    parked: dict[str, str] = field(default_factory=dict)
    coalesced: int = 0
    renewed: int = 0
