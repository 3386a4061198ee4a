"""Posts events to the operator's endpoints, signed by Standard Webhooks.

Event: one SQS record, an event of the bus or a delivery of it to one endpoint. Returns `{"batchItemFailures": [...]}`;
SQS deletes a message that is not in it: expanded, delivered or dead-lettered.
Environment: `plaid_sync.config.OutboundSettings`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from plaid_sync.aws.clients import client
from plaid_sync.aws.endpoints import SecretEndpoints, SqsOutboundQueue, message_of
from plaid_sync.aws.telemetry import logger
from plaid_sync.config import OutboundSettings, from_environment
from plaid_sync.domain.clock import SystemClock, jitter
from plaid_sync.outbound.delivery import Deliverer, Fate
from plaid_sync.posting import HttpPoster

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_lambda_powertools.utilities.typing import LambdaContext
    from plaid_sync.domain.clock import Clock
    from plaid_sync.outbound.delivery import OutboundMessage, Outcome


def build_deliverer(environment: Mapping[str, str], clock: Clock | None = None) -> Deliverer:
    """Wire the deliverer; nothing is called yet."""
    settings, clock = from_environment(OutboundSettings, environment), clock or SystemClock()
    return Deliverer(
        endpoints=SecretEndpoints(lambda: client("secretsmanager"), settings.outbound_secret_id, clock),
        poster=HttpPoster(public_only=settings.outbound_targets == "public"),
        queue=SqsOutboundQueue(client("sqs"), settings.outbound_queue_url, settings.outbound_dead_letter_queue_url),
        clock=clock,
        spread=jitter,
    )


deliverer = build_deliverer(os.environ)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001 - Lambda's form
    """Process one message: a batch has no other."""
    failed = []
    for record in event["Records"]:
        message = message_of(record)
        outcome = deliverer.process(message)
        _report(message, outcome)
        if not outcome.is_done:
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}


def _report(message: OutboundMessage, outcome: Outcome) -> None:
    fields: dict[str, Any] = {"fate": outcome.fate, "code": outcome.code, "tries": message.receives}
    if message.delivery is not None:
        event = message.delivery.event
        fields |= {"endpoint": message.delivery.endpoint, "event_id": event.event_id, "detail_type": event.detail_type}
    if outcome.fate in {Fate.RETRIED, Fate.DEAD_LETTERED}:
        logger.warning("failed to deliver", **fields)
        return
    logger.info("outbound message processed", **fields)
