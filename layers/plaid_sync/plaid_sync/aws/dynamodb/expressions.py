"""Builds DynamoDB expressions, so that no attribute name can collide with a reserved word."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from boto3.dynamodb.types import Binary, TypeDeserializer, TypeSerializer

from plaid_sync.domain.item import StateName

if TYPE_CHECKING:
    from collections.abc import Mapping

AttributeValue = dict[str, Any]


class _ExactDeserializer(TypeDeserializer):
    """Reads every number that DynamoDB holds: boto3 refuses those of more than 38 digits in its notation."""

    def _deserialize_n(self, value: str) -> Decimal:
        return Decimal(value)


_SERIALIZER: Final = TypeSerializer()
_DESERIALIZER: Final = _ExactDeserializer()


_SIMPLE: Final = {str: "S", bytes: "B", bool: "BOOL"}
"""Types of values whose wire form is the value itself; boto3 finds that out by trying all types."""


def serialize(value: object) -> AttributeValue:
    """Return a value in DynamoDB's wire form; a float is refused, a decimal stays exact."""
    simple = _SIMPLE.get(type(value))
    return dict(_SERIALIZER.serialize(value)) if simple is None else {simple: value}


def deserialize(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return an item's attributes as Python values."""
    return {name: _deserialize(value) for name, value in attributes.items()}


def _deserialize(attribute: Any) -> Any:  # noqa: ANN401 - any type that DynamoDB has
    for name in ("S", "BOOL"):
        if name in attribute:
            return attribute[name]
    value = _DESERIALIZER.deserialize(attribute)
    return bytes(value) if isinstance(value, Binary) else value  # type: ignore[call-overload] # stubs lack __bytes__


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
