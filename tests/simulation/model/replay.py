"""The engine as a step machine: run against recorded responses, it stops at the first call that has none.

What a worker does next depends only on the responses that it got so far. So its state is that history, interned as a
number, and each history is run once.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

from plaid_sync.domain.clock import Deadline
from plaid_sync.domain.errors import ITEM_MODIFIED, PlaidError, SupersededError, TransientError
from plaid_sync.domain.item import (
    HISTORY_COMPLETE,
    HISTORY_INITIAL,
    HISTORY_NOT_READY,
    Cursor,
    ItemFailure,
    ItemHealth,
    ItemId,
    ItemState,
    PendingCheck,
    StateName,
)
from plaid_sync.domain.item import Checkpoint as EngineCheckpoint
from plaid_sync.domain.item import Item as EngineItem
from plaid_sync.domain.messages import Cause, SyncMessage
from plaid_sync.domain.schedule import AttemptClass
from plaid_sync.domain.transaction import RowRemoval, StoredRow, TransactionId, TransactionRow
from plaid_sync.pull import pages, puller
from plaid_sync.pull.puller import MUTATION_PERSISTS, Puller
from plaid_sync.removal import Remover
from plaid_sync.sync import engine as sync_engine
from plaid_sync.sync import planner, steps
from plaid_sync.sync.accounts import AccountChecks
from plaid_sync.sync.batch import BatchProcessor
from plaid_sync.sync.engine import SyncEngine
from plaid_sync.sync.planner import UpdatePlanner
from plaid_sync.sync.ports import Commit, FoundItem, Reconciliation
from plaid_sync.sync.steps import AttemptSteps

from tests.fakes.attempts import FakeAttempts
from tests.simulation.model import calls
from tests.simulation.model.calls import NEVER, Call, Loaded, Response, Time, Written
from tests.simulation.model.plaid import Page, Refusal
from tests.simulation.model.state import GONE, IDS, Checkpoint, Item, Next, Resync, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from contextlib import AbstractContextManager

    from plaid_sync.domain.schedule import NextAttempt
    from plaid_sync.domain.transaction import RowWrite
    from plaid_sync.sync.ports import Claim, FollowUp, ItemStateUpdate

    from tests.simulation.model.scenarios import Scenario

_SENT_AT: Final = datetime(2030, 1, 1, tzinfo=UTC)
_POSITION: Final = timedelta(minutes=1)
_WITHIN_SKEW: Final = timedelta(seconds=119)
"""A message that was sent a second after a pull began seems so much older when both clocks are a minute off."""
_RESYNC_DELAY: Final = timedelta(hours=1)
_BODY: Final = SyncMessage(ItemId("item"), Cause.WEBHOOK).to_json()
_CHECK: Final = PendingCheck("ERROR")
_WEBHOOK: Final = {"webhook_type": "ITEM", "webhook_code": _CHECK.code}
_HINT_BODY: Final = SyncMessage(ItemId("item"), Cause.WEBHOOK, _WEBHOOK).to_json()
_FAILED: Final = "failed"
_LATE_SECONDS: Final = 50.0
"""Too little for another part, or for a commit; enough to write the part that is pulled."""


class _SuspendedError(BaseException):
    """The engine made a call that has no response yet."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        self.call = call


class Machine:
    """Interns histories.

    Attributes:
        calls: the next call of each history.
        begin: the history of a worker that received a message.
        begin_with_hint: the same, and the message is an ITEM webhook's.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._bodies: list[str] = []
        self._responses: list[tuple[Response, ...]] = []
        self._numbers: dict[tuple[int, Response], int] = {}
        self.begin: Final = self._add(_BODY, ())
        self.begin_with_hint: Final = self._add(_HINT_BODY, ())

    def after(self, history: int, response: Response) -> int:
        """Return the history that follows when the next call gets this response."""
        number = self._numbers.get((history, response))
        if number is None:
            number = self._add(self._bodies[history], (*self._responses[history], response))
            self._numbers[history, response] = number
        return number

    def _add(self, body: str, responses: tuple[Response, ...]) -> int:
        self._bodies.append(body)
        self._responses.append(responses)
        self.calls.append(_run(body, responses))
        return len(self.calls) - 1


@contextmanager
def small_limits(scenario: Scenario) -> Iterator[None]:
    """Let a transaction hold one row, and a pull restart once, so that small histories need several.

    A failure is recorded at once: a retry in the invocation does what the next one does.
    """
    with (
        patch.object(planner, "MAX_ROWS", 1),
        patch.object(planner, "PART_ENTRIES", scenario.part_entries),
        patch.object(planner, "RECONCILE_DELAYS", (_RESYNC_DELAY,)),
        patch.object(puller, "MAX_RESTARTS", 1),
        patch.object(steps, "MAX_RESTARTS", 1),
        patch.object(sync_engine, "_RETRY_PAUSES", (1.0,) * scenario.retries),
    ):
        yield


def _run(body: str, responses: tuple[Response, ...]) -> Call:
    ports: Any = _Ports(responses)
    puller_ = Puller(ports, ports)
    update_planner = UpdatePlanner(ports, puller_)
    account_checks = AccountChecks(ports, ports, ports, ports, puller_)
    engine = SyncEngine(
        items=ports,
        steps=AttemptSteps(ports, ports, ports, ports, ports, update_planner, account_checks, ports),
        removals=Remover(
            items=ports,
            rows=ports,
            claims=ports,
            tokens=ports,
            plaid=ports,
            clock=ports,
            report_orphaned=lambda _: None,
        ),
        clock=ports,
    )
    record = {
        "body": body,
        "messageId": "message",
        "receiptHandle": "handle",
        "attributes": {"SentTimestamp": str(int(_SENT_AT.timestamp() * 1000)), "ApproximateReceiveCount": "1"},
    }
    try:
        result = BatchProcessor(engine, ports, FakeAttempts(), _no_timer).process(
            [record], Deadline(ports.remaining_seconds)
        )
    except _SuspendedError as suspended:
        return suspended.call
    bugs = [returned.bug for returned in result.returned] + [report.bug for report in result.reports.values()]
    for bug in bugs:
        if bug is not None:
            raise bug
    return calls.Finish(delete=not result.failed_message_ids)


def _no_timer(beat: Callable[[], None]) -> AbstractContextManager[None]:
    del beat  # messages return at any time
    return nullcontext()


class _Ports:
    """All ports of the engine; responds from the record.

    What no worker of the model calls is not there: no Item is removed or restored, no entry is invalid, and no message
    is dead-lettered.
    """

    def __init__(self, responses: tuple[Response, ...]) -> None:
        self._left = list(reversed(responses))
        self._clock_read = False
        self._time = NEVER
        self._late = False

    def _respond(self, call: Call, kind: Any) -> Any:
        self._clock_read, self._time = False, NEVER
        if not self._left:
            raise _SuspendedError(call)
        response = self._left.pop()
        if not isinstance(response, kind):
            raise TypeError(f"the response to {call} is {response}")
        return response

    def now(self) -> datetime:
        if self._left and isinstance(self._left[-1], Time):
            time = self._left.pop()
            assert isinstance(time, Time)
            self._time = time.position
        self._clock_read = True
        return _to_time(self._time)

    def sleep(self, seconds: float) -> None:
        """Make no step of a wait: anything can happen before the next call anyway."""

    def remaining_seconds(self) -> float:
        return _LATE_SECONDS if self._late else 1e9

    def load(self, item_id: ItemId) -> EngineItem | None:
        return _loaded_item(item_id, self._respond(calls.Load(), Loaded))

    def find(self, item_id: ItemId, claim: Claim, covered_after: datetime) -> FoundItem:
        allows_skew = covered_after >= _SENT_AT + _WITHIN_SKEW
        found = self._respond(calls.Find(_next(claim.next_attempt), allows_skew), Item | Loaded)
        if isinstance(found, Loaded):
            return FoundItem(_loaded_item(item_id, found))
        return FoundItem(_engine_item(item_id, found, None), claimed=True)

    def claim(self, item: EngineItem, claim: Claim) -> EngineItem:
        # Unfinished attempts are not counted here: a claim that finds too many of them records a failure.
        call = calls.Claim(item.generation, bool(item.pending_checks), _next(claim.next_attempt))
        claimed = self._respond(call, Item | Written)
        if isinstance(claimed, Written):
            raise TransientError(ITEM_MODIFIED)
        return _engine_item(item.item_id, claimed, None)

    def restart_pull(
        self,
        item: EngineItem,
        *,
        from_beginning: bool,
        reset_at: datetime | None = None,
        pulled_with: str | None = None,
    ) -> EngineItem:
        assert pulled_with is None  # the model's stack never changes its options
        call = calls.RestartPull(item.generation, from_beginning, resets_cursor=reset_at is not None)
        _raise_if_refused(self._respond(call, Written))
        restarted = replace(item, generation=item.generation + 1, checkpoint=None)
        restarted = replace(restarted, cursor_reset_at=reset_at or item.cursor_reset_at)
        return replace(restarted, reconcile=True, reconcile_after=None) if from_beginning else restarted

    def record(self, item: EngineItem, update: ItemStateUpdate) -> None:
        assert not update.reconcile  # the model's Plaid is ready for every Item that has a cursor
        after = _after(update.state, update.follow_up, _next(update.follow_up.next_attempt))
        call = calls.Record(item.generation, after)
        _raise_if_refused(self._respond(call, Written))

    def health(self, _access_token: str) -> ItemHealth:
        login_required = self._respond(calls.CheckHealth(), bool)
        return ItemHealth(error_code=Refusal.LOGIN_REQUIRED if login_required else None)

    def rows(
        self, _item_id: ItemId, ids: Collection[TransactionId], _deadline: Deadline
    ) -> Mapping[TransactionId, StoredRow]:
        found = self._respond(calls.Read(tuple(map(IDS.index, ids))), tuple)
        return {TransactionId(IDS[key]): _stored_row(key, row, content=True) for key, row in found}

    def scan_item(self, _item_id: ItemId, _deadline: Deadline, since: int = 0) -> Iterator[StoredRow]:
        found = self._respond(calls.Scan(since), tuple)
        return iter([_stored_row(key, row, content=False) for key, row in found])

    def write(
        self,
        _item_id: ItemId,
        generation: int,
        writes: Collection[RowWrite],
        *,
        begin: bool,
        end: Commit | EngineCheckpoint | None = None,
    ) -> None:
        rows = tuple(
            (IDS.index(write.transaction_id), int(write.amount) if isinstance(write, TransactionRow) else GONE)
            for write in writes
        )
        _raise_if_refused(self._respond(calls.Write(generation, rows, begin, _end(end)), Written))

    def decrypt(self, _item_id: ItemId, _ciphertext: bytes) -> str:
        return "token"

    def forget(self, item_id: ItemId) -> None:
        """Do nothing: the model's tokens do not change."""

    def sync_page(self, _access_token: str, cursor: Cursor | None, _days_requested: int | None) -> pages.Page:
        response = self._respond(calls.Pull(cursor, first_page=self._clock_read), Page | Refusal)
        if isinstance(response, Refusal):
            raise PlaidError(response)
        self._late = self._late or response.late
        return _engine_page(response)

    def change_visibility(self, receipt_handles: Collection[str], seconds: int) -> list[str]:
        """Return that none failed: the model returns messages at any time."""
        del receipt_handles, seconds
        return []


def _raise_if_refused(written: Written) -> None:
    if written.refused == "superseded":
        raise SupersededError
    if written.refused:
        raise TransientError(written.refused)


# ---- the model's values as the engine's own objects


def _to_time(position: int) -> datetime:
    return _SENT_AT + position * _POSITION


def _to_position(moment: datetime) -> int:
    return round((moment - _SENT_AT) / _POSITION)


def _loaded_item(item_id: ItemId, loaded: Loaded) -> EngineItem:
    began = None
    if loaded.item.pull_began is not None:
        began = _SENT_AT + (timedelta(hours=1) if loaded.beyond_skew else _WITHIN_SKEW)
    return _engine_item(item_id, loaded.item, began)


def _engine_item(item_id: ItemId, item: Item, began: datetime | None) -> EngineItem:
    needs_user = ItemState(StateName.NEEDS_USER, Refusal.LOGIN_REQUIRED)
    checkpoint, stored = None, None if item.cursor is None else Cursor(item.cursor)
    if item.checkpoint is not None:
        cursor, from_beginning, written, checkpoint_began = item.checkpoint
        checkpoint = EngineCheckpoint(Cursor(cursor), stored, from_beginning, _to_time(checkpoint_began), written)
    return EngineItem(
        item_id=item_id,
        generation=item.generation,
        state=needs_user if item.needs_user else ItemState(StateName.ACTIVE),
        cursor=None if item.cursor is None else Cursor(item.cursor),
        writing_since=item.writing_since,
        checkpoint=checkpoint,
        reconcile=item.reconcile is not Resync.NONE,
        reconcile_after=_SENT_AT + _RESYNC_DELAY if item.reconcile is Resync.LATER else None,
        inconclusive_pulls=item.inconclusive,
        cursor_reset_at=_SENT_AT if item.was_reset else None,
        pull_began_at=began,
        failure=ItemFailure(item.failure, "transient", _SENT_AT, _SENT_AT) if item.failure else None,
        pending_checks=(_CHECK,) if item.hint else (),
    )


def _after(state: ItemState, follow_up: FollowUp, next_attempt: Next) -> calls.After:
    code = "" if follow_up.failure is None else follow_up.failure.code
    return calls.After(
        needs_user=state.name == StateName.NEEDS_USER,
        hint=bool(follow_up.pending_checks),
        # The engine distinguishes no other code of those that happen here.
        failure=code if code in {"", MUTATION_PERSISTS} else _FAILED,
        next_attempt=next_attempt,
    )


def _end(end: Commit | EngineCheckpoint | None) -> calls.CommitPart | Checkpoint | None:
    if end is None:
        return None
    if not isinstance(end, Commit):
        return Checkpoint(end.cursor, end.from_beginning, end.written, _to_position(end.began_at))
    reconcile, next_attempt = _resync(end.reconciliation, end.committed_at), _next(end.follow_up.next_attempt)
    resync_at = end.reconciliation.after or end.committed_at
    if end.reconciliation.pending and end.follow_up.next_attempt.at <= resync_at:
        next_attempt = Next.NEAR if reconcile is Resync.DUE else Next.WITH_RESYNC
    return calls.CommitPart(
        end.expected_cursor,
        end.cursor,
        _to_position(end.pull_began_at),
        reconcile,
        end.reconciliation.inconclusive_pulls,
        bool(end.entry and end.entry.details["reconcile_decided"]),
        _after(end.state, end.follow_up, next_attempt),
    )


def _next(next_attempt: NextAttempt) -> Next:
    return Next.ROUTINE if next_attempt.attempt_class is AttemptClass.ROUTINE else Next.NEAR


def _resync(reconciliation: Reconciliation, now: datetime) -> Resync:
    if not reconciliation.pending:
        return Resync.NONE
    return Resync.DUE if reconciliation.after is None or reconciliation.after <= now else Resync.LATER


def _transaction(key: int, value: int) -> TransactionRow:
    return TransactionRow(
        TransactionId(IDS[key]), "account", "2030-01-01", Decimal(value), pending=False, remainder=b"{}"
    )


def _stored_row(key: int, row: Row, *, content: bool) -> StoredRow:
    live = row.value != GONE
    transaction = _transaction(key, row.value) if content and live else None
    return StoredRow(TransactionId(IDS[key]), "account", live, row.generation, row.first_generation, transaction)


def _engine_page(page: Page) -> pages.Page:
    key = page.change.key
    incomplete = HISTORY_NOT_READY if page.next_cursor is None else HISTORY_INITIAL
    changed = (_transaction(key, page.change.value),) if page.kind in {"added", "modified"} else ()
    return pages.Page(
        added=changed if page.kind == "added" else (),
        modified=changed if page.kind == "modified" else (),
        removed=(RowRemoval(TransactionId(IDS[key]), "account"),) if page.kind == "removed" else (),
        next_cursor=None if page.next_cursor is None else Cursor(page.next_cursor),
        has_more=page.has_more,
        update_status=HISTORY_COMPLETE if page.complete else incomplete,
        request_id="",
    )
