"""The counted calls to Plaid, in memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from plaid_sync.domain.budget import SLICE, SLICES_BEFORE, CallCounts
from plaid_sync.domain.errors import TransientError

if TYPE_CHECKING:
    from datetime import datetime

    from plaid_sync.domain.budget import CallClass, Ceilings


@dataclass(slots=True)
class FakeCallCounts:
    """Implements `SharedCallCounts`.

    Attributes:
        counts: by endpoint and slice: the calls of all classes, of each, and those that were throttled.
        failing: every call fails.
        reads: how many there were; likewise `writes`, those included that were refused.
    """

    counts: dict[tuple[str, datetime], Counter[str]] = field(default_factory=dict)
    failing: bool = False
    reads: int = 0
    writes: int = 0

    def before(self, endpoint: str, slice_at: datetime) -> CallCounts:
        self._require_reachable()
        self.reads += 1
        slices = [self._slice(endpoint, slice_at - SLICE * number) for number in range(1, SLICES_BEFORE + 1)]
        return CallCounts(*(sum(each[name] for each in slices) for name in ("total", "interactive", "throttled")))

    def add(self, endpoint: str, slice_at: datetime, call_class: CallClass, number: int, ceilings: Ceilings) -> bool:
        self._require_reachable()
        self.writes += 1
        counted = self._slice(endpoint, slice_at)
        below_own = counted["total"] < ceilings.total and counted[call_class] < ceilings.own
        if "total" in counted and counted["total"] >= ceilings.shared and not below_own:
            return False
        counted.update({"total": number, call_class: number})
        return True

    def add_throttled(self, endpoint: str, slice_at: datetime) -> None:
        self._require_reachable()
        self.writes += 1
        self._slice(endpoint, slice_at)["throttled"] += 1

    def _slice(self, endpoint: str, slice_at: datetime) -> Counter[str]:
        return self.counts.setdefault((endpoint, slice_at), Counter())

    def _require_reachable(self) -> None:
        if self.failing:
            raise TransientError("unreachable")
