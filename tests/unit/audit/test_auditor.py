"""Audits of Items: which are audited, when differences count, and the sample."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from plaid_sync.audit.auditor import MAX_ATTEMPTS, Auditor, Sampler, draw
from plaid_sync.audit.report import CONCLUSIVE, INCONCLUSIVE, AuditOutcome
from plaid_sync.domain.item import Cursor, ItemId, ItemState, StateName
from plaid_sync.pull.puller import Puller

from tests.fakes.clock import PLENTY, FakeClock
from tests.fakes.items import ACTIVE, new_item
from tests.fakes.plaid import FakePlaid, page, transaction
from tests.fakes.tables import Tables
from tests.unit.audit.test_compare import Rows, stored

if TYPE_CHECKING:
    from collections.abc import Callable

    from plaid_sync.audit.report import AuditReport
    from plaid_sync.pull.pages import Page

ITEM = ItemId("item")


@dataclass(slots=True)
class Plaid(FakePlaid):
    """Plaid with one transaction.

    Attributes:
        later: transactions that came after the stored cursor.
        at_a_pull: runs at each pull from the beginning: a concurrent sync.
    """

    later: tuple[str, ...] = ()
    at_a_pull: Callable[[], None] = lambda: None

    def sync_page(self, access_token: str, cursor: Cursor | None, days_requested: int | None) -> Page:  # noqa: ARG002 - the port's
        self._call("sync")
        if cursor is None:
            self.at_a_pull()
        return page(added=[transaction(key) for key in (("t",) if cursor is None else self.later)])


@dataclass(slots=True)
class StoredRows(Rows):
    """A table that holds the transaction, or not."""

    listed: tuple[str, ...] = ("t",)


EMPTY = StoredRows(lambda _: None)


@dataclass(slots=True)
class Scene:
    """An Item, its rows and Plaid."""

    state: ItemState = ACTIVE
    rows: StoredRows = field(default_factory=lambda: StoredRows(stored))
    plaid: Plaid = field(default_factory=Plaid)
    clock: FakeClock = field(default_factory=FakeClock)
    tables: Tables = field(init=False)

    def __post_init__(self) -> None:
        self.tables = Tables.of(new_item(ITEM, self.state, cursor=Cursor("c"), generation=5))

    @property
    def auditor(self) -> Auditor:
        return Auditor(self.tables.items, self.rows, self.tables.tokens, Puller(self.plaid, self.clock))

    def audit(self) -> AuditReport:
        return self.auditor.audit(ITEM, PLENTY)


def test_equal_rows_are_clean_and_a_missing_row_is_drift() -> None:
    assert Scene().audit().outcome is AuditOutcome.CLEAN
    report = Scene(rows=EMPTY).audit()
    assert (report.outcome, report.missing, report.drift, report.attempts) == (AuditOutcome.DRIFTED, 1, 1, 1)


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        (StateName.NEEDS_USER, AuditOutcome.NEEDS_USER),
        (StateName.REVOKED, AuditOutcome.REVOKED),
        (StateName.REMOVED, AuditOutcome.REMOVED),
        ("frozen", AuditOutcome.UNKNOWN_STATE),
    ],
)
def test_an_item_that_plaid_does_not_serve_or_in_an_unknown_state_is_not_audited(
    name: str, outcome: AuditOutcome
) -> None:
    scene = Scene(ItemState(name))
    report = scene.audit()
    assert (report.outcome, report.code) == (outcome, "frozen" if name == "frozen" else "")
    assert scene.plaid.calls == {}
    assert (outcome in INCONCLUSIVE) == (name == "frozen")
    assert outcome not in CONCLUSIVE


def test_an_item_that_does_not_exist_or_was_never_synced_is_not_audited() -> None:
    scene = Scene()
    assert scene.auditor.audit(ItemId("unknown"), PLENTY).outcome is AuditOutcome.UNREGISTERED
    scene.tables.items.set(ITEM, cursor=None)
    assert scene.audit().outcome is AuditOutcome.NOT_READY


@pytest.mark.parametrize("pending", [{"reconcile": True}, {"writing_since": 5}], ids=str)
def test_differences_do_not_count_while_a_sync_is_pending(pending: dict[str, object]) -> None:
    scene = Scene(rows=EMPTY)
    scene.tables.items.set(ITEM, **pending)
    assert scene.audit().outcome is AuditOutcome.BEHIND
    assert Scene(rows=EMPTY, plaid=Plaid(later=("u",))).audit().outcome is AuditOutcome.BEHIND


def test_rows_that_were_pulled_with_other_options_are_behind() -> None:
    scene = Scene(rows=EMPTY)
    assert replace(scene.auditor, pulled_with="v2").audit(ITEM, PLENTY).outcome is AuditOutcome.BEHIND
    scene.tables.items.set(ITEM, pulled_with="v2")
    assert replace(scene.auditor, pulled_with="v2").audit(ITEM, PLENTY).outcome is AuditOutcome.DRIFTED


def test_differences_are_inconclusive_while_the_item_changes_during_each_attempt() -> None:
    scene = Scene(rows=EMPTY)
    scene.plaid.at_a_pull = lambda: scene.tables.items.set(ITEM, generation=5 + scene.plaid.calls["sync"])
    report = scene.audit()
    assert (report.outcome, report.attempts, report.drift) == (AuditOutcome.INCONCLUSIVE, MAX_ATTEMPTS, 0)
    assert len(scene.clock.pauses) == MAX_ATTEMPTS - 1


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("ITEM_LOGIN_REQUIRED", AuditOutcome.NEEDS_USER),
        ("ITEM_NOT_FOUND", AuditOutcome.REVOKED),
        ("INTERNAL_SERVER_ERROR", AuditOutcome.FAILED),
    ],
)
def test_a_refusal_of_plaid_is_an_outcome(code: str, outcome: AuditOutcome) -> None:
    report = Scene(plaid=Plaid(refusals={"sync": code})).audit()
    assert (report.outcome, report.code) == (outcome, code)


def test_a_sample_is_uniform() -> None:
    drawn = [0] * 5
    for first in range(3):
        for second in range(4):
            for third in range(5):
                numbers = iter([first, second, third])
                for element in draw(range(5), 2, lambda _, numbers=numbers: next(numbers)):  # type: ignore[misc] # bound
                    drawn[element] += 1
    assert drawn == [24] * 5
    assert draw(range(2), 5, lambda _: 0) == [0, 1]


def test_a_sample_holds_items_that_plaid_serves_and_stops_when_time_is_short() -> None:
    scene = Scene()
    scene.tables.items.put(new_item("gone", ItemState(StateName.REVOKED)), new_item("frozen", ItemState("frozen")))
    sampler = Sampler(scene.auditor, scene.tables.items, 10, lambda _: 0)
    assert [report.item_id for report in sampler.audits(None, PLENTY)] == [ITEM]
    assert list(sampler.audits(None, FakeClock().deadline(200))) == []
