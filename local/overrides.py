"""The parameters of `make deploy`, as `sam deploy --parameter-overrides` reads them.

SAM takes what stands behind a space for nothing, and a name that the template does not have, too: a stack with half a
value, or without it, and no word of it. Here both are refused.
"""

from __future__ import annotations

import os
import shlex
import sys
import tomllib
from typing import TYPE_CHECKING, Final

from local.stack.nodes import child, compose, items
from local.stack.paths import PROJECT

if TYPE_CHECKING:
    from collections.abc import Collection

_UNSPEAKABLE: Final = frozenset('\\"\n\r')
"""What SAM has no form for inside a quoted value, or one that it does not undo."""
_QUOTE: Final = "Quote a value with spaces: PARAMETERS='LinkClientName=\"My Bank\"'"


def overrides(given: str, known: Collection[str]) -> str:
    """Return parameters as SAM takes them.

    Args:
        given: `Name=value` with spaces between, quoted as for a shell.
        known: the template's parameters.

    Raises:
        ValueError: something is no parameter; the text names it and the fix.
    """
    try:
        words = shlex.split(given)
    except ValueError as error:
        raise ValueError(f"PARAMETERS: {error}. {_QUOTE}") from error
    return " ".join(_override(word, known) for word in words)


def _override(word: str, known: Collection[str]) -> str:
    name, equals, value = word.partition("=")
    if not equals:
        raise ValueError(f"PARAMETERS: {word} is no Name=value. {_QUOTE}")
    if name not in known:
        raise ValueError(
            f"PARAMETERS: there is no parameter {name}. docs/deploying.md and template.yaml have them all."
        )
    if name == "Architecture":
        raise ValueError(f"PARAMETERS: Architecture has to be built for, too: make deploy ARCHITECTURE={value}")
    if _UNSPEAKABLE & set(value):
        raise ValueError(f"PARAMETERS: {name} can't have a backslash, a double quote or a line break.")
    return f'{name}="{value}"'


def main(environment: str, architecture: str) -> int:
    """Print all parameters of a deployment: this architecture, those of samconfig.toml, those in PARAMETERS."""
    known = [name for name, _ in items(child(compose(PROJECT / "template.yaml"), "Parameters"))]
    configured = tomllib.loads((PROJECT / "samconfig.toml").read_text())[environment]["deploy"]["parameters"]
    try:
        given = overrides(os.environ.get("PARAMETERS", ""), known)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"Architecture={architecture}", configured.get("parameter_overrides", ""), given)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
