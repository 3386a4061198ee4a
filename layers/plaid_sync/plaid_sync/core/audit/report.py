"""What the audit of an Item found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from plaid_sync.core.items import ItemId
    from plaid_sync.core.sync.transactions import TransactionId

MOST_DIFFERENCES: Final = 200
"""Differences that a report spells out; the counts are of all."""


class AuditOutcome(StrEnum):
    """What is known after an audit."""

    CLEAN = "clean"
    """The table equals Plaid."""
    DRIFTED = "drifted"
    """It does not, although the Item stood still and nothing is owed."""
    BEHIND = "behind"
    """There are differences, but a sync has something to do: they say nothing before it has."""
    UNSETTLED = "unsettled"
    """There were differences whenever it was looked at, and each time the Item was changed meanwhile."""
    NOT_READY = "not_ready"
    """Nothing to compare yet: it was never synced, or Plaid has no history of it."""
    NEEDS_USER = "needs_user"
    """Plaid gives nothing until the user has repaired the connection."""
    REVOKED = "revoked"
    """It has ended at Plaid or at the bank."""
    REMOVED = "removed"
    """It was deleted through the API."""
    UNREGISTERED = "unregistered"
    """There is no such Item."""
    FAILED = "failed"
    """Plaid or AWS could not be asked now: `code` says why."""


JUDGED: Final = frozenset({AuditOutcome.CLEAN, AuditOutcome.DRIFTED})
"""Outcomes that are an answer to the question whether the table is right."""
UNJUDGED: Final = frozenset({AuditOutcome.BEHIND, AuditOutcome.UNSETTLED, AuditOutcome.FAILED})
"""Outcomes of Items that could have been judged at another time."""


class DriftKind(StrEnum):
    """How a row differs."""

    MISSING = "missing"
    """Plaid has the transaction, and the table has no live row."""
    EXTRA = "extra"
    """The table has a live row, and Plaid has no such transaction."""
    DIFFERENT = "different"
    """Both have it, and not alike."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it must be.

    Attributes:
        field: the attribute, the path inside the Plaid object (`plaid.location.lat`), or `(row)`.
        at_plaid: what it should be, as `comparing.shown` writes it: bank data, but for a `(row)`.
        in_table: what it is, likewise.
    """

    transaction_id: TransactionId
    kind: DriftKind
    field: str
    at_plaid: str
    in_table: str

    def as_json(self, *, values: bool) -> dict[str, str]:
        """Return it for an answer; with the values only where they were asked for."""
        told = {"transaction_id": self.transaction_id, "kind": self.kind.value, "field": self.field}
        return told | ({"at_plaid": self.at_plaid, "in_table": self.in_table} if values else {})


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What an audit found.

    Attributes:
        code: why there is no judgement: Plaid's error code or our reason.
        at_plaid: transactions that Plaid has, those of withdrawn accounts left out.
        missing: rows of this kind; likewise `extra` and `different`.
        differences: the first of them, `MOST_DIFFERENCES` at most.
        quarantined: entries of Plaid's answer that break its contract: their rows are not judged.
        history_complete: whether Plaid had the whole history; before that nothing is `extra`.
        looks: how often the history was pulled.
    """

    item_id: ItemId
    outcome: AuditOutcome
    code: str = ""
    at_plaid: int = 0
    missing: int = 0
    extra: int = 0
    different: int = 0
    differences: tuple[Difference, ...] = ()
    quarantined: int = 0
    history_complete: bool = False
    pages: int = 0
    looks: int = 0

    @property
    def drift(self) -> int:
        """How many rows have drifted; differences of an Item that was not judged are none."""
        return self.missing + self.extra + self.different if self.outcome is AuditOutcome.DRIFTED else 0

    def counts(self) -> dict[str, Any]:
        """Return what says nothing of any transaction: for logs and answers alike."""
        names = ("at_plaid", "missing", "extra", "different", "quarantined", "history_complete", "pages", "looks")
        told = {"item_id": self.item_id, "outcome": self.outcome.value, "code": self.code}
        return told | {name: getattr(self, name) for name in names}

    def as_json(self, *, values: bool) -> dict[str, Any]:
        """Return the function's answer."""
        return self.counts() | {"differences": [one.as_json(values=values) for one in self.differences]}
