"""Invocations of the items function by the webhook function, inside the stack: no caller of the API can make one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from plaid_sync.aws.clients import aws_errors
from plaid_sync.domain import exact_json
from plaid_sync.domain.errors import TransientError
from plaid_sync.webhook.ports import LinkOutcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_lambda import LambdaClient


@dataclass(frozen=True, slots=True)
class ItemsFunction:
    """Invokes the items function and waits for its response; implements `LinkSessions` of the webhook function.

    Attributes:
        connect: creates a client; few webhooks need one.
        name: the function's name with its alias.
    """

    connect: Callable[[], LambdaClient]
    name: str

    def complete(
        self, link_token: str, public_tokens: tuple[str, ...], correlation_id: str, *, ended: bool
    ) -> LinkOutcome:
        """See `LinkSessions`. Where the response comes too late, the function finishes all the same."""
        session = {"link_token": link_token, "public_tokens": list(public_tokens), "ended": ended}
        event = {"finished_link_session": session, "correlation_id": correlation_id}
        with aws_errors():
            response = self.connect().invoke(FunctionName=self.name, Payload=exact_json.dumps(event).encode())
            document = response["Payload"].read()
        if response.get("FunctionError"):
            raise TransientError("items_function_failed")
        try:
            answer = exact_json.loads(document)
        except exact_json.InvalidJsonError as error:
            raise TransientError("unreadable") from error
        code = answer.get("code") if isinstance(answer, dict) else "unreadable"
        if not isinstance(answer, dict) or answer.get("retry"):
            raise TransientError(str(code))
        user_id = answer.get("client_user_id")
        return LinkOutcome(None if code is None else str(code), None if user_id is None else str(user_id))
