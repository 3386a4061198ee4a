"""Plaid's own fields of a link token that a caller may set: names, types and words of /link/token/create.

The table is held against plaid-python's models by a test; to import them would cost a cold start more than all else. A
field that is not in it is refused by name: the stack sets it (`webhook`, `access_token`), or has no use for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from plaid_sync.domain.errors import InvalidRequestError
from plaid_sync.domain.item import MAX_HISTORY_DAYS
from plaid_sync.domain.requests import (
    optional_choice,
    optional_choices,
    optional_flag,
    optional_int,
    optional_text,
    require_object,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

PRODUCTS: Final = (
    "transactions",
    "assets",
    "auth",
    "identity",
    "investments",
    "liabilities",
    "signal",
    "statements",
    "transfer",
)
"""Those that can be requested together in Link (https://plaid.com/docs/link/initializing-products/)."""
# fmt: off
COUNTRIES: Final = (
    "US", "GB", "ES", "NL", "FR", "IE", "CA", "DE", "IT", "PL", "DK", "NO", "SE", "EE", "LT", "LV", "PT", "BE", "AT",
    "FI",
)
LANGUAGES: Final = (
    "en", "da", "de", "es", "et", "fr", "hi", "it", "lt", "lv", "nl", "no", "pl", "pt", "ro", "sv", "vi",
)
# fmt: on
MAX_URI_LENGTH: Final = 2048
_MAX_TEXT_LENGTH: Final = 256
_MAX_LIFETIME_SECONDS: Final = 21 * 24 * 3600
Kind = Literal["text", "flag", "number", "words", "texts", "group"]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of Plaid's.

    Attributes:
        kind: its type; `words` is a list out of `choices`, `texts` a list of any texts.
        choices: the words that it can have; empty for any.
        maximum: of a number, or of the length of a text.
        members: of a group, by name.
    """

    kind: Kind
    choices: tuple[str, ...] = ()
    maximum: int = _MAX_TEXT_LENGTH
    members: Mapping[str, Field] = field(default_factory=dict)


_TEXT: Final = Field("text")
_FLAG: Final = Field("flag")
_PRODUCTS: Final = Field("words", PRODUCTS)
_SUBTYPES: Final = Field("group", members={"account_subtypes": Field("texts")})
FIELDS: Final[Mapping[str, Field]] = {
    "products": _PRODUCTS,
    "required_if_supported_products": _PRODUCTS,
    "optional_products": _PRODUCTS,
    "additional_consented_products": _PRODUCTS,
    "country_codes": Field("words", COUNTRIES),
    "language": Field("text", LANGUAGES),
    "redirect_uri": Field("text", maximum=MAX_URI_LENGTH),
    "android_package_name": _TEXT,
    "link_customization_name": _TEXT,
    "user_id": _TEXT,
    "enable_multi_item_link": _FLAG,
    "user": Field(
        "group",
        members={
            "legal_name": _TEXT,
            "name": Field("group", members={"given_name": _TEXT, "family_name": _TEXT}),
            "phone_number": _TEXT,
            "phone_number_verified_time": _TEXT,
            "email_address": _TEXT,
            "email_address_verified_time": _TEXT,
            "date_of_birth": _TEXT,
            "address": Field(
                "group",
                members=dict.fromkeys(("street", "street2", "city", "region", "postal_code", "country"), _TEXT),
            ),
            "id_number": Field("group", members={"value": _TEXT, "type": _TEXT}),
        },
    ),
    "account_filters": Field(
        "group", members=dict.fromkeys(("depository", "credit", "loan", "investment", "other"), _SUBTYPES)
    ),
    "hosted_link": Field(
        "group",
        members={
            "delivery_method": Field("text", ("sms", "email")),
            "completion_redirect_uri": Field("text", maximum=MAX_URI_LENGTH),
            "url_lifetime_seconds": Field("number", maximum=_MAX_LIFETIME_SECONDS),
            "is_mobile_app": _FLAG,
        },
    ),
    "update": Field("group", members={"account_selection_enabled": _FLAG, "reauthorization_enabled": _FLAG}),
    "transactions": Field("group", members={"days_requested": Field("number", maximum=MAX_HISTORY_DAYS)}),
}


def check_fields(given: Mapping[str, Any], fields: Mapping[str, Field] = FIELDS, path: str = "") -> dict[str, Any]:
    """Return those of the given members that are Plaid's fields, checked, in Plaid's form.

    Raises:
        InvalidRequestError: one is invalid; it names the field by its path and the fix.
    """
    return {name: _check(given, name, form, f"{path}{name}") for name, form in fields.items() if name in given}


def _check(given: Mapping[str, Any], name: str, form: Field, path: str) -> Any:  # noqa: ANN401 - Plaid's value
    member = {path: given[name]}
    match form.kind:
        case "text":
            return optional_choice(member, path, form.choices) if form.choices else _text(member, path, form.maximum)
        case "flag":
            return optional_flag(member, path)
        case "number":
            return optional_int(member, path, 1, form.maximum)
        case "words":
            return list(optional_choices(member, path, form.choices, ""))
        case "texts":
            return _texts(member[path], path)
    group = member[path]
    if not isinstance(group, dict):
        raise InvalidRequestError(path, f"send an object, such as {{}}, with any of {', '.join(form.members)}")
    unknown = sorted(set(group) - set(form.members))
    if unknown:
        raise InvalidRequestError(path, f"has other members than {', '.join(form.members)}: leave them out")
    return check_fields(require_object(group, form.members, "{}"), form.members, f"{path}.")


def _text(member: Mapping[str, Any], path: str, maximum: int) -> str | None:
    return optional_text(member, path, maximum)


def _texts(value: object, path: str) -> list[str]:
    if not isinstance(value, list) or not value:
        raise InvalidRequestError(path, "send a list of one or more texts")
    return [str(optional_text({path: entry}, path, _MAX_TEXT_LENGTH)) for entry in value]
