"""Options and profiles of all tests.

`--artifact DIR` runs the integration tests against the built functions, under Lambda's own runtime. Without it, tests
marked `built` are deselected; with it, tests that reach into a function's process, and tests that invoke no function.
`--exhaustive` also runs the tests marked `exhaustive`. The summary says how many tests were deselected, and why.
HYPOTHESIS_PROFILE chooses the profile of property tests: `ci` (quick, always the same examples) or `nightly`.
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import HealthCheck, settings

from local.lambda_runtime import Machine, RuntimeUnavailableError
from local.stack.deploy import STACK_NAME
from tests.integration import in_process
from tests.integration.artifact import Artifact, built_functions

if TYPE_CHECKING:
    from collections.abc import Iterator

settings.register_profile("ci", deadline=None, derandomize=True, database=None)
settings.register_profile(
    "nightly", deadline=None, max_examples=2_000, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

LEFT_OUT: Final = pytest.StashKey[Counter[str]]()
ARTIFACT: Final = pytest.StashKey[Artifact]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--artifact", type=Path, metavar="DIR", help="test the functions that were built in DIR")
    parser.addoption("--exhaustive", action="store_true", help="also run what is marked exhaustive")


def pytest_configure(config: pytest.Config) -> None:
    # Before the engine's telemetry is imported: its names are the ones that the template sets.
    os.environ |= {"POWERTOOLS_SERVICE_NAME": STACK_NAME, "POWERTOOLS_METRICS_NAMESPACE": "PlaidSync"}
    config.addinivalue_line("markers", "inside(why): needs the inside of a function, and can't run on the artifact")
    config.addinivalue_line("markers", "built: is about what was built, and runs with --artifact only")
    config.addinivalue_line("markers", "exhaustive: one of many similar cases, and runs with --exhaustive only")
    config.stash[LEFT_OUT] = Counter()
    folder: Path | None = config.getoption("--artifact")
    if folder is None:
        return
    try:
        machine = Machine.this()
    except RuntimeUnavailableError as error:
        raise pytest.UsageError(f"The artifact can't be tested here. {error}") from error
    in_process.close()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    logs = folder.resolve().parent / "logs"
    logs.mkdir(exist_ok=True)
    config.stash[ARTIFACT] = Artifact(machine, built_functions(folder), logs, port)


def reason_to_leave_out(item: pytest.Item, *, artifact: bool, exhaustive: bool) -> str | None:
    """Return why a test is not for this run, if it is not."""
    if item.get_closest_marker("exhaustive") and not exhaustive:
        return "they are similar to cases that ran: --exhaustive"
    if item.get_closest_marker("built"):
        return None if artifact else "they test the artifact: make test-artifact"
    if not artifact:
        return None
    if marker := item.get_closest_marker("inside"):
        return str(marker.args[0])
    return None if "world" in getattr(item, "fixturenames", ()) else "it invokes no function"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    known: dict[str, bool] = {"artifact": ARTIFACT in config.stash, "exhaustive": config.getoption("exhaustive")}
    reasons = {item: reason_to_leave_out(item, **known) for item in items}
    config.stash[LEFT_OUT].update(reason for reason in reasons.values() if reason)
    config.hook.pytest_deselected(items=[item for item, reason in reasons.items() if reason])
    items[:] = [item for item, reason in reasons.items() if not reason]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    left_out = config.stash[LEFT_OUT]
    if artifact := config.stash.get(ARTIFACT, None):
        starts = ", ".join(f"{name} {number}" for name, number in sorted(artifact.starts.items()))
        terminalreporter.section("the artifact")
        terminalreporter.line(f"{artifact.invocations.total()} invocations; cold starts: {starts or 'none'}")
    for reason, number in left_out.most_common():
        terminalreporter.line(f"{number} left out, because {reason}")


@pytest.fixture(scope="session")
def artifact(request: pytest.FixtureRequest) -> Iterator[Artifact | None]:
    artifact = request.config.stash.get(ARTIFACT, None)
    if artifact is None:
        yield None
        return
    with artifact.running():
        yield artifact
