"""Which licences the software of a build has, and whether it may be handed on with them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from license_expression import AND, OR, ExpressionError, LicenseExpression, get_spdx_licensing

from local.builds.artifact import BuildError
from local.stack.paths import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from local.builds.components import Software

RULES: Final = PROJECT / "layers" / "licences.toml"
_SPDX: Final = get_spdx_licensing()


@dataclass(frozen=True, slots=True)
class Licences:
    """What `layers/licences.toml` says.

    Attributes:
        allowed: SPDX ids.
        means: By a package's name, what its words mean.
    """

    allowed: frozenset[str]
    means: dict[str, dict[str, str]]

    @classmethod
    def read(cls, rules: Path = RULES) -> Licences:
        """Read the rules."""
        found = tomllib.loads(rules.read_text())
        return cls(frozenset(found["allowed"]), found["means"])

    def expression(self, software: Software) -> str | None:
        """Return its licence as an SPDX expression, or None if that is not known."""
        words = self.means.get(software.name, {}).get(software.licence, software.licence)
        try:
            parsed = _SPDX.parse(words, validate=True)
        except ExpressionError:
            return None
        return None if parsed is None else str(parsed)

    def problems(self, software: Iterable[Software]) -> list[str]:
        """Return what is wrong with the licences, each as a sentence that says what to do."""
        problems = []
        for one in software:
            expression = self.expression(one)
            if expression is None:
                problems.append(
                    f"{one.name} {one.version} says of its licence '{one.licence}', which is not known: look into its "
                    "licence file and enter what that means under [means] in layers/licences.toml."
                )
            elif not self._allows(_SPDX.parse(expression)):
                problems.append(
                    f"{one.name} {one.version} has the licence {expression}, which is not allowed: do without it, or "
                    "decide on the licence in layers/licences.toml."
                )
        return problems

    def known(self, software: Software) -> str:
        """Return its licence as an SPDX expression.

        Raises:
            BuildError: It is not known.
        """
        expression = self.expression(software)
        if expression is None:
            raise BuildError(self.problems([software])[0])
        return expression

    def _allows(self, expression: LicenseExpression) -> bool:
        if isinstance(expression, OR):
            return any(map(self._allows, expression.args))
        if isinstance(expression, AND):
            return all(map(self._allows, expression.args))
        return str(expression) in self.allowed
