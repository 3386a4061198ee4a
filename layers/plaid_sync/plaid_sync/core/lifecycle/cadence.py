"""When the sweep looks at an Item again, if nobody else has: a webhook that was lost is made up for by then.

Each Item has its own time, a tenth early or late, so that Items that were linked or committed together are not due
together; that is drawn from the Item and the moment, and not from chance, so that it can be told again.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from plaid_sync.core.items import ItemStatus

if TYPE_CHECKING:
    from datetime import datetime

    from plaid_sync.core.items import ItemId

FIRST_SYNC: Final = timedelta(minutes=15)
"""After the link, and after a request of the API whose trigger may have been refused by the queue."""
NOT_READY: Final = timedelta(hours=1)
"""While Plaid has nothing of an Item's history yet: its webhook comes, if it comes, within minutes."""
UNFINISHED_REMOVAL: Final = timedelta(hours=1)
CADENCES: Final = {
    ItemStatus.ACTIVE: timedelta(hours=12),
    ItemStatus.EXPIRING: timedelta(hours=12),
    ItemStatus.DEGRADED: timedelta(hours=6),
    ItemStatus.NEEDS_USER: timedelta(hours=24),
    ItemStatus.REVOKED: timedelta(days=7),
    ItemStatus.REMOVED: UNFINISHED_REMOVAL,
}
"""After the last success, or the last look: Plaid asks a bank one to four times a day.

Of an Item that needs its user, LOGIN_REPAIRED may have been lost; one that is revoked may have been given another
chance at Plaid. The messages of one whose bank is down come back by themselves: the sweep is for those that were lost.
"""
LONGEST_AGE: Final = CADENCES[ItemStatus.ACTIVE] * 1.5
"""Age of the last success that no active Item reaches while the sweep and Plaid work: an alarm watches it."""
_SPREAD: Final = 0.1
_STEPS: Final = 1 << 16


def due_after(item_id: ItemId, wait: timedelta, now: datetime) -> datetime:
    """Return when an Item is due that is to be looked at after `wait`, a tenth early or late."""
    digest = hashlib.sha256(f"{item_id} {now.isoformat()}".encode()).digest()
    place = int.from_bytes(digest[:2]) / (_STEPS - 1)  # from 0 to 1
    return now + wait * (1 + _SPREAD * (2 * place - 1))
