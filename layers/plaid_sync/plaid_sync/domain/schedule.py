"""When an Item is due for the sweep: the sweep syncs it then if nothing else has, so a lost webhook is recovered.

Each Item gets its own time, up to a tenth early or late, so that Items that were linked or committed together are not
due together. The spread is derived from the Item and the time, not from chance, so that it is reproducible.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from plaid_sync.domain.item import ItemId, StateName

if TYPE_CHECKING:
    from datetime import datetime

FIRST_SYNC: Final = timedelta(minutes=15)
"""After a link, and after a request whose message the queue may have refused."""
NOT_READY: Final = timedelta(hours=1)
"""While Plaid has no history of an Item yet: its webhook, if it is sent, arrives within minutes."""
INCOMPLETE_REMOVAL: Final = timedelta(hours=1)
SWEEP_INTERVALS: Final = {
    StateName.ACTIVE: timedelta(hours=12),
    StateName.EXPIRING: timedelta(hours=12),
    StateName.DEGRADED: timedelta(hours=6),
    StateName.NEEDS_USER: timedelta(hours=24),
    StateName.REVOKED: timedelta(days=7),
    StateName.REMOVED: INCOMPLETE_REMOVAL,
}
"""After the last commit, or the last attempt, by state: Plaid connects to a bank one to four times a day.

For an Item in `needs_user`, a LOGIN_REPAIRED webhook may have been lost; a `revoked` one may have been restored at
Plaid. The messages of a `degraded` Item are retried anyway: the sweep covers those that were lost.
"""
MAX_ITEM_AGE: Final = SWEEP_INTERVALS[StateName.ACTIVE] * 1.5
"""Age of the last commit that no active Item reaches while the sweep and Plaid work: an alarm watches it."""
_SPREAD: Final = 0.1
_STEPS: Final = 1 << 16


def due_after(item_id: ItemId, interval: timedelta, now: datetime) -> datetime:
    """Return when an Item is due: after `interval`, up to a tenth early or late."""
    digest = hashlib.sha256(f"{item_id} {now.isoformat()}".encode()).digest()
    fraction = int.from_bytes(digest[:2]) / (_STEPS - 1)  # from 0 to 1
    return now + interval * (1 + _SPREAD * (2 * fraction - 1))
