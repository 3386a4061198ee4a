"""Entries of Plaid's answers that no row can be made of: kept whole, beside the rows, until somebody resolves them.

An entry is addressed by its content, so that keeping it again changes nothing. It is kept in parts, because an entry
may be larger than anything that DynamoDB holds. Each part is compressed by itself: another version of zlib compresses
otherwise, and then parts of two attempts still fit together.
"""

from __future__ import annotations

import dataclasses
import hashlib
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from plaid_sync.core import exact_json
from plaid_sync.core.failures import ContractBrokenError
from plaid_sync.core.sync.transactions import ROW_OVERHEAD_BYTES, TransactionId, transaction_id_of

if TYPE_CHECKING:
    from collections.abc import Iterable

Source = Literal["added", "modified", "removed"]
"""The list of Plaid's answer that an entry came in."""

PART_BYTES: Final = 300_000
"""Of an entry's JSON in a part. ASCII only shrinks, so that a part stays well below DynamoDB's 400 KB."""
_COMPRESSION_LEVEL: Final = 9


@dataclass(frozen=True, slots=True)
class BrokenEntry:
    """An entry that breaks Plaid's contract.

    Attributes:
        field: what of it broke, as `ContractBrokenError` names it.
        transaction_id: None where it is missing, or no row could have it for a key.
        raw: the entry's JSON with exact numbers and sorted keys, in ASCII: half a surrogate pair, which UTF-8 has no
            form for, stays the escape that it came as.
    """

    source: Source
    field: str
    transaction_id: TransactionId | None
    raw: bytes = dataclasses.field(repr=False)

    @classmethod
    def of(cls, source: Source, field: str, entry: object) -> BrokenEntry:
        """Return the entry, as parsed by `exact_json`, in the form that is kept.

        Raises:
            InvalidJsonError: it is nested too deeply to be written.
        """
        return cls(source, field, _readable_id(entry), exact_json.dumps(entry, ascii_only=True).encode())

    @property
    def entry_id(self) -> str:
        """SHA-256 of where it came and what it holds, in hex."""
        return hashlib.sha256(self.source.encode() + self.raw).hexdigest()


@dataclass(frozen=True, slots=True)
class Part:
    """One row of the Quarantine table.

    Attributes:
        number: counted from 0.
        parts: how many there are of the entry.
        content: this part of `raw`, compressed.
    """

    entry: BrokenEntry
    entry_id: str
    number: int
    parts: int
    content: bytes = dataclasses.field(repr=False)

    @property
    def stored_bytes(self) -> int:
        """About how many bytes it takes in the table, rounded up."""
        return ROW_OVERHEAD_BYTES + len((self.entry.transaction_id or "").encode()) + len(self.content)


def into_parts(entry: BrokenEntry) -> list[Part]:
    """Cut an entry into parts."""
    raw, entry_id = entry.raw, entry.entry_id
    cuts = [raw[start : start + PART_BYTES] for start in range(0, len(raw), PART_BYTES)]
    return [
        Part(entry, entry_id, number, len(cuts), zlib.compress(cut, _COMPRESSION_LEVEL))
        for number, cut in enumerate(cuts)
    ]


def join(contents: Iterable[bytes]) -> bytes:
    """Return the `raw` of an entry from the contents of its parts, in their order."""
    return b"".join(map(zlib.decompress, contents))


def _readable_id(entry: object) -> TransactionId | None:
    if not isinstance(entry, dict):
        return None
    try:
        return transaction_id_of(entry)
    except ContractBrokenError:
        return None
