"""Receives Plaid's webhooks: verifies them and puts their Item on the sync queue.

Event: API Gateway HTTP API, payload 2.0. Responds 200 `{"result": "queued"|"linked"|"published"}` only after SQS
accepted the message, the items function completed the link session, or DynamoDB accepted the entry from which a webhook
is published that the stack does not act on. Responds 401 `{"error": reason}` if the webhook is not verified, 400 if it
is verified but unusable. Plaid has to send it again after 503, a transient failure, and after 429, an unknown key id
that got no look-up among many others: a 5xx would let a stranger ring an alarm.
Environment: `plaid_sync.config.WebhookSettings`.
"""

from __future__ import annotations

import base64
import os
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.aws.clients import INVOKE_CONFIG, RECORD_CONFIG, WEBHOOK_CONFIG, client
from plaid_sync.aws.dynamodb.attempts import SharedAttempts
from plaid_sync.aws.dynamodb.history import HistoryTable
from plaid_sync.aws.dynamodb.shared import SharedTable
from plaid_sync.aws.items_function import ItemsFunction
from plaid_sync.aws.sqs import SqsSyncQueue
from plaid_sync.aws.telemetry import correlate, correlation_id, count, logger, measure, metrics, record_plaid_call
from plaid_sync.config import WebhookSettings, from_environment
from plaid_sync.domain import exact_json
from plaid_sync.domain.clock import SystemClock
from plaid_sync.domain.errors import TransientError
from plaid_sync.metrics import Metric
from plaid_sync.plaid.credentials import PlaidSecret
from plaid_sync.plaid.verification_keys import PlaidVerificationKeyApi
from plaid_sync.webhook.keys import VerificationKeys
from plaid_sync.webhook.receiver import (
    NotLinkedError,
    NotQueuedError,
    NotRecordedError,
    StaleWebhookError,
    UnprocessableWebhookError,
    WebhookReceiver,
    outcome_of,
)
from plaid_sync.webhook.signature import RejectedError, require_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_lambda_powertools.utilities.typing import LambdaContext
    from plaid_sync.domain.clock import Clock
    from plaid_sync.webhook.ports import LinkSessions, SharedStateError

_RETRY_SECONDS: Final = 30
"""Plaid's first delay: by its second try, the key id counts as seen before."""
Response = dict[str, Any]


def build_receiver(
    environment: Mapping[str, str], clock: Clock | None = None, links: LinkSessions | None = None
) -> WebhookReceiver:
    """Wire the receiver; nothing is called yet, and clients that few webhooks need are created when one does."""
    settings, clock = from_environment(WebhookSettings, environment), clock or SystemClock()
    secret = PlaidSecret(lambda: client("secretsmanager", WEBHOOK_CONFIG), settings.plaid_secret_id, clock)
    api = PlaidVerificationKeyApi(settings.plaid_host, secret, observer=record_plaid_call)
    dynamodb = client("dynamodb", RECORD_CONFIG)
    shared = SharedTable(dynamodb, settings.shared_table)
    return WebhookReceiver(
        keys=VerificationKeys(api, shared, _report_shared_failure),
        queue=SqsSyncQueue(client("sqs", WEBHOOK_CONFIG), settings.sync_queue_url, correlation_id),
        history=HistoryTable(dynamodb, settings.history_table),
        attempts=SharedAttempts(dynamodb, settings.shared_table, clock),
        shared=shared,
        links=links or ItemsFunction(lambda: client("lambda", INVOKE_CONFIG), settings.items_function),
        clock=clock,
    )


def _report_shared_failure(error: SharedStateError) -> None:
    logger.warning("shared state failed", reason=error.code)


receiver = build_receiver(os.environ)


@metrics.log_metrics
@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], _context: LambdaContext) -> Response:
    """Respond to one delivery."""
    correlate(event)
    try:
        receipt = receiver.receive(raw_body(event), _token(event), correlation_id())
    except RejectedError as error:
        return _reject(error)
    except UnprocessableWebhookError as error:
        count(Metric.WEBHOOK_VERIFIED)
        logger.error("webhook unprocessable", reason=str(error))
        return _respond(HTTPStatus.BAD_REQUEST, {"error": str(error)})
    except TransientError as error:
        count(Metric.WEBHOOK_VERIFIED, int(isinstance(error, NotQueuedError | NotLinkedError | NotRecordedError)))
        logger.error("webhook not accepted", reason=error.code)
        return _respond(HTTPStatus.SERVICE_UNAVAILABLE, {"error": error.code})
    webhook, result = receipt.webhook, outcome_of(receipt.webhook, published=receipt.published)
    count(Metric.WEBHOOK_VERIFIED)
    measure(Metric.WEBHOOK_DELAY, receipt.delay)
    logger.info(
        "webhook accepted",
        result=result,
        item_id=webhook.item_id,
        webhook_type=webhook.webhook_type,
        webhook_code=webhook.webhook_code,
    )
    return _respond(HTTPStatus.OK, {"result": result})


def _reject(error: RejectedError) -> Response:
    count(Metric.WEBHOOK_REJECTED)
    queued = error.queued if isinstance(error, StaleWebhookError) else None
    logger.warning("webhook rejected", reason=error.reason, queued=queued)
    document = {"error": error.reason}
    if error.reason != "too_many_lookups":
        return _respond(HTTPStatus.UNAUTHORIZED, document)
    response = _respond(HTTPStatus.TOO_MANY_REQUESTS, document)
    response["headers"]["retry-after"] = str(_RETRY_SECONDS)
    return response


def raw_body(event: dict[str, Any]) -> bytes:
    """Return the body's bytes as they were delivered; the signature is over exactly these."""
    body: str = event.get("body") or ""
    require_size(len(body) // 4 * 3 - 2)  # what it has at least, if it is base64
    if not event.get("isBase64Encoded"):
        return body.encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(body, validate=True)
    except ValueError as error:
        raise RejectedError("malformed_body") from error


def _token(event: dict[str, Any]) -> str | None:
    headers: dict[str, str] = event.get("headers") or {}
    return next((value for name, value in headers.items() if name.lower() == "plaid-verification"), None)


def _respond(status: HTTPStatus, body: dict[str, str]) -> Response:
    return {
        "statusCode": status.value,
        "headers": {"content-type": "application/json"},
        "body": exact_json.dumps(body),
    }
