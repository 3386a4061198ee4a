"""Balances, which change with the transactions of the account: exact decimals, as everywhere."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from local.plaid.wire import JsonObject

_ZERO = Decimal(0)
# By account, currency and whether they are pending: the sum of the transactions. A positive amount is money spent.
BalanceChanges = dict[tuple[str, str | None, bool], Decimal]


def balance_changes(rows: Iterable[JsonObject]) -> BalanceChanges:
    changes: BalanceChanges = {}
    for row in rows:
        key = (row["account_id"], currency_of(row), row["pending"])
        changes[key] = changes.get(key, _ZERO) + row["amount"]
    return changes


def with_balances(account: JsonObject, changes: BalanceChanges) -> JsonObject:
    """Return an account with what its transactions in its own currency make of its opening balances.

    `current` has the posted transactions, and is the debt of a credit account; `available` also has the pending.
    """
    opening = account["balances"]
    posted, pending = (
        changes.get((account["account_id"], currency_of(opening), is_pending), _ZERO) for is_pending in (False, True)
    )
    if account["type"] == "credit":
        current = opening["current"] + posted
        available = opening["limit"] - current - pending
    else:
        current = opening["current"] - posted
        available = opening["available"] - posted - pending
    return {**account, "balances": {**opening, "available": available, "current": current}}


def currency_of(fields: JsonObject) -> str | None:
    """Return the currency of a balance or a transaction."""
    currency: str | None = fields["iso_currency_code"] or fields["unofficial_currency_code"]
    return currency
