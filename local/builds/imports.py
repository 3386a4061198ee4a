"""What the functions of a build load when they start, counted, for times depend on the machine."""

from __future__ import annotations

import json
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local.builds.artifact import BuildError
from local.stack.paths import PROJECT

if TYPE_CHECKING:
    from local.builds.artifact import Build, Part

PROBE: Final = Path(__file__).with_name("probe.py")
# What the functions' settings ask for; nothing is called.
ENVIRONMENT: Final = {
    "HOME": "/nonexistent",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
    "AUDIT_SAMPLE_SIZE": "1",
    "DEAD_LETTER_QUEUE_URL": "http://127.0.0.1:9/dead",
    "EVENT_BUS_NAME": "bus",
    "HISTORY_TABLE": "history",
    "ITEMS_TABLE": "items",
    "LINK_CLIENT_NAME": "Application",
    "LINKS_TABLE": "links",
    "PLAID_ENV": "sandbox",
    "PLAID_SECRET_ID": "plaid",
    "POWERTOOLS_METRICS_NAMESPACE": "PlaidSync",
    "POWERTOOLS_SERVICE_NAME": "build",
    "QUARANTINE_TABLE": "quarantine",
    "SWEEP_LIMIT": "10",
    "SYNC_QUEUE_URL": "http://127.0.0.1:9/queue",
    "TOKEN_KEY_ID": "key",
    "TRANSACTIONS_TABLE": "transactions",
}


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a function loads.

    Attributes:
        function: Its logical id.
        modules: Those of the build, without the standard library's.
        bytecode: Their bytes of bytecode.
    """

    function: str
    modules: tuple[str, ...]
    bytecode: int


def measure(build: Build, python: Path) -> list[Loaded]:
    """Start each function on `python` with nothing but the build, and make each client that there is a model for.

    Raises:
        BuildError: A function does not start; the text holds its error.
    """
    return [_loaded(function, build, python) for function in build.functions]


def _loaded(function: Part, build: Build, python: Path) -> Loaded:
    folders = [str(function.folder.resolve()), *(str((layer.folder / "python").resolve()) for layer in build.layers)]
    command = [str(python), "-I", "-S", "-B", str(PROBE), ",".join(kept_services()), *folders]
    # This project's own program, on the interpreter that the caller names.
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)  # noqa: S603 # nosec B603
    if done.returncode:
        raise BuildError(f"{function.name} does not start from the build alone: {done.stderr.strip()[-2000:]}")
    found = json.loads(done.stdout)
    return Loaded(function.name, tuple(found["modules"]), found["bytecode"])


def kept_services() -> list[str]:
    """Return the AWS services that the dependencies layer has models of."""
    kept = tomllib.loads((PROJECT / "layers" / "dependencies" / "kept.toml").read_text())
    return list(kept["services"])
