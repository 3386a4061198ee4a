"""The real engine as a step machine: run against recorded answers, it stops at the first call without one.

What a worker does next depends on nothing but what it has been answered so far. So its state is that history, interned
as a number, and each history is run once.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NoReturn
from unittest.mock import patch

from plaid_sync.core.failures import PlaidError, RetryableError, SupersededError
from plaid_sync.core.items import ItemId, ItemStatus
from plaid_sync.core.lifecycle.health import ItemHealth
from plaid_sync.core.lifecycle.removal import Remover
from plaid_sync.core.sync import plan, pulling
from plaid_sync.core.sync.batch import BatchProcessor
from plaid_sync.core.sync.catching_up import RESYNC_ON_ATTEMPT, CatchUp
from plaid_sync.core.sync.pulling import Puller
from plaid_sync.core.sync.syncing import SyncEngine
from plaid_sync.core.sync.transactions import TransactionId, TransactionRow
from plaid_sync.core.triggers import Cause, SyncTrigger

from tests.model.calls import (
    NEVER,
    Answer,
    Call,
    Claim,
    Claimed,
    Committed,
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
    Written,
)
from tests.model.plaid import LOGIN_REQUIRED, PageAnswer, Refusal
from tests.model.real import real_item, real_page, real_row
from tests.model.state import GONE, IDS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from plaid_sync.core.items import Cursor
    from plaid_sync.core.items import Item as RealItem
    from plaid_sync.core.sync.pages import Page
    from plaid_sync.core.sync.plan import Commit, RowWrite, Verdict
    from plaid_sync.core.sync.quarantine import Part
    from plaid_sync.core.sync.transactions import StoredRow

TRIGGER_SENT: Final = datetime(2030, 1, 1, tzinfo=UTC)
CLOCKS_DISAGREE: Final = timedelta(seconds=119)
"""A trigger sent a second after a pull began looks so much older, when both clocks are a minute off."""
WORD: Final = SyncTrigger(ItemId("item"), Cause.WEBHOOK).to_json()


class _SuspendedError(BaseException):
    """The engine wants something that is not answered yet."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        self.call = call


class Machine:
    """Interns histories and tells what each leads to.

    Attributes:
        calls: the next call of each history.
    """

    def __init__(self, engine: type[SyncEngine] = SyncEngine, puller: type[Puller] = Puller) -> None:
        self.calls: list[Call] = []
        self._answers: list[tuple[Answer, ...]] = []
        self._numbers: dict[tuple[int, Answer], int] = {}
        self._engine, self._puller = engine, puller
        self.begin: Final = self._add(())

    def after(self, history: int, answer: Answer) -> int:
        """Return the history that follows when the next call is answered so."""
        number = self._numbers.get((history, answer))
        if number is None:
            number = self._numbers[history, answer] = self._add((*self._answers[history], answer))
        return number

    def _add(self, answers: tuple[Answer, ...]) -> int:
        self._answers.append(answers)
        self.calls.append(_run(answers, self._engine, self._puller))
        return len(self.calls) - 1


@contextmanager
def small_constants() -> Iterator[None]:
    """Let a transaction hold one row and a pull restart once, so that small worlds need several."""
    with patch.object(plan, "MAXIMUM_ROWS", 1), patch.object(pulling, "MAXIMUM_RESTARTS", 1):
        yield


def _run(answers: tuple[Answer, ...], engine: type[SyncEngine], puller: type[Puller]) -> Call:
    ports = _Ports(answers)
    catch_up = CatchUp(ports, puller(ports, ports.clock, lambda _: None))
    unused: Any = None  # no Item of the model is removed
    remover = Remover(unused, unused, unused, ports, ports, ports.clock)
    real = engine(ports, ports, ports, ports, ports, catch_up, remover, ports.clock)
    record = {
        "body": WORD,
        "messageId": "message",
        "receiptHandle": "handle",
        "attributes": {
            "SentTimestamp": str(int(TRIGGER_SENT.timestamp() * 1000)),
            "ApproximateReceiveCount": str(RESYNC_ON_ATTEMPT),
        },
    }
    try:
        result = BatchProcessor(real, ports, lambda: 1.0).process([record], lambda: 1e9)
    except _SuspendedError as suspended:
        return suspended.call
    for failure in result.failures:
        if failure.bug is not None:
            raise failure.bug
    return Finish(delete=not result.failed_message_ids)


class _Ports:
    """All ports of the engine, answered from the record."""

    def __init__(self, answers: tuple[Answer, ...]) -> None:
        self._left = list(reversed(answers))
        self._noted_time = False

    def _answer(self, call: Call, kind: Any) -> Any:
        self._noted_time = False
        if not self._left:
            raise _SuspendedError(call)
        answer = self._left.pop()
        if not isinstance(answer, kind):
            raise TypeError(f"{call} answered with {answer}")
        return answer

    def clock(self) -> datetime:
        if self._left and isinstance(self._left[-1], Time):
            time = self._left.pop()
            assert isinstance(time, Time)
            return _to_time(time.position)
        self._noted_time = True
        return _to_time(NEVER)

    def load(self, item_id: ItemId) -> RealItem | None:
        loaded = self._answer(Load(), Loaded)
        began = None
        if loaded.item.began is not None:
            began = TRIGGER_SENT + (timedelta(hours=1) if loaded.clear else CLOCKS_DISAGREE)
        return real_item(item_id, loaded.item, began)

    def claim(self, item: RealItem, _attempt_id: str) -> RealItem:
        answer = self._answer(Claim(item.generation), Claimed | Written)
        if isinstance(answer, Written):
            raise RetryableError(answer.refused)
        claimed = answer.item
        return real_item(item.item_id, claimed, None if claimed.began is None else _to_time(claimed.began))

    def raise_fence(self, item: RealItem, generation: int) -> NoReturn:
        raise AssertionError(item, generation)

    def withdraw_accounts(self, item: RealItem, accounts: Collection[str]) -> NoReturn:
        raise AssertionError(item, accounts)

    def record(self, item: RealItem, verdict: Verdict) -> None:
        trouble = verdict.standing.status is ItemStatus.NEEDS_USER
        _raise_if_refused(self._answer(Record(item.generation, trouble), Written))

    def health(self, _access_token: str) -> ItemHealth:
        answer = self._answer(Look(), Health)
        return ItemHealth(error_code=LOGIN_REQUIRED.code if answer.login_lost else None)

    def remove(self, access_token: str) -> NoReturn:
        raise AssertionError(access_token)

    def rows(self, _item_id: ItemId, ids: Collection[TransactionId]) -> Mapping[TransactionId, StoredRow]:
        found = self._answer(Read(tuple(map(IDS.index, ids))), Rows)
        return {TransactionId(IDS[key]): real_row(key, row, content=True) for key, row in found.rows}

    def scan_item(self, _item_id: ItemId, since: int = 0) -> Iterator[StoredRow]:
        found = self._answer(Scan(since), Rows)
        return iter([real_row(key, row, content=False) for key, row in found.rows])

    def write(
        self, _item_id: ItemId, generation: int, writes: Collection[RowWrite], *, begin: bool, commit: Commit | None
    ) -> None:
        rows = tuple(
            (IDS.index(write.transaction_id), int(write.amount) if isinstance(write, TransactionRow) else GONE)
            for write in writes
        )
        part = None
        if commit is not None:
            began = round((commit.pull_began_at - TRIGGER_SENT) / timedelta(hours=1))
            trouble = commit.standing.status is ItemStatus.NEEDS_USER
            part = Committed(commit.expected_cursor, commit.cursor, commit.reconcile, began, trouble)
        _raise_if_refused(self._answer(Write(generation, rows, begin, part), Written))

    def keep(self, _item_id: ItemId, _generation: int, parts: Collection[Part]) -> NoReturn:
        raise AssertionError(parts)

    def decrypt(self, _item_id: ItemId, _ciphertext: bytes) -> str:
        return "token"

    def sync_page(self, _access_token: str, cursor: Cursor | None, _days_requested: int | None) -> Page:
        call = Pull(cursor, opens=self._noted_time)
        if not self._left:
            raise _SuspendedError(call)
        answer = self._left.pop()
        if isinstance(answer, Refusal):
            raise PlaidError(answer.code)
        assert isinstance(answer, PageAnswer)
        return real_page(answer)

    def postpone(self, receipt_handles: Collection[str], seconds: int) -> None:
        """The model lets messages come back at any time."""

    def renew(self, _body: str, _group_id: str, _message_id: str, _attributes: object) -> NoReturn:
        raise AssertionError(_body)

    def park(self, _body: str, _group_id: str, _message_id: str, reason: str, _attributes: object) -> NoReturn:
        raise AssertionError(reason)


def _raise_if_refused(answer: Written) -> None:
    if answer.refused == "superseded":
        raise SupersededError
    if answer.refused:
        raise RetryableError(answer.refused)


def _to_time(position: int) -> datetime:
    return TRIGGER_SENT + timedelta(hours=position)
