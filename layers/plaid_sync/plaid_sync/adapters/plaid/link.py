"""Plaid's endpoints that lead to an Item: link tokens, what came of them, and the exchange of public tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plaid.model.country_code import CountryCode
from plaid.model.item_public_token_exchange_request import ItemPublicTokenExchangeRequest
from plaid.model.link_token_create_hosted_link import LinkTokenCreateHostedLink
from plaid.model.link_token_create_request import LinkTokenCreateRequest
from plaid.model.link_token_create_request_update import LinkTokenCreateRequestUpdate
from plaid.model.link_token_create_request_user import LinkTokenCreateRequestUser
from plaid.model.link_token_get_request import LinkTokenGetRequest
from plaid.model.link_token_transactions import LinkTokenTransactions
from plaid.model.products import Products

from plaid_sync.core.linking.link_sessions import LinkResults, parse_link_results
from plaid_sync.core.linking.plaid_answers import ExchangedItem, LinkToken, parse_exchange, parse_link_token

if TYPE_CHECKING:
    from plaid_sync.adapters.plaid.transport import PlaidTransport
    from plaid_sync.core.linking.link_tokens import LinkTokenOrder

_CREATE_SECONDS: Final = 10.0
_GET_SECONDS: Final = 5.0
_EXCHANGE_SECONDS: Final = 8.0


@dataclass(frozen=True, slots=True)
class PlaidLinkClient:
    """Calls around Link; fulfils `PlaidLink` and `PlaidLinkTokens`."""

    transport: PlaidTransport

    def create_link_token(self, order: LinkTokenOrder) -> LinkToken:
        """See `ports.items_api.PlaidLinkTokens`."""
        request = LinkTokenCreateRequest(**_fields(order))
        return self.transport.call("/link/token/create", request, _CREATE_SECONDS, parse_link_token)

    def link_results(self, link_token: str) -> LinkResults:
        """See `ports.items_api.PlaidLink`."""
        request = LinkTokenGetRequest(link_token=link_token)
        return self.transport.call("/link/token/get", request, _GET_SECONDS, parse_link_results)

    def exchange(self, public_token: str) -> ExchangedItem:
        """See `ports.items_api.PlaidLink`. Never repeated here: a public token works once."""
        request = ItemPublicTokenExchangeRequest(public_token=public_token)
        return self.transport.call("/item/public_token/exchange", request, _EXCHANGE_SECONDS, parse_exchange)


def _fields(order: LinkTokenOrder) -> dict[str, Any]:
    """Return the request's fields; what is absent must not be null."""
    request = order.request
    fields: dict[str, Any] = {
        "client_name": order.client_name,
        "language": request.language,
        "country_codes": [CountryCode(code) for code in request.country_codes],
        "user": LinkTokenCreateRequestUser(client_user_id=order.client_user_id),
        "webhook": order.webhook_url,
        "redirect_uri": request.redirect_uri,
        "hosted_link": LinkTokenCreateHostedLink() if request.hosted_link else None,
        "access_token": order.access_token,
        "products": [Products(product) for product in request.products] or None,
        "update": LinkTokenCreateRequestUpdate(account_selection_enabled=True) if request.account_selection else None,
        "transactions": LinkTokenTransactions(days_requested=request.days_requested)
        if request.days_requested
        else None,
    }
    return {name: value for name, value in fields.items() if value is not None}
