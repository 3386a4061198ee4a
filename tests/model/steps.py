"""What can happen next in a state."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.model import tables
from tests.model.calls import (
    Answer,
    Claim,
    Claimed,
    Finish,
    Health,
    Load,
    Loaded,
    Look,
    Pull,
    Read,
    Record,
    Rows,
    Scan,
    Time,
    Write,
    not_covered,
)
from tests.model.changes import possible_changes
from tests.model.invariants import broken_by
from tests.model.plaid import CURSOR_REJECTED, answer_page, login_lost
from tests.model.state import (
    IDS,
    LOADED,
    LOST,
    Item,
    Scenario,
    State,
    Worker,
    put,
    simplest,
)
from tests.model.wording import fate_of, name_of, told_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

    from tests.model.calls import Call
    from tests.model.replay import Machine


_TOO_YOUNG: Final = 99
_COVERED: Final = Loaded(Item(generation=0, cursor="0", began=0), clear=True)


class Step(NamedTuple):
    """One thing that happened, in words; where it led; and the invariant that it broke."""

    text: str
    state: State
    broken: str = ""


@dataclass(frozen=True, slots=True)
class World:
    """The rules: a scenario's bounds, the engine, and the guards that are missing."""

    scenario: Scenario
    machine: Machine
    without: AbstractSet[str] = frozenset()

    def steps(self, state: State) -> Iterator[Step]:
        """Yield all that can happen, less the order of steps that no order matters to (see `_at_once`)."""
        simplify = "stale-handle" not in self.without  # an old handle knows its messages by when they were sent
        for step in self._steps(state):
            yield step._replace(state=simplest(step.state)) if simplify else step

    def _steps(self, state: State) -> Iterator[Step]:
        for number, worker in enumerate(state.workers):
            if worker is not None and self._at_once(state, worker):
                yield from islice(self._work(state, number, worker), 1)
                return
        yield from self._plaid(state)
        yield from self._queue(state)
        for number, worker in enumerate(state.workers):
            if worker is not None:
                yield from self._work(state, number, worker)
                yield from self._fail(state, number, worker)

    def _at_once(self, state: State, worker: Worker) -> bool:
        """Tell whether a worker's next step may come before all others' without losing an outcome.

        While the fence is in force: what a superseded attempt does until its write is refused concerns nobody (its
        write is still tried, and it is checked that it is refused), and between the claim of the newest attempt
        and its own writes the tables don't change, so that it does not matter when it reads them.
        """
        if "fence" in self.without:
            return False
        call = self.machine.calls[worker.history]
        if isinstance(call, Claim):
            return call.generation != state.item.generation and "claim-cas" not in self.without
        return 0 < worker.generation < state.item.generation or isinstance(call, Scan | Read)

    # ---- Plaid

    def _plaid(self, state: State) -> Iterator[Step]:
        for change, text in possible_changes(state, self.scenario.ids):
            told = state._replace(log=(*state.log, change), owed=True)
            if change.key >= 0:
                told = told._replace(changes=state.changes - 1)
            elif change.key == LOST:
                told = told._replace(faults=state.faults._replace(logins=state.faults.logins - 1))
            yield Step(f"Plaid: {text}", told)
        if state.owed:
            yield Step("Plaid's webhook is queued", state._replace(queue=(*state.queue, len(state.log)), owed=False))
        elif state.faults.duplicates and state.log:
            faults = state.faults._replace(duplicates=state.faults.duplicates - 1)
            yield Step(
                "Plaid's webhook is queued once more",
                state._replace(queue=(*state.queue, len(state.log)), faults=faults),
            )

    # ---- the queue

    def _queue(self, state: State) -> Iterator[Step]:
        if not state.queue or any(worker and worker.valid for worker in state.workers):
            return  # a message group is locked while a message of it is in flight
        if None not in state.workers:
            return
        free = state.workers.index(None)
        for count in range(1, len(state.queue) + 1):
            worker = Worker(count, state.queue[count - 1], valid=True, generation=0, history=self.machine.begin)
            yield Step(f"a worker receives {count} of {len(state.queue)} message(s)", put(state, free, worker))

    def _ages(self, state: State, sent: int) -> tuple[bool, ...]:
        """Return whether the trigger can be, by all clocks, much older than the committed pull: both, mostly."""
        began = state.item.began
        return (False,) if began is None or sent > began else (True, False)

    # ---- workers

    def _work(self, state: State, number: int, worker: Worker) -> Iterator[Step]:
        call = self.machine.calls[worker.history]
        name = name_of(worker)
        if isinstance(call, Load):
            yield from self._load(state, number, worker, name)
        elif isinstance(call, Claim):
            after, claim = tables.claim(state, call, self.without)
            claimed = worker._replace(generation=after.item.generation)
            fate = f"attempt {after.item.generation}" if isinstance(claim, Claimed) else "refused, it was claimed since"
            yield self._answered(after, number, claimed, claim, f"{name} claims: {fate}")
        elif isinstance(call, Look):
            lost = login_lost(state.log)
            text = f"{name} asks Plaid how the Item is: {'its user has to log in' if lost else 'well'}"
            yield self._answered(state, number, worker, Health(lost), text)
        elif isinstance(call, Pull):
            yield from self._pull(state, number, worker, call)
        elif isinstance(call, Scan):
            found = [(key, row) for key, row in enumerate(state.rows) if row and row.generation >= call.since]
            text = f"{name} scans the rows since generation {call.since}"
            yield self._answered(state, number, worker, Rows(tuple(found)), text)
        elif isinstance(call, Read):
            read = [(key, row) for key in call.keys if (row := state.rows[key])]
            yield self._answered(state, number, worker, Rows(tuple(read)), f"{name} reads the stored rows")
        elif isinstance(call, Write):
            yield self._write(state, number, worker, call)
        elif isinstance(call, Record):
            after, written = tables.record(state, call)
            text = f"{name} records {'trouble' if call.trouble else 'that nothing is ready'}{fate_of(written)}"
            yield self._answered(after, number, worker, written, text)
        else:
            yield self._finish(state, number, worker)

    def _load(self, state: State, number: int, worker: Worker, name: str) -> Iterator[Step]:
        kept = worker.sent if "stale-handle" in self.without else 0
        for clear in self._ages(state, worker.sent):
            answer = Loaded(state.item, clear)
            loads = self.machine.calls[self.machine.after(worker.history, answer)]
            loading = worker._replace(sent=kept)
            text = f"{name} loads the Item: {'covered' if isinstance(loads, Finish) else 'not covered'}"
            if isinstance(loads, Claim):
                loading, answer = loading._replace(generation=LOADED), not_covered(loads.generation)
            yield self._answered(state, number, loading, answer, text)

    def _pull(self, state: State, number: int, worker: Worker, call: Pull) -> Iterator[Step]:
        told_before = state.item.cursor is not None
        answer = answer_page(state.log, call.cursor, self.scenario.telling, told_before=told_before)
        history = worker.history
        if call.opens:
            history = self.machine.after(history, Time(len(state.log)))
        pulling = worker._replace(history=history)
        text = f"attempt {worker.generation} pulls from {call.cursor or 'the beginning'}"
        yield self._answered(state, number, pulling, answer, f"{text}: {told_of(answer)}")
        if state.faults.rejections and call.opens and call.cursor is not None and answer != CURSOR_REJECTED:
            fewer = state._replace(faults=state.faults._replace(rejections=state.faults.rejections - 1))
            yield self._answered(fewer, number, pulling, CURSOR_REJECTED, f"{text}: Plaid rejects the cursor")

    def _write(self, state: State, number: int, worker: Worker, call: Write) -> Step:
        after, written = tables.write(state, call, self.without)
        rows = ", ".join(f"{IDS[key]}={value or 'removed'}" for key, value in call.rows) or "no row"
        text = f"attempt {worker.generation} writes {rows}{' and commits' if call.commit else ''}{fate_of(written)}"
        broken = broken_by(state, call, written, self.without)
        if written == tables.SUPERSEDED and "superseded-returns" in self.without:
            done = self._done(after, number, worker, delete=True)
            return Step(f"{text}; it deletes its messages", done, broken)
        return self._answered(after, number, worker, written, text)._replace(broken=broken)

    def _answered(self, state: State, number: int, worker: Worker, answer: Answer, text: str) -> Step:
        history = self.machine.after(worker.history, answer)
        call: Call = self.machine.calls[history]
        if isinstance(call, Finish):
            if not call.delete:
                return Step(f"{text}; its messages come back", put(state, number, None))
            return Step(text, self._done(state, number, worker, delete=True))
        return Step(text, put(state, number, worker._replace(history=history)))

    def _done(self, state: State, number: int, worker: Worker, *, delete: bool) -> State:
        """Put the worker before its last call. All that led there is past, and with it what told workers apart."""
        covered = self.machine.after(self.machine.begin, _COVERED)
        assert delete
        assert isinstance(self.machine.calls[covered], Finish)
        if not worker.valid and "stale-handle" not in self.without:
            return put(state, number, None)
        return put(state, number, worker._replace(generation=0, history=covered))

    def _finish(self, state: State, number: int, worker: Worker) -> Step:
        idle = put(state, number, None)
        by_age = "stale-handle" in self.without
        left = tuple(sent for sent in state.queue if sent > worker.sent) if by_age else state.queue[worker.held :]
        return Step(f"the worker deletes its {worker.held} message(s)", idle._replace(queue=left))

    # ---- faults

    def _fail(self, state: State, number: int, worker: Worker) -> Iterator[Step]:
        name = name_of(worker)
        faults = state.faults
        if not worker.valid:
            yield Step(f"{name} (a zombie) dies", put(state, number, None))
            return
        if faults.crashes:
            fewer = state._replace(faults=faults._replace(crashes=faults.crashes - 1))
            yield Step(f"{name} dies; its messages come back", put(fewer, number, None))
        if faults.freezes:
            fewer = state._replace(faults=faults._replace(freezes=faults.freezes - 1))
            yield Step(f"{name} freezes; its messages come back", put(fewer, number, self._zombie(worker)))

    def _zombie(self, worker: Worker) -> Worker | None:
        """Return what is left of a worker that froze: one that can delete nothing any more.

        Found covered, it would only go away, as it can at any time. So let its trigger be too young to be covered.
        """
        if "stale-handle" in self.without:
            return worker._replace(valid=False)
        if isinstance(self.machine.calls[worker.history], Finish):
            return None
        return worker._replace(valid=False, held=0, sent=_TOO_YOUNG if worker.sent else 0)
