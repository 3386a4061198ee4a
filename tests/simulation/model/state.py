"""One state of the modeled world."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from plaid_sync.domain.item import GenerationRanges

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


class Next(IntEnum):
    """When the sweep enqueues the Item."""

    ROUTINE = 0
    """Hours later: in time for a lost webhook, and for nothing else."""
    NEAR = 1
    """Minutes later."""
    WITH_RESYNC = 2
    """When the pending full resync may begin."""


class Resync(IntEnum):
    """Whether a full resync is pending (`reconcile`)."""

    NONE = 0
    DUE = 1
    LATER = 2
    """Pending, but it may not begin yet (`reconcile_after`)."""


class Checkpoint(NamedTuple):
    """How far a pull in parts is. `began` is the length of the log when the pull began."""

    cursor: str
    from_beginning: bool
    written: GenerationRanges
    began: int


class Item(NamedTuple):
    """The Items row. `pull_began` is the length of the log when the committed pull began: it serves as the time.

    Attributes:
        inconclusive: how many full resyncs met an incomplete history.
        decided: the last of them was reconciled against although the history was incomplete.
        was_reset: Plaid refused the stored cursor within the last hour (which never ends here).
        hint: an ITEM webhook's check is pending.
        failure: the code of the recorded failure; empty for none.
    """

    generation: int = 0
    cursor: str | None = None
    writing_since: int | None = None
    checkpoint: Checkpoint | None = None
    reconcile: Resync = Resync.NONE
    inconclusive: int = 0
    decided: bool = False
    was_reset: bool = False
    pull_began: int | None = None
    needs_user: bool = False
    hint: bool = False
    failure: str = ""
    next_attempt: Next = Next.ROUTINE


class Row(NamedTuple):
    """A Transactions row; `GONE` is a tombstone."""

    value: int
    generation: int
    first_generation: int


class Message(NamedTuple):
    """A message in the queue: when it was sent (the length of the log then), and whether it is an ITEM webhook's.

    Half a position: it was sent after all pulls that began there, and before the next change.
    """

    sent: float
    hint: bool = False


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
    sent: float
    receipts_valid: bool
    generation: int
    history: int


class Faults(NamedTuple):
    """How many more of each may happen.

    Attributes:
        crashes: a worker dies; its messages return.
        pauses: a worker is paused; its messages return, and it may continue at any time, or never.
        duplicates: Plaid's webhook is queued again.
        lost: a webhook is lost.
        rejections: Plaid drops the cursors that it issued so far, and rejects them from then on.
        logins: the bank requires the user's login.
        refusals: Plaid or DynamoDB refuses a call, without an effect.
        late: an invocation runs out of time after a page.
    """

    crashes: int = 0
    pauses: int = 0
    duplicates: int = 0
    lost: int = 0
    rejections: int = 0
    logins: int = 0
    refusals: int = 0
    late: int = 0


class State(NamedTuple):
    """One state. `changes` and `faults` are what may still happen.

    Attributes:
        webhook_pending: a webhook about transactions is on its way.
        hint_pending: an ITEM webhook is on its way.
        lost: a webhook was lost, and what it reported is not seen yet.
        dropped: Plaid has dropped the cursors that it issued before: it rejects them.
    """

    log: Log
    changes: int
    queue: tuple[Message, ...]
    webhook_pending: bool
    hint_pending: bool
    lost: bool
    dropped: bool
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
    if began is not None and state.queue and state.queue[0].sent < began:
        queue = tuple(Message(max(message.sent, began), message.hint) for message in state.queue)
        state = state._replace(queue=queue)
    if began is not None and any(worker and 0 < worker.sent < began for worker in state.workers):
        first, second = state.workers
        state = state._replace(workers=(_sent_after(first, began), _sent_after(second, began)))
    if any(worker and worker.generation for worker in state.workers):
        return state
    return _with_ranks(state)


def _with_ranks(state: State) -> State:
    item, since, checkpoint = state.item, state.item.writing_since, state.item.checkpoint
    used = {number for row in state.rows if row for number in (row.generation, row.first_generation)}
    used |= {since} if since is not None else set()
    if checkpoint is not None:
        used |= {number for generations in checkpoint.written for number in generations}
    if len(used) == item.generation:
        return state
    new = {number: rank for rank, number in enumerate(sorted(used), start=1)}
    rows = tuple(row and Row(row.value, new[row.generation], new[row.first_generation]) for row in state.rows)
    if checkpoint is not None:
        checkpoint = checkpoint._replace(written=tuple((new[first], new[last]) for first, last in checkpoint.written))
    since = None if since is None else new[since]
    item = item._replace(generation=len(used), writing_since=since, checkpoint=checkpoint)
    return state._replace(rows=rows, item=item)


def _sent_after(worker: Worker | None, began: float) -> Worker | None:
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


def _order(worker: Worker) -> tuple[int, bool, float, int]:
    return worker.generation, worker.receipts_valid, worker.sent, worker.history
