"""Calls of Plaid's other products for the application: with the Item's access token, which never leaves the stack.

Plaid's response is passed through as it is, errors included. The call is recorded in the Item's history before the
response is returned, so that no data leaves the stack of which the history does not know.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.domain import exact_json
from plaid_sync.domain.errors import (
    DEAD_TOKEN,
    TOKEN_ROTATING,
    InvalidRequestError,
    Refusal,
    RefusedError,
    TransientError,
)
from plaid_sync.domain.messages import Cause, SyncMessage
from plaid_sync.domain.requests import known_request_ids, require_allowed
from plaid_sync.domain.transitions import EventType

if TYPE_CHECKING:
    from plaid_sync.domain.clock import Clock
    from plaid_sync.domain.item import Item, ItemId
    from plaid_sync.domain.ports import SyncQueue, TokenDecryptor
    from plaid_sync.domain.requests import RequestContext
    from plaid_sync.items_api.ports import ApiItems, HistoryStore, PlaidEndpoints, PlaidResponse
    from plaid_sync.items_api.recurring import RecurringStreams

RECURRING: Final = "/transactions/recurring/get"
ENDPOINTS: Final = frozenset(
    {
        "/accounts/balance/get",
        "/auth/get",
        "/identity/get",
        "/investments/holdings/get",
        "/investments/transactions/get",
        "/liabilities/get",
        RECURRING,
    }
)
"""What a stack can serve. None of these changes or removes an Item, returns a token, or moves a cursor."""
_FILLED_IN: Final = ("access_token", "client_id", "secret")
MAX_RESPONSE_BYTES: Final = 6_000_000
"""Lambda returns 6 MB, headers and the escapes of a JSON text included
(https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html)."""
_ESCAPED: Final = (b'"', b"\\", b"\n", b"\r", b"\t")
_ABOUT_THE_ITEM: Final = frozenset(
    {
        DEAD_TOKEN,
        "ITEM_CONCURRENTLY_DELETED",
        "ITEM_LOCKED",
        "ITEM_LOGIN_REQUIRED",
        "ITEM_NOT_FOUND",
        "PASSWORD_RESET_REQUIRED",
        "USER_PERMISSION_REVOKED",
        "USER_SETUP_REQUIRED",
    }
)
"""Errors that concern every product of an Item: its worker has a look at it."""
_CHECK_INTERVAL: Final = timedelta(minutes=10)
"""Between two such looks: Plaid's report about the Item may not confirm the error of the product."""


@dataclass(frozen=True, slots=True)
class Broker:
    """Calls endpoints of Plaid that the stack is configured to serve.

    Attributes:
        enabled: those endpoints; others than `ENDPOINTS` are never called.
    """

    items: ApiItems
    history: HistoryStore
    tokens: TokenDecryptor
    plaid: PlaidEndpoints
    recurring: RecurringStreams
    queue: SyncQueue
    clock: Clock
    enabled: frozenset[str]

    def call(
        self, item_id: ItemId, endpoint: str, fields: object, context: RequestContext, *, fresh: bool = False
    ) -> PlaidResponse:
        """Call an endpoint for an Item, and return Plaid's response.

        Args:
            item_id: the Item.
            endpoint: Plaid's path, such as `/accounts/balance/get`.
            fields: those of Plaid's request, without credentials.
            context: that of the request.
            fresh: whether no stored response will do.

        Raises:
            InvalidRequestError: the fields are no object, or one of them is the stack's to fill in.
            RefusedError: the endpoint is not enabled, there is no such Item, it is removed, or Plaid's response cannot
                be passed through.
            TransientError: Plaid did not respond, or the token is being replaced.
        """
        if endpoint not in self.enabled & ENDPOINTS:
            raise _not_enabled_error()
        request = _checked(fields)
        item = require_allowed(self.items.load(item_id), EventType.CALL_ENDPOINT)
        if item.token_is_rotating(self.clock.now()):
            raise TransientError(TOKEN_ROTATING)
        call = _Call(item, endpoint, request, context)
        fetch = partial(self._fetch, call)
        response = self.recurring.serve(item, request, fetch, fresh=fresh) if endpoint == RECURRING else fetch()
        self._record_response(call, response)
        if response.code == DEAD_TOKEN and self._was_replaced(item):
            raise TransientError(TOKEN_ROTATING)
        self._report(item, response)
        return response

    def _fetch(self, call: _Call) -> PlaidResponse:
        item = call.item
        access_token = self.tokens.decrypt(item.item_id, item.access_token)
        try:
            response = self.plaid.call(call.endpoint, access_token, call.request)
        except TransientError as error:
            self._record(call, "failed", code=error.code)
            raise
        withheld = _reason_to_withhold(response, access_token)
        if withheld is not None:
            request_ids = known_request_ids(response.request_id)
            self._record(call, "withheld", code=withheld.code, plaid_request_ids=request_ids)
            raise withheld
        return response

    def _was_replaced(self, item: Item) -> bool:
        """Return whether the Item has another access token than when it was loaded, or is about to."""
        stored = self.items.load(item.item_id)
        return stored is not None and (
            stored.access_token != item.access_token or stored.token_is_rotating(self.clock.now())
        )

    def _record_response(self, call: _Call, response: PlaidResponse) -> None:
        self._record(
            call,
            "done" if response.code is None else "refused",
            code=response.code,
            cached=None if response.age_seconds is None else True,
            plaid_request_ids=known_request_ids(response.request_id),
        )

    def _record(self, call: _Call, outcome: str, **details: object) -> None:
        now = self.clock.now()
        self.history.add(call.context.entry(call.item.item_id, now, outcome, endpoint=call.endpoint, **details))

    def _report(self, item: Item, response: PlaidResponse) -> None:
        """Have the Item's worker look at an Item that Plaid no longer serves, unless that is known, or it just did."""
        known = {item.state.code, None if item.failure is None else item.failure.code}
        checked_at = item.accounts_checked_at
        was_checked = checked_at is not None and self.clock.now() - checked_at < _CHECK_INTERVAL
        if response.code in _ABOUT_THE_ITEM - known and not was_checked:
            # The response is the caller's in any case: whether it is passed through does not depend on the queue.
            with suppress(TransientError):
                self.queue.send(SyncMessage(item.item_id, Cause.ACCOUNTS))


@dataclass(frozen=True, slots=True)
class _Call:
    item: Item
    endpoint: str
    request: dict[str, Any]
    context: RequestContext


def _checked(fields: object) -> dict[str, Any]:
    """Return the fields of a request, which may be absent, if they can be sent."""
    if not isinstance(fields, dict):
        raise InvalidRequestError("body", "send a JSON object with the fields of Plaid's request")
    for name in _FILLED_IN:
        if name in fields:
            raise InvalidRequestError(name, "omit it: the stack fills it in")
    try:
        exact_json.dumps_for_storage(fields, ascii_only=True)
    except exact_json.InvalidJsonError as error:
        raise InvalidRequestError("body", f"nest at most {exact_json.MAX_DEPTH} levels") from error
    return fields


def _reason_to_withhold(response: PlaidResponse, access_token: str) -> RefusedError | None:
    """Return why a response is not passed through; None where it is."""
    members = {"plaid_request_id": response.request_id}
    if access_token.encode() in response.body:
        fix = "report it to the operator"
        detail = "Plaid's response has the access token"
        return RefusedError(Refusal.BAD_GATEWAY, "plaid_response_withheld", detail, members | {"fix": fix})
    if len(response.body) + sum(map(response.body.count, _ESCAPED)) > MAX_RESPONSE_BYTES:
        fix = "request less: fewer accounts, or a smaller count"
        detail = f"Plaid's response is larger than {MAX_RESPONSE_BYTES:,} bytes"
        return RefusedError(Refusal.BAD_GATEWAY, "plaid_response_too_large", detail, members | {"fix": fix})
    return None


def _not_enabled_error() -> RefusedError:
    fix = f"have the operator add it to the parameter PlaidEndpoints, which takes {', '.join(sorted(ENDPOINTS))}"
    return RefusedError(
        Refusal.FORBIDDEN, "endpoint_not_enabled", "the stack does not call this endpoint", {"fix": fix}
    )
