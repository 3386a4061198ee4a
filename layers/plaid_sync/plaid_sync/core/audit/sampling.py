"""Which Items a scheduled audit looks at: a random few of those that Plaid serves, in one pass over their ids."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Final, TypeVar

from plaid_sync.core.items import ItemStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from plaid_sync.core.audit.auditing import Auditor
    from plaid_sync.core.audit.report import AuditReport

_T = TypeVar("_T")

AUDITABLE: Final = (ItemStatus.ACTIVE, ItemStatus.EXPIRING, ItemStatus.DEGRADED)
_MOST_READ: Final = 500_000
"""Ids; a sample of more Items than these is one of the stalest."""
_SECONDS_FOR_AN_ITEM: Final = 300.0
"""With less left none is begun: a long history takes minutes."""


class NotAuditedError(Exception):
    """Items could not be audited for a reason that is in them, or in the audit: its text names them and no content."""

    def __init__(self, failed: list[str]) -> None:
        super().__init__(f"not audited: {', '.join(failed)}")


@dataclass(frozen=True, slots=True)
class Sampler:
    """Audits a sample.

    Attributes:
        size: Items in a sample for which none is given.
        below: draws a whole number from 0 to below its argument, each as likely.
    """

    auditor: Auditor
    size: int
    below: Callable[[int], int]

    def audits(self, size: int | None, time_left: Callable[[], float]) -> Iterator[AuditReport]:
        """Audit Items drawn at random, until there are so many or the time is short.

        Raises:
            RetryableError: the list of Items can't be read now.
            NotAuditedError: Items made the audit itself fail; all others were audited first.
        """
        failed: list[str] = []
        listed = chain.from_iterable(map(self.auditor.items.ids, AUDITABLE))
        for item_id in draw(islice(listed, _MOST_READ), size or self.size, self.below):
            if time_left() < _SECONDS_FOR_AN_ITEM:
                break
            try:
                report = self.auditor.audit(item_id, time_left)
            except Exception as error:  # noqa: BLE001 - a bug met by one Item must not hide the drift of others
                failed.append(f"{item_id} ({type(error).__name__})")
            else:
                yield report
        if failed:
            raise NotAuditedError(failed)


def draw(from_: Iterable[_T], size: int, below: Callable[[int], int]) -> list[_T]:
    """Return so many at random (all, if there are fewer), each as likely, and never hold more (reservoir sampling)."""
    drawn: list[_T] = []
    for number, one in enumerate(from_):
        if number < size:
            drawn.append(one)
        elif (place := below(number + 1)) < size:
            drawn[place] = one
    return drawn
