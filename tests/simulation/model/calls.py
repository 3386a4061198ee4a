"""What passes through the engine's ports: the calls of a worker and the responses to them."""

from __future__ import annotations

from typing import Final, NamedTuple

from tests.simulation.model.plaid import Page, Refusal
from tests.simulation.model.state import Checkpoint, Item, Next, Resync, Row

NEVER: Final = -1

# ---- calls


class Load(NamedTuple):
    pass


class Find(NamedTuple):
    """Claim the Item, unless it may be covered: then only load it.

    Attributes:
        allows_skew: a pull that began so little after the message that clocks may be wrong does not count.
    """

    next_attempt: Next
    allows_skew: bool


class Claim(NamedTuple):
    """Raise the generation of the Item, which was loaded with this one.

    Attributes:
        hint: a check is pending.
    """

    generation: int
    hint: bool
    next_attempt: Next


class Scan(NamedTuple):
    """Read the rows of this generation and later."""

    since: int


class Read(NamedTuple):
    keys: tuple[int, ...]


class Pull(NamedTuple):
    """Call /transactions/sync. `first_page`: a pagination begins, and the worker has just read the clock."""

    cursor: str | None
    first_page: bool


class CheckHealth(NamedTuple):
    pass


class RestartPull(NamedTuple):
    """Drop the checkpoint; with `from_beginning` a full resync is pending from now on.

    Attributes:
        resets_cursor: because Plaid refuses the stored cursor.
    """

    generation: int
    from_beginning: bool
    resets_cursor: bool


class After(NamedTuple):
    """What an outcome leaves on the Item, beyond the update."""

    needs_user: bool
    hint: bool
    failure: str
    next_attempt: Next


class CommitPart(NamedTuple):
    """The Item's part of the last transaction."""

    expected_cursor: str | None
    cursor: str
    pull_began: int
    reconcile: Resync
    inconclusive: int
    decided: bool
    after: After


class Write(NamedTuple):
    """Write a transaction of (key, value) pairs."""

    generation: int
    rows: tuple[tuple[int, int], ...]
    begin: bool
    end: CommitPart | Checkpoint | None


class Record(NamedTuple):
    """Record an outcome that completes no update, under the fence."""

    generation: int
    after: After


class Finish(NamedTuple):
    """Delete the messages, or return them to the queue."""

    delete: bool


Call = Load | Find | Claim | CheckHealth | Scan | Read | Pull | RestartPull | Write | Record | Finish

# ---- responses

Rows = tuple[tuple[int, Row], ...]
"""Rows with their keys."""


class Loaded(NamedTuple):
    """The Item. `beyond_skew`: its committed pull began so long after the message was sent that all clocks agree."""

    item: Item
    beyond_skew: bool


class Time(NamedTuple):
    """The time, as the length of the log."""

    position: int


class Written(NamedTuple):
    """Whether a write took effect: empty, "superseded", or the code of a transient error."""

    refused: str = ""

    def __str__(self) -> str:
        return f": refused, {self.refused}" if self.refused else ""


Response = Loaded | Item | bool | Rows | Page | Refusal | Time | Written
"""A claim gets the Item (a find that only loads it gets `Loaded`), a health check whether the user has to log in."""


def not_covered(claim: Claim) -> Loaded:
    """Return an Item that is about to be claimed. Its other fields must not matter any more: all of them are wrong."""
    return Loaded(Item(claim.generation, cursor="stale", writing_since=NEVER, hint=claim.hint), beyond_skew=False)
