"""Calls to Plaid through plaid-python: its configuration, authentication, transport and errors.

Not its typed deserialization: that costs about three seconds of CPU for 500 transactions and turns amounts into floats.
Responses are taken as bytes (`_preload_content=False`) and parsed with exact decimals. And not its `PlaidApi`, which
makes the very same call of `ApiClient` but first imports the models of all of Plaid's products: measured, 124 ms of CPU
where all else takes 5, several times that on a small function, and half of the layer.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, TypeVar

import plaid
import urllib3

from plaid_sync.domain import exact_json
from plaid_sync.domain.errors import (
    INSTITUTION_RATE_LIMIT,
    REFUSED_CREDENTIALS,
    SCHEMA_VIOLATION,
    FailureClass,
    OutcomeUnknownError,
    PlaidError,
    SchemaViolationError,
    TransientError,
)
from plaid_sync.plaid.observing import no_op, observed, parse_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from plaid_sync.domain.ports import PlaidCallBudget, PlaidCallObserver
    from plaid_sync.plaid.credentials import PlaidCredentials, PlaidSecret

_T = TypeVar("_T")
_JSON: Final = "application/json"
_AUTHENTICATION: Final = ("clientId", "plaidVersion", "secret")
_CONNECT_SECONDS: Final = 2.05
"""Twice what a lost SYN takes to be sent again; three tries are made."""


@dataclass(slots=True)
class PlaidTransport:
    """Makes calls; one per process, whose connections all clients share.

    Attributes:
        host: scheme and host of Plaid's API.
        observer: is called with the result of each call.
        budget: the calls that Plaid allows; None for no limit.
    """

    host: str
    secret: PlaidSecret
    observer: PlaidCallObserver = no_op
    budget: PlaidCallBudget | None = None
    _api: plaid.ApiClient | None = None
    _credentials: PlaidCredentials | None = None

    def call(
        self,
        path: str,
        request: object,
        read_seconds: float,
        parse: Callable[[bytes], _T],
        connect_seconds: float = _CONNECT_SECONDS,
    ) -> _T:
        """Make a call and parse its response.

        Args:
            path: the endpoint's, such as `/item/get`.
            request: its request model.
            read_seconds: how long to wait for the response.
            parse: parses the response's body.
            connect_seconds: how long to wait for each of three tries to connect.

        Raises:
            PlaidError: Plaid refused.
            OutcomeUnknownError: Plaid did not respond, or not as documented: the call may have had its effect.
            TransientError: the call was never sent; a `CallBudgetError`, because Plaid's limit allows it later.
        """
        api = self._permitted(path)
        with observed(self.observer):
            return self._send(api, path, request, parse, (connect_seconds, read_seconds))

    def forward(
        self, path: str, body: bytes, read_seconds: float
    ) -> tuple[urllib3.BaseHTTPResponse, PlaidError | None]:
        """Send a body as it is; return Plaid's response as it is, and the error that it is, if it is one.

        Args:
            path: the endpoint's.
            body: JSON, with the access token.
            read_seconds: how long to wait for the response.

        Raises:
            OutcomeUnknownError: Plaid did not respond: the call may have had its effect.
            TransientError: the call was never sent; a `CallBudgetError`, because Plaid's limit allows it later.
        """
        api = self._permitted(path)
        with suppress(PlaidError), observed(self.observer):
            response = self._post(api, path, body, read_seconds)
            error = None if response.status == HTTPStatus.OK else self._refusal(response.data, response.status, path)
            if error is not None and _concerns_stack(error):
                raise error
        return response, error

    def _post(self, api: plaid.ApiClient, path: str, body: bytes, read_seconds: float) -> urllib3.BaseHTTPResponse:
        """Make a call of `ApiClient` without what it does to bodies: floats, and errors as text."""
        headers = {**api.default_headers, "Accept": _JSON, "Content-Type": _JSON}
        api.update_params_for_auth(headers, [], _AUTHENTICATION, path, "POST", body)
        timeout = urllib3.Timeout(connect=_CONNECT_SECONDS, read=read_seconds)
        pool: urllib3.PoolManager = api.rest_client.pool_manager
        try:
            return pool.request("POST", f"{self.host}{path}", body=body, headers=headers, timeout=timeout)
        except urllib3.exceptions.HTTPError as error:
            raise _unreachable(error) from error

    def _send(
        self,
        api: plaid.ApiClient,
        path: str,
        request: object,
        parse: Callable[[bytes], _T],
        seconds: tuple[float, float],
    ) -> _T:
        try:
            response = api.call_api(
                path,
                "POST",
                header_params={"Accept": _JSON, "Content-Type": _JSON},
                body=request,
                auth_settings=_AUTHENTICATION,
                _preload_content=False,
                _request_timeout=seconds,
            )
            body: bytes = response.data
        except plaid.ApiException as error:
            raise self._refusal(error.body or "", error.status, path) from error
        except (urllib3.exceptions.HTTPError, AttributeError, UnicodeDecodeError) as error:
            # plaid-python decodes an error's body without checking: AttributeError where there is none.
            raise _unreachable(error) from error
        try:
            return parse(body)
        except exact_json.InvalidJsonError as error:
            raise OutcomeUnknownError("plaid_response_not_json") from error
        except SchemaViolationError as error:
            raise OutcomeUnknownError(f"{SCHEMA_VIOLATION}{error.field}") from error

    def _refusal(self, document: bytes | str, status: int | None, path: str) -> PlaidError:
        try:
            body = exact_json.loads(document)
        except exact_json.InvalidJsonError:
            body = None
        refusal = parse_error(body, status, path)
        if refusal.code in REFUSED_CREDENTIALS:
            self.secret.forget()
        throttled = refusal.failure_class is FailureClass.THROTTLED and refusal.code != INSTITUTION_RATE_LIMIT
        if throttled and self.budget is not None:
            self.budget.throttled(path)
        return refusal

    def _permitted(self, path: str) -> plaid.ApiClient:
        """Return the client for a call that the call budget permits: every call begins here."""
        if self.budget is not None:
            self.budget.take(path)
        credentials = self.secret.get()
        if self._api is None or credentials != self._credentials:
            self._api, self._credentials = _connect(self.host, credentials), credentials
        return self._api


def _unreachable(error: Exception) -> TransientError:
    failure = TransientError if _was_never_sent(error) else OutcomeUnknownError
    return failure(f"plaid_unreachable_{type(error).__name__}")


def _concerns_stack(error: PlaidError) -> bool:
    """Return whether an error of a forwarded call is the operator's: not one about the caller's request or the Item."""
    callers = {FailureClass.CLIENT_ERROR, FailureClass.NEEDS_USER, FailureClass.TERMINAL}
    return error.failure_class not in callers or error.code in REFUSED_CREDENTIALS


def _was_never_sent(error: Exception) -> bool:
    """Return whether no connection was made; a connection that broke may have carried the call."""
    cause = error.reason if isinstance(error, urllib3.exceptions.MaxRetryError) else error
    return isinstance(cause, (urllib3.exceptions.ConnectTimeoutError, urllib3.exceptions.NewConnectionError))


def _connect(host: str, credentials: PlaidCredentials) -> plaid.ApiClient:
    configuration = plaid.Configuration(
        host=host,
        api_key={"clientId": credentials.client_id, "secret": credentials.secret},
    )
    # Only a call that was surely never sent is repeated here. Any other failure is the caller's: a sync records it on
    # the Item, and the next attempt pulls from the stored cursor, or from the checkpoint.
    configuration.retries = urllib3.Retry(total=2, connect=2, read=0, status=0, other=0, redirect=0, backoff_factor=0.2)
    return plaid.ApiClient(configuration)
