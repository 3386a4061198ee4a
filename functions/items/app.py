"""The Items API: links, imports, lists, shows, syncs, refreshes and removes Items, and erases users (docs/api.md).

Event: API Gateway HTTP API, payload 2.0, authorized by IAM. Responses are JSON, or problem details (RFC 9457) that name
the field and the fix. Or, invoked by the webhook function: `{"finished_link_session": {"link_token", "public_tokens",
"ended"}, "correlation_id"}`, with the response `{"item_ids", "code", "retry", "client_user_id"}`. Environment:
`plaid_sync.config.ItemsSettings`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.age import AgeCipher
from plaid_sync.aws.call_budget import call_budget
from plaid_sync.aws.clients import ITEMS_CONFIG, client, deadline_of
from plaid_sync.aws.dynamodb.annotated_rows import AnnotatedRows
from plaid_sync.aws.dynamodb.history import HistoryTable
from plaid_sync.aws.dynamodb.item_indexes import ItemIndexes
from plaid_sync.aws.dynamodb.items import ItemsTable
from plaid_sync.aws.dynamodb.links import LinksTable
from plaid_sync.aws.dynamodb.recurring import RecurringTable
from plaid_sync.aws.dynamodb.registration import Registrations
from plaid_sync.aws.dynamodb.transaction_lists import TransactionLists
from plaid_sync.aws.dynamodb.users import UserTables
from plaid_sync.aws.kms import KmsTokenCipher
from plaid_sync.aws.sqs import SqsSyncQueue
from plaid_sync.aws.telemetry import (
    correlate,
    correlation_id,
    count,
    logger,
    metrics,
    record_plaid_call,
    set_correlation_id,
)
from plaid_sync.config import ItemsSettings, from_environment
from plaid_sync.domain.budget import CallClass
from plaid_sync.domain.clock import SystemClock
from plaid_sync.domain.errors import (
    AccessTokenLostError,
    ExchangeUnknownError,
    InvalidRequestError,
    ItemOrphanedError,
    LinkRolledBackError,
    PlaidError,
    PlaidSyncError,
    RefusedError,
    TransientError,
    UnreadableItemError,
)
from plaid_sync.domain.requests import RequestContext
from plaid_sync.items_api.annotations import TransactionAnnotations
from plaid_sync.items_api.broker import Broker
from plaid_sync.items_api.erasure import UserErasure
from plaid_sync.items_api.http import error_response, parse_path_id, path_id_of, route_of
from plaid_sync.items_api.page_tokens import PageTokens
from plaid_sync.items_api.queries import ItemQueries
from plaid_sync.items_api.recurring import RecurringStreams
from plaid_sync.items_api.rotation import TokenRotation
from plaid_sync.items_api.routes import IMPORT_ROUTE, LINK_ROUTE, ItemsApi, handle_request
from plaid_sync.items_api.service import ItemOperations
from plaid_sync.items_api.token_export import TokenExport
from plaid_sync.linking.completion import SessionCompleter, parse_finished_session
from plaid_sync.linking.eligibility import LinkValidator
from plaid_sync.linking.importing import Importer, parse_import_request
from plaid_sync.linking.link_tokens import LinkTokens
from plaid_sync.linking.requests import parse_link_request, parse_link_token_request
from plaid_sync.linking.service import Linker
from plaid_sync.linking.session_reader import SessionReader
from plaid_sync.linking.siblings import Siblings
from plaid_sync.metrics import Metric
from plaid_sync.plaid.client import PlaidTransport
from plaid_sync.plaid.credentials import PlaidSecret
from plaid_sync.plaid.endpoints import PlaidEndpointsClient
from plaid_sync.plaid.items import PlaidItems
from plaid_sync.plaid.link import PlaidLinkClient

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aws_lambda_powertools.utilities.typing import LambdaContext
    from mypy_boto3_dynamodb import DynamoDBClient
    from plaid_sync.domain.clock import Clock, Deadline
    from plaid_sync.domain.item import ItemId
    from plaid_sync.items_api.http import Response
    from plaid_sync.linking.completion import FinishedSession

LINK_WEBHOOK: Final = "webhook LINK"
"""The route of a completed session, as the history records it."""


@dataclass(frozen=True, slots=True)
class Wired:
    """The use cases: those behind the routes, and that of the webhook function."""

    routes: ItemsApi
    completer: SessionCompleter


def _report_unreadable(item_id: ItemId, transaction_ids: Sequence[str]) -> None:
    count(Metric.ROWS_UNREADABLE, len(transaction_ids))
    logger.error("rows unreadable", item_id=item_id, transaction_ids=transaction_ids)


def build_api(environment: Mapping[str, str], clock: Clock | None = None) -> Wired:
    """Wire the use cases; nothing is called yet."""
    settings, clock = from_environment(ItemsSettings, environment), clock or SystemClock()
    secret = PlaidSecret(lambda: client("secretsmanager", ITEMS_CONFIG), settings.plaid_secret_id, clock)
    budget = call_budget(settings, clock, CallClass.INTERACTIVE)
    transport = PlaidTransport(settings.plaid_host, secret, record_plaid_call, budget)
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
    operations = ItemOperations(items, history, sessions, tokens, plaid, queue, clock)
    link_tokens = LinkTokens(plaid_link, links, items, tokens, clock, settings.link_client_name)
    registrations = Registrations(dynamodb, *tables, clock)
    importer = Importer(plaid, tokens, links, items, indexes, registrations, operations.set_webhook, clock)
    linker = Linker(
        validator=LinkValidator(sessions, links, items),
        plaid=plaid_link,
        accounts=plaid,
        removal=plaid,
        tokens=tokens,
        links=links,
        items=items,
        index=indexes,
        registrations=registrations,
        queue=queue,
        check_item=operations.check,
        clock=clock,
    )
    broker = Broker(
        items=items,
        history=history,
        tokens=tokens,
        plaid=PlaidEndpointsClient(transport),
        recurring=RecurringStreams(
            RecurringTable(dynamodb, settings.shared_table), clock, timedelta(hours=settings.recurring_cache_hours)
        ),
        queue=queue,
        clock=clock,
        enabled=frozenset(settings.plaid_endpoints.split(",")),
    )
    transactions = TransactionLists(dynamodb, settings.transactions_table)
    routes = ItemsApi(
        link=lambda body, query, context: linker.link(parse_link_request(body, query), context),
        import_item=lambda body, context: importer.run(parse_import_request(body, settings.plaid_env), context),
        create_link_token=lambda body, context: link_tokens.create(
            parse_link_token_request(body, sandbox=settings.plaid_env == "sandbox"), context
        ),
        siblings=Siblings(items, indexes).of,
        queries=ItemQueries(items, indexes, history, transactions, tokens, plaid, clock, _report_unreadable),
        operations=operations,
        rotation=TokenRotation(items, tokens, plaid, queue, clock),
        token_export=TokenExport(items, tokens, plaid, AgeCipher(), clock, settings.plaid_env),
        broker=broker,
        annotations=TransactionAnnotations(items, AnnotatedRows(dynamodb, settings.transactions_table, clock)),
        page_tokens=PageTokens(lambda: secret.get().secret),
        erasure=UserErasure(items, _users(dynamodb, settings, clock), partial(operations.remove, erase=True), clock),
        webhook_url=settings.webhook_url,
    )
    return Wired(routes, SessionCompleter(linker, sessions, operations.finish_update_mode))


def _users(dynamodb: DynamoDBClient, settings: ItemsSettings, clock: Clock) -> UserTables:
    return UserTables(
        dynamodb,
        items_table=settings.items_table,
        transactions_table=settings.transactions_table,
        quarantine_table=settings.quarantine_table,
        history_table=settings.history_table,
        links_table=settings.links_table,
        shared_table=settings.shared_table,
        clock=clock,
    )


api = build_api(os.environ)


@metrics.log_metrics
@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> Response:
    """Serve one request, or complete a link session that a webhook reports."""
    finished, deadline = parse_finished_session(event), deadline_of(context)
    if finished is not None:
        return _complete(finished, deadline)
    correlate(event)
    route = route_of(event)
    try:
        response = handle_request(api.routes, event, deadline)
    except PlaidSyncError as error:
        response = error_response(error)
        _emit_failure(route, error, response["statusCode"])
        return response
    created = response["statusCode"] == HTTPStatus.CREATED
    count(Metric.ITEM_LINKED, int(created and route in {LINK_ROUTE, IMPORT_ROUTE}))
    logger.info("request served", route=route, status=response["statusCode"], item_id=_item_id(event, response))
    return response


def _complete(finished: FinishedSession, deadline: Deadline) -> dict[str, Any]:
    """Complete a link session; the response says why it is not complete, and whether to retry."""
    set_correlation_id(finished.correlation_id)
    context = RequestContext(LINK_WEBHOOK, correlation_id(), "", api.routes.webhook_url, deadline)
    completion = api.completer.complete(finished, context)
    for error in completion.failures:
        route = LINK_WEBHOOK if completion.update_mode else LINK_ROUTE
        _emit_failure(route, error, error_response(error)["statusCode"])
    count(Metric.ITEM_LINKED, completion.linked)
    logger.info(
        "link session completed",
        item_ids=completion.item_ids,
        linked=completion.linked,
        code=completion.code,
        retry=completion.retry,
    )
    return {
        "item_ids": list(completion.item_ids),
        "code": completion.code,
        "retry": completion.retry,
        "client_user_id": completion.client_user_id,
    }


def _emit_failure(route: str, error: PlaidSyncError, status: int) -> None:
    """Count and log a failed request. A refusal's text is omitted: it can quote the request."""
    match error:
        case InvalidRequestError() | RefusedError():
            code = error.code if isinstance(error, RefusedError) else "invalid_request"
            logger.info("request refused", route=route, status=status, code=code)
        case PlaidError():
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
            logger.error("link rolled back", code=error.code)
        case ExchangeUnknownError():
            count(Metric.EXCHANGE_UNKNOWN)
            logger.critical("exchange unknown", code=error.code, plaid_request_id=error.request_id)
        case ItemOrphanedError():
            count(Metric.ITEM_ORPHANED)
            logger.critical("item orphaned at plaid", item_id=error.item_id, plaid_request_id=error.request_id)
        case AccessTokenLostError():
            count(Metric.ITEM_ORPHANED)
            logger.critical("access token lost", item_id=error.item_id, plaid_request_id=error.request_id)
        case UnreadableItemError():
            logger.error("item unreadable", route=route, item_id=error.item_id)
        case TransientError():
            logger.error("request failed", route=route, code=error.code)


def _item_id(event: dict[str, Any], response: Response) -> str | None:
    """Return the Item that a request is about: the one in its path, or the one that was linked."""
    location = str(response["headers"].get("location", ""))
    return path_id_of(event, "item_id") or parse_path_id(location.rpartition("/")[2]) or None
