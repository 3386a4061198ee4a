"""Hostile responses of Plaid, through plaid-python: each is parsed exactly, or rejected with a documented error."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import pytest
import urllib3
from hypothesis import given
from hypothesis import strategies as st
from plaid_sync.aws.dynamodb.expressions import serialize
from plaid_sync.aws.dynamodb.transactions import row_attributes
from plaid_sync.domain.errors import PlaidError, TransientError
from plaid_sync.domain.item import Cursor
from plaid_sync.plaid.client import PlaidTransport
from plaid_sync.plaid.items import PlaidItems, PlaidTransactionsClient
from plaid_sync.plaid.link import PlaidLinkClient

from tests.fakes.aws import is_storable, secret_of_plaid
from tests.fakes.clock import NOON
from tests.unit.properties.genuine import pages_of_an_item
from tests.unit.properties.hostile_json import (
    HOSTILE_BYTES,
    is_deep,
    is_separable,
    is_short_ascii,
    mutated,
    one_in,
    pick,
    read,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plaid_sync.domain.transaction import TransactionRow
    from plaid_sync.pull.pages import InvalidEntry, Page

    from tests.unit.properties.hostile_json import Draw

LISTS: Final = ("added", "modified", "removed")
Texts = dict[str, list[bytes]]
"""The texts of the entries of a page, by the name of their list."""
MAX_KEY_BYTES: Final = 1024
MAX_CURSOR_LENGTH: Final = 1024
"""Four times what Plaid documents."""
STATUSES: Final = (200, 200, 200, 400, 401, 403, 404, 429, 500, 502, 302, 204)
ERROR: Final = {
    "error_type": "ITEM_ERROR",
    "error_code": "ITEM_LOGIN_REQUIRED",
    "error_message": "the login details have changed",
    "display_message": None,
    "request_id": "r",
}
PAGE: Final[dict[str, Any]] = json.loads(pages_of_an_item()[0])


@dataclass(slots=True)
class Plaid:
    """Plaid's clients, with the next response in the place of urllib3's pool."""

    status: int = 200
    body: bytes = b""
    transport: PlaidTransport = field(init=False)

    def __post_init__(self) -> None:
        self.transport = PlaidTransport("http://plaid.invalid", secret_of_plaid())
        api = self.transport._permitted("/item/get")  # noqa: SLF001 - plaid-python takes no transport: it is replaced in place
        api.rest_client.pool_manager = self

    def request(self, *_: Any, **__: Any) -> urllib3.HTTPResponse:
        return urllib3.HTTPResponse(io.BytesIO(self.body), status=self.status, preload_content=False)


@cache
def plaid() -> Plaid:
    return Plaid()


def draw_response(draw: Draw, genuine: dict[str, Any]) -> bytes:
    kind = pick(draw, *["genuine"] * 3, *["error"] * 3, "hostile", "bytes")
    if kind in {"genuine", "error"}:
        return mutated(draw, genuine if kind == "genuine" else ERROR)
    return draw(HOSTILE_BYTES) if kind == "hostile" else draw(st.binary(max_size=200))


def draw_page(draw: Draw) -> tuple[bytes, bytes, Texts, dict[str, list[Any]]]:
    """Draw a response to a sync; it with null for each entry; the entries; and those of them that Plaid makes."""
    genuine: dict[str, list[Any]] = {name: [] for name in LISTS}
    if one_in(draw, 6):
        return draw_response(draw, PAGE), b"", {}, genuine
    texts = {name: draw_entries(draw, name, genuine[name]) for name in LISTS}
    rest = {"next_cursor": "cursor", "has_more": False, "request_id": "r", "transactions_update_status": "x"}
    around = (mutated(draw, rest) if one_in(draw, 4) else json.dumps(rest).encode()).removeprefix(b"{")
    separate = all(is_separable(text) for entries in texts.values() for text in entries)
    blank = page_of({name: [b"null"] * len(entries) for name, entries in texts.items()}, around)
    return page_of(texts, around), blank if separate else b"", texts, genuine


def page_of(texts: Texts, around: bytes) -> bytes:
    lists = (b'"%b":[%b]' % (name.encode(), b",".join(entries)) for name, entries in texts.items())
    return b"{%b,%b" % (b",".join(lists), around)


def draw_entries(draw: Draw, name: str, genuine: list[Any]) -> list[bytes]:
    texts = []
    for _ in range(draw(st.integers(0, 3))):
        entry = pick(draw, *PAGE["added"])
        if name == "removed":
            entry = {key: entry[key] for key in ("transaction_id", "account_id")}
        kind = pick(draw, "genuine", "mutated", "mutated", "hostile")
        if kind == "genuine":
            genuine.append(entry)
            texts.append(json.dumps(entry).encode())
        else:
            texts.append(draw(HOSTILE_BYTES) if kind == "hostile" else mutated(draw, entry))
    return texts


@given(st.data())
def test_an_entry_of_a_page_becomes_a_row_or_is_kept_as_invalid_and_none_is_lost(data: st.DataObject) -> None:
    wire, status = plaid(), pick(data.draw, *[200] * 8, *STATUSES)
    wire.status, (wire.body, blank, texts, genuine) = status, draw_page(data.draw)
    try:
        page = PlaidTransactionsClient(wire.transport).sync_page("access-token", Cursor("cursor"), None)
    except (PlaidError, TransientError):
        assert status != 200 or not (is_page(wire.body) or is_page(blank))
        return
    assert 200 <= status <= 299
    for row in (*page.added, *page.modified):
        assert_storable(row)
    if is_page(blank) and all(len(read(blank)[name]) == len(entries) for name, entries in texts.items()):
        assert_nothing_lost(page, texts, genuine)


@pytest.mark.parametrize("call", ["health", "exchange", "remove"])
@given(data=st.data())
def test_the_response_to_any_other_call_is_parsed_exactly_or_rejected(data: st.DataObject, call: str) -> None:
    draw, wire = data.draw, plaid()
    wire.status, items = pick(draw, *[200] * 8, *STATUSES), PlaidItems(wire.transport, "sandbox")
    exchanged = {"access_token": "access-sandbox-1", "item_id": "item", "request_id": "r"}
    wire.body = draw_health(draw) if call == "health" else draw_response(draw, exchanged)
    code = ""
    try:
        if call == "remove":
            items.remove("access-sandbox-1")
        elif call == "health":
            health = items.health("access-sandbox-1")
            if not is_deep(wire.body):
                assert (health.error_code is None) == (read(wire.body)["item"].get("error") in (None, {}))
        else:
            exchanged_item = PlaidLinkClient(wire.transport).exchange("public-sandbox-1")
            document = read(wire.body)
            item_id = document.get("item_id")
            assert exchanged_item.item_id == (item_id if is_short_ascii(item_id, first="!") else None)
            assert exchanged_item.access_token == document["access_token"]
    except (PlaidError, TransientError) as error:
        code = error.code
    assert code.isprintable()
    assert "access-sandbox-1" not in code


def draw_health(draw: Draw) -> bytes:
    """Draw a response to /item/get."""
    item = {"item_id": "item", "error": pick(draw, None, ERROR), "consent_expiration_time": "2026-03-08T12:00:00Z"}
    updates = {"transactions": {"last_successful_update": "2026-03-01T12:00:00Z", "last_failed_update": None}}
    if one_in(draw, 2):
        return draw_response(draw, {"item": item, "status": updates})
    parts = [mutated(draw, part) if one_in(draw, 2) else draw(HOSTILE_BYTES) for part in (item, updates)]
    return b'{"item":' + parts[0] + b',"status":' + parts[1] + b"}"


def is_page(body: bytes) -> bool:
    """Return whether all around the entries is as documented, null for empty lists included: the page is accepted."""
    try:
        document = read(body)
    except ValueError:
        return False
    if not isinstance(document, dict) or not isinstance(document.get("has_more"), bool):
        return False
    if not all(isinstance(document.get(name, ...), list | None) for name in LISTS):
        return False
    cursor = document.get("next_cursor")
    if cursor is None or cursor == "":
        return not document["has_more"] and not any(document[name] for name in LISTS)
    return is_short_ascii(cursor, first=" ", max_length=MAX_CURSOR_LENGTH)


def assert_nothing_lost(page: Page, texts: Texts, genuine: dict[str, list[Any]]) -> None:
    for name, rows in (("added", page.added), ("modified", page.modified)):
        assert_each_kept(texts[name], rows, [entry for entry in page.invalid if entry.source == name])
    unread = [entry for entry in page.invalid if entry.source == "removed" and entry.transaction_id is None]
    assert len(page.removed) + len(unread) == len(texts["removed"])
    invalid = {content_of(entry.raw) for entry in page.invalid}
    for entries in genuine.values():
        assert invalid.isdisjoint(map(canonical, entries))


def assert_each_kept(texts: Sequence[bytes], rows: Sequence[TransactionRow], invalid: Sequence[InvalidEntry]) -> None:
    """Assert that each entry became a row, exactly, or was kept as invalid, exactly, in Plaid's order."""
    made, kept = list(rows), [content_of(entry.raw) for entry in invalid]
    for text in texts:
        if made and canonical(made[0].plaid_object) == content_of(text):
            row, entry = made.pop(0), read(text)
            assert row.amount == entry["amount"]
            assert row.amount.is_signed() == str(entry["amount"]).startswith("-")
            names = ("transaction_id", "account_id", "date", "pending", "name", "merchant_name", "iso_currency_code")
            assert [getattr(row, name) for name in names] == [entry.get(name) for name in names]
        else:
            assert kept.pop(0) == content_of(text)
    assert not made
    assert not kept


def content_of(text: bytes) -> str | bytes:
    """Return an entry's content, or its own text where no reader has to understand it."""
    try:
        return text.strip() if is_deep(text) else canonical(read(text))
    except ValueError:
        return text.strip()


def assert_storable(row: TransactionRow) -> None:
    """Assert that DynamoDB accepts the row (a number has up to 38 digits, a key 1,024 bytes, an item 400 KB)."""
    attributes = row_attributes(row, NOON) | {
        "transaction_id": row.transaction_id,
        "generation": 1,
        "first_generation": 1,
    }
    assert is_storable({name: serialize(value) for name, value in attributes.items() if value is not None})
    assert all(0 < len(key.encode()) <= MAX_KEY_BYTES for key in (row.transaction_id, row.account_id, row.date_id))
    assert len(row.amount.as_tuple().digits) <= 38
    assert not row.amount or -130 <= row.amount.adjusted() < 38


def canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=lambda number: {"decimal": str(number)})
