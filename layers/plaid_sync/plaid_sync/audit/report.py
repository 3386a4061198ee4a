"""What an audit of an Item found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from plaid_sync.domain.item import ItemId
    from plaid_sync.domain.transaction import TransactionId

MAX_DIFFERENCES: Final = 200
"""Differences that a report spells out; the counts are of all."""


class AuditOutcome(StrEnum):
    """The result of an audit."""

    CLEAN = "clean"
    """The table equals Plaid."""
    DRIFTED = "drifted"
    """It does not, although the Item did not change and nothing is pending."""
    BEHIND = "behind"
    """There are differences, but a sync is pending: they mean nothing before it."""
    INCONCLUSIVE = "inconclusive"
    """Every attempt found differences, and the Item changed during each."""
    NOT_READY = "not_ready"
    """Nothing to compare yet: it was never synced, or Plaid has no history of it."""
    NEEDS_USER = "needs_user"
    """Plaid serves nothing until the user repairs the connection."""
    REVOKED = "revoked"
    """It ended at Plaid or at the bank."""
    REMOVED = "removed"
    """It was removed through the API."""
    UNREGISTERED = "unregistered"
    """There is no such Item."""
    UNKNOWN_STATE = "unknown_state"
    """It is in a state of a newer version."""
    FAILED = "failed"
    """Plaid or AWS failed: `code` says why."""


CONCLUSIVE: Final = frozenset({AuditOutcome.CLEAN, AuditOutcome.DRIFTED})
"""Outcomes that say whether the table is right."""
INCONCLUSIVE: Final = frozenset(
    {AuditOutcome.BEHIND, AuditOutcome.INCONCLUSIVE, AuditOutcome.UNKNOWN_STATE, AuditOutcome.FAILED}
)
"""Outcomes of Items whose audit can be conclusive at another time."""


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
    """One difference.

    Attributes:
        field: the attribute, the path inside the Plaid object (`plaid.location.lat`), or `(row)`.
        at_plaid: what it should be, as `compare.format_value` formats it: bank data, except for a `(row)`.
        in_table: what it is.
    """

    transaction_id: TransactionId
    kind: DriftKind
    field: str
    at_plaid: str
    in_table: str

    def as_json(self, *, values: bool) -> dict[str, str]:
        """Return it for a response; with the values only where they were requested."""
        view = {"transaction_id": self.transaction_id, "kind": self.kind.value, "field": self.field}
        return view | ({"at_plaid": self.at_plaid, "in_table": self.in_table} if values else {})


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What an audit found.

    Attributes:
        code: why the audit is not conclusive: Plaid's error code or our reason.
        at_plaid: transactions that Plaid has, except those of accounts without rows.
        missing: rows of this kind; likewise `extra` and `different`.
        differences: the first of them, `MAX_DIFFERENCES` at most.
        quarantined: entries that violate Plaid's schema: their rows are not compared.
        served_accounts: accounts that are withdrawn or gone, and whose transactions Plaid serves all the same.
        history_complete: whether Plaid had the whole history; before that nothing is `extra`.
        attempts: how often the history was pulled.
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
    served_accounts: tuple[str, ...] = ()
    history_complete: bool = False
    pages: int = 0
    attempts: int = 0

    @property
    def drift(self) -> int:
        """The number of drifted rows; differences count only if the audit is conclusive."""
        return self.missing + self.extra + self.different if self.outcome is AuditOutcome.DRIFTED else 0

    def counts(self) -> dict[str, Any]:
        """Return the report without any transaction data, for logs and responses."""
        names = ("at_plaid", "missing", "extra", "different", "quarantined", "history_complete", "pages", "attempts")
        view = {"item_id": self.item_id, "outcome": self.outcome.value, "code": self.code}
        counts = {name: getattr(self, name) for name in names}
        return view | counts | {"served_accounts": list(self.served_accounts)}

    def as_json(self, *, values: bool) -> dict[str, Any]:
        """Return the function's response."""
        return self.counts() | {"differences": [difference.as_json(values=values) for difference in self.differences]}
