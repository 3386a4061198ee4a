"""The scheduled refresh: Plaid checks the bank of an Item again that it has not reached for hours.

It follows a routine attempt, which is due when no webhook led to a commit for half a day. Plaid bills each refresh:
the time of an Item's last one is stored before the call, so that no crash repeats it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from plaid_sync.domain.budget import CallClass
from plaid_sync.domain.errors import CallBudgetError, PlaidError, TransientError
from plaid_sync.domain.history import EntryKind, HistoryEntry
from plaid_sync.domain.item import StateName
from plaid_sync.domain.requests import known_request_ids
from plaid_sync.sync.job import Outcome
from plaid_sync.sync.ports import PlaidHealth

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from plaid_sync.domain.clock import Clock
    from plaid_sync.domain.item import Item, ItemId
    from plaid_sync.domain.ports import History
    from plaid_sync.sync.job import Attempt, SyncReport
    from plaid_sync.sync.ports import AccessTokens

SCHEDULED_REFRESH: Final = "scheduled refresh"
"""In place of the route, as the history records it."""
_SECONDS: Final = 120.0
"""What its calls take at worst."""


class RefreshTimes(Protocol):
    """The Items table: when each Item was refreshed. All raise `TransientError`."""

    def start_refresh(self, item_id: ItemId, now: datetime, min_interval: timedelta) -> datetime | None:
        """Record a refresh, if the last one is at least `min_interval` ago; otherwise return when that was."""
        ...

    def withdraw_refresh(self, item: Item, started_at: datetime) -> None:
        """Forget a refresh that was recorded then, and never requested: the last one is that of the Item as loaded."""
        ...


class PlaidRefresh(PlaidHealth, Protocol):
    """Plaid's /transactions/refresh, and /item/get."""

    def refresh(self, access_token: str) -> str:
        """Request a refresh; return Plaid's id of the call.

        Raises:
            PlaidError: Plaid refused.
            TransientError: Plaid was unreachable.
        """
        ...


@dataclass(frozen=True, slots=True)
class ScheduledRefresh:
    """Refreshes Items.

    Attributes:
        interval: how long a bank was not reached when it is checked again; also between two refreshes of an Item.
    """

    times: RefreshTimes
    plaid: PlaidRefresh
    tokens: AccessTokens
    history: History
    clock: Clock
    interval: timedelta

    def follow(self, attempt: Attempt, report: SyncReport) -> SyncReport:
        """Request a refresh after a routine attempt, where one is due; return the report.

        What goes wrong here is no failure of the attempt, which has committed: the next routine attempt looks again.
        """
        if not self._may_be_due(attempt, report):
            return report
        item_id, now = attempt.item.item_id, self.clock.now()
        try:
            token = self.tokens.decrypt(item_id, attempt.item.access_token)
            health = self.plaid.health(token)
            reached_at = health.last_success_at
            if health.error_code is not None or reached_at is None or now - reached_at < self.interval:
                return report
            if self.times.start_refresh(item_id, now, self.interval) is not None:
                return report
            return replace(report, refresh=self._refresh(attempt, token, now))
        except (PlaidError, TransientError):
            return report

    def _may_be_due(self, attempt: Attempt, report: SyncReport) -> bool:
        """Return whether the bank may not have been reached: new transactions show that it was."""
        linked_at, now = attempt.item.linked_at, self.clock.now()
        routine = attempt.job.call_class is CallClass.ROUTINE and report.outcome is Outcome.COMMITTED
        well = report.state == StateName.ACTIVE and report.failure is None and not report.changed
        old = linked_at is None or now - linked_at >= self.interval
        return routine and well and old and attempt.job.deadline.allows(_SECONDS)

    def _refresh(self, attempt: Attempt, token: str, now: datetime) -> str:
        """Request the refresh, and record how that ended; return that."""
        outcome, code, request_id = "requested", None, ""
        try:
            request_id = self.plaid.refresh(token)
        except CallBudgetError:
            # No call was made: the next routine attempt may.
            self.times.withdraw_refresh(attempt.item, now)
            return ""
        except PlaidError as error:
            outcome, code, request_id = "refused", error.code, error.request_id
        except TransientError as error:
            outcome, code = "failed", error.code
        details = {
            "request": SCHEDULED_REFRESH,
            "code": code,
            "correlation_ids": list(attempt.job.correlation_ids) or None,
            "plaid_request_ids": known_request_ids(request_id),
        }
        suffix = f"r{attempt.item.generation}"
        entry = HistoryEntry(attempt.item.item_id, self.clock.now(), suffix, EntryKind.REQUEST, outcome, details)
        # The request is made, and billed: it is counted in any case.
        with suppress(TransientError):
            self.history.add(entry)
        return outcome
