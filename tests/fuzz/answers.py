"""What Plaid answers, broken in every way, through plaid-python itself.

To a sync, to /item/get, to an exchange and to a removal.
"""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import urllib3
from plaid_sync.adapters.dynamodb.expressions import serialize
from plaid_sync.adapters.dynamodb.row_format import written
from plaid_sync.adapters.plaid.credentials import PlaidSecret
from plaid_sync.adapters.plaid.items import PlaidItems
from plaid_sync.adapters.plaid.link import PlaidLinkClient
from plaid_sync.adapters.plaid.transactions import PlaidTransactionsClient
from plaid_sync.adapters.plaid.transport import PlaidTransport
from plaid_sync.core.failures import PlaidError, RetryableError
from plaid_sync.core.items import Cursor
from plaid_sync.core.sync.transactions import unpack

from tests.fuzz.choices import Choices
from tests.fuzz.documents import CERTAIN_DEPTH, depth_of, hostile, mutated, read
from tests.fuzz.edges import secrets_client
from tests.fuzz.genuine import pages_of_an_item
from tests.fuzz.signing import NOON
from tests.fuzz.tally import RUNS, require
from tests.fuzz.webhook import is_short_ascii

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plaid_sync.core.sync.pages import Page
    from plaid_sync.core.sync.quarantine import BrokenEntry
    from plaid_sync.core.sync.transactions import TransactionRow

_LISTS: Final = ("added", "modified", "removed")
_LARGEST_ROW: Final = 400 * 1024
"""Bytes of a DynamoDB item, attribute names included."""
_LONGEST_KEY: Final = 1024
_LONGEST_CURSOR: Final = 1024
"""Four times what Plaid documents."""
_OUR_CODE: Final = re.compile("HTTP_[0-9]+$|ITEM_LOGIN_REQUIRED$|plaid_[a-zA-Z_]+$")
_STATUSES: Final = (200, 200, 200, 400, 401, 403, 404, 429, 500, 502, 302, 204)
_ERROR: Final = {
    "error_type": "ITEM_ERROR",
    "error_code": "ITEM_LOGIN_REQUIRED",
    "error_message": "the login details have changed",
    "display_message": None,
    "request_id": "r",
}


@dataclass(slots=True)
class _Wire:
    """Plaid at the other end of urllib3, in the place of its pool: the next answer is set beforehand."""

    status: int = 200
    body: bytes = b""

    def request(self, *_: Any, **__: Any) -> urllib3.HTTPResponse:
        """Answer a call."""
        return urllib3.HTTPResponse(io.BytesIO(self.body), status=self.status, preload_content=False)


@dataclass(frozen=True, slots=True)
class _Answer:
    """An answer to a sync.

    Attributes:
        genuine: how many entries of each list are as Plaid makes them.
    """

    body: bytes
    genuine: dict[str, list[Any]]


class AnswersTarget:
    """Plaid's client with the transport replaced; see `tally.Target`."""

    def __init__(self) -> None:
        self.tally: Counter[str] = Counter()
        self._wire = _Wire()
        transport = PlaidTransport("http://plaid.invalid", PlaidSecret(secrets_client, "secret", lambda: NOON))
        self._transactions, self._items = PlaidTransactionsClient(transport), PlaidItems(transport, "sandbox")
        self._link = PlaidLinkClient(transport)
        api = transport._connected()  # noqa: SLF001 - plaid-python takes no transport: it is replaced in place
        api.rest_client.pool_manager = self._wire
        self._page: dict[str, Any] = json.loads(pages_of_an_item()[0])

    def seeds(self) -> list[bytes]:
        """See `tally.Target`."""
        others = [bytes([call, status, kind]) for call in (5, 6, 7) for status in (0, 3) for kind in range(8)]
        # Two lists with an entry each, genuine or not an entry at all; of the third one, the zeros make none.
        entries = [[1, number, kind] for number in range(3) for kind in (0, 3)]
        pages = [
            bytes([0, 0, 0, *one, *([0] * pause), *two]) for one in entries for two in entries for pause in range(4)
        ]
        return [*others, *pages]

    def run(self, case: bytes) -> None:
        """See `tally.Target`."""
        choices = Choices(case)
        call = choices.below(8)
        self._wire.status = choices.pick(_STATUSES)
        self.tally[RUNS] += 1
        if call == 5:
            self._health(choices)
        elif call == 6:
            self._exchange(choices)
        elif call == 7:
            self._remove(choices)
        else:
            self._sync(choices)

    # ---- the calls

    def _sync(self, choices: Choices) -> None:
        answer = self._page_answer(choices)
        self._wire.body = answer.body
        try:
            page = self._transactions.sync_page("access-token", Cursor("cursor"), None)
        except (PlaidError, RetryableError) as error:
            self._refused(error)
            spoiled = self._wire.status != 200 or depth_of(answer.body) > CERTAIN_DEPTH or not is_page(answer.body)
            require(holds=spoiled, what=f"a page with broken entries at most, but {error.code}", shown=answer)
            return
        require(holds=200 <= self._wire.status <= 299, what=f"a page with {self._wire.status}", shown=answer)
        self._accepted(page, answer)

    def _health(self, choices: Choices) -> None:
        item: dict[str, Any] = {"item_id": "item", "error": None, "consent_expiration_time": "2026-03-08T12:00:00Z"}
        if choices.one_in(2):
            item["error"] = _ERROR
        updates = {"transactions": {"last_successful_update": "2026-03-01T12:00:00Z", "last_failed_update": None}}
        genuine = {"item": item, "status": updates, "request_id": "r"}
        nested = b'{"item":' + mutated(item, choices) + b',"status":' + mutated(updates, choices) + b"}"
        self._wire.body = nested if choices.one_in(2) else _any_answer(genuine, choices)
        try:
            health = self._items.health("access-sandbox-1")
        except (PlaidError, RetryableError) as error:
            self._refused(error)
            return
        self.tally["a health"] += 1
        if depth_of(self._wire.body) > CERTAIN_DEPTH:
            return
        told = read(self._wire.body)["item"].get("error")
        well = told is None or told == {}
        require(holds=well == (health.error_code is None), what="another health", shown=self._wire.body)
        self.tally["an ill one"] += not well

    def _exchange(self, choices: Choices) -> None:
        genuine = {"access_token": "access-sandbox-1", "item_id": "item", "request_id": "r"}
        self._wire.body = _any_answer(genuine, choices)
        try:
            exchanged = self._link.exchange("public-sandbox-1")
        except (PlaidError, RetryableError) as error:
            self._refused(error)
            return
        self.tally["an exchange"] += 1
        document = read(self._wire.body)
        item_id = document.get("item_id")
        told = item_id if is_short_ascii(item_id, first="!") else None, document["access_token"]
        require(holds=(exchanged.item_id, exchanged.access_token) == told, what="exchanged otherwise", shown=document)

    def _remove(self, choices: Choices) -> None:
        self._wire.body = _any_answer({"request_id": "r"}, choices)
        try:
            self._items.remove("access-sandbox-1")
        except (PlaidError, RetryableError) as error:
            self._refused(error)
        else:
            self.tally["a removal"] += 1

    def _refused(self, error: PlaidError | RetryableError) -> None:
        told = error.code if _OUR_CODE.match(error.code) else "a code of another form"
        self.tally[f"{type(error).__name__} {told}"] += 1

    # ---- a page

    def _page_answer(self, choices: Choices) -> _Answer:
        kind = choices.below(8)
        if kind == 6:
            return _Answer(choices.rest(), {})
        if kind == 7 or self._wire.status != 200:
            return _Answer(_any_answer(self._page, choices), {})
        genuine: dict[str, list[Any]] = {name: [] for name in _LISTS}
        lists = {name: self._entries(name, choices, genuine[name]) for name in _LISTS}
        rest = {"next_cursor": "cursor", "has_more": False, "request_id": "r", "transactions_update_status": "x"}
        around = mutated(rest, choices).decode("utf-8", "replace") if choices.one_in(4) else json.dumps(rest)
        texts = ",".join(f'"{name}":[{",".join(entries)}]' for name, entries in lists.items())
        return _Answer(f"{{{texts},{around.removeprefix('{')}".encode("utf-8", "surrogatepass"), genuine)

    def _entries(self, name: str, choices: Choices, genuine: list[Any]) -> list[str]:
        texts = []
        for _ in range(choices.below(4)):
            entry = choices.pick(self._page["added"])
            if name == "removed":
                entry = {"transaction_id": entry["transaction_id"], "account_id": entry["account_id"]}
            kind = choices.below(4)
            if kind == 0:
                genuine.append(entry)
                texts.append(json.dumps(entry))
            elif kind == 3:
                texts.append(hostile(choices))
            else:
                texts.append(mutated(entry, choices).decode("utf-8", "replace"))
        return texts

    def _accepted(self, page: Page, answer: _Answer) -> None:
        self.tally["a page"] += 1
        self.tally["rows"] += len(page.added) + len(page.modified)
        self.tally["removals"] += len(page.removed)
        self.tally["broken entries"] += len(page.broken)
        for row in (*page.added, *page.modified):
            _require_storable(row)
        if depth_of(answer.body) > CERTAIN_DEPTH:
            return
        document = read(answer.body)
        for name, rows in (("added", page.added), ("modified", page.modified)):
            _require_nothing_vanished(document[name], rows, [entry for entry in page.broken if entry.source == name])
        broken = [entry for entry in page.broken if entry.source == "removed"]
        unread = [entry for entry in broken if entry.transaction_id is None]
        told = len(page.removed) + len(unread)
        require(holds=told == len(document["removed"]), what="a removal vanished", shown=document["removed"])
        stored = {_canonical(read(entry.raw)) for entry in page.broken}
        for name, entries in answer.genuine.items():
            lost = [entry for entry in entries if name in document and _canonical(entry) in stored]
            require(holds=not lost, what="a genuine entry was taken for broken", shown=lost)


def is_page(body: bytes) -> bool:
    """Tell whether all around the entries is as documented, so that the page has to be taken."""
    try:
        document = read(body)
    except ValueError:
        return False
    if not isinstance(document, dict) or not isinstance(document.get("has_more"), bool):
        return False
    if not all(isinstance(document.get(name), list) for name in _LISTS):
        return False
    cursor = document.get("next_cursor")
    empty = not document["has_more"] and not any(document[name] for name in _LISTS)
    if cursor is None or cursor == "":
        return empty
    return is_short_ascii(cursor, first=" ", longest=_LONGEST_CURSOR)


def _require_nothing_vanished(
    entries: Sequence[Any], rows: Sequence[TransactionRow], broken: Sequence[BrokenEntry]
) -> None:
    """Require that each entry became a row, whole, or was kept as broken, whole, in Plaid's order."""
    rest = list(map(_canonical, entries))
    made = [(_canonical(unpack(row.plaid)), row) for row in rows]
    kept = [_canonical(read(entry.raw)) for entry in broken]
    for entry, text in zip(entries, rest, strict=True):
        if made and made[0][0] == text:
            _require_exact(made.pop(0)[1], entry)
        elif kept and kept[0] == text:
            kept.pop(0)
        else:
            require(holds=False, what="an entry is neither a row nor kept as broken", shown=text)
    require(holds=not made and not kept, what="made out of nothing", shown=(made, kept))


def _require_exact(row: TransactionRow, entry: dict[str, Any]) -> None:
    """Require that what people query is what Plaid said."""
    exact = row.amount == entry["amount"] and row.amount.is_signed() == (str(entry["amount"])[0] == "-")
    require(holds=exact, what="another amount", shown=(row.amount, entry["amount"]))
    names = ("transaction_id", "account_id", "date", "pending", "name", "merchant_name", "iso_currency_code")
    for name in names:
        require(holds=getattr(row, name) == entry.get(name), what=f"another {name}", shown=(row, entry))


def _require_storable(row: TransactionRow) -> None:
    """Require that DynamoDB takes the row (a number has 38 digits at most, a key 1,024 bytes, an item 400 KB)."""
    attributes = written(row, NOON) | {"transaction_id": row.transaction_id, "generation": 1, "first_generation": 1}
    size = 0
    for name, value in attributes.items():
        if value is not None:
            (kind, wire), *_ = serialize(value).items()
            size += len(name) + (len(wire.encode()) if kind in {"S", "N"} else len(value) if kind == "B" else 1)
    keys = (row.transaction_id, row.account_id, row.date_id)
    short = all(0 < len(key.encode()) <= _LONGEST_KEY for key in keys)
    digits = row.amount.as_tuple().digits
    number = len(digits) <= 38 and (not row.amount or -130 <= row.amount.adjusted() <= 125)
    require(holds=short and number and size <= _LARGEST_ROW, what="a row that DynamoDB refuses", shown=row)


def _any_answer(genuine: dict[str, Any], choices: Choices) -> bytes:
    kind = choices.below(8)
    if kind < 3:
        return mutated(genuine, choices)
    if kind < 6:
        return mutated(_ERROR, choices)
    if kind == 6:
        return hostile(choices).encode("utf-8", "surrogatepass")
    return choices.rest()


def _canonical(value: object) -> str:
    """Return a text that is equal for equal JSON values, digit for digit."""
    return json.dumps(value, sort_keys=True, default=lambda number: {"decimal": str(number)})
