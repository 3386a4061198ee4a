"""Plaid's endpoints about one Item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plaid.model.accounts_get_request import AccountsGetRequest
from plaid.model.item_access_token_invalidate_request import ItemAccessTokenInvalidateRequest
from plaid.model.item_get_request import ItemGetRequest
from plaid.model.item_remove_reason_code import ItemRemoveReasonCode
from plaid.model.item_remove_request import ItemRemoveRequest
from plaid.model.item_webhook_update_request import ItemWebhookUpdateRequest
from plaid.model.personal_finance_category_version import PersonalFinanceCategoryVersion
from plaid.model.transactions_refresh_request import TransactionsRefreshRequest
from plaid.model.transactions_sync_request import TransactionsSyncRequest
from plaid.model.transactions_sync_request_options import TransactionsSyncRequestOptions

from plaid_sync.domain.errors import DEAD_TOKEN, PlaidError
from plaid_sync.domain.item import REMOVAL_REASONS
from plaid_sync.plaid.responses import (
    parse_account_list,
    parse_described_item,
    parse_health,
    parse_page,
    parse_rotated_token,
    request_id_of,
)
from plaid_sync.pull.puller import DEFAULT_OPTIONS

if TYPE_CHECKING:
    from plaid_sync.domain.item import AccountList, Cursor, ItemHealth, RemovalReason
    from plaid_sync.items_api.ports import RotatedToken
    from plaid_sync.linking.ports import DescribedItem
    from plaid_sync.plaid.client import PlaidTransport
    from plaid_sync.pull.pages import Page
    from plaid_sync.pull.puller import PullOptions

PAGE_SIZE: Final = 500
"""Plaid's maximum; with fewer pages a mutation during the pagination is rarer."""
_SYNC_SECONDS: Final = 60.0
_HEALTH_SECONDS: Final = 15.0
_DESCRIBE_SECONDS: Final = 5.0
_ACCOUNTS_SECONDS: Final = 10.0
_INVALIDATE_SECONDS: Final = 10.0
_WEBHOOK_SECONDS: Final = 5.0
_REMOVE_SECONDS: Final = 5.0
_REFRESH_SECONDS: Final = 20.0
"""Typically under ten (https://plaid.com/docs/api/products/transactions/#transactionsrefresh); API Gateway waits 30."""
_GONE: Final = frozenset({"ITEM_NOT_FOUND", "ITEM_CONCURRENTLY_DELETED"})


@dataclass(frozen=True, slots=True)
class PlaidItems:
    """Calls about one Item; implements `PlaidHealth`, `PlaidRemoval`, `PlaidItemCalls` and `PlaidImports`.

    Attributes:
        plaid_env: the environment that this stack's tokens belong to.
    """

    transport: PlaidTransport
    plaid_env: str

    def health(self, access_token: str, seconds: float = _HEALTH_SECONDS) -> ItemHealth:
        """Return Plaid's report about the Item (/item/get).

        Args:
            access_token: the Item's.
            seconds: the time limit, a third of which is for the three tries to connect.

        Raises:
            PlaidError: Plaid refused.
            TransientError: Plaid was unreachable, or did not respond as documented.
        """
        request = ItemGetRequest(access_token=access_token)
        return self.transport.call("/item/get", request, seconds * 0.6, parse_health, seconds / 10)

    def describe(self, access_token: str) -> DescribedItem:
        """See `PlaidImports`."""
        request = ItemGetRequest(access_token=access_token)
        return self.transport.call("/item/get", request, _DESCRIBE_SECONDS, parse_described_item)

    def remove(self, access_token: str, reason: RemovalReason | None = None) -> None:
        """Remove the Item at Plaid, which ends its billing; idempotent.

        Raises:
            PlaidError: Plaid refused. `INVALID_ACCESS_TOKEN` for a token of another environment is such a refusal: this
                is the wrong deployment, and the Item lives on.
            TransientError: Plaid was unreachable.
        """
        request = ItemRemoveRequest(access_token=access_token)
        if reason is not None and reason.code in REMOVAL_REASONS:
            request.reason_code = ItemRemoveReasonCode(reason.code)
            if reason.note is not None:
                request.reason_note = reason.note
        try:
            self.transport.call("/item/remove", request, _REMOVE_SECONDS, len)
        except PlaidError as error:
            of_this_environment = access_token.startswith(f"access-{self.plaid_env}-")
            if error.code not in _GONE and not (error.code == DEAD_TOKEN and of_this_environment):
                raise

    def accounts(self, access_token: str) -> AccountList:
        """See `PlaidItemCalls`."""
        request = AccountsGetRequest(access_token=access_token)
        return self.transport.call("/accounts/get", request, _ACCOUNTS_SECONDS, parse_account_list)

    def refresh(self, access_token: str) -> str:
        """See `PlaidItemCalls`."""
        request = TransactionsRefreshRequest(access_token=access_token)
        return self.transport.call("/transactions/refresh", request, _REFRESH_SECONDS, request_id_of)

    def invalidate_access_token(self, access_token: str) -> RotatedToken:
        """See `PlaidItemCalls`. Never retried here: the old token works once."""
        request = ItemAccessTokenInvalidateRequest(access_token=access_token)
        return self.transport.call("/item/access_token/invalidate", request, _INVALIDATE_SECONDS, parse_rotated_token)

    def set_webhook(self, access_token: str, url: str | None) -> str:
        """See `PlaidItemCalls`."""
        request = ItemWebhookUpdateRequest(access_token=access_token, webhook=url)
        return self.transport.call("/item/webhook/update", request, _WEBHOOK_SECONDS, request_id_of)


@dataclass(frozen=True, slots=True)
class PlaidTransactionsClient:
    """Pulls transactions; implements `PlaidTransactions`."""

    transport: PlaidTransport
    options: PullOptions = DEFAULT_OPTIONS

    def sync_page(self, access_token: str, cursor: Cursor | None, days_requested: int | None) -> Page:
        """See `PlaidTransactions`."""
        request = TransactionsSyncRequest(access_token=access_token, count=PAGE_SIZE)
        fields: dict[str, Any] = {}
        if cursor is not None:
            request.cursor = cursor
        elif days_requested is not None:
            fields["days_requested"] = days_requested
        if self.options.original_description:
            fields["include_original_description"] = True
        if self.options.category_version:
            version = PersonalFinanceCategoryVersion(self.options.category_version)
            fields["personal_finance_category_version"] = version
        if fields:
            request.options = TransactionsSyncRequestOptions(**fields)
        return self.transport.call("/transactions/sync", request, _SYNC_SECONDS, parse_page)
