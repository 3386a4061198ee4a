"""The release of a deployment, and the stacks that can't get one. That it publishes versions: tests/template."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import botocore.session
import pytest
import yaml

from local.release import Stack, digest, effective, obstacle, stamped
from local.stack.nodes import compose

if TYPE_CHECKING:
    from pathlib import Path

TEMPLATE = """
Parameters:
  LogLevel: {Type: String, Default: INFO}
  LinkClientName: {Type: String, Default: Bank connections}
  AlarmEmail: {Type: String, Default: ""}
Resources:
  Webhook: {Type: AWS::Serverless::Function, Properties: {CodeUri: webhook, Environment: {LEVEL: !Ref LogLevel}}}
  Layer: {Type: AWS::Serverless::LayerVersion, Properties: {ContentUri: layer}}
  Alarms: {Type: AWS::Serverless::Application, Properties: {Location: alarms.yaml}}
"""


@pytest.fixture
def template(tmp_path: Path) -> Path:
    for name in ("webhook", "layer"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "app.py").write_text(name)
    path = tmp_path / "template.yaml"
    path.write_text(TEMPLATE)
    return path


# -- the stack ---------------------------------------------------------------------------------------------------------


def test_each_state_of_a_stack_can_be_deployed_or_has_advice() -> None:
    model = botocore.session.get_session().get_service_model("cloudformation")
    states = set(model.shape_for("StackStatus").metadata["enum"])
    complete = {state for state in states if state.endswith("_COMPLETE")} - {"ROLLBACK_COMPLETE"}
    deployable = complete | {"REVIEW_IN_PROGRESS", "UPDATE_FAILED", "IMPORT_ROLLBACK_FAILED"}
    assert {state for state in states if obstacle("stack", state) is None} == deployable
    assert obstacle("stack", Stack().status) is None


@pytest.mark.parametrize(
    ("status", "commands"),
    [
        ("ROLLBACK_COMPLETE", ["delete-stack", "wait stack-delete-complete"]),
        ("ROLLBACK_FAILED", ["delete-stack", "wait stack-delete-complete"]),
        ("DELETE_FAILED", ["describe-stack-events", "delete-stack"]),
        (
            "UPDATE_ROLLBACK_FAILED",
            ["describe-stack-events", "continue-update-rollback", "wait stack-rollback-complete"],
        ),
        ("UPDATE_IN_PROGRESS", []),
    ],
)
def test_an_obstacle_names_the_state_and_what_to_run(status: str, commands: list[str]) -> None:
    first, *steps = (obstacle("plaid-sync-dev", status) or "").splitlines()
    assert first.startswith(f"The stack plaid-sync-dev is in {status}. ")
    run = [re.fullmatch(r"  aws cloudformation (.+) --stack-name plaid-sync-dev.*", step) for step in steps]
    assert [found and found[1] for found in run] == commands


# -- the release -------------------------------------------------------------------------------------------------------


def test_a_parameter_is_as_given_else_as_before_else_its_default(template: Path) -> None:
    before = Stack("UPDATE_COMPLETE", {"LogLevel": "DEBUG", "LinkClientName": "My Bank", "Removed": "1"})
    assert effective(compose(template), before, 'LogLevel="ERROR" Elsewhere=1') == {
        "LogLevel": "ERROR",
        "LinkClientName": "My Bank",
        "AlarmEmail": "",
    }
    assert effective(compose(template), Stack(), 'LinkClientName="Dot\'s Bank & $HOME"') == {
        "LogLevel": "INFO",
        "LinkClientName": "Dot's Bank & $HOME",
        "AlarmEmail": "",
    }


def test_a_release_changes_with_code_layers_template_and_parameters_and_not_else(template: Path) -> None:
    values = {"LogLevel": "INFO", "LinkClientName": "My Bank"}
    release = digest(template, values, "")
    assert release == digest(template, dict(reversed(values.items())), "")
    seen = {release, digest(template, values | {"LogLevel": "WARN"}, "")}
    for name in ("webhook/app.py", "layer/app.py", "template.yaml"):
        path = template.parent / name
        text = path.read_text()
        path.write_text(text + "\n")
        seen.add(digest(template, values, ""))
        path.write_text(text)
    assert len(seen) == 5
    assert digest(template, values, "") == release


def test_the_attempt_after_a_rollback_is_another_release(template: Path) -> None:
    described = {"StackStatus": "UPDATE_ROLLBACK_COMPLETE", "LastUpdatedTime": datetime(2026, 1, 2, tzinfo=UTC)}
    rolled_back, complete = Stack.of(described), Stack.of(described | {"StackStatus": "UPDATE_COMPLETE"})
    assert digest(template, {}, rolled_back.attempt) == digest(template, {}, Stack.of(described).attempt)
    assert digest(template, {}, rolled_back.attempt) != digest(template, {}, complete.attempt)
    assert digest(template, {}, complete.attempt) == digest(template, {}, Stack().attempt)


def test_each_function_has_the_release_and_the_rest_is_as_built(template: Path) -> None:
    class Loader(yaml.SafeLoader):
        """Reads CloudFormation's tags as text."""

    Loader.add_multi_constructor("!", lambda _loader, suffix, node: f"!{suffix} {node.value}")
    before, after = yaml.load(TEMPLATE, Loader), yaml.load(stamped(compose(template), "5e4a"), Loader)  # noqa: S506
    assert after["Resources"]["Webhook"]["Properties"].pop("AutoPublishCodeSha256") == "5e4a"
    assert after == before
