"""Plaid's verification keys in memory: they outlive a Plaid outage, and forged headers can't drive calls.

- A known key serves for `FRESH` without a question, and for `TRUSTED` while Plaid can't be asked again. Asking
  again is what notices that a key has expired.
- An id that Plaid does not know is remembered, bounded in number and time.
- Look-ups are limited by a budget per minute, so that a flood of invented ids reaches Plaid a bounded number of
  times, whatever the ids are.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from plaid_sync.core.failures import RetryableError
from plaid_sync.core.webhooks.verification import RejectedError, VerificationKey

if TYPE_CHECKING:
    from plaid_sync.ports.webhooks import VerificationKeyApi

FRESH: Final = timedelta(minutes=5)
TRUSTED: Final = timedelta(hours=24)
UNKNOWN_FOR: Final = timedelta(minutes=5)
MAXIMUM_KEYS: Final = 32
MAXIMUM_UNKNOWN: Final = 1_000
LOOKUPS_PER_MINUTE: Final = 10
RETRY_AFTER: Final = timedelta(seconds=5)
"""How long a key that could not be refreshed is used without asking again."""


_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Known:
    key: VerificationKey
    fetched_at: datetime
    ask_again_at: datetime


@dataclass(slots=True)
class VerificationKeys:
    """The keys that one process knows. Not thread-safe: a Lambda environment serves one request at a time."""

    api: VerificationKeyApi
    _known: OrderedDict[str, _Known] = field(default_factory=OrderedDict)
    _unknown: OrderedDict[str, datetime] = field(default_factory=OrderedDict)
    _lookups: deque[datetime] = field(default_factory=deque)

    def get(self, key_id: str, now: datetime) -> VerificationKey:
        """Return the key; whether it has expired is for `verify` to judge.

        Raises:
            RejectedError: Plaid has no such key (`unknown_key`), or too many were asked for (`too_many_lookups`).
            RetryableError: the key is not in memory and Plaid could not be asked.
        """
        known = self._known.get(key_id)
        if known is not None and now < known.ask_again_at:
            return known.key
        forgotten_at = self._unknown.get(key_id)
        if forgotten_at is not None and now < forgotten_at:
            raise RejectedError("unknown_key")
        return self._look_up(key_id, known, now)

    def _look_up(self, key_id: str, known: _Known | None, now: datetime) -> VerificationKey:
        still_trusted = known is not None and now < known.fetched_at + TRUSTED
        try:
            self._spend_lookup(now)
            key = self.api.fetch(key_id)
        except (RejectedError, RetryableError):
            if known is None or not still_trusted:
                raise
            self._known[key_id] = replace(known, ask_again_at=now + RETRY_AFTER)
            return known.key
        if key is None:
            self._known.pop(key_id, None)
            _remember(self._unknown, key_id, now + UNKNOWN_FOR, MAXIMUM_UNKNOWN)
            raise RejectedError("unknown_key")
        _remember(self._known, key_id, _Known(key, now, now + FRESH), MAXIMUM_KEYS)
        return key

    def _spend_lookup(self, now: datetime) -> None:
        while self._lookups and self._lookups[0] <= now - timedelta(minutes=1):
            self._lookups.popleft()
        if len(self._lookups) >= LOOKUPS_PER_MINUTE:
            raise RejectedError("too_many_lookups")
        self._lookups.append(now)


def _remember(cache: OrderedDict[str, _T], key_id: str, value: _T, limit: int) -> None:
    cache[key_id] = value
    cache.move_to_end(key_id)
    while len(cache) > limit:
        cache.popitem(last=False)
