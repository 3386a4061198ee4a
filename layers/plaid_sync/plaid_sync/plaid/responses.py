"""Plaid's responses about an Item, parsed leniently: an informational field may be absent or unreadable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from plaid_sync.domain import exact_json
from plaid_sync.domain.accounts import Account
from plaid_sync.domain.clock import parse_timestamp
from plaid_sync.domain.errors import SchemaViolationError
from plaid_sync.domain.item import AccountList, Cursor, ItemHealth, ItemId
from plaid_sync.domain.messages import is_item_id
from plaid_sync.domain.text import has_half_surrogate, is_error_code, is_printable_ascii, is_token, printable_or_empty
from plaid_sync.domain.transaction import RowRemoval, TransactionRow, parse_removal, parse_transaction
from plaid_sync.items_api.ports import RotatedToken
from plaid_sync.linking.ports import DescribedItem
from plaid_sync.plaid.observing import code_reason_of, error_type_of
from plaid_sync.pull.pages import InvalidEntry, Page, Source

if TYPE_CHECKING:
    from collections.abc import Iterator

UNREADABLE_CODE: Final = "UNREADABLE_ERROR"
"""The code of an error whose own code is unreadable: the Item is not healthy."""
_MAX_CURSOR_LENGTH: Final = 1024  # Plaid documents 256
_MAX_URL_LENGTH: Final = 2048
_MAX_NAME_BYTES: Final = 200
_MAX_WORD_BYTES: Final = 32
"""Of an account's mask, type and subtype."""
_MAX_ACCOUNTS: Final = 1000
_MAX_OBJECT_BYTES: Final = 20_000
"""Of an account's object as JSON; some six hundred are usual."""


def parse_object(document: bytes) -> dict[str, Any]:
    """Parse a body that must be a JSON object.

    Raises:
        InvalidJsonError: it is not JSON.
        SchemaViolationError: it is not an object.
    """
    response = exact_json.loads(document)
    if not isinstance(response, dict):
        raise SchemaViolationError("body")
    return response


def request_id_of(document: bytes) -> str:
    """Return the request id of a response without other content; empty where there is none."""
    try:
        response = exact_json.loads(document)
    except exact_json.InvalidJsonError:
        return ""
    return printable_or_empty(response.get("request_id")) if isinstance(response, dict) else ""


# ---- /transactions/sync


def parse_page(document: bytes) -> Page:
    """Parse the body of a /transactions/sync response; amounts stay exact.

    An entry that violates the schema, or that is no JSON at all, does not fail the page.

    Raises:
        InvalidJsonError: it is not JSON, and where its entries begin and end is uncertain.
        SchemaViolationError: the page around the entries violates the schema: nothing in it can be trusted.
    """
    try:
        return _page(parse_object(document))
    except exact_json.InvalidJsonError:
        return _page(exact_json.loads_apart(document))


def _page(response: dict[str, Any]) -> Page:
    cursor, has_more = response.get("next_cursor"), response.get("has_more")
    if cursor is not None and cursor != "" and not is_printable_ascii(cursor, _MAX_CURSOR_LENGTH):
        raise SchemaViolationError("next_cursor")
    if not isinstance(has_more, bool):
        raise SchemaViolationError("has_more")
    invalid: list[InvalidEntry] = []
    added, modified = tuple(_rows(response, "added", invalid)), tuple(_rows(response, "modified", invalid))
    page = Page(
        added=added,
        modified=modified,
        removed=tuple(_removals(response, invalid)),
        next_cursor=Cursor(cursor) if cursor else None,
        has_more=has_more,
        update_status=printable_or_empty(response.get("transactions_update_status")),
        request_id=printable_or_empty(response.get("request_id")),
        invalid=tuple(invalid),
        accounts=parse_accounts(response.get("accounts")),
    )
    # Rows without a cursor could never be fetched again: do not take them for "not ready".
    if page.next_cursor is None and (has_more or page.added or page.modified or page.removed or page.invalid):
        raise SchemaViolationError("next_cursor")
    return page


def _rows(response: dict[str, Any], source: Source, invalid: list[InvalidEntry]) -> Iterator[TransactionRow]:
    """Yield the rows of one list; invalid entries are added to `invalid`."""
    for entry in _entries(response, source):
        try:
            row = parse_transaction(entry)
        except SchemaViolationError as error:
            invalid.append(InvalidEntry.of(source, error.field, entry))
        else:
            yield row


def _removals(response: dict[str, Any], invalid: list[InvalidEntry]) -> Iterator[RowRemoval]:
    """Yield the removals, also invalid ones whose id is readable; invalid entries are added to `invalid`."""
    for entry in _entries(response, "removed"):
        try:
            removal = parse_removal(entry)
        except SchemaViolationError as error:
            invalid.append(InvalidEntry.of("removed", error.field, entry))
            transaction_id = invalid[-1].transaction_id
            if transaction_id is not None:
                yield RowRemoval(transaction_id)
        else:
            yield removal


def _entries(response: dict[str, Any], name: str) -> list[object]:
    """Return a list of the response; null is an empty one."""
    value = response.get(name, ...)
    if value is None:
        return []
    if not isinstance(value, list):
        raise SchemaViolationError(name)
    return value


# ---- accounts


def parse_accounts(listed: object, id_field: str = "account_id") -> tuple[Account, ...]:
    """Parse Plaid's list of accounts; unreadable ones are omitted."""
    if not isinstance(listed, list):
        return ()
    accounts = [_parse_account(entry, id_field) for entry in listed[:_MAX_ACCOUNTS] if isinstance(entry, dict)]
    return tuple(account for account in accounts if account is not None)


def _parse_account(entry: dict[str, Any], id_field: str) -> Account | None:
    account_id = entry.get(id_field)
    if not is_printable_ascii(account_id):
        return None
    return Account(
        account_id,
        name=_account_text(entry, "name", _MAX_NAME_BYTES),
        mask=_account_text(entry, "mask", _MAX_WORD_BYTES),
        kind=_account_text(entry, "type", _MAX_WORD_BYTES),
        subtype=_account_text(entry, "subtype", _MAX_WORD_BYTES),
        # Link names an account's id otherwise: that is no account object.
        plaid=_account_object(entry) if id_field == "account_id" else None,
    )


def _account_object(entry: dict[str, Any]) -> bytes | None:
    """Return the whole object as JSON; None where it is unusually large, or cannot be stored."""
    try:
        plaid = exact_json.dumps_for_storage(entry)
    except (exact_json.InvalidJsonError, UnicodeEncodeError):
        return None
    return plaid if len(plaid) <= _MAX_OBJECT_BYTES else None


def _account_text(entry: dict[str, Any], field: str, max_bytes: int) -> str | None:
    value = entry.get(field)
    if not isinstance(value, str) or not value or has_half_surrogate(value):
        return None
    return value.encode()[:max_bytes].decode(errors="ignore")  # without half a character at its end


def parse_account_list(document: bytes) -> AccountList:
    """Parse the body of an /accounts/get response.

    Raises:
        InvalidJsonError: it is not JSON.
        SchemaViolationError: it holds no list of accounts.
    """
    response = parse_object(document)
    if not isinstance(response.get("accounts"), list):
        raise SchemaViolationError("accounts")
    accounts = parse_accounts(response["accounts"])
    return AccountList(
        accounts,
        printable_or_empty(response.get("request_id")),
        _health(_mapping(response, "item"), response),
        complete=len(accounts) == len(response["accounts"]),
    )


# ---- /item/access_token/invalidate


def parse_rotated_token(document: bytes) -> RotatedToken:
    """Parse the body of an /item/access_token/invalidate response.

    Raises:
        InvalidJsonError: it is not JSON.
        SchemaViolationError: it holds no access token.
    """
    response = parse_object(document)
    access_token = response.get("new_access_token")
    if not is_token(access_token):
        raise SchemaViolationError("new_access_token")
    return RotatedToken(access_token, printable_or_empty(response.get("request_id")))


# ---- /item/get


def parse_health(document: bytes) -> ItemHealth:
    """Parse the body of an /item/get response.

    Raises:
        InvalidJsonError: it is not JSON.
        SchemaViolationError: it holds no Item: an absent error would be taken for health.
    """
    return _health(*_item_of(document))


def parse_described_item(document: bytes) -> DescribedItem:
    """Parse the body of an /item/get response about an Item that another system linked.

    Raises:
        InvalidJsonError: it is not JSON.
        SchemaViolationError: its id cannot be stored, or its webhook URL, which could not be restored.
    """
    item, response = _item_of(document)
    item_id, webhook, health = item.get("item_id"), item.get("webhook"), _health(item, response)
    if not is_item_id(item_id):
        raise SchemaViolationError("item.item_id")
    if webhook is not None and webhook != "" and not is_printable_ascii(webhook, _MAX_URL_LENGTH):
        raise SchemaViolationError("item.webhook")
    return DescribedItem(
        ItemId(str(item_id)), health.institution_id, webhook or None, health.error_code, health.request_id
    )


def _item_of(document: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    response = exact_json.loads(document)
    item = response.get("item") if isinstance(response, dict) else None
    if not isinstance(item, dict):
        raise SchemaViolationError("item")
    return item, response


def _health(item: dict[str, Any], response: dict[str, Any]) -> ItemHealth:
    updates = _mapping(_mapping(response, "status"), "transactions")
    institution_id, error = item.get("institution_id"), item.get("error")
    code = _item_error_code(error)
    details = error if isinstance(error, dict) and code != UNREADABLE_CODE else {}
    return ItemHealth(
        error_code=code,
        consent_until=parse_timestamp(item.get("consent_expiration_time")),
        last_success_at=parse_timestamp(updates.get("last_successful_update")),
        last_failure_at=parse_timestamp(updates.get("last_failed_update")),
        request_id=printable_or_empty(response.get("request_id")),
        institution_id=institution_id if is_printable_ascii(institution_id) else None,
        error_type=error_type_of(details),
        code_reason=code_reason_of(details),
    )


def _item_error_code(error: object) -> str | None:
    if error is None or error == {}:
        return None
    code = error.get("error_code") if isinstance(error, dict) else None
    return code if is_error_code(code) else UNREADABLE_CODE


def _mapping(document: dict[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}
