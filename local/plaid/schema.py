"""Which fields each endpoint recognises: Plaid refuses a body with any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local.plaid.errors import PlaidError

if TYPE_CHECKING:
    from local.plaid.wire import JsonObject

_CREDENTIALS = {"client_id", "secret"}
# /link/token/create is absent: it takes several dozen fields, of which this server reads a few.
_FIELDS: dict[str, set[str]] = {
    "/accounts/get": {"access_token", "options"},
    "/item/access_token/invalidate": {"access_token"},
    "/item/get": {"access_token"},
    "/item/public_token/exchange": {"public_token"},
    "/item/remove": {"access_token", "reason_code", "reason_note"},
    "/item/webhook/update": {"access_token", "webhook"},
    "/link/token/get": {"link_token"},
    "/sandbox/item/fire_webhook": {"access_token", "webhook_type", "webhook_code", "options"},
    "/sandbox/item/reset_login": {"access_token"},
    "/sandbox/public_token/create": {"institution_id", "initial_products", "options", "user_token", "user_id"},
    "/sandbox/transactions/create": {"access_token", "transactions"},
    "/transactions/refresh": {"access_token"},
    "/transactions/sync": {"access_token", "cursor", "count", "options"},
    "/webhook_verification_key/get": {"key_id"},
}


def check(endpoint: str, body: JsonObject) -> None:
    """Refuse a body with unknown fields.

    Raises:
        PlaidError: naming them.
    """
    known = _FIELDS.get(endpoint)
    unknown = set() if known is None else body.keys() - known - _CREDENTIALS
    if unknown:
        raise PlaidError("UNKNOWN_FIELDS", fields=", ".join(sorted(unknown)))
