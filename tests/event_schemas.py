"""The schemas of docs/events, and the events that are valid by them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import jsonschema_rs

from local.stack.paths import PROJECT

if TYPE_CHECKING:
    from collections.abc import Mapping

EVENTS: Final = PROJECT / "docs" / "events"
SCHEMAS: Final[dict[str, dict[str, Any]]] = {
    file.name.partition(".")[0]: json.loads(file.read_text()) for file in sorted(EVENTS.glob("*.v1.schema.json"))
}
_VALIDATORS: Final = {
    name: jsonschema_rs.Draft202012Validator(schema, validate_formats=True) for name, schema in SCHEMAS.items()
}


def validate(detail: Mapping[str, Any]) -> None:
    """Check the detail of an event of the feed by the schema that its type names.

    Raises:
        jsonschema_rs.ValidationError: it is no such event.
        KeyError: there is no such schema.
    """
    name, _, version = detail["type"].partition(".")
    _VALIDATORS[{"v1": name}[version]].validate(dict(detail))
