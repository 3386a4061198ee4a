"""Which transactions a list has, and in which order: the query parameters of the list."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.domain.errors import InvalidRequestError
from plaid_sync.domain.requests import optional_choice, optional_text
from plaid_sync.domain.text import MAX_TEXT_LENGTH

if TYPE_CHECKING:
    from collections.abc import Mapping

FILTERS: Final = ("from", "to", "min_amount", "max_amount", "pending", "text", "category")
_AMOUNT: Final = re.compile(r"-?[0-9]{1,38}(\.[0-9]{1,38})?")
_SEARCHED: Final = ("name", "merchant_name", "original_description")
_CATEGORIES: Final = ("primary", "detailed")


class Order(StrEnum):
    """The order of a list."""

    ID = "id"
    """By id, which never changes, with consistent reads."""
    NEWEST = "newest"
    OLDEST = "oldest"


@dataclass(frozen=True, slots=True)
class TransactionFilter:
    """What a transaction has to be; None: anything.

    Attributes:
        from_date: its `date` is not before this ISO date.
        to_date: its `date` is not after this ISO date.
        min_amount: its amount is not below this, in any currency.
        max_amount: its amount is not above this.
        text: is in its name, its merchant's name or its original description, in any case.
        category: its primary or detailed personal finance category.
    """

    from_date: str | None = None
    to_date: str | None = None
    min_amount: Decimal | None = None
    max_amount: Decimal | None = None
    pending: bool | None = None
    text: str | None = None
    category: str | None = None

    def matches(self, document: Mapping[str, Any]) -> bool:
        """Return whether Plaid's object of a transaction is as required."""
        return (
            _in_range(document["date"], self.from_date, self.to_date)
            and _in_range(Decimal(document["amount"]), self.min_amount, self.max_amount)
            and self.pending in {None, document["pending"]}
            and (self.text is None or _has_text(document, self.text.casefold()))
            and (self.category is None or self.category in _categories_of(document))
        )


@dataclass(frozen=True, slots=True)
class TransactionsQuery:
    """A request for a page: the list, and the maximum of transactions."""

    order: Order
    filter: TransactionFilter
    limit: int


def parse_filter(query: Mapping[str, str]) -> TransactionFilter:
    """Return the filter that query parameters describe.

    Raises:
        InvalidRequestError: one is malformed, or a range has its ends the wrong way around.
    """
    pending = optional_choice(query, "pending", ("true", "false"))
    found = TransactionFilter(
        from_date=_date(query, "from"),
        to_date=_date(query, "to"),
        min_amount=_amount(query, "min_amount"),
        max_amount=_amount(query, "max_amount"),
        pending=None if pending is None else pending == "true",
        text=optional_text(query, "text", MAX_TEXT_LENGTH),
        category=optional_text(query, "category", MAX_TEXT_LENGTH),
    )
    if not _in_range(found.to_date, found.from_date, None):
        raise InvalidRequestError("to", "send a date that is not before from")
    if not _in_range(found.max_amount, found.min_amount, None):
        raise InvalidRequestError("max_amount", "send an amount that is not below min_amount")
    return found


def parse_order(query: Mapping[str, str]) -> Order:
    """Return the query's `order`.

    Raises:
        InvalidRequestError: there is no such order.
    """
    return Order(optional_choice(query, "order", tuple(Order)) or Order.ID)


def _in_range(value: Any, low: Any, high: Any) -> bool:  # noqa: ANN401 - dates or amounts
    return value is None or ((low is None or value >= low) and (high is None or value <= high))


def _has_text(document: Mapping[str, Any], text: str) -> bool:
    return any(text in value.casefold() for value in map(document.get, _SEARCHED) if isinstance(value, str))


def _categories_of(document: Mapping[str, Any]) -> tuple[object, ...]:
    category = document.get("personal_finance_category")
    return tuple(map(category.get, _CATEGORIES)) if isinstance(category, dict) else ()


def _date(query: Mapping[str, str], name: str) -> str | None:
    text = query.get(name)
    if text is None:
        return None
    try:
        if date.fromisoformat(text).isoformat() == text:
            return text
    except ValueError:
        pass
    raise InvalidRequestError(name, "send a date, YYYY-MM-DD")


def _amount(query: Mapping[str, str], name: str) -> Decimal | None:
    text = query.get(name)
    if text is None:
        return None
    if _AMOUNT.fullmatch(text) is None:
        raise InvalidRequestError(name, "send a decimal number, such as -12.34")
    return Decimal(text)
