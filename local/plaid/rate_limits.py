"""Plaid's rate limits: a sliding window of one minute, per Item and per client."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from local.plaid.errors import PlaidError

if TYPE_CHECKING:
    from datetime import datetime

    from local.plaid.behavior import Behavior

_WINDOW = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Limit:
    """The error code of one endpoint's limit, and its calls per minute; None is no limit."""

    code: str
    per_item: int | None
    per_client: int


# Those of the sandbox.
LIMITS = {
    "/accounts/balance/get": Limit("BALANCE_LIMIT", 25, 100),
    "/accounts/get": Limit("ACCOUNTS_LIMIT", 100, 5000),
    "/auth/get": Limit("AUTH_LIMIT", 100, 500),
    "/identity/get": Limit("IDENTITY_LIMIT", 100, 1000),
    "/institutions/get": Limit("INSTITUTIONS_GET_LIMIT", None, 10),
    "/institutions/get_by_id": Limit("INSTITUTIONS_GET_BY_ID_LIMIT", None, 400),
    "/investments/holdings/get": Limit("INVESTMENT_HOLDINGS_GET_LIMIT", 100, 1000),
    "/investments/transactions/get": Limit("INVESTMENT_TRANSACTIONS_LIMIT", 100, 1000),
    "/item/get": Limit("ITEM_GET_LIMIT", 40, 5000),
    "/item/remove": Limit("RATE_LIMIT", 100, 500),
    "/liabilities/get": Limit("RATE_LIMIT", 10, 1000),
    "/sandbox/transactions/create": Limit("RATE_LIMIT", 2, 50),
    "/transactions/get": Limit("TRANSACTIONS_LIMIT", 80, 1000),
    "/transactions/recurring/get": Limit("RATE_LIMIT", 20, 1000),
    "/transactions/refresh": Limit("TRANSACTIONS_REFRESH_LIMIT", 2, 100),
    "/transactions/sync": Limit("TRANSACTIONS_SYNC_LIMIT", 50, 1000),
}


class RateLimiter:
    """Counts the calls of the last minute and rejects those over a limit."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, str], deque[datetime]] = {}

    def check(self, endpoint: str, item_id: str, behavior: Behavior, now: datetime) -> None:
        """Count a call, or reject it. Rejected calls do not count."""
        limit = LIMITS.get(endpoint)
        if limit is None or not behavior.rate_limits:
            return
        windows = [
            (self._window((endpoint, item_id), now), limit.per_item),
            (self._window((endpoint, "client"), now), limit.per_client),
        ]
        if any(allowed is not None and len(calls) >= allowed for calls, allowed in windows):
            raise PlaidError(limit.code, endpoint=endpoint.lstrip("/"))
        for calls, _ in windows:
            calls.append(now)

    def _window(self, key: tuple[str, str], now: datetime) -> deque[datetime]:
        calls = self._calls.setdefault(key, deque())
        while calls and calls[0] <= now - _WINDOW:
            calls.popleft()
        return calls
