"""The Items API: links, lists, shows, syncs, refreshes and removes Items (docs/api.md).

Event: API Gateway HTTP API, payload 2.0, authorized by IAM. Answers are JSON, or problem details (RFC 9457) that name
the field and the fix. Environment: `plaid_sync.config.ItemsSettings`.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from plaid_sync.adapters.aws import utc_now
from plaid_sync.adapters.http.answers import Answer, refusal, route_of
from plaid_sync.adapters.http.items_api import ItemsApi, Telling, build
from plaid_sync.adapters.http.routes import answer_request
from plaid_sync.adapters.telemetry import correlate, correlation_id, count, logger, metrics, tell_plaid_call
from plaid_sync.config import ItemsSettings, from_environment
from plaid_sync.core.failures import PlaidError, PlaidSyncError, RetryableError
from plaid_sync.core.items_api.requests import InvalidRequestError, RefusedError
from plaid_sync.core.linking.linker import ExchangeUnknownError, ItemOrphanedError, LinkUndoneError
from plaid_sync.signals import Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aws_lambda_powertools.utilities.typing import LambdaContext
    from plaid_sync.ports.common import Clock

_LINK = "POST /items"


def build_api(
    environment: Mapping[str, str],
    clock: Clock = utc_now,
    pause: Callable[[float], None] = time.sleep,
) -> ItemsApi:
    """Wire the API; nothing is called yet."""
    return build(from_environment(ItemsSettings, environment), clock, pause, Telling(tell_plaid_call, correlation_id))


api = build_api(os.environ)


@metrics.log_metrics(capture_cold_start_metric=True)
@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> Answer:
    """Answer one request."""
    correlate(event)
    route = route_of(event)
    count(Signal.REQUESTS_RECEIVED)
    try:
        answer = answer_request(api, event, lambda: context.get_remaining_time_in_millis() / 1000)
    except PlaidSyncError as error:
        answer = refusal(error)
        _tell(route, error, answer["statusCode"])
        return answer
    count(Signal.ITEM_LINKED if route == _LINK else Signal.REQUEST_SERVED)
    logger.info("request served", route=route, status=answer["statusCode"], item_id=_item_of(event, answer))
    return answer


def _tell(route: str, error: PlaidSyncError, status: int) -> None:
    """Count and log a request that failed; a refusal's text can name what the caller has sent, and is left out."""
    linking = route == _LINK
    match error:
        case InvalidRequestError() | RefusedError():
            count(Signal.LINK_REFUSED if linking else Signal.REQUEST_REFUSED)
            code = error.code if isinstance(error, RefusedError) else "invalid_request"
            logger.info("request refused", route=route, status=status, code=code)
        case PlaidError():
            count(Signal.LINK_REFUSED if linking else Signal.REQUEST_REFUSED)
            logger.warning("plaid refused", route=route, code=error.code, plaid_request_id=error.request_id)
        case LinkUndoneError():
            count(Signal.LINK_UNDONE)
            logger.error("item removed at plaid again", code=error.code)
        case ExchangeUnknownError():
            count(Signal.EXCHANGE_UNKNOWN)
            logger.critical("exchange unknown", code=error.code, plaid_request_id=error.request_id)
        case ItemOrphanedError():
            count(Signal.ITEM_ORPHANED)
            logger.critical("item orphaned at plaid", item_id=error.item_id, plaid_request_id=error.request_id)
        case RetryableError():
            count(Signal.LINK_FAILED if linking else Signal.REQUEST_FAILED)
            logger.error("request failed", route=route, code=error.code)


def _item_of(event: dict[str, Any], answer: Answer) -> str | None:
    """Return the Item that a request is about: the one in its path, or the one that was linked."""
    item_id = (event.get("pathParameters") or {}).get("item_id")
    location = str(answer["headers"].get("location", ""))
    return str(item_id) if item_id else location.rpartition("/")[2] or None
