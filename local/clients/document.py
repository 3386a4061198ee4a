"""One OpenAPI document with everything that clients need types of: the Items API and the events on the bus."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any, Final

import yaml

from local.stack.paths import PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_API: Final = PROJECT / "docs" / "openapi.yaml"
_EVENTS: Final = PROJECT / "docs" / "events"
_REF: Final = "#/components/schemas/"
Schema = dict[str, Any]


def with_decimals(schema: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a schema whose numbers have the format `decimal`, for languages that have exact decimals."""
    if isinstance(schema, list):
        return [with_decimals(member) for member in schema]
    if not isinstance(schema, dict):
        return schema
    types = schema.get("type")
    number = types == "number" or (isinstance(types, list) and "number" in types)
    return {name: with_decimals(member) for name, member in schema.items()} | ({"format": "decimal"} if number else {})


def client_document(api: Path = _API, events: Path = _EVENTS) -> Schema:
    """Return docs/openapi.yaml, whose components have a name for each body, and the schemas of docs/events.

    Bodies that the document writes in place get the operation's name, as `ListItemsResponse`; the event of
    `TransactionAdded.v1.schema.json` is `TransactionAddedV1`.

    Raises:
        ValueError: two schemas have one name.
    """
    document: Schema = yaml.safe_load(api.read_text(encoding="utf-8"))
    schemas = document["components"]["schemas"]
    bodies = [body for path in document["paths"].values() for body in _bodies(path, document)]
    for name, holder in bodies:
        if "$ref" not in holder["schema"]:
            _add(schemas, name, holder["schema"])
            holder["schema"] = {"$ref": _REF + name}
    for file in sorted(events.glob("*.schema.json")):
        _add_event(schemas, file)
    return document


def _bodies(path: Schema, document: Schema) -> Iterator[tuple[str, Schema]]:
    """Yield the media type objects of the JSON bodies that a path's operations take and succeed with, with names."""
    for operation in path.values():
        if not isinstance(operation, dict) or "operationId" not in operation:
            continue
        name = operation["operationId"][:1].upper() + operation["operationId"][1:]
        successes = [response for status, response in operation["responses"].items() if str(status).startswith("2")]
        for suffix, found in [("Request", operation.get("requestBody", {})), *(("Response", success) for success in successes)]:
            json_body = _resolved(found, document).get("content", {}).get("application/json")
            if json_body is not None:
                yield name + suffix, json_body


def _resolved(found: Schema, document: Schema) -> Schema:
    """Return what a reference leads to, once for each that refers to it: the copy may get another name."""
    if "$ref" not in found:
        return found
    target: Any = document
    for member in found["$ref"].removeprefix("#/").split("/"):
        target = target[member]
    reference = dict(copy.deepcopy(target))
    found.clear()
    found.update(reference)
    return found


def _add_event(schemas: Schema, file: Path) -> None:
    """Add an event's schema, and those that it defines for itself."""
    schema: Schema = json.loads(file.read_text(encoding="utf-8"))
    name = _event_name(file.name)

    def moved(reference: str) -> str:
        other, _, definition = reference.partition("#/$defs/")
        return _REF + (_event_name(other.rpartition("/")[2]) if other else name) + definition

    definitions = schema.pop("$defs", {})
    for member in ("$schema", "$id"):
        schema.pop(member, None)
    _add(schemas, name, _with_references(schema, moved))
    for definition, content in definitions.items():
        _add(schemas, name + definition, _with_references(content, moved))


def _event_name(file: str) -> str:
    stem, _, version = file.removesuffix(".schema.json").partition(".")
    return stem + version.upper()


def _with_references(schema: Any, moved: Callable[[str], str]) -> Any:  # noqa: ANN401 - JSON
    if isinstance(schema, list):
        return [_with_references(member, moved) for member in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: moved(member) if name == "$ref" and isinstance(member, str) else _with_references(member, moved)
        for name, member in schema.items()
    }


def _add(schemas: Schema, name: str, schema: Schema) -> None:
    if schemas.setdefault(name, schema) != schema:
        raise ValueError(f"two schemas are called {name}")
