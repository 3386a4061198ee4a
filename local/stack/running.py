"""A client of a running local stack, by the variables of `.local/env`."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from local.stack.deploy import STACK_NAME
from local.stack.dotenv import read_dotenv
from local.stack.emulator import aws_client
from local.stack.stack import ALIAS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local.stack.paths import Places


@dataclass(frozen=True, slots=True)
class Invocation:
    """What became of an invocation.

    Attributes:
        answer: What the function returned, or AWS's description of its failure.
    """

    answer: Any
    failed: bool
    log: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunningStack:
    """A stack that is ready."""

    variables: Mapping[str, str]
    _clients: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def find(cls, places: Places) -> RunningStack | None:
        variables = read_dotenv(places.env)
        return cls(variables) if variables else None

    @property
    def plaid_base_url(self) -> str:
        return self.variables["PLAID_BASE_URL"]

    def client(self, service: str) -> Any:  # noqa: ANN401 - boto3 makes its clients' types at run time
        if service not in self._clients:
            known = self.variables
            whose = (known["AWS_ACCESS_KEY_ID"], known["AWS_SECRET_ACCESS_KEY"], None)
            self._clients[service] = aws_client(known["AWS_ENDPOINT_URL"], known["AWS_REGION"], service, whose)
        return self._clients[service]

    def invoke(self, function: str, event: object) -> Invocation:
        """Invoke the `live` alias of a function, given by its short name."""
        name = f"{STACK_NAME}-{function}"
        before = self._log(name).keys()
        answer = self.client("lambda").invoke(FunctionName=name, Qualifier=ALIAS, Payload=json.dumps(event).encode())
        result = json.loads(answer["Payload"].read() or b"null")
        # Each invocation logs to a stream of its own. An event source may have invoked the function meanwhile.
        lines = [line for stream, logged in self._log(name).items() if stream not in before for line in logged]
        return Invocation(result, "FunctionError" in answer, tuple(lines))

    def _log(self, name: str) -> dict[str, list[str]]:
        """Return what a function has logged, by stream."""
        logs = self.client("logs")
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{name}")
        found: dict[str, list[str]] = {}
        with suppress(logs.exceptions.ResourceNotFoundException):  # it was never invoked
            for page in pages:
                for entry in page["events"]:
                    found.setdefault(entry["logStreamName"], []).append(entry["message"])
        return found
