"""Cursors that are dead at Plaid, and histories that are never complete: healed by a bounded number of full pulls."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from plaid_sync.domain.errors import MUTATION_CODE, SCHEMA_VIOLATION, OutcomeUnknownError, PlaidError
from plaid_sync.domain.item import Cursor, Item, ItemId
from plaid_sync.sync.job import Outcome, SyncJob, SyncReport
from plaid_sync.sync.planner import MIN_RESET_INTERVAL

from tests.fakes.clock import PLENTY
from tests.fakes.items import new_item
from tests.fakes.plaid import FakePlaid, page, transaction
from tests.fakes.tables import Tables

if TYPE_CHECKING:
    from collections.abc import Callable

    from plaid_sync.pull.pages import Page

ITEM = ItemId("item")
HOUR = timedelta(hours=1)
UNKNOWN = "TRANSACTIONS_UPDATE_STATUS_UNKNOWN"


def refuse(code: str) -> Callable[[], Page]:
    def refused() -> Page:
        raise PlaidError(code)

    return refused


def _violating() -> Page:
    raise OutcomeUnknownError(f"{SCHEMA_VIOLATION}next_cursor")


@dataclass(slots=True)
class Plaid(FakePlaid):
    """Plaid with one transaction, whose history works from the beginning.

    Attributes:
        dead: what a call with a stored cursor leads to; None: nothing has changed.
        status: of the history; None: the response has none.
        full_pulls: how often the history was pulled from the beginning.
    """

    dead: Callable[[], Page] | None = None
    status: str | None = "HISTORICAL_UPDATE_COMPLETE"
    full_pulls: int = 0

    def sync_page(self, access_token: str, cursor: Cursor | None, days_requested: int | None) -> Page:  # noqa: ARG002 - the port's
        if cursor is not None and self.dead is not None:
            return self.dead()
        self._call("sync")
        self.full_pulls += cursor is None
        rows = [transaction("t")] if cursor is None else []
        return page(next_cursor="next", added=rows, transactions_update_status=self.status)


@dataclass(slots=True)
class Scene:
    """An Item with a stored cursor, `t`, and a row that Plaid does not have any more."""

    plaid: Plaid
    tables: Tables = field(default_factory=lambda: Tables.of(new_item(ITEM)))
    reports: list[SyncReport] = field(default_factory=list)

    def __post_init__(self) -> None:
        first = Pages(added=[transaction("t"), transaction("phantom")])
        self.tables.engine(first).sync(self._job())
        self.tables.history.by_key.clear()
        self.plaid.clock = self.tables.clock

    def _job(self) -> SyncJob:
        return SyncJob(ITEM, self.tables.clock.now() + HOUR, PLENTY, causes=("webhook",))  # never covered

    def sync(self, after: timedelta = timedelta(0)) -> SyncReport:
        self.tables.clock.sleep(after.total_seconds())
        self.reports.append(self.tables.engine(self.plaid).sync(self._job()))
        return self.reports[-1]

    @property
    def item(self) -> Item:
        return self.tables.items.stored[ITEM]

    @property
    def live(self) -> set[str]:
        return set(map(str, self.tables.transactions.live(ITEM)))


@dataclass(slots=True)
class Pages(FakePlaid):
    """Plaid with one page."""

    added: list[Any] = field(default_factory=list)

    def sync_page(self, access_token: str, cursor: Cursor | None, days_requested: int | None) -> Page:  # noqa: ARG002 - the port's
        return page(added=self.added, next_cursor="old")


# ---- dead cursors

DEAD: dict[str, tuple[Callable[[], Page], int]] = {
    "refused": (refuse("INVALID_FIELD"), 1),
    "an empty next cursor": (lambda: page(next_cursor=""), 1),
    "the same cursor with more pages": (lambda: page(next_cursor="old", has_more=True), 1),
    "an unknown code": (refuse("INVALID_CURSOR"), 2),
    "a mutation that persists": (refuse(MUTATION_CODE), 2),
    "entries without a cursor": (_violating, 2),
}
"""Each way in which a stored cursor is dead, and after how many attempts it counts as dead."""


@pytest.mark.parametrize("way", DEAD)
def test_a_cursor_that_is_dead_in_any_way_leads_to_one_pull_from_the_beginning(way: str) -> None:
    dead, attempts = DEAD[way]
    scene = Scene(Plaid(dead=dead))
    reports = [scene.sync(HOUR / 12) for _ in range(attempts)]
    assert [report.outcome for report in reports] == [Outcome.FAILED] * (attempts - 1) + [Outcome.COMMITTED]
    report = reports[-1]
    assert (report.cursor_reset, report.cursor_reset_again, report.full_resync) == (True, False, True)
    # Where the code may say something else, Plaid has to serve the first page before the cursor is reset.
    assert (scene.plaid.full_pulls, scene.live, scene.item.failure) == (attempts, {"t"}, None)
    assert (scene.item.cursor, scene.item.reconcile) == ("next", False)
    scene.plaid.dead = None
    assert not scene.sync().full_resync


def test_an_outage_with_an_unknown_code_resets_no_cursor() -> None:
    scene = Scene(Plaid(refusals={"sync": "A_CODE_OF_NEXT_YEAR"}))
    scene.plaid.dead = refuse("A_CODE_OF_NEXT_YEAR")
    assert {scene.sync(HOUR / 12).outcome for _ in range(9)} == {Outcome.FAILED}
    assert (scene.item.cursor, scene.item.reconcile, scene.item.cursor_reset_at) == ("old", False, None)


@pytest.mark.parametrize("code", ["INVALID_API_KEYS", "INTERNAL_SERVER_ERROR", "INSTITUTION_DOWN", "RATE_LIMIT"])
def test_a_failure_that_says_nothing_about_the_cursor_never_replaces_it(code: str) -> None:
    scene = Scene(Plaid(dead=refuse(code)))
    assert {scene.sync(HOUR / 12).outcome for _ in range(9)} == {Outcome.FAILED}
    assert (scene.plaid.full_pulls, scene.item.cursor) == (0, "old")


def test_cursor_resets_are_limited_to_one_per_hour_and_a_repeated_one_is_reported() -> None:
    scene = Scene(Plaid(dead=refuse("INVALID_FIELD")))
    for _ in range(60):
        scene.sync(timedelta(minutes=3))
    resets = [report for report in scene.reports if report.cursor_reset]
    assert len(resets) <= timedelta(hours=3) / MIN_RESET_INTERVAL
    assert [report.cursor_reset_again for report in resets] == [False] + [True] * (len(resets) - 1)
    assert scene.plaid.full_pulls == len(resets)
    failed = {report.code for report in scene.reports if report.outcome is Outcome.FAILED}
    assert failed == {"INVALID_FIELD"}
    assert not scene.sync(timedelta(days=2)).cursor_reset_again


def test_a_full_pull_that_fails_as_the_cursor_does_is_a_failure() -> None:
    scene = Scene(Refusing())
    assert [scene.sync(HOUR / 12).code for _ in range(3)] == ["INVALID_FIELD"] * 3
    assert scene.live == {"t", "phantom"}


@dataclass(slots=True)
class Refusing(Plaid):
    """Plaid that refuses every page."""

    def sync_page(self, access_token: str, cursor: Cursor | None, days_requested: int | None) -> Page:  # noqa: ARG002 - the port's
        raise PlaidError("INVALID_FIELD")


# ---- histories that are not complete


def test_an_item_with_a_cursor_that_is_not_ready_keeps_its_rows_and_is_reconciled_when_it_is() -> None:
    scene = Scene(Plaid(dead=lambda: page(next_cursor="", transactions_update_status="NOT_READY")))
    scene.tables.items.set(ITEM, linked_at=scene.tables.clock.now() - timedelta(days=90))
    report = scene.sync()
    assert (report.outcome, scene.item.reconcile, scene.item.cursor) == (Outcome.NOT_READY, True, "old")
    assert scene.live == {"t", "phantom"}
    assert scene.item.next_attempt_at is not None
    assert scene.item.next_attempt_at - scene.tables.clock.now() <= HOUR
    scene.plaid.dead = None
    assert scene.sync().full_resync
    assert (scene.live, scene.plaid.full_pulls) == ({"t"}, 1)


@pytest.mark.parametrize(
    ("status", "pulls"),
    [(UNKNOWN, 2), (None, 2), ("", 2), ("A_STATUS_OF_NEXT_YEAR", 2), ("INITIAL_UPDATE_COMPLETE", 4)],
)
def test_a_history_that_is_never_complete_leads_to_a_few_full_pulls_and_then_to_a_decision(
    status: str | None, pulls: int
) -> None:
    scene = Scene(Plaid(status=status))
    scene.tables.items.set(ITEM, reconcile=True, history_complete=False)
    for _ in range(30 * 24):  # a trigger each hour for a month
        scene.sync(HOUR)
    assert scene.plaid.full_pulls == pulls
    decided = [number for number, report in enumerate(scene.reports) if report.reconcile_decided]
    assert len(decided) == 1
    assert decided[0] <= 24
    assert (scene.live, scene.item.reconcile) == ({"t"}, False)


def test_the_schedule_alone_brings_a_pending_resync_to_its_end() -> None:
    scene = Scene(Plaid(status=UNKNOWN))
    scene.tables.items.set(ITEM, reconcile=True, history_complete=False)
    scene.sync()
    assert (scene.live, scene.item.inconclusive_pulls) == ({"t", "phantom"}, 1)
    assert scene.item.next_attempt_at is not None
    scene.sync(scene.item.next_attempt_at - scene.tables.clock.now())
    assert scene.live == {"t"}


@pytest.mark.parametrize(("status", "conclusive"), [(UNKNOWN, True), (None, True), ("INITIAL_UPDATE_COMPLETE", False)])
def test_a_history_that_was_complete_once_is_taken_to_be_complete_unless_plaid_denies_it(
    status: str | None, *, conclusive: bool
) -> None:
    scene = Scene(Plaid(status=status, dead=refuse("INVALID_FIELD")))
    assert scene.item.history_complete
    report = scene.sync()
    assert (report.full_resync, report.reconcile_decided) == (True, False)
    assert (scene.live == {"t"}, scene.item.reconcile) == (conclusive, not conclusive)
    scene.plaid.dead = None
    for _ in range(5):
        scene.sync()
    assert scene.plaid.full_pulls == 1  # the next one is an hour later
