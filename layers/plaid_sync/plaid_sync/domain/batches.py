"""Splitting values into batches that a call of AWS takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_T = TypeVar("_T")


def batches(values: Iterable[_T], size_of: Callable[[_T], int], max_count: int, max_size: int) -> Iterator[list[_T]]:
    """Yield the values in order, so many at most together, of so many bytes at most; a larger one goes alone."""
    batch: list[_T] = []
    size = 0
    for value in values:
        cost = size_of(value)
        if batch and (len(batch) == max_count or size + cost > max_size):
            yield batch
            batch, size = [], 0
        batch.append(value)
        size += cost
    if batch:
        yield batch
