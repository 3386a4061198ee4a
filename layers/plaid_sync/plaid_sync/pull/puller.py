"""Pulling one update from Plaid: complete, or in parts where it has many pages.

The caller chooses what the pages are folded into: the sync's changes, or the audit's comparison.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from plaid_sync.config import KEEP
from plaid_sync.domain.accounts import merge_accounts
from plaid_sync.domain.errors import (
    CURSOR_NOT_ADVANCING,
    MISSING_NEXT_CURSOR,
    CallBudgetError,
    FailureClass,
    PlaidError,
    TransientError,
)
from plaid_sync.domain.item import HISTORY_COMPLETE
from plaid_sync.pull.pages import NetChanges

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from plaid_sync.config import PullSettings
    from plaid_sync.domain.accounts import Account
    from plaid_sync.domain.clock import Clock, Deadline
    from plaid_sync.domain.item import Cursor
    from plaid_sync.pull.pages import Page

MAX_RESTARTS: Final = 5
MUTATION_PERSISTS: Final = "mutation_persists"
_FIRST_PAUSE_SECONDS: Final = 0.5
_THROTTLE_PAUSES: Final = (4.0, 12.0, 24.0, 30.0)
"""Seconds; Plaid counts calls by the minute."""
_SLICE_WAIT: Final = 1.25
"""Times the seconds to the next slice of the call budget, so that none of the spread waits ends before it."""
PAGE_SECONDS: Final = 85.0
"""A page that hangs takes 70, and then the function has to respond."""


@dataclass(frozen=True, slots=True)
class PullOptions:
    """What decides which rows there are, and what a row has: the same for all Items of a stack.

    Attributes:
        original_description: whether rows have the bank's own description.
        category_version: of `personal_finance_category`: `v1` or `v2`; empty for Plaid's default.
        keeps_gone_rows: whether the rows of accounts that are gone stay live.
    """

    original_description: bool = False
    category_version: str = ""
    keeps_gone_rows: bool = False

    @classmethod
    def of(cls, settings: PullSettings) -> PullOptions:
        """Return the options that the environment of a function has."""
        return cls(
            settings.include_original_description == "true",
            settings.personal_finance_category_version,
            keeps_gone_rows=settings.gone_account_rows == KEEP,
        )

    @property
    def name(self) -> str:
        """A name to store and compare; empty for the defaults."""
        description = "original_description" if self.original_description else ""
        gone = "gone_rows_kept" if self.keeps_gone_rows else ""
        return " ".join(filter(None, (description, self.category_version, gone)))


DEFAULT_OPTIONS: Final = PullOptions()


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
    """A pull: everything between two of Plaid's final cursors, or a part of it.

    Attributes:
        net: what its pages were folded into.
        cursor: where the next update, or the next part, starts; None while Plaid has nothing ready.
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
    has_more: bool = False

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
        return self.restarting(
            lambda restarts: self.pull_once(begin(), access_token, cursor, days_requested, deadline, restarts)
        )

    def restarting(self, pull: Callable[[int], _T]) -> _T:
        """Call `pull` with 0, and again with the number of restarts while the data changes during the pagination.

        Raises:
            TransientError: it did not stop changing (code `MUTATION_PERSISTS`).
        """
        for restarts in range(MAX_RESTARTS + 1):
            try:
                return pull(restarts)
            except PlaidError as error:
                if error.failure_class is not FailureClass.RESTART:
                    raise
            if restarts < MAX_RESTARTS:
                self.clock.sleep(_FIRST_PAUSE_SECONDS * 2**restarts)
        raise TransientError(MUTATION_PERSISTS)

    def pull_once(  # noqa: PLR0913, PLR0917 - as above
        self,
        net: _F,
        access_token: str,
        cursor: Cursor | None,
        days_requested: int | None,
        deadline: Deadline,
        restarts: int = 0,
        ends: Callable[[], bool] = lambda: False,
    ) -> Pull[_F]:
        """Pull from `cursor` to the end, or up to the page after which `ends` returns true.

        Raises:
            PlaidError: Plaid refused; a failure of class `RESTART`: the data changed.
            TransientError: Plaid is unreachable, or time is running out.
        """
        began_at, pages = self.clock.now(), 0
        request_ids: list[str] = []
        accounts: tuple[Account, ...] = ()
        while True:
            page = self._page(access_token, cursor, days_requested, deadline, patient=pages > 0)
            if page.has_more and page.next_cursor == cursor:
                raise TransientError(CURSOR_NOT_ADVANCING)
            if page.next_cursor is None and pages > 0:
                # "Not ready" after a first page would drop what that page held.
                raise TransientError(MISSING_NEXT_CURSOR)
            net.fold(page)
            pages += 1
            request_ids += [page.request_id] if page.request_id else []
            served_at = self.clock.now()
            accounts = merge_accounts(accounts, (replace(account, as_of=served_at) for account in page.accounts))
            cursor = page.next_cursor
            if not page.has_more or ends():
                break
        return Pull(
            net, cursor, page.update_status, began_at, pages, restarts, tuple(request_ids), accounts, page.has_more
        )

    def _page(
        self, access_token: str, cursor: Cursor | None, days_requested: int | None, deadline: Deadline, *, patient: bool
    ) -> Page:
        def call() -> Page:
            return self.plaid.sync_page(access_token, cursor, days_requested)

        return self.within_limits(call, deadline, patient=patient)

    def within_limits(self, call: Callable[[], _T], deadline: Deadline, *, patient: bool = False) -> _T:
        """Call Plaid; while Plaid throttles, wait for the next minute inside the invocation.

        The pages of a pull that were fetched before would be fetched again after a retry. Where the call budget is used
        up, only they (`patient`), and a class of calls that waits, wait for the next slice.
        """
        for pause in _THROTTLE_PAUSES:
            deadline.require(PAGE_SECONDS)
            wait = pause
            try:
                return call()
            except PlaidError as error:
                if error.failure_class is not FailureClass.THROTTLED or not deadline.allows(wait + PAGE_SECONDS):
                    raise
            except CallBudgetError as error:
                wait = error.retry_after * _SLICE_WAIT
                if not (patient or error.waits) or not deadline.allows(wait + PAGE_SECONDS):
                    raise
            self.clock.sleep(wait * self.jitter())
        deadline.require(PAGE_SECONDS)
        return call()
