"""The guards of the protocol, and how each is taken away."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

from plaid_sync.core.sync import catching_up, coalescing, pulling, syncing
from plaid_sync.core.sync.pages import NetChanges
from plaid_sync.core.sync.plan import Settlement, into_transactions, settle
from plaid_sync.core.sync.pulling import Pull, Puller, Update
from plaid_sync.core.sync.syncing import SyncEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plaid_sync.core.items import Cursor, Item
    from plaid_sync.core.sync.plan import Commit, RowWrite
    from plaid_sync.core.sync.sync_job import SyncJob


@dataclass(frozen=True, slots=True)
class Guard:
    """A guard.

    Attributes:
        what: what it is, as a phrase.
        second_line: no trace needs it while the fence holds; then `harm` names the invariant that it keeps alone
            once the fence is gone.
        patches: (module or class, name, replacement) that take it out of the engine; empty where it belongs to the
            tables or the queue.
        where: the scenarios that need it; empty: all small ones are tried.
    """

    name: str
    what: str
    second_line: bool = False
    harm: str = ""
    patches: tuple[tuple[Any, str, Any], ...] = ()
    where: str = ""


def _settle_nothing(*_: object) -> Settlement:
    return Settlement((), untrusted=False)


def _settle_trusting(*arguments: Any) -> Settlement:
    return Settlement(settle(*arguments).tombstones, untrusted=False)


_kept = NetChanges()


_pull = Puller.pull


def _pull_keeping(
    self: Puller, access_token: str, cursor: Cursor | None, days_requested: int | None, time_left: Callable[[], float]
) -> Update:
    """Start again from the first cursor, as `Puller.pull` does, but keep what it has."""
    _kept.changes.clear()
    _kept.modified.clear()
    with patch.object(pulling, "NetChanges", lambda: _kept):
        return _pull(self, access_token, cursor, days_requested, time_left)


def _always_complete(_: Update) -> bool:
    return True


def _covers_in_debt(item: Item, trigger_sent_at: Any) -> bool:
    return item.pull_began_at is not None and trigger_sent_at + coalescing.CLOCK_MARGIN < item.pull_began_at


def _write_cursor_first(self: SyncEngine, item: Item, rows: list[RowWrite], commit: Commit, _job: SyncJob) -> None:
    """Write as `SyncEngine._write` does, but commit with the first transaction."""
    for number, batch in enumerate(into_transactions(rows)):
        self.transactions.write(
            item.item_id, item.generation, batch, begin=False, commit=commit if number == 0 else None
        )


GUARDS: Final = (
    Guard("fence", "every write checks that its attempt is the Item's newest", where="three changes, a frozen worker"),
    Guard(
        "settling",
        "rows that a dead attempt left are judged by the next",
        patches=((catching_up, "settle", _settle_nothing),),
        where="crashes",
    ),
    Guard(
        "resync-on-untrusted",
        "a provisional change to an older row that is not told again turns the attempt into a full resync",
        patches=((catching_up, "settle", _settle_trusting),),
        where="crashes",
    ),
    Guard("lasting-mark", "`writing_since` is cleared by a commit and by nothing else", where="crashes"),
    Guard("oldest-mark", "`writing_since` keeps the oldest dead attempt", where="crashes"),
    Guard("first-generation", "`first_generation` is set once", where="crashes"),
    Guard("tombstones", "a removed row stays as a tombstone with its generations", where="crashes"),
    Guard(
        "cursor-last",
        "the cursor moves with the last rows",
        patches=((SyncEngine, "_write", _write_cursor_first),),
        where="crashes",
    ),
    Guard(
        "empty-hands",
        "a pagination that starts again forgets what it has",
        patches=((Puller, "pull", _pull_keeping),),
        where="crashes",
    ),
    Guard(
        "reconciling",
        "a full resync tombstones what the whole history does not mention",
        patches=((catching_up, "reconcile", lambda *_: ()),),
        where="one that was removed",
    ),
    Guard(
        "complete-history",
        "only a complete history is reconciled against",
        patches=((Pull, "history_complete", property(_always_complete)),),
        where="cursor rejected, history incomplete",
    ),
    Guard("began-after", "a trigger is covered only by a pull that began after it", where="crashes"),
    Guard(
        "clock-margin",
        "two clocks are trusted to a minute each",
        patches=((coalescing, "CLOCK_MARGIN", timedelta(0)),),
        where="one change, a frozen worker",
    ),
    Guard("claim-cas", "a claim holds only if nobody has claimed since the load", second_line=True),
    Guard("superseded-returns", "messages of a superseded attempt come back", where="one change, a frozen worker"),
    Guard("stale-handle", "an expired receipt handle deletes nothing (SQS FIFO)", second_line=True),
    Guard("cursor-cas", "the cursor moves only from where the attempt started", second_line=True, harm="backwards"),
    Guard("row-condition", "a row is only replaced by a newer attempt", second_line=True, harm="older attempt"),
    Guard(
        "owes-nothing",
        "nothing is covered while a dead attempt or a reconciliation is owed",
        second_line=True,
        patches=((syncing, "covers", _covers_in_debt),),
    ),
)
BY_NAME: Final = {guard.name: guard for guard in GUARDS}


@contextmanager
def taken_away(names: frozenset[str]) -> Iterator[None]:
    """Patch the engine so that it does without these guards."""
    with ExitStack() as stack:
        for name in sorted(names):
            for target, attribute, replacement in BY_NAME[name].patches:
                stack.enter_context(patch.object(target, attribute, replacement))
        yield
