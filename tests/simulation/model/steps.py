"""The transitions: what can happen next in a state."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.simulation.model import calls, tables
from tests.simulation.model.calls import Call, Loaded, Response, Time, not_covered
from tests.simulation.model.invariants import broken_by_write
from tests.simulation.model.plaid import Refusal, login_required, possible_changes, sync_page
from tests.simulation.model.state import IDS, LOADED, LOGIN_LOST, Item, State, Worker, canonical, put

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

    from tests.simulation.model.replay import Machine
    from tests.simulation.model.scenarios import Scenario

_TOO_YOUNG: Final = 99
"""When a message was sent that no pull covers."""
_COVERED: Final = Loaded(Item(generation=0, cursor="0", pull_began=0), beyond_skew=True)


class Step(NamedTuple):
    """One transition: its description, the state that it leads to, and the invariant that it breaks."""

    text: str
    state: State
    broken: str = ""


@dataclass(frozen=True, slots=True)
class World:
    """The transition relation: a scenario's bounds, the engine, and the guards that are removed."""

    scenario: Scenario
    machine: Machine
    without: AbstractSet[str] = frozenset()

    def steps(self, state: State) -> Iterator[Step]:
        """Yield all that can happen, reduced to one order where steps commute (see `_commutes`)."""
        reduce = "stale-receipt" not in self.without  # a stale receipt finds its messages by when they were sent
        for step in self._steps(state):
            yield step._replace(state=canonical(step.state)) if reduce else step

    def _steps(self, state: State) -> Iterator[Step]:
        for number, worker in enumerate(state.workers):
            if worker is not None and self._commutes(state, worker):
                yield from islice(self._work(state, number, worker), 1)
                return
        yield from self._plaid(state)
        yield from self._queue(state)
        for number, worker in enumerate(state.workers):
            if worker is not None:
                yield from self._work(state, number, worker)
                yield from self._fail(state, number, worker)

    def _commutes(self, state: State, worker: Worker) -> bool:
        """Return whether a worker's next step may come before all others (partial-order reduction).

        While the fence holds: what a superseded attempt does until its write is refused affects nothing (its write is
        still tried, and it is checked that it is refused), and between the claim of the newest attempt and its own
        writes the tables do not change, so that it does not matter when it reads them.
        """
        if "fence" in self.without:
            return False
        call = self.machine.calls[worker.history]
        if isinstance(call, calls.Claim):
            return call.generation != state.item.generation and "claim-cas" not in self.without
        return 0 < worker.generation < state.item.generation or isinstance(call, calls.Scan | calls.Read)

    # ---- Plaid

    def _plaid(self, state: State) -> Iterator[Step]:
        for change, text in possible_changes(state, self.scenario.ids):
            changed = state._replace(log=(*state.log, change), webhook_pending=True)
            if change.key >= 0:
                changed = changed._replace(changes=state.changes - 1)
            elif change.key == LOGIN_LOST:
                changed = changed._replace(faults=state.faults._replace(logins=state.faults.logins - 1))
            yield Step(f"Plaid: {text}", changed)
        queued = state._replace(queue=(*state.queue, len(state.log)))
        if state.webhook_pending:
            yield Step("Plaid's webhook is queued", queued._replace(webhook_pending=False))
        elif state.faults.duplicates and state.log:
            faults = state.faults._replace(duplicates=state.faults.duplicates - 1)
            yield Step("Plaid's webhook is queued again", queued._replace(faults=faults))

    # ---- the queue

    def _queue(self, state: State) -> Iterator[Step]:
        if not state.queue or any(worker and worker.receipts_valid for worker in state.workers):
            return  # a message group is locked while a message of it is in flight
        if None not in state.workers:
            return
        free = state.workers.index(None)
        for count in range(1, len(state.queue) + 1):
            worker = Worker(
                count, state.queue[count - 1], receipts_valid=True, generation=0, history=self.machine.begin
            )
            yield Step(f"a worker receives {count} of {len(state.queue)} message(s)", put(state, free, worker))

    # ---- workers

    def _work(self, state: State, number: int, worker: Worker) -> Iterator[Step]:
        call = self.machine.calls[worker.history]
        name = _name_of(worker)
        if isinstance(call, calls.Load):
            yield from self._load(state, number, worker, name)
        elif isinstance(call, calls.Claim):
            after, claim = tables.claim(state, call, self.without)
            claimed = worker._replace(generation=after.item.generation)
            result = f"attempt {after.item.generation}" if isinstance(claim, Item) else "refused, already claimed"
            yield self._respond(after, number, claimed, claim, f"{name} claims: {result}")
        elif isinstance(call, calls.CheckHealth):
            required = login_required(state.log)
            text = f"{name} checks the Item's health: {'its user has to log in' if required else 'healthy'}"
            yield self._respond(state, number, worker, required, text)
        elif isinstance(call, calls.Pull):
            yield from self._pull(state, number, worker, call)
        elif isinstance(call, calls.Scan):
            found = [(key, row) for key, row in enumerate(state.rows) if row and row.generation >= call.since]
            text = f"{name} scans the rows since generation {call.since}"
            yield self._respond(state, number, worker, tuple(found), text)
        elif isinstance(call, calls.Read):
            read = [(key, row) for key in call.keys if (row := state.rows[key])]
            yield self._respond(state, number, worker, tuple(read), f"{name} reads the stored rows")
        elif isinstance(call, calls.Write):
            yield self._write(state, number, worker, call)
        elif isinstance(call, calls.Record):
            after, written = tables.record(state, call)
            text = f"{name} records {'that the user is needed' if call.needs_user else 'that nothing is ready'}"
            yield self._respond(after, number, worker, written, f"{text}{written}")
        else:
            yield self._finish(state, number, worker)

    def _load(self, state: State, number: int, worker: Worker, name: str) -> Iterator[Step]:
        began = state.item.pull_began
        # Whether the message is, by all clocks, older than the committed pull: mostly both are possible.
        ages = (False,) if began is None or worker.sent > began else (True, False)
        for beyond_skew in ages:
            response = Loaded(state.item, beyond_skew)
            call = self.machine.calls[self.machine.after(worker.history, response)]
            loading = worker._replace(sent=worker.sent if "stale-receipt" in self.without else 0)
            text = f"{name} loads the Item: {'covered' if isinstance(call, calls.Finish) else 'not covered'}"
            if isinstance(call, calls.Claim):
                loading, response = loading._replace(generation=LOADED), not_covered(call.generation)
            yield self._respond(state, number, loading, response, text)

    def _pull(self, state: State, number: int, worker: Worker, call: calls.Pull) -> Iterator[Step]:
        pulled_before = state.item.cursor is not None
        page = sync_page(state.log, call.cursor, self.scenario.reporting, pulled_before=pulled_before)
        history = worker.history
        if call.first_page:
            history = self.machine.after(history, Time(len(state.log)))
        pulling = worker._replace(history=history)
        text = f"attempt {worker.generation} pulls from {call.cursor or 'the beginning'}"
        yield self._respond(state, number, pulling, page, f"{text}: {page}")
        if state.faults.rejections and call.first_page and call.cursor is not None and page != Refusal.CURSOR_REJECTED:
            fewer = state._replace(faults=state.faults._replace(rejections=state.faults.rejections - 1))
            yield self._respond(fewer, number, pulling, Refusal.CURSOR_REJECTED, f"{text}: Plaid rejects the cursor")

    def _write(self, state: State, number: int, worker: Worker, call: calls.Write) -> Step:
        after, written = tables.write(state, call, self.without)
        rows = ", ".join(f"{IDS[key]}={value or 'removed'}" for key, value in call.rows) or "no row"
        text = f"attempt {worker.generation} writes {rows}{' and commits' if call.commit else ''}{written}"
        broken = broken_by_write(state, call, written, self.without)
        if written == tables.SUPERSEDED and "superseded-retry" in self.without:
            return Step(f"{text}; it deletes its messages", self._deleting(after, number, worker), broken)
        return self._respond(after, number, worker, written, text)._replace(broken=broken)

    def _respond(self, state: State, number: int, worker: Worker, response: Response, text: str) -> Step:
        history = self.machine.after(worker.history, response)
        call: Call = self.machine.calls[history]
        if isinstance(call, calls.Finish):
            if not call.delete:
                return Step(f"{text}; its messages return", put(state, number, None))
            return Step(text, self._deleting(state, number, worker))
        return Step(text, put(state, number, worker._replace(history=history)))

    def _deleting(self, state: State, number: int, worker: Worker) -> State:
        """Put the worker before its last call. What led there does not matter any more."""
        covered = self.machine.after(self.machine.begin, _COVERED)
        assert isinstance(self.machine.calls[covered], calls.Finish)
        if not worker.receipts_valid and "stale-receipt" not in self.without:
            return put(state, number, None)
        return put(state, number, worker._replace(generation=0, history=covered))

    def _finish(self, state: State, number: int, worker: Worker) -> Step:
        by_time = "stale-receipt" in self.without
        left = tuple(sent for sent in state.queue if sent > worker.sent) if by_time else state.queue[worker.messages :]
        text = f"the worker deletes its {worker.messages} message(s)"
        return Step(text, put(state, number, None)._replace(queue=left))

    # ---- faults

    def _fail(self, state: State, number: int, worker: Worker) -> Iterator[Step]:
        name, faults = _name_of(worker), state.faults
        if not worker.receipts_valid:
            yield Step(f"{name} (a zombie) dies", put(state, number, None))
            return
        if faults.crashes:
            fewer = state._replace(faults=faults._replace(crashes=faults.crashes - 1))
            yield Step(f"{name} dies; its messages return", put(fewer, number, None))
        if faults.pauses:
            fewer = state._replace(faults=faults._replace(pauses=faults.pauses - 1))
            yield Step(f"{name} is paused; its messages return", put(fewer, number, self._zombie(worker)))

    def _zombie(self, worker: Worker) -> Worker | None:
        """Return a worker that was paused past its visibility timeout: it can delete nothing any more.

        If its message were covered it would only end, as it can at any time. So its message is too young for that.
        """
        if "stale-receipt" in self.without:
            return worker._replace(receipts_valid=False)
        if isinstance(self.machine.calls[worker.history], calls.Finish):
            return None
        return worker._replace(receipts_valid=False, messages=0, sent=_TOO_YOUNG if worker.sent else 0)


def _name_of(worker: Worker) -> str:
    if worker.generation > 0:
        return f"attempt {worker.generation}"
    return "a worker that loaded the Item" if worker.generation == LOADED else "a worker"
