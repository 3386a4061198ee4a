"""What Plaid answers about one Item, read leniently: whatever only informs may be absent or unreadable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from plaid_sync.core import exact_json
from plaid_sync.core.failures import ContractBrokenError
from plaid_sync.core.plain_text import plain_or_empty
from plaid_sync.core.sync.accounts import parse_accounts

if TYPE_CHECKING:
    from plaid_sync.core.items import Account


@dataclass(frozen=True, slots=True)
class AccountList:
    """The accounts of an Item, without balances.

    Attributes:
        request_id: Plaid's id of the call; empty where there was none.
    """

    accounts: tuple[Account, ...]
    request_id: str = ""


def parse_account_list(document: bytes) -> AccountList:
    """Parse the body of an /accounts/get answer.

    Raises:
        InvalidJsonError: it is not JSON.
        ContractBrokenError: it holds no list of accounts.
    """
    answer = exact_json.loads(document)
    if not isinstance(answer, dict):
        raise ContractBrokenError("body")
    if not isinstance(answer.get("accounts"), list):
        raise ContractBrokenError("accounts")
    return AccountList(parse_accounts(answer["accounts"]), plain_or_empty(answer.get("request_id")))


def request_id_of(document: bytes) -> str:
    """Return the id of a call whose answer says nothing else; empty where there is none."""
    try:
        answer = exact_json.loads(document)
    except exact_json.InvalidJsonError:
        return ""
    return plain_or_empty(answer.get("request_id")) if isinstance(answer, dict) else ""
