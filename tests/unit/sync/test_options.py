"""The stack's options of /transactions/sync: a change leads to one full resync of each Item, whenever a worker dies."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from plaid_sync.domain.item import ItemId
from plaid_sync.domain.transaction import TransactionId
from plaid_sync.sync.job import Outcome, SyncJob, SyncReport

from tests.fakes.clock import PLENTY
from tests.fakes.failing import Failing, KilledError
from tests.fakes.items import new_item
from tests.fakes.plaid import FakePlaid, page, transaction
from tests.fakes.tables import Tables

if TYPE_CHECKING:
    from plaid_sync.domain.item import Cursor, Item
    from plaid_sync.pull.pages import Page

ITEM = ItemId("item")


@dataclass(slots=True)
class Plaid(FakePlaid):
    """Plaid with one transaction, whose row has what the options say.

    Attributes:
        options: of the stack that calls.
        cursors: of the calls, in order.
    """

    options: str = ""
    cursors: list[str | None] = field(default_factory=list)

    def sync_page(self, access_token: str, cursor: Cursor | None, days_requested: int | None) -> Page:  # noqa: ARG002 - the port's
        self.cursors.append(cursor)
        self._call("sync")
        added = [transaction("t") | {"options": self.options}] if cursor is None else []
        return page(added=added, next_cursor="end")


@dataclass(slots=True)
class Scene:
    """An Item that was synced with Plaid's defaults."""

    plaid: Plaid = field(default_factory=Plaid)
    tables: Tables = field(default_factory=lambda: Tables.of(new_item(ITEM)))

    def sync(self, options: str = "", plaid: Any = None) -> SyncReport:
        self.plaid.options = options
        job = SyncJob(ITEM, newest_message_at=self.tables.clock.now(), deadline=PLENTY, causes=("request",))
        return self.tables.engine(plaid or self.plaid, pulled_with=options).sync(job)

    @property
    def item(self) -> Item:
        return self.tables.items.stored[ITEM]

    @property
    def stored_options(self) -> str:
        row = self.tables.transactions.rows_of[ITEM][TransactionId("t")].row
        assert row is not None
        return str(row.plaid_object["options"])


def test_without_a_change_nothing_is_pulled_again() -> None:
    scene = Scene()
    scene.sync()
    assert scene.sync().outcome is Outcome.COMMITTED
    assert (scene.plaid.cursors, scene.item.pulled_with, scene.item.generation) == ([None, "end"], "", 2)


def test_an_item_remembers_the_options_of_its_first_sync() -> None:
    scene = Scene()
    scene.sync("v2")
    scene.sync("v2")
    assert (scene.plaid.cursors, scene.item.pulled_with, scene.stored_options) == ([None, "end"], "v2", "v2")


@pytest.mark.parametrize(("before", "after"), [("", "v2"), ("v2", ""), ("v1", "original_description v2")])
def test_a_change_leads_to_one_full_resync(before: str, after: str) -> None:
    scene = Scene()
    scene.sync(before)
    report = scene.sync(after)
    assert (report.full_resync, scene.stored_options) == (True, after)
    assert (scene.item.pulled_with, scene.item.reconcile) == (after, False)
    scene.sync(after)
    assert scene.plaid.cursors == [None, None, "end"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("port", "call"), [("items", "restart_pull"), ("plaid", "sync_page"), ("transactions", "write")]
)
def test_a_worker_that_dies_leaves_the_resync_pending(port: str, call: str, *, after: bool) -> None:
    scene = Scene()
    scene.sync()
    tables, cursors = scene.tables, scene.plaid.cursors
    items, transactions = tables.items, tables.transactions
    dying: Any = Failing(scene.plaid if port == "plaid" else getattr(tables, port), call, KilledError(), after=after)
    if port != "plaid":
        setattr(tables, port, dying)
    with pytest.raises(KilledError):
        scene.sync("v2", dying if port == "plaid" else None)
    tables.items, tables.transactions = items, transactions
    scene.sync("v2")
    assert (scene.stored_options, scene.item.pulled_with, scene.item.reconcile) == ("v2", "v2", False)
    assert scene.item.writing_since is None
    resyncs = cursors[1:].count(None)
    assert resyncs in {1, 2}
    scene.sync("v2")
    assert cursors[1:].count(None) == resyncs


def test_a_resync_that_fails_stays_pending() -> None:
    scene = Scene()
    scene.sync()
    scene.plaid.refusals["sync"] = "ITEM_LOGIN_REQUIRED"
    assert scene.sync("v2").outcome is Outcome.NEEDS_USER
    assert (scene.item.pulled_with, scene.item.reconcile, scene.stored_options) == ("v2", True, "")
    del scene.plaid.refusals["sync"]
    scene.sync("v2")
    assert (scene.item.reconcile, scene.stored_options) == (False, "v2")


def test_a_version_with_other_options_pulls_again_and_the_last_one_decides() -> None:
    """During a canary both run."""
    scene = Scene()
    for options in ("", "v2", "", "v2"):
        scene.sync(options)
        assert scene.stored_options == options
    assert scene.item.pulled_with == "v2"
