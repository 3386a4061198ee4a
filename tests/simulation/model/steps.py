"""The transitions: what can happen next in a state."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.simulation.model import calls, tables
from tests.simulation.model.calls import Call, Loaded, Response, Time, not_covered
from tests.simulation.model.invariants import broken_by_write, is_settled
from tests.simulation.model.plaid import Page, Refusal, login_required, possible_changes, sync_page
from tests.simulation.model.state import (
    IDS,
    LOADED,
    LOGIN_LOST,
    LOGIN_REPAIRED,
    Checkpoint,
    Item,
    Message,
    Next,
    Resync,
    State,
    Worker,
    canonical,
    put,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

    from tests.simulation.model.replay import Machine
    from tests.simulation.model.scenarios import Scenario

_TOO_YOUNG: Final = 99
"""When a message was sent that no pull covers."""
_COVERED: Final = Loaded(Item(generation=0, cursor="0", pull_began=0), beyond_skew=True)


class Step(NamedTuple):
    """One transition.

    Attributes:
        text: its description.
        state: the state that it leads to.
        broken: the invariant that it breaks.
        fair: it happens at some time unless another one prevents it. What is left are changes at Plaid, faults, and
            what a paused worker does: it may never continue.
    """

    text: str
    state: State
    broken: str = ""
    fair: bool = True


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
            after = canonical(step.state) if reduce else step.state
            if after.lost and is_settled(after, self.scenario):
                after = after._replace(lost=False)
            yield step._replace(state=after)

    def _steps(self, state: State) -> Iterator[Step]:
        for number, worker in enumerate(state.workers):
            if worker is not None and self._commutes(state, worker):
                yield from islice(self._work(state, number, worker), 1)
                return
        yield from self._plaid(state)
        yield from self._sweep(state)
        yield from self._queue(state)
        for number, worker in enumerate(state.workers):
            if worker is not None:
                for step in self._work(state, number, worker):
                    yield step._replace(fair=step.fair and worker.receipts_valid)
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
            changed = state._replace(log=(*state.log, change))
            if change.key in {LOGIN_LOST, LOGIN_REPAIRED}:
                changed = changed._replace(hint_pending=True)
            else:
                changed = changed._replace(webhook_pending=True)
            if change.key >= 0:
                changed = changed._replace(changes=state.changes - 1)
            elif change.key == LOGIN_LOST:
                changed = _with_fewer(changed, "logins")
            yield Step(f"Plaid: {text}", changed, fair=False)
        if state.webhook_pending:
            delivered = state._replace(webhook_pending=False)
            yield Step("Plaid's webhook is queued", _with_message(delivered, len(state.log)))
            if state.faults.lost:
                yield Step("Plaid's webhook is lost", _with_fewer(delivered, "lost")._replace(lost=True), fair=False)
        elif state.faults.duplicates and state.log:
            again = _with_fewer(_with_message(state, len(state.log)), "duplicates")
            yield Step("Plaid's webhook is queued again", again, fair=False)
        if state.hint_pending:
            delivered = state._replace(hint_pending=False)
            yield Step("Plaid's ITEM webhook is queued", _with_message(delivered, len(state.log), hint=True))
            if state.faults.lost:
                lost = _with_fewer(delivered, "lost")._replace(lost=True)
                yield Step("Plaid's ITEM webhook is lost", lost, fair=False)

    # ---- the sweep

    def _sweep(self, state: State) -> Iterator[Step]:
        item = state.item
        if item.reconcile is Resync.LATER:
            near = Next.NEAR if item.next_attempt is Next.WITH_RESYNC else item.next_attempt
            due = item._replace(reconcile=Resync.DUE, next_attempt=near)
            yield Step("time passes: the full resync may begin", state._replace(item=due))
        if state.queue:
            return  # that message does the same
        # By routine an Item is enqueued at any time. That matters only where a webhook is lost.
        routine = state.lost and not is_settled(state, self.scenario)
        if item.next_attempt is Next.NEAR or routine:
            yield Step("the sweep enqueues the Item", _with_message(state, len(state.log) + 0.5))

    # ---- the queue

    def _queue(self, state: State) -> Iterator[Step]:
        if not state.queue or any(worker and worker.receipts_valid for worker in state.workers):
            return  # a message group is locked while a message of it is in flight
        if None not in state.workers:
            return
        free = state.workers.index(None)
        for count in range(1, len(state.queue) + 1):
            received = state.queue[:count]
            hint = any(message.hint for message in received)
            begin = self.machine.begin_with_hint if hint else self.machine.begin
            worker = Worker(count, received[-1].sent, receipts_valid=True, generation=0, history=begin)
            text = f"a worker receives {count} of {len(state.queue)} message(s){', with a hint' if hint else ''}"
            yield Step(text, put(state, free, worker))

    # ---- workers

    def _work(self, state: State, number: int, worker: Worker) -> Iterator[Step]:
        call = self.machine.calls[worker.history]
        name = _name_of(worker)
        if isinstance(call, calls.Load | calls.Find):
            yield from self._load(state, number, worker, call)
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
        elif isinstance(call, calls.RestartPull):
            after, written = tables.restart_pull(state, call, self.without)
            text = f"{name} restarts its pull{' from the beginning' if call.from_beginning else ''}"
            raised = worker if written.refused else worker._replace(generation=after.item.generation)
            yield self._respond(after, number, raised, written, f"{text}{written}")
            yield from self._refused(state, number, worker, text)
        elif isinstance(call, calls.Write):
            yield from self._write(state, number, worker, call)
        elif isinstance(call, calls.Record):
            yield from self._record(state, number, worker, call)
        else:
            yield self._finish(state, number, worker)

    def _load(self, state: State, number: int, worker: Worker, first: calls.Load | calls.Find) -> Iterator[Step]:
        began, name = state.item.pull_began, _name_of(worker)
        # Whether the message is, by all clocks, older than the committed pull: mostly both are possible.
        ages = (False,) if began is None or worker.sent > began else (True, False)
        for beyond_skew in ages:
            if isinstance(first, calls.Find) and not beyond_skew and (began is None or first.allows_skew):
                after, item = tables.find(state, first, self.without)
                finding = worker if self._loads_again else worker._replace(sent=0)
                finding = finding._replace(generation=after.item.generation)
                yield self._respond(after, number, finding, item, f"{name} claims: attempt {after.item.generation}")
                if worker.receipts_valid:
                    continue
                # By its clock a paused worker began before the newest attempt, or after it.
            response = Loaded(state.item, beyond_skew)
            call = self.machine.calls[self.machine.after(worker.history, response)]
            loading = worker if self._loads_again else worker._replace(sent=0)
            text = f"{name} loads the Item: {'covered' if isinstance(call, calls.Finish) else 'not covered'}"
            if isinstance(call, calls.Claim):
                loading, response = loading._replace(generation=LOADED), not_covered(call)
            yield self._respond(state, number, loading, response, text)

    @property
    def _loads_again(self) -> bool:
        """Whether it matters when the messages were sent, after a load."""
        return self.scenario.retries > 0 or "stale-receipt" in self.without

    def _pull(self, state: State, number: int, worker: Worker, call: calls.Pull) -> Iterator[Step]:
        page = self._page(state, call)
        history = worker.history
        if call.first_page and ">" not in (call.cursor or ""):
            history = self.machine.after(history, Time(len(state.log)))
        pulling = worker._replace(history=history)
        text = f"attempt {worker.generation} pulls from {call.cursor or 'the beginning'}"
        yield self._respond(state, number, pulling, page, f"{text}: {page}")
        faults = state.faults
        if faults.rejections and call.first_page and call.cursor is not None:
            fewer = _with_fewer(state, "rejections")._replace(dropped=True)
            step = self._respond(fewer, number, pulling, Refusal.CURSOR_REJECTED, f"{text}: Plaid rejects the cursor")
            yield step._replace(fair=False)
        if faults.refusals:
            fewer = _with_fewer(state, "refusals")
            step = self._respond(fewer, number, pulling, Refusal.UNAVAILABLE, f"{text}: Plaid is unavailable")
            yield step._replace(fair=False)
        if faults.late and isinstance(page, Page):
            fewer, late = _with_fewer(state, "late"), page._replace(late=True)
            yield self._respond(fewer, number, pulling, late, f"{text}: {page}, late")._replace(fair=False)

    def _page(self, state: State, call: calls.Pull) -> Page | Refusal:
        if login_required(state.log) and not self.scenario.served_without_login:
            return Refusal.LOGIN_REQUIRED
        pulled_before = state.item.cursor is not None
        dropped, reporting = state.dropped, self.scenario.reporting
        return sync_page(state.log, call.cursor, reporting, dropped=dropped, pulled_before=pulled_before)

    def _write(self, state: State, number: int, worker: Worker, call: calls.Write) -> Iterator[Step]:
        after, written = tables.write(state, call, self.without)
        rows = ", ".join(f"{IDS[key]}={value or 'removed'}" for key, value in call.rows) or "no row"
        end = "" if call.end is None else " up to a checkpoint" if isinstance(call.end, Checkpoint) else " and commits"
        text = f"attempt {worker.generation} writes {rows}{end}"
        broken = broken_by_write(state, call, written, self.without)
        raises = isinstance(call.end, Checkpoint) and not written.refused
        raised = worker._replace(generation=after.item.generation) if raises else worker
        yield self._respond(after, number, raised, written, f"{text}{written}")._replace(broken=broken)
        yield from self._refused(state, number, worker, text)

    def _record(self, state: State, number: int, worker: Worker, call: calls.Record) -> Iterator[Step]:
        after, written = tables.record(state, call)
        outcome = call.after.failure or ("that the user is needed" if call.after.needs_user else "that it continues")
        text = f"{_name_of(worker)} records {outcome}"
        yield self._respond(after, number, worker, written, f"{text}{written}")
        yield from self._refused(state, number, worker, text)

    def _refused(self, state: State, number: int, worker: Worker, text: str) -> Iterator[Step]:
        """Let DynamoDB refuse a write, without an effect."""
        if state.faults.refusals and worker.generation == state.item.generation:
            fewer = _with_fewer(state, "refusals")
            yield self._respond(fewer, number, worker, tables.THROTTLED, f"{text}: throttled")._replace(fair=False)

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
        left = tuple(message for message in state.queue if message.sent > worker.sent)
        text = f"the worker deletes its {worker.messages} message(s)"
        return Step(text, put(state, number, None)._replace(queue=left if by_time else state.queue[worker.messages :]))

    # ---- faults

    def _fail(self, state: State, number: int, worker: Worker) -> Iterator[Step]:
        name, faults = _name_of(worker), state.faults
        if not worker.receipts_valid:
            # There are more workers than two: a message does not wait for paused ones.
            blocks = bool(state.queue) and not any(other is None or other.receipts_valid for other in state.workers)
            yield Step(f"{name} (a zombie) dies", put(state, number, None), fair=blocks)
            return
        if faults.crashes:
            crashed = put(_with_fewer(state, "crashes"), number, None)
            yield Step(f"{name} dies; its messages return", crashed, fair=False)
        if faults.pauses:
            paused = put(_with_fewer(state, "pauses"), number, self._zombie(worker))
            yield Step(f"{name} is paused; its messages return", paused, fair=False)

    def _zombie(self, worker: Worker) -> Worker | None:
        """Return a worker that was paused past its visibility timeout: it can delete nothing any more.

        If its message were covered it would only end, as it can at any time. So its message is too young for that.
        """
        if "stale-receipt" in self.without:
            return worker._replace(receipts_valid=False)
        if isinstance(self.machine.calls[worker.history], calls.Finish):
            return None
        return worker._replace(receipts_valid=False, messages=0, sent=_TOO_YOUNG if worker.sent else 0)


def _with_message(state: State, sent: float, *, hint: bool = False) -> State:
    return state._replace(queue=(*state.queue, Message(sent, hint)))


def _with_fewer(state: State, fault: str) -> State:
    """Count a fault."""
    left = getattr(state.faults, fault) - 1
    return state._replace(faults=state.faults._replace(**{fault: left}))


def _name_of(worker: Worker) -> str:
    if worker.generation > 0:
        return f"attempt {worker.generation}"
    return "a worker that loaded the Item" if worker.generation == LOADED else "a worker"
