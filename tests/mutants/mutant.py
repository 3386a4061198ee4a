"""The list of mutants, as the TOML files beside this module declare it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, TypeVar

from local.stack.paths import PROJECT

HERE: Final = Path(__file__).parent
_C = TypeVar("_C", bound="Change")


class RottenError(Exception):
    """A declaration does not fit the code any more, or is no declaration; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Change:
    """A place in the code, and what it becomes.

    Attributes:
        file: path in the project.
        old: text that is there exactly once, or exactly once behind `after`.
        new: what takes its place.
        after: text that is there exactly once, where `old` alone is not.
    """

    name: str
    guard: str
    file: str
    old: str
    new: str
    after: str = ""

    def applied(self, text: str) -> str:
        """Return the file's text with the change.

        Raises:
            RottenError: `old` or `after` is not there exactly once, or the result is not Python.
        """
        start = 0
        if self.after:
            start = text.find(self.after) + len(self.after)
            self._demand(text.count(self.after) == 1, "`after` must be there once")
        self._demand(text.count(self.old, start) == 1, "`old` must be there once")
        self._demand(self.old != self.new, "`new` must differ from `old`")
        mutated = text[:start] + text[start:].replace(self.old, self.new)
        try:
            compile(mutated, self.file, "exec", dont_inherit=True)
        except SyntaxError as error:
            raise RottenError(f"{self.name}: not Python any more, {error}") from error
        return mutated

    def _demand(self, fits: bool, complaint: str) -> None:  # noqa: FBT001 - reads as a sentence
        if not fits:
            raise RottenError(f"{self.name}: {complaint} in {self.file}")


@dataclass(frozen=True, slots=True)
class Mutant(Change):
    """The engine without one guard, and what notices.

    Attributes:
        guard: what the guard protects from, one sentence.
        pytest: tests, by node id, the quickest first. One of them must fail.
        model: scenarios of `tests/model` in which the mutated engine must break an invariant.
        faults: arguments for `tests/faults`, which must find a schedule that diverges.
        second_line: why the guard is there although others protect from the same; what catches the mutant then
            shows the guard by itself.
    """

    pytest: tuple[str, ...] = ()
    model: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    second_line: str = ""


@dataclass(frozen=True, slots=True)
class Equivalent(Change):
    """A change that no schedule or test can tell, or none needs to.

    Attributes:
        guard: what it looks like it would protect from.
        why: the argument.
    """

    why: str = ""


def load() -> list[Mutant]:
    """Return all mutants in the order of their declaration."""
    return [_read(Mutant, entry) for entry in _entries("mutant")]


def load_equivalents() -> list[Equivalent]:
    """Return the changes that need no test."""
    return [_read(Equivalent, entry) for entry in _entries("equivalent")]


def text_of(change: Change, project: Path = PROJECT) -> str:
    """Return the text of the file that is changed."""
    return (project / change.file).read_text(encoding="utf-8")


def _entries(kind: str) -> list[dict[str, Any]]:
    documents = [tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted(HERE.glob("*.toml"))]
    unknown = {name for document in documents for name in document} - {"mutant", "equivalent"}
    if unknown:
        raise RottenError(f"neither mutants nor equivalents: {', '.join(sorted(unknown))}")
    return [entry for document in documents for entry in document.get(kind, [])]


def _read(kind: type[_C], entry: dict[str, Any]) -> _C:
    unknown = set(entry) - {field.name for field in fields(kind)}
    if unknown:
        raise RottenError(f"{entry.get('name', entry)}: no such field: {', '.join(sorted(unknown))}")
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}
    return kind(**values)
