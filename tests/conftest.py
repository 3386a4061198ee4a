"""`pytest --artifact DIR`: the component tests against what was built, run by Lambda's own runtime.

Without it, the tests that are marked `built` are deselected; with it, the component tests that need the inside of a
function or that invoke none. The summary says how many, and why.
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from local.lambda_runtime import Machine, RuntimeUnavailableError
from local.stack.deploy import STACK_NAME
from tests.component import inside
from tests.component.artifact import Artifact, built_functions

if TYPE_CHECKING:
    from collections.abc import Iterator

LEFT_OUT: Final = pytest.StashKey[Counter[str]]()
ARTIFACT: Final = pytest.StashKey[Artifact]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--artifact", type=Path, metavar="DIR", help="test the functions that were built in DIR")


def pytest_configure(config: pytest.Config) -> None:
    # Whoever imports the engine's telemetry first: it is the stack's, and has the names that the template gives it.
    os.environ |= {"POWERTOOLS_SERVICE_NAME": STACK_NAME, "POWERTOOLS_METRICS_NAMESPACE": "PlaidSync"}
    config.addinivalue_line("markers", "inside(why): needs the inside of a function, and can't run on the artifact")
    config.addinivalue_line("markers", "built: is about what was built, and runs with --artifact only")
    config.stash[LEFT_OUT] = Counter()
    folder: Path | None = config.getoption("--artifact")
    if folder is None:
        return
    try:
        machine = Machine.this()
    except RuntimeUnavailableError as error:
        raise pytest.UsageError(f"The artifact can't be tested here. {error}") from error
    inside.close()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    logs = folder.resolve().parent / "logs"
    logs.mkdir(exist_ok=True)
    config.stash[ARTIFACT] = Artifact(machine, built_functions(folder), logs, port)


def reason_to_leave_out(item: pytest.Item, *, artifact: bool) -> str | None:
    """Return why a test is not for this run, if it is not."""
    if item.get_closest_marker("built"):
        return None if artifact else "it is about the artifact: make test-artifact"
    if not artifact:
        return None
    if marker := item.get_closest_marker("inside"):
        return str(marker.args[0])
    return None if "world" in getattr(item, "fixturenames", ()) else "it invokes no function"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    reasons = {item: reason_to_leave_out(item, artifact=ARTIFACT in config.stash) for item in items}
    config.stash[LEFT_OUT].update(reason for reason in reasons.values() if reason)
    config.hook.pytest_deselected(items=[item for item, reason in reasons.items() if reason])
    items[:] = [item for item, reason in reasons.items() if not reason]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    left_out = config.stash[LEFT_OUT]
    if artifact := config.stash.get(ARTIFACT, None):
        ran = sum(len(terminalreporter.stats.get(outcome, ())) for outcome in ("passed", "failed"))
        starts = ", ".join(f"{name} {number}" for name, number in sorted(artifact.starts.items()))
        terminalreporter.section("the artifact")
        terminalreporter.line(f"{ran} tests ran on what was built, {left_out.total()} were left out")
        terminalreporter.line(f"{artifact.invocations.total()} invocations; cold starts: {starts or 'none'}")
    for reason, number in left_out.most_common():
        terminalreporter.line(f"{number} left out, because {reason}")


@pytest.fixture(scope="session")
def artifact(request: pytest.FixtureRequest) -> Iterator[Artifact | None]:
    """The built functions, with `--artifact`."""
    artifact = request.config.stash.get(ARTIFACT, None)
    if artifact is None:
        yield None
        return
    with artifact.running():
        yield artifact
