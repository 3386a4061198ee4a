"""The endpoints of institutions. Any id like `ins_123` is an institution, which supports every product."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from local.plaid import request_fields as fields
from local.plaid.errors import PlaidError
from local.plaid.sample_data import COUNTRY_CODES, INSTITUTIONS, OAUTH_INSTITUTIONS, PRODUCTS, institution_name
from local.plaid.wire import JsonObject, timestamp

if TYPE_CHECKING:
    from local.plaid.request_fields import Call

_ID = re.compile(r"ins_\d+")
_COUNTRIES = fields.many_of(*COUNTRY_CODES)
_OPTIONS: fields.Fields = dict.fromkeys(
    ("include_auth_metadata", "include_optional_metadata", "include_payment_initiation_metadata"), fields.flag
)
GET_FIELDS: fields.Fields = {
    "count": fields.between(1, 500),
    "country_codes": _COUNTRIES,
    "offset": fields.between(0, 2**31),
    "options": {
        **_OPTIONS,
        "oauth": fields.flag,
        "products": fields.many_of(*PRODUCTS),
        "routing_numbers": fields.optional_texts,
    },
}
GET_BY_ID_FIELDS: fields.Fields = {
    "country_codes": _COUNTRIES,
    "institution_id": fields.text,
    "options": {**_OPTIONS, "include_status": fields.flag},
}


def check_institution_id(institution_id: str) -> str:
    if not _ID.fullmatch(institution_id):
        raise PlaidError("INVALID_INSTITUTION")
    return institution_id


def institutions_get(call: Call) -> JsonObject:
    fields.require(call.body, "count", "offset")
    options = fields.mapping(call.body, "options")
    in_country = "US" in fields.texts(call.body, "country_codes")
    oauth = options.get("oauth")
    listed = [
        _institution(institution_id, options)
        for institution_id in INSTITUTIONS
        if in_country and oauth in (None, institution_id in OAUTH_INSTITUTIONS)
    ]
    offset = fields.integer(call.body, "offset", 0, 2**31) or 0
    count = fields.integer(call.body, "count", 1, 500) or 1
    return {"institutions": listed[offset : offset + count], "total": len(listed)}


def institution_get(call: Call) -> JsonObject:
    fields.texts(call.body, "country_codes")
    institution_id = check_institution_id(fields.text(call.body, "institution_id"))
    options = fields.mapping(call.body, "options")
    institution = _institution(institution_id, options)
    if fields.flag(options, "include_status"):
        moment = timestamp(call.sim.clock())
        breakdown = {"error_institution": 0, "error_plaid": 0, "refresh_interval": "NORMAL", "success": 1}
        health = {"breakdown": breakdown, "last_status_change": moment, "status": "HEALTHY"}
        institution["status"] = {"item_logins": health, "transactions_updates": health}
    return {"institution": institution}


def _institution(institution_id: str, options: JsonObject) -> JsonObject:
    shown = fields.flag(options, "include_optional_metadata")
    metadata = {"logo": None, "primary_color": "#1f1f1f", "url": f"https://{institution_id}.example"}
    return {
        "country_codes": ["US"],
        "dtc_numbers": [],
        "institution_id": institution_id,
        "name": institution_name(institution_id),
        "oauth": institution_id in OAUTH_INSTITUTIONS,
        "products": list(PRODUCTS),
        "routing_numbers": [],
        **(metadata if shown else {}),
    }
