"""Decisions read from bytes, so that whoever can vary bytes can vary structured inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

_T = TypeVar("_T")
_BYTE = 256


class Choices:
    """A case's decisions, in order. Once its bytes are used up, each is the first alternative: the plain one."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def below(self, limit: int) -> int:
        """Return a number from 0 to `limit` - 1."""
        size = 1 if limit <= _BYTE else 2
        return int.from_bytes(self.take(size), "little") % limit

    def one_in(self, count: int) -> bool:
        """Tell whether the rarer of two things happens."""
        return self.below(count) == count - 1

    def pick(self, alternatives: Sequence[_T]) -> _T:
        """Return one of the alternatives, the first one by default."""
        return alternatives[self.below(len(alternatives))]

    def take(self, size: int) -> bytes:
        """Return so many bytes, or as many as are left."""
        taken = self._data[self._position : self._position + size]
        self._position += size
        return taken

    def text(self, longest: int = 16) -> str:
        """Return a short text of any characters, lone surrogates among them."""
        raw = self.take(self.below(longest + 1))
        return raw.decode("utf-8" if self.one_in(2) else "latin-1", "surrogateescape")

    def rest(self) -> bytes:
        """Return all that is left, as it is."""
        return self.take(len(self._data))
