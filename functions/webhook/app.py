"""Receives Plaid's webhooks: proves that they are Plaid's and puts their Item on the sync queue.

Event: API Gateway HTTP API, payload 2.0. Answers 200 `{"result": "queued"|"ignored"}` only after SQS has accepted
the message, 401 `{"error": reason}` for what is not proven to be Plaid's, 400 for a proven but unusable body, 503
when we failed (Plaid sends it again). Environment: `plaid_sync.config.WebhookSettings`.
"""

from __future__ import annotations

import base64
import os
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from plaid_sync.adapters.aws import RECORD_CONFIG, WEBHOOK_CONFIG, client, utc_now
from plaid_sync.adapters.dynamodb.history_table import HistoryTable
from plaid_sync.adapters.plaid.credentials import PlaidSecret
from plaid_sync.adapters.plaid.verification_key_api import PlaidVerificationKeyApi
from plaid_sync.adapters.queues import SqsSyncQueue
from plaid_sync.adapters.telemetry import correlate, correlation_id, count, logger, measure, metrics, tell_plaid_call
from plaid_sync.config import WebhookSettings, from_environment
from plaid_sync.core import exact_json
from plaid_sync.core.failures import RetryableError
from plaid_sync.core.webhooks.receiver import NotQueuedError, UnusableError, WebhookReceiver
from plaid_sync.core.webhooks.verification import RejectedError
from plaid_sync.core.webhooks.verification_keys import VerificationKeys
from plaid_sync.signals import Signal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_lambda_powertools.utilities.typing import LambdaContext
    from plaid_sync.ports.common import Clock

Answer = dict[str, Any]


def build_receiver(environment: Mapping[str, str], clock: Clock = utc_now) -> WebhookReceiver:
    """Wire the receiver; nothing is called yet, and Secrets Manager's client is made only for a key look-up."""
    settings = from_environment(WebhookSettings, environment)
    secret = PlaidSecret(lambda: client("secretsmanager", WEBHOOK_CONFIG), settings.plaid_secret_id, clock)
    return WebhookReceiver(
        keys=VerificationKeys(PlaidVerificationKeyApi(settings.plaid_host, secret, tell=tell_plaid_call)),
        queue=SqsSyncQueue(client("sqs", WEBHOOK_CONFIG), settings.sync_queue_url, correlation_id),
        history=HistoryTable(client("dynamodb", RECORD_CONFIG), settings.history_table),
        clock=clock,
    )


receiver = build_receiver(os.environ)


@metrics.log_metrics(capture_cold_start_metric=True)
@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], _context: LambdaContext) -> Answer:
    """Answer one delivery."""
    correlate(event)
    try:
        receipt = receiver.receive(raw_body(event), _token(event), correlation_id())
    except RejectedError as error:
        count(Signal.WEBHOOK_REJECTED, by=error.reason)
        logger.warning("webhook rejected", reason=error.reason)
        return _answer(HTTPStatus.UNAUTHORIZED, {"error": error.reason})
    except UnusableError as error:
        count(Signal.WEBHOOK_VERIFIED)
        count(Signal.WEBHOOK_UNUSABLE)
        logger.error("webhook unusable", reason=str(error))
        return _answer(HTTPStatus.BAD_REQUEST, {"error": str(error)})
    except RetryableError as error:
        count(Signal.WEBHOOK_VERIFIED, int(isinstance(error, NotQueuedError)))
        count(Signal.WEBHOOK_FAILED)
        logger.error("webhook not accepted", reason=error.code)
        return _answer(HTTPStatus.SERVICE_UNAVAILABLE, {"error": error.code})
    webhook, result = receipt.webhook, "queued" if receipt.queued else "ignored"
    count(Signal.WEBHOOK_VERIFIED)
    count(Signal.WEBHOOK_QUEUED if receipt.queued else Signal.WEBHOOK_IGNORED)
    measure(Signal.WEBHOOK_DELAY, receipt.delay)
    if receipt.recorded is False:
        count(Signal.WEBHOOK_NOT_RECORDED)
    logger.info(
        "webhook accepted",
        result=result,
        item_id=webhook.item_id,
        webhook_type=webhook.webhook_type,
        webhook_code=webhook.webhook_code,
        recorded=receipt.recorded,
    )
    return _answer(HTTPStatus.OK, {"result": result})


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


def _answer(status: HTTPStatus, body: dict[str, str]) -> Answer:
    return {
        "statusCode": status.value,
        "headers": {"content-type": "application/json"},
        "body": exact_json.dumps(body),
    }
