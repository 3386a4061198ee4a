"""Pulling one complete update from Plaid, before any of it is written.

The caller chooses what the pages are folded into: the sync's changes, or the audit's comparison.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from plaid_sync.domain.errors import FailureClass, PlaidError, TransientError
from plaid_sync.pull.pages import NetChanges, merge_accounts

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from plaid_sync.domain.clock import Clock, Deadline
    from plaid_sync.domain.item import Account, Cursor
    from plaid_sync.pull.pages import Page

HISTORY_COMPLETE: Final = "HISTORICAL_UPDATE_COMPLETE"
MAX_RESTARTS: Final = 5
MUTATION_PERSISTS: Final = "mutation_persists"
_FIRST_PAUSE_SECONDS: Final = 0.5
_THROTTLE_PAUSES: Final = (4.0, 12.0, 24.0, 30.0)
"""Seconds; Plaid counts calls by the minute."""
_PAGE_SECONDS: Final = 85.0
"""A page that hangs takes 70, and then the function has to respond."""


class PlaidTransactions(Protocol):
    """Plaid's /transactions/sync."""

    def sync_page(self, access_token: str, cursor: Cursor | None, days_requested: int | None) -> Page:
        """Fetch the page after `cursor` (None: from the beginning).

        Raises:
            PlaidError: Plaid refused.
            TransientError: Plaid was unreachable, or did not respond as documented.
        """
        ...


class PageFold(Protocol):
    """What the pages of a pull are folded into, in order."""

    def fold(self, page: Page) -> None:
        """Take the next page."""
        ...


_T = TypeVar("_T")
_F = TypeVar("_F", bound=PageFold)


@dataclass(frozen=True, slots=True)
class Pull(Generic[_F]):
    """A complete pull: everything between two of Plaid's final cursors.

    Attributes:
        net: what its pages were folded into.
        cursor: where the next update starts; None while Plaid has nothing ready.
        update_status: Plaid's `transactions_update_status` on the last page.
        began_at: before the first page was requested: what happened at Plaid earlier is in it.
        restarts: how often the data changed during the pagination.
        request_ids: Plaid's ids of the calls.
        accounts: the accounts that Plaid listed.
    """

    net: _F
    cursor: Cursor | None
    update_status: str
    began_at: datetime
    pages: int
    restarts: int
    request_ids: tuple[str, ...] = ()
    accounts: tuple[Account, ...] = ()

    @property
    def history_complete(self) -> bool:
        """Whether Plaid had all of the requested history."""
        return self.update_status == HISTORY_COMPLETE


Update = Pull[NetChanges]
"""A pull as the sync takes it: as changes."""


@dataclass(frozen=True, slots=True)
class Puller:
    """Pulls updates.

    Attributes:
        jitter: returns a factor around 1 that spreads the waits of workers.
    """

    plaid: PlaidTransactions
    clock: Clock
    jitter: Callable[[], float] = lambda: 1.0

    def pull(self, access_token: str, cursor: Cursor | None, days_requested: int | None, deadline: Deadline) -> Update:
        """Pull the changes from `cursor` to the end: see `pull_into`."""
        return self.pull_into(NetChanges, access_token, cursor, days_requested, deadline)

    def pull_into(
        self,
        begin: Callable[[], _F],
        access_token: str,
        cursor: Cursor | None,
        days_requested: int | None,
        deadline: Deadline,
    ) -> Pull[_F]:
        """Pull from `cursor` to the end, and restart from `cursor` when the data changes during the pagination.

        `begin` creates what the pages are folded into, at each start. Plaid requires restarting the whole pagination,
        not the page (https://plaid.com/docs/errors/transactions/).

        Raises:
            PlaidError: Plaid refused.
            TransientError: Plaid is unreachable, time is running out, or the data did not stop changing
                (code `MUTATION_PERSISTS`).
        """
        for restarts in range(MAX_RESTARTS + 1):
            try:
                return self._pull_once(begin(), access_token, cursor, days_requested, deadline, restarts)
            except PlaidError as error:
                if error.failure_class is not FailureClass.RESTART:
                    raise
            if restarts < MAX_RESTARTS:
                self.clock.sleep(_FIRST_PAUSE_SECONDS * 2**restarts)
        raise TransientError(MUTATION_PERSISTS)

    def _pull_once(  # noqa: PLR0913, PLR0917 - as above
        self,
        net: _F,
        access_token: str,
        cursor: Cursor | None,
        days_requested: int | None,
        deadline: Deadline,
        restarts: int,
    ) -> Pull[_F]:
        began_at, pages = self.clock.now(), 0
        request_ids: list[str] = []
        accounts: tuple[Account, ...] = ()
        while True:
            page = self._page(access_token, cursor, days_requested, deadline)
            net.fold(page)
            pages += 1
            request_ids += [page.request_id] if page.request_id else []
            accounts = merge_accounts(accounts, page.accounts)
            if page.has_more and page.next_cursor == cursor:
                raise TransientError("cursor_not_advancing")
            if page.next_cursor is None and pages > 1:
                # "Not ready" after a first page would drop what that page held.
                raise TransientError("missing_next_cursor")
            cursor = page.next_cursor
            if not page.has_more:
                break
        return Pull(net, cursor, page.update_status, began_at, pages, restarts, tuple(request_ids), accounts)

    def _page(self, access_token: str, cursor: Cursor | None, days_requested: int | None, deadline: Deadline) -> Page:
        return self.within_limits(lambda: self.plaid.sync_page(access_token, cursor, days_requested), deadline)

    def within_limits(self, call: Callable[[], _T], deadline: Deadline) -> _T:
        """Call Plaid; while Plaid throttles, wait for the next minute inside the invocation.

        Returned to the queue, the message would use up its receives, and a good message would be dead-lettered.
        """
        for wait in _THROTTLE_PAUSES:
            deadline.require(_PAGE_SECONDS)
            try:
                return call()
            except PlaidError as error:
                if error.failure_class is not FailureClass.THROTTLED or not deadline.allows(wait + _PAGE_SECONDS):
                    raise
            self.clock.sleep(wait * self.jitter())
        deadline.require(_PAGE_SECONDS)
        return call()
