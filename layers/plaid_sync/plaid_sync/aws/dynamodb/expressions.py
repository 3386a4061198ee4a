"""Values in DynamoDB's wire form, and expressions, so that no attribute name can collide with a reserved word."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Clamped, Context, Decimal, Inexact, Overflow, Rounded, Underflow
from typing import Any, Final

from plaid_sync.domain.item import StateName

AttributeValue = dict[str, Any]

_NUMBERS: Final = Context(prec=38, Emin=-128, Emax=126, traps=[Clamped, Overflow, Inexact, Rounded, Underflow])
"""DynamoDB's numbers: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html."""


def serialize(value: object) -> AttributeValue:
    """Return a value in DynamoDB's wire form; a decimal stays exact.

    Not boto3's `TypeSerializer`: boto3 costs each cold start some 20 ms for resources and transfers to S3 that nothing
    here uses, and its deserializer refuses numbers that DynamoDB returns. A test compares the two.

    Raises:
        TypeError: DynamoDB has no such type, or the value would not be exact: a float, NaN, an infinity.
        decimal.DecimalException: the number has more than 38 digits, or an exponent that DynamoDB does not store.
    """
    match value:
        case str():
            wire: AttributeValue = {"S": value}
        case None:
            wire = {"NULL": True}
        case bool():
            wire = {"BOOL": value}
        case int() | Decimal():
            wire = {"N": _number(value)}
        case bytes():
            wire = {"B": value}
        case Mapping():
            wire = {"M": {name: serialize(member) for name, member in value.items()}}
        case list() | tuple():
            wire = {"L": [serialize(member) for member in value]}
        case set() | frozenset() if all(isinstance(member, str) for member in value):
            wire = {"SS": list(value)}
        case _:
            raise TypeError(f"DynamoDB stores no {type(value).__name__}")
    return wire


def _number(value: int | Decimal) -> str:
    number = _NUMBERS.create_decimal(value)
    if not number.is_finite():
        raise TypeError("DynamoDB stores no infinity and no NaN")
    return str(number)


def deserialize(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return an item's attributes as Python values; a number has all its digits, written out or not."""
    return {name: _read(attribute) for name, attribute in attributes.items()}


def _read(attribute: AttributeValue) -> Any:  # noqa: ANN401 - what DynamoDB holds
    ((kind, content),) = attribute.items()
    return _READERS[kind](content)


_READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "S": str,
    "N": Decimal,
    "B": bytes,
    "BOOL": bool,
    "NULL": lambda _: None,
    "M": deserialize,
    "L": lambda members: [_read(member) for member in members],
    "SS": set,
    "NS": lambda numbers: set(map(Decimal, numbers)),
    "BS": set,
}


@dataclass(slots=True)
class Expression:
    """The names and values that the expressions of one request share."""

    names: dict[str, str] = field(default_factory=dict)
    values: dict[str, AttributeValue] = field(default_factory=dict)

    def name(self, attribute: str) -> str:
        """Return the placeholder for an attribute."""
        placeholder = f"#{attribute}"
        self.names[placeholder] = attribute
        return placeholder

    def value(self, value: object) -> str:
        """Return the placeholder for a value."""
        placeholder = f":{len(self.values)}"
        self.values[placeholder] = serialize(value)
        return placeholder

    def equals(self, attribute: str, value: object) -> str:
        """Return the condition that the attribute has this value; None means that it is absent."""
        if value is None:
            return f"attribute_not_exists({self.name(attribute)})"
        return f"{self.name(attribute)} = {self.value(value)}"

    def fenced(self, generation: int) -> str:
        """Return the condition under which an attempt may write: its generation is the Item's, which is not removed."""
        not_removed = f"{self.name('state')} <> {self.value(StateName.REMOVED.value)}"
        return f"{self.equals('generation', generation)} AND {not_removed}"

    def update(
        self, sets: dict[str, Any], defaults: dict[str, Any] | None = None, adds: Mapping[str, int] | None = None
    ) -> str:
        """Return an update expression.

        Args:
            sets: attributes and their new values; None removes the attribute.
            defaults: attributes that are set only where they are absent.
            adds: numbers, and by how much each is raised.
        """
        assignments = [
            f"{self.name(attribute)} = {self.value(value)}" for attribute, value in sets.items() if value is not None
        ]
        assignments += [
            f"{self.name(attribute)} = if_not_exists({self.name(attribute)}, {self.value(value)})"
            for attribute, value in (defaults or {}).items()
        ]
        removals = [self.name(attribute) for attribute, value in sets.items() if value is None]
        clauses = [f"SET {', '.join(assignments)}"] if assignments else []
        clauses += [f"REMOVE {', '.join(removals)}"] if removals else []
        raised = [f"{self.name(attribute)} {self.value(amount)}" for attribute, amount in (adds or {}).items()]
        clauses += [f"ADD {', '.join(raised)}"] if raised else []
        return " ".join(clauses)

    def arguments(self) -> dict[str, Any]:
        """Return the request's arguments for the names and values used."""
        arguments: dict[str, Any] = {"ExpressionAttributeNames": self.names}
        if self.values:
            arguments["ExpressionAttributeValues"] = self.values
        return arguments


def number_of(values: dict[str, Any], name: str) -> int:
    """Return an integer of a deserialized row; 0 where it is missing, or of a wrong type."""
    value = values.get(name)
    return int(value) if isinstance(value, Decimal) else 0
