"""The attribute `accounts` of the Items table: an Item's accounts, compressed together because they are alike.

B, zlib with a preset dictionary (`domain.dictionaries.ACCOUNTS`) over a JSON list. Of each account it has `as_of`,
`plaid` (Plaid's whole object), and those of `account_id`, `name`, `mask`, `kind` and `subtype` that the object has not.
An older version wrote it without a dictionary, and `plaid` as the text of the object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from plaid_sync.domain import exact_json
from plaid_sync.domain.accounts import Account
from plaid_sync.domain.clock import format_optional_timestamp, read_timestamp
from plaid_sync.domain.compression import Compressor, decompress
from plaid_sync.domain.dictionaries import ACCOUNTS

if TYPE_CHECKING:
    from collections.abc import Iterable

_COMPRESSOR: Final = Compressor(ACCOUNTS)
_FIELDS: Final = {"account_id": "account_id", "name": "name", "mask": "mask", "kind": "type", "subtype": "subtype"}
"""Fields of an account, and what they are called in Plaid's object."""


def accounts_attribute(accounts: Iterable[Account]) -> bytes | None:
    """Return the value of `accounts`; None without any."""
    rows = [_row_from(account) for account in accounts]
    # Not `dumps_for_storage`: Plaid's objects are in it, which may be as deep as that allows.
    return _COMPRESSOR.compress(exact_json.dumps(rows, ascii_only=True).encode()) if rows else None


def accounts_from(attribute: object) -> tuple[Account, ...]:
    """Return the accounts of an attribute; none where another program than the engine wrote it."""
    try:
        rows = exact_json.loads(decompress(attribute) or b"[]")
    except exact_json.InvalidJsonError:
        return ()
    accounts = (_account_from(row) for row in rows if isinstance(row, dict)) if isinstance(rows, list) else ()
    return tuple(account for account in accounts if account is not None)


def _row_from(account: Account) -> dict[str, Any]:
    document = account.plaid_object
    values = {name: getattr(account, name) for name in _FIELDS}
    row = {name: value for name, value in values.items() if value != document.get(_FIELDS[name])}
    if account.plaid is not None:
        row["plaid"] = document or account.plaid.decode()
    if account.as_of is not None:
        row["as_of"] = format_optional_timestamp(account.as_of)
    return row


def _account_from(row: dict[str, Any]) -> Account | None:
    plaid = row.get("plaid")
    document = plaid if isinstance(plaid, dict) else {}
    values: dict[str, Any] = {name: row.get(name, document.get(field)) for name, field in _FIELDS.items()}
    if values["account_id"] is None:
        return None
    if plaid is not None:
        plaid = exact_json.dumps(plaid).encode() if plaid is document else str(plaid).encode()
    as_of = read_timestamp(row["as_of"]) if "as_of" in row else None
    return Account(**values, plaid=plaid, as_of=as_of)
