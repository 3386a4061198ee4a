"""The scheduled refresh: once in its interval, after a routine attempt, and never a failure of the sync."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from plaid_sync.domain.budget import CallClass
from plaid_sync.domain.errors import CallBudgetError, OutcomeUnknownError, PlaidError, TransientError
from plaid_sync.domain.item import Cursor, Expiry, ItemHealth, ItemId, ItemState, StateName
from plaid_sync.sync.job import Outcome, SyncJob, SyncReport
from plaid_sync.sync.refresh import SCHEDULED_REFRESH, ScheduledRefresh

from tests.fakes.clock import NOON, PLENTY
from tests.fakes.failing import Failing, KilledError
from tests.fakes.items import new_item
from tests.fakes.plaid import FakePlaid, page, transaction
from tests.fakes.tables import Tables

if TYPE_CHECKING:
    from plaid_sync.pull.pages import Page

ITEM = ItemId("item")
DAY = timedelta(days=1)
LINKED = new_item(ITEM, linked_at=NOON - 30 * DAY, cursor=Cursor("c"), history_complete=True)


@dataclass(slots=True)
class Plaid(FakePlaid):
    """Plaid, which reached the bank at some time.

    Attributes:
        reached_at: when.
        added: how many transactions are new.
        error: what a refresh raises.
        error_code: what is wrong with the Item.
        refreshed: when there was a refresh.
    """

    reached_at: datetime | None = NOON - 2 * DAY
    added: int = 0
    error: BaseException | None = None
    error_code: str | None = None
    refreshed: list[datetime] = field(default_factory=list)
    looks: int = 0

    def sync_page(self, access_token: str, cursor: Cursor | None, days_requested: int | None) -> Page:  # noqa: ARG002 - the port's
        return page(added=[transaction(str(number)) for number in range(self.added)])

    def health(self, access_token: str, seconds: float = 15.0) -> ItemHealth:  # noqa: ARG002 - the port's
        self.looks += 1
        return ItemHealth(error_code=self.error_code, last_success_at=self.reached_at)

    def refresh(self, access_token: str) -> str:
        assert access_token == f"access-{ITEM}"
        if self.error is not None:
            raise self.error
        self.refreshed.append(self.clock.now())
        return "request"


@dataclass(slots=True)
class Scene:
    """An Item, and Plaid."""

    tables: Tables = field(default_factory=lambda: Tables.of(LINKED))
    plaid: Any = field(default_factory=Plaid)

    def __post_init__(self) -> None:
        self.plaid.clock = self.tables.clock

    def sync(self, call_class: CallClass = CallClass.ROUTINE) -> SyncReport:
        tables, clock = self.tables, self.tables.clock
        refresh = ScheduledRefresh(tables.items, self.plaid, tables.tokens, tables.history, clock, DAY)
        engine = replace(tables.engine(self.plaid), refresh=refresh)
        return engine.sync(SyncJob(ITEM, clock.now(), PLENTY, causes=("sweep",), call_class=call_class))

    @property
    def recorded(self) -> list[tuple[str, Any]]:
        entries = (entry for entry in self.tables.entries if entry.details.get("request") == SCHEDULED_REFRESH)
        return [(entry.outcome, entry.details["code"]) for entry in entries]


def test_an_item_whose_bank_plaid_has_not_reached_for_the_interval_is_refreshed_once_in_it() -> None:
    scene = Scene()
    reports = []
    for _ in range(9):
        reports.append(scene.sync().refresh)
        scene.tables.clock.time += DAY / 4
    assert scene.plaid.refreshed == [NOON, NOON + DAY, NOON + 2 * DAY]
    assert reports == ["requested", "", "", "", "requested", "", "", "", "requested"]
    assert scene.recorded == [("requested", None)] * 3


def test_a_bank_that_plaid_has_reached_is_left_alone() -> None:
    scene = Scene(plaid=Plaid(reached_at=NOON - DAY + timedelta(minutes=1)))
    assert scene.sync().outcome is Outcome.COMMITTED
    assert (scene.plaid.looks, scene.plaid.refreshed) == (1, [])


def test_without_a_report_of_plaid_nothing_is_billed() -> None:
    scene = Scene(plaid=Plaid(reached_at=None))
    scene.sync()
    assert scene.plaid.refreshed == []


@pytest.mark.parametrize("call_class", [CallClass.WEBHOOK, CallClass.RETRY])
def test_only_a_routine_attempt_looks(call_class: CallClass) -> None:
    scene = Scene()
    scene.sync(call_class)
    assert scene.plaid.looks == 0


def test_new_transactions_show_that_plaid_reached_the_bank() -> None:
    scene = Scene(plaid=Plaid(added=1))
    scene.sync()
    assert scene.plaid.looks == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"linked_at": NOON - DAY / 2},
        {"state": ItemState(StateName.EXPIRING, "PENDING_EXPIRATION", NOON, Expiry("PENDING_EXPIRATION", NOON + DAY))},
    ],
    ids=["just linked", "expiring"],
)
def test_an_item_that_is_new_or_not_active_is_not_refreshed(fields: dict[str, Any]) -> None:
    scene = Scene(Tables.of(replace(LINKED, **fields)), Plaid())
    report = scene.sync()
    assert (report.outcome, report.refresh, scene.plaid.refreshed) == (Outcome.COMMITTED, "", [])


def test_an_item_of_which_plaid_reports_an_error_is_not_refreshed() -> None:
    scene = Scene(plaid=Plaid(error_code="ITEM_LOGIN_REQUIRED"))
    assert (scene.sync().refresh, scene.plaid.refreshed) == ("", [])


def test_a_refresh_is_counted_also_where_its_entry_cannot_be_written() -> None:
    scene = Scene()
    failing: Any = Failing(scene.tables.history, "add", TransientError("unreachable"))
    scene.tables.history = failing
    assert (scene.sync().refresh, scene.plaid.refreshed) == ("requested", [NOON])


def test_a_withdrawn_refresh_leaves_the_one_before() -> None:
    scene = Scene()
    assert scene.sync().refresh == "requested"
    items, hour = scene.tables.items, NOON + timedelta(hours=1)
    loaded = items.load(ITEM)
    assert loaded is not None
    assert items.start_refresh(ITEM, hour, timedelta(seconds=30)) is None
    items.withdraw_refresh(loaded, hour)
    scene.tables.clock.sleep(13 * 3600)
    assert scene.sync().refresh == ""


@pytest.mark.parametrize(
    ("error", "recorded"),
    [
        (PlaidError("PRODUCT_NOT_ENABLED"), ("refused", "PRODUCT_NOT_ENABLED")),
        (PlaidError("INVALID_PRODUCT"), ("refused", "INVALID_PRODUCT")),
        (OutcomeUnknownError("plaid_unreachable"), ("failed", "plaid_unreachable")),
    ],
)
def test_a_refused_refresh_is_recorded_is_no_failure_and_is_not_repeated_before_the_interval_is_over(
    error: Exception, recorded: tuple[str, str]
) -> None:
    scene = Scene(plaid=Plaid(error=error))
    for _ in range(3):
        assert scene.sync().outcome is Outcome.COMMITTED
        scene.tables.clock.time += DAY / 4
    item = scene.tables.items.load(ITEM)
    assert item is not None
    assert (item.state.name, item.failure) == (StateName.ACTIVE, None)
    assert scene.recorded == [recorded]


def test_a_worker_that_dies_at_the_call_does_not_repeat_it() -> None:
    scene = Scene(plaid=Plaid(error=KilledError()))
    with pytest.raises(KilledError):
        scene.sync()
    scene.plaid.error = None
    scene.sync()
    assert scene.plaid.refreshed == []


def test_a_refresh_that_the_call_budget_refuses_is_tried_with_the_next_attempt() -> None:
    scene = Scene(plaid=Plaid(error=CallBudgetError("/transactions/refresh", 3.0, waits=False)))
    assert scene.sync().outcome is Outcome.COMMITTED
    scene.plaid.error = None
    scene.sync()
    assert scene.plaid.refreshed == [NOON]
    assert scene.recorded == [("requested", None)]


@pytest.mark.parametrize("name", ["start_refresh", "withdraw_refresh"])
def test_where_its_time_cannot_be_recorded_the_sync_is_committed_all_the_same(name: str) -> None:
    scene = Scene(plaid=Plaid(error=CallBudgetError("/transactions/refresh", 3.0, waits=False)))
    failing: Any = Failing(scene.tables.items, name, TransientError("unreachable"))
    scene.tables.items = failing
    assert scene.sync().outcome is Outcome.COMMITTED
    assert scene.plaid.refreshed == []
