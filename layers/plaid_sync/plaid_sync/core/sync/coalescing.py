"""Which triggers need no pull of their own."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from plaid_sync.core.items import Item, ItemStatus

if TYPE_CHECKING:
    from datetime import datetime

CLOCK_MARGIN: Final = timedelta(seconds=120)
"""Two clocks (SQS's and a worker's), each trusted to a minute."""


def covers(item: Item, trigger_sent_at: datetime) -> bool:
    """Tell whether the committed pull began (surely) after the trigger was sent, and owes nothing."""
    if item.pull_began_at is None or item.status is not ItemStatus.ACTIVE:
        return False
    if item.reconcile or item.writing_since is not None:
        return False
    return trigger_sent_at + CLOCK_MARGIN < item.pull_began_at
