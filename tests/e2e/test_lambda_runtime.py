"""Functions that fail, in Lambda's own runtime: the answers are Lambda's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local.lambda_runtime import BuiltFunction, FunctionError, FunctionProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.artifact import Artifact

pytestmark = pytest.mark.built

ODD = """
import os, time
memory = []

def lambda_handler(event, context):
    memory.append(event["do"])
    match event["do"]:
        case "raise":
            raise LookupError("nothing of that name")
        case "sleep":
            time.sleep(60)
        case "exit":
            os._exit(3)
    return memory
"""
"""A function that fails in the way that its event requests."""


def process(artifact: Artifact, folder: Path, code: str) -> FunctionProcess:
    (folder / "task").mkdir()
    (folder / "task" / "app.py").write_text(code)
    function = BuiltFunction("Odd", "app.lambda_handler", folder / "task", (), timeout=2, memory=256)
    return FunctionProcess(artifact.machine, function, {}, folder / "log")


@pytest.fixture
def odd(artifact: Artifact, tmp_path: Path) -> Iterator[FunctionProcess]:
    with process(artifact, tmp_path, ODD) as odd:
        yield odd


def failure(process: FunctionProcess, event: dict[str, object]) -> tuple[str, str]:
    with pytest.raises(FunctionError) as caught:
        process.invoke(event)
    return caught.value.kind, caught.value.message


def test_an_exception_is_reported_and_memory_is_kept(odd: FunctionProcess) -> None:
    assert failure(odd, {"do": "raise"}) == ("LookupError", "nothing of that name")
    assert odd.invoke({"do": "go on"}) == ["raise", "go on"]


@pytest.mark.parametrize(
    ("do", "kind", "message"),
    [("sleep", "Sandbox.Timedout", "Task timed out after 2.00 seconds"), ("exit", "Runtime.ExitError", "")],
)
def test_after_a_timeout_or_an_exit_the_next_invocation_starts_another_process(
    odd: FunctionProcess, do: str, kind: str, message: str
) -> None:
    found, text = failure(odd, {"do": do})
    assert found == kind
    assert text.endswith(message)
    assert odd.invoke({"do": "go on"}) == ["go on"]


def test_an_import_error_is_reported(artifact: Artifact, tmp_path: Path) -> None:
    with process(artifact, tmp_path, "import nothing_of_that_name\n") as broken:
        kind, message = failure(broken, {})
    assert kind == "Runtime.ImportModuleError"
    assert "nothing_of_that_name" in message
