"""One state of the modelled world, and the bounds within which it is explored."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

IDS: Final = "abc"
READY: Final = -1
"""Log entry: Plaid has the first transactions of a new Item."""
COMPLETE: Final = -2
"""Log entry: Plaid has all of the requested history."""
LOST: Final = -3
"""Log entry: the bank asks for the user's login."""
REPAIRED: Final = -4
"""Log entry: the user has logged in again."""
LOADED: Final = -1
GONE: Final = 0
"""Value of a transaction that is not (or no longer) there; contents are 1 and 2."""


class Change(NamedTuple):
    """An entry of Plaid's log: a transaction's new value, or (negative `key`) what happened to the Item."""

    key: int
    value: int = GONE


Log = tuple[Change, ...]


class Item(NamedTuple):
    """The Items row. `began` is the length of the log when the committed pull began, which serves as its time."""

    generation: int = 0
    cursor: str | None = None
    writing_since: int | None = None
    reconcile: bool = False
    began: int | None = None
    in_trouble: bool = False


class Row(NamedTuple):
    """A Transactions row; `GONE` is a tombstone."""

    value: int
    generation: int
    first_generation: int


class Worker(NamedTuple):
    """A worker at work.

    Attributes:
        held: how many messages it has received.
        sent: when the newest of them was sent (length of the log then); 0 once that does not matter any more.
        valid: its receipt handles are still the newest: no visibility timeout has ended since it received.
        generation: the fence that it holds; 0 before its claim, `LOADED` when only the claim is still to come.
        history: what it has been answered so far (see `replay`), which determines all that it does next.
    """

    held: int
    sent: int
    valid: bool
    generation: int
    history: int


class Faults(NamedTuple):
    """How many more of each may happen."""

    crashes: int = 0
    freezes: int = 0
    duplicates: int = 0
    rejections: int = 0
    logins: int = 0


NO_FAULTS: Final = Faults()


class State(NamedTuple):
    """Everything."""

    log: Log
    changes: int
    queue: tuple[int, ...]
    owed: bool
    item: Item
    rows: tuple[Row | None, ...]
    workers: tuple[Worker | None, Worker | None]
    faults: Faults


class Telling(StrEnum):
    """How Plaid tells of what happened between two cursors. It documents none of them, so that all must do."""

    SPELLED = "spelled out"
    NETTED = "netted"
    HIDDEN = "netted, reverts hidden"


@dataclass(frozen=True, slots=True)
class Scenario:
    """Bounds of one complete exploration.

    Attributes:
        past: what had happened and was synced before the exploration starts; empty: a newly linked Item.
        changes: how many changes Plaid makes at most.
        complete: history is complete from the start.
    """

    name: str
    telling: Telling
    past: Log = ()
    ids: int = 2
    changes: int = 3
    faults: Faults = NO_FAULTS
    complete: bool = True

    def start(self) -> State:
        """Return the first state: a new Item with its trigger in the queue, or one synced up to `past`."""
        rows: list[Row | None] = [None] * self.ids
        if not self.past:
            item = Item()
            log: Log = ()
            queue: tuple[int, ...] = (0,)
        else:
            log = (Change(READY), *((Change(COMPLETE),) if self.complete else ()), *self.past)
            for change in self.past:
                before = rows[change.key]
                generation = before.generation + 1 if before else 1
                rows[change.key] = Row(change.value, generation, before.first_generation if before else 1)
            newest = max(row.generation for row in rows if row)
            item, queue = Item(newest, str(len(log)), began=len(log)), ()
        return State(log, self.changes, queue, False, item, tuple(rows), (None, None), self.faults)  # noqa: FBT003


def truth(log: Log, ids: int) -> tuple[int, ...]:
    """Return each transaction's value at Plaid."""
    values = [GONE] * ids
    for change in log:
        if change.key >= 0:
            values[change.key] = change.value
    return tuple(values)


def simplest(state: State) -> State:
    """Return the simplest state that nothing can tell from this one, so that both are explored once.

    Times and generations matter only by their order. A message that is as old as the committed pull may as well be
    just as old, and while no attempt is under way, the generations of attempts that left nothing can be used again.
    """
    began = state.item.began
    if began is not None and state.queue and state.queue[0] < began:
        state = state._replace(queue=tuple(max(sent, began) for sent in state.queue))
    if began is not None and any(worker and 0 < worker.sent < began for worker in state.workers):
        first, second = state.workers
        aged = (_no_older(first, began), _no_older(second, began))
        state = state._replace(workers=aged)
    if any(worker and worker.generation for worker in state.workers):
        return state
    used = {number for row in state.rows if row for number in (row.generation, row.first_generation)}
    if state.item.writing_since is not None:
        used.add(state.item.writing_since)
    if len(used) == state.item.generation:
        return state
    new = {number: rank for rank, number in enumerate(sorted(used), start=1)}
    rows = tuple(row and Row(row.value, new[row.generation], new[row.first_generation]) for row in state.rows)
    since = state.item.writing_since
    item = state.item._replace(generation=len(used), writing_since=None if since is None else new[since])
    return state._replace(rows=rows, item=item)


def _no_older(worker: Worker | None, began: int) -> Worker | None:
    return worker._replace(sent=max(worker.sent, began)) if worker and worker.sent else worker


def put(state: State, number: int, worker: Worker | None) -> State:
    """Give a worker its new state. Workers are interchangeable: keep them in order."""
    other = state.workers[1 - number]
    if other is None:
        return state._replace(workers=(worker, None))
    if worker is None:
        return state._replace(workers=(other, None))
    first, second = sorted((worker, other), key=lambda one: (one.generation, one.valid, one.sent, one.history))
    return state._replace(workers=(first, second))
