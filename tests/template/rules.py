"""The registry of rules: each yields the problems of a template, and lists the breaks that it must report."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Check = Callable[..., Iterator[str]]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule about one or more templates.

    Attributes:
        check: yields the problems. Its parameters have the names of the fixtures in `conftest.py`.
        breaks: paths and values for `Template.broken`, applied to the first template.
    """

    check: Check
    breaks: tuple[tuple[str, object], ...]

    @property
    def name(self) -> str:
        return f"{self.check.__module__.rpartition('_')[2]}.{self.check.__name__}"

    @property
    def documents(self) -> list[str]:
        return list(inspect.signature(self.check).parameters)


RULES: Final[list[Rule]] = []


def rule(*breaks: tuple[str, object]) -> Callable[[Check], Check]:
    """Register a rule with the breaks that it must report."""

    def register(check: Check) -> Check:
        RULES.append(Rule(check, breaks))
        return check

    return register
