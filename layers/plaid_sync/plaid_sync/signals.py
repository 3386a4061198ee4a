"""What the functions tell CloudWatch: every metric by its name, with its unit. `docs/metrics.md` says what each means.

All have the dimension `service` (the stack). Those in `ALSO_BY` are told a second time with the dimension that is named
there, whose values are few and known.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Unit(StrEnum):
    """CloudWatch's units, as far as they are used."""

    COUNT = "Count"
    MILLISECONDS = "Milliseconds"
    SECONDS = "Seconds"


class Signal(StrEnum):
    """The names."""

    # webhook
    WEBHOOK_VERIFIED = "WebhookVerified"
    WEBHOOK_QUEUED = "WebhookQueued"
    WEBHOOK_IGNORED = "WebhookIgnored"
    WEBHOOK_REJECTED = "WebhookRejected"
    WEBHOOK_UNUSABLE = "WebhookUnusable"
    WEBHOOK_FAILED = "WebhookFailed"
    WEBHOOK_NOT_RECORDED = "WebhookNotRecorded"
    WEBHOOK_DELAY = "WebhookDelay"
    # sync
    TRIGGERS_RECEIVED = "TriggersReceived"
    TRIGGERS_COALESCED = "TriggersCoalesced"
    TRIGGERS_RENEWED = "TriggersRenewed"
    TRIGGER_WAIT = "TriggerWait"
    SYNC_COMMITTED = "SyncCommitted"
    SYNC_COVERED = "SyncCovered"
    SYNC_NOT_READY = "SyncNotReady"
    SYNC_SUPERSEDED = "SyncSuperseded"
    SYNC_NEEDS_USER = "SyncNeedsUser"
    SYNC_REVOKED = "SyncRevoked"
    SYNC_REMOVED = "SyncRemoved"
    SYNC_FAILED = "SyncFailed"
    SYNC_LAG = "SyncLag"
    SWEEP_REPAIRS = "SweepRepairs"
    TRANSACTIONS_ADDED = "TransactionsAdded"
    TRANSACTIONS_MODIFIED = "TransactionsModified"
    TRANSACTIONS_REMOVED = "TransactionsRemoved"
    TRANSACTIONS_UNCHANGED = "TransactionsUnchanged"
    ROWS_ERASED = "RowsErased"
    ROWS_SETTLED = "RowsSettled"
    ROWS_QUARANTINED = "RowsQuarantined"
    PAGES_PULLED = "PagesPulled"
    PAGINATION_RESTARTS = "PaginationRestarts"
    FULL_RESYNCS = "FullResyncs"
    UNKNOWN_PLAID_CODES = "UnknownPlaidCodes"
    MESSAGES_PARKED = "MessagesParked"
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
    LINK_UNDONE = "LinkUndone"
    EXCHANGE_UNKNOWN = "ExchangeUnknown"
    ITEM_ORPHANED = "ItemOrphaned"
    # changes
    ANNOUNCEMENTS = "Announcements"
    ANNOUNCEMENTS_FAILED = "AnnouncementsFailed"
    # sweep
    SWEEP_RUNS = "SweepRuns"
    SWEEP_ENQUEUED = "SweepEnqueued"
    SWEEP_LEFT = "SweepLeft"
    STALEST_ITEM_AGE = "StalestItemAge"
    ITEMS = "Items"
    REMOVALS_UNFINISHED = "RemovalsUnfinished"
    QUARANTINED_ROWS = "QuarantinedRows"
    # audit
    ITEMS_AUDITED = "ItemsAudited"
    ITEMS_DRIFTED = "ItemsDrifted"
    DRIFT_FOUND = "DriftFound"
    AUDIT_UNSETTLED = "AuditUnsettled"

    @property
    def unit(self) -> Unit:
        """Its unit."""
        return _UNITS.get(self, Unit.COUNT)


_UNITS: Final = {
    Signal.WEBHOOK_DELAY: Unit.MILLISECONDS,
    Signal.TRIGGER_WAIT: Unit.MILLISECONDS,
    Signal.SYNC_LAG: Unit.MILLISECONDS,
    Signal.PLAID_LATENCY: Unit.MILLISECONDS,
    Signal.STALEST_ITEM_AGE: Unit.SECONDS,
}
ALSO_BY: Final = {Signal.WEBHOOK_REJECTED: "reason", Signal.PLAID_ERRORS: "class"}
"""Told in all, and by this dimension as well."""
ONLY_BY: Final = {Signal.ITEMS: "state"}
"""Told by this dimension alone."""
