"""API calls and the validation of their fields: each error names the field, as Plaid's do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, TypeVar

from local.plaid.errors import PlaidError
from local.plaid.wire import JsonObject

if TYPE_CHECKING:
    from local.plaid.items import Item
    from local.plaid.simulator import PlaidSimulator

_Text = TypeVar("_Text", bound=str)
Check = Callable[[JsonObject, str], object]
# The fields of an object: for each one the check of its value, or the fields of the object that it is.
Fields = Mapping[str, "Check | Fields"]


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated call: the request body, and the Item of its access token."""

    sim: PlaidSimulator
    body: JsonObject
    item: Item | None = None

    @property
    def required_item(self) -> Item:
        """The Item, for endpoints that require an access token."""
        if self.item is None:
            raise PlaidError("MISSING_FIELDS", fields="access_token")
        return self.item

    @property
    def healthy_item(self) -> Item:
        """The Item, for endpoints that do not serve an Item in an error state."""
        if (error := self.required_item.error) is not None:
            raise error
        return self.required_item


def check(body: JsonObject, known: Fields, path: str = "") -> None:
    """Reject unknown fields, at any depth, and values of a wrong type; null counts as absent."""
    unknown = sorted(path + name for name in body.keys() - known.keys())
    if unknown:
        raise PlaidError("UNKNOWN_FIELDS", fields=", ".join(unknown))
    for name in body:
        expected = known[name]
        if body[name] is None:
            continue
        if isinstance(expected, Mapping):
            check(mapping(body, name), expected, f"{path}{name}.")
        else:
            expected(body, name)


def require(body: JsonObject, *names: str) -> None:
    """Reject a body in which one of these fields is absent or null."""
    missing = [name for name in names if body.get(name) is None]
    if missing:
        raise PlaidError("MISSING_FIELDS", fields=", ".join(missing))


def text(body: JsonObject, name: str) -> str:
    require(body, name)
    value = body[name]
    if not isinstance(value, str) or not value:
        raise PlaidError("INVALID_FIELD", detail=f"{name} must be a properly formatted, non-empty string")
    return value


def optional_text(body: JsonObject, name: str) -> str | None:
    value = body.get(name)
    if value is None or value == "":
        return None
    return text(body, name)


def integer(body: JsonObject, name: str, low: int, high: int) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise PlaidError("INVALID_FIELD", detail=f"{name} must be an integer between {low} and {high}, inclusive")
    return value


def mapping(body: JsonObject, name: str, *, nullable: bool = True) -> JsonObject:
    value: Any = body.get(name, {})
    if value is None and nullable:
        return {}
    if not isinstance(value, dict):
        raise PlaidError("INVALID_FIELD", detail=f"{name} must be an object")
    return value


def anything(body: JsonObject, name: str) -> object:
    return body[name]


def between(low: int, high: int) -> Check:
    return lambda body, name: integer(body, name, low, high)


def one_of(*allowed: str) -> Check:
    return lambda body, name: choice(body, name, allowed)


def many_of(*allowed: str) -> Check:
    """Check an array of such values, which may be empty."""

    def check_entries(body: JsonObject, name: str) -> object:
        values = optional_texts(body, name)
        if not set(values) <= set(allowed):
            raise PlaidError("INVALID_FIELD", detail=f"{name} must contain only: {', '.join(allowed)}")
        return values

    return check_entries


def choice(body: JsonObject, name: str, allowed: tuple[_Text, ...], *, required: bool = False) -> _Text:
    """Return one of the allowed values, by default the first."""
    if required:
        require(body, name)
    value = body.get(name) or allowed[0]
    if value not in allowed:
        raise PlaidError("INVALID_FIELD", detail=f"{name} must be one of: {', '.join(allowed)}")
    return allowed[allowed.index(value)]


def day(body: JsonObject, name: str) -> date:
    try:
        return date.fromisoformat(text(body, name))
    except ValueError as error:
        raise PlaidError("INVALID_FIELD", detail=f"{name} must be a date in the form YYYY-MM-DD") from error


def texts(body: JsonObject, name: str) -> tuple[str, ...]:
    require(body, name)
    values = optional_texts(body, name)
    if not values:
        raise PlaidError("INVALID_FIELD", detail=f"{name} must be a non-empty array of strings")
    return values


def optional_texts(body: JsonObject, name: str) -> tuple[str, ...]:
    value: Any = body.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(entry, str) and entry for entry in value):
        raise PlaidError("INVALID_FIELD", detail=f"{name} must be an array of non-empty strings")
    return tuple(value)


def url(body: JsonObject, name: str) -> str | None:
    value = optional_text(body, name)
    if value is not None and not value.startswith(("http://", "https://")):
        raise PlaidError("INVALID_FIELD", detail=f"{name} must be a valid URL")
    return value


def flag(body: JsonObject, name: str, *, default: bool = False) -> bool:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise PlaidError("INVALID_FIELD", detail=f"{name} must be a boolean")
    return value
