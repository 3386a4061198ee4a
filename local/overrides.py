"""The parameters of `make deploy`, in the format of `sam deploy --parameter-overrides`.

SAM silently ignores the rest of an unquoted value after a space, and a name that the template does not have. This
refuses both.
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

_UNQUOTABLE: Final = frozenset('\\"\n\r')
"""Characters that SAM can't parse inside a quoted value, or does not unescape."""
_QUOTE: Final = "Quote a value with spaces: PARAMETERS='LinkClientName=\"My Bank\"'"


def overrides(given: str, known: Collection[str]) -> str:
    """Return parameters in SAM's format.

    Args:
        given: `Name=value` separated by spaces, quoted as for a shell.
        known: The template's parameters.
    """
    try:
        words = shlex.split(given)
    except ValueError as error:
        raise ValueError(f"PARAMETERS: {error}. {_QUOTE}") from error
    return " ".join(_override(word, known) for word in words)


def _override(word: str, known: Collection[str]) -> str:
    name, equals, value = word.partition("=")
    if not equals:
        raise ValueError(f"PARAMETERS: {word} is not Name=value. {_QUOTE}")
    if name not in known:
        raise ValueError(f"PARAMETERS: no parameter {name}. docs/deploying.md and template.yaml list them.")
    if name == "Architecture":
        raise ValueError(f"PARAMETERS: the build needs the Architecture as well: make deploy ARCHITECTURE={value}")
    if _UNQUOTABLE & set(value):
        raise ValueError(f"PARAMETERS: {name} can't have a backslash, a double quote or a line break.")
    return f'{name}="{value}"'


def main(environment: str, architecture: str) -> int:
    """Print the parameters of a deployment: the architecture, those of samconfig.toml, those of PARAMETERS."""
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
