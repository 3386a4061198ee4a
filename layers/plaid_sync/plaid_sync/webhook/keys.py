"""Plaid's verification keys: shared by all processes, through an outage and under a flood of invented key ids.

- A key in memory is used for `FRESH` without any call. Then the shared state has a newer response of Plaid, or one
  process of the stack looks the key up again, which is what notices that it has expired. While that fails, the key is
  used for `TRUSTED`.
- An id that Plaid does not know is remembered in memory and in the shared state.
- A flood of invented ids gets a bounded number of look-ups a minute, for the whole stack, and cannot use up those of
  a genuine key that is new. Which requests are looked up is drawn: the n-th of a minute with probability
  `certain / n`, so that no order and no timing of the others leaves a request without its chance. Ids that
  were seen before are counted and drawn apart: Plaid sends a webhook again, and the next one names the same key, while
  an invented id either comes once, or is known as unknown once it was looked up.
- While the shared state fails, each process draws alone.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from plaid_sync.domain.clock import RANDOM
from plaid_sync.domain.errors import TransientError
from plaid_sync.webhook.ports import KeyRecord, SharedState, SharedStateError, VerificationKeyApi
from plaid_sync.webhook.signature import RejectedError, VerificationKey

if TYPE_CHECKING:
    from collections.abc import Callable

FRESH: Final = timedelta(minutes=5)
TRUSTED: Final = timedelta(hours=24)
UNKNOWN_FOR: Final = timedelta(minutes=5)
MAX_KEYS: Final = 32
MAX_UNKNOWN: Final = 1_000


@dataclass(frozen=True, slots=True)
class Budget:
    """Look-ups of unknown key ids in a minute.

    Attributes:
        certain: so many requests are surely looked up.
        maximum: no more are; what is drawn reaches it only in a large flood.
    """

    certain: int
    maximum: int


NEW_IDS: Final = Budget(certain=40, maximum=120)
"""Of ids that come for the first time, for the whole stack: a trickle of invented ones delays no genuine one."""
SEEN_IDS: Final = Budget(certain=10, maximum=60)
"""Of ids that come again, for the whole stack."""
CERTAIN_ALONE: Final = 5
"""So many requests a minute are surely looked up by a process while the shared state fails."""
SHARED_PER_MINUTE: Final = 300
"""So many requests a minute with an id that is not in memory surely reach the shared state, for each process."""
SEEN_FOR: Final = timedelta(days=1)
"""Plaid retries a webhook for up to 24 hours."""
REFRESH_EVERY: Final = timedelta(seconds=30)
"""One process in this time tries to look up a known key again."""
RETRY_AFTER: Final = timedelta(seconds=5)
"""How long a process uses a key that could not be refreshed until it tries again."""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Known:
    key: VerificationKey
    fetched_at: datetime
    recheck_at: datetime


@dataclass(slots=True)
class VerificationKeys:
    """The keys as one process knows them. Not thread-safe: a Lambda environment serves one request at a time.

    Attributes:
        on_shared_failure: observes a failure of the shared state, which stops nothing.
        draw: returns a random number from 0 to 1.
    """

    api: VerificationKeyApi
    shared: SharedState
    on_shared_failure: Callable[[SharedStateError], None] = lambda _: None
    draw: Callable[[], float] = RANDOM.random
    _known: OrderedDict[str, _Known] = field(default_factory=OrderedDict)
    _unknown_until: OrderedDict[str, datetime] = field(default_factory=OrderedDict)
    _minute: int = 0
    _requests: int = 0

    def get(self, key_id: str, now: datetime) -> VerificationKey:
        """Return the key; `verify` checks whether it has expired.

        Raises:
            RejectedError: Plaid has no such key (`unknown_key`), or this request gets no look-up (`too_many_lookups`):
                the next one with this id may get one.
            TransientError: the key is not known, or no longer trusted, and the look-up failed.
        """
        known = self._known.get(key_id)
        if known is not None and now < known.recheck_at:
            return known.key
        if now < self._unknown_until.get(key_id, now):
            raise RejectedError("unknown_key")
        last = _trusted(None if known is None else KeyRecord(known.key, known.fetched_at), now)
        if last is None:
            self._require_draw(self._count_alone(now), SHARED_PER_MINUTE)
        try:
            record = self._shared_record(key_id, last, now)
        except SharedStateError as error:
            self.on_shared_failure(error)
            record = self._own_record(key_id, last, now)
        return self._remember(key_id, record, now)

    def _shared_record(self, key_id: str, last: KeyRecord | None, now: datetime) -> KeyRecord:
        record = _trusted(self.shared.key_record(key_id), now)
        if record is None or (last is not None and last.fetched_at > record.fetched_at):
            record = last
        if record is not None and _is_current(record, now):
            return record
        if record is None or record.key is None:
            self._spend_lookup(key_id, now)
            return self._look_up(key_id, now)
        return self._refresh(key_id, record, now) if self._may_refresh(key_id, now) else record

    def _own_record(self, key_id: str, last: KeyRecord | None, now: datetime) -> KeyRecord:
        if last is not None:
            return self._refresh(key_id, last, now)
        self._require_draw(self._requests, CERTAIN_ALONE)
        return self._look_up(key_id, now)

    def _spend_lookup(self, key_id: str, now: datetime) -> None:
        minute, next_minute = _minute_of(now), now + timedelta(minutes=1)
        is_new = self.shared.count(f"seen#{key_id}", now + SEEN_FOR) == 1
        name, budget = ("new_ids", NEW_IDS) if is_new else ("seen_ids", SEEN_IDS)
        self._require_draw(self.shared.count(f"{name}#{minute}", next_minute), budget.certain)
        if self.shared.count(f"lookups_of_{name}#{minute}", next_minute) > budget.maximum:
            raise RejectedError("too_many_lookups")

    def _require_draw(self, number: int, certain: int) -> None:
        """Let the n-th request of a minute pass with a probability that no other request can lower."""
        if self.draw() * number >= certain:
            raise RejectedError("too_many_lookups")

    def _count_alone(self, now: datetime) -> int:
        if self._minute != _minute_of(now):
            self._minute, self._requests = _minute_of(now), 0
        self._requests += 1
        return self._requests

    def _may_refresh(self, key_id: str, now: datetime) -> bool:
        try:
            return self.shared.once(f"refresh#{key_id}", REFRESH_EVERY, now)
        except SharedStateError as error:
            self.on_shared_failure(error)
            return True

    def _refresh(self, key_id: str, record: KeyRecord, now: datetime) -> KeyRecord:
        try:
            return self._look_up(key_id, now)
        except TransientError:
            return record

    def _look_up(self, key_id: str, now: datetime) -> KeyRecord:
        record = KeyRecord(self.api.fetch(key_id), now)
        try:
            self.shared.save_key_record(key_id, record)
        except SharedStateError as error:
            self.on_shared_failure(error)
        return record

    def _remember(self, key_id: str, record: KeyRecord, now: datetime) -> VerificationKey:
        since = min(record.fetched_at, now)
        if record.key is None:
            self._known.pop(key_id, None)
            _remember(self._unknown_until, key_id, since + UNKNOWN_FOR, MAX_UNKNOWN)
            raise RejectedError("unknown_key")
        recheck_at = since + FRESH if _is_current(record, now) else min(now + RETRY_AFTER, since + TRUSTED)
        _remember(self._known, key_id, _Known(record.key, record.fetched_at, recheck_at), MAX_KEYS)
        return record.key


def _trusted(record: KeyRecord | None, now: datetime) -> KeyRecord | None:
    return record if record is not None and now - record.fetched_at < TRUSTED else None


def _is_current(record: KeyRecord, now: datetime) -> bool:
    """Return whether no look-up is due; an expired key stays expired. Clocks differ, so a future time is as old."""
    period = UNKNOWN_FOR if record.key is None else TRUSTED if record.key.is_expired(now) else FRESH
    return abs(now - record.fetched_at) < period


def _minute_of(now: datetime) -> int:
    return int(now.timestamp()) // 60


def _remember(cache: OrderedDict[str, _T], key_id: str, value: _T, limit: int) -> None:
    cache[key_id] = value
    cache.move_to_end(key_id)
    while len(cache) > limit:
        cache.popitem(last=False)
