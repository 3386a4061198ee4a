"""Pages of a list that a filter thins out: read on until there are enough rows."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.adapters.aws import aws_errors
from plaid_sync.core.failures import RetryableError
from plaid_sync.core.items_api.requests import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_MOST_READS: Final = 20
"""A filter can leave nothing of many reads: then a page is short, and says where the next one begins."""


def filtered(
    read: Callable[..., Any], request: dict[str, Any], limit: int, after: dict[str, str] | None
) -> Iterator[tuple[list[dict[str, Any]], dict[str, Any] | None]]:
    """Read up to `limit` rows; each read gives its rows and the key that it ended at, None at the end of the list.

    Args:
        read: the client's `query` or `scan`.
        request: its arguments apart from `Limit`.
        limit: rows.
        after: the place that the caller named, which `request` starts at.

    Raises:
        InvalidRequestError: DynamoDB refuses the place.
        RetryableError: DynamoDB can't be read now.
    """
    found = 0
    for _ in range(_MOST_READS):
        with _place_checked(after), aws_errors():
            answer = read(Limit=limit - found, **request)
        rows, last = answer["Items"], answer.get("LastEvaluatedKey")
        yield rows, last
        found += len(rows)
        if last is None or found >= limit:
            return
        request = request | {"ExclusiveStartKey": last}


def place(last: dict[str, Any] | None, names: Sequence[str]) -> dict[str, str] | None:
    """Return the parts of a key of these names, as the caller is told where the next page begins."""
    return None if last is None else {name: str(last[name]["S"]) for name in names}


@contextmanager
def _place_checked(after: dict[str, str] | None) -> Iterator[None]:
    """Turn DynamoDB's refusal of a place in a list, which only the caller can have given, into the caller's fault."""
    try:
        yield
    except RetryableError as error:
        if after is None or error.code != "ValidationException":
            raise
        raise InvalidRequestError("next", "send the next of the page before as it is, or leave it out") from error
