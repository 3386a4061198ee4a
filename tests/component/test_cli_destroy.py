"""`plaid-sync destroy` against a stack of its own: it refuses as long as it should, and then leaves nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from plaid_sync_cli.app import app
from typer.testing import CliRunner

from local.stack.deploy import STACK_NAME
from tests.component.cli_runs import CommandLine
from tests.component.running import Running, running_stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with running_stack(seed=72) as running:
        yield running


@pytest.fixture
def aws(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the emulator be AWS, for a command that knows of no emulator."""
    emulator = running.stack.emulator
    monkeypatch.setenv("AWS_ENDPOINT_URL", emulator.endpoint_url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", emulator.region)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", emulator.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", emulator.secret_access_key)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)


def destroy(*options: str, code: int, stdin: str = "") -> Any:
    result = CliRunner().invoke(app, ["destroy", "--stack", STACK_NAME, "--json", *options], input=stdin)
    assert result.exit_code == code, result.output
    _echo, brace, document = result.stdout.partition("{")  # the runner echoes what is typed, as a terminal does
    return json.loads(brace + document) if brace else None


def state_of(running: Running) -> dict[str, object]:
    """What there is of the stack."""
    stack = running.stack
    dynamodb, resources = stack.client("dynamodb"), stack.resources
    return {
        "stack": stack.client("cloudformation").describe_stacks(StackName=STACK_NAME)["Stacks"][0]["StackStatus"],
        "resources": len(resources.ids),
        "rows": {name: dynamodb.scan(TableName=name)["Count"] for name in resources.of("AWS::DynamoDB::Table")},
        "queues": sorted(stack.client("sqs").list_queues().get("QueueUrls", [])),
        "keys": stack.client("kms").describe_key(KeyId=resources.id("TokenKey"))["KeyMetadata"]["KeyState"],
    }


@pytest.mark.usefixtures("aws")
def test_a_deployment_is_destroyed_when_nothing_is_protected_any_more(
    running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cli = CommandLine.at(running, tmp_path)
    item_id = cli.json("link")["item_id"]
    while cli.json("item", item_id)["item"]["history_phase"] != "historical":
        pass
    before = state_of(running)
    formation, dynamodb = running.stack.client("cloudformation"), running.stack.client("dynamodb")
    formation.update_termination_protection(StackName=STACK_NAME, EnableTerminationProtection=True)

    # Everything is in the way, each with what lifts it; --yes does not.
    refused = destroy("--yes", code=1)
    whats = [one["what"] for one in refused["obstacles"]]
    assert refused["destroyed"] is False
    assert whats[0] == f"the stack {STACK_NAME} has termination protection"
    assert whats[1] == "1 active Item would go on at Plaid, and be billed"
    tables = running.stack.resources.of("AWS::DynamoDB::Table")
    assert whats[2:] == [f"the table {table} is protected against deletion" for table in sorted(tables)]
    assert state_of(running) == before

    # Lifted one after the other, as it says.
    formation.update_termination_protection(StackName=STACK_NAME, EnableTerminationProtection=False)
    cli.json("remove", item_id, "--transactions", "erase", "--yes")
    while "completed_at" not in cli.json("item", item_id)["item"]["removal"]:
        pass
    assert running.plaid.items[item_id].removed
    assert len(destroy("--yes", code=1)["obstacles"]) == len(tables)
    for table in tables:
        dynamodb.update_table(TableName=table, DeletionProtectionEnabled=False)

    # Nothing happens without its name.
    unchanged = state_of(running)
    for typed in ("", "yes\n", "plaid-sync\n"):
        assert destroy(code=130, stdin=typed) is None
    assert state_of(running) == unchanged

    # What has become protected while it waited for the name stands in the way, too.
    def slowly(_question: str, **_options: object) -> str:
        dynamodb.update_table(TableName=running.stack.items_table, DeletionProtectionEnabled=True)
        return STACK_NAME

    with monkeypatch.context() as somebody:
        somebody.setattr("typer.prompt", slowly)
        late = destroy(code=1)
    assert running.stack.items_table in " ".join(one["what"] for one in late["obstacles"])
    assert state_of(running) == unchanged
    dynamodb.update_table(TableName=running.stack.items_table, DeletionProtectionEnabled=False)

    document = destroy(code=0, stdin=f"{STACK_NAME}\n")
    assert document["destroyed"] is True
    assert {f"table {table}" for table in tables} <= set(document["deleted"])
    (key,) = document["keys"]
    assert key["key"] == running.stack.resources.id("TokenKey")
    described = running.stack.client("kms").describe_key(KeyId=key["key"])["KeyMetadata"]
    assert described["KeyState"] == "PendingDeletion"
    assert key["deleted_at"][:10] == f"{described['DeletionDate']:%Y-%m-%d}"
    with pytest.raises(ClientError, match="does not exist"):
        formation.describe_stacks(StackName=STACK_NAME)
    assert dynamodb.list_tables()["TableNames"] == []
    assert running.stack.client("sqs").list_queues().get("QueueUrls", []) == []
    assert running.stack.client("logs").describe_log_groups(logGroupNamePrefix="/aws/")["logGroups"] == []
    assert running.stack.client("lambda").list_functions()["Functions"] == []

    # Once more: only the key can still be told of.
    again = destroy("--yes", code=0)
    assert (again["deleted"], again["keys"]) == ([], document["keys"])


@pytest.mark.usefixtures("aws")
def test_what_is_no_deployment_is_refused() -> None:
    result = CliRunner().invoke(app, ["destroy", "--stack", "nothing", "--yes"])
    assert result.exit_code == 3
    assert "there is no stack nothing" in result.output
    assert CliRunner().invoke(app, ["destroy", "--local", "--yes"]).exit_code == 2
