"""Plaid's verification keys in memory: they outlive a Plaid outage, and forged headers cannot drive calls.

- A known key is used for `FRESH` without a look-up, and for `TRUSTED` while the look-up fails. Looking it up again is
  what notices that a key has expired.
- An id that Plaid does not know is remembered, bounded in number and time.
- Look-ups have a budget per minute, so that a flood of invented ids reaches Plaid a bounded number of times.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Protocol, TypeVar

from plaid_sync.domain.errors import TransientError
from plaid_sync.webhook.signature import RejectedError, VerificationKey

FRESH: Final = timedelta(minutes=5)
TRUSTED: Final = timedelta(hours=24)
UNKNOWN_FOR: Final = timedelta(minutes=5)
MAX_KEYS: Final = 32
MAX_UNKNOWN: Final = 1_000
LOOKUPS_PER_MINUTE: Final = 10
RETRY_AFTER: Final = timedelta(seconds=5)
"""How long a key that could not be refreshed is used until the next look-up."""
_T = TypeVar("_T")


class VerificationKeyApi(Protocol):
    """Plaid's /webhook_verification_key/get."""

    def fetch(self, key_id: str) -> VerificationKey | None:
        """Return the key, or None when Plaid has no key with this id.

        Raises:
            TransientError: the look-up failed.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Known:
    key: VerificationKey
    fetched_at: datetime
    refresh_at: datetime


@dataclass(slots=True)
class VerificationKeys:
    """The keys that one process knows. Not thread-safe: a Lambda environment serves one request at a time."""

    api: VerificationKeyApi
    _known: OrderedDict[str, _Known] = field(default_factory=OrderedDict)
    _unknown: OrderedDict[str, datetime] = field(default_factory=OrderedDict)
    _lookups: deque[datetime] = field(default_factory=deque)

    def get(self, key_id: str, now: datetime) -> VerificationKey:
        """Return the key; `verify` checks whether it has expired.

        Raises:
            RejectedError: Plaid has no such key (`unknown_key`), or the look-up budget is spent (`too_many_lookups`).
            TransientError: the key is not in memory and the look-up failed.
        """
        known = self._known.get(key_id)
        if known is not None and now < known.refresh_at:
            return known.key
        unknown_until = self._unknown.get(key_id)
        if unknown_until is not None and now < unknown_until:
            raise RejectedError("unknown_key")
        return self._look_up(key_id, known, now)

    def _look_up(self, key_id: str, known: _Known | None, now: datetime) -> VerificationKey:
        still_trusted = known is not None and now < known.fetched_at + TRUSTED
        try:
            self._spend_lookup(now)
            key = self.api.fetch(key_id)
        except (RejectedError, TransientError):
            if known is None or not still_trusted:
                raise
            self._known[key_id] = replace(known, refresh_at=now + RETRY_AFTER)
            return known.key
        if key is None:
            self._known.pop(key_id, None)
            _remember(self._unknown, key_id, now + UNKNOWN_FOR, MAX_UNKNOWN)
            raise RejectedError("unknown_key")
        _remember(self._known, key_id, _Known(key, now, now + FRESH), MAX_KEYS)
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
