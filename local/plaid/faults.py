"""Injected failures: errors, slowness and broken connections, for a number of calls to an endpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Drop = Literal["before", "after"]


@dataclass(slots=True)
class Fault:
    """What happens to the next matching calls.

    Attributes:
        endpoint: path such as `/transactions/sync`, or `*` for all.
        error_code: answer with this error of Plaid's, before any effect.
        status: HTTP status instead of the code's own.
        times: how many calls it strikes.
        skip: how many matching calls pass unharmed first.
        item_id: strike calls about this Item only.
        delay: seconds to wait before anything else.
        drop: cut the connection without an answer, `before` or `after` the call took effect.
        body: raw text to answer instead of JSON (a proxy's error page), with `status`.
        retry_after: value of a Retry-After header.
    """

    endpoint: str
    error_code: str | None = None
    status: int | None = None
    times: int = 1
    skip: int = 0
    item_id: str | None = None
    delay: float = 0.0
    drop: Drop | None = None
    body: str | None = None
    retry_after: str | None = None

    def matches(self, endpoint: str, item_id: str | None) -> bool:
        """Tell whether a call is within this fault's aim."""
        return self.endpoint in ("*", endpoint) and self.item_id in (None, item_id)


class FaultPlan:
    """The faults that are still to strike, in the order of their injection."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Plan a fault."""
        self._faults.append(fault)

    def clear(self) -> None:
        """Forget every planned fault."""
        self._faults.clear()

    def take(self, endpoint: str, item_id: str | None) -> Fault | None:
        """Return the fault that strikes this call, if any, and use it up."""
        for fault in self._faults:
            if not fault.matches(endpoint, item_id):
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            fault.times -= 1
            if fault.times <= 0:
                self._faults.remove(fault)
            return fault
        return None
