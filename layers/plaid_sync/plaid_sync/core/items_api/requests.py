"""Requests to the Items API: what their parts must be, and how they are refused, by field and with the fix."""

from __future__ import annotations

import base64
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.core import exact_json
from plaid_sync.core.failures import PlaidSyncError
from plaid_sync.core.plain_text import is_plain

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

LONGEST_USER_ID: Final = 128
_LONGEST_TOKEN: Final = 512
_LONGEST_NEXT: Final = 2048
_LONGEST_NAME_SHOWN: Final = 64


class InvalidRequestError(PlaidSyncError):
    """The request can't be served as it is.

    Attributes:
        field: which part of it.
        fix: what to send instead.
    """

    def __init__(self, field_name: str, fix: str) -> None:
        super().__init__(f"{field_name}: {fix}")
        self.field = field_name
        self.fix = fix


class RefusedError(PlaidSyncError):
    """The request is understood, and can't be served as things stand.

    Attributes:
        status: the HTTP status that says why.
        code: a stable reason.
        members: what else the problem details name (RFC 9457, section 3.2): `fix` says what the caller can do, `field`
            which part of the request it is about.
        retry_after: seconds after which the same request may succeed.
    """

    def __init__(
        self, status: HTTPStatus, code: str, detail: str, members: Mapping[str, str], retry_after: int | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.members = members
        self.retry_after = retry_after


def item_not_found(field: str = "") -> RefusedError:
    """Return the refusal of an Item that does not exist, or not for this caller."""
    named = {"field": field} if field else {}
    return RefusedError(
        HTTPStatus.NOT_FOUND,
        "item_not_found",
        "there is no such Item",
        {"fix": "GET /items lists those that there are", **named},
    )


def parse_object(body: object, fields: Collection[str], example: str) -> dict[str, Any]:
    """Return a parsed body that is an object and has no other fields than these.

    Raises:
        InvalidRequestError: it names the field and the fix.
    """
    if not isinstance(body, dict):
        raise InvalidRequestError("body", f"send a JSON object, {example}")
    refuse_unknown(body, fields, "field")
    return body


def refuse_unknown(given: Mapping[str, Any], known: Collection[str], kind: str) -> None:
    """Refuse what this request does not have: a misspelt name is not passed over.

    Raises:
        InvalidRequestError: it names the first one.
    """
    unknown = sorted(set(given) - set(known))
    if unknown:
        name = str(unknown[0])[:_LONGEST_NAME_SHOWN].encode("ascii", "backslashreplace").decode() or "(no name)"
        raise InvalidRequestError(name, f"is not a {kind} of this request: leave it out")


def text(given: Mapping[str, Any], field: str, longest: int) -> str | None:
    """Return an optional text of 1 to `longest` printable characters."""
    value = given.get(field)
    if value is None and field not in given:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= longest or not value.isprintable():
        raise InvalidRequestError(field, f"send 1 to {longest} printable characters")
    return value


def token(given: Mapping[str, Any], field: str, prefix: str) -> str | None:
    """Return an optional token of Plaid's."""
    value = given.get(field)
    if value is None and field not in given:
        return None
    if not is_plain(value, _LONGEST_TOKEN) or not value.startswith(prefix):
        raise InvalidRequestError(field, f"send the {field.replace('_', ' ')} that Link gave, {prefix}...")
    return value


def flag(given: Mapping[str, Any], field: str) -> bool:
    """Return a boolean, false where it is absent."""
    value = given.get(field, False)
    if not isinstance(value, bool):
        raise InvalidRequestError(field, "send true or false")
    return value


def whole(given: Mapping[str, Any], field: str, least: int, most: int) -> int | None:
    """Return an optional whole number."""
    value = given.get(field)
    if value is None and field not in given:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidRequestError(field, f"send a whole number from {least} to {most}")
    return value


def choice(given: Mapping[str, Any], field: str, choices: Collection[str]) -> str | None:
    """Return an optional one of some words."""
    value = given.get(field)
    if value is None and field not in given:
        return None
    if not isinstance(value, str) or value not in choices:
        raise InvalidRequestError(field, f"send one of {', '.join(choices)}")
    return value


def choices_of(given: Mapping[str, Any], field: str, choices: Collection[str], default: str) -> tuple[str, ...]:
    """Return a list of some words, each once."""
    value = given.get(field, [default])
    if not isinstance(value, list) or not value or any(one not in choices for one in value if isinstance(one, str)):
        raise InvalidRequestError(field, f"send a list of one or more of {', '.join(choices)}")
    if any(not isinstance(one, str) for one in value) or len(set(value)) != len(value):
        raise InvalidRequestError(field, f"send a list of one or more of {', '.join(choices)}, each once")
    return tuple(value)


def limit(query: Mapping[str, str], default: int, most: int) -> int:
    """Return the query's `limit`."""
    value = query.get("limit", str(default))
    if not (value.isascii() and value.isdecimal() and len(value) <= len(str(most)) and 1 <= int(value) <= most):
        raise InvalidRequestError("limit", f"send a whole number from 1 to {most}")
    return int(value)


def erases(query: Mapping[str, str]) -> bool:
    """Return whether the query asks for the transactions to be erased."""
    return choice(query, "transactions", ("keep", "erase")) == "erase"


def next_token(key: Mapping[str, str] | None) -> str | None:
    """Return the opaque `next` of a page from the key of its last entry."""
    if key is None:
        return None
    return base64.urlsafe_b64encode(exact_json.dumps(dict(key)).encode()).decode().rstrip("=")


def parse_next(query: Mapping[str, str], names: Collection[str]) -> dict[str, str] | None:
    """Return the key that a query's `next` holds, if there is one.

    Args:
        query: the request's.
        names: the parts of the key, all texts.

    Raises:
        InvalidRequestError: it is not one that this route gave.
    """
    value = query.get("next")
    if value is None:
        return None
    try:
        if len(value) > _LONGEST_NEXT:
            raise InvalidRequestError("next", _NEXT_FIX)
        key = exact_json.loads(base64.b64decode(f"{value}{'=' * (-len(value) % 4)}", altchars=b"-_", validate=True))
    except ValueError as error:
        raise InvalidRequestError("next", _NEXT_FIX) from error
    if not isinstance(key, dict) or key.keys() != set(names) or not all(map(_is_key_part, key.values())):
        raise InvalidRequestError("next", _NEXT_FIX)
    return key


_NEXT_FIX: Final = "send the next of the page before as it is, with the same other parameters; or leave it out"


def _is_key_part(value: object) -> bool:
    return isinstance(value, str) and value != "" and value.isprintable()
