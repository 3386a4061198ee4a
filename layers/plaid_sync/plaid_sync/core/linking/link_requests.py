"""What `POST /link-tokens` and `POST /items` ask for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from plaid_sync.core.items import MAXIMUM_HISTORY_DAYS, ItemId
from plaid_sync.core.items_api.requests import (
    LONGEST_USER_ID,
    InvalidRequestError,
    choice,
    choices_of,
    erases,
    flag,
    parse_object,
    refuse_unknown,
    text,
    token,
    whole,
)
from plaid_sync.core.triggers import is_item_id

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_CLIENT_NAME: Final = 30
"""Link shows "This Application" in place of a longer one (https://plaid.com/docs/api/link/#linktokencreate)."""
LONGEST_REDIRECT_URI: Final = 2048
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
"""Those that Link can be asked for together (https://plaid.com/docs/link/initializing-products/)."""
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
    """`POST /items`.

    Attributes:
        public_token: None with Hosted Link: the session's only one.
        link_token: proves for whom the public token was made.
        days_requested: how many days of history to ask for, 1 to 730; None for the session's, or all.
        replace: the Item in whose place the new one is put.
        erase: whether the replaced Item's transactions are erased.
    """

    public_token: str | None = field(default=None, repr=False)
    link_token: str | None = field(default=None, repr=False)
    client_user_id: str | None = None
    days_requested: int | None = None
    replace: ItemId | None = None
    erase: bool = False


@dataclass(frozen=True, slots=True)
class LinkTokenRequest:
    """`POST /link-tokens`.

    Attributes:
        client_user_id: the caller's reference of the user; None where that of the Item is meant.
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


def link_id_of(public_token: str) -> str:
    """Return the digest that an Item is found by when the same public token comes again."""
    return hashlib.sha256(public_token.encode()).hexdigest()


def parse_link_request(body: object, query: Mapping[str, str] | None = None) -> LinkRequest:
    """Check the parsed body and the query of `POST /items`.

    Raises:
        InvalidRequestError: it names the field and the fix.
    """
    query = query or {}
    fields = parse_object(body, _LINK_FIELDS, '{"public_token": "public-..."}')
    refuse_unknown(query, ("replace", "transactions"), "query parameter")
    request = LinkRequest(
        public_token=token(fields, "public_token", "public-"),
        link_token=token(fields, "link_token", "link-"),
        client_user_id=text(fields, "client_user_id", LONGEST_USER_ID),
        days_requested=whole(fields, "days_requested", 1, MAXIMUM_HISTORY_DAYS),
        replace=_item_id(query, "replace"),
        erase=erases(query),
    )
    _check_session(request)
    if "transactions" in query and request.replace is None:
        raise InvalidRequestError("transactions", "goes with replace: leave it out")
    return request


def _check_session(request: LinkRequest) -> None:
    if request.link_token is not None:
        if request.client_user_id is None:
            raise InvalidRequestError("client_user_id", "send the one that the link token was made for")
        return
    if request.public_token is None:
        raise InvalidRequestError("public_token", "send the public token that Link gave, public-..., or a link_token")
    for name, value in (("client_user_id", request.client_user_id), ("replace", request.replace)):
        if value is not None:
            raise InvalidRequestError(name, "goes with the link_token, whose session proves the user: send that, too")


def parse_link_token_request(body: object) -> LinkTokenRequest:
    """Check the parsed body of `POST /link-tokens`.

    Raises:
        InvalidRequestError: it names the field and the fix.
    """
    fields = parse_object(body, _TOKEN_FIELDS, '{"client_user_id": "..."}')
    item_id, client_user_id = _item_id(fields, "item_id"), text(fields, "client_user_id", LONGEST_USER_ID)
    _check_mode(fields, item_id, client_user_id)
    days = whole(fields, "days_requested", 1, MAXIMUM_HISTORY_DAYS)
    return LinkTokenRequest(
        client_user_id=client_user_id,
        item_id=item_id,
        products=() if item_id else choices_of(fields, "products", PRODUCTS, "transactions"),
        country_codes=choices_of(fields, "country_codes", COUNTRIES, "US"),
        language=choice(fields, "language", LANGUAGES) or "en",
        days_requested=None if item_id else days or MAXIMUM_HISTORY_DAYS,
        redirect_uri=_redirect_uri(fields),
        hosted_link=flag(fields, "hosted_link"),
        account_selection=flag(fields, "account_selection"),
        client_name=text(fields, "client_name", LONGEST_CLIENT_NAME),
    )


def _check_mode(fields: Mapping[str, Any], item_id: ItemId | None, client_user_id: str | None) -> None:
    if item_id is None:
        if client_user_id is None:
            raise InvalidRequestError("client_user_id", "send your reference of the user, 1 to 128 characters")
        if "account_selection" in fields:
            raise InvalidRequestError("account_selection", "goes with item_id (update mode): leave it out")
        return
    for name in _NOT_IN_UPDATE_MODE:
        if name in fields:
            raise InvalidRequestError(name, "can't be changed in update mode: leave it out")


def _item_id(fields: Mapping[str, Any], name: str) -> ItemId | None:
    if name not in fields:
        return None
    if not is_item_id(fields[name]):
        raise InvalidRequestError(name, "send the item_id of an Item")
    return ItemId(str(fields[name]))


def _redirect_uri(fields: Mapping[str, Any]) -> str | None:
    uri = text(fields, "redirect_uri", LONGEST_REDIRECT_URI)
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
