"""Holds one Item's rows against its whole history at Plaid, and changes nothing.

An Item moves while it is looked at. Differences count only if it stood still: it is the same before and after, it owes
nothing, and its cursor has nothing more to tell. Then the rows are those of its last commit, and Plaid's history is
what that commit saw. Equal rows need no such proof.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from plaid_sync.core.audit.report import AuditOutcome, AuditReport, DriftKind
from plaid_sync.core.audit.tally import Tally
from plaid_sync.core.error_codes import INVALID_FIELD_CODE, FailureClass
from plaid_sync.core.failures import PlaidError, RetryableError
from plaid_sync.core.items import ItemStatus
from plaid_sync.core.sync.pulling import MUTATION_PERSISTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from plaid_sync.core.items import Item, ItemId
    from plaid_sync.core.sync.pulling import Pull, Puller
    from plaid_sync.ports.audit import AuditedItems, AuditedRows
    from plaid_sync.ports.common import TokenDecryptor

MAXIMUM_LOOKS: Final = 3
_MOVES: Final = ("generation", "cursor", "pull_began_at", "status", "revoked_accounts")
"""What of an Item changes with its rows, if not a mark is set."""
_PAUSE_SECONDS: Final = 5.0
"""A sync that was met takes seconds."""
_NOT_ASKED: Final = {
    ItemStatus.REMOVED: AuditOutcome.REMOVED,
    ItemStatus.REVOKED: AuditOutcome.REVOKED,
    ItemStatus.NEEDS_USER: AuditOutcome.NEEDS_USER,
}
"""Of these Plaid has nothing to tell, or refuses: their rows stay as they are."""
_REFUSED: Final = {
    FailureClass.NEEDS_USER: AuditOutcome.NEEDS_USER,
    FailureClass.TERMINAL: AuditOutcome.REVOKED,
}


@dataclass(frozen=True, slots=True)
class Auditor:
    """Audits Items, one after the other."""

    items: AuditedItems
    rows: AuditedRows
    tokens: TokenDecryptor
    puller: Puller

    def audit(self, item_id: ItemId, time_left: Callable[[], float]) -> AuditReport:
        """Audit one Item; never raises for what Plaid or AWS refuses.

        Args:
            item_id: the Item.
            time_left: tells the seconds until the worker is killed.
        """
        try:
            return self._audit(item_id, time_left)
        except PlaidError as error:
            outcome = _REFUSED.get(error.failure_class, AuditOutcome.FAILED)
            return AuditReport(item_id, outcome, code=error.code)
        except RetryableError as error:
            persists = error.code == MUTATION_PERSISTS
            return AuditReport(item_id, AuditOutcome.UNSETTLED if persists else AuditOutcome.FAILED, code=error.code)

    def _audit(self, item_id: ItemId, time_left: Callable[[], float]) -> AuditReport:
        report = AuditReport(item_id, AuditOutcome.UNREGISTERED)
        for look in range(1, MAXIMUM_LOOKS + 1):
            item = self.items.load(item_id)
            if item is None:
                return report
            if item.status in _NOT_ASKED or item.cursor is None:
                return AuditReport(item_id, _NOT_ASKED.get(item.status, AuditOutcome.NOT_READY))
            report = self._look(item, look, time_left)
            if report.outcome is not AuditOutcome.UNSETTLED:
                return report
            if look < MAXIMUM_LOOKS:
                self.puller.pause(_PAUSE_SECONDS)
        return report

    def _look(self, item: Item, look: int, time_left: Callable[[], float]) -> AuditReport:
        """Compare once, and judge whether what was found counts."""
        token = self.tokens.decrypt(item.item_id, item.access_token)
        pull = self.puller.pull_into(lambda: Tally(self.rows, item), token, None, item.days_requested, time_left)
        tally = pull.net
        if pull.cursor is None:
            return AuditReport(item.item_id, AuditOutcome.NOT_READY, pages=pull.pages, looks=look)
        tally.finish(self.rows.scan_item(item.item_id), history_complete=pull.history_complete)
        outcome = AuditOutcome.CLEAN
        if tally.drifted:
            outcome = self._judge(item, token, time_left)
        return _report(item, outcome, pull, look)

    def _judge(self, item: Item, token: str, time_left: Callable[[], float]) -> AuditOutcome:
        """Tell what differences mean that were found since the Item was loaded."""
        if _owes(item):
            return AuditOutcome.BEHIND
        behind = self._is_behind(item, token, time_left)
        now = self.items.load(item.item_id)
        if now is None or not _stood_still(item, now):
            return AuditOutcome.UNSETTLED
        return AuditOutcome.BEHIND if behind else AuditOutcome.DRIFTED

    def _is_behind(self, item: Item, token: str, time_left: Callable[[], float]) -> bool:
        """Tell whether Plaid has more to tell from the stored cursor, or does not take it: the next sync sees to it."""
        plaid = self.puller.plaid
        try:
            news = self.puller.within_limits(lambda: plaid.sync_page(token, item.cursor, None), time_left)
        except PlaidError as error:
            if error.failure_class is FailureClass.RESTART or error.code == INVALID_FIELD_CODE:
                return True
            raise
        return news.has_more or any((news.added, news.modified, news.removed, news.broken))


def _owes(item: Item) -> bool:
    """Tell whether the next sync pulls everything again, or has a dead attempt's rows to settle."""
    return item.reconcile or item.writing_since is not None


def _stood_still(before: Item, now: Item) -> bool:
    """Tell whether no row was written in between.

    A claim raises the generation before it writes. One that had claimed before, and wrote since, has marked the Item or
    committed, which renews the time of the pull even where the cursor is the same; or it has recorded an account that
    was withdrawn, and erases its rows.
    """
    return not _owes(now) and all(getattr(before, name) == getattr(now, name) for name in _MOVES)


def _report(item: Item, outcome: AuditOutcome, pull: Pull[Tally], look: int) -> AuditReport:
    tally = pull.net
    return AuditReport(
        item.item_id,
        outcome,
        at_plaid=len(tally.live),
        missing=tally.count(DriftKind.MISSING),
        extra=tally.count(DriftKind.EXTRA),
        different=tally.count(DriftKind.DIFFERENT),
        differences=tally.differences,
        quarantined=len(tally.broken),
        history_complete=pull.history_complete,
        pages=pull.pages,
        looks=look,
    )
