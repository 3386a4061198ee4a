"""Holds a build against the budgets in `layers/budgets.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from local.stack.paths import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from local.builds.artifact import Build, Part
    from local.builds.imports import Loaded

BUDGETS: Final = PROJECT / "layers" / "budgets.toml"


@dataclass(frozen=True, slots=True)
class Budgets:
    """What the file says.

    Attributes:
        size: Bytes by a layer's logical id, or `functions`, and `unpacked` or `zipped`.
        imports: `modules` and bytes of `bytecode` by a function's logical id.
    """

    size: dict[str, dict[str, int]]
    imports: dict[str, dict[str, int]]

    @classmethod
    def read(cls, budgets: Path = BUDGETS) -> Budgets:
        """Read the budgets."""
        found = tomllib.loads(budgets.read_text())
        return cls(found["size"], found["imports"])

    def of(self, part: Part) -> dict[str, int]:
        """Return the bytes that a part may have."""
        return self.size.get(part.name) or self.size["functions"]

    def problems_of_size(self, build: Build) -> Iterator[str]:
        """Yield what is too large, each as a sentence that says what to do."""
        for part in build.parts:
            for what, most in self.of(part).items():
                if (bytes_ := getattr(part, what)) > most:
                    yield (
                        f"{part.name} is {bytes_:,} bytes {what}, its budget is {most:,}: see what has grown (the "
                        f"locks, layers/dependencies/kept.toml), or raise size.{part.name} in layers/budgets.toml."
                    )

    def problems_of_imports(self, loaded: Iterable[Loaded]) -> Iterator[str]:
        """Yield what loads too much, each as a sentence that says what to do."""
        for one in loaded:
            counts = {"modules": len(one.modules), "bytecode": one.bytecode}
            for what, most in self.imports.get(one.function, {"modules": 0}).items():
                if counts[what] > most:
                    yield (
                        f"{one.function} loads {counts[what]:,} {'bytes of ' * (what == 'bytecode')}{what} when it "
                        f"starts, its budget is {most:,}: see which import is new and whether it can come later, or "
                        f"raise imports.{one.function} in layers/budgets.toml."
                    )
