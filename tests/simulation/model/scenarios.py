"""The scenarios that are explored: small ones first, so that a missing guard shows soon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.simulation.model.plaid import Reporting
from tests.simulation.model.state import (
    COMPLETE,
    GONE,
    READY,
    Change,
    Faults,
    Item,
    Log,
    Message,
    Next,
    Row,
    State,
)


@dataclass(frozen=True, slots=True)
class Scenario:
    """The bounds of one complete exploration.

    Attributes:
        reporting: how Plaid reports what happened between two cursors.
        past: what happened and was synced before the exploration starts; empty: a newly linked Item.
        ids: how many transactions there can be.
        changes: how many changes Plaid makes at most.
        complete: whether the history is complete from the start.
        part_entries: how many changes the engine keeps in memory; then it writes a part of the pull.
        retries: how often an attempt is retried in its invocation.
        served_without_login: Plaid serves an Item whose user has to log in; it documents neither.
    """

    name: str
    reporting: Reporting
    past: Log = ()
    ids: int = 2
    changes: int = 3
    faults: Faults = Faults()  # noqa: RUF009 - a tuple
    complete: bool = True
    part_entries: int = 9
    retries: int = 0
    served_without_login: bool = False

    def initial_state(self) -> State:
        """Return a new Item with its message in the queue, or one that is synced up to `past`."""
        rows: list[Row | None] = [None] * self.ids
        item, log = Item(next_attempt=Next.NEAR), Log()
        queue: tuple[Message, ...] = (Message(0),)
        if self.past:
            log = (Change(READY), *((Change(COMPLETE),) if self.complete else ()), *self.past)
            for change in self.past:
                before = rows[change.key]
                generation = before.generation + 1 if before else 1
                rows[change.key] = Row(change.value, generation, before.first_generation if before else 1)
            newest = max(row.generation for row in rows if row)
            item, queue = Item(newest, str(len(log)), pull_began=len(log)), ()
        return State(
            log=log,
            changes=self.changes,
            queue=queue,
            webhook_pending=False,
            hint_pending=False,
            lost=False,
            dropped=False,
            item=item,
            rows=tuple(rows),
            workers=(None, None),
            faults=self.faults,
        )


_A: Final = Change(0, 1)
_A_GONE: Final = Change(0, GONE)
_B: Final = Change(1, 1)
_NET, _EVERY, _NO_REVERTS = Reporting.NET, Reporting.EVERY, Reporting.NET_WITHOUT_REVERTS
_CRASHES, _CRASH_PAUSE = Faults(crashes=2), Faults(crashes=1, pauses=1)
_LOGIN: Final = Faults(pauses=1, logins=1)
_REJECTION_LATE: Final = Faults(crashes=1, rejections=1, late=1)
_REJECTION: Final = Faults(crashes=1, pauses=1, rejections=1)

SMALL: Final = (
    Scenario("one change, paused worker", _NET, (_A,), changes=1, faults=Faults(pauses=1)),
    Scenario("paused worker", _NET, (_A,), changes=2, faults=Faults(pauses=1)),
    Scenario("three changes, paused worker", _NET, (_A,), faults=Faults(pauses=1)),
    Scenario("refusals", _NET, (_A,), changes=2, faults=Faults(refusals=2)),
    Scenario("refusals, retried at once", _NET, (_A,), changes=1, faults=Faults(pauses=1, refusals=2), retries=1),
    Scenario("lost webhooks", _NET, (_A,), changes=2, faults=Faults(crashes=1, lost=2)),
    Scenario("crashes", _NET, (_A,), faults=_CRASHES),
    Scenario("crashes", _EVERY, (_A,), faults=_CRASHES),
    Scenario("crashes", _NO_REVERTS, (_A,), faults=_CRASHES),
    Scenario("removed before", _NET, (_A, _A_GONE), faults=Faults(crashes=1)),
    Scenario("removed before", _NO_REVERTS, (_A, _A_GONE), faults=Faults(crashes=1)),
    Scenario("duplicate webhooks", _NET, (_A,), changes=1, faults=Faults(crashes=2, pauses=2, duplicates=1)),
    Scenario("login lost", _NET, (_A,), changes=1, faults=_LOGIN),
    Scenario("login lost, but served", _NET, (_A,), changes=1, faults=_LOGIN, served_without_login=True),
    Scenario("newly linked", _NET, changes=1, faults=_CRASH_PAUSE, complete=False),
    Scenario("newly linked, crash", _NO_REVERTS, changes=2, faults=Faults(crashes=1), complete=False),
    Scenario("two paused workers", _NO_REVERTS, (_A,), changes=2, faults=Faults(crashes=1, pauses=2)),
    Scenario("cursor rejected", _NO_REVERTS, (_A, _B), changes=2, faults=_REJECTION),
    Scenario(
        "cursor rejected, incomplete history", _NO_REVERTS, (_A, _B), changes=1, faults=_REJECTION, complete=False
    ),
    Scenario("three transactions", _NO_REVERTS, (_A, _B), ids=3, changes=2, faults=_CRASH_PAUSE),
    Scenario("parts", _EVERY, (_A,), faults=_CRASHES, part_entries=1),
    Scenario("parts of two", _NO_REVERTS, (_A,), faults=_CRASHES, part_entries=2),
    Scenario("parts, paused worker", _NO_REVERTS, (_A,), changes=2, faults=_CRASH_PAUSE, part_entries=1),
    Scenario(
        "parts, out of time", _EVERY, (_A,), changes=2, faults=Faults(crashes=1, late=2, refusals=1), part_entries=1
    ),
    Scenario("parts, newly linked", _NET, changes=2, faults=Faults(crashes=1, late=1), complete=False, part_entries=1),
    Scenario("parts, cursor rejected", _NO_REVERTS, (_A, _B), changes=1, faults=_REJECTION_LATE, part_entries=1),
    Scenario("parts, cursor rejected", _NO_REVERTS, (_A, _B), changes=2, faults=_REJECTION, part_entries=1),
    Scenario(
        "parts, incomplete history",
        _NO_REVERTS,
        (_A, _B),
        changes=1,
        faults=_REJECTION_LATE,
        complete=False,
        part_entries=1,
    ),
    Scenario("parts, dead tail", _NO_REVERTS, (_A,), faults=Faults(crashes=1, duplicates=1, late=1)),
)
LARGE: Final = tuple(
    Scenario("crash and paused worker", reporting, (_A,), faults=_CRASH_PAUSE)
    for reporting in (_NET, _EVERY, _NO_REVERTS)
)
ALL: Final = (*SMALL, *LARGE)

SECOND_LINE: Final = tuple(
    scenario
    for scenario in SMALL
    if scenario.name
    in {
        "one change, paused worker",
        "paused worker",
        "removed before",
        "duplicate webhooks",
        "parts, paused worker",
    }
)
"""Where the removal of a second line must break nothing; `--without` explores all small scenarios."""
