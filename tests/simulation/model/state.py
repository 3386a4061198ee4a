"""One state of the modeled world."""

from __future__ import annotations

from typing import Final, NamedTuple

IDS: Final = "abc"
READY: Final = -1
"""Log entry: Plaid has the first transactions of a new Item."""
COMPLETE: Final = -2
"""Log entry: Plaid has all of the requested history."""
LOGIN_LOST: Final = -3
"""Log entry: the bank requires the user's login."""
LOGIN_REPAIRED: Final = -4
"""Log entry: the user has logged in again."""
LOADED: Final = -1
"""A worker's generation between its load and its claim."""
GONE: Final = 0
"""Value of a transaction that does not exist (any more); contents are 1 and 2."""


class Change(NamedTuple):
    """An entry of Plaid's log: a transaction's new value, or (negative `key`) what happened to the Item."""

    key: int
    value: int = GONE


Log = tuple[Change, ...]


class Item(NamedTuple):
    """The Items row. `pull_began` is the length of the log when the committed pull began: it serves as the time."""

    generation: int = 0
    cursor: str | None = None
    writing_since: int | None = None
    reconcile: bool = False
    pull_began: int | None = None
    needs_user: bool = False


class Row(NamedTuple):
    """A Transactions row; `GONE` is a tombstone."""

    value: int
    generation: int
    first_generation: int


class Worker(NamedTuple):
    """A worker during an invocation.

    Attributes:
        messages: how many messages it received.
        sent: when the newest of them was sent (the length of the log then); 0 once that does not matter any more.
        receipts_valid: its receipt handles are the newest: no visibility timeout has ended since it received.
        generation: the generation that it claimed; 0 before it loads the Item, `LOADED` before its claim.
        history: the responses that it got (see `replay`), which determine everything that it does next.
    """

    messages: int
    sent: int
    receipts_valid: bool
    generation: int
    history: int


class Faults(NamedTuple):
    """How many more of each may happen."""

    crashes: int = 0
    pauses: int = 0
    duplicates: int = 0
    rejections: int = 0
    logins: int = 0


class State(NamedTuple):
    """One state. `changes` and `faults` are what may still happen, `queue` holds when each message was sent."""

    log: Log
    changes: int
    queue: tuple[int, ...]
    webhook_pending: bool
    item: Item
    rows: tuple[Row | None, ...]
    workers: tuple[Worker | None, Worker | None]
    faults: Faults


def truth(log: Log, ids: int) -> tuple[int, ...]:
    values = [GONE] * ids
    for change in log:
        if change.key >= 0:
            values[change.key] = change.value
    return tuple(values)


def canonical(state: State) -> State:
    """Return the representative of all states that behave like this one, so that they are explored once.

    Times and generations matter only by their order. A message that is older than the committed pull may as well be
    as old as that, and while no attempt is running, the generations of attempts that left nothing can be reused.
    """
    began = state.item.pull_began
    if began is not None and state.queue and state.queue[0] < began:
        state = state._replace(queue=tuple(max(sent, began) for sent in state.queue))
    if began is not None and any(worker and 0 < worker.sent < began for worker in state.workers):
        first, second = state.workers
        state = state._replace(workers=(_sent_after(first, began), _sent_after(second, began)))
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


def _sent_after(worker: Worker | None, began: int) -> Worker | None:
    return worker._replace(sent=max(worker.sent, began)) if worker and worker.sent else worker


def put(state: State, number: int, worker: Worker | None) -> State:
    """Give a worker its new state. Workers are interchangeable: they are kept in order."""
    other = state.workers[1 - number]
    if other is None:
        return state._replace(workers=(worker, None))
    if worker is None:
        return state._replace(workers=(other, None))
    first, second = sorted((worker, other), key=_order)
    return state._replace(workers=(first, second))


def _order(worker: Worker) -> tuple[int, bool, int, int]:
    return worker.generation, worker.receipts_valid, worker.sent, worker.history
