"""/transactions/sync: cursors, and pagination over an Item's update log."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from local.plaid.errors import PlaidError
from local.plaid.faults import CORRUPTIONS
from local.plaid.items import Phase
from local.plaid.lifecycle import LifecycleOperations
from local.plaid.transactions import format_row
from local.plaid.update_log import Change, Kind, Span, page_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from local.plaid.items import Item
    from local.plaid.wire import JsonObject

MAX_CURSOR_LENGTH = 256
_MAC_LENGTH = 9
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position in an Item's log: opaque to clients, self-contained and authenticated for the server.

    Attributes:
        span: the range of the pagination loop; empty for a final cursor.
        final: whether the loop ended here.
    """

    span: Span
    offset: int = 0
    final: bool = True


@dataclass(frozen=True, slots=True)
class SyncRequest:
    cursor: str = ""
    count: int = 100
    account_id: str | None = None
    days_requested: int | None = None
    original_description: bool = False
    category_version: str = "v2"


class SyncOperations(LifecycleOperations):
    """Serves sync calls, and shows tests what those calls must add up to."""

    def sync(self, item: Item, request: SyncRequest) -> JsonObject:
        with self.lock:
            self._start_sync(item, request)
            if item.phase < Phase.INITIAL:
                return self._not_ready_page(item)
            cursor = self._resume(item, request)
            changes = item.log.between(cursor.span)
            page, offset = page_of(changes, cursor.offset, request.count)
            return self._page(item, request, replace(cursor, offset=offset), page, len(changes))

    def check_served(self, item: Item) -> None:
        """Reject a call for the transactions of an Item in an error state, if the switch does not allow it."""
        served = self.behavior.sync_while_login_required and item.error_code != "USER_PERMISSION_REVOKED"
        if item.error is not None and not served:
            raise item.error

    def _start_sync(self, item: Item, request: SyncRequest) -> None:
        self.check_served(item)
        if request.account_id is not None and request.account_id not in item.generator.account_ids:
            raise PlaidError("INVALID_ACCOUNT_ID")
        self.initialize(item, request.days_requested)
        item.sync_called = True

    def _not_ready_page(self, item: Item) -> JsonObject:
        return {
            "accounts": [],
            "has_more": False,
            "next_cursor": None if self.behavior.not_ready_cursor_null else "",
            **dict.fromkeys(("added", "modified", "removed"), None if self.behavior.null_lists else []),
            "transactions_update_status": self._update_status(item),
        }

    def _update_status(self, item: Item) -> str:
        if self.behavior.update_status_unknown:
            return "TRANSACTIONS_UPDATE_STATUS_UNKNOWN"
        return item.phase.update_status

    def _entries(self, item: Item, request: SyncRequest, page: Sequence[Change], kind: Kind) -> list[object] | None:
        entries = _entries(item, request, page, kind)
        return None if self.behavior.null_lists and not entries else entries

    def _resume(self, item: Item, request: SyncRequest) -> Cursor:
        span = Span(
            0,
            item.log.head,
            account_id=request.account_id,
            spell_out=self.behavior.spell_out,
            hide_reverts=self.behavior.hide_reverts,
        )
        if not request.cursor:
            return Cursor(span, final=False)
        cursor = decode_cursor(request.cursor, item.item_id, self.cursor_key)
        if cursor.span.account_id != request.account_id:
            raise PlaidError("INVALID_FIELD", detail="cursor not associated with the given account_id")
        self._fail_if_forced(item, cursor)
        if cursor.final:
            return Cursor(replace(span, start=cursor.span.start), final=False)
        if cursor.span.head != item.log.head:
            raise PlaidError("TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION")
        return cursor

    def _fail_if_forced(self, item: Item, cursor: Cursor) -> None:
        applies = cursor.span.start > 0 if item.forced_anywhere else not cursor.final
        if item.forced_mutations > 0 and applies:
            item.forced_mutations -= 1
            raise PlaidError("TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION")

    def _page(
        self, item: Item, request: SyncRequest, position: Cursor, page: Sequence[Change], total: int
    ) -> JsonObject:
        has_more = position.offset < total
        following = position if has_more else _final_cursor(position.span)
        next_cursor = encode_cursor(following, item.item_id, self.cursor_key)
        if following.final and following.span.account_id is None:
            item.final_cursors[next_cursor] = following.span.start
        return {
            "accounts": item.accounts(request.account_id),
            "added": self._entries(item, request, page, "added"),
            "has_more": has_more,
            "modified": self._entries(item, request, page, "modified"),
            "next_cursor": next_cursor,
            "removed": self._entries(item, request, page, "removed"),
            "transactions_update_status": self._update_status(item),
        }

    def truth(self, item_id: str, *, include_original_description: bool = False) -> dict[str, JsonObject]:
        """Return the current transactions by id, exactly as sync would return them now."""
        with self.lock:
            live = self.items[item_id].log.live
            return {key: format_row(row, original=include_original_description) for key, row in live.items()}

    def truth_at(self, item_id: str, position: int) -> dict[str, JsonObject]:
        """Return the transactions as of a position of the log (see `final_cursors`)."""
        with self.lock:
            return {key: format_row(row) for key, row in self.items[item_id].log.at(position).items()}

    def final_cursors(self, item_id: str) -> dict[str, int]:
        """Return every cursor of the whole Item that ended a pagination loop, with its position in the log."""
        with self.lock:
            return dict(self.items[item_id].final_cursors)

    def corrupt_row(self, item_id: str, transaction_id: str, how: str) -> None:
        """Make sync return a malformed entry for a transaction: `how` is one of `CORRUPTIONS`.

        The transaction itself does not change: `truth` has it.
        """
        with self.lock:
            self.items[item_id].corruptions[transaction_id] = CORRUPTIONS[how]

    def force_mutation(self, item_id: str, times: int = 1, *, anywhere: bool = False) -> None:
        """Fail the next pages with a mutation error: those after the first page of a loop.

        With `anywhere`, every page of an incremental update. Seen in production: the error came after a final
        cursor had been stored, and only a full resync ended it.
        """
        with self.lock:
            item = self.items[item_id]
            item.forced_mutations = times
            item.forced_anywhere = anywhere


def _entries(item: Item, request: SyncRequest, page: Sequence[Change], kind: Kind) -> list[object]:
    """Return one array of a page; entries of corrupted transactions are malformed."""
    entries: list[object] = []
    for change in page:
        if change.kind != kind:
            continue
        entry: JsonObject = {"account_id": change.account_id, "transaction_id": change.transaction_id}
        if kind != "removed" and change.row:
            entry = format_row(
                change.row, original=request.original_description, category_version=request.category_version
            )
        corrupt = item.corruptions.get(change.transaction_id)
        entries.append(corrupt(entry) if corrupt else entry)
    return entries


def _final_cursor(span: Span) -> Cursor:
    return Cursor(replace(span, start=span.head, spell_out=False, hide_reverts=False))


def encode_cursor(cursor: Cursor, item_id: str, key: bytes) -> str:
    span = cursor.span
    flags = int(span.spell_out) + 2 * int(span.hide_reverts)
    numbers = (span.start, span.head, cursor.offset, flags, int(cursor.final))
    payload = ",".join((*map(str, numbers), span.account_id or "")).encode()
    return base64.b64encode(_mac(payload, item_id, key) + payload).decode()


def decode_cursor(text: str, item_id: str, key: bytes) -> Cursor:
    if len(text) > MAX_CURSOR_LENGTH or not _BASE64.fullmatch(text):
        raise PlaidError("INVALID_FIELD", detail="cursor must be a base64-encoded string of at most 256 characters")
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        raw = b""
    mac, payload = raw[:_MAC_LENGTH], raw[_MAC_LENGTH:]
    if not payload or not hmac.compare_digest(mac, _mac(payload, item_id, key)):
        raise PlaidError("INVALID_FIELD", detail="cursor not associated with access_token")
    *numbers, account_id = payload.decode().split(",")
    start, head, offset, flags, final = map(int, numbers)
    span = Span(start, head, account_id or None, spell_out=bool(flags & 1), hide_reverts=bool(flags & 2))
    return Cursor(span, offset, bool(final))


def _mac(payload: bytes, item_id: str, key: bytes) -> bytes:
    return hmac.digest(key, item_id.encode() + b"\0" + payload, hashlib.sha256)[:_MAC_LENGTH]
