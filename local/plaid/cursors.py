"""Cursors: opaque to clients, self-contained for the server, and refused when tampered with or another Item's."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass, replace

from local.plaid.errors import PlaidError
from local.plaid.log import Span

MAX_LENGTH = 256
_MAC_LENGTH = 9
_FORMAT = re.compile(r"[A-Za-z0-9+/]*={0,2}")


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in an Item's log.

    Attributes:
        span: the stretch that the pagination loop covers; a final cursor's span is empty.
        offset: how many of its changes earlier pages carried.
        final: whether the loop ended here.
    """

    span: Span
    offset: int = 0
    final: bool = True


def after(span: Span) -> Cursor:
    """Return the final cursor of a loop."""
    return Cursor(replace(span, start=span.head, spell_out=False, hide_reverts=False))


def encode(cursor: Cursor, item_id: str, key: bytes) -> str:
    """Return the text of a cursor."""
    span = cursor.span
    telling = int(span.spell_out) + 2 * int(span.hide_reverts)
    numbers = (span.start, span.head, span.origin, cursor.offset, telling, int(cursor.final))
    payload = ",".join((*map(str, numbers), span.account_id or "")).encode()
    return base64.b64encode(_mac(payload, item_id, key) + payload).decode()


def decode(text: str, item_id: str, key: bytes) -> Cursor:
    """Read a cursor of this Item.

    Raises:
        PlaidError: it is malformed, or was not issued for this Item.
    """
    if len(text) > MAX_LENGTH or not _FORMAT.fullmatch(text):
        raise PlaidError("INVALID_FIELD", detail="cursor must be a base64-encoded string of at most 256 characters")
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        raw = b""
    mac, payload = raw[:_MAC_LENGTH], raw[_MAC_LENGTH:]
    if not payload or not hmac.compare_digest(mac, _mac(payload, item_id, key)):
        raise PlaidError("INVALID_FIELD", detail="cursor not associated with access_token")
    *numbers, account_id = payload.decode().split(",")
    start, head, origin, offset, telling, final = map(int, numbers)
    span = Span(start, head, origin, account_id or None, spell_out=bool(telling & 1), hide_reverts=bool(telling & 2))
    return Cursor(span, offset, bool(final))


def _mac(payload: bytes, item_id: str, key: bytes) -> bytes:
    return hmac.digest(key, item_id.encode() + b"\0" + payload, hashlib.sha256)[:_MAC_LENGTH]
