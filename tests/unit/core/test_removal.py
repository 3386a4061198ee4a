"""The end of an Item: every step can fail, be lost or be repeated, and what is told of it is true."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from plaid_sync.core.failures import RetryableError
from plaid_sync.core.items import Item, ItemId, ItemRemoval, ItemStatus, Standing
from plaid_sync.core.lifecycle.removal import Remover
from plaid_sync.core.sync.transactions import StoredRow, TransactionId

from tests.fuzz.signing import NOON
from tests.fuzz.tables import Tables, new_item

if TYPE_CHECKING:
    from collections.abc import Callable

    from plaid_sync.core.lifecycle.health import ItemHealth

ITEM = ItemId("item")
ROWS = 3
STEPS = (
    "decrypt",
    "remove",
    "record_plaid_removed",
    "count",
    "record_rows_to_erase",
    "erase",
    "release",
    "record_removal_completed",
)


class DiedError(Exception):
    """The worker is gone."""


@dataclass(slots=True)
class Plaid:
    """Plaid's side.

    Attributes:
        removals: how often it was asked to let go of the Item.
    """

    removals: int = 0

    def remove(self, access_token: str) -> None:
        assert access_token == ITEM
        self.removals += 1

    def health(self, access_token: str) -> ItemHealth:
        raise NotImplementedError


@dataclass(slots=True)
class Failing:
    """A port, one of whose steps fails once: before its effect, or after it.

    Attributes:
        done: the steps whose effect there was, in order.
    """

    port: Any
    done: list[str]
    step: str
    after: bool
    failed: list[str]

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.port, name)
        if name not in STEPS:
            return attribute

        def call(*arguments: Any) -> Any:
            fails = name == self.step and not self.failed
            if fails and not self.after:
                self.failed.append(name)
                raise DiedError
            result = attribute(*arguments)
            self.done.append(name)
            if fails:
                self.failed.append(name)
                raise DiedError
            return result

        return call


class Halting(Tables):
    """Tables whose worker runs out of time while it erases: two of three rows the first time."""

    def erase(self, item_id: ItemId, time_left: Callable[[], float]) -> None:
        halfway = len(self.rows_of[item_id]) == ROWS
        for one in list(self.rows_of[item_id])[:2]:
            del self.rows_of[item_id][one]
        if halfway:
            raise RetryableError("out_of_time")
        super().erase(item_id, time_left)


@dataclass(slots=True)
class World:
    """A removed Item with three rows, and a worker that dies at one step."""

    erase: bool = True
    step: str = ""
    after: bool = False
    tables_type: type[Tables] = Tables
    plaid: Plaid = field(default_factory=Plaid)
    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    tables: Tables = field(init=False)

    def __post_init__(self) -> None:
        removal = ItemRemoval(erase=self.erase)
        item = new_item(ITEM, Standing(ItemStatus.REMOVED), removal=removal, bank_login_ids=frozenset({"login"}))
        self.tables = self.tables_type.of(replace(item, access_token=b"sealed"))
        rows = [StoredRow(TransactionId(str(number)), "account", True, 1, 1) for number in range(ROWS)]  # noqa: FBT003
        self.tables.rows_of[ITEM] = {row.transaction_id: row for row in rows}

    @property
    def item(self) -> Item:
        return self.tables.items[ITEM]

    def finish(self) -> int:
        tables, plaid = (
            Failing(port, self.done, self.step, self.after, self.failed) for port in (self.tables, self.plaid)
        )
        remover = Remover(tables, tables, tables, tables, plaid, lambda: NOON)
        return remover.finish(self.item, lambda: 900.0, ("request",))


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("erase", [True, False], ids=["erase", "keep"])
def test_a_removal_that_dies_at_any_step_is_finished_by_the_next_attempt(
    step: str, *, erase: bool, after: bool
) -> None:
    world = World(erase, step, after)
    attempts = 0
    while world.item.removal is None or not world.item.removal.completed:
        attempts += 1
        try:
            world.finish()
        except DiedError:
            assert world.failed == [step]
    assert attempts <= 2
    assert world.plaid.removals >= 1
    assert world.item.access_token == b""
    assert world.item.removal.plaid_removed
    assert world.tables.released == {ITEM: {"login"}}
    assert world.tables.count(ITEM) == (0 if erase else ROWS)
    (entry,) = world.tables.entries
    assert (entry.outcome, entry.details["erased"]) == (("erased", ROWS) if erase else ("kept", None))


def test_the_steps_are_in_the_order_in_which_each_can_be_repeated() -> None:
    world = World()
    assert world.finish() == ROWS
    assert tuple(world.done) == STEPS


def test_while_plaid_does_not_let_go_of_the_item_its_token_is_kept_and_nothing_is_erased() -> None:
    world = World(step="remove")
    with pytest.raises(DiedError):
        world.finish()
    assert world.done == ["decrypt"]
    assert world.item.access_token == b"sealed"
    assert world.tables.count(ITEM) == ROWS


def test_a_removal_that_is_done_or_was_never_asked_for_costs_no_call() -> None:
    world = World()
    world.finish()
    world.done.clear()
    assert world.finish() == 0
    world.tables.items[ITEM] = replace(world.item, removal=None)
    assert world.finish() == 0
    assert world.done == []


def test_what_is_erased_in_two_halves_is_told_as_a_whole() -> None:
    world = World(tables_type=Halting)
    with pytest.raises(RetryableError):
        world.finish()
    assert world.tables.count(ITEM) == 1
    assert world.finish() == ROWS
    assert world.tables.entries[0].details["erased"] == ROWS
