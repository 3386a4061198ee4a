"""The metrics that the functions emit: every one by its name, with its unit. docs/metrics.md gives the meanings.

All have the dimension `service` (the stack). Those in `ALSO_BY` are emitted a second time with the dimension that is
named there, whose values are few and known.
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
    WEBHOOK_QUEUED = "WebhookQueued"
    WEBHOOK_PUBLISHED = "WebhookPublished"
    WEBHOOK_REJECTED = "WebhookRejected"
    WEBHOOK_UNPROCESSABLE = "WebhookUnprocessable"
    WEBHOOK_FAILED = "WebhookFailed"
    WEBHOOK_NOT_RECORDED = "WebhookNotRecorded"
    WEBHOOK_DELAY = "WebhookDelay"
    STALE_WEBHOOKS_QUEUED = "StaleWebhooksQueued"
    STALE_WEBHOOKS_FAILED = "StaleWebhooksFailed"
    SHARED_STATE_FAILURES = "SharedStateFailures"
    # sync
    MESSAGES_RECEIVED = "MessagesReceived"
    MESSAGES_COALESCED = "MessagesCoalesced"
    MESSAGES_RETURNED = "MessagesReturned"
    VISIBILITY_FAILURES = "VisibilityFailures"
    MESSAGE_WAIT = "MessageWait"
    SYNC_COMMITTED = "SyncCommitted"
    SYNC_COVERED = "SyncCovered"
    SYNC_CONTINUES = "SyncContinues"
    SYNC_NOT_READY = "SyncNotReady"
    SYNC_SUPERSEDED = "SyncSuperseded"
    SYNC_NEEDS_USER = "SyncNeedsUser"
    SYNC_REVOKED = "SyncRevoked"
    SYNC_REMOVED = "SyncRemoved"
    SYNC_UNREGISTERED = "SyncUnregistered"
    SYNC_FAILED = "SyncFailed"
    SYNC_LAG = "SyncLag"
    SWEEP_REPAIRS = "SweepRepairs"
    TRANSACTIONS_ADDED = "TransactionsAdded"
    TRANSACTIONS_MODIFIED = "TransactionsModified"
    TRANSACTIONS_REMOVED = "TransactionsRemoved"
    TRANSACTIONS_UNCHANGED = "TransactionsUnchanged"
    ROWS_ERASED = "RowsErased"
    ACCOUNTS_GONE = "AccountsGone"
    ACCOUNTS_WITHDRAWN = "AccountsWithdrawn"
    ACCOUNTS_RETURNED = "AccountsReturned"
    PARTIAL_WRITES_RECOVERED = "PartialWritesRecovered"
    ROWS_QUARANTINED = "RowsQuarantined"
    PAGES_PULLED = "PagesPulled"
    PAGINATION_RESTARTS = "PaginationRestarts"
    FULL_RESYNCS = "FullResyncs"
    CURSOR_RESETS = "CursorResets"
    CURSOR_RESETS_REPEATED = "CursorResetsRepeated"
    RECONCILES_DECIDED = "ReconcilesDecided"
    UNKNOWN_PLAID_CODES = "UnknownPlaidCodes"
    UNKNOWN_STATES = "UnknownStates"
    MESSAGES_DEAD_LETTERED = "MessagesDeadLettered"
    # every function that calls Plaid
    PLAID_LATENCY = "PlaidLatency"
    PLAID_ERRORS = "PlaidErrors"
    PLAID_CREDENTIALS_REFUSED = "PlaidCredentialsRefused"
    # items
    REQUESTS_RECEIVED = "RequestsReceived"
    REQUEST_SERVED = "RequestServed"
    REQUEST_REFUSED = "RequestRefused"
    REQUEST_FAILED = "RequestFailed"
    ITEM_LINKED = "ItemLinked"
    LINK_REFUSED = "LinkRefused"
    LINK_FAILED = "LinkFailed"
    LINK_ROLLED_BACK = "LinkRolledBack"
    EXCHANGE_UNKNOWN = "ExchangeUnknown"
    ITEM_ORPHANED = "ItemOrphaned"
    # changes
    EVENTS_PUBLISHED = "EventsPublished"
    PUBLISH_FAILURES = "PublishFailures"
    # sweep
    SWEEP_RUNS = "SweepRuns"
    SWEEP_ENQUEUED = "SweepEnqueued"
    SWEEP_DEFERRED = "SweepDeferred"
    SWEEP_PROBES = "SweepProbes"
    ITEMS_FAILING = "ItemsFailing"
    OLDEST_FAILURE = "OldestFailure"
    STALEST_ITEM_AGE = "StalestItemAge"
    ITEMS = "Items"
    REMOVALS_INCOMPLETE = "RemovalsIncomplete"
    QUARANTINED_ROWS = "QuarantinedRows"
    # audit
    ITEMS_AUDITED = "ItemsAudited"
    ITEMS_DRIFTED = "ItemsDrifted"
    DRIFT_FOUND = "DriftFound"
    AUDITS_INCONCLUSIVE = "AuditsInconclusive"

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
ALSO_BY: Final = {Metric.WEBHOOK_REJECTED: "reason", Metric.PLAID_ERRORS: "class", Metric.SYNC_FAILED: "class"}
"""Emitted in total, and by this dimension as well."""
ONLY_BY: Final = {Metric.ITEMS: "state", Metric.ITEMS_FAILING: "class", Metric.OLDEST_FAILURE: "class"}
"""Emitted by this dimension alone."""
