"""The command line `plaid-sync`: inspects and operates a deployment (docs/cli.md)."""

from __future__ import annotations

import sys

_EXTRA = frozenset({"rich", "typer"})


def main() -> None:
    """Run the command line."""
    try:
        from plaid_sync_cli.app import app  # noqa: PLC0415 - the extra may be missing
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        print(  # noqa: T201 - without rich there is no console yet
            f"plaid-sync: {error.name} is not installed. Install the command line with its extra, "
            "from the repository: pipx install '.[cli]'",
            file=sys.stderr,
        )
        sys.exit(2)
    app(prog_name="plaid-sync")
