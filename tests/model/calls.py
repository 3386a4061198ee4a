"""What a worker asks for, and what it is answered: everything that passes through the engine's ports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.model.plaid import PageAnswer, Refusal
from tests.model.state import Item, Row

NEVER: Final = -1

# ---- what a worker asks for


@dataclass(frozen=True, slots=True)
class Load:
    """Read the Item."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Raise the fence from this generation."""

    generation: int


@dataclass(frozen=True, slots=True)
class Scan:
    """Read the rows of this generation and later."""

    since: int


@dataclass(frozen=True, slots=True)
class Read:
    """Read these rows."""

    keys: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Pull:
    """Ask Plaid for a page; `opens` a pagination: the worker has just noted the time."""

    cursor: str | None
    opens: bool


@dataclass(frozen=True, slots=True)
class Look:
    """Ask Plaid how the Item is."""


@dataclass(frozen=True, slots=True)
class Committed:
    """The Item's part of the last transaction; `trouble`: the Item is left as one that needs its user."""

    expected_cursor: str | None
    cursor: str
    reconcile: bool
    began: int
    trouble: bool = False


@dataclass(frozen=True, slots=True)
class Write:
    """Write a transaction of (key, value) pairs."""

    generation: int
    rows: tuple[tuple[int, int], ...]
    begin: bool
    commit: Committed | None


@dataclass(frozen=True, slots=True)
class Record:
    """Record on the Item how it stands: Plaid refused, or had nothing ready. Under the fence."""

    generation: int
    trouble: bool


@dataclass(frozen=True, slots=True)
class Finish:
    """Delete the messages, or leave them to come back."""

    delete: bool


Call = Load | Claim | Look | Scan | Read | Pull | Write | Record | Finish

# ---- what it is answered (besides `PageAnswer` and `Refusal`)


@dataclass(frozen=True, slots=True)
class Loaded:
    """The Item. `clear`: the committed pull began long after the trigger was sent, by any clock."""

    item: Item
    clear: bool


@dataclass(frozen=True, slots=True)
class Claimed:
    """The Item after the claim."""

    item: Item


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the user has to log in."""

    login_lost: bool


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows with their keys."""

    rows: tuple[tuple[int, Row], ...]


@dataclass(frozen=True, slots=True)
class Time:
    """The time, as the length of the log."""

    position: int


@dataclass(frozen=True, slots=True)
class Written:
    """Whether a write took effect: empty, "superseded", or why it is to be tried again."""

    refused: str = ""


Answer = Loaded | Claimed | Health | Rows | Time | Written | PageAnswer | Refusal


def not_covered(generation: int) -> Loaded:
    """Stand for the Item as loaded, once it is to be claimed. No other field may matter any more: none is right."""
    return Loaded(Item(generation, cursor="stale", writing_since=NEVER), clear=False)
