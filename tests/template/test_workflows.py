"""Rules for GitHub's workflows. zizmor checks the rest (`make workflow-lint`)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from tests.template.cloudformation import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKFLOWS: Final[dict[str, dict[str, Any]]] = {
    path.name: yaml.safe_load(path.read_text()) for path in sorted((PROJECT / ".github" / "workflows").glob("*.yml"))
}
TARGETS: Final = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))


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
            if not set(re.findall(r"make ([a-z-]+)", step.get("run", ""))) <= TARGETS:
                yield f"{job} runs a target that does not exist"


@pytest.mark.parametrize("name", WORKFLOWS)
def test_jobs_have_the_permissions_that_they_need_and_no_others(name: str) -> None:
    assert list(problems(name, WORKFLOWS[name])) == []


def test_a_deployment_waits_for_the_checks_and_for_its_environments_reviewers() -> None:
    deploy = WORKFLOWS["deploy.yml"]["jobs"]["deploy"]
    assert deploy["needs"] == "ci"
    assert deploy["environment"]
    assert WORKFLOWS["deploy.yml"]["concurrency"]["cancel-in-progress"] is False
    steps = " ".join(step.get("run", step.get("uses", "")) for step in deploy["steps"])
    assert 0 < steps.index("make build") < steps.index("configure-aws")  # no build script can read the credentials
