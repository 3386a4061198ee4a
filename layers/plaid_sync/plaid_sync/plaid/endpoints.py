"""Plaid's endpoints of other products, whose responses are passed through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.domain import exact_json
from plaid_sync.domain.text import printable_or_empty
from plaid_sync.items_api.ports import PlaidResponse
from plaid_sync.plaid.responses import request_id_of

if TYPE_CHECKING:
    from plaid_sync.plaid.client import PlaidTransport

_SECONDS: Final = 22.0
"""API Gateway waits 30, of which the call budget may take five. Plaid takes up to 30 or more for fresh balances,
typically under 10 (https://plaid.com/docs/api/products/balance/#accountsbalanceget)."""


@dataclass(frozen=True, slots=True)
class PlaidEndpointsClient:
    """Calls endpoints by their path; implements `PlaidEndpoints`."""

    transport: PlaidTransport

    def call(self, endpoint: str, access_token: str, request: dict[str, Any]) -> PlaidResponse:
        """See `PlaidEndpoints`. Numbers are sent digit for digit."""
        body = exact_json.dumps(request | {"access_token": access_token}, ascii_only=True).encode()
        response, error = self.transport.forward(endpoint, body, _SECONDS)
        return PlaidResponse(
            status=response.status,
            body=response.data,
            content_type=printable_or_empty(response.headers.get("content-type")) or "application/octet-stream",
            request_id=request_id_of(response.data) if error is None else error.request_id,
            code=None if error is None else error.code,
            retry_after=printable_or_empty(response.headers.get("retry-after")),
        )
