"""Start each function from a build alone, and count what it imports: counts, unlike times, are the same everywhere."""

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
ENVIRONMENT: Final = {
    "HOME": "/nonexistent",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
    "AUDIT_SAMPLE_SIZE": "1",
    "DEAD_LETTER_QUEUE_URL": "http://127.0.0.1:9/dead",
    "EVENT_BUS_NAME": "bus",
    "FAILED_EVENTS_QUEUE_URL": "http://127.0.0.1:9/failed-events",
    "OUTBOUND_QUEUE_URL": "http://127.0.0.1:9/outbound",
    "OUTBOUND_DEAD_LETTER_QUEUE_URL": "http://127.0.0.1:9/outbound-dead",
    "OUTBOUND_SECRET_ID": "endpoints",
    "OUTBOUND_TARGETS": "public",
    "GONE_ACCOUNT_ROWS": "remove",
    "HISTORY_TABLE": "history",
    "ITEMS_TABLE": "items",
    "LINK_CLIENT_NAME": "Application",
    "RECURRING_CACHE_HOURS": "0",
    "LINKS_TABLE": "links",
    "PLAID_ENV": "sandbox",
    "PLAID_SECRET_ID": "plaid",
    "POWERTOOLS_METRICS_NAMESPACE": "PlaidSync",
    "POWERTOOLS_SERVICE_NAME": "build",
    "QUARANTINE_TABLE": "quarantine",
    "HISTORY_MAPPING_ID": "mapping",
    "PLAID_CALLS_PER_MINUTE": "1000",
    "REFRESH_AFTER_HOURS": "24",
    "ITEMS_FUNCTION": "stack-items:live",
    "SHARED_TABLE": "shared",
    "SYNC_QUEUE_URL": "http://127.0.0.1:9/queue",
    "TOKEN_KEY_ID": "key",
    "TRANSACTIONS_TABLE": "transactions",
}
"""The functions' required settings; a function that starts calls nothing."""


@dataclass(frozen=True, slots=True)
class Imports:
    """What a function imports and makes when it starts, without the standard library.

    Attributes:
        bytecode: The bytes of the modules' bytecode.
        clients: The services with a client.
        models: The bytes of AWS's models that were read for them.
    """

    function: str
    modules: tuple[str, ...]
    bytecode: int
    clients: tuple[str, ...] = ()
    models: int = 0


def measure(build: Build, python: Path) -> list[Imports]:
    """Start each function on `python` with the build alone, and create each AWS client that the layer has a model of.

    A function that does not start raises a BuildError with its error.
    """
    return [_measure(function, build, python) for function in build.functions]


def _measure(function: Part, build: Build, python: Path) -> Imports:
    folders = [str(function.folder.resolve()), *(str((layer.folder / "python").resolve()) for layer in build.layers)]
    services = tomllib.loads((PROJECT / "layers" / "dependencies" / "kept.toml").read_text())["services"]
    command = [str(python), "-I", "-S", "-B", str(PROBE), ",".join(services), *folders]
    # The project's own program, on the interpreter that the caller names.
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)  # noqa: S603 # nosec B603
    if done.returncode:
        raise BuildError(f"{function.name} does not start from the build alone: {done.stderr.strip()[-2000:]}")
    found = json.loads(done.stdout)
    return Imports(function.name, tuple(found["modules"]), found["bytecode"], tuple(found["clients"]), found["models"])
