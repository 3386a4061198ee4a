"""Plaid's endpoints that concern one Item, apart from its transactions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from plaid.model.accounts_get_request import AccountsGetRequest
from plaid.model.item_get_request import ItemGetRequest
from plaid.model.item_remove_request import ItemRemoveRequest
from plaid.model.item_webhook_update_request import ItemWebhookUpdateRequest
from plaid.model.transactions_refresh_request import TransactionsRefreshRequest

from plaid_sync.core.failures import PlaidError
from plaid_sync.core.items_api.account_list import parse_account_list, request_id_of
from plaid_sync.core.lifecycle.health import ItemHealth, parse_health

if TYPE_CHECKING:
    from plaid_sync.adapters.plaid.transport import PlaidTransport
    from plaid_sync.core.items_api.account_list import AccountList

_HEALTH_SECONDS: Final = 15.0
_ACCOUNTS_SECONDS: Final = 10.0
_WEBHOOK_SECONDS: Final = 5.0
_REMOVE_SECONDS: Final = 5.0
_REFRESH_SECONDS: Final = 20.0
"""Typically under ten (https://plaid.com/docs/api/products/transactions/#transactionsrefresh); API Gateway waits 30."""
_GONE: Final = frozenset({"ITEM_NOT_FOUND", "ITEM_CONCURRENTLY_DELETED"})
_UNKNOWN_TOKEN: Final = "INVALID_ACCESS_TOKEN"  # noqa: S105 - an error code


@dataclass(frozen=True, slots=True)
class PlaidItems:
    """Calls about one Item; fulfils `PlaidItem` and `PlaidItemCalls`.

    Attributes:
        plaid_env: the environment that this stack's tokens belong to.
    """

    transport: PlaidTransport
    plaid_env: str

    def health(self, access_token: str, seconds: float = _HEALTH_SECONDS) -> ItemHealth:
        """Return how Plaid says that the Item is (/item/get).

        Args:
            access_token: the Item's.
            seconds: how long it may take, with three tries to connect, which have a third of the time.

        Raises:
            PlaidError: Plaid refused.
            RetryableError: Plaid could not be reached, or did not answer as documented.
        """
        request = ItemGetRequest(access_token=access_token)
        return self.transport.call("/item/get", request, seconds * 0.6, parse_health, seconds / 10)

    def remove(self, access_token: str) -> None:
        """Remove the Item at Plaid, which ends its billing. Removing a removed Item succeeds.

        Raises:
            PlaidError: Plaid refused. `INVALID_ACCESS_TOKEN` of a token of another environment is such a refusal: this
                is the wrong deployment, and the Item lives on.
            RetryableError: Plaid could not be reached.
        """
        request = ItemRemoveRequest(access_token=access_token)
        try:
            self.transport.call("/item/remove", request, _REMOVE_SECONDS, len)
        except PlaidError as error:
            ours = access_token.startswith(f"access-{self.plaid_env}-")
            if error.code not in _GONE and not (error.code == _UNKNOWN_TOKEN and ours):
                raise

    def accounts(self, access_token: str) -> AccountList:
        """See `ports.items_api.PlaidItemCalls`."""
        request = AccountsGetRequest(access_token=access_token)
        return self.transport.call("/accounts/get", request, _ACCOUNTS_SECONDS, parse_account_list)

    def refresh(self, access_token: str) -> str:
        """See `ports.items_api.PlaidItemCalls`."""
        request = TransactionsRefreshRequest(access_token=access_token)
        return self.transport.call("/transactions/refresh", request, _REFRESH_SECONDS, request_id_of)

    def set_webhook(self, access_token: str, url: str) -> str:
        """See `ports.items_api.PlaidItemCalls`."""
        request = ItemWebhookUpdateRequest(access_token=access_token, webhook=url)
        return self.transport.call("/item/webhook/update", request, _WEBHOOK_SECONDS, request_id_of)
