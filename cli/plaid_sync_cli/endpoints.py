"""The endpoints of outbound webhooks in the stack's secret, and the events that they did not accept."""

from __future__ import annotations

import base64
import secrets
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.aws.endpoints import ENDPOINT, EVENT_ID
from plaid_sync.aws.sqs import REASON
from plaid_sync.outbound.endpoints import (
    SECRET_PREFIX,
    Endpoint,
    InvalidEndpointError,
    check,
    dump_endpoints,
    parse_endpoints,
)

from plaid_sync_cli.dead_letters import DeadLetter, DeadLetterQueue
from plaid_sync_cli.errors import usage_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plaid_sync_cli.deployment import Deployment

_SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class EndpointStore:
    """Reads and writes the stack's secret."""

    client: Any
    secret_id: str

    @classmethod
    def of(cls, deployment: Deployment) -> EndpointStore:
        """Return the store of a deployment.

        Raises:
            CommandError: it has no outbound webhooks.
        """
        if "OutboundSecretId" not in deployment.outputs:
            raise usage_error(
                f"the stack {deployment.name} has no outbound webhooks",
                "Deploy it with the parameter OutboundWebhooks=true.",
            )
        return cls(deployment.client("secretsmanager"), deployment.output("OutboundSecretId"))

    def read(self) -> dict[str, Endpoint]:
        """Return the endpoints by their names.

        Raises:
            CommandError: the secret is malformed.
        """
        try:
            text = self.client.get_secret_value(SecretId=self.secret_id)["SecretString"]
        except self.client.exceptions.ResourceNotFoundException:
            return {}
        with named_fields():
            return {endpoint.name: endpoint for endpoint in parse_endpoints(text)}

    def write(self, endpoints: dict[str, Endpoint]) -> None:
        """Replace all endpoints.

        Raises:
            CommandError: a field is wrong; nothing was changed.
        """
        with named_fields():
            for endpoint in endpoints.values():
                check(endpoint)
            text = dump_endpoints(tuple(endpoints.values()))
        self.client.put_secret_value(SecretId=self.secret_id, SecretString=text)


@contextmanager
def named_fields() -> Iterator[None]:
    """Show a wrong field as wrong usage."""
    try:
        yield
    except InvalidEndpointError as error:
        field, _, fix = str(error).partition(": ")
        raise usage_error(field, f"{fix or field}. Nothing was changed.") from error


def new_secret() -> str:
    """Return a random signing secret."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def rotated(endpoint: Endpoint) -> Endpoint:
    """Return it with a new secret, beside the newest one that it had."""
    return replace(endpoint, secrets=(new_secret(), endpoint.secrets[0]))


def undelivered(deployment: Deployment) -> DeadLetterQueue:
    """Return the dead-letter queue of the outbound webhooks."""
    queue, dead = deployment.output("OutboundQueueUrl"), deployment.output("OutboundDeadLetterQueueUrl")
    return DeadLetterQueue(deployment.client("sqs"), dead, queue, 0, parse=_parse)


def event_id_of(letter: DeadLetter) -> str:
    """Return the header `webhook-id` of a delivery; empty for an event that became none."""
    return str(letter.attributes.get(EVENT_ID, {}).get("StringValue", ""))


def _parse(message: dict[str, Any], _max_receives: int) -> DeadLetter:
    """Read a delivery, or an event; the message group is the endpoint."""
    attributes: dict[str, Any] = message.get("MessageAttributes", {})
    values = {name: value.get("StringValue", "") for name, value in attributes.items()}
    return DeadLetter(
        message_id=message["MessageId"],
        receipt_handle=message["ReceiptHandle"],
        body=message["Body"],
        group_id=values.get(ENDPOINT, ""),
        reason=values.get(REASON) or "the function died, or the bus could not send it",
        item_id=None,
        malformed=False,
        sent_at=datetime.fromtimestamp(int(message["Attributes"]["SentTimestamp"]) / 1000, UTC),
        attributes={name: value for name, value in attributes.items() if value.get("DataType") == "String"},
    )
