"""The guards of the protocol, and how each is removed."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

from plaid_sync.domain import schedule
from plaid_sync.domain.clock import MAX_CLOCK_SKEW
from plaid_sync.domain.schedule import AttemptClass, NextAttempt
from plaid_sync.pull.pages import NetChanges
from plaid_sync.pull.puller import Pull, Puller
from plaid_sync.sync import engine, planner
from plaid_sync.sync.planner import (
    PartialWriteRecovery,
    PulledPart,
    UpdatePlanner,
    drop_unchanged,
    recover_partial_writes,
    split_writes,
)
from plaid_sync.sync.ports import Commit
from plaid_sync.sync.steps import AttemptSteps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plaid_sync.domain.item import Checkpoint, GenerationRanges, Item
    from plaid_sync.domain.transaction import RowWrite
    from plaid_sync.sync.job import Attempt


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


_restarting = Puller.restarting
_change_rows: Any = vars(UpdatePlanner)["_changes"]
_write_rows: Any = vars(AttemptSteps)["_write"]


def _restart_keeping_pages(self: Puller, pull: Callable[[int], Any]) -> Any:
    """Restart as `Puller.restarting` does, but keep the pages that were pulled."""
    kept = NetChanges()
    with patch.object(planner, "NetChanges", lambda: kept):
        return _restarting(self, pull)


def _is_covered_though_pending(item: Item, message_sent_at: Any, _now: Any) -> bool:
    return item.pull_began_at is not None and message_sent_at + MAX_CLOCK_SKEW < item.pull_began_at


def _write_cursor_first(
    self: AttemptSteps, attempt: Attempt, invalid: Any, rows: list[RowWrite], end: Commit | Checkpoint
) -> None:
    """Write as `AttemptSteps._write` does, but commit with the first transaction."""
    if not isinstance(end, Commit):
        _write_rows(self, attempt, invalid, rows, end)
        return
    item = attempt.item
    for number, batch in enumerate(split_writes(rows)):
        self.transactions.write(item.item_id, item.generation, batch, begin=False, end=end if number == 0 else None)


def _write_without_raise(
    self: AttemptSteps, attempt: Attempt, invalid: Any, rows: list[RowWrite], end: Commit | Checkpoint
) -> None:
    """Write as `AttemptSteps._write` does; a checkpoint keeps the generation."""
    generation = attempt.item.generation
    _write_rows(self, attempt, invalid, rows, end)
    attempt.item = replace(attempt.item, generation=generation)


def _changes_without_unchanged(self: UpdatePlanner, attempt: Attempt, part: PulledPart) -> tuple[list[RowWrite], int]:
    """Drop the unchanged rows of each part, as those of a pull in one part are dropped."""
    changes, unchanged = _change_rows(self, attempt, part)
    if part.whole:
        return changes, unchanged
    item, ids = attempt.item, [change.transaction_id for change in changes]
    stored = self.transactions.rows(item.item_id, ids, attempt.job.deadline) if ids else {}
    return drop_unchanged(changes, stored)


def _is_since_first(generation: int, ranges: GenerationRanges) -> bool:
    return bool(ranges) and generation >= ranges[0][0]


def _by_routine(decide: Callable[..., NextAttempt]) -> Callable[..., NextAttempt]:
    """Return a policy with the same parameters, by which the next attempt is a routine one."""
    return lambda *arguments: replace(decide(*arguments), attempt_class=AttemptClass.ROUTINE)


def _without_resync_time(item: Item, state: str, update_status: str, now: Any, _after: Any = None) -> NextAttempt:
    return _after_outcome(item, state, update_status, now)


_after_outcome = schedule.after_outcome


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
        ((AttemptSteps, "_write", _write_cursor_first),),
    ),
    Guard(
        "restart-discards",
        "a pagination that restarts discards the pages that were pulled",
        "crashes",
        ((Puller, "restarting", _restart_keeping_pages),),
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
    Guard(
        "claim-remembers",
        "a claim sets a near next attempt",
        "one change, paused worker",
        ((schedule, "after_claim", _by_routine(schedule.after_claim)),),
    ),
    Guard(
        "failure-remembers",
        "a recorded failure sets a near next attempt",
        "refusals",
        ((schedule, "after_failure", _by_routine(schedule.after_failure)),),
    ),
    Guard(
        "continue",
        "a pull that goes on in another invocation sets a near next attempt",
        "parts, out of time",
        ((schedule, "to_continue", _by_routine(schedule.to_continue)),),
    ),
    Guard(
        "resync-remembers",
        "a full resync that may begin later sets the time of the next attempt",
        "cursor rejected, incomplete history",
        ((schedule, "after_outcome", _without_resync_time),),
    ),
    Guard("checks-remembered", "a claim stores the checks that its messages request", "login lost, but served"),
    Guard(
        "checkpoint-generation",
        "a checkpoint raises the generation",
        "parts",
        ((AttemptSteps, "_write", _write_without_raise),),
    ),
    Guard(
        "rewrite-mentioned",
        "a pull in parts writes all that it mentions",
        "parts, cursor rejected",
        ((UpdatePlanner, "_changes", _changes_without_unchanged),),
    ),
    Guard(
        "written-generations",
        "a dead attempt's rows between two parts are not taken for the pull's",
        "parts, dead tail",
        ((planner, "in_ranges", _is_since_first),),
    ),
    Guard("reconcile-remembered", "a full resync is pending before it is pulled", "parts, cursor rejected"),
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
