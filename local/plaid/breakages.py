"""Ways in which an entry of a sync answer can break Plaid's contract, by name."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Any

from local.plaid.wire import JsonObject

Breakage = Callable[[JsonObject], object]
_LONG_NAME_BYTES = 1_500_000  # 2 MB as text, which no compression makes much smaller


def _with(**fields: Any) -> Breakage:  # noqa: ANN401 - any JSON
    return lambda entry: {**entry, **fields}


def _without(field: str) -> Breakage:
    return lambda entry: {name: value for name, value in entry.items() if name != field}


def _with_long_name(entry: JsonObject) -> JsonObject:
    rng = Random(str(entry["transaction_id"]))  # noqa: S311 # nosec B311 - reproducible on purpose
    return {**entry, "name": b64encode(rng.randbytes(_LONG_NAME_BYTES)).decode()}


BREAKAGES: dict[str, Breakage] = {
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
    "amount too long": _with(amount=Decimal(f"1.{'3' * 60}")),
    "payment_channel a number": _with(payment_channel=7),
    "name an object": _with(name={}),
    "name of 2 MB": _with_long_name,
    "half a character": _with(name="☕\ud83d"),
}
