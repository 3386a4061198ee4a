"""The project deployed on this machine: start it, use it, inspect it."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Unpack

from local.cloudwatch.clock import AlarmClock
from local.stack.deploy import STACK_NAME, deploy
from local.stack.emulator import Emulator, EmulatorOptions
from local.stack.errors import LocalStackError
from local.stack.gaps import switch_off_schedules
from local.stack.paths import Places, Progress, say

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from local.stack.resources import Resources

CLIENT_ID = "local-client-id"
SECRET = "local-secret"  # noqa: S105 - the bundled Plaid server's
ALIAS = "live"
PLAID_ENDPOINTS = (
    *("/accounts/balance/get", "/auth/get", "/identity/get", "/investments/holdings/get"),
    *("/investments/transactions/get", "/liabilities/get", "/transactions/recurring/get"),
)
PARAMETERS = {"Stage": "local", "OutboundWebhooks": "true", "PlaidEndpoints": ",".join(PLAID_ENDPOINTS)}


def plaid_credentials() -> tuple[str, str]:
    """Return the client id and the secret that the functions show to Plaid, from this process's environment."""
    return os.environ.get("PLAID_CLIENT_ID") or CLIENT_ID, os.environ.get("PLAID_SECRET") or SECRET


@dataclass(frozen=True, slots=True)
class LocalStack:
    """The deployed stack.

    Attributes:
        functions: The functions' full names by their short ones: `webhook`, `sync`, `items`.
    """

    emulator: Emulator
    resources: Resources
    plaid_base_url: str
    functions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def start(
        cls,
        plaid_base_url: str,
        *,
        places: Places | None = None,
        schedules: bool = False,
        progress: Progress = say,
        **options: Unpack[EmulatorOptions],
    ) -> Iterator[LocalStack]:
        """Run the stack for the time of the `with` block.

        Args:
            plaid_base_url: The Plaid server that the functions call, with the credentials in `PLAID_CLIENT_ID` and
                `PLAID_SECRET` of this process's environment, by default those of the bundled server.
            places: The project to deploy, by default this one.
            schedules: Whether the template's schedules invoke their functions; otherwise a test does.
            progress: Reports what takes time.
            options: The emulator's, see `Emulator.start`.
        """
        places = places or Places()
        with Emulator.start(places, progress=progress, **options) as emulator:
            resources = deploy(emulator, places, PARAMETERS | {"PlaidBaseUrl": plaid_base_url}, progress)
            if not schedules:
                switch_off_schedules(emulator, resources)
            yield cls.of(emulator, resources, plaid_base_url)

    @classmethod
    def of(cls, emulator: Emulator, resources: Resources, plaid_base_url: str) -> LocalStack:
        """Return what is deployed, with Plaid's credentials and a webhook URL that Plaid can reach."""
        functions = {
            logical_id.removesuffix("Function").lower(): resources.ids[logical_id]
            for logical_id, kind in resources.types.items()
            if kind == "AWS::Lambda::Function"
        }
        stack = cls(emulator, resources, plaid_base_url, functions)
        stack.set_plaid_credentials(*plaid_credentials())
        # API Gateway's host name does not resolve here: the emulator is reached by address and path.
        stack.set_environment("items", {"WEBHOOK_URL": stack.webhook_url})
        return stack

    @property
    def api_url(self) -> str:
        """The HTTP API's root; IAM-authorized routes want requests signed for the service `execute-api`."""
        return f"{self.emulator.endpoint_url}/_aws/execute-api/{self.resources.id('Api')}"

    @property
    def webhook_url(self) -> str:
        return f"{self.api_url}/webhooks/plaid"

    @property
    def items_table(self) -> str:
        return self.resources.id("ItemsTable")

    @property
    def transactions_table(self) -> str:
        return self.resources.id("TransactionsTable")

    @property
    def quarantine_table(self) -> str:
        return self.resources.id("QuarantineTable")

    @property
    def history_table(self) -> str:
        return self.resources.id("HistoryTable")

    @property
    def links_table(self) -> str:
        return self.resources.id("LinksTable")

    @property
    def shared_table(self) -> str:
        return self.resources.id("SharedTable")

    @property
    def sync_queue_url(self) -> str:
        return self.resources.id("SyncQueue")

    @property
    def dead_letter_queue_url(self) -> str:
        return self.resources.id("DeadLetterQueue")

    def client(self, service: str) -> Any:  # noqa: ANN401 - boto3 makes its clients' types at run time
        return self.emulator.client(service)

    def role_client(self, function: str, service: str) -> Any:  # noqa: ANN401 - boto3 makes its clients' types at run time
        """Return a boto3 client with exactly the rights of a function's role."""
        configuration = self.client("lambda").get_function_configuration(FunctionName=self._name(function))
        session = self.client("sts").assume_role(RoleArn=configuration["Role"], RoleSessionName="local")
        credentials = session["Credentials"]
        return self.emulator.client_of(
            service, credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"]
        )

    def invoke(self, function: str, event: object) -> Any:  # noqa: ANN401 - any JSON
        """Invoke a function's `live` alias and return its result."""
        name = self._name(function)
        answer = self.client("lambda").invoke(FunctionName=name, Qualifier=ALIAS, Payload=json.dumps(event).encode())
        result = json.loads(answer["Payload"].read() or b"null")
        if "FunctionError" in answer:
            raise LocalStackError(f"{function} failed: {result}\n{self.logs(function)[-4000:]}")
        return result

    def logs(self, function: str) -> str:
        logs = self.client("logs")
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=self.log_group(function))
        try:
            return "\n".join(event["message"] for page in pages for event in page["events"])
        except logs.exceptions.ResourceNotFoundException:
            return ""

    def log_group(self, function: str) -> str:
        name = self._name(function)
        configuration = self.client("lambda").get_function_configuration(FunctionName=name)
        return str(configuration.get("LoggingConfig", {}).get("LogGroup") or f"/aws/lambda/{name}")

    def alarms(self) -> dict[str, str]:
        """Return the state of every alarm, by its name without the stack's: `OK`, `ALARM` or `INSUFFICIENT_DATA`."""
        pages = self.client("cloudwatch").get_paginator("describe_alarms")
        prefix = f"{STACK_NAME}-"
        return {
            alarm["AlarmName"].removeprefix(prefix): alarm["StateValue"]
            for page in pages.paginate(AlarmNamePrefix=prefix)
            for alarm in page["MetricAlarms"]
        }

    @contextmanager
    def alarms_later(self, seconds: float) -> Iterator[None]:
        """Put the alarms' clock ahead for the time of the `with` block.

        Metrics keep their times: periods after the last one are without data.
        """
        clock = AlarmClock(self.emulator.logs)
        clock.ahead = seconds
        try:
            yield
        finally:
            clock.ahead = 0.0

    def set_environment(self, function: str, variables: Mapping[str, str]) -> None:
        """Change some of a function's environment: its `live` alias moves to a new version with new processes."""
        name, functions = self._name(function), self.client("lambda")
        current = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        functions.update_function_configuration(FunctionName=name, Environment={"Variables": {**current, **variables}})
        version = functions.publish_version(FunctionName=name)["Version"]
        functions.update_alias(FunctionName=name, Name=ALIAS, FunctionVersion=version)

    def set_plaid_credentials(self, client_id: str, secret: str) -> None:
        """Fill the secret that the functions read Plaid's credentials from."""
        value = json.dumps({"client_id": client_id, "secret": secret})
        self.client("secretsmanager").put_secret_value(SecretId=self.resources.id("PlaidSecret"), SecretString=value)

    def _name(self, function: str) -> str:
        try:
            return self.functions[function]
        except KeyError:
            raise LocalStackError(f"There is no function {function}; there are {sorted(self.functions)}.") from None
