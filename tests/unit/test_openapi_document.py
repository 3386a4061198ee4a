"""docs/openapi.yaml and docs/api.md: complete, and consistent with the template and the code.

That the functions do what it says is tested in tests/component/test_openapi.py.
"""

from __future__ import annotations

import copy
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import jsonschema_rs
import pytest
import yaml
from plaid_sync.core.error_codes import Remedy
from plaid_sync.core.history import EntryKind
from plaid_sync.core.items import MAXIMUM_HISTORY_DAYS, ItemStatus
from plaid_sync.core.items_api.requests import LONGEST_USER_ID
from plaid_sync.core.lifecycle.states import TABLE, Action
from plaid_sync.core.linking import link_requests
from schemathesis.specs.openapi.definitions import OPENAPI_31

from tests.template.cloudformation import PROJECT, Template

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCUMENT: Final[dict[str, Any]] = yaml.safe_load((PROJECT / "docs" / "openapi.yaml").read_text())
SCHEMAS: Final = DOCUMENT["components"]["schemas"]
GUIDE: Final = (PROJECT / "docs" / "api.md").read_text()
PUBLIC: Final = {"POST /webhooks/plaid"}
UNREACHABLE: Final = {("route_unknown", 404)}
"""Of a route that the template would have and the function not."""


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, found in document["paths"].items()
        for method, operation in found.items()
        if method != "parameters"
    }


def resolved(document: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """Return what a part refers to, or the part itself."""
    target: Any = document
    for step in part.get("$ref", "").split("/")[1:]:
        target = target[step]
    return target if "$ref" in part else part


# ---- the document by itself


def test_the_document_is_openapi_3_1() -> None:
    errors = jsonschema_rs.Draft202012Validator(OPENAPI_31, validate_formats=True).iter_errors(DOCUMENT)
    assert [error.message for error in errors] == []


def test_a_document_that_is_not_openapi_is_found() -> None:
    document = copy.deepcopy(DOCUMENT)
    document["paths"]["/items"]["get"]["responses"] = {"ok": {}}
    assert not jsonschema_rs.Draft202012Validator(OPENAPI_31).is_valid(document)


def contents(part: Any) -> Iterator[dict[str, Any]]:
    """Every media type of requests and answers, at any depth."""
    if isinstance(part, dict):
        yield from part.get("content", {}).values()
        for inner in part.values():
            yield from contents(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from contents(inner)


def examples() -> Iterator[tuple[dict[str, Any], Any]]:
    for content in contents(DOCUMENT):
        if "example" in content:
            yield content["schema"], content["example"]
        for example in content.get("examples", {}).values():
            yield content["schema"], example["value"]


def test_every_schema_is_valid_and_every_example_fits_it() -> None:
    for schema in [*SCHEMAS.values(), *(content["schema"] for content in contents(DOCUMENT))]:
        jsonschema_rs.meta.validate(schema | {"$schema": "https://json-schema.org/draft/2020-12/schema"})
    found = list(examples())
    assert len(found) > 15
    for schema, example in found:
        complete = {**schema, "components": DOCUMENT["components"]}
        jsonschema_rs.Draft202012Validator(complete, validate_formats=True).validate(example)


def test_every_reference_exists_and_every_component_is_used() -> None:
    references = set(re.findall(r"#/components/(\w+)/(\w+)", str(DOCUMENT)))
    components = {(kind, name) for kind, named in DOCUMENT["components"].items() for name in named}
    assert references == components - {("securitySchemes", "sigv4")}


def test_the_values_of_the_document_are_those_of_the_code() -> None:
    assert set(SCHEMAS["State"]["enum"]) == set(ItemStatus)
    assert set(SCHEMAS["Remedy"]["enum"]) == set(Remedy)
    assert set(SCHEMAS["HistoryEntry"]["properties"]["kind"]["enum"]) == set(EntryKind)
    assert tuple(SCHEMAS["Products"]["items"]["enum"]) == link_requests.PRODUCTS
    assert tuple(SCHEMAS["CountryCodes"]["items"]["enum"]) == link_requests.COUNTRIES
    assert tuple(SCHEMAS["Language"]["enum"]) == link_requests.LANGUAGES
    assert SCHEMAS["ClientName"]["maxLength"] == link_requests.LONGEST_CLIENT_NAME
    assert SCHEMAS["ClientUserId"]["maxLength"] == LONGEST_USER_ID
    assert SCHEMAS["DaysRequested"]["maximum"] == MAXIMUM_HISTORY_DAYS


# ---- the document and the template


def differing_routes(document: dict[str, Any], template: Template) -> set[str]:
    routes = {f"{event['Method'].upper()} {event['Path']}" for _, event in template.events("HttpApi")}
    return routes ^ set(operations(document))


def unlike_in_security(document: dict[str, Any], template: Template) -> set[str]:
    signed = {
        f"{event['Method'].upper()} {event['Path']}"
        for _, event in template.events("HttpApi")
        if event.get("Auth") == {"Authorizer": "AWS_IAM"}
    }
    documented = {
        route
        for route, operation in operations(document).items()
        if operation.get("security", document["security"]) == [{"sigv4": []}]
    }
    return signed ^ documented | PUBLIC & signed


@pytest.fixture(scope="module")
def template() -> Template:
    return Template.parse((PROJECT / "template.yaml").read_text())


def test_document_and_template_have_the_same_routes_and_all_but_plaids_want_a_signature(template: Template) -> None:
    assert differing_routes(DOCUMENT, template) == set()
    assert unlike_in_security(DOCUMENT, template) == set()
    assert DOCUMENT["security"] == [{"sigv4": []}]
    assert {route for route, found in operations(DOCUMENT).items() if found.get("security") == []} == PUBLIC


def test_a_missing_route_is_found(template: Template) -> None:
    events = "Resources/ItemsFunction/Properties/Events"
    document = copy.deepcopy(DOCUMENT)
    del document["paths"]["/items"]["get"]
    assert differing_routes(document, template) == {"GET /items"}
    other = template.broken(f"{events}/ListItems/Properties/Path", "/item")
    assert differing_routes(DOCUMENT, other) == {"GET /items", "GET /item"}
    open_door = template.broken(f"{events}/ListItems/Properties/Auth", {"Authorizer": "NONE"})
    assert unlike_in_security(DOCUMENT, open_door) == {"GET /items"}


# ---- the document and the guide


def table(heading: str) -> list[list[str]]:
    """Return the cells of the first table under a heading, without its head."""
    section = re.split(rf"^## {heading}$", GUIDE, maxsplit=1, flags=re.MULTILINE)[1]
    (rows,) = re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)[:1]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows.splitlines()[2:]]


def successes(operation: dict[str, Any]) -> str:
    return " ".join(status for status in operation["responses"] if status < "300")


def test_the_guide_has_every_route_with_its_answer() -> None:
    listed = {row[0].strip("`"): row[2] for row in table("Routes")}
    assert listed == {route: successes(found) for route, found in operations(DOCUMENT).items() if route not in PUBLIC}


def documented_codes(document: dict[str, Any]) -> set[tuple[str, int]]:
    """Return the codes of problem details that the document names, with their status."""
    found = set()
    for operation in operations(document).values():
        for status, answer in operation["responses"].items():
            content = resolved(document, answer).get("content", {})
            schema = content.get("application/problem+json", {}).get("schema", {})
            names = re.findall(r"'enum': \[(.*?)\]", str(schema))
            found |= {(code, int(status)) for listed in names for code in re.findall(r"'(\w+)'", listed)}
    return found


def codes_of_the_code() -> set[tuple[str, int]]:
    """Return the codes that the code refuses with, from the source, with their HTTP status."""
    found = set()
    for path in (PROJECT / "layers" / "plaid_sync" / "plaid_sync").rglob("*.py"):
        refusals = re.findall(r'\bHTTPStatus\.(\w+),\s*f?"([\w{}.]+)"', path.read_text())
        found |= {(code, HTTPStatus[status].value) for status, code in refusals}
    found.remove(("item_{status.value}", 409))
    refused = {status for (status, _), step in TABLE.items() if step.action is Action.REFUSE}
    return found | {(f"item_{status.value}", 409) for status in refused - {ItemStatus.REMOVED}}


def test_guide_document_and_code_have_the_same_error_codes() -> None:
    listed = {(code.strip("`"), int(status)) for code, status, *_ in table("Errors")}
    assert listed == documented_codes(DOCUMENT)
    assert listed == codes_of_the_code() - UNREACHABLE


def test_a_missing_code_is_found() -> None:
    document = copy.deepcopy(DOCUMENT)
    del document["components"]["responses"]["ItemNotFound"]["content"]
    for path, method in (("/items", "post"), ("/items/{item_id}/sync", "post")):
        del document["paths"][path][method]["responses"]["404"]
    assert documented_codes(DOCUMENT) - documented_codes(document) == {
        ("item_not_found", 404),
        ("link_session_unknown", 404),
    }
