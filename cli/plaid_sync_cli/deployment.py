"""Which deployment is meant, and what it consists of: CloudFormation says it all, by the stack's name.

With `--local` the stack runs on the emulator of `make local`, whose address is in `.local/env`.
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

from plaid_sync_cli.errors import CommandError, ExitCode, expected_failures, usage_error

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
CONFIG: Final = Config(
    connect_timeout=3,
    read_timeout=20,
    retries={"mode": "standard", "total_max_attempts": 4},
    user_agent_extra="plaid-sync",
)
"""How AWS is asked: short questions, which are asked again where that does no harm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What the options say about the deployment.

    Attributes:
        stack: CloudFormation's name of it; None for that in PLAID_SYNC_STACK.
        region: as for every program of AWS; None for the profile's or the environment's.
        profile: as for every program of AWS.
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
        name: the stack's.
        outputs: its outputs.
        parameters: its parameters.
        endpoint_url: where AWS is, None for AWS itself.
        session: the caller's credentials and region.
    """

    name: str
    outputs: Mapping[str, str]
    parameters: Mapping[str, str]
    session: boto3.Session
    endpoint_url: str | None = None

    @property
    def local(self) -> bool:
        """Whether it runs on the emulator."""
        return self.endpoint_url is not None

    @property
    def region(self) -> str:
        """Its region."""
        return str(self.session.region_name)

    def client(self, service: str) -> Any:  # noqa: ANN401 - boto3 makes its clients' types at run time
        """Return the client of an AWS service; the same one each time."""
        if service not in self._clients:
            self._clients[service] = self.session.client(service, endpoint_url=self.endpoint_url, config=CONFIG)
        return self._clients[service]

    @cached_property
    def _clients(self) -> dict[str, Any]:
        return {}

    def output(self, name: str) -> str:
        """Return an output of the stack.

        Raises:
            CommandError: it has none of this name: it was deployed from an older template.
        """
        try:
            return self.outputs[name]
        except KeyError:
            raise CommandError(
                f"the stack {self.name} has no output {name}",
                "Deploy the template of this version of plaid-sync, or install the version that fits the stack.",
                ExitCode.UNREACHABLE,
            ) from None

    @property
    def plaid_host(self) -> str:
        """Scheme and host of the Plaid server that its functions call."""
        return PlaidSettings(
            plaid_env=self.parameters.get("PlaidEnvironment", ""),
            plaid_base_url=self.parameters.get("PlaidBaseUrl", ""),
            plaid_secret_id=self.output("PlaidSecretId"),
        ).plaid_host


def find(choice: Choice) -> Deployment:
    """Find the deployment.

    Raises:
        CommandError: it can't be found or read; the text names the fix.
    """
    if choice.local:
        return _find_local(choice)
    name = choice.stack or os.environ.get("PLAID_SYNC_STACK")
    if not name:
        raise usage_error(
            "--stack is missing",
            "Give --stack NAME or set PLAID_SYNC_STACK: `aws cloudformation list-stacks` shows the names; --local is "
            "the stack of `make local`.",
        )
    with expected_failures():
        session, _ = session_of(choice)
        return _read(name, session, None, {})


def session_of(choice: Choice) -> tuple[boto3.Session, str | None]:
    """Return the caller's credentials and region, and where AWS is; None for AWS itself.

    Raises:
        CommandError: there is no local stack, though it is meant.
        BotoCoreError: there is no such profile.
    """
    if choice.local:
        variables = _local_variables(choice)
        return _local_session(variables), variables["AWS_ENDPOINT_URL"]
    return boto3.Session(profile_name=choice.profile, region_name=choice.region), None


def _find_local(choice: Choice) -> Deployment:
    variables = _local_variables(choice)
    session, endpoint = _local_session(variables), variables["AWS_ENDPOINT_URL"]
    # API Gateway's host names lead nowhere on the emulator.
    reached = {"ApiUrl": variables["API_URL"], "WebhookUrl": variables["WEBHOOK_URL"]}
    try:
        with expected_failures():
            found = _read(LOCAL_STACK, session, endpoint, reached)
    except CommandError as error:
        if not isinstance(error.__cause__, ConnectionError):
            raise
        raise CommandError(
            f"the local stack does not answer at {endpoint}, though {LOCAL_ENV} is there",
            "It was killed, or is about to end. Start it again: make local.",
            ExitCode.UNREACHABLE,
        ) from error
    return replace(found, parameters={**found.parameters, "PlaidBaseUrl": variables["PLAID_BASE_URL"]})


def _local_session(variables: Mapping[str, str]) -> boto3.Session:
    return boto3.Session(
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        region_name=variables["AWS_REGION"],
    )


def _local_variables(choice: Choice) -> dict[str, str]:
    if choice.stack or choice.region or choice.profile:
        raise usage_error("--local", "Leave --stack, --region and --profile out: the local stack has its own.")
    variables = read_env(_env_file())
    missing = [name for name in _LOCAL_VARIABLES if name not in variables]
    if missing:
        raise CommandError(
            f"{LOCAL_ENV} has no {missing[0]}", "Start the stack again: make local.", ExitCode.UNREACHABLE
        )
    return variables


def _env_file() -> Path:
    """Return the file in this folder, or in the next one above that has it."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / LOCAL_ENV).is_file():
            return folder / LOCAL_ENV
    raise CommandError(
        f"no local stack runs: there is no {LOCAL_ENV} here or above",
        "Start it with `make local` in another terminal, and run plaid-sync in the repository.",
        ExitCode.UNREACHABLE,
    )


def read_env(path: Path) -> dict[str, str]:
    """Read a dotenv file as `make local` writes it."""
    pairs = (line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def _read(name: str, session: boto3.Session, endpoint: str | None, reached: Mapping[str, str]) -> Deployment:
    formation = session.client("cloudformation", endpoint_url=endpoint, config=CONFIG)
    try:
        (stack,) = formation.describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        raise CommandError(
            f"there is no stack {name} in {session.region_name}",
            "Look at the name, --region and --profile: `aws cloudformation list-stacks` shows those that there are.",
            ExitCode.UNREACHABLE,
        ) from error
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    if "SyncQueueUrl" not in outputs:
        raise CommandError(
            f"the stack {name} is not a deployment of plaid-sync-engine ({stack['StackStatus']})",
            "Look at the name, or wait until it is deployed.",
            ExitCode.UNREACHABLE,
        )
    parameters = {one["ParameterKey"]: one.get("ParameterValue", "") for one in stack.get("Parameters", [])}
    return Deployment(name, {**outputs, **reached}, parameters, session, endpoint)
