"""`make deploy` with the SAM CLI against the emulator: what it does in which order, again, and `make destroy` after it.

The emulator serves API Gateway under its own address only, so that the checks at the end can't reach the webhook.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from local.plaid import PlaidServer, PlaidSimulator
from local.stack.paths import PROJECT
from local.stack.stack import CLIENT_ID, SECRET
from tests.component.making import make

if TYPE_CHECKING:
    from pathlib import Path

    from local.stack import LocalStack

STACK = "plaid-sync-dev"
KEYS = {"client_id": CLIENT_ID, "secret": SECRET}


def told(stack: LocalStack, *arguments: str, stdin: str = "") -> str:
    """Run a target with the emulator for AWS; return all that it says."""
    emulator = stack.emulator
    run = make(
        *arguments,
        stdin=stdin,
        AWS_ENDPOINT_URL=emulator.endpoint_url,
        AWS_DEFAULT_REGION=emulator.region,
        AWS_ACCESS_KEY_ID=emulator.access_key_id,
        AWS_SECRET_ACCESS_KEY=emulator.secret_access_key,
    )
    return run.stdout + run.stderr


def built(folder: Path) -> Path:
    """Return a template in a folder of its own, as `sam build` leaves one, of code that nobody runs."""
    for name in ("template.yaml", "functions", "layers", "infra"):
        (folder / name).symlink_to(PROJECT / name)
    return folder / "template.yaml"


def parameters(stack: LocalStack) -> dict[str, str]:
    (found,) = stack.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
    assert found["StackStatus"] in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}
    return {one["ParameterKey"]: one["ParameterValue"] for one in found["Parameters"]}


def test_a_stack_is_deployed_given_its_keys_updated_and_destroyed(stack: LocalStack, tmp_path: Path) -> None:
    with PlaidServer(PlaidSimulator(seed=74)) as plaid:
        template = built(tmp_path)
        deploy = ["deploy", "ENV=dev", "BUILD=no", f"TEMPLATE={template}"]
        # Nothing of a value is for a shell, and spaces do not end it.
        name, runbook = "Dot's Bank & Co; $HOME", "https://wiki.example.com/?page=1&raw=1"
        given = f"PlaidBaseUrl={plaid.base_url} AlarmEmail=oncall@example.com RunbookUrl={runbook}"
        given += f' LinkClientName="{name.replace("$", "$$")}"'
        said = told(stack, *deploy, f"PARAMETERS={given}", stdin=json.dumps(KEYS))
        assert SECRET not in said
        steps = ("Account ", "Successfully created/updated stack", "keys are stored, and", "webhook URL ", "Next: ")
        assert sorted(steps, key=said.index) == list(steps)
        first = parameters(stack)
        assert (first["Stage"], first["AlarmEmail"]) == ("dev", "oncall@example.com")
        assert (first["LinkClientName"], first["RunbookUrl"]) == (name, runbook)
        output: Any = stack.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]["Outputs"]
        secret = next(one["OutputValue"] for one in output if one["OutputKey"] == "PlaidSecretId")
        kept = stack.client("secretsmanager").get_secret_value(SecretId=secret)["SecretString"]
        assert json.loads(kept) == KEYS

        # Once more: what is not named stays, the keys, too.
        said = told(stack, *deploy, "PARAMETERS=DeadManHours=48")
        assert "Plaid's keys are there already." in said
        assert parameters(stack) == first | {"DeadManHours": "48"}

    said = told(stack, "destroy", "ENV=dev", stdin=f"{STACK}\n")
    assert f"{STACK} is not destroyed, and nothing was changed: 5 things protected." in said
    for table in stack.client("dynamodb").list_tables()["TableNames"]:
        if table.startswith(f"{STACK}-"):
            assert f"--table-name {table} --no-deletion-protection-enabled" in said
            stack.client("dynamodb").update_table(TableName=table, DeletionProtectionEnabled=False)
    assert f"{STACK} is gone" in told(stack, "destroy", "ENV=dev", stdin=f"{STACK}\n")
    assert not [one for one in stack.client("dynamodb").list_tables()["TableNames"] if one.startswith(f"{STACK}-")]
