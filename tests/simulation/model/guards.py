"""The guards of the protocol, and how each is removed."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

from plaid_sync.pull import puller
from plaid_sync.pull.pages import NetChanges
from plaid_sync.pull.puller import Pull, Puller, Update
from plaid_sync.sync import engine, planner
from plaid_sync.sync.engine import SyncEngine
from plaid_sync.sync.planner import PartialWriteRecovery, recover_partial_writes, split_writes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plaid_sync.domain.clock import Deadline
    from plaid_sync.domain.item import Cursor, Item
    from plaid_sync.domain.transaction import RowWrite
    from plaid_sync.sync.job import SyncJob
    from plaid_sync.sync.ports import Commit


@dataclass(frozen=True, slots=True)
class Guard:
    """A guard.

    Attributes:
        what: what it ensures.
        scenario: the scenarios that need it; empty: all small ones are tried.
        patches: (module or class, name, replacement) that remove it from the engine; empty where it belongs to the
            tables or the queue.
        second_line: no trace needs it while the fence holds.
        protects: of a second line: the invariant that it alone keeps once the fence is removed, by a part of its text.
    """

    name: str
    what: str
    scenario: str = ""
    patches: tuple[tuple[Any, str, Any], ...] = ()
    second_line: bool = False
    protects: str = ""


def _recover_nothing(*_: object) -> PartialWriteRecovery:
    return PartialWriteRecovery((), needs_full_resync=False)


def _recover_without_resync(*arguments: Any) -> PartialWriteRecovery:
    return PartialWriteRecovery(recover_partial_writes(*arguments).tombstones, needs_full_resync=False)


_kept = NetChanges()
_pull = Puller.pull


def _pull_keeping_pages(
    self: Puller, access_token: str, cursor: Cursor | None, days_requested: int | None, deadline: Deadline
) -> Update:
    """Restart from the first cursor, as `Puller.pull` does, but keep the pages that were pulled."""
    _kept.changes.clear()
    _kept.modified.clear()
    with patch.object(puller, "NetChanges", lambda: _kept):
        return _pull(self, access_token, cursor, days_requested, deadline)


def _is_covered_though_pending(item: Item, message_sent_at: Any) -> bool:
    return item.pull_began_at is not None and message_sent_at + engine.MAX_CLOCK_SKEW < item.pull_began_at


def _write_cursor_first(self: SyncEngine, item: Item, rows: list[RowWrite], commit: Commit, _job: SyncJob) -> None:
    """Write as `SyncEngine._write` does, but commit with the first transaction."""
    for number, batch in enumerate(split_writes(rows)):
        self.transactions.write(
            item.item_id, item.generation, batch, begin=False, commit=commit if number == 0 else None
        )


GUARDS: Final = (
    Guard("fence", "every write checks that its attempt is the Item's newest", "three changes, paused worker"),
    Guard(
        "partial-write-recovery",
        "the next attempt decides about the rows that a dead attempt left",
        "crashes",
        ((planner, "recover_partial_writes", _recover_nothing),),
    ),
    Guard(
        "full-resync",
        "a provisional change to an older row that is not reported again leads to a full resync",
        "crashes",
        ((planner, "recover_partial_writes", _recover_without_resync),),
    ),
    Guard("writing-since-kept", "only a commit clears `writing_since`", "crashes"),
    Guard("writing-since-oldest", "`writing_since` keeps the oldest dead attempt", "crashes"),
    Guard("first-generation", "`first_generation` is set once", "crashes"),
    Guard("tombstones", "a removed row stays as a tombstone with its generations", "crashes"),
    Guard(
        "cursor-last",
        "the cursor moves with the last rows",
        "crashes",
        ((SyncEngine, "_write", _write_cursor_first),),
    ),
    Guard(
        "restart-discards",
        "a pagination that restarts discards the pages that were pulled",
        "crashes",
        ((Puller, "pull", _pull_keeping_pages),),
    ),
    Guard(
        "reconciliation",
        "a full resync tombstones what the whole history does not mention",
        "removed before",
        ((planner, "reconcile", lambda *_: ()),),
    ),
    Guard(
        "complete-history",
        "only a complete history is reconciled against",
        "cursor rejected, incomplete history",
        ((Pull, "history_complete", property(lambda _: True)),),
    ),
    Guard("pull-began-before", "a message is covered only by a pull that began after it was sent", "crashes"),
    Guard(
        "clock-skew",
        "two clocks are trusted to a minute each",
        "one change, paused worker",
        ((engine, "MAX_CLOCK_SKEW", timedelta(0)),),
    ),
    Guard("claim-cas", "a claim holds only if no other attempt claimed since the load", second_line=True),
    Guard("superseded-retry", "messages of a superseded attempt return to the queue", "one change, paused worker"),
    Guard("stale-receipt", "an expired receipt handle deletes nothing (SQS FIFO)", second_line=True),
    Guard("cursor-cas", "the cursor moves only from where the attempt started", second_line=True, protects="backwards"),
    Guard("row-condition", "a row is replaced only by a newer attempt", second_line=True, protects="older attempt"),
    Guard(
        "nothing-pending",
        "nothing is covered while partial writes or a full resync are pending",
        patches=((engine, "is_covered", _is_covered_though_pending),),
        second_line=True,
    ),
)
BY_NAME: Final = {guard.name: guard for guard in GUARDS}


@contextmanager
def removed(names: frozenset[str]) -> Iterator[None]:
    """Patch the engine so that it runs without these guards."""
    with ExitStack() as stack:
        for name in sorted(names):
            for target, attribute, replacement in BY_NAME[name].patches:
                stack.enter_context(patch.object(target, attribute, replacement))
        yield
