"""`make invoke` and `python -m local.events` against the stack that `make local` runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.test_local_command import command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("local")
    with command(folder) as process:
        process.stdout.readline()
        yield folder


def run(program: str, *arguments: str | Path, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", program, *map(str, arguments)],
        input=text,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )


def invoke(directory: Path, function: str, event: str, *options: str, text: str = "") -> tuple[int, Any]:
    """Return the exit status, and the printed JSON or error."""
    done = run("local.invoke", function, event, "--directory", directory, "--json", *options, text=text)
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


def document(printed: Any) -> Any:
    return json.loads(printed["answer"]["body"])


def test_a_webhook_is_for_an_item_of_the_stack_and_queued(directory: Path) -> None:
    status, printed = invoke(directory, "webhook", "webhook_sync_updates_available")
    assert (status, printed["failed"], document(printed)) == (0, False, {"result": "queued"})
    assert any('"result":"queued"' in line for line in printed["log"])


def test_a_link_session_exists_at_plaid(directory: Path) -> None:
    status, printed = invoke(directory, "items", "items_link_session")
    assert (status, printed["answer"]["statusCode"]) == (0, 201)
    item_id = document(printed)["item_id"]
    assert document(invoke(directory, "items", "items_show", "--item", item_id)[1])["item_id"] == item_id


def test_a_printed_event_can_be_invoked_from_standard_input_or_a_file(directory: Path, tmp_path: Path) -> None:
    event = run("local.events", "webhook_forged_signature", "--directory", directory).stdout
    status, printed = invoke(directory, "webhook", "-", text=event)
    assert (status, document(printed)) == (0, {"error": "bad_signature"})
    (tmp_path / "own.json").write_text(event)
    assert document(invoke(directory, "webhook", str(tmp_path / "own.json"))[1]) == {"error": "bad_signature"}


def test_a_function_error_exits_with_1(directory: Path) -> None:
    status, printed = invoke(directory, "sync", "-", text="{}")
    assert (status, printed["failed"]) == (1, True)
    assert "Records" in printed["answer"]["errorMessage"]


def test_without_json_standard_output_holds_only_the_answer(directory: Path) -> None:
    done = run("local.invoke", "audit", "audit_item", "--directory", directory)
    assert (done.returncode, json.loads(done.stdout)["outcome"]) == (0, "clean")
    assert "REPORT RequestId" in done.stderr


def test_an_item_that_the_stack_does_not_have_is_refused(directory: Path) -> None:
    status, error = invoke(directory, "items", "items_show", "--item", "item-x")
    assert status == 1
    assert "no linked Item item-x" in error


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["syn", "sync_batch_of_two_items"], "No function 'syn'. Functions: audit, changes, items, outbound, sweep"),
        (["sync", "nothing"], "No event or file 'nothing'. Events: sync_batch_of_two_items."),
        (["sync", "webhook_base64"], "The event webhook_base64 is for the function webhook, not for sync."),
        (["sync", "-", "--item", "item-x"], "--item needs a sample, which - is not."),
        (["sync", "-"], "Standard input is not JSON"),
    ],
)
def test_invalid_arguments_exit_with_2_and_name_the_valid_ones(
    tmp_path: Path, arguments: list[str], error: str
) -> None:
    done = run("local.invoke", *arguments, "--directory", tmp_path, text="no JSON")
    assert (done.returncode, done.stdout) == (2, "")
    assert error in done.stderr


def test_without_a_stack_an_event_is_still_signed_now(tmp_path: Path) -> None:
    printed = json.loads(run("local.events", "webhook_base64", "--directory", tmp_path).stdout)
    assert printed["headers"]["plaid-verification"]
    assert run("local.events", "items_show", "--item", "item-x", "--directory", tmp_path).returncode == 1
    assert run("local.events", "nothing", "--directory", tmp_path).returncode == 2
