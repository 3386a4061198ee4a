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
    optional_flag,
    optional_int,
    optional_text,
    optional_token,
    reject_unknown,
    require_object,
)
from plaid_sync.linking.link_token_fields import FIELDS, check_fields

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_CLIENT_NAME_LENGTH: Final = 30
"""Link shows "This Application" in place of a longer one (https://plaid.com/docs/api/link/#linktokencreate)."""
_LINK_FIELDS: Final = ("public_token", "link_token", "client_user_id", "days_requested")
_TOKEN_FIELDS: Final = (
    *("client_user_id", "item_id", "days_requested", "account_selection", "client_name"),
    *("replace", "replaced_transactions"),
    *FIELDS,
)
_PRODUCT_LISTS: Final = (
    "products",
    "required_if_supported_products",
    "optional_products",
    "additional_consented_products",
)
_TRANSACTIONS: Final = "transactions"
_NOT_IN_UPDATE_MODE: Final = (
    "required_if_supported_products",
    "optional_products",
    "days_requested",
    "transactions",
    "enable_multi_item_link",
    "replace",
    "replaced_transactions",
)
_ADDED_IN_UPDATE_MODE: Final = frozenset({"assets", "statements"})
"""Products that Link adds in update mode by `products`; for others the user gives consent there."""


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
        client_name: None for the stack's own.
        fields: Plaid's own fields, in Plaid's form.
        replace: the Item that the new one replaces.
        erase: whether the replaced Item's transactions are erased.
    """

    client_user_id: str | None
    item_id: ItemId | None
    client_name: str | None
    fields: Mapping[str, Any] = field(repr=False)
    replace: ItemId | None = None
    erase: bool = False

    @property
    def days_requested(self) -> int | None:
        """Days of history, 1 to 730; None in update mode."""
        days: int | None = self.fields.get("transactions", {}).get("days_requested")
        return days

    @property
    def hosted(self) -> bool:
        """Whether Plaid hosts Link."""
        return "hosted_link" in self.fields

    @property
    def multi_item(self) -> bool:
        """Whether the user can link several Items."""
        return bool(self.fields.get("enable_multi_item_link", False))


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


def parse_link_token_request(body: object, *, sandbox: bool = False) -> LinkTokenRequest:
    """Validate the parsed body of a request to create a link token.

    Args:
        body: the body.
        sandbox: Plaid's sandbox takes redirect addresses without TLS.

    Raises:
        InvalidRequestError: a field is invalid; it names the field and the fix.
    """
    given = require_object(body, _TOKEN_FIELDS, '{"client_user_id": "..."}')
    item_id, client_user_id = _item_id(given, "item_id"), optional_text(given, "client_user_id", MAX_USER_ID_LENGTH)
    fields = check_fields(given)
    if item_id is None:
        _check_new_link(given, client_user_id)
        fields |= _products(fields)
        fields["transactions"] = {"days_requested": _days_requested(given, fields)}
    else:
        _check_update_mode(given, fields)
    if optional_flag(given, "account_selection"):
        fields["update"] = fields.get("update", {}) | {"account_selection_enabled": True}
    _check_addresses(fields, sandbox=sandbox)
    if "user_id" in fields and "user" in fields:
        raise InvalidRequestError("user", "Plaid takes one of user and user_id: leave one out")
    defaults: dict[str, Any] = {"country_codes": ["US"], "language": "en"}
    client_name = optional_text(given, "client_name", MAX_CLIENT_NAME_LENGTH)
    replace, erase = _replacement(given)
    return LinkTokenRequest(client_user_id, item_id, client_name, defaults | fields, replace, erase)


def _replacement(given: Mapping[str, Any]) -> tuple[ItemId | None, bool]:
    """Return the Item to replace, and whether its transactions are erased."""
    replace = _item_id(given, "replace")
    choice = optional_choice(given, "replaced_transactions", ("keep", "erase"))
    if replace is None:
        if choice is not None:
            raise InvalidRequestError("replaced_transactions", "requires replace: leave it out")
    elif given.get("enable_multi_item_link"):
        raise InvalidRequestError("replace", "one new Item replaces another: leave enable_multi_item_link out")
    return replace, choice == "erase"


def _check_new_link(given: Mapping[str, Any], client_user_id: str | None) -> None:
    if client_user_id is None:
        raise InvalidRequestError("client_user_id", "send your reference of the user, 1 to 128 characters")
    for name in ("account_selection", "update"):
        if name in given:
            raise InvalidRequestError(name, "requires item_id (update mode): leave it out")


def _check_update_mode(given: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
    for name in _NOT_IN_UPDATE_MODE:
        if name in given:
            raise InvalidRequestError(name, "cannot be changed in update mode: leave it out")
    if not _ADDED_IN_UPDATE_MODE.issuperset(fields.get("products", ())):
        fix = f"update mode adds {' and '.join(sorted(_ADDED_IN_UPDATE_MODE))} only"
        raise InvalidRequestError("products", f"{fix}: send others as additional_consented_products")


def _days_requested(given: Mapping[str, Any], fields: Mapping[str, Any]) -> int:
    days = optional_int(given, "days_requested", 1, MAX_HISTORY_DAYS)
    if days is not None and "transactions" in fields:
        raise InvalidRequestError("days_requested", "is transactions.days_requested, too: leave one out")
    return days or fields.get("transactions", {}).get("days_requested") or MAX_HISTORY_DAYS


def _products(fields: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the lists of products: Transactions is in one of them, and `products` is never empty."""
    lists = {name: list(fields[name]) for name in _PRODUCT_LISTS if name in fields}
    seen: set[str] = set()
    for name, products in lists.items():
        if not seen.isdisjoint(products):
            raise InvalidRequestError(name, "has a product that another list has: name each once")
        seen.update(products)
    if "products" not in lists:
        if _TRANSACTIONS in seen:
            raise InvalidRequestError("products", "send at least one product, or leave transactions out of the others")
        return lists | {"products": [_TRANSACTIONS]}
    if _TRANSACTIONS in seen:
        return lists
    # Without the user's consent the stack could never sync the Item.
    return lists | {"additional_consented_products": [*lists.get("additional_consented_products", []), _TRANSACTIONS]}


def _check_addresses(fields: Mapping[str, Any], *, sandbox: bool) -> None:
    uri = fields.get("redirect_uri")
    if uri is None:
        return
    if "android_package_name" in fields:
        raise InvalidRequestError("redirect_uri", "Plaid takes no redirect_uri for Android: leave one out")
    schemes = ("https", "http") if sandbox else ("https",)
    try:
        parts = urlsplit(uri)
        usable = parts.scheme in schemes and bool(parts.hostname) and "?" not in uri and "#" not in uri
    except ValueError:
        usable = False
    if not usable or not uri.isascii() or " " in uri:
        raise InvalidRequestError("redirect_uri", "send an https:// address without a query, as registered with Plaid")


def _item_id(fields: Mapping[str, Any], name: str) -> ItemId | None:
    if name not in fields:
        return None
    if not is_item_id(fields[name]):
        raise InvalidRequestError(name, "send the item_id of an Item")
    return ItemId(str(fields[name]))
