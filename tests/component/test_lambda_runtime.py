"""Functions that fail, in Lambda's own runtime: the answers are Lambda's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local.lambda_runtime import BuiltFunction, FunctionError, FunctionProcess, RuntimeUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.component.artifact import Artifact

pytestmark = pytest.mark.built

ODD = BuiltFunction("Odd", "app.lambda_handler", Path(__file__).parent / "odd_function", (), timeout=2, memory=256)


@pytest.fixture
def odd(artifact: Artifact, tmp_path: Path) -> Iterator[FunctionProcess]:
    with FunctionProcess(artifact.machine, ODD, {}, tmp_path / "log") as process:
        yield process


def failure(process: FunctionProcess, event: dict[str, object]) -> tuple[str, str]:
    with pytest.raises(FunctionError) as caught:
        process.invoke(event)
    return caught.value.kind, caught.value.message


def test_memory_is_kept_between_invocations(odd: FunctionProcess) -> None:
    assert odd.invoke({"do": "this"}) == ["this"]
    assert odd.invoke({"do": "that"}) == ["this", "that"]


def test_an_exception_is_reported_and_memory_is_kept(odd: FunctionProcess) -> None:
    assert failure(odd, {"do": "raise"}) == ("LookupError", "nothing of that name")
    assert odd.invoke({"do": "go on"}) == ["raise", "go on"]


def test_a_timeout_ends_the_process_and_the_next_invocation_starts_another(odd: FunctionProcess) -> None:
    kind, message = failure(odd, {"do": "sleep"})
    assert kind == "Sandbox.Timedout"
    assert message.endswith("Task timed out after 2.00 seconds")
    assert odd.invoke({"do": "go on"}) == ["go on"]


def test_after_an_exit_the_next_invocation_starts_another_process(odd: FunctionProcess) -> None:
    kind, _ = failure(odd, {"do": "exit"})
    assert kind == "Runtime.ExitError"
    assert odd.invoke({"do": "go on"}) == ["go on"]


def test_the_context_has_the_remaining_time(odd: FunctionProcess) -> None:
    assert odd.invoke({"do": "this"})
    assert 0 < odd.invoke({"do": "time"}) <= 2000


def test_an_answer_over_the_limit_is_refused(odd: FunctionProcess) -> None:
    assert len(odd.invoke({"do": "large", "size": 6_000_000})) == 6_000_000
    kind, _ = failure(odd, {"do": "large", "size": 6_300_000})
    assert kind == "Function.ResponseSizeTooLarge"


def test_an_import_error_is_reported(artifact: Artifact, tmp_path: Path) -> None:
    task = tmp_path / "task"
    task.mkdir()
    (task / "app.py").write_text("import nothing_of_that_name\n")
    broken = BuiltFunction("Broken", "app.lambda_handler", task, (), timeout=2, memory=256)
    with FunctionProcess(artifact.machine, broken, {}, tmp_path / "log") as process:
        kind, message = failure(process, {})
    assert kind == "Runtime.ImportModuleError"
    assert "nothing_of_that_name" in message


def test_a_missing_folder_is_named(artifact: Artifact, tmp_path: Path) -> None:
    missing = BuiltFunction("Missing", "app.lambda_handler", tmp_path / "none", (), timeout=2, memory=256)
    with pytest.raises(RuntimeUnavailableError, match=r"Missing could not be started: .*none"):
        FunctionProcess(artifact.machine, missing, {}, tmp_path / "log").start()
