"""Audits an Item's rows against its whole history at Plaid, and changes nothing.

An Item can change while it is audited. Differences count only if it did not: it is the same before and after, nothing
is pending, and its cursor has no further changes. Then the rows are those of its last commit, and Plaid's history is
what that commit saw. Equal rows need no such proof.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from plaid_sync.audit.compare import HistoryComparison, read_live_rows
from plaid_sync.audit.report import AuditOutcome, AuditReport, DriftKind
from plaid_sync.domain.errors import INVALID_FIELD_CODE, FailureClass, PlaidError, TransientError
from plaid_sync.domain.item import ACCOUNT_ROWS, StateName
from plaid_sync.pull.puller import MUTATION_PERSISTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from plaid_sync.audit.compare import AuditedRows
    from plaid_sync.domain.clock import Deadline
    from plaid_sync.domain.item import Item, ItemId
    from plaid_sync.domain.ports import TokenDecryptor
    from plaid_sync.pull.puller import Pull, Puller

_T = TypeVar("_T")

MAX_ATTEMPTS: Final = 3
AUDITABLE: Final = (StateName.ACTIVE, StateName.EXPIRING, StateName.DEGRADED)
_CHANGES_WITH_ROWS: Final = ("generation", "cursor", "pull_began_at", "state")
"""Attributes of an Item of which one changes whenever its rows change, unless something is pending."""
_PAUSE_SECONDS: Final = 5.0
"""A concurrent sync takes seconds."""
_NOT_SERVED: Final[dict[str, AuditOutcome]] = {
    StateName.REMOVED: AuditOutcome.REMOVED,
    StateName.REVOKED: AuditOutcome.REVOKED,
    StateName.NEEDS_USER: AuditOutcome.NEEDS_USER,
}
"""Plaid does not serve these: their rows stay as they are."""
_REFUSED: Final = {
    FailureClass.NEEDS_USER: AuditOutcome.NEEDS_USER,
    FailureClass.TERMINAL: AuditOutcome.REVOKED,
}
_MAX_LISTED_IDS: Final = 500_000
"""A sample of more Items than these is one of the stalest."""
_ITEM_SECONDS: Final = 300.0
"""With less left no audit begins: a long history takes minutes."""


class AuditedItems(Protocol):
    """The Items table as the audit reads it."""

    def load(self, item_id: ItemId) -> Item | None:
        """Return the Item as last committed, or None when it is not registered.

        Raises:
            TransientError: DynamoDB cannot be read now.
        """
        ...


class ItemIds(Protocol):
    """The list of Items that a sample is drawn from."""

    def ids(self, state: StateName) -> Iterator[ItemId]:
        """Iterate over the Items in a state, the stalest first; the last moments may be missing.

        Raises:
            TransientError: DynamoDB cannot be read now.
        """
        ...


@dataclass(frozen=True, slots=True)
class Auditor:
    """Audits Items, one after the other.

    Attributes:
        pulled_with: the stack's options of /transactions/sync (`PullOptions.name`).
        keeps_gone_rows: whether the rows of accounts that are gone stay live.
    """

    items: AuditedItems
    rows: AuditedRows
    tokens: TokenDecryptor
    puller: Puller
    pulled_with: str = ""
    keeps_gone_rows: bool = False

    def audit(self, item_id: ItemId, deadline: Deadline) -> AuditReport:
        """Audit one Item; never raises for what Plaid or AWS refuses."""
        try:
            return self._audit(item_id, deadline)
        except PlaidError as error:
            outcome = _REFUSED.get(error.failure_class, AuditOutcome.FAILED)
            return AuditReport(item_id, outcome, code=error.code)
        except TransientError as error:
            persists = error.code == MUTATION_PERSISTS
            outcome = AuditOutcome.INCONCLUSIVE if persists else AuditOutcome.FAILED
            return AuditReport(item_id, outcome, code=error.code)

    def _audit(self, item_id: ItemId, deadline: Deadline) -> AuditReport:
        report = AuditReport(item_id, AuditOutcome.UNREGISTERED)
        for attempt in range(1, MAX_ATTEMPTS + 1):
            item = self.items.load(item_id)
            if item is None:
                return report
            if not item.state.is_known:
                return AuditReport(item_id, AuditOutcome.UNKNOWN_STATE, code=item.state.name)
            if item.state.name in _NOT_SERVED or item.cursor is None:
                return AuditReport(item_id, _NOT_SERVED.get(item.state.name, AuditOutcome.NOT_READY))
            report = self._compare(item, attempt, deadline)
            if report.outcome is not AuditOutcome.INCONCLUSIVE:
                return report
            if attempt < MAX_ATTEMPTS:
                self.puller.clock.sleep(_PAUSE_SECONDS)
        return report

    def _compare(self, item: Item, attempt: int, deadline: Deadline) -> AuditReport:
        """Compare once, and decide whether the differences count."""
        stored = read_live_rows(self.rows, item, deadline)
        token = self.tokens.decrypt(item.item_id, item.access_token)
        pull = self.puller.pull_into(
            lambda: HistoryComparison(self.rows, item, stored, deadline, self.keeps_gone_rows),
            token,
            None,
            item.days_requested,
            deadline,
        )
        comparison = pull.net
        if pull.cursor is None:
            return AuditReport(item.item_id, AuditOutcome.NOT_READY, pages=pull.pages, attempts=attempt)
        comparison.finish(history_complete=pull.history_complete)
        outcome = AuditOutcome.CLEAN
        if comparison.drifted:
            outcome = self._outcome_of_differences(item, token, deadline)
        return _report(item, outcome, pull, attempt)

    def _outcome_of_differences(self, item: Item, token: str, deadline: Deadline) -> AuditOutcome:
        """Return what differences mean that were found since the Item was loaded."""
        if _is_pending(item) or item.pulled_with != self.pulled_with:
            return AuditOutcome.BEHIND
        behind = self._is_behind(item, token, deadline)
        now = self.items.load(item.item_id)
        if now is None or not _unchanged(item, now):
            return AuditOutcome.INCONCLUSIVE
        return AuditOutcome.BEHIND if behind else AuditOutcome.DRIFTED

    def _is_behind(self, item: Item, token: str, deadline: Deadline) -> bool:
        """Return whether the stored cursor has further changes, or is rejected: the next sync handles it."""
        plaid = self.puller.plaid
        try:
            page = self.puller.within_limits(lambda: plaid.sync_page(token, item.cursor, None), deadline)
        except PlaidError as error:
            if error.failure_class is FailureClass.RESTART or error.code == INVALID_FIELD_CODE:
                return True
            raise
        return page.has_more or any((page.added, page.modified, page.removed, page.invalid))


def _is_pending(item: Item) -> bool:
    """Return whether the next sync pulls the whole history, recovers partial writes, or closes the rows of accounts."""
    closing = any(check.code == ACCOUNT_ROWS for check in item.pending_checks)
    return item.reconcile or item.writing_since is not None or closing


def _unchanged(before: Item, now: Item) -> bool:
    """Return whether no row was written in between.

    A claim raises the generation before it writes. An attempt that claimed before, and wrote since, has marked the Item
    or committed, which changes the time of the pull even where the cursor is the same.
    """
    return not _is_pending(now) and all(getattr(before, name) == getattr(now, name) for name in _CHANGES_WITH_ROWS)


def _report(item: Item, outcome: AuditOutcome, pull: Pull[HistoryComparison], attempt: int) -> AuditReport:
    comparison = pull.net
    return AuditReport(
        item.item_id,
        outcome,
        at_plaid=len(comparison.live),
        missing=comparison.count(DriftKind.MISSING),
        extra=comparison.count(DriftKind.EXTRA),
        different=comparison.count(DriftKind.DIFFERENT),
        differences=comparison.differences,
        quarantined=len(comparison.invalid),
        served_accounts=tuple(sorted(comparison.served_accounts)),
        history_complete=pull.history_complete,
        pages=pull.pages,
        attempts=attempt,
    )


# ---- the scheduled sample


class NotAuditedError(Exception):
    """The audit of some Items failed unexpectedly: the text names them and no content."""

    def __init__(self, failed: list[str]) -> None:
        super().__init__(f"not audited: {', '.join(failed)}")


@dataclass(frozen=True, slots=True)
class Sampler:
    """Audits a random sample of Items.

    Attributes:
        size: the default size of a sample.
        randbelow: returns a uniform random integer from 0 to below its argument.
    """

    auditor: Auditor
    items: ItemIds
    size: int
    randbelow: Callable[[int], int]

    def audits(self, size: int | None, deadline: Deadline) -> Iterator[AuditReport]:
        """Audit Items drawn at random, until the sample is complete or the time is short.

        Raises:
            TransientError: the list of Items cannot be read now.
            NotAuditedError: the audit of some Items failed unexpectedly; all others were audited first.
        """
        failed: list[str] = []
        listed = chain.from_iterable(map(self.items.ids, AUDITABLE))
        for item_id in draw(islice(listed, _MAX_LISTED_IDS), size or self.size, self.randbelow):
            if not deadline.allows(_ITEM_SECONDS):
                break
            try:
                report = self.auditor.audit(item_id, deadline)
            except Exception as error:  # noqa: BLE001 - a bug that one Item meets must not hide the drift of others
                failed.append(f"{item_id} ({type(error).__name__})")
            else:
                yield report
        if failed:
            raise NotAuditedError(failed)


def draw(population: Iterable[_T], size: int, randbelow: Callable[[int], int]) -> list[_T]:
    """Return a uniform random sample (all, if there are fewer) in one pass and bounded memory (reservoir sampling)."""
    sample: list[_T] = []
    for number, element in enumerate(population):
        if number < size:
            sample.append(element)
        elif (index := randbelow(number + 1)) < size:
            sample[index] = element
    return sample
