"""The erasure of a user: every Item, and everything that any table has of the user or of the Items.

The user's row says that it is in progress before anything is erased, and has the Items; so the same request, sent again
after a crash, continues. From then on no link of the user is stored. Each Item is removed at Plaid by its worker, which
also erases its rows (`removal`), with or without the caller. What else there is of an Item is erased after that, its
record last. Then the erasure settles: a worker or a request that began before can write until its time is over, and
what it wrote is erased, too. It is completed once every look-up finds nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from plaid_sync.domain.clock import OUT_OF_TIME, Deadline, format_optional_timestamp
from plaid_sync.domain.errors import TransientError
from plaid_sync.domain.requests import user_not_found_error
from plaid_sync.items_api.views import drop_none

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from plaid_sync.domain.clock import Clock
    from plaid_sync.domain.item import Item, ItemId
    from plaid_sync.domain.requests import RequestContext
    from plaid_sync.items_api.ports import ApiItems, Erasure, UserRecords
    from plaid_sync.items_api.views import View

SETTLING: Final = timedelta(minutes=10)
"""How long a write can be on its way: the sync function runs for five minutes, and AWS accepts a signature for five."""
_REQUEST_SECONDS: Final = 25.0
"""API Gateway waits for thirty: what is left by then is left to the next request."""
_ITEM_SECONDS: Final = 10.0
"""What a call takes at worst."""


@dataclass(frozen=True, slots=True)
class UserErasure:
    """Erases users.

    Attributes:
        remove: removes an Item, and has its worker erase its rows.
    """

    items: ApiItems
    records: UserRecords
    remove: Callable[[ItemId, RequestContext], object]
    clock: Clock

    def erase(self, client_user_id: str, context: RequestContext) -> tuple[View, bool]:
        """Begin or continue the erasure of a user; return its progress or its receipt, and whether it is completed.

        Raises:
            RefusedError: nothing is stored of the user.
            TransientError: the same request can continue later.
        """
        erasure = self.records.load(client_user_id)
        if erasure is None or not erasure.in_progress:
            if (erasure is None or not erasure.item_ids) and not self.records.exists(client_user_id):
                if erasure is None or erasure.erased_at is None:
                    raise user_not_found_error()
                return _receipt(erasure), True
            self.records.begin(client_user_id)
        waiting = self._continue(client_user_id, context)
        after = self.records.load(client_user_id)
        if after is None:
            raise TransientError("erasure_modified_concurrently")
        return (_progress(after, waiting), False) if after.in_progress else (_receipt(after), True)

    def _continue(self, client_user_id: str, context: RequestContext) -> frozenset[ItemId]:
        """Erase what can be erased now; return the Items that wait for Plaid or for their workers."""
        ends_at = self.clock.now() + timedelta(seconds=_REQUEST_SECONDS)
        left = context.deadline.remaining_seconds
        deadline = Deadline(lambda: min(left(), (ends_at - self.clock.now()).total_seconds()))
        erasure = self._with_items(client_user_id)
        removals = {item_id: self._removal(item_id, context) for item_id in sorted(erasure.item_ids)}
        waiting = frozenset(item_id for item_id, done in removals.items() if not done)
        try:
            found = self._erase(client_user_id, erasure.item_ids - waiting, deadline)
        except TransientError as error:
            if error.code != OUT_OF_TIME:
                raise
            return waiting
        if not waiting and not found:
            self._close(client_user_id, erasure)
        return waiting

    def _with_items(self, client_user_id: str) -> Erasure:
        """Return the erasure with all Items of the user, and remember them: the indexes lose those that are erased."""
        found, erasure = self.records.item_ids(client_user_id), self.records.load(client_user_id)
        if erasure is None:
            raise TransientError("erasure_modified_concurrently")
        new = frozenset(item_id for item_id in found - erasure.item_ids if self._is_of(client_user_id, item_id))
        if new:
            self.records.add_items(client_user_id, new)
        return replace(erasure, item_ids=erasure.item_ids | new)

    def _is_of(self, client_user_id: str, item_id: ItemId) -> bool:
        """Return whether no other user has an Item that a link of this one names."""
        item = self.items.load(item_id)
        return item is None or item.client_user_id in {None, client_user_id}

    def _removal(self, item_id: ItemId, context: RequestContext) -> bool:
        """Remove an Item, unless that was requested; return whether nothing is left at Plaid, and of its rows."""
        item = self.items.load(item_id)
        if item is None:
            return not self.records.is_exchanged(item_id)  # else the sweep has it rolled back
        if item.removal is None or not item.removal.erase:
            self.remove(item_id, context)
            return False
        return item.removal.completed_at is not None

    def _erase(self, client_user_id: str, item_ids: Collection[ItemId], deadline: Deadline) -> int:
        """Erase what is left of Items that are removed, and of the user; return how much was found."""
        found = self.records.erase_links(client_user_id, item_ids, deadline)
        found += self.records.erase_history(client_user_id, item_ids, deadline)
        found += self.records.erase_shared(item_ids, deadline)
        for item_id in sorted(item_ids):
            deadline.require(_ITEM_SECONDS)
            found += self.records.rows_left(item_id)
            item: Item | None = self.items.load(item_id)
            found += self.records.erase_item(client_user_id, item_id, item)
        return found

    def _close(self, client_user_id: str, erasure: Erasure) -> None:
        """Complete an erasure of which nothing is left, once no write can arrive that began before."""
        now = self.clock.now()
        if erasure.settles_at is None:
            self.records.settle(client_user_id, now + SETTLING)
        elif erasure.settles_at <= now:
            self.records.complete(client_user_id)


def _progress(erasure: Erasure, waiting: Collection[ItemId]) -> View:
    state = "settling" if erasure.settles_at is not None and not waiting else "erasing"
    return drop_none(
        state=state,
        requested_at=format_optional_timestamp(erasure.requested_at),
        settles_at=format_optional_timestamp(erasure.settles_at),
        item_ids=sorted(erasure.item_ids),
        waiting_for=sorted(waiting),
        erased=dict(erasure.counts),
    )


def _receipt(erasure: Erasure) -> View:
    return drop_none(
        state="erased",
        requested_at=format_optional_timestamp(erasure.requested_at),
        erased_at=format_optional_timestamp(erasure.erased_at),
        erased=dict(erasure.counts),
        remaining=0,
    )
