"""The registry of rules: each yields the problems of a template, and lists the breaks that it must report."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.template.cloudformation import ABSENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Check = Callable[..., Iterator[str]]


class Rule(NamedTuple):
    """A check, whose parameters are fixtures of `conftest.py`, and the breaks of its first template."""

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
    """Register a rule with the breaks that it must report: paths and values for `Template.broken`."""

    def register(check: Check) -> Check:
        RULES.append(Rule(check, breaks))
        return check

    return register


def without(prefix: str, *paths: str) -> Iterator[tuple[str, object]]:
    return ((f"{prefix}/{path}", ABSENT) for path in paths)


def differences(name: str, properties: Mapping[str, Any], expected: Mapping[str, Any]) -> Iterator[str]:
    """Yield the properties that differ from the expected ones; `A/B` is a nested property."""
    for path, value in expected.items():
        found: Any = properties
        for step in path.split("/"):
            found = (found or {}).get(step)
        if found != value:
            yield f"{name}: {path} is {found}"
