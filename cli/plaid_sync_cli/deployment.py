"""Finds a deployment: reads outputs and parameters of the CloudFormation stack by its name.

With `--local` the stack runs on the emulator of `make local`; `.local/env` has its address.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionError  # noqa: A004 - botocore's own
from plaid_sync.config import PlaidSettings

from plaid_sync_cli.errors import CommandError, expected_failures, unreachable, usage_error

if TYPE_CHECKING:
    from collections.abc import Mapping

LOCAL_STACK: Final = "plaid-sync-local"
LOCAL_ENV: Final = Path(".local") / "env"
ALIAS: Final = "live"
_LOCAL_VARIABLES: Final = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_REGION",
    "AWS_ENDPOINT_URL",
    "API_URL",
    "WEBHOOK_URL",
    "PLAID_BASE_URL",
)
USER_AGENT: Final = "plaid-sync"
CONFIG: Final = Config(
    connect_timeout=3,
    read_timeout=20,
    retries={"mode": "standard", "total_max_attempts": 4},
    user_agent_extra=USER_AGENT,
)
"""Short timeouts; the SDK retries what is safe to retry."""
TABLES: Final = ("ItemsTable", "TransactionsTable", "QuarantineTable", "HistoryTable", "LinksTable")
"""The outputs that name tables that are retained."""
LOSABLE_TABLES: Final = ("SharedTable",)
"""The outputs that name tables that are deleted with the stack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The deployment that the options name.

    Attributes:
        stack: the stack's name; None for that in PLAID_SYNC_STACK.
        region: None for that of the profile or the environment.
        profile: None for the default profile.
        local: the stack of `make local` instead.
    """

    stack: str | None = None
    region: str | None = None
    profile: str | None = None
    local: bool = False


@dataclass(frozen=True)
class Deployment:
    """A deployed stack.

    Attributes:
        name: the stack's name.
        outputs: the stack's outputs.
        parameters: the stack's parameters.
        endpoint_url: the emulator's address; None for AWS.
        session: the caller's credentials and region.
        status: the stack's status, as CloudFormation names it.
    """

    name: str
    outputs: Mapping[str, str]
    parameters: Mapping[str, str]
    session: boto3.Session
    endpoint_url: str | None = None
    status: str = ""

    @property
    def updating(self) -> bool:
        """Whether CloudFormation creates, updates or rolls back the stack now."""
        return self.status.endswith("_IN_PROGRESS") and "CLEANUP" not in self.status

    @property
    def local(self) -> bool:
        """Whether it runs on the emulator."""
        return self.endpoint_url is not None

    @property
    def monitored(self) -> bool:
        """Whether it has alarms and a dashboard, as the parameters Monitoring and Stage say."""
        return "AlarmTopicArn" in self.outputs

    @property
    def region(self) -> str:
        """The region of the stack."""
        return str(self.session.region_name)

    def client(self, service: str) -> Any:  # noqa: ANN401 - boto3 makes its clients' types at run time
        """Return the client of an AWS service; one per service."""
        if service not in self._clients:
            self._clients[service] = self.session.client(service, endpoint_url=self.endpoint_url, config=CONFIG)
        return self._clients[service]

    @cached_property
    def _clients(self) -> dict[str, Any]:
        return {}

    def output(self, name: str) -> str:
        """Return an output of the stack.

        Raises:
            CommandError: the stack has no such output: its template has another version.
        """
        try:
            return self.outputs[name]
        except KeyError:
            raise unreachable(
                f"the stack {self.name} has no output {name}",
                "Deploy the template of this version of plaid-sync, or install the stack's version.",
            ) from None

    @property
    def functions(self) -> list[str]:
        """The names of the stack's functions, from its outputs."""
        return sorted({value for name, value in self.outputs.items() if name.endswith("FunctionName")})

    def resources(self) -> list[tuple[str, str]]:
        """Return type and physical id of the stack's resources."""
        pages = self.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=self.name)
        return [
            (entry["ResourceType"], entry.get("PhysicalResourceId", ""))
            for page in pages
            for entry in page["StackResourceSummaries"]
        ]

    @property
    def plaid_host(self) -> str:
        """Scheme and host of the Plaid server that the functions call."""
        return PlaidSettings(
            plaid_env=self.parameters.get("PlaidEnvironment", ""),
            plaid_base_url=self.parameters.get("PlaidBaseUrl", ""),
            plaid_secret_id=self.output("PlaidSecretId"),
        ).plaid_host


def find(target: Target) -> Deployment:
    """Find the deployment.

    Raises:
        CommandError: it is not found, or not readable.
    """
    if target.local:
        return _find_local(target)
    name = _stack_name(target)
    if not name:
        raise usage_error(
            "--stack is missing",
            "Give --stack NAME or set PLAID_SYNC_STACK: `aws cloudformation list-stacks` lists your stacks; --local is "
            "the stack of `make local`.",
        )
    with expected_failures():
        session, _ = session_of(target)
        return _read(name, session, None, {})


def session_of(target: Target) -> tuple[boto3.Session, str | None]:
    """Return the caller's session, and the emulator's address; None for AWS.

    Raises:
        CommandError: with `local`, if no local stack runs.
        BotoCoreError: there is no such profile.
    """
    if target.local:
        variables = _local_variables(target)
        return _local_session(variables), variables["AWS_ENDPOINT_URL"]
    return boto3.Session(profile_name=target.profile, region_name=target.region), None


def _find_local(target: Target) -> Deployment:
    variables = _local_variables(target)
    session, endpoint = _local_session(variables), variables["AWS_ENDPOINT_URL"]
    # API Gateway's host names do not resolve on the emulator.
    addresses = {"ApiUrl": variables["API_URL"], "WebhookUrl": variables["WEBHOOK_URL"]}
    try:
        with expected_failures():
            found = _read(LOCAL_STACK, session, endpoint, addresses)
    except CommandError as error:
        if not isinstance(error.__cause__, ConnectionError):
            raise
        raise unreachable(
            f"the local stack does not answer at {endpoint}, although {LOCAL_ENV} exists",
            "It was killed, or is shutting down. Start it again: make local.",
        ) from error
    return replace(found, parameters={**found.parameters, "PlaidBaseUrl": variables["PLAID_BASE_URL"]})


def _local_session(variables: Mapping[str, str]) -> boto3.Session:
    return boto3.Session(
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        region_name=variables["AWS_REGION"],
    )


def _local_variables(target: Target) -> dict[str, str]:
    if target.stack or target.region or target.profile:
        raise usage_error("--local", "Omit --stack, --region and --profile: the local stack has its own.")
    variables = read_env(_env_file())
    missing = [name for name in _LOCAL_VARIABLES if name not in variables]
    if missing:
        raise unreachable(f"{LOCAL_ENV} has no {missing[0]}", "Start the stack again: make local.")
    return variables


def _env_file() -> Path:
    """Return the file in the current folder, or in the nearest parent that has it."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / LOCAL_ENV).is_file():
            return folder / LOCAL_ENV
    raise unreachable(
        f"no local stack runs: no {LOCAL_ENV} in this folder or its parents",
        "Start it with `make local` in another terminal, and run plaid-sync in the repository.",
    )


def read_env(path: Path) -> dict[str, str]:
    """Parse the dotenv file that `make local` writes."""
    pairs = (line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def deployed_parameters(target: Target) -> dict[str, str]:
    """Return the parameters of the stack; none if it is not named or not deployed."""
    session, endpoint = session_of(target)
    name = LOCAL_STACK if target.local else _stack_name(target)
    stack = _describe(name, session, endpoint) if name else None
    return _parameters(stack) if stack and stack.get("Outputs") else {}


def _stack_name(target: Target) -> str | None:
    return target.stack or os.environ.get("PLAID_SYNC_STACK")


def _describe(name: str, session: boto3.Session, endpoint: str | None) -> dict[str, Any] | None:
    """Return CloudFormation's description of a stack; None if there is no such stack."""
    formation = session.client("cloudformation", endpoint_url=endpoint, config=CONFIG)
    try:
        (stack,) = formation.describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        return None
    return dict(stack)


def _parameters(stack: Mapping[str, Any]) -> dict[str, str]:
    return {entry["ParameterKey"]: entry.get("ParameterValue", "") for entry in stack.get("Parameters", [])}


def _read(name: str, session: boto3.Session, endpoint: str | None, addresses: Mapping[str, str]) -> Deployment:
    stack = _describe(name, session, endpoint)
    if stack is None:
        raise unreachable(
            f"there is no stack {name} in {session.region_name}",
            "Check the name, --region and --profile: `aws cloudformation list-stacks` lists your stacks.",
        )
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    if "SyncQueueUrl" not in outputs:
        raise unreachable(
            f"the stack {name} is not a deployment of plaid-sync-engine ({stack['StackStatus']})",
            "Check the name, or wait until it is deployed.",
        )
    return Deployment(
        name, {**outputs, **addresses}, _parameters(stack), session, endpoint, status=stack["StackStatus"]
    )
