"""Puts the cases to the databases that there are, and judges the answers."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from typing import TYPE_CHECKING, Final

from tests.conformance.bench import Bench
from tests.conformance.case import Case

if TYPE_CHECKING:
    from local.stack import Emulator
    from tests.conformance.differences import Difference

_GROUPS: Final = ("items", "rows", "transactions", "concurrency", "values", "reads", "capacity", "streams")

Answers = Mapping[str, str]
"""By the case's name."""


class Verdict(StrEnum):
    """What a database's answer to a case amounts to."""

    AS_DOCUMENTED = "as documented"
    EXPLAINED = "explained"
    UNEXPLAINED = "not explained"
    NOT_AS_NEEDED = "not what the engine relies on"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The answers of the databases that there are.

    Attributes:
        answers: by the database's name.
        known: the differences that are explained.
    """

    cases: Sequence[Case]
    answers: Mapping[str, Answers]
    known: Collection[Difference]

    def verdict(self, database: str, case: Case) -> Verdict:
        """Judge one answer."""
        answer = self.answers[database][case.name]
        if answer == case.documented:
            return Verdict.AS_DOCUMENTED
        if case.relied_on:
            return Verdict.NOT_AS_NEEDED
        known = any((one.database, one.case, one.answer) == (database, case.name, answer) for one in self.known)
        return Verdict.EXPLAINED if known else Verdict.UNEXPLAINED

    def same(self, case: Case) -> bool:
        """Tell whether all databases answer alike."""
        return len({answers[case.name] for answers in self.answers.values()}) == 1

    def seen(self) -> list[Difference]:
        """Return the explained differences that these answers show."""
        return [one for one in self.known if self.answers.get(one.database, {}).get(one.case) == one.answer]

    def outdated(self) -> list[Difference]:
        """Return those that they contradict."""
        return [one for one in self.known if self.answers.get(one.database, {}).get(one.case, one.answer) != one.answer]

    @property
    def passed(self) -> bool:
        """Whether each answer is as documented, or differs in a known way where nothing depends on it."""
        good = {Verdict.AS_DOCUMENTED, Verdict.EXPLAINED}
        verdicts = {self.verdict(database, case) for database in self.answers for case in self.cases}
        return verdicts <= good and not self.outdated()


def all_cases() -> list[Case]:
    """Return every case, in the order of the groups and of their modules."""
    modules = [import_module(f"tests.conformance.cases_{group}") for group in _GROUPS]
    return [found for module in modules for found in vars(module).values() if isinstance(found, Case)]


def ask_all(emulator: Emulator, cases: Sequence[Case]) -> tuple[Answers, float]:
    """Return a database's answers, and the seconds that they took."""
    began, bench = time.monotonic(), Bench.on(emulator)
    return {case.name: _ask(case, bench) for case in cases}, time.monotonic() - began


def _ask(case: Case, bench: Bench) -> str:
    try:
        return case.ask(bench)
    except Exception as error:  # noqa: BLE001 - a database may fail in any way, and the other cases are of interest, too
        return f"failed: {type(error).__name__}: {error}"[:300]
