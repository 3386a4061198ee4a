"""The Items API: links, lists, shows, syncs, refreshes and removes Items (docs/api.md).

Event: API Gateway HTTP API, payload 2.0, authorized by IAM. Responses are JSON, or problem details (RFC 9457) that name
the field and the fix. Environment: `plaid_sync.config.ItemsSettings`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from plaid_sync.aws.clients import ITEMS_CONFIG, client
from plaid_sync.aws.dynamodb.history import HistoryTable
from plaid_sync.aws.dynamodb.item_indexes import ItemIndexes
from plaid_sync.aws.dynamodb.items import ItemsTable
from plaid_sync.aws.dynamodb.links import LinksTable
from plaid_sync.aws.dynamodb.registration import Registrations
from plaid_sync.aws.dynamodb.transactions import TransactionRows
from plaid_sync.aws.kms import KmsTokenCipher
from plaid_sync.aws.sqs import SqsSyncQueue
from plaid_sync.aws.telemetry import correlate, correlation_id, count, logger, metrics, record_plaid_call
from plaid_sync.config import ItemsSettings, from_environment
from plaid_sync.domain.clock import Deadline, SystemClock
from plaid_sync.domain.errors import (
    ExchangeUnknownError,
    InvalidRequestError,
    ItemOrphanedError,
    LinkRolledBackError,
    PlaidError,
    PlaidSyncError,
    RefusedError,
    TransientError,
)
from plaid_sync.items_api.http import error_response, route_of
from plaid_sync.items_api.queries import ItemQueries
from plaid_sync.items_api.routes import LINK_ROUTE, ItemsApi, handle_request
from plaid_sync.items_api.service import ItemOperations
from plaid_sync.linking.eligibility import LinkValidator
from plaid_sync.linking.link_tokens import LinkTokens
from plaid_sync.linking.requests import parse_link_request, parse_link_token_request
from plaid_sync.linking.service import Linker
from plaid_sync.linking.session_reader import SessionReader
from plaid_sync.metrics import Metric
from plaid_sync.plaid.client import PlaidTransport
from plaid_sync.plaid.credentials import PlaidSecret
from plaid_sync.plaid.items import PlaidItems
from plaid_sync.plaid.link import PlaidLinkClient

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_lambda_powertools.utilities.typing import LambdaContext
    from plaid_sync.domain.clock import Clock
    from plaid_sync.items_api.http import Response


def build_api(environment: Mapping[str, str], clock: Clock | None = None) -> ItemsApi:
    """Wire the API; nothing is called yet."""
    settings, clock = from_environment(ItemsSettings, environment), clock or SystemClock()
    secret = PlaidSecret(lambda: client("secretsmanager", ITEMS_CONFIG), settings.plaid_secret_id, clock)
    transport = PlaidTransport(settings.plaid_host, secret, record_plaid_call)
    plaid, plaid_link = PlaidItems(transport, settings.plaid_env), PlaidLinkClient(transport)
    tokens = KmsTokenCipher(client("kms", ITEMS_CONFIG), settings.token_key_id)
    queue = SqsSyncQueue(client("sqs", ITEMS_CONFIG), settings.sync_queue_url, correlation_id)
    dynamodb = client("dynamodb", ITEMS_CONFIG)
    items = ItemsTable(dynamodb, settings.items_table, settings.history_table, clock)
    indexes = ItemIndexes(dynamodb, settings.items_table)
    history = HistoryTable(dynamodb, settings.history_table)
    links = LinksTable(dynamodb, settings.links_table, clock)
    tables = settings.items_table, settings.links_table, settings.history_table
    sessions = SessionReader(links, plaid_link, clock)
    link_tokens = LinkTokens(plaid_link, links, items, tokens, clock, settings.link_client_name)
    linker = Linker(
        validator=LinkValidator(sessions, links, items),
        plaid=plaid_link,
        removal=plaid,
        tokens=tokens,
        items=items,
        index=indexes,
        registrations=Registrations(dynamodb, *tables, clock),
        queue=queue,
        clock=clock,
    )
    transactions = TransactionRows(dynamodb, settings.transactions_table, clock)
    return ItemsApi(
        link=lambda body, query, context: linker.link(parse_link_request(body, query), context),
        create_link_token=lambda body, context: link_tokens.create(parse_link_token_request(body), context),
        queries=ItemQueries(items, indexes, history, transactions, tokens, plaid, clock),
        operations=ItemOperations(items, history, sessions, tokens, plaid, queue, clock),
        webhook_url=settings.webhook_url,
    )


api = build_api(os.environ)


@metrics.log_metrics(capture_cold_start_metric=True)
@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> Response:
    """Serve one request."""
    correlate(event)
    route = route_of(event)
    count(Metric.REQUESTS_RECEIVED)
    try:
        response = handle_request(api, event, Deadline(lambda: context.get_remaining_time_in_millis() / 1000))
    except PlaidSyncError as error:
        response = error_response(error)
        _emit_failure(route, error, response["statusCode"])
        return response
    count(Metric.ITEM_LINKED if route == LINK_ROUTE else Metric.REQUEST_SERVED)
    logger.info("request served", route=route, status=response["statusCode"], item_id=_item_id(event, response))
    return response


def _emit_failure(route: str, error: PlaidSyncError, status: int) -> None:
    """Count and log a failed request. A refusal's text is omitted: it can quote the request."""
    linking = route == LINK_ROUTE
    match error:
        case InvalidRequestError() | RefusedError():
            count(Metric.LINK_REFUSED if linking else Metric.REQUEST_REFUSED)
            code = error.code if isinstance(error, RefusedError) else "invalid_request"
            logger.info("request refused", route=route, status=status, code=code)
        case PlaidError():
            count(Metric.LINK_REFUSED if linking else Metric.REQUEST_REFUSED)
            logger.warning(
                "plaid refused",
                route=route,
                endpoint=error.endpoint,
                http_status=error.status,
                error_type=error.error_type,
                code=error.code,
                code_reason=error.code_reason,
                plaid_request_id=error.request_id,
            )
        case LinkRolledBackError():
            count(Metric.LINK_ROLLED_BACK)
            logger.error("link rolled back", code=error.code)
        case ExchangeUnknownError():
            count(Metric.EXCHANGE_UNKNOWN)
            logger.critical("exchange unknown", code=error.code, plaid_request_id=error.request_id)
        case ItemOrphanedError():
            count(Metric.ITEM_ORPHANED)
            logger.critical("item orphaned at plaid", item_id=error.item_id, plaid_request_id=error.request_id)
        case TransientError():
            count(Metric.LINK_FAILED if linking else Metric.REQUEST_FAILED)
            logger.error("request failed", route=route, code=error.code)


def _item_id(event: dict[str, Any], response: Response) -> str | None:
    """Return the Item that a request is about: the one in its path, or the one that was linked."""
    item_id = (event.get("pathParameters") or {}).get("item_id")
    location = str(response["headers"].get("location", ""))
    return str(item_id) if item_id else location.rpartition("/")[2] or None
