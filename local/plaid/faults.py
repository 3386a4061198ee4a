"""Fault injection: errors, delays and broken connections for API calls, and malformed transactions in sync pages."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Any, Literal

from local.plaid.wire import JsonObject

Drop = Literal["before", "after"]
Corruption = Callable[[JsonObject], object]
_LONG_NAME_BYTES = 1_500_000  # 2 MB in base64, which hardly compresses


@dataclass(slots=True)
class Fault:
    """A fault for the next matching calls.

    Attributes:
        endpoint: path such as `/transactions/sync`, or `*` for all.
        error_code: respond with this Plaid error, with its `reason`; the call has no effect.
        skip: number of matching calls that succeed first.
        drop: close the connection without a response, `before` or `after` the call takes effect.
        body: raw text instead of JSON (a proxy's error page), with `status`.
    """

    endpoint: str
    error_code: str | None = None
    reason: str | None = None
    status: int | None = None
    times: int = 1
    skip: int = 0
    item_id: str | None = None
    delay: float = 0.0
    drop: Drop | None = None
    body: str | None = None
    retry_after: str | None = None

    def matches(self, endpoint: str, item_id: str | None) -> bool:
        return self.endpoint in ("*", endpoint) and self.item_id in (None, item_id)


class FaultInjector:
    """The faults that still apply, in the order of their injection."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self._faults.append(fault)

    def clear(self) -> None:
        self._faults.clear()

    def take(self, endpoint: str, item_id: str | None) -> Fault | None:
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


def _with(**fields: Any) -> Corruption:  # noqa: ANN401 - any JSON
    return lambda entry: {**entry, **fields}


def _without(field: str) -> Corruption:
    return lambda entry: {name: value for name, value in entry.items() if name != field}


def _with_long_name(entry: JsonObject) -> JsonObject:
    rng = Random(str(entry["transaction_id"]))  # noqa: S311 # nosec B311 - reproducible on purpose
    return {**entry, "name": b64encode(rng.randbytes(_LONG_NAME_BYTES)).decode()}


# Ways to make an entry of a sync page violate Plaid's schema.
CORRUPTIONS: dict[str, Corruption] = {
    "no transaction_id": _without("transaction_id"),
    "transaction_id a number": _with(transaction_id=7),
    "transaction_id endless": _with(transaction_id="x" * 5000),
    "a list": lambda entry: [entry],
    "a text": lambda entry: str(entry["transaction_id"]),
    "null": lambda _: None,
    "account_id a number": _with(account_id=7),
    "account_id endless": _with(account_id="x" * 5000),
    "no date": _without("date"),
    "amount a text": lambda entry: {**entry, "amount": str(entry.get("amount"))},
    "amount a list": _with(amount=[]),
    "amount too large": _with(amount=Decimal("1E+1000000000")),
    "amount of 41 digits": _with(amount=Decimal("1E+40")),
    "amount too long": _with(amount=Decimal(f"1.{'3' * 60}")),
    "payment_channel a number": _with(payment_channel=7),
    "name an object": _with(name={}),
    "name of 2 MB": _with_long_name,
    "half a character": _with(name="☕\ud83d"),
}
