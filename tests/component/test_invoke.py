"""`make invoke` and `python -m local.events` against the stack that `make local` keeps up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.component.test_local_command import command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a stack that is ready."""
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
    """Return the exit status and what was printed."""
    done = run("local.invoke", function, event, "--directory", directory, "--json", *options, text=text)
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


def document(printed: Any) -> Any:
    return json.loads(printed["answer"]["body"])


def test_a_webhook_is_about_an_item_of_the_stack_and_queued(directory: Path) -> None:
    status, printed = invoke(directory, "webhook", "webhook_sync_updates_available")
    assert (status, printed["failed"], document(printed)) == (0, False, {"result": "queued"})
    assert any('"result":"queued"' in line for line in printed["log"])
    _, told = invoke(directory, "items", "items_history")
    assert "SYNC_UPDATES_AVAILABLE" in json.dumps(document(told))


def test_a_batch_is_about_two_items_that_are_synced(directory: Path) -> None:
    status, printed = invoke(directory, "sync", "sync_batch_of_two_items")
    assert (status, printed["answer"]) == (0, {"batchItemFailures": []})
    synced = [json.loads(line) for line in printed["log"] if '"item synced"' in line]
    assert len({record["item_id"] for record in synced}) == 2


def test_a_link_session_is_one_that_plaid_knows(directory: Path) -> None:
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


def test_a_function_that_fails_ends_it_with_1(directory: Path) -> None:
    status, printed = invoke(directory, "sync", "-", text="{}")
    assert (status, printed["failed"]) == (1, True)
    assert "Records" in printed["answer"]["errorMessage"]


def test_without_json_the_answer_is_alone_on_standard_output(directory: Path) -> None:
    done = run("local.invoke", "audit", "audit_item", "--directory", directory)
    assert (done.returncode, json.loads(done.stdout)["outcome"]) == (0, "clean")
    assert "REPORT RequestId" in done.stderr


def test_an_item_that_the_stack_does_not_have_is_refused(directory: Path) -> None:
    status, said = invoke(directory, "items", "items_show", "--item", "item-x")
    assert status == 1
    assert "no Item item-x" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["syn", "sync_batch_of_two_items"], "There is no function 'syn'; there are: audit, changes, items, sweep"),
        (["sync", "nothing"], "There is no event 'nothing', nor a file; there are: sync_batch_of_two_items."),
        (["sync", "webhook_base64"], "The event webhook_base64 is for the function webhook, not for sync."),
        (["sync", "-", "--item", "item-x"], "An Item can be chosen for a sample only, and - is none."),
        (["sync", "-"], "Standard input is no JSON"),
    ],
)
def test_arguments_that_make_no_sense_end_it_with_2_and_name_what_does(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    done = run("local.invoke", *arguments, "--directory", tmp_path, text="no JSON")
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_without_a_stack_an_event_is_signed_now_all_the_same(tmp_path: Path) -> None:
    printed = json.loads(run("local.events", "webhook_base64", "--directory", tmp_path).stdout)
    assert printed["headers"]["plaid-verification"]
    assert run("local.events", "items_show", "--item", "item-x", "--directory", tmp_path).returncode == 1
    assert run("local.events", "nothing", "--directory", tmp_path).returncode == 2
