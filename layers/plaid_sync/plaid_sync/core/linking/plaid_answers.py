"""What Plaid answers around Link, read leniently: whatever only informs may be absent or unreadable."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.core import exact_json
from plaid_sync.core.failures import ContractBrokenError
from plaid_sync.core.items import ItemId
from plaid_sync.core.plain_text import is_plain, moment_or_none, plain_or_empty
from plaid_sync.core.triggers import is_item_id

if TYPE_CHECKING:
    from datetime import datetime

_LONGEST_TOKEN: Final = 512
_LONGEST_URL: Final = 2048


@dataclass(frozen=True, slots=True)
class LinkToken:
    """What opens Link (https://plaid.com/docs/api/link/#linktokencreate).

    Attributes:
        expiration: when it stops doing so; None where that can't be read.
        hosted_link_url: where Plaid itself shows Link, if that was asked for.
        request_id: Plaid's id of the call; empty where there was none.
    """

    link_token: str = field(repr=False)
    expiration: datetime | None = None
    hosted_link_url: str | None = field(default=None, repr=False)
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class ExchangedItem:
    """What Plaid gives for a public token.

    Attributes:
        item_id: None where the answer names none that could be stored: then the Item can only be removed again.
        request_id: Plaid's id of the call; empty where there was none.
    """

    item_id: ItemId | None
    access_token: str = field(repr=False)
    request_id: str = ""


def parse_link_token(document: bytes) -> LinkToken:
    """Parse the body of a /link/token/create answer.

    Raises:
        InvalidJsonError: it is not JSON.
        ContractBrokenError: it holds no link token.
    """
    answer = _object(document)
    token, url = answer.get("link_token"), answer.get("hosted_link_url")
    if not is_plain(token, _LONGEST_TOKEN):
        raise ContractBrokenError("link_token")
    return LinkToken(
        token,
        moment_or_none(answer.get("expiration")),
        url if is_plain(url, _LONGEST_URL) else None,
        plain_or_empty(answer.get("request_id")),
    )


def parse_exchange(document: bytes) -> ExchangedItem:
    """Parse the body of an /item/public_token/exchange answer.

    Raises:
        InvalidJsonError: it is not JSON.
        ContractBrokenError: it holds no access token: nobody can use or remove the Item.
    """
    answer = _object(document)
    item_id, access_token = answer.get("item_id"), answer.get("access_token")
    if not is_plain(access_token, _LONGEST_TOKEN):
        raise ContractBrokenError("access_token")
    known = ItemId(str(item_id)) if is_item_id(item_id) else None
    return ExchangedItem(known, access_token, plain_or_empty(answer.get("request_id")))


def _object(document: bytes) -> dict[str, Any]:
    answer = exact_json.loads(document)
    if not isinstance(answer, dict):
        raise ContractBrokenError("body")
    return answer
