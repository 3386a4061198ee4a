"""Compression of what the tables store: zlib with a preset dictionary, which the stream itself names.

Compare contents and never streams: another build of zlib compresses the same content differently.
"""

from __future__ import annotations

import zlib
from typing import Final

from plaid_sync.domain.dictionaries import DICTIONARIES

_LEVEL: Final = 6
_WINDOW_BITS: Final = 13  # 8 KB, a dictionary with a transaction: starting with a smaller window takes less time
_MEMORY_LEVEL: Final = 5
_HAS_DICTIONARY: Final = 0x20  # FDICT, in the second byte of the stream (RFC 1950, section 2.2)
_BY_CHECKSUM: Final = {zlib.adler32(dictionary): dictionary for dictionary in DICTIONARIES}


class Compressor:
    """Compresses texts with a dictionary."""

    def __init__(self, dictionary: bytes) -> None:
        strategy = zlib.Z_DEFAULT_STRATEGY
        # A copy of this takes less time than one that has to read the dictionary.
        self._started = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW_BITS, _MEMORY_LEVEL, strategy, dictionary)

    def compress(self, text: bytes) -> bytes:
        """Return a zlib stream that names the dictionary."""
        stream = self._started.copy()
        return stream.compress(text) + stream.flush()


def has_dictionary(stream: bytes) -> bool:
    """Return whether a zlib stream needs a dictionary."""
    return len(stream) > 1 and bool(stream[1] & _HAS_DICTIONARY)


def decompress(stream: object) -> bytes | None:
    """Return the text of a zlib stream; None where it is none, or damaged, or its dictionary is unknown."""
    if not isinstance(stream, bytes):
        return None
    dictionary = _BY_CHECKSUM.get(int.from_bytes(stream[2:6], "big"), b"") if has_dictionary(stream) else b""
    decompressor = zlib.decompressobj(zdict=dictionary)
    try:
        text = decompressor.decompress(stream)
    except zlib.error:
        return None
    return text if decompressor.eof else None
