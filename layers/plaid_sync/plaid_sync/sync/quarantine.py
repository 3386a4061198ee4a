"""Splitting invalid entries into the rows of the Quarantine table, where they are kept until an operator resolves them.

An entry is addressed by its content, so that keeping it again is idempotent. It is kept in parts, because an entry may
be larger than a DynamoDB item. Each part is compressed by itself: another version of zlib compresses differently, and
parts of two attempts must still fit together.
"""

from __future__ import annotations

import dataclasses
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from plaid_sync.domain.transaction import ROW_OVERHEAD_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from plaid_sync.pull.pages import InvalidEntry

PART_BYTES: Final = 300_000
"""Bytes of an entry's JSON in a part. ASCII only shrinks, so that a part stays well below DynamoDB's 400 KB."""
_COMPRESSION_LEVEL: Final = 9


@dataclass(frozen=True, slots=True)
class Part:
    """One row of the Quarantine table.

    Attributes:
        number: counted from 0.
        parts: how many there are of the entry.
        content: this part of `raw`, compressed.
    """

    entry: InvalidEntry
    entry_id: str
    number: int
    parts: int
    content: bytes = dataclasses.field(repr=False)

    @property
    def stored_bytes(self) -> int:
        """About how many bytes it takes in the table, rounded up."""
        return ROW_OVERHEAD_BYTES + len((self.entry.transaction_id or "").encode()) + len(self.content)


def split_entry(entry: InvalidEntry) -> list[Part]:
    """Cut an entry into parts."""
    raw, entry_id = entry.raw, entry.entry_id
    cuts = [raw[start : start + PART_BYTES] for start in range(0, len(raw), PART_BYTES)]
    return [
        Part(entry, entry_id, number, len(cuts), zlib.compress(cut, _COMPRESSION_LEVEL))
        for number, cut in enumerate(cuts)
    ]


def join_parts(contents: Iterable[bytes]) -> bytes:
    """Return the `raw` of an entry from the contents of its parts, in their order."""
    return b"".join(map(zlib.decompress, contents))
