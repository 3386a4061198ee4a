"""Receives Plaid's webhooks: verifies them and puts their Item on the sync queue.

Event: API Gateway HTTP API, payload 2.0. Responds 200 `{"result": "queued"|"ignored"}` only after SQS accepted the
message, 401 `{"error": reason}` if the webhook is not verified, 400 if it is verified but unusable, 503 on a transient
failure (Plaid sends it again). Environment: `plaid_sync.config.WebhookSettings`.
"""

from __future__ import annotations

import base64
import os
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from plaid_sync.aws.clients import RECORD_CONFIG, WEBHOOK_CONFIG, client
from plaid_sync.aws.dynamodb.history import HistoryTable
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
from plaid_sync.webhook.receiver import NotQueuedError, UnprocessableWebhookError, WebhookReceiver
from plaid_sync.webhook.signature import RejectedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_lambda_powertools.utilities.typing import LambdaContext
    from plaid_sync.domain.clock import Clock

Response = dict[str, Any]


def build_receiver(environment: Mapping[str, str], clock: Clock | None = None) -> WebhookReceiver:
    """Wire the receiver; nothing is called yet, and Secrets Manager's client is created only for a key look-up."""
    settings, clock = from_environment(WebhookSettings, environment), clock or SystemClock()
    secret = PlaidSecret(lambda: client("secretsmanager", WEBHOOK_CONFIG), settings.plaid_secret_id, clock)
    return WebhookReceiver(
        keys=VerificationKeys(PlaidVerificationKeyApi(settings.plaid_host, secret, observer=record_plaid_call)),
        queue=SqsSyncQueue(client("sqs", WEBHOOK_CONFIG), settings.sync_queue_url, correlation_id),
        history=HistoryTable(client("dynamodb", RECORD_CONFIG), settings.history_table),
        clock=clock,
    )


receiver = build_receiver(os.environ)


@metrics.log_metrics(capture_cold_start_metric=True)
@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], _context: LambdaContext) -> Response:
    """Respond to one delivery."""
    correlate(event)
    try:
        receipt = receiver.receive(raw_body(event), _token(event), correlation_id())
    except RejectedError as error:
        count(Metric.WEBHOOK_REJECTED, by=error.reason)
        logger.warning("webhook rejected", reason=error.reason)
        return _respond(HTTPStatus.UNAUTHORIZED, {"error": error.reason})
    except UnprocessableWebhookError as error:
        count(Metric.WEBHOOK_VERIFIED)
        count(Metric.WEBHOOK_UNPROCESSABLE)
        logger.error("webhook unprocessable", reason=str(error))
        return _respond(HTTPStatus.BAD_REQUEST, {"error": str(error)})
    except TransientError as error:
        count(Metric.WEBHOOK_VERIFIED, int(isinstance(error, NotQueuedError)))
        count(Metric.WEBHOOK_FAILED)
        logger.error("webhook not accepted", reason=error.code)
        return _respond(HTTPStatus.SERVICE_UNAVAILABLE, {"error": error.code})
    webhook, result = receipt.webhook, "queued" if receipt.queued else "ignored"
    count(Metric.WEBHOOK_VERIFIED)
    count(Metric.WEBHOOK_QUEUED if receipt.queued else Metric.WEBHOOK_IGNORED)
    measure(Metric.WEBHOOK_DELAY, receipt.delay)
    if receipt.recorded is False:
        count(Metric.WEBHOOK_NOT_RECORDED)
    logger.info(
        "webhook accepted",
        result=result,
        item_id=webhook.item_id,
        webhook_type=webhook.webhook_type,
        webhook_code=webhook.webhook_code,
        recorded=receipt.recorded,
    )
    return _respond(HTTPStatus.OK, {"result": result})


def raw_body(event: dict[str, Any]) -> bytes:
    """Return the body's bytes as they were delivered; the signature is over exactly these."""
    body: str = event.get("body") or ""
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
