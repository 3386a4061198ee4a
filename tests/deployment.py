"""What the functions get from the deployed template, for handlers that run in the test's own process."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from local.stack import LocalStack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botocore.config import Config

    from local.stack.emulator import EmulatorOptions

NOWHERE = "http://127.0.0.1:9"


class RoleSession(boto3.Session):
    """A session that reuses its clients: to create one costs more CPU time than all calls of an invocation.

    It takes the place of `plaid_sync.aws.clients.session`.
    A client that has retried a call is not reused, because its retry quota is no longer full.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._clients: dict[tuple[str, str], Any] = {}

    def create_client(self, service: str, config: Config) -> Any:
        """Return a client."""
        key = service, str(vars(config))
        if key not in self._clients:
            client = self._clients[key] = self.client(service, config=config)

            def discard_after_retry(attempts: int, **_event: Any) -> None:
                if attempts > 1 and self._clients.get(key) is client:
                    del self._clients[key]

            client.meta.events.register("needs-retry", discard_after_retry)
        return self._clients[key]


@dataclass(frozen=True, slots=True)
class Deployment:
    """The stack that all tests share, with each function's environment and a session of its role.

    Sessions are kept, because a new one reads AWS's service models from disk again.
    """

    stack: LocalStack
    environments: dict[str, dict[str, str]]
    sessions: dict[str, RoleSession]

    def variables(self, name: str) -> dict[str, str]:
        """Return a function's environment for a process of its own, with its role's credentials."""
        credentials = self.sessions[name].get_credentials()
        assert credentials is not None
        environment = self.environments[name]
        return environment | {
            "AWS_LAMBDA_LOG_LEVEL": environment["POWERTOOLS_LOG_LEVEL"],  # one parameter of the template for both
            "AWS_ENDPOINT_URL": self.stack.emulator.endpoint_url,
            "AWS_ACCESS_KEY_ID": credentials.access_key,
            "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
            "AWS_SESSION_TOKEN": credentials.token or "",
        }


@contextmanager
def idle_stack(options: EmulatorOptions | None = None) -> Iterator[LocalStack]:
    """Deploy the template with its event source mapping off: the tests hand the batches out themselves."""
    with LocalStack.start(NOWHERE, **(options or {})) as stack:
        functions = stack.client("lambda")
        for mapping in functions.list_event_source_mappings()["EventSourceMappings"]:
            functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
        yield stack


@contextmanager
def deployed(stack: LocalStack) -> Iterator[Deployment]:
    """Give this process all of the functions' variables, so that they can be imported, and their roles' credentials."""
    functions, sts = stack.client("lambda"), stack.client("sts")
    environments, sessions = {}, {}
    for name, full_name in stack.functions.items():
        configuration = functions.get_function_configuration(FunctionName=full_name)
        issued = sts.assume_role(RoleArn=configuration["Role"], RoleSessionName="test", DurationSeconds=43200)
        environments[name] = configuration["Environment"]["Variables"]
        sessions[name] = RoleSession(
            aws_access_key_id=issued["Credentials"]["AccessKeyId"],
            aws_secret_access_key=issued["Credentials"]["SecretAccessKey"],
            aws_session_token=issued["Credentials"]["SessionToken"],
            region_name=stack.emulator.region,
        )
    sdk = {
        "AWS_ENDPOINT_URL": stack.emulator.endpoint_url,
        "AWS_REGION": stack.emulator.region,
        "AWS_DEFAULT_REGION": stack.emulator.region,
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("AWS_SESSION_TOKEN", raising=False)
        for variables in (*environments.values(), sdk):
            for variable, value in variables.items():
                patch.setenv(variable, value)
        yield Deployment(stack, environments, sessions)
