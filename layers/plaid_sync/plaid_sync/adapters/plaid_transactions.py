"""Plaid's API through plaid-python: its configuration, authentication, transport and errors.

Not its typed deserialisation: that costs about three seconds of CPU for 500 transactions and turns amounts into
floats. Answers are taken as bytes (`_preload_content=False`) and parsed by the core with exact decimals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import plaid
import urllib3
from plaid.api.plaid_api import PlaidApi
from plaid.model.item_public_token_exchange_request import ItemPublicTokenExchangeRequest
from plaid.model.item_remove_request import ItemRemoveRequest
from plaid.model.transactions_sync_request import TransactionsSyncRequest
from plaid.model.transactions_sync_request_options import TransactionsSyncRequestOptions

from plaid_sync.adapters.plaid_errors import error_code
from plaid_sync.core import exact_json
from plaid_sync.core.failures import ContractBrokenError, PlaidError, RetryableError
from plaid_sync.core.items import Cursor, ItemId
from plaid_sync.core.linking import ExchangedItem
from plaid_sync.core.pages import Page, parse_page
from plaid_sync.core.plain_text import plain_or_empty
from plaid_sync.core.triggers import is_item_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from plaid_sync.adapters.plaid_credentials import PlaidCredentials, PlaidSecret

_T = TypeVar("_T")

PAGE_SIZE: Final = 500
"""Most that Plaid gives; fewer pages make a mutation between them rarer."""
_CONNECT_SECONDS: Final = 3.05
_SYNC_SECONDS: Final = 60.0
_EXCHANGE_SECONDS: Final = 8.0
_REMOVE_SECONDS: Final = 5.0
_REFUSED_CREDENTIALS: Final = frozenset({"INVALID_API_KEYS", "INVALID_SECRET", "INVALID_CLIENT_ID"})
_GONE: Final = frozenset({"ITEM_NOT_FOUND", "INVALID_ACCESS_TOKEN"})


@dataclass(slots=True)
class PlaidClient:
    """Calls Plaid; fulfils `PlaidTransactions` and `PlaidLink`.

    Attributes:
        host: scheme and host of Plaid's API.
    """

    host: str
    secret: PlaidSecret
    _api: PlaidApi | None = None
    _credentials: PlaidCredentials | None = None

    def sync_page(self, access_token: str, cursor: Cursor | None, days_requested: int | None) -> Page:
        """See `ports.PlaidTransactions`."""
        request = TransactionsSyncRequest(access_token=access_token, count=PAGE_SIZE)
        if cursor is not None:
            request.cursor = cursor
        elif days_requested is not None:
            request.options = TransactionsSyncRequestOptions(days_requested=days_requested)
        return self._call(PlaidApi.transactions_sync, request, _SYNC_SECONDS, parse_page)

    def exchange(self, public_token: str) -> ExchangedItem:
        """See `ports.PlaidLink`. Never repeated here: a public token works once."""
        request = ItemPublicTokenExchangeRequest(public_token=public_token)
        return self._call(PlaidApi.item_public_token_exchange, request, _EXCHANGE_SECONDS, _parse_exchange)

    def remove(self, access_token: str) -> None:
        """See `ports.PlaidLink`."""
        try:
            self._call(PlaidApi.item_remove, ItemRemoveRequest(access_token=access_token), _REMOVE_SECONDS, len)
        except PlaidError as error:
            if error.code not in _GONE:
                raise

    def _call(
        self,
        method: Callable[..., Any],
        request: object,
        read_seconds: float,
        parse: Callable[[bytes], _T],
    ) -> _T:
        api = self._connected()
        try:
            answer = method(api, request, _preload_content=False, _request_timeout=(_CONNECT_SECONDS, read_seconds))
            body: bytes = answer.data
        except plaid.ApiException as error:
            raise self._refusal(error) from error
        except (urllib3.exceptions.HTTPError, AttributeError, UnicodeDecodeError) as error:
            # plaid-python decodes an error's body without looking: AttributeError where there is none.
            raise RetryableError(f"plaid_unreachable_{type(error).__name__}") from error
        try:
            return parse(body)
        except exact_json.InvalidJsonError as error:
            raise RetryableError("plaid_answer_not_json") from error
        except ContractBrokenError as error:
            raise RetryableError(f"plaid_contract_broken_{error.field}") from error

    def _refusal(self, error: plaid.ApiException) -> PlaidError:
        try:
            body = exact_json.loads(error.body or "")
        except exact_json.InvalidJsonError:
            body = None
        code = error_code(body, error.status)
        if code in _REFUSED_CREDENTIALS:
            self.secret.forget()
        return PlaidError(code, plain_or_empty(body.get("request_id")) if isinstance(body, dict) else "")

    def _connected(self) -> PlaidApi:
        credentials = self.secret.get()
        if self._api is None or credentials != self._credentials:
            self._api, self._credentials = _connect(self.host, credentials), credentials
        return self._api


def _connect(host: str, credentials: PlaidCredentials) -> PlaidApi:
    configuration = plaid.Configuration(
        host=host,
        api_key={"clientId": credentials.client_id, "secret": credentials.secret},
    )
    # Only what was surely never sent is sent again; SQS repeats everything else, from the stored cursor.
    configuration.retries = urllib3.Retry(total=2, connect=2, read=0, status=0, other=0, redirect=0, backoff_factor=0.2)
    return PlaidApi(plaid.ApiClient(configuration))


def _parse_exchange(body: bytes) -> ExchangedItem:
    answer = exact_json.loads(body)
    if not isinstance(answer, dict):
        raise ContractBrokenError("body")
    item_id, access_token = answer.get("item_id"), answer.get("access_token")
    if not is_item_id(item_id):
        raise ContractBrokenError("item_id")
    if not isinstance(access_token, str) or not access_token:
        raise ContractBrokenError("access_token")
    return ExchangedItem(ItemId(str(item_id)), access_token)
