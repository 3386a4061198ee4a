"""The Items API on fakes: requests as API Gateway sends them, and users who go through Link."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.age import AgeCipher
from plaid_sync.domain.errors import PlaidSyncError
from plaid_sync.domain.item import Item, ItemId, Removal
from plaid_sync.domain.requests import RequestContext
from plaid_sync.items_api.annotations import TransactionAnnotations
from plaid_sync.items_api.broker import ENDPOINTS, Broker
from plaid_sync.items_api.erasure import UserErasure
from plaid_sync.items_api.http import error_response
from plaid_sync.items_api.page_tokens import PageTokens
from plaid_sync.items_api.queries import ItemQueries
from plaid_sync.items_api.recurring import RecurringStreams
from plaid_sync.items_api.rotation import TokenRotation
from plaid_sync.items_api.routes import ItemsApi, handle_request
from plaid_sync.items_api.service import ItemOperations
from plaid_sync.items_api.token_export import TokenExport
from plaid_sync.linking.completion import Completion, FinishedSession, SessionCompleter
from plaid_sync.linking.eligibility import LinkValidator
from plaid_sync.linking.importing import Importer, parse_import_request
from plaid_sync.linking.link_tokens import LinkTokens
from plaid_sync.linking.requests import parse_link_request, parse_link_token_request
from plaid_sync.linking.service import Linker
from plaid_sync.linking.session_reader import SessionReader
from plaid_sync.linking.siblings import Siblings

from tests.fakes.cache import FakeResponseCache
from tests.fakes.failing import UNREACHABLE, Failing
from tests.fakes.links import FakeRegistrations
from tests.fakes.plaid import FakePlaid, login
from tests.fakes.queue import FakeQueue
from tests.fakes.tables import Tables
from tests.fakes.transactions import FakeAnnotations, FakeTransactionPages
from tests.fakes.users import FakeUsers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plaid_sync.items_api.http import Response

_LINKER_PORTS: Final = ("plaid", "tokens", "links", "items", "index", "registrations", "queue", "clock")
CALLER: Final = "arn:aws:iam::123456789012:user/caller"
WEBHOOK_URL: Final = "https://stack.invalid/webhooks/plaid"
_ROUTE_OF_ITEM: Final = re.compile(
    "/items/(?!import$)(?P<item_id>[^/]+)(?:(/transactions)/(?P<transaction_id>[^/]+)"
    "|(/access-token/rotate|/[a-z]+)?(?:/(?P<account_id>[^/]*)(/restore|/transactions)?)?)"
)
_EXPORT: Final = re.compile("/access-tokens/(?P<item_id>[^/]+)/export")
_ROUTE_OF_ENDPOINT: Final = re.compile("/items/(?P<item_id>[^/]+)/plaid/(?P<endpoint>.+)")
_ROUTES_OF_ANNOTATIONS: Final = re.compile(
    "/items/(?P<item_id>[^/]+)(?:/transactions/(?P<transaction_id>[^/]+)/annotations|/annotations/review)"
)


@dataclass(slots=True)
class Api:
    """The Items API, its tables, Plaid and the queue.

    Attributes:
        ports: what the use cases are built on, by name.
        secret: that of the page tokens.
        enabled: the endpoints of Plaid's other products that can be called.
        cache_age: how long a response about recurring streams is served.
        unreadable: the Items whose rows were reported as damaged, with the ids of those.
    """

    tables: Tables = field(default_factory=Tables)
    queue: FakeQueue = field(default_factory=FakeQueue)
    plaid: FakePlaid = field(init=False)
    ports: dict[str, Any] = field(init=False)
    requests: int = 0
    unreadable: list[tuple[ItemId, list[str]]] = field(default_factory=list)
    secret: str = "secret"
    enabled: frozenset[str] = ENDPOINTS
    cache_age: timedelta = timedelta()

    def __post_init__(self) -> None:
        tables = self.tables
        self.plaid = FakePlaid(tables.clock)
        self.ports = {
            "items": tables.items,
            "index": tables.items,
            "history": tables.history,
            "links": tables.links,
            "registrations": FakeRegistrations(tables.items, tables.links),
            "transactions": FakeTransactionPages(tables.transactions),
            "annotations": FakeAnnotations(tables.transactions),
            "tokens": tables.tokens,
            "plaid": self.plaid,
            "queue": self.queue,
            "users": FakeUsers(tables),
            "clock": tables.clock,
            "cache": FakeResponseCache(),
        }

    def fail(self, port: str, name: str, error: BaseException | None = UNREACHABLE, **how: Any) -> None:
        """Let a call of a port fail from now on: see `Failing`."""
        self.ports[port] = Failing(self.ports[port], name, error, **how)

    def complete(self, finished: FinishedSession) -> Completion:
        """Complete a session that a webhook reports, as the webhook function requests it."""
        context = RequestContext("webhook LINK", finished.correlation_id, "", "", self.tables.clock.deadline(900.0))
        return self.completer().complete(finished, context)

    def completer(self) -> SessionCompleter:
        """Return what completes sessions that webhooks report."""
        ports = self.ports
        sessions = SessionReader(ports["links"], ports["plaid"], ports["clock"])
        return SessionCompleter(self._linker(sessions), sessions, self._operations(sessions).finish_update_mode)

    def _operations(self, sessions: SessionReader) -> ItemOperations:
        return ItemOperations(
            sessions=sessions,
            **{name: self.ports[name] for name in ("items", "history", "tokens", "plaid", "queue", "clock")},
        )

    def _broker(self) -> Broker:
        ports = self.ports
        return Broker(
            recurring=RecurringStreams(ports["cache"], ports["clock"], self.cache_age),
            enabled=self.enabled,
            **{name: ports[name] for name in ("items", "history", "tokens", "plaid", "queue", "clock")},
        )

    def _linker(self, sessions: SessionReader) -> Linker:
        ports = self.ports
        return Linker(
            validator=LinkValidator(sessions, ports["links"], ports["items"]),
            accounts=ports["plaid"],
            removal=ports["plaid"],
            check_item=self._operations(sessions).check,
            **{name: ports[name] for name in _LINKER_PORTS},
        )

    def _importer(self, sessions: SessionReader) -> Importer:
        ports = self.ports
        return Importer(
            switch_webhook=self._operations(sessions).set_webhook,
            **{name: ports[name] for name in ("plaid", "tokens", "links", "items", "index", "registrations", "clock")},
        )

    def _report_unreadable(self, item_id: ItemId, transaction_ids: Sequence[str]) -> None:
        self.unreadable.append((item_id, list(transaction_ids)))

    def _api(self) -> ItemsApi:
        ports = self.ports
        sessions = SessionReader(ports["links"], ports["plaid"], ports["clock"])
        linker = self._linker(sessions)
        plaid, links, items, tokens, clock = (ports[name] for name in ("plaid", "links", "items", "tokens", "clock"))
        link_tokens = LinkTokens(plaid, links, items, tokens, clock, "Bank connections")
        history, transactions = ports["history"], ports["transactions"]
        operations = self._operations(sessions)
        return ItemsApi(
            link=lambda body, query, context: linker.link(parse_link_request(body, query), context),
            import_item=lambda body, context: self._importer(sessions).run(
                parse_import_request(body, "sandbox"), context
            ),
            create_link_token=lambda body, context: link_tokens.create(parse_link_token_request(body), context),
            queries=ItemQueries(
                items, ports["index"], history, transactions, tokens, plaid, clock, self._report_unreadable
            ),
            operations=operations,
            rotation=TokenRotation(items, tokens, plaid, ports["queue"], clock),
            token_export=TokenExport(items, tokens, plaid, AgeCipher(), clock, "sandbox"),
            broker=self._broker(),
            annotations=TransactionAnnotations(items, ports["annotations"]),
            page_tokens=PageTokens(lambda: self.secret),
            siblings=Siblings(items, ports["index"]).of,
            erasure=UserErasure(items, ports["users"], partial(operations.remove, erase=True), clock),
            webhook_url=WEBHOOK_URL,
        )

    def serve(self, event: dict[str, Any], seconds: float = 900.0) -> Response:
        """Serve an event of API Gateway."""
        try:
            return handle_request(self._api(), event, self.tables.clock.deadline(seconds))
        except PlaidSyncError as error:
            return error_response(error)

    def request(  # noqa: PLR0913 - the parts of a request
        self,
        method: str,
        path: str,
        body: object = None,
        query: Mapping[str, str] | None = None,
        *,
        seconds: float = 900.0,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send a request; a body that is no text is sent as JSON."""
        self.requests += 1
        found = _ROUTE_OF_ITEM.fullmatch(path)
        parts = {} if found is None else {name: part for name, part in found.groupdict().items() if part is not None}
        route = path
        if found is not None:
            account = f"/{{account_id}}{found[6] or ''}" if "account_id" in parts else ""
            transaction = f"{found[2]}/{{transaction_id}}" if "transaction_id" in parts else ""
            route = f"/items/{{item_id}}{transaction}{found[4] or ''}{account}"
        if (called := _ROUTE_OF_ENDPOINT.fullmatch(path)) is not None:
            parts, route = called.groupdict(), "/items/{item_id}/plaid/{endpoint+}"
        if (annotated := _ROUTES_OF_ANNOTATIONS.fullmatch(path)) is not None:
            parts = {name: part for name, part in annotated.groupdict().items() if part is not None}
            ending = "/transactions/{transaction_id}/annotations" if len(parts) > 1 else "/annotations/review"
            route = f"/items/{{item_id}}{ending}"
        if (exported := _EXPORT.fullmatch(path)) is not None:
            parts, route = exported.groupdict(), "/access-tokens/{item_id}/export"
        event = {
            "routeKey": f"{method} {route}",
            "headers": dict(headers or {}),
            "pathParameters": parts or None,
            "queryStringParameters": dict(query) if query else None,
            "body": body if body is None or isinstance(body, str) else json.dumps(body),
            "requestContext": {
                "requestId": f"request-{self.requests}",
                "authorizer": {"iam": {"userArn": CALLER}},
            },
        }
        return self.serve(event, seconds)

    def get(self, path: str, **query: str) -> dict[str, Any]:
        return content(self.request("GET", path, query=query))

    def pages(self, path: str, name: str, **query: str) -> list[Any]:
        found: list[Any] = []
        while True:
            page = self.get(path, **query)
            assert len(page[name]) <= int(query.get("limit", "500"))
            found += page[name]
            if "next" not in page:
                return found
            query["next"] = page["next"]

    def item(self, item_id: str) -> Item:
        return self.tables.items.stored[ItemId(item_id)]

    def removal(self, item_id: str) -> Removal:
        removal = self.item(item_id).removal
        assert removal is not None
        return removal

    def history(self, item_id: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.get(f"/items/{item_id}/history")["history"]
        return entries[::-1]

    # ---- Link

    def link_token(self, user: str, **body: Any) -> str:
        """Create a link token for a user."""
        return str(content(self.request("POST", "/link-tokens", {"client_user_id": user} | body), 201)["link_token"])

    def went_through_link(self, user: str, name: str = "login", **body: Any) -> dict[str, Any]:
        """Let a user go through Link; return the body that completes it."""
        token = self.link_token(user, **body)
        return {"link_token": token, "client_user_id": user, "public_token": self.plaid.complete(token, login(name))}

    def linked(self, user: str = "user", name: str = "login", query: Mapping[str, str] | None = None) -> ItemId:
        """Let a user go through Link, and complete it; return the Item."""
        response = self.request("POST", "/items", self.went_through_link(user, name), query)
        return ItemId(content(response, 201)["item_id"])


def content(response: Response, status: int = 200) -> dict[str, Any]:
    """Return the body of a response that must have this status, with exact numbers."""
    assert response["statusCode"] == status, response["body"]
    body: dict[str, Any] = json.loads(response["body"], parse_float=Decimal)
    return body


def problem(response: Response, status: int, code: str) -> dict[str, Any]:
    """Return the problem details of a response that must have this status and code."""
    assert response["headers"]["content-type"] == "application/problem+json", response
    body = content(response, status)
    assert (body["status"], body["code"]) == (status, code)
    assert body["title"]
    assert body["detail"]
    return body
