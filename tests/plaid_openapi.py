"""What violates Plaid's OpenAPI file: in the requests to Plaid, its responses and its webhooks.

PLAID_OPENAPI names the file, which is not part of this repository: JSON or YAML, also compressed with gzip.
"""

from __future__ import annotations

import gzip
import json
import os
import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import jsonschema_rs
import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from local.plaid import PlaidSimulator

Schema = dict[str, Any]
Key = tuple[str, ...]

ABSENT: Final = (
    "PLAID_OPENAPI is not set: download 2020-09-14.yml from https://github.com/plaid/plaid-openapi, and set "
    "PLAID_OPENAPI to its path"
)
NEWER: Final[Mapping[str, frozenset[str]]] = {
    "Transaction": frozenset({"merchant_category_code", "running_balance"}),
    "LinkEventsWebhook": frozenset({"environment"}),
    "Security": frozenset({"figi"}),
}
"""Fields that the file's schemas do not have, and plaid-python's models or the file's own examples do."""
_OK: Final = 200
_CODE: Final = re.compile(r"\W*(\w+)\W*")


@dataclass(slots=True)
class Report:
    """What was validated, by kind and name, and what it violated."""

    validated: Counter[Key] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        kinds = Counter[str]()
        for key, count in self.validated.items():
            kinds[key[0]] += count
        counts = ", ".join(f"{count} {kind}s" for kind, count in sorted(kinds.items()))
        return f"Plaid's OpenAPI file: {counts} validated, {len(self.violations)} violations"

    def count(self, *kinds: str) -> set[Key]:
        """Return the names of what was validated of some kinds."""
        return {key[1:] for key in self.validated if key[0] in kinds}


class PlaidOpenApi:
    """Validates against one version of the file.

    An object must not have properties that its schema does not name: Plaid's schemas allow them for later versions.
    """

    def __init__(self, document: Schema) -> None:
        self._paths = document["paths"]
        self._schemas = document["components"]["schemas"]
        self._validators: dict[str, jsonschema_rs.Draft202012Validator] = {}
        self._webhooks = {
            key: name for name, schema in self._schemas.items() if (key := _webhook_key(name, schema)) is not None
        }

    def request(self, report: Report, path: str, body: bytes) -> None:
        """Validate the request of a call that Plaid accepted, or should have."""
        schema = self._paths[path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        self._validate(report, ("request", path), schema, json.loads(body))

    def response(self, report: Report, path: str, status: int, body: bytes) -> None:
        responses = self._paths.get(path, self._paths["/item/get"])["post"]["responses"]
        described = responses.get(str(status), responses["default"])
        document = json.loads(body)
        kind = ("response", path) if status == _OK else ("error", document["error_code"])
        self._validate(report, kind, described["content"]["application/json"]["schema"], document)

    def webhook(self, report: Report, body: bytes) -> None:
        document = json.loads(body)
        key = (document["webhook_type"], document["webhook_code"])
        if key not in self._webhooks:
            report.violations.append(f"webhook {key}: not in the file")
        else:
            self._validate(report, ("webhook", *key), {"$ref": f"#/{self._webhooks[key]}"}, document)

    def fields(self, name: str) -> set[str]:
        """Return the names of the members of a schema, and of the objects that they are."""
        expanded = self._expand({"$ref": name})
        found, left = set[str](), [expanded]
        while left:
            schema = left.pop()
            found |= schema.get("properties", {}).keys()
            left += [*schema.get("properties", {}).values(), *schema.get("anyOf", ())]
            left += [schema["items"]] if "items" in schema else []
        return found

    def _validate(self, report: Report, kind: Key, schema: Schema, document: object) -> None:
        name = schema["$ref"]
        if name not in self._validators:
            expanded = self._expand(schema)
            self._validators[name] = jsonschema_rs.Draft202012Validator(expanded, validate_formats=True)
        report.validated[kind] += 1
        errors = [
            f"{' '.join(kind)}: {'.'.join(map(str, error.instance_path))}: {error.message[:200]}"
            for error in self._validators[name].iter_errors(document)
        ]
        report.violations += errors

    def _expand(self, schema: Schema, name: str = "") -> Schema:
        """Return a schema without references, in which null is a type."""
        if "$ref" in schema:
            target = schema["$ref"].rsplit("/", 1)[-1]
            return self._expand(self._schemas[target], target)
        expanded = self._joined(schema)
        if "properties" in expanded:
            expanded["properties"] = {key: self._expand(value) for key, value in expanded["properties"].items()}
            expanded["properties"] |= {key: {} for key in NEWER.get(name, ())}
            expanded["additionalProperties"] = False
        elif isinstance(expanded.get("additionalProperties"), dict):
            expanded["additionalProperties"] = self._expand(expanded["additionalProperties"])
        if "items" in expanded:
            expanded["items"] = self._expand(expanded["items"])
        for union in {"anyOf", "oneOf"} & expanded.keys():
            expanded[union] = [self._expand(member) for member in expanded[union]]
        return {"anyOf": [{"type": "null"}, expanded]} if schema.get("nullable") else expanded

    def _joined(self, schema: Schema) -> Schema:
        """Return the members of `allOf` as one schema, without what is only for readers."""
        left_out = ("$ref", "allOf", "default", "description", "example", "nullable", "title")
        joined: Schema = {
            key: value for key, value in schema.items() if key not in left_out and not key.startswith("x-")
        }
        if isinstance(joined.get("exclusiveMinimum"), bool):
            del joined["exclusiveMinimum"]
        if isinstance(joined.get("exclusiveMaximum"), bool):
            del joined["exclusiveMaximum"]
        members = list(schema.get("allOf", ()))
        for member in members:
            resolved = self._schemas[member["$ref"].rsplit("/", 1)[-1]] if "$ref" in member else member
            part = self._joined(resolved)
            properties = {**joined.get("properties", {}), **part.get("properties", {})}
            required = [*joined.get("required", ()), *part.get("required", ())]
            joined = {**joined, **part}
            if properties:
                joined["properties"] = properties
            if required:
                joined["required"] = list(dict.fromkeys(required))
        return joined


def _webhook_key(name: str, schema: Schema) -> tuple[str, str] | None:
    """Return the type and code of a webhook's schema; those of processors have the codes of others."""
    properties = schema.get("properties", {})
    if not {"webhook_type", "webhook_code"} <= properties.keys() or name.startswith("Processor"):
        return None
    kind, code = (_CODE.match(properties[part].get("description", "")) for part in ("webhook_type", "webhook_code"))
    return (kind[1], code[1]) if kind and code else None


@cache
def _load(path: Path) -> PlaidOpenApi:
    raw = path.read_bytes()
    text = gzip.decompress(raw) if path.suffix == ".gz" else raw
    is_json = ".json" in path.suffixes
    return PlaidOpenApi(json.loads(text) if is_json else yaml.load(text, yaml.CSafeLoader))


def openapi() -> PlaidOpenApi:
    """Return the file's validator; skip the test where PLAID_OPENAPI names none."""
    named = os.environ.get("PLAID_OPENAPI")
    if not named:
        pytest.skip(ABSENT)
    return _load(Path(named))


def validate(sim: PlaidSimulator, calls: Iterable[tuple[str, bytes, int, bytes]]) -> Report:
    """Validate the responses of calls, the requests that Plaid accepted, and all webhooks of the simulator."""
    document, report = openapi(), Report()
    for path, request, status, response in calls:
        document.response(report, path, status, response)
        if status == _OK:
            document.request(report, path, request)
    for delivery in sim.webhooks():
        document.webhook(report, delivery.body)
    return report


def show(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    """Print what was validated; fail where something violates the file."""
    with capsys.disabled():
        print(f"\n{report}")  # noqa: T201 - how many were validated is the result
    assert report.violations == [], "\n".join(sorted(set(report.violations))[:40])
