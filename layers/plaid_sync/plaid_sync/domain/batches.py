"""Splitting values into batches that a call of AWS takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_T = TypeVar("_T")


def batches(
    values: Iterable[_T],
    size_of: Callable[[_T], int],
    max_count: int,
    max_size: int,
    count_of: Callable[[_T], int] = lambda _: 1,
) -> Iterator[list[_T]]:
    """Yield the values in order, so many at most together, of so many bytes at most; a larger one goes alone.

    Args:
        values: the values.
        size_of: the bytes of one.
        max_count: of a batch.
        max_size: bytes of a batch.
        count_of: as how many one counts.
    """
    batch: list[_T] = []
    size = count = 0
    for value in values:
        cost, counts = size_of(value), count_of(value)
        if batch and (count + counts > max_count or size + cost > max_size):
            yield batch
            batch, size, count = [], 0, 0
        batch.append(value)
        size += cost
        count += counts
    if batch:
        yield batch
