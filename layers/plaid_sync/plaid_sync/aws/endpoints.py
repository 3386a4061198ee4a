"""The endpoints of outbound webhooks, from Secrets Manager, and the queue of their deliveries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.aws.clients import aws_errors
from plaid_sync.aws.sqs import REASON, message_attributes
from plaid_sync.domain.errors import TransientError
from plaid_sync.outbound.delivery import Delivery, OutboundMessage
from plaid_sync.outbound.endpoints import InvalidEndpointError, parse_endpoints
from plaid_sync.outbound.event import OutboundEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient

    from plaid_sync.domain.clock import Clock
    from plaid_sync.outbound.endpoints import Endpoint

ENDPOINTS_TTL: Final = timedelta(minutes=1)
"""So long a function can work with endpoints that an operator has changed."""
ENDPOINT: Final = "endpoint"
"""Message attribute of a delivery: the endpoint's name. An event that is not expanded has none."""
EVENT_ID: Final = "event_id"
"""Message attribute of a delivery: the header `webhook-id`."""
_DETAIL_TYPE: Final = "detail_type"


@dataclass(slots=True)
class SecretEndpoints:
    """Reads the secret when it is first needed; implements `Endpoints`."""

    connect: Callable[[], SecretsManagerClient]
    secret_id: str
    clock: Clock
    _cached: tuple[Endpoint, ...] = ()
    _expires_at: datetime | None = None
    _client: SecretsManagerClient | None = None

    def get(self) -> tuple[Endpoint, ...]:
        """See `Endpoints`. A secret without a value has no endpoint."""
        now = self.clock.now()
        if self._expires_at is None or now >= self._expires_at:
            self._cached, self._expires_at = self._read(), now + ENDPOINTS_TTL
        return self._cached

    def _read(self) -> tuple[Endpoint, ...]:
        self._client = self._client or self.connect()
        try:
            with aws_errors():
                response = self._client.get_secret_value(SecretId=self.secret_id)
            return parse_endpoints(response["SecretString"])
        except TransientError as error:
            if error.code == "ResourceNotFoundException":
                return ()
            raise
        except (InvalidEndpointError, KeyError) as error:
            raise TransientError("endpoints_malformed") from error


@dataclass(frozen=True, slots=True)
class SqsOutboundQueue:
    """Sends, hides and dead-letters deliveries; implements `OutboundQueue`."""

    client: SQSClient
    queue_url: str
    dead_letter_queue_url: str

    def send(self, delivery: Delivery) -> None:
        """See `OutboundQueue`.

        The endpoint is the message group, and the queue is a fair one: SQS prefers the groups that have fewer messages
        in flight, so that an endpoint that is slow delays its own deliveries.
        https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues.html
        """
        self._send(self.queue_url, delivery.event.body, delivery, {})

    def hide(self, message: OutboundMessage, seconds: int) -> None:
        """See `OutboundQueue`."""
        with aws_errors():
            self.client.change_message_visibility(
                QueueUrl=self.queue_url, ReceiptHandle=message.receipt_handle, VisibilityTimeout=seconds
            )

    def dead_letter(self, message: OutboundMessage, reason: str) -> None:
        """See `OutboundQueue`. Repeated, it keeps a copy."""
        self._send(self.dead_letter_queue_url, message.body, message.delivery, {REASON: reason})

    def _send(self, url: str, body: str, delivery: Delivery | None, attributes: Mapping[str, str]) -> None:
        fields: dict[str, Any] = {}
        if delivery is not None:
            event = delivery.event
            own = {ENDPOINT: delivery.endpoint, EVENT_ID: event.event_id, _DETAIL_TYPE: event.detail_type}
            attributes = {**own, **attributes}
            fields["MessageGroupId"] = delivery.endpoint
        with aws_errors():
            self.client.send_message(
                QueueUrl=url, MessageBody=body, MessageAttributes=message_attributes(attributes), **fields
            )


def message_of(record: Mapping[str, Any]) -> OutboundMessage:
    """Return a message from an SQS record of Lambda."""
    body, given = record["body"], record.get("messageAttributes", {})
    values = {name: attribute.get("stringValue", "") for name, attribute in given.items()}
    event = OutboundEvent(values.get(EVENT_ID, ""), values.get(_DETAIL_TYPE, ""), body)
    return OutboundMessage(
        receipt_handle=record["receiptHandle"],
        body=body,
        delivery=Delivery(values[ENDPOINT], event) if ENDPOINT in values else None,
        receives=int(record["attributes"]["ApproximateReceiveCount"]),
    )
