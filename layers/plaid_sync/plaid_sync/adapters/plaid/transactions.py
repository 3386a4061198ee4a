"""Plaid's /transactions/sync."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from plaid.model.transactions_sync_request import TransactionsSyncRequest
from plaid.model.transactions_sync_request_options import TransactionsSyncRequestOptions

from plaid_sync.core.sync.pages import Page, parse_page

if TYPE_CHECKING:
    from plaid_sync.adapters.plaid.transport import PlaidTransport
    from plaid_sync.core.items import Cursor

PAGE_SIZE: Final = 500
"""Most that Plaid gives; fewer pages make a mutation between them rarer."""
_SYNC_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class PlaidTransactionsClient:
    """Pulls transactions; fulfils `PlaidTransactions`."""

    transport: PlaidTransport

    def sync_page(self, access_token: str, cursor: Cursor | None, days_requested: int | None) -> Page:
        """See `ports.sync.PlaidTransactions`."""
        request = TransactionsSyncRequest(access_token=access_token, count=PAGE_SIZE)
        if cursor is not None:
            request.cursor = cursor
        elif days_requested is not None:
            request.options = TransactionsSyncRequestOptions(days_requested=days_requested)
        return self.transport.call("/transactions/sync", request, _SYNC_SECONDS, parse_page)
