"""A long history: how many pages it takes when workers die. The engine, with tables in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from plaid_sync.domain.item import AccountList, Cursor, ItemHealth, ItemId
from plaid_sync.sync.heartbeat import VISIBILITY_SECONDS
from plaid_sync.sync.job import Outcome, SyncJob

from tests.fakes.items import new_item
from tests.fakes.plaid import page, transaction
from tests.fakes.tables import Tables

if TYPE_CHECKING:
    from datetime import timedelta

    from plaid_sync.domain.item import RemovalReason
    from plaid_sync.pull.pages import Page

    from tests.fakes.clock import FakeClock

ITEM: Final = ItemId("item")
PAGE_SIZE: Final = 500
PAGE_SECONDS: Final = 2.0
INVOCATION_SECONDS: Final = 300.0


class KilledError(BaseException):
    pass


@dataclass(slots=True)
class LongHistory:
    """Plaid, with so many pages; implements the ports of a sync.

    Attributes:
        kills: the numbers of the pages at whose request the worker dies, counted over all invocations.
    """

    clock: FakeClock
    pages: int
    kills: set[int]
    requested: int = 0
    transactions: dict[int, list[str]] = field(default_factory=dict)

    def sync_page(self, access_token: str, cursor: Cursor | None, days_requested: int | None) -> Page:  # noqa: ARG002 - the port's
        self.clock.sleep(PAGE_SECONDS)
        self.requested += 1
        if self.requested in self.kills:
            raise KilledError
        number = int(cursor or 0) + 1
        added = [transaction(f"t{number}-{position}") for position in range(PAGE_SIZE)]
        return page(added=added, next_cursor=str(number), has_more=number < self.pages)

    def health(self, access_token: str, seconds: float = 0.0) -> ItemHealth:  # noqa: ARG002 - the port's
        return ItemHealth()

    def accounts(self, access_token: str) -> AccountList:
        raise AssertionError(access_token)

    def remove(self, access_token: str, reason: RemovalReason | None = None) -> None:
        raise AssertionError(access_token, reason)


@dataclass(frozen=True, slots=True)
class LongPull:
    """What a pull of a long history took.

    Attributes:
        pages: how many were requested, for each page that there is.
    """

    invocations: int
    pages: float
    elapsed: timedelta
    rows: int


def pull_long_history(pages: int, kills: set[int]) -> LongPull:
    """Sync an Item until all of its history is committed."""
    tables = Tables.of(new_item(ITEM))
    plaid = LongHistory(tables.clock, pages, kills)
    engine, began, invocations, outcome = tables.engine(plaid), tables.clock.now(), 0, Outcome.CONTINUES
    while outcome is Outcome.CONTINUES:
        invocations += 1
        deadline = tables.clock.deadline(INVOCATION_SECONDS)
        try:
            outcome = engine.sync(SyncJob(ITEM, tables.clock.now(), deadline, causes=("linked",))).outcome
        except KilledError:
            tables.clock.sleep(VISIBILITY_SECONDS)
        else:
            tables.clock.sleep(60)  # the next run of the sweep
    assert outcome is Outcome.COMMITTED, (outcome, tables.items.stored[ITEM].failure)
    rows = len(tables.transactions.live(ITEM))
    return LongPull(invocations, plaid.requested / pages, tables.clock.now() - began, rows)
