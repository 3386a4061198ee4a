"""All commands: help, options, wrong usage, and docs/cli.md."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer
from plaid_sync_cli.app import app
from plaid_sync_cli.deployment import TABLES
from typer.testing import CliRunner

from tests.template.cloudformation import Template

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
DOCUMENT = (ROOT / "docs" / "cli.md").read_text()


def all_commands(command: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, sub in getattr(command, "commands", {}).items():
        yield from all_commands(sub, *path, name)
    if not hasattr(command, "commands"):
        yield path, command


COMMANDS = dict(all_commands(typer.main.get_command(app)))
NAMES = {" ".join(path): path for path in COMMANDS}


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No AWS and no local stack."""
    monkeypatch.chdir(tmp_path)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "PLAID_SYNC_STACK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_command_has_help_an_example_the_common_options_and_a_section_in_the_document(name: str) -> None:
    path = NAMES[name]
    result = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert f"Example: plaid-sync {name}" in re.sub(r"`", "", result.stdout)
    assert {"--json", "--stack", "--region", "--profile", "--local"} <= {
        option for parameter in COMMANDS[path].params for option in parameter.opts
    }
    assert f"### `plaid-sync {name}" in DOCUMENT


def test_options_are_the_same_and_an_item_is_positional_in_all_commands() -> None:
    options: dict[str, set[Any]] = {}
    arguments: set[Any] = set()
    for parameter in (parameter for command in COMMANDS.values() for parameter in command.params):
        if parameter.param_type_name == "argument":
            arguments.add(parameter.metavar)
        else:
            options.setdefault(parameter.opts[0], set()).add((parameter.metavar, parameter.help))
    assert arguments == {
        "ITEM_ID",
        "[ITEM_ID]",
        "ITEM_ID...",
        "[ITEM_ID...]",
        "ACCOUNT_ID",
        "CLIENT_USER_ID",
        "FILE",
        "NAME",
        "[NAME]",
        "[URL]",
    }
    assert "--item" not in options
    for option in ("--all", "--user", "--rate", "--yes", "--dry-run"):
        assert len(options[option]) == 1, option
    assert {metavar for metavar, _ in options["--limit"]} == {"N"}
    assert {metavar for metavar, _ in options["--timeout"]} == {"SECONDS"}


def test_the_document_has_no_other_commands() -> None:
    assert {found.strip() for found in re.findall(r"### `plaid-sync ([a-z -]+?)(?: [\[A-Z-][^`]*)?`", DOCUMENT)} == set(
        NAMES
    )


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ("status", 2, "--stack"),
        ("status --stack a --region us-east-1", 3, "--profile"),
        ("status --stack a --profile missing", 3, "missing"),
        ("status --local", 3, "make local"),
        ("status --local --region us-east-1", 2, "--region"),
        ("status --local --stack a", 2, "--stack"),
        ("items --failing --state active --local", 2, "without --state"),
        ("items --limit 0 --local", 2, "--limit"),
        ("resync --local", 2, "--all"),
        ("resync a --all --local", 2, "--all"),
        ("resync a --rate 11/s --local", 2, "10/s"),
        ("resync a --rate fast --local", 2, "2/s"),
        ("resync a --after b --local", 2, "--after"),
        ("remove a --transactions some --local", 2, "keep or erase"),
        ("export --local", 2, "--all"),
        ("export a --all --local", 2, "one of them"),
        ("export --all --format xml --local", 2, "csv"),
        ("export --all --output no/such/folder --local", 2, "no/such"),
        ("link --user a --local", 2, "--hosted"),
        ("usage --days 0", 2, "--days"),
        ("verify-webhook nothing --local", 2, "nothing"),
        ("dlq replay --limit 0 --local", 2, "--limit"),
        ("unknown", 2, "unknown"),
    ],
)
def test_wrong_usage_is_rejected_with_the_fix_and_without_a_traceback(arguments: str, code: int, text: str) -> None:
    result = CliRunner().invoke(app, arguments.split())
    assert result.exit_code == code, result.output
    assert text in re.sub(r"[\s│]+", " ", result.stderr)
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_a_local_stack_that_has_ended_is_reported(tmp_path: Path) -> None:
    (tmp_path / ".local").mkdir()
    addresses = dict.fromkeys(("API_URL", "WEBHOOK_URL", "PLAID_BASE_URL", "AWS_ENDPOINT_URL"), "http://127.0.0.1:9")
    names = {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none", "AWS_REGION": "us-east-1"}
    (tmp_path / ".local" / "env").write_text(
        "".join(f"{name}={value}\n" for name, value in (addresses | names).items())
    )
    result = CliRunner().invoke(app, ["status", "--local"])
    assert (result.exit_code, result.stdout) == (3, "")
    assert "Start it again: make local." in result.stderr


def test_an_error_is_json_with_json() -> None:
    result = CliRunner().invoke(app, ["status", "--json"])
    error = json.loads(result.stderr)
    assert (error["exit_code"], error["error"]) == (2, "--stack is missing")


def test_a_missing_extra_is_reported_in_one_line() -> None:
    program = "import sys; sys.modules['typer'] = None; import plaid_sync_cli; plaid_sync_cli.main()"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "pipx install '.[cli]'" in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_wheel_has_both_packages_and_the_script_and_no_layer_has_the_extra(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (entry,) = [name for name in names if name.endswith("entry_points.txt")]
        assert "plaid-sync = plaid_sync_cli:main" in archive.read(entry).decode()
    packages = {name.split("/")[0] for name in names}
    assert {name for name in packages if "." not in name} == {"plaid_sync", "plaid_sync_cli"}
    locked = (ROOT / "layers" / "dependencies" / "requirements.txt").read_text()
    assert not re.search("^(typer|rich)==", locked, re.MULTILINE)


def test_the_retained_resources_are_those_that_the_template_retains() -> None:
    retained = {
        name: resource["Type"]
        for name, resource in Template.parse((ROOT / "template.yaml").read_text()).resources.items()
        if resource.get("DeletionPolicy") in {"Retain", "RetainExceptOnCreate"}
    }
    kinds = Counter(retained.values())
    assert kinds.keys() == {"AWS::DynamoDB::Table", "AWS::SQS::Queue", "AWS::KMS::Key"}
    assert kinds["AWS::DynamoDB::Table"] == len(TABLES)
    queues = [name for name, kind in retained.items() if kind == "AWS::SQS::Queue"]
    assert queues == ["DeadLetterQueue", "FailedEventsQueue", "OutboundQueue", "OutboundDeadLetterQueue"]
