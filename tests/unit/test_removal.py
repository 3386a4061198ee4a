"""The removal of an Item: every step can fail, be lost or be repeated, and the recorded numbers are true."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from plaid_sync.domain.clock import Deadline
from plaid_sync.domain.errors import PlaidError, TransientError
from plaid_sync.domain.item import Item, ItemId, ItemState, Removal, StateName
from plaid_sync.domain.transaction import StoredRow, TransactionId
from plaid_sync.linking.sessions import AccountClaim
from plaid_sync.removal import Remover

from tests.fakes.clock import NOON, PLENTY
from tests.fakes.failing import Failing, KilledError
from tests.fakes.items import new_item
from tests.fakes.plaid import FakePlaid
from tests.fakes.tables import Tables

ITEM = ItemId("item")
ROWS = 3
STEPS = {
    "decrypt": "tokens",
    "remove": "plaid",
    "record_plaid_removed": "items",
    "count": "rows",
    "record_rows_to_erase": "items",
    "erase": "rows",
    "release": "claims",
    "record_removal_completed": "items",
}
"""The calls in order, each with its port."""


@dataclass(slots=True)
class Scene:
    """A removed Item with three rows."""

    erase: bool = True
    plaid: FakePlaid = field(default_factory=FakePlaid)
    tables: Tables = field(init=False)

    def __post_init__(self) -> None:
        item = new_item(ITEM, ItemState(StateName.REMOVED), removal=Removal(NOON, self.erase), generation=2)
        self.tables = Tables.of(item)
        self.tables.items.set(ITEM, bank_login_ids=frozenset({"login"}), client_user_id="user")
        self.tables.links.held = {
            "login": AccountClaim("login", ITEM, "link"),
            "other": AccountClaim("other", ItemId("another"), "link"),
        }
        rows = [StoredRow(TransactionId(str(number)), "account", True, 1, 1) for number in range(ROWS)]  # noqa: FBT003
        self.tables.transactions.rows_of[ITEM] = {row.transaction_id: row for row in rows}

    @property
    def item(self) -> Item:
        return self.tables.items.stored[ITEM]

    def ports(self) -> dict[str, Any]:
        tables = self.tables
        ports = {"items": tables.items, "rows": tables.transactions, "claims": tables.links, "tokens": tables.tokens}
        return ports | {"plaid": self.plaid}

    def finish(self, deadline: Deadline = PLENTY, **ports: Any) -> int:
        """Do what is left of the removal."""
        remover = Remover(**self.ports() | ports, clock=self.tables.clock, report_orphaned=self.tables.orphaned.append)
        return remover.finish(self.item, deadline, ("request",))


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("erase", [True, False], ids=["erase", "keep"])
def test_a_removal_that_dies_at_any_step_is_completed_by_the_next_attempt(
    step: str, *, erase: bool, after: bool
) -> None:
    scene = Scene(erase)
    failing: dict[str, Any] = {STEPS[step]: Failing(scene.ports()[STEPS[step]], step, KilledError(), after)}
    if erase or step not in {"count", "record_rows_to_erase", "erase"}:
        with pytest.raises(KilledError):
            scene.finish(**failing)
    scene.finish()
    removal = scene.item.removal
    assert removal is not None
    assert removal.plaid_removed_at == removal.completed_at == NOON
    assert scene.plaid.removed
    assert (scene.item.access_token, scene.item.bank_login_ids) == (b"", frozenset())
    assert scene.tables.links.held.keys() == {"other"}
    assert scene.tables.transactions.count(ITEM, PLENTY) == (0 if erase else ROWS)
    assert scene.item.client_user_id == (None if erase else "user")
    (entry,) = scene.tables.entries
    assert (entry.outcome, entry.details["erased"]) == (("erased", ROWS) if erase else ("kept", None))


def test_until_plaid_removed_the_item_its_token_is_kept_and_nothing_is_erased() -> None:
    scene = Scene(plaid=FakePlaid(refusals={"remove": "INTERNAL_SERVER_ERROR"}))
    before = scene.item
    for _ in range(2):
        with pytest.raises(PlaidError, match="INTERNAL_SERVER_ERROR"):
            scene.finish()
    assert (scene.item, scene.tables.transactions.count(ITEM, PLENTY), scene.tables.entries) == (before, ROWS, [])


def test_a_removal_that_is_completed_or_was_not_requested_makes_no_call() -> None:
    scene = Scene()
    assert scene.finish() == ROWS
    scene.plaid.calls.clear()
    assert scene.finish() == 0
    scene.tables.items.set(ITEM, removal=None)
    assert scene.finish() == 0
    assert (scene.plaid.calls, len(scene.tables.entries)) == ({}, 1)


@pytest.mark.parametrize("erase", [True, False], ids=["erase", "keep"])
def test_an_item_that_another_system_goes_on_with_is_not_removed_at_plaid_and_not_reported(*, erase: bool) -> None:
    scene = Scene(erase)
    scene.tables.items.set(ITEM, access_token=b"", removal=Removal(NOON, erase, keeps_at_plaid=True))
    assert scene.finish() == (ROWS if erase else 0)
    removal = scene.item.removal
    assert removal is not None
    assert (removal.completed_at, removal.plaid_removed_at) == (NOON, None)
    assert (scene.plaid.calls, scene.plaid.removed, scene.tables.orphaned) == ({}, [], [])
    assert scene.tables.links.held.keys() == {"other"}


def test_an_erasure_in_two_attempts_reports_all_rows() -> None:
    scene = Scene()
    seconds = iter([900.0, 900.0, 0.0])
    with pytest.raises(TransientError, match="out_of_time"):
        scene.finish(Deadline(lambda: next(seconds)))
    assert scene.tables.transactions.count(ITEM, PLENTY) == 1
    assert scene.finish() == ROWS
    assert scene.tables.entries[0].details["erased"] == ROWS


def test_an_erasure_that_is_requested_during_the_removal_is_done_by_the_next_attempt() -> None:
    scene = Scene(erase=False)

    def also_erase() -> None:
        scene.tables.items.set(ITEM, removal=Removal(NOON, erase=True, plaid_removed_at=NOON))

    late = Failing(scene.tables.items, "record_removal_completed", None, meanwhile=also_erase)
    with pytest.raises(TransientError, match="removal_changed"):
        scene.finish(items=late)
    assert scene.finish() == ROWS


def rotated(*, replaced: bool) -> Scene:
    """Return an Item whose rotation died six minutes ago: before, or after its token was replaced."""
    scene = Scene()
    scene.tables.items.set(ITEM, token_rotation_began_at=NOON)
    scene.tables.clock.sleep(360)
    if replaced:
        scene.plaid.replaced_tokens.add(f"access-{ITEM}")
    return scene


@pytest.mark.parametrize("replaced", [True, False])
def test_a_removed_item_whose_new_token_is_lost_is_reported_because_plaid_bills_it(*, replaced: bool) -> None:
    scene = rotated(replaced=replaced)
    assert scene.finish() == ROWS
    assert scene.tables.orphaned == ([ITEM] if replaced else [])
    assert scene.plaid.calls["remove"] == 1
    assert scene.item.removal is not None
    assert scene.item.removal.completed_at is not None
    scene.finish()
    assert len(scene.tables.orphaned) == int(replaced)


@pytest.mark.parametrize("code", ["HTTP_502", "INVALID_API_KEYS"])
def test_nothing_is_removed_while_it_cannot_be_found_out_whether_the_token_is_lost(code: str) -> None:
    scene = rotated(replaced=True)
    scene.plaid.refusals["health"] = code
    with pytest.raises(PlaidError, match=code):
        scene.finish()
    assert (scene.plaid.calls["remove"], scene.item.access_token != b"") == (0, True)
    del scene.plaid.refusals["health"]
    scene.finish()
    assert scene.tables.orphaned == [ITEM]


def test_without_a_rotation_and_where_the_user_has_to_act_no_item_is_orphaned() -> None:
    scene = Scene()
    scene.finish()
    assert scene.plaid.calls["health"] == 0
    scene = rotated(replaced=False)
    scene.plaid.refusals["health"] = "ITEM_LOGIN_REQUIRED"
    scene.finish()
    assert (scene.plaid.calls["remove"], scene.tables.orphaned) == (1, [])


@pytest.mark.parametrize("erase", [True, False])
def test_an_item_whose_access_token_is_lost_is_reported_as_orphaned_and_its_removal_completed(erase: bool) -> None:  # noqa: FBT001 - a parameter
    scene = Scene(erase)
    scene.tables.items.set(ITEM, access_token=b"")
    assert scene.finish() == (ROWS if erase else 0)
    assert scene.tables.orphaned == [ITEM]
    assert scene.plaid.calls["remove"] == 0
    removal = scene.item.removal
    assert removal is not None
    assert (removal.plaid_removed_at, removal.completed_at is not None) == (None, True)
    assert len(scene.tables.transactions.rows_of[ITEM]) == (0 if erase else ROWS)
    assert "login" not in scene.tables.links.held
