"""Pulling one complete update from Plaid, before anything of it is written.

What its pages are folded into is the caller's: the sync's changes, or the audit's comparison.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from plaid_sync.core.error_codes import FailureClass
from plaid_sync.core.failures import PlaidError, RetryableError
from plaid_sync.core.sync.accounts import merged
from plaid_sync.core.sync.pages import HISTORY_COMPLETE, NetChanges

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from plaid_sync.core.items import Account, Cursor
    from plaid_sync.core.sync.pages import Page
    from plaid_sync.ports.common import Clock
    from plaid_sync.ports.sync import PlaidTransactions


class PageFold(Protocol):
    """What the pages of a pull are folded into, one after the other."""

    def fold(self, page: Page) -> None:
        """Take the next page."""
        ...


_T = TypeVar("_T")
_F = TypeVar("_F", bound=PageFold)

MAXIMUM_RESTARTS: Final = 5
MUTATION_PERSISTS: Final = "mutation_persists"
OUT_OF_TIME: Final = "out_of_time"
_FIRST_PAUSE_SECONDS: Final = 0.5
_THROTTLE_PAUSES: Final = (4.0, 12.0, 24.0, 30.0)
"""Seconds; Plaid counts calls by the minute."""
_SECONDS_FOR_A_PAGE: Final = 85.0
"""A page that hangs takes 70, and then there is an answer to give."""


@dataclass(frozen=True, slots=True)
class Pull(Generic[_F]):
    """A complete pull: everything between two of Plaid's final cursors.

    Attributes:
        net: what its pages were folded into.
        cursor: where the next update starts; None while Plaid has nothing ready.
        update_status: Plaid's `transactions_update_status` on the last page.
        began_at: before the first page was asked for: what happened at Plaid earlier is in it.
        pages: number of pages.
        restarts: how often the data changed under the pagination.
        request_ids: Plaid's ids of the calls.
        accounts: the accounts that Plaid told of.
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
        pause: waits so many seconds.
        jitter: returns a factor around 1 that spreads the waits of workers.
    """

    plaid: PlaidTransactions
    clock: Clock
    pause: Callable[[float], None]
    jitter: Callable[[], float] = lambda: 1.0

    def pull(
        self,
        access_token: str,
        cursor: Cursor | None,
        days_requested: int | None,
        time_left: Callable[[], float],
    ) -> Update:
        """Pull the changes from `cursor` to the end: see `pull_into`."""
        return self.pull_into(NetChanges, access_token, cursor, days_requested, time_left)

    def pull_into(
        self,
        begin: Callable[[], _F],
        access_token: str,
        cursor: Cursor | None,
        days_requested: int | None,
        time_left: Callable[[], float],
    ) -> Pull[_F]:
        """Pull from `cursor` to the end, starting again from `cursor` when the data change underneath.

        `begin` makes what the pages are folded into, anew for each start. `time_left` tells the seconds until the
        worker is killed. Plaid asks to restart the whole loop, not the page (https://plaid.com/docs/errors/transactions/).

        Raises:
            PlaidError: Plaid refused.
            RetryableError: Plaid can't be reached, time is running out, or the data did not stop changing
                (code `MUTATION_PERSISTS`).
        """
        for restarts in range(MAXIMUM_RESTARTS + 1):
            try:
                return self._pull_once(begin(), access_token, cursor, days_requested, time_left, restarts)
            except PlaidError as error:
                if error.failure_class is not FailureClass.RESTART:
                    raise
            if restarts < MAXIMUM_RESTARTS:
                self.pause(_FIRST_PAUSE_SECONDS * 2**restarts)
        raise RetryableError(MUTATION_PERSISTS)

    def _pull_once(  # noqa: PLR0913, PLR0917 - as above
        self,
        net: _F,
        access_token: str,
        cursor: Cursor | None,
        days_requested: int | None,
        time_left: Callable[[], float],
        restarts: int,
    ) -> Pull[_F]:
        began_at, pages = self.clock(), 0
        request_ids: list[str] = []
        accounts: tuple[Account, ...] = ()
        while True:
            page = self._page(access_token, cursor, days_requested, time_left)
            net.fold(page)
            pages += 1
            request_ids += [page.request_id] if page.request_id else []
            accounts = merged(accounts, page.accounts)
            if page.has_more and page.next_cursor == cursor:
                raise RetryableError("cursor_does_not_advance")
            if page.next_cursor is None and pages > 1:
                # "Not ready" after a first page would drop what that page held.
                raise RetryableError("plaid_lost_the_cursor")
            cursor = page.next_cursor
            if not page.has_more:
                break
        return Pull(net, cursor, page.update_status, began_at, pages, restarts, tuple(request_ids), accounts)

    def _page(
        self, access_token: str, cursor: Cursor | None, days_requested: int | None, time_left: Callable[[], float]
    ) -> Page:
        return self.within_limits(lambda: self.plaid.sync_page(access_token, cursor, days_requested), time_left)

    def within_limits(self, call: Callable[[], _T], time_left: Callable[[], float]) -> _T:
        """Make a call to Plaid; while it says that there were too many in this minute, wait for the next one here.

        Given back, the message would use up its receives, and good ones end in the dead-letter queue.
        """
        for wait in _THROTTLE_PAUSES:
            require_time(time_left, _SECONDS_FOR_A_PAGE)
            try:
                return call()
            except PlaidError as error:
                if error.failure_class is not FailureClass.THROTTLED or time_left() < wait + _SECONDS_FOR_A_PAGE:
                    raise
            self.pause(wait * self.jitter())
        require_time(time_left, _SECONDS_FOR_A_PAGE)
        return call()


def require_time(time_left: Callable[[], float], seconds: float) -> None:
    """Stop while there is still time to stop in order.

    Raises:
        RetryableError: the worker would probably be killed in the midst of the next step.
    """
    if time_left() < seconds:
        raise RetryableError(OUT_OF_TIME)
