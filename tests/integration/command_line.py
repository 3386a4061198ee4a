"""Runs the command line against the deployed stack."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from plaid_sync_cli.app import app
from typer.testing import CliRunner, Result

from local.stack.dotenv import variables_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from local.plaid import PlaidServer
    from local.stack import LocalStack
    from tests.integration.harness import World

SECRETS = ("access-sandbox", "local-secret", "public-sandbox")


class HasStack(Protocol):
    """A stack and its Plaid."""

    @property
    def stack(self) -> LocalStack: ...

    @property
    def server(self) -> PlaidServer: ...


@dataclass(frozen=True, slots=True)
class CommandLine:
    """Runs `plaid-sync … --local` in a folder with the addresses of the stack."""

    world: HasStack

    @classmethod
    def at(cls, world: HasStack, folder: Path) -> CommandLine:
        """Write the folder's `.local/env`, as `make local` does."""
        variables = variables_of(world.stack) | {"PLAID_BASE_URL": world.server.base_url}
        (folder / ".local").mkdir()
        (folder / ".local" / "env").write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
        return cls(world)

    def text(self, *arguments: str, code: int = 0, stdin: str = "") -> str:
        """Run a command without a terminal; return its standard output."""
        result = self.run(*arguments, stdin=stdin)
        assert result.exit_code == code, result.output
        return result.stdout

    def run(self, *arguments: str, stdin: str = "") -> Result:
        """Run a command without a terminal."""
        result = CliRunner().invoke(app, [*arguments, "--local"], input=stdin)
        assert not any(secret in result.output for secret in SECRETS), result.output
        return result

    def json(self, *arguments: str, code: int = 0, stdin: str = "") -> Any:
        """Run a command with `--json`; return its document."""
        return json.loads(self.text(*arguments, "--json", code=code, stdin=stdin))


@contextmanager
def syncing(world: World) -> Iterator[None]:
    """Process the queue in the background, as the deployed function does."""
    done = threading.Event()

    def work() -> None:
        while not done.wait(0.1):
            world.drain()

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield
    finally:
        done.set()
        worker.join()
