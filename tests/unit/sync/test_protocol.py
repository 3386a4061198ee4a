"""The protocol where it matters: attempts that die or are superseded, reconciliation, invalid entries."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from plaid_sync.domain.item import Cursor, Item, ItemId
from plaid_sync.sync.job import SyncJob, SyncReport
from plaid_sync.sync.planner import MAX_ROWS

from tests.fakes.clock import NOON, PLENTY
from tests.fakes.failing import Failing, KilledError
from tests.fakes.items import new_item
from tests.fakes.plaid import FakePlaid, page, transaction
from tests.fakes.tables import Tables

if TYPE_CHECKING:
    from plaid_sync.pull.pages import Page

ITEM = ItemId("item")
MANY = [transaction(f"t{number}") for number in range(MAX_ROWS + 1)]
"""One row more than a transaction can write."""


@dataclass(slots=True)
class Plaid(FakePlaid):
    """Plaid with given updates.

    Attributes:
        updates: the members of the page after each cursor; None is the beginning.
    """

    updates: dict[str | None, dict[str, Any]] = field(default_factory=dict)

    def sync_page(self, access_token: str, cursor: Cursor | None, days_requested: int | None) -> Page:  # noqa: ARG002 - the port's
        return page(**self.updates[cursor])


@dataclass(slots=True)
class Scene:
    """One Item."""

    tables: Tables = field(default_factory=lambda: Tables.of(new_item(ITEM)))

    def sync(self, **updates: dict[str, Any]) -> SyncReport:
        """Sync; `start` is the page from the beginning, any other name is a cursor."""
        plaid = Plaid(updates={None if name == "start" else name: members for name, members in updates.items()})
        return self.tables.engine(plaid).sync(SyncJob(ITEM, newest_message_at=NOON, deadline=PLENTY))

    def die(self, *, after_a_write: bool, **updates: dict[str, Any]) -> None:
        """Let an attempt die at its first write."""
        known, dying = self.tables.transactions, Failing(self.tables.transactions, "write", KilledError())
        dying.after = after_a_write
        replaced: Any = dying
        self.tables.transactions = replaced
        with pytest.raises(KilledError):
            self.sync(**updates)
        self.tables.transactions = known

    @property
    def item(self) -> Item:
        return self.tables.items.stored[ITEM]

    @property
    def live(self) -> set[str]:
        return set(map(str, self.tables.transactions.live(ITEM)))


def test_an_attempt_that_dies_between_its_transactions_leaves_the_cursor_and_a_mark() -> None:
    scene = Scene()
    scene.die(after_a_write=True, start={"added": MANY})
    assert (scene.item.cursor, scene.item.writing_since, len(scene.live)) == (None, 1, MAX_ROWS)


def test_the_next_attempt_removes_what_only_the_dead_one_knew() -> None:
    scene = Scene()
    scene.die(after_a_write=True, start={"added": MANY})
    report = scene.sync(start={"added": MANY[1:]})
    assert (report.recovered, scene.item.writing_since) == (1, None)
    assert scene.live == {row["transaction_id"] for row in MANY[1:]}


@pytest.mark.parametrize(
    ("status", "live", "pending"),
    [("HISTORICAL_UPDATE_COMPLETE", {"a"}, False), ("INITIAL_UPDATE_COMPLETE", {"a", "b"}, True)],
)
def test_a_full_resync_reconciles_only_against_a_complete_history(
    status: str, live: set[str], *, pending: bool
) -> None:
    scene = Scene()
    scene.sync(start={"added": [transaction("a"), transaction("b")]})
    scene.tables.items.set(ITEM, reconcile=True)
    scene.sync(start={"added": [transaction("a")], "transactions_update_status": status})
    assert (scene.live, scene.item.reconcile) == (live, pending)


def test_a_removal_without_an_id_leads_to_a_full_resync() -> None:
    scene = Scene()
    scene.sync(start={"added": [transaction("a"), transaction("b")], "next_cursor": "one"})
    report = scene.sync(one={"removed": [{}]}, start={"added": [transaction("a")]})
    assert (report.full_resync, scene.live) == (True, {"a"})


def test_an_invalid_entry_is_kept_before_anything_is_written() -> None:
    scene = Scene()
    scene.die(after_a_write=False, start={"added": [{"transaction_id": "invalid"}, transaction("a")]})
    assert len(scene.tables.quarantine.parts) == 1
    assert (scene.item.cursor, scene.live) == (None, set())
