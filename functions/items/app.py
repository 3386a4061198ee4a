"""The Items API: `POST /items` links an Item.

Event: API Gateway HTTP API, payload 2.0, authorized by IAM. Body `{"public_token", "days_requested"?}`; answers 201
`{"item_id"}`, or problem details (RFC 9457) that name the field and the fix. Environment:
`plaid_sync.config.ItemsSettings`.
"""

from __future__ import annotations

import base64
import os
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from plaid_sync.adapters.aws import client, utc_now
from plaid_sync.adapters.items_table import ItemsTable
from plaid_sync.adapters.plaid_api import PlaidClient
from plaid_sync.adapters.plaid_credentials import PlaidSecret
from plaid_sync.adapters.queues import SqsSyncQueue
from plaid_sync.adapters.token_cipher import KmsTokens
from plaid_sync.config import ItemsSettings, from_environment
from plaid_sync.core import exact_json
from plaid_sync.core.failures import PlaidError, RetryableError
from plaid_sync.core.linking import (
    InvalidRequestError,
    ItemOrphanedError,
    Linker,
    LinkUndoneError,
    parse_link_request,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aws_lambda_powertools.utilities.typing import LambdaContext
    from plaid_sync.ports import Clock

Answer = dict[str, Any]

logger = Logger()
metrics = Metrics()


def build_linker(
    environment: Mapping[str, str],
    clock: Clock = utc_now,
    pause: Callable[[float], None] = time.sleep,
) -> Linker:
    """Wire the linker; nothing is called yet."""
    settings = from_environment(ItemsSettings, environment)
    secret = PlaidSecret(lambda: client("secretsmanager"), settings.plaid_secret_id, clock)
    return Linker(
        plaid=PlaidClient(settings.plaid_host, secret),
        tokens=KmsTokens(client("kms"), settings.token_key_id),
        items=ItemsTable(client("dynamodb"), settings.items_table, clock),
        queue=SqsSyncQueue(client("sqs"), settings.sync_queue_url),
        clock=clock,
        pause=pause,
    )


linker = build_linker(os.environ)


@metrics.log_metrics(capture_cold_start_metric=True)
@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], _context: LambdaContext) -> Answer:
    """Answer one request."""
    try:
        item_id = linker.link(parse_link_request(_json_body(event)))
    except InvalidRequestError as error:
        _count("LinkRefused")
        return _problem(HTTPStatus.BAD_REQUEST, "invalid_request", str(error), field=error.field, fix=error.fix)
    except PlaidError as error:
        _count("LinkRefused")
        logger.warning("plaid refused the public token", code=error.code, plaid_request_id=error.request_id)
        return _refused_by_plaid(error)
    except LinkUndoneError as error:
        _count("LinkUndone")
        logger.error("item removed at plaid again", code=error.code)
        return _problem(HTTPStatus.SERVICE_UNAVAILABLE, "link_undone", str(error), fix="run Link again")
    except ItemOrphanedError as error:
        _count("ItemOrphaned")
        logger.critical("item orphaned at plaid", item_id=error.item_id)
        return _problem(HTTPStatus.INTERNAL_SERVER_ERROR, "item_orphaned", str(error), fix="ask Plaid to remove it")
    except RetryableError as error:
        _count("LinkFailed")
        logger.error("link not completed", code=error.code)
        return _problem(HTTPStatus.SERVICE_UNAVAILABLE, error.code, str(error), fix="send the same request again")
    _count("ItemLinked")
    logger.info("item linked", item_id=item_id)
    return _answer(HTTPStatus.CREATED, {"item_id": item_id})


def _refused_by_plaid(error: PlaidError) -> Answer:
    if error.code.startswith("INVALID_PUBLIC_TOKEN"):
        fix = (
            "a public token works once: if this request was sent twice, send it again in a moment, else run Link again"
        )
        return _problem(HTTPStatus.BAD_REQUEST, error.code, str(error), field="public_token", fix=fix)
    return _problem(HTTPStatus.BAD_GATEWAY, error.code, str(error), fix="see Plaid's documentation of the code")


def _json_body(event: dict[str, Any]) -> object:
    body: str | bytes = event.get("body") or ""
    try:
        return exact_json.loads(base64.b64decode(body) if event.get("isBase64Encoded") else body)
    except ValueError as error:
        raise InvalidRequestError("body", 'send a JSON object, {"public_token": "public-..."}') from error


def _problem(status: HTTPStatus, code: str, detail: str, **more: str) -> Answer:
    body = {"type": "about:blank", "title": status.phrase, "status": status.value, "code": code, "detail": detail}
    return _answer(status, body | more, "application/problem+json")


def _answer(status: HTTPStatus, body: dict[str, Any], content_type: str = "application/json") -> Answer:
    return {
        "statusCode": status.value,
        "headers": {"content-type": content_type},
        "body": exact_json.dumps(body),
    }


def _count(name: str) -> None:
    metrics.add_metric(name=name, unit=MetricUnit.Count, value=1)
