"""The requests to create a link token and to link an Item."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from plaid_sync.domain.errors import InvalidRequestError
from plaid_sync.domain.item import MAX_HISTORY_DAYS, ItemId
from plaid_sync.domain.messages import is_item_id
from plaid_sync.domain.requests import (
    MAX_USER_ID_LENGTH,
    erase_requested,
    optional_choice,
    optional_choices,
    optional_flag,
    optional_int,
    optional_text,
    optional_token,
    reject_unknown,
    require_object,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_CLIENT_NAME_LENGTH: Final = 30
"""Link shows "This Application" in place of a longer one (https://plaid.com/docs/api/link/#linktokencreate)."""
MAX_REDIRECT_URI_LENGTH: Final = 2048
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
_LINK_FIELDS: Final = ("public_token", "link_token", "client_user_id", "days_requested")
_TOKEN_FIELDS: Final = (
    "client_user_id",
    "item_id",
    "products",
    "country_codes",
    "language",
    "days_requested",
    "redirect_uri",
    "hosted_link",
    "account_selection",
    "client_name",
)
_NOT_IN_UPDATE_MODE: Final = ("products", "days_requested")


@dataclass(frozen=True, slots=True)
class LinkRequest:
    """A request to link an Item.

    Attributes:
        public_token: None with Hosted Link: the session's only one.
        link_token: proves for which user the public token was created.
        days_requested: days of history to request, 1 to 730; None for the session's, or all.
        replace: the Item that the new one replaces.
        erase: whether the replaced Item's transactions are erased.
        proven: Plaid's own webhook names the public token as this session's.
    """

    public_token: str | None = field(default=None, repr=False)
    link_token: str | None = field(default=None, repr=False)
    client_user_id: str | None = None
    days_requested: int | None = None
    replace: ItemId | None = None
    erase: bool = False
    proven: bool = False


@dataclass(frozen=True, slots=True)
class LinkTokenRequest:
    """A request to create a link token.

    Attributes:
        client_user_id: the caller's reference of the user; None for the Item's.
        item_id: set for update mode.
        days_requested: days of history, 1 to 730; None in update mode.
        account_selection: in update mode, let the user choose accounts again.
        client_name: None for the stack's own.
    """

    client_user_id: str | None
    item_id: ItemId | None
    products: tuple[str, ...]
    country_codes: tuple[str, ...]
    language: str
    days_requested: int | None
    redirect_uri: str | None
    hosted_link: bool
    account_selection: bool
    client_name: str | None


@dataclass(frozen=True, slots=True)
class LinkTokenParameters:
    """The parameters of /link/token/create.

    Attributes:
        access_token: the Item's, for update mode.
    """

    request: LinkTokenRequest
    client_user_id: str
    client_name: str
    webhook_url: str
    access_token: str | None = field(default=None, repr=False)


def parse_link_request(body: object, query: Mapping[str, str] | None = None) -> LinkRequest:
    """Validate the parsed body and the query of a request to link an Item.

    Raises:
        InvalidRequestError: a field is invalid; it names the field and the fix.
    """
    query = query or {}
    fields = require_object(body, _LINK_FIELDS, '{"public_token": "public-..."}')
    reject_unknown(query, ("replace", "transactions"), "query parameter")
    request = LinkRequest(
        public_token=optional_token(fields, "public_token", "public-"),
        link_token=optional_token(fields, "link_token", "link-"),
        client_user_id=optional_text(fields, "client_user_id", MAX_USER_ID_LENGTH),
        days_requested=optional_int(fields, "days_requested", 1, MAX_HISTORY_DAYS),
        replace=_item_id(query, "replace"),
        erase=erase_requested(query),
    )
    _check_session(request)
    if "transactions" in query and request.replace is None:
        raise InvalidRequestError("transactions", "requires replace: leave it out")
    return request


def _check_session(request: LinkRequest) -> None:
    if request.link_token is not None:
        if request.client_user_id is None:
            raise InvalidRequestError("client_user_id", "send the one that the link token was created for")
        return
    if request.public_token is None:
        raise InvalidRequestError(
            "public_token", "send the public token that Link returned, public-..., or a link_token"
        )
    for name, value in (("client_user_id", request.client_user_id), ("replace", request.replace)):
        if value is not None:
            raise InvalidRequestError(name, "requires the link_token, whose session proves the user: send both")


def parse_link_token_request(body: object) -> LinkTokenRequest:
    """Validate the parsed body of a request to create a link token.

    Raises:
        InvalidRequestError: a field is invalid; it names the field and the fix.
    """
    fields = require_object(body, _TOKEN_FIELDS, '{"client_user_id": "..."}')
    item_id, client_user_id = _item_id(fields, "item_id"), optional_text(fields, "client_user_id", MAX_USER_ID_LENGTH)
    _check_mode(fields, item_id, client_user_id)
    days = optional_int(fields, "days_requested", 1, MAX_HISTORY_DAYS)
    return LinkTokenRequest(
        client_user_id=client_user_id,
        item_id=item_id,
        products=() if item_id else optional_choices(fields, "products", PRODUCTS, "transactions"),
        country_codes=optional_choices(fields, "country_codes", COUNTRIES, "US"),
        language=optional_choice(fields, "language", LANGUAGES) or "en",
        days_requested=None if item_id else days or MAX_HISTORY_DAYS,
        redirect_uri=_redirect_uri(fields),
        hosted_link=optional_flag(fields, "hosted_link"),
        account_selection=optional_flag(fields, "account_selection"),
        client_name=optional_text(fields, "client_name", MAX_CLIENT_NAME_LENGTH),
    )


def _check_mode(fields: Mapping[str, Any], item_id: ItemId | None, client_user_id: str | None) -> None:
    if item_id is None:
        if client_user_id is None:
            raise InvalidRequestError("client_user_id", "send your reference of the user, 1 to 128 characters")
        if "account_selection" in fields:
            raise InvalidRequestError("account_selection", "requires item_id (update mode): leave it out")
        return
    for name in _NOT_IN_UPDATE_MODE:
        if name in fields:
            raise InvalidRequestError(name, "cannot be changed in update mode: leave it out")


def _item_id(fields: Mapping[str, Any], name: str) -> ItemId | None:
    if name not in fields:
        return None
    if not is_item_id(fields[name]):
        raise InvalidRequestError(name, "send the item_id of an Item")
    return ItemId(str(fields[name]))


def _redirect_uri(fields: Mapping[str, Any]) -> str | None:
    uri = optional_text(fields, "redirect_uri", MAX_REDIRECT_URI_LENGTH)
    if uri is None:
        return None
    try:
        parts = urlsplit(uri)
        usable = parts.scheme == "https" and bool(parts.hostname) and "?" not in uri and "#" not in uri
    except ValueError:
        usable = False
    if not usable or not uri.isascii() or " " in uri:
        raise InvalidRequestError("redirect_uri", "send an https:// address without a query, as registered with Plaid")
    return uri
