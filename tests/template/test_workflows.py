"""Rules for GitHub's workflows, and breaks that they must report."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from tests.template.cloudformation import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER: Final = PROJECT / ".github" / "workflows"
TEXTS: Final = {path.name: path.read_text() for path in sorted(FOLDER.glob("*.yml"))}
PINNED: Final = re.compile(r"^\s*(?:- )?uses: (?:\./\S+(?: #.*)?|[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)$")
TARGETS: Final = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))


def unpinned(text: str) -> list[str]:
    """Return the actions that their owners can change."""
    return [line.strip() for line in text.splitlines() if "uses:" in line and not PINNED.match(line)]


def problems(name: str, workflow: dict[str, Any]) -> Iterator[str]:
    if workflow.get("permissions") != {}:
        yield "jobs have permissions that they do not name"
    if "concurrency" not in workflow:
        yield "two runs can overlap"
    for job, content in workflow["jobs"].items():
        wanted = {"contents": "read"} | ({"id-token": "write"} if (name, job) == ("deploy.yml", "deploy") else {})
        if content.get("permissions") != wanted:
            yield f"{job} has {content.get('permissions')}"
        if "uses" not in content and "timeout-minutes" not in content:
            yield f"{job} can run for six hours"
        for step in content.get("steps", []):
            if "checkout" in step.get("uses", "") and step["with"].get("persist-credentials") is not False:
                yield f"{job} leaves GitHub's token in the clone"
            if "${{" in step.get("run", ""):
                yield f"{job} runs the value of an expression"
            if not set(re.findall(r"make ([a-z-]+)", step.get("run", ""))) <= TARGETS:
                yield f"{job} runs a target that does not exist"


def read(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load(TEXTS[name]))


@pytest.mark.parametrize("name", TEXTS)
def test_actions_are_pinned_by_hash_with_their_version(name: str) -> None:
    assert "uses:" in TEXTS[name]
    assert unpinned(TEXTS[name]) == []


@pytest.mark.parametrize(
    "line", ["uses: actions/checkout@v5", f"uses: actions/checkout@{'a' * 40}", "uses: a/b@main # v1.0.0"]
)
def test_an_action_that_is_not_pinned_is_reported(line: str) -> None:
    assert unpinned(line) == [line]


@pytest.mark.parametrize("name", TEXTS)
def test_jobs_have_the_permissions_that_they_need_and_no_others(name: str) -> None:
    assert list(problems(name, read(name))) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("permissions",), {"contents": "write"}),
        (("concurrency",), None),
        (("jobs", "check", "permissions"), {"contents": "read", "id-token": "write"}),
        (("jobs", "check", "timeout-minutes"), None),
        (("jobs", "check", "steps", 0, "with"), {}),
        (("jobs", "check", "steps", 2, "run"), "echo ${{ github.head_ref }}"),
        (("jobs", "check", "steps", 2, "run"), "make everything"),
    ],
)
def test_a_job_with_more_permissions_is_reported(path: tuple[Any, ...], value: object) -> None:
    workflow = copy.deepcopy(read("ci.yml"))
    target: Any = workflow
    for step in path[:-1]:
        target = target[step]
    if value is None:
        del target[path[-1]]
    else:
        target[path[-1]] = value
    assert list(problems("ci.yml", workflow))


def test_a_deployment_waits_for_the_checks_and_for_its_environments_reviewers() -> None:
    deploy = read("deploy.yml")["jobs"]["deploy"]
    assert deploy["needs"] == "ci"
    assert deploy["environment"]
    assert read("deploy.yml")["concurrency"]["cancel-in-progress"] is False
    steps = [step.get("run", step.get("uses", "")) for step in deploy["steps"]]
    built, trusted = (
        next(n for n, step in enumerate(steps) if word in step) for word in ("make build", "configure-aws")
    )
    assert built < trusted  # no build script can read the role's credentials
