"""The engine as a step machine: run against recorded responses, it stops at the first call that has none.

What a worker does next depends only on the responses that it got so far. So its state is that history, interned as a
number, and each history is run once.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

from plaid_sync.domain.clock import Deadline
from plaid_sync.domain.errors import PlaidError, SupersededError, TransientError
from plaid_sync.domain.item import Cursor, ItemHealth, ItemId, ItemState, StateName
from plaid_sync.domain.item import Item as EngineItem
from plaid_sync.domain.messages import Cause, SyncMessage
from plaid_sync.domain.transaction import RowRemoval, StoredRow, TransactionId, TransactionRow
from plaid_sync.pull import pages, puller
from plaid_sync.pull.puller import HISTORY_COMPLETE, Puller
from plaid_sync.removal import Remover
from plaid_sync.sync import planner
from plaid_sync.sync.batch import BatchProcessor
from plaid_sync.sync.engine import SyncEngine
from plaid_sync.sync.planner import RESYNC_AFTER_RECEIVES, UpdatePlanner

from tests.simulation.model import calls
from tests.simulation.model.calls import NEVER, Call, Loaded, Response, Time, Written
from tests.simulation.model.plaid import Page, Refusal
from tests.simulation.model.state import GONE, IDS, Item, Row

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from plaid_sync.domain.transaction import RowWrite
    from plaid_sync.sync.ports import Commit, ItemStateUpdate

_SENT_AT: Final = datetime(2030, 1, 1, tzinfo=UTC)
_WITHIN_SKEW: Final = timedelta(seconds=119)
"""A message that was sent a second after a pull began seems so much older when both clocks are a minute off."""
_BODY: Final = SyncMessage(ItemId("item"), Cause.WEBHOOK).to_json()


class _SuspendedError(BaseException):
    """The engine made a call that has no response yet."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        self.call = call


class Machine:
    """Interns histories.

    Attributes:
        calls: the next call of each history.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._responses: list[tuple[Response, ...]] = []
        self._numbers: dict[tuple[int, Response], int] = {}
        self.begin: Final = self._add(())

    def after(self, history: int, response: Response) -> int:
        """Return the history that follows when the next call gets this response."""
        number = self._numbers.get((history, response))
        if number is None:
            number = self._numbers[history, response] = self._add((*self._responses[history], response))
        return number

    def _add(self, responses: tuple[Response, ...]) -> int:
        self._responses.append(responses)
        self.calls.append(_run(responses))
        return len(self.calls) - 1


@contextmanager
def small_limits() -> Iterator[None]:
    """Let a transaction hold one row and a pull restart once, so that small histories need several."""
    with patch.object(planner, "MAX_ROWS", 1), patch.object(puller, "MAX_RESTARTS", 1):
        yield


def _run(responses: tuple[Response, ...]) -> Call:
    ports: Any = _Ports(responses)
    engine = SyncEngine(
        items=ports,
        transactions=ports,
        quarantine=ports,
        tokens=ports,
        plaid=ports,
        planner=UpdatePlanner(ports, Puller(ports, ports)),
        removals=Remover(items=ports, rows=ports, claims=ports, tokens=ports, plaid=ports, clock=ports),
        clock=ports,
    )
    record = {
        "body": _BODY,
        "messageId": "message",
        "receiptHandle": "handle",
        "attributes": {
            "SentTimestamp": str(int(_SENT_AT.timestamp() * 1000)),
            "ApproximateReceiveCount": str(RESYNC_AFTER_RECEIVES),
        },
    }
    try:
        result = BatchProcessor(engine, ports, lambda: 1.0).process([record], Deadline(lambda: 1e9))
    except _SuspendedError as suspended:
        return suspended.call
    for failure in result.failures:
        if failure.bug is not None:
            raise failure.bug
    return calls.Finish(delete=not result.failed_message_ids)


class _Ports:
    """All ports of the engine; responds from the record.

    What no worker of the model calls is not there: no Item is removed or restored, no entry is invalid, and no message
    is requeued or dead-lettered.
    """

    def __init__(self, responses: tuple[Response, ...]) -> None:
        self._left = list(reversed(responses))
        self._clock_read = False

    def _respond(self, call: Call, kind: Any) -> Any:
        self._clock_read = False
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
            return _to_time(time.position)
        self._clock_read = True
        return _to_time(NEVER)

    def sleep(self, seconds: float) -> None:
        """Make no step of a wait: anything can happen before the next call anyway."""

    def load(self, item_id: ItemId) -> EngineItem | None:
        loaded = self._respond(calls.Load(), Loaded)
        began = None
        if loaded.item.pull_began is not None:
            began = _SENT_AT + (timedelta(hours=1) if loaded.beyond_skew else _WITHIN_SKEW)
        return _engine_item(item_id, loaded.item, began)

    def claim(self, item: EngineItem, _attempt_id: str) -> EngineItem:
        claimed = self._respond(calls.Claim(item.generation), Item | Written)
        if isinstance(claimed, Written):
            raise TransientError(claimed.refused)
        return _engine_item(item.item_id, claimed, None if claimed.pull_began is None else _to_time(claimed.pull_began))

    def record(self, item: EngineItem, update: ItemStateUpdate) -> None:
        needs_user = update.state.name == StateName.NEEDS_USER
        _raise_if_refused(self._respond(calls.Record(item.generation, needs_user), Written))

    def health(self, _access_token: str) -> ItemHealth:
        login_required = self._respond(calls.CheckHealth(), bool)
        return ItemHealth(error_code=Refusal.LOGIN_REQUIRED if login_required else None)

    def rows(self, _item_id: ItemId, ids: Collection[TransactionId]) -> Mapping[TransactionId, StoredRow]:
        found = self._respond(calls.Read(tuple(map(IDS.index, ids))), tuple)
        return {TransactionId(IDS[key]): _stored_row(key, row, content=True) for key, row in found}

    def scan_item(self, _item_id: ItemId, since: int = 0) -> Iterator[StoredRow]:
        found = self._respond(calls.Scan(since), tuple)
        return iter([_stored_row(key, row, content=False) for key, row in found])

    def write(
        self, _item_id: ItemId, generation: int, writes: Collection[RowWrite], *, begin: bool, commit: Commit | None
    ) -> None:
        rows = tuple(
            (IDS.index(write.transaction_id), int(write.amount) if isinstance(write, TransactionRow) else GONE)
            for write in writes
        )
        part = None
        if commit is not None:
            began = round((commit.pull_began_at - _SENT_AT) / timedelta(hours=1))
            needs_user = commit.state.name == StateName.NEEDS_USER
            part = calls.CommitPart(commit.expected_cursor, commit.cursor, commit.reconcile, began, needs_user)
        _raise_if_refused(self._respond(calls.Write(generation, rows, begin, part), Written))

    def decrypt(self, _item_id: ItemId, _ciphertext: bytes) -> str:
        return "token"

    def sync_page(self, _access_token: str, cursor: Cursor | None, _days_requested: int | None) -> pages.Page:
        response = self._respond(calls.Pull(cursor, first_page=self._clock_read), Page | Refusal)
        if isinstance(response, Refusal):
            raise PlaidError(response)
        return _engine_page(response)

    def change_visibility(self, receipt_handles: Collection[str], seconds: int) -> None:
        """The model returns messages at any time."""


def _raise_if_refused(written: Written) -> None:
    if written.refused == "superseded":
        raise SupersededError
    if written.refused:
        raise TransientError(written.refused)


# ---- the model's values as the engine's own objects


def _to_time(position: int) -> datetime:
    return _SENT_AT + timedelta(hours=position)


def _engine_item(item_id: ItemId, item: Item, began: datetime | None) -> EngineItem:
    return EngineItem(
        item_id=item_id,
        generation=item.generation,
        state=ItemState(StateName.NEEDS_USER, Refusal.LOGIN_REQUIRED)
        if item.needs_user
        else ItemState(StateName.ACTIVE),
        cursor=None if item.cursor is None else Cursor(item.cursor),
        writing_since=item.writing_since,
        reconcile=item.reconcile,
        pull_began_at=began,
    )


def _transaction(key: int, value: int) -> TransactionRow:
    return TransactionRow(TransactionId(IDS[key]), "account", "2030-01-01", Decimal(value), pending=False, plaid=b"")


def _stored_row(key: int, row: Row, *, content: bool) -> StoredRow:
    live = row.value != GONE
    transaction = _transaction(key, row.value) if content and live else None
    return StoredRow(TransactionId(IDS[key]), "account", live, row.generation, row.first_generation, transaction)


def _engine_page(page: Page) -> pages.Page:
    key = page.change.key
    changed = (_transaction(key, page.change.value),) if page.kind in {"added", "modified"} else ()
    return pages.Page(
        added=changed if page.kind == "added" else (),
        modified=changed if page.kind == "modified" else (),
        removed=(RowRemoval(TransactionId(IDS[key]), "account"),) if page.kind == "removed" else (),
        next_cursor=None if page.next_cursor is None else Cursor(page.next_cursor),
        has_more=page.has_more,
        update_status=HISTORY_COMPLETE if page.complete else "INITIAL_UPDATE_COMPLETE",
        request_id="",
    )
