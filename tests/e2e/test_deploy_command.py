"""`make deploy` with the SAM CLI against the emulator: its steps in order, again, and `make destroy` afterwards.

The emulator serves API Gateway under its own address only, so that the checks at the end can't reach the webhook.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from plaid_sync_cli.deployment import TABLES

from local.plaid import PlaidServer, PlaidSimulator
from local.stack.paths import PROJECT
from local.stack.stack import ALIAS, CLIENT_ID, SECRET
from tests.documents.conftest import AWS, SAM
from tests.e2e.test_deploy_targets import make

if TYPE_CHECKING:
    from pathlib import Path

    from local.stack import LocalStack

STACK = "plaid-sync-dev"
KEYS = {"client_id": CLIENT_ID, "secret": SECRET}


def credentials(stack: LocalStack) -> dict[str, str]:
    """The environment in which the emulator is AWS."""
    emulator = stack.emulator
    return {
        "AWS_ENDPOINT_URL": emulator.endpoint_url,
        "AWS_DEFAULT_REGION": emulator.region,
        "AWS_ACCESS_KEY_ID": emulator.access_key_id,
        "AWS_SECRET_ACCESS_KEY": emulator.secret_access_key,
    }


def run_target(stack: LocalStack, *arguments: str, stdin: str = "") -> str:
    run = make(*arguments, stdin=stdin, **credentials(stack))
    return run.stdout + run.stderr


def parameters(stack: LocalStack) -> dict[str, str]:
    (found,) = stack.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
    assert found["StackStatus"] in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}
    return {entry["ParameterKey"]: entry["ParameterValue"] for entry in found["Parameters"]}


def live(stack: LocalStack) -> tuple[str, str]:
    """Return the running version of the items function, and a parameter that it has."""
    name = f"{STACK}-items"
    found = stack.client("lambda").get_function_configuration(FunctionName=name, Qualifier=ALIAS)
    return found["Version"], found["Environment"]["Variables"]["LINK_CLIENT_NAME"]


@pytest.mark.skipif(not AWS.exists(), reason="the AWS CLI is missing: run `make aws-cli`")
@pytest.mark.skipif(not SAM.exists(), reason="the SAM CLI is missing: run `make template-lint`")
def test_a_stack_is_deployed_given_its_keys_updated_and_destroyed(stack: LocalStack, tmp_path: Path) -> None:
    # A template in its own folder, as `sam build` creates it; its code is not run.
    for name in ("template.yaml", "functions", "layers", "infra"):
        (tmp_path / name).symlink_to(PROJECT / name)
    with PlaidServer(PlaidSimulator(seed=74)) as plaid:
        deploy = ["deploy", "ENV=dev", "BUILD=no", f"TEMPLATE={tmp_path}/template.yaml"]
        # No shell interprets a value, and spaces do not end it.
        name, runbook = "Dot's Bank & Co; $HOME", "https://wiki.example.com/?page=1&raw=1"
        given = f"PlaidBaseUrl={plaid.base_url} AlarmEmail=oncall@example.com RunbookUrl={runbook}"
        given += f' LinkClientName="{name.replace("$", "$$")}"'
        # A reservation that Lambda would refuse stops it before CloudFormation is called.
        output = run_target(stack, *deploy, "PARAMETERS=WebhookReservedConcurrency=1000")
        assert "cannot be reserved, because Lambda keeps 100 unreserved" in output
        assert "Successfully" not in output
        output = run_target(stack, *deploy, f"PARAMETERS={given}", stdin=json.dumps(KEYS))
        assert SECRET not in output
        steps = (
            "Account ",
            "Lambda concurrent executions ",
            "Successfully created/updated stack",
            "keys are stored, and",
            "webhook URL  ",
            "Next: ",
        )
        assert sorted(steps, key=output.index) == list(steps)
        first = parameters(stack)
        assert (first["Stage"], first["AlarmEmail"]) == ("dev", "oncall@example.com")
        assert (first["LinkClientName"], first["RunbookUrl"]) == (name, runbook)
        outputs: Any = stack.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]["Outputs"]
        secret = next(entry["OutputValue"] for entry in outputs if entry["OutputKey"] == "PlaidSecretId")
        stored = stack.client("secretsmanager").get_secret_value(SecretId=secret)["SecretString"]
        assert json.loads(stored) == KEYS

        # Again: parameters that are not given stay, and so do the keys. What is given reaches the running functions.
        assert live(stack) == ("1", name)
        output = run_target(stack, *deploy, "PARAMETERS=LinkClientName=Bank")
        assert "The secret has Plaid's keys already." in output
        assert parameters(stack) == first | {"LinkClientName": "Bank"}
        assert live(stack) == ("2", "Bank")
        assert "No changes to deploy" in run_target(stack, *deploy)
        assert live(stack) == ("2", "Bank")

    # Without confirmation `sam delete` changes nothing. On AWS it deletes the stack by the call below; here it rejects
    # the S3 URLs of the nested stacks, because they are those of the emulator.
    output = run_target(stack, "destroy", "ENV=dev")
    assert f"Are you sure you want to delete the stack {STACK} in the region" in output
    assert parameters(stack)
    formation = stack.client("cloudformation")
    formation.delete_stack(StackName=STACK)
    formation.get_waiter("stack_delete_complete").wait(StackName=STACK, WaiterConfig={"Delay": 1})
    retained = stack.client("dynamodb").list_tables()["TableNames"]
    assert len([name for name in retained if name.startswith(f"{STACK}-")]) == len(TABLES)
    commands = [line.strip() for line in output.splitlines() if line.startswith("  aws ")]
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "aws"
        subprocess.run([AWS, *arguments], env=credentials(stack), check=True)
    assert not [name for name in stack.client("dynamodb").list_tables()["TableNames"] if name.startswith(f"{STACK}-")]
    assert not [url for url in stack.client("sqs").list_queues().get("QueueUrls", []) if STACK in url]
    (key_id,) = (command.split()[4] for command in commands if " kms " in command)
    assert stack.client("kms").describe_key(KeyId=key_id)["KeyMetadata"]["KeyState"] == "PendingDeletion"


def test_a_stack_whose_creation_failed_is_refused_before_anything_is_built(stack: LocalStack) -> None:
    formation = stack.client("cloudformation")
    resource = {"Type": "AWS::CloudWatch::Alarm", "Properties": {"MetricName": "Errors"}}
    formation.create_stack(StackName=STACK, TemplateBody=json.dumps({"Resources": {"Fails": resource}}))
    try:
        run = make("deploy", "ENV=dev", "TEMPLATE=nowhere/template.yaml", **credentials(stack))
        assert run.returncode == 2  # make's own
        account, refusal, *commands = (run.stdout + run.stderr).splitlines()
        assert account.startswith("Account ")
        assert refusal.startswith(f"The stack {STACK} is in ROLLBACK_COMPLETE. ")
        assert f"  aws cloudformation delete-stack --stack-name {STACK}" in commands
    finally:
        formation.delete_stack(StackName=STACK)
