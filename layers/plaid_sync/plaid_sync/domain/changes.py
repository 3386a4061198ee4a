"""What writes change about transactions, and what several writes of one transaction amount to.

A change is what the event bus hears of. A transaction can be written several times before an update is committed: by
the parts of a pull, and by attempts that die. `then` puts such changes together, so that only the difference between
two commits is left, or nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.domain import exact_json
from plaid_sync.domain.compression import Compressor, decompress
from plaid_sync.domain.dictionaries import TRANSACTION
from plaid_sync.domain.transaction import RowRemoval, TransactionId

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from plaid_sync.domain.transaction import StoredRow, TransactionRow

MAX_STORED_BYTES: Final = 380_000
"""Of the changes of one write, compressed: DynamoDB takes 400 KB in an item."""
_COMPRESSOR: Final = Compressor(TRANSACTION)
_OLD: Final = "old"
_NEW: Final = "new"

Fields = dict[str, dict[str, Any]]
"""Changed fields of Plaid's object by name: `old` and `new`, absent where the object had no such field."""


class ChangeKind(StrEnum):
    """What happened to a transaction."""

    ADDED = "added"
    MODIFIED = "modified"
    REMOVED = "removed"
    REPLACED = "replaced"
    """It was removed, its content erased, and added again: what differs is not known."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of one transaction.

    Attributes:
        account_id: its account after the change, or before its removal; None where that was never known.
        content: Plaid's object: after it was added or replaced, before it was removed. None where it is too large to be
            stored, or erased.
        fields: what was modified; None where that is too large, or the stored content was damaged.
    """

    transaction_id: TransactionId
    kind: ChangeKind
    account_id: str | None = None
    content: dict[str, Any] | None = None
    fields: Fields | None = None


def change_of(before: StoredRow | None, write: TransactionRow | RowRemoval) -> Change | None:
    """Return what a write changes; None where readers see no difference.

    Args:
        before: the row as it is stored, with its content; None where there is none.
        write: what is written.
    """
    lives = before is not None and before.live
    stored = None if before is None or before.row is None else before.row.plaid_object
    if isinstance(write, RowRemoval):
        if before is None or not lives:
            return None
        content = None if write.erase else stored
        return Change(write.transaction_id, ChangeKind.REMOVED, before.account_id, content)
    content = write.plaid_object
    if not lives:
        return Change(write.transaction_id, ChangeKind.ADDED, write.account_id, content)
    if stored is None:
        return Change(write.transaction_id, ChangeKind.MODIFIED, write.account_id)
    fields = difference(stored, content)
    return Change(write.transaction_id, ChangeKind.MODIFIED, write.account_id, fields=fields) if fields else None


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> Fields:
    """Return the fields in which two objects differ, digit for digit."""
    fields: Fields = {}
    for name in sorted(old.keys() | new.keys()):
        sides = {side: values[name] for side, values in ((_OLD, old), (_NEW, new)) if name in values}
        if not _same_sides(sides):
            fields[name] = sides
    return fields


def then(first: Change | None, second: Change) -> Change | None:
    """Return what two changes of one transaction amount to; None where nothing is left."""
    if first is None:
        return second
    was, becomes = first.kind, second.kind
    if was is ChangeKind.REMOVED:
        return _back_again(first, second)
    if was is ChangeKind.ADDED and becomes is ChangeKind.REMOVED:
        return None
    if was is ChangeKind.MODIFIED and becomes is ChangeKind.MODIFIED:
        return _both(first, second)
    if becomes is ChangeKind.MODIFIED:
        return replace(second, kind=was, content=_applied(first.content, second.fields), fields=None)
    # Removed: what it was before both, as far as that is known.
    known = second.content if was is ChangeKind.MODIFIED else None
    return replace(second, content=_applied(known, _reversed(first.fields)))


def _back_again(removed: Change, added: Change) -> Change | None:
    """Return what is left of a removal after the transaction was added again."""
    if removed.content is None or added.content is None:
        return replace(added, kind=ChangeKind.REPLACED)
    fields = difference(removed.content, added.content)
    return replace(added, kind=ChangeKind.MODIFIED, content=None, fields=fields) if fields else None


def _both(first: Change, second: Change) -> Change | None:
    if first.fields is None or second.fields is None:
        return replace(second, fields=None)
    fields: Fields = {}
    for name in sorted(first.fields.keys() | second.fields.keys()):
        earlier, later = first.fields.get(name), second.fields.get(name)
        sides = {
            side: values[side]
            for side, values in ((_OLD, earlier or later), (_NEW, later or earlier))
            if values is not None and side in values
        }
        if not _same_sides(sides):
            fields[name] = sides
    return replace(second, fields=fields) if fields else None


def _reversed(fields: Fields | None) -> Fields | None:
    sides = {_OLD: _NEW, _NEW: _OLD}
    return fields and {name: {sides[side]: value for side, value in each.items()} for name, each in fields.items()}


def _applied(content: dict[str, Any] | None, fields: Fields | None) -> dict[str, Any] | None:
    if content is None or fields is None:
        return None
    kept = {name: value for name, value in content.items() if name not in fields}
    return kept | {name: sides[_NEW] for name, sides in fields.items() if _NEW in sides}


def _same_sides(sides: Mapping[str, Any]) -> bool:
    if sides.keys() != {_OLD, _NEW}:
        return not sides
    old, new = sides[_OLD], sides[_NEW]
    return old is new or (type(old) is type(new) and exact_json.dumps(old) == exact_json.dumps(new))


def undone(changes: Sequence[Change], read: dict[str, Any] | None) -> tuple[bool, dict[str, Any] | None]:
    """Return whether a transaction was live before changes, and its content then; None where that is not known.

    Args:
        changes: at least one, in their order.
        read: its content as it was read before, after or between them; None where it was not live.
    """
    first = changes[0]
    if first.kind is ChangeKind.ADDED:
        return False, None
    olds: Fields = {}
    for change in changes:
        if change.kind is not ChangeKind.MODIFIED:
            # It was removed: with this content, but for what was modified before.
            return True, _applied(change.content, _reversed(olds))
        if change.fields is None:
            return True, None
        olds = change.fields | olds
    return True, _applied(read, _reversed(olds))


# ---- storage


def encode_changes(changes: Sequence[Change]) -> bytes:
    """Return changes as they are stored, at most `MAX_STORED_BYTES`: contents that do not fit are omitted."""
    stored = _encode(changes)
    if len(stored) > MAX_STORED_BYTES:
        average = MAX_STORED_BYTES // len(changes)
        stored = _encode([each if _size(each) <= average else _without_content(each) for each in changes])
    return stored


def _encode(changes: Iterable[Change]) -> bytes:
    documents = [
        {
            "id": change.transaction_id,
            "kind": change.kind.value,
            "account_id": change.account_id,
            "content": change.content,
            "fields": change.fields,
        }
        for change in changes
    ]
    present = [{name: value for name, value in each.items() if value is not None} for each in documents]
    return _COMPRESSOR.compress(exact_json.dumps(present, ascii_only=True).encode())


def _size(change: Change) -> int:
    return len(exact_json.dumps(change.content or change.fields or {}, ascii_only=True))


def _without_content(change: Change) -> Change:
    return replace(change, content=None, fields=None)


def decode_changes(stored: object) -> list[Change]:
    """Return the changes that a stored value has; none where another program damaged it."""
    text = decompress(stored)
    try:
        return [_decoded(each) for each in exact_json.loads(text or b"[]")]
    except (AttributeError, KeyError, TypeError, ValueError):
        return []


def _decoded(document: dict[str, Any]) -> Change:
    content, fields = document.get("content"), document.get("fields")
    kind, account_id = ChangeKind(document["kind"]), document.get("account_id")
    return Change(TransactionId(document["id"]), kind, account_id, content, fields)
