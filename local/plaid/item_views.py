"""The object of an Item in responses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local.plaid.sample_data import institution_name
from local.plaid.wire import JsonObject, optional_timestamp

if TYPE_CHECKING:
    from local.plaid.items import Item


def item_object(item: Item) -> JsonObject:
    return {
        "auth_method": None,
        "available_products": ["balance"],
        "billed_products": list(item.options.products),
        "consent_expiration_time": optional_timestamp(item.consent_expiration_time),
        "error": item.error.webhook_body() if item.error else None,
        "institution_id": item.options.institution_id,
        "institution_name": institution_name(item.options.institution_id),
        "item_id": item.item_id,
        "products": list(item.options.products),
        "update_type": "background",
        "webhook": item.webhook_url,
    }
