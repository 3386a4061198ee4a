"""`make deploy`, `smoke` and `destroy` reject wrong usage in one line, before anything is built or called."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from local.stack.paths import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

# The last is what the tests themselves were started with: `make test ARGS=…` exports it.
_NOT_OURS = ("AWS_", "MAKE", "PLAID_", "ARGS")


def make(*arguments: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a target, without a terminal and without this shell's settings of AWS, of make and of the project."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_OURS)}
    return subprocess.run(
        ["make", *arguments],  # noqa: S607 - the one on PATH
        cwd=PROJECT,
        env={**kept, **variables},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )


def refusal(tmp_path: Path, *arguments: str) -> str:
    """What a target says without credentials, a configuration of AWS and a terminal."""
    nowhere = {"AWS_CONFIG_FILE": str(tmp_path / "none"), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none")}
    run = make(*arguments, **nowhere, AWS_EC2_METADATA_DISABLED="true")
    assert run.returncode == 2  # make's own
    return run.stdout + run.stderr


@pytest.mark.parametrize("target", ["deploy", "smoke", "destroy"])
@pytest.mark.parametrize("environment", [[], ["ENV=staging"], ["ENV=default"]], ids=str)
def test_an_environment_is_one_of_samconfigs(tmp_path: Path, target: str, environment: list[str]) -> None:
    said = refusal(tmp_path, target, *environment)
    assert said.splitlines()[0] == f"ENV must be an environment of samconfig.toml, as in: make {target} ENV=dev"


def test_local_is_nothing_to_deploy_to(tmp_path: Path) -> None:
    assert refusal(tmp_path, "deploy", "ENV=local").startswith("ENV must be an environment of samconfig.toml")


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("LinkClientName=My Bank", "PARAMETERS: Bank is not Name=value."),
        ("AlarmMail=oncall@example.com", "PARAMETERS: no parameter AlarmMail."),
        ("Architecture=x86_64", "PARAMETERS: the build needs the Architecture as well"),
    ],
)
def test_parameters_that_sam_would_pass_over_are_refused(tmp_path: Path, given: str, complaint: str) -> None:
    assert refusal(tmp_path, "deploy", "ENV=dev", f"PARAMETERS={given}").startswith(complaint)


def test_prod_is_not_deployed_unseen(tmp_path: Path) -> None:
    assert "CONFIRM=no deploys without confirmation" in refusal(tmp_path, "deploy", "ENV=prod").splitlines()[0]


@pytest.mark.parametrize("target", [["deploy", "ENV=dev"], ["deploy", "ENV=prod", "CONFIRM=no"], ["smoke", "ENV=dev"]])
def test_without_credentials_nothing_begins(tmp_path: Path, target: list[str]) -> None:
    lines = refusal(tmp_path, *target, "PYTHONWARNINGS=ignore").splitlines()
    assert lines[0] == "plaid-sync: no AWS credentials found" or "no AWS region" in lines[0]
