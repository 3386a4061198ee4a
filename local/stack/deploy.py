"""Deploy the project's own template onto a running emulator, through CloudFormation."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from local.stack.emulator import REGION
from local.stack.errors import LocalStackError
from local.stack.gaps import close_gaps
from local.stack.package import BUCKET, Package, Packager
from local.stack.resources import Resources

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local.stack.emulator import Emulator
    from local.stack.paths import Places, Progress

STACK_NAME = "plaid-sync-local"
DASHBOARD_NAME = f"{STACK_NAME}-{REGION}"
CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]
DEPLOY_SECONDS = 120


def deploy(
    emulator: Emulator, places: Places, parameters: Mapping[str, str], progress: Progress, *, update: bool = False
) -> Resources:
    """Package and deploy the template, and close the emulator's gaps; `update` for a stack that exists."""
    s3 = emulator.client("s3")
    if not update:
        s3.create_bucket(Bucket=BUCKET)
    package = Packager(s3, places, progress).package(places.template)
    put_stack(emulator.client("cloudformation"), STACK_NAME, package, parameters, update=update)
    resources = Resources.read(emulator, STACK_NAME)
    close_gaps(emulator, resources)
    return resources


def put_stack(
    formation: Any,  # noqa: ANN401 - a boto3 client
    name: str,
    package: Package,
    parameters: Mapping[str, str],
    *,
    update: bool = False,
) -> None:
    """Create or update a stack, and wait for it; parameters that the template does not have are left out."""
    put = formation.update_stack if update else formation.create_stack
    put(
        StackName=name,
        TemplateURL=package.url,
        Capabilities=CAPABILITIES,
        Parameters=[
            {"ParameterKey": parameter, "ParameterValue": value}
            for parameter, value in parameters.items()
            if parameter in package.parameters
        ],
    )
    deadline = time.monotonic() + DEPLOY_SECONDS
    status = "IN_PROGRESS"
    while status.endswith("IN_PROGRESS") and time.monotonic() < deadline:
        status = formation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
        time.sleep(0.02)
    if status != ("UPDATE_COMPLETE" if update else "CREATE_COMPLETE"):
        raise LocalStackError(f"template.yaml was not deployed ({status}):\n{_failures(formation, name)}")


def _failures(formation: Any, name: str) -> str:  # noqa: ANN401 - a boto3 client
    events = formation.describe_stack_events(StackName=name)["StackEvents"]
    failed = [event for event in reversed(events) if "FAILED" in event["ResourceStatus"]]
    return "\n".join(
        f"  {event['LogicalResourceId']} ({event['ResourceType']}): {event.get('ResourceStatusReason', 'no reason')}"
        for event in failed
    )
