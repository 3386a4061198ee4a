"""The metrics that the functions emit: every one by its name, with its unit. docs/metrics.md gives the meanings.

CloudWatch bills each name with each set of dimensions (docs/cost.md): a metric is one that an alarm or a graph
needs. All other figures, and what breaks a number down, are fields of the log, which saved queries read.
All have the dimension `service` (the stack), and those in `DIMENSIONS` a second one.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Unit(StrEnum):
    """The CloudWatch units in use."""

    COUNT = "Count"
    MILLISECONDS = "Milliseconds"
    SECONDS = "Seconds"


class Metric(StrEnum):
    """The names of the metrics."""

    # webhook
    WEBHOOK_VERIFIED = "WebhookVerified"
    WEBHOOK_REJECTED = "WebhookRejected"
    WEBHOOK_DELAY = "WebhookDelay"
    # sync
    MESSAGES_RECEIVED = "MessagesReceived"
    MESSAGE_WAIT = "MessageWait"
    SYNC_COMMITTED = "SyncCommitted"
    SYNC_FAILED = "SyncFailed"
    SYNC_LAG = "SyncLag"
    SWEEP_REPAIRS = "SweepRepairs"
    TRANSACTIONS_ADDED = "TransactionsAdded"
    TRANSACTIONS_MODIFIED = "TransactionsModified"
    TRANSACTIONS_REMOVED = "TransactionsRemoved"
    ROWS_QUARANTINED = "RowsQuarantined"
    CURSOR_RESETS_REPEATED = "CursorResetsRepeated"
    RECONCILES_DECIDED = "ReconcilesDecided"
    SCHEDULED_REFRESHES = "ScheduledRefreshes"
    UNKNOWN_STATES = "UnknownStates"
    # every function that calls Plaid
    PLAID_LATENCY = "PlaidLatency"
    PLAID_ERRORS = "PlaidErrors"
    PLAID_CREDENTIALS_REFUSED = "PlaidCredentialsRefused"
    # items
    ITEM_LINKED = "ItemLinked"
    EXCHANGE_UNKNOWN = "ExchangeUnknown"
    ITEM_ORPHANED = "ItemOrphaned"
    ROWS_UNREADABLE = "RowsUnreadable"
    # changes
    EVENTS_PUBLISHED = "EventsPublished"
    PUBLISH_FAILURES = "PublishFailures"
    # sweep
    SWEEP_RUNS = "SweepRuns"
    SWEEP_ENQUEUED = "SweepEnqueued"
    SWEEP_DEFERRED = "SweepDeferred"
    ITEMS_FAILING = "ItemsFailing"
    OLDEST_FAILURE = "OldestFailure"
    STALEST_ITEM_AGE = "StalestItemAge"
    ITEMS = "Items"
    REMOVALS_INCOMPLETE = "RemovalsIncomplete"
    QUARANTINED_ROWS = "QuarantinedRows"
    EVENTS_STOPPED = "EventsStopped"
    # audit
    ITEMS_AUDITED = "ItemsAudited"
    DRIFT_FOUND = "DriftFound"

    @property
    def unit(self) -> Unit:
        """Its unit."""
        return _UNITS.get(self, Unit.COUNT)


_UNITS: Final = {
    Metric.WEBHOOK_DELAY: Unit.MILLISECONDS,
    Metric.MESSAGE_WAIT: Unit.MILLISECONDS,
    Metric.SYNC_LAG: Unit.MILLISECONDS,
    Metric.PLAID_LATENCY: Unit.MILLISECONDS,
    Metric.STALEST_ITEM_AGE: Unit.SECONDS,
    Metric.OLDEST_FAILURE: Unit.SECONDS,
}
DIMENSIONS: Final = {Metric.ITEMS: "state", Metric.ITEMS_FAILING: "class", Metric.OLDEST_FAILURE: "class"}
"""The metrics that have a second dimension; its values are few and known."""
