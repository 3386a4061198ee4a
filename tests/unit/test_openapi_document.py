"""docs/openapi.yaml and docs/api.md: complete, and consistent with the template and the code.

That the functions do what it says is tested in tests/integration/test_openapi.py.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import jsonschema_rs
import yaml
from plaid_sync.domain.errors import Refusal, Remedy
from plaid_sync.domain.item import MAX_HISTORY_DAYS, REMOVAL_REASONS, StateName
from plaid_sync.domain.requests import MAX_USER_ID_LENGTH
from plaid_sync.domain.transitions import TRANSITIONS, Action
from plaid_sync.items_api.broker import ENDPOINTS
from plaid_sync.items_api.http import STATUS_OF_REFUSAL
from plaid_sync.linking import link_token_fields
from plaid_sync.linking import requests as link_requests
from schemathesis.specs.openapi.definitions import OPENAPI_31

from tests.template.cloudformation import PROJECT, Template

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCUMENT: Final[dict[str, Any]] = yaml.safe_load((PROJECT / "docs" / "openapi.yaml").read_text())
SCHEMAS: Final = DOCUMENT["components"]["schemas"]
OPERATIONS: Final[dict[str, dict[str, Any]]] = {
    f"{method.upper()} {path}": operation
    for path, found in DOCUMENT["paths"].items()
    for method, operation in found.items()
    if method != "parameters"
}
GUIDE: Final = (PROJECT / "docs" / "api.md").read_text()
CALL_ENDPOINT: Final = "/items/{item_id}/plaid/{endpoint}"
PUBLIC: Final = {"POST /webhooks/plaid"}
UNREACHABLE: Final = {("route_unknown", 404)}
"""Of a route that the template would have and the function not."""


# ---- the document by itself


def test_the_document_is_openapi_3_1() -> None:
    errors = jsonschema_rs.Draft202012Validator(OPENAPI_31, validate_formats=True).iter_errors(DOCUMENT)
    assert [error.message for error in errors] == []


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
    assert set(SCHEMAS["State"]["enum"]) == set(StateName)
    assert set(SCHEMAS["Remedy"]["enum"]) == set(Remedy)
    assert tuple(SCHEMAS["Products"]["items"]["enum"]) == link_token_fields.PRODUCTS
    assert tuple(SCHEMAS["CountryCodes"]["items"]["enum"]) == link_token_fields.COUNTRIES
    assert tuple(SCHEMAS["Language"]["enum"]) == link_token_fields.LANGUAGES
    assert tuple(SCHEMAS["RemovalReason"]["enum"]) == REMOVAL_REASONS
    (endpoint,) = (found for found in DOCUMENT["paths"][CALL_ENDPOINT]["parameters"] if found.get("name") == "endpoint")
    assert {f"/{path}" for path in endpoint["schema"]["enum"]} == ENDPOINTS
    members = {name: set(SCHEMAS[name]["properties"]) for name in ("LinkUser", "AccountFilters", "HostedLink")}
    assert members == {
        "LinkUser": set(link_token_fields.FIELDS["user"].members),
        "AccountFilters": set(link_token_fields.FIELDS["account_filters"].members),
        "HostedLink": set(link_token_fields.FIELDS["hosted_link"].members),
    }
    own = {"client_user_id", "item_id", "days_requested", "account_selection", "client_name"}
    own |= {"replace", "replaced_transactions"}
    fields = set(SCHEMAS["NewLink"]["properties"]) | set(SCHEMAS["UpdateMode"]["properties"])
    assert fields - own == set(link_token_fields.FIELDS)
    assert SCHEMAS["ClientName"]["maxLength"] == link_requests.MAX_CLIENT_NAME_LENGTH
    assert SCHEMAS["ClientUserId"]["maxLength"] == MAX_USER_ID_LENGTH
    assert SCHEMAS["DaysRequested"]["maximum"] == MAX_HISTORY_DAYS


# ---- the document and the template


def test_document_and_template_have_the_same_routes_and_all_but_plaids_want_a_signature() -> None:
    template = Template.parse((PROJECT / "template.yaml").read_text())
    events = {
        # OpenAPI has no parameter of several parts of a path.
        f"{event['Method'].upper()} {event['Path'].replace('+}', '}')}": event
        for _, event in template.events("HttpApi")
    }
    assert events.keys() == OPERATIONS.keys()
    signed = {route for route, event in events.items() if event.get("Auth") == {"Authorizer": "AWS_IAM"}}
    assert signed == OPERATIONS.keys() - PUBLIC
    assert DOCUMENT["security"] == [{"sigv4": []}]
    assert {route: found["security"] for route, found in OPERATIONS.items() if "security" in found} == {
        route: [] for route in PUBLIC
    }


# ---- the document and the guide


def table(heading: str) -> list[list[str]]:
    section = re.split(rf"^## {heading}$", GUIDE, maxsplit=1, flags=re.MULTILINE)[1]
    (rows,) = re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)[:1]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows.splitlines()[2:]]


def successes(operation: dict[str, Any]) -> str:
    return " ".join(status for status in operation["responses"] if status < "300")


def test_the_guide_has_every_route_with_its_answer() -> None:
    listed = {row[0].strip("`"): row[2] for row in table("Routes")}
    assert listed == {route: successes(found) for route, found in OPERATIONS.items() if route not in PUBLIC}


def documented_codes() -> set[tuple[str, int]]:
    """Return the codes of problem details that the document names, with their status."""
    found = set()
    for operation in OPERATIONS.values():
        for status, response in operation["responses"].items():
            target: Any = DOCUMENT if "$ref" in response else response
            for step in response.get("$ref", "").split("/")[1:]:
                target = target[step]
            schema = target.get("content", {}).get("application/problem+json", {}).get("schema", {})
            names = re.findall(r"'enum': \[(.*?)\]", str(schema))
            found |= {(code, int(status)) for listed in names for code in re.findall(r"'(\w+)'", listed)}
    return found


def codes_of_the_code() -> set[tuple[str, int]]:
    """Return the codes that the code refuses with, from the source, with their HTTP status."""
    found = set()
    for path in (PROJECT / "layers" / "plaid_sync" / "plaid_sync").rglob("*.py"):
        text = path.read_text()
        constants = dict(re.findall(r'^([A-Z_]+): Final = ("\w+")', text, re.MULTILINE))
        for name, code in constants.items():
            text = re.sub(rf"\b{name}\b", code, text)
        refusals = re.findall(r'\bRefusal\.(\w+),\s*f?"([\w{}.]+)"', text)
        found |= {(code, STATUS_OF_REFUSAL[Refusal[refusal]].value) for refusal, code in refusals}
        responses = re.findall(r'\bHTTPStatus\.(\w+),\s*f?"([\w{}.]+)"', text)
        found |= {(code, HTTPStatus[status].value) for status, code in responses}
    found.remove(("item_{state}", 409))
    refused = {state for (state, _), step in TRANSITIONS.items() if step.action is Action.REFUSE}
    return found | {(f"item_{state}", 409) for state in refused - {StateName.REMOVED}}


def test_guide_document_and_code_have_the_same_error_codes() -> None:
    listed = {(code.strip("`"), int(status)) for code, status, *_ in table("Errors")}
    assert listed == documented_codes()
    assert listed == codes_of_the_code() - UNREACHABLE
