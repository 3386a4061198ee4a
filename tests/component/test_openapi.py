"""docs/openapi.yaml is what the functions do: schemathesis makes requests from it, the real handlers answer."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import schemathesis
import yaml
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from local.plaid import Phase
from tests.component.gateway import gateway_of
from tests.component.lasting import lasting_world
from tests.component.links import content, link_token, linked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from schemathesis.engine.recorder import ScenarioRecorder

    from tests.component.functions import Functions
    from tests.component.gateway import Gateway
    from tests.component.world import World
    from tests.deployment import Deployment

Known = dict[str, list[str]]

DOCUMENT: Final[dict[str, Any]] = yaml.safe_load((Path(__file__).parents[2] / "docs" / "openapi.yaml").read_text())
ROUTES: Final = {
    f"{method.upper()} {path}": operation
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
    if "operationId" in operation
}
# Removal comes last: the others need Items in all states.
OPERATIONS: Final = sorted((route["operationId"] for route in ROUTES.values()), key=lambda name: name == "removeItem")
USER: Final = "user-17"
ABSENT: Final = object()
ITEM: Final = "paths|/items/{item_id}"
LIMIT: Final = "paths|/items|get|parameters|2|schema"
INVALID: Final = "components|responses|Invalid"
NOTHING: Final = "components|requestBodies|Nothing|content|application/json|schema"
SUMMARY: Final = "components|schemas|ItemSummary|properties"
FRESHNESS: Final = "components|schemas|Freshness|properties"
SEED: Final = 4
EXAMPLES, FEW_EXAMPLES = 20, 4
PRINTABLE: Final = r"^(?:[^\p{C}\p{Z}]| )+$"
"""Text without control characters. Hypothesis can't generate from Unicode properties: any text is tried instead."""

MORE_THAN_A_SCHEMA: Final = {
    "POST /link-tokens": {"client_user_id"},
    "POST /items": {"public_token", "replace", "transactions"},
}
"""Fields for which valid data can get 400: some Items require `client_user_id`, others do not; `replace` and
`transactions` depend on the body; and only Plaid knows its public tokens."""


@schemathesis.check
def valid_data_is_not_called_invalid(
    _: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> None:
    """Fail for a 400 to what the document allows."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code != 400:
        return
    name = response.json().get("field")
    given = {**(case.query or {}), **(case.body if isinstance(case.body, dict) else {})}
    value = given.get(name)
    if isinstance(value, float) and value.is_integer():
        return  # 300.0 is an integer to JSON Schema alone
    if isinstance(value, str) and not value.isprintable():
        return  # see PRINTABLE
    assert name in MORE_THAN_A_SCHEMA.get(case.operation.label, set()), f"valid data is refused: {response.text}"


@schemathesis.check
def problem_details_are_complete(
    _: schemathesis.CheckContext, response: schemathesis.Response, __: schemathesis.Case[Any]
) -> None:
    """Fail for problem details of another HTTP status, and for a wait without Retry-After."""
    if response.headers["content-type"] != ["application/problem+json"]:
        return
    problem = response.json()
    assert problem["status"] == response.status_code, "the problem details have another status"
    transient = response.status_code in {429, 503} and problem["code"] != "link_undone"
    waits = transient or problem["code"] == "link_session_not_finished"
    assert not waits or "retry-after" in response.headers, "Retry-After is missing"


@dataclass(slots=True)
class Exploration:
    """The result of the requests to one operation.

    Attributes:
        differences: where the application differs from the document.
        answers: how often each HTTP status came.
    """

    differences: list[str] = field(default_factory=list)
    answers: Counter[int] = field(default_factory=Counter)


def explore(
    document: Mapping[str, Any],
    application: Callable[..., Any],
    operation_id: str,
    known: Known,
    examples: int = EXAMPLES,
) -> Exploration:
    """Make requests to one operation: from its examples, at the limits of its parameters, and generated from a seed.

    Args:
        document: the OpenAPI document.
        application: a WSGI application.
        operation_id: which operation.
        known: values of parameters that exist in the stack, by place and name: `path.item_id`.
        examples: how many are generated for valid and for invalid data each.
    """
    schema = schemathesis.openapi.from_dict(_prepared(document, known), config=_configuration(known, examples))
    schema.app = application
    found = Exploration()
    for event in from_schema(schema.include(operation_id=operation_id)).execute():
        if isinstance(event, events.ScenarioFinished):
            responses = [interaction.response for interaction in event.recorder.interactions.values()]
            found.answers += Counter(response.status_code for response in responses if response is not None)
            found.differences += _failures(event.recorder)
        elif isinstance(event, events.NonFatalError):
            raise event.value
    return found


def _failures(recorder: ScenarioRecorder) -> Iterator[str]:
    for case_id, checks in recorder.checks.items():
        for check in checks:
            if check.failure_info is not None:
                failure, case = check.failure_info.failure, recorder.cases[case_id].value
                yield f"{recorder.label}: {failure.title}\n{failure.message}\n{case.as_curl_command()}"


def _configuration(known: Known, examples: int) -> SchemathesisConfig:
    return SchemathesisConfig.from_dict(
        {
            "seed": SEED,
            "suppress-health-check": ["all"],
            "dictionaries": {place: {"values": values} for place, values in known.items()},
            "parameters": {place: {"dictionary": place, "probability": 0.7} for place in known},
            "generation": {
                "max-examples": examples,
                "deterministic": True,
                "database": "none",
                "no-shrink": True,
                "with-security-parameters": False,
            },
            "phases": {"stateful": {"enabled": False}},
            "checks": {
                # 500 is documented, too: it is the answer to a defect.
                "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", "502", "503"]},
                "positive_data_acceptance": {"enabled": False},  # valid_data_is_not_called_invalid is more exact
                "missing_required_header": {"expected-statuses": ["401"]},
                # API Gateway answers unsigned requests and methods without a route.
                "ignored_auth": {"enabled": False},
                "unsupported_method": {"enabled": False},
            },
        }
    )


NEXT: Final = {"$ref": "#/components/parameters/Next"}


def _prepared(document: Mapping[str, Any], known: Known) -> dict[str, Any]:
    """Return the document with closed answers and with known Items.

    Clients must ignore members that they do not know; here an undocumented member is a difference.
    """
    prepared = copy.deepcopy(dict(document))
    components, answers = prepared["components"], []
    for operation in (inner for path in prepared["paths"].values() for inner in path.values() if "responses" in inner):
        answers.append(operation["responses"])
        # A generated `next` is refused before any other parameter is read.
        operation["parameters"] = [parameter for parameter in operation.get("parameters", ()) if parameter != NEXT]
    for answer in (answer for several in (components["responses"], *answers) for answer in several.values()):
        for media_type in answer.get("content", {}).values():
            _close(media_type["schema"])
            media_type["schema"] = _closed(media_type["schema"])
    for name in ("Accounts", "Freshness", "Item", "ItemSummary"):
        _close(components["schemas"][name])
    if "path.item_id" in known:
        components["parameters"]["ItemId"]["examples"] = {
            item_id: {"value": item_id} for item_id in known["path.item_id"]
        }
    _without_unicode_properties(prepared)
    return prepared


def _close(schema: dict[str, Any]) -> None:
    """Close the objects inside a schema."""
    for part in (*schema.get("allOf", ()), *schema.get("anyOf", ())):
        _close(part)
    for name, inner in schema.get("properties", {}).items():
        _close(inner)
        schema["properties"][name] = _closed(inner)
    if "items" in schema:
        _close(schema["items"])
        schema["items"] = _closed(schema["items"])


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    return {"allOf": [schema], "unevaluatedProperties": False}


def _without_unicode_properties(part: Any) -> None:
    if isinstance(part, dict):
        if part.get("pattern") == PRINTABLE:
            del part["pattern"]
        for inner in part.values():
            _without_unicode_properties(inner)
    elif isinstance(part, list):
        for inner in part:
            _without_unicode_properties(inner)


@pytest.fixture(scope="module")
def world(deployment: Deployment, functions: Functions) -> Iterator[World]:
    with lasting_world(deployment, seed=20, functions=functions) as world:
        yield world


@pytest.fixture(scope="module")
def gateway(world: World) -> Gateway:
    return gateway_of(world, ROUTES)


@pytest.fixture(scope="module")
def known(world: World) -> Known:
    """Items in several states, and other values that no schema can generate."""
    healthy, broken, revoked, removed = (linked(world, USER, login) for login in ("ana", "ben", "cem", "dea"))
    without_user = world.link(transactions=5)
    for item_id in (healthy, broken, revoked, removed):
        while world.plaid.advance_phase(item_id) < Phase.HISTORICAL:
            pass
    world.plaid.set_item_error(broken, "ITEM_LOGIN_REQUIRED", notify=False)
    world.plaid.set_item_error(revoked, "USER_PERMISSION_REVOKED", notify=False)
    content(world.request("DELETE", f"/items/{removed}", query={"transactions": "erase"}), 202)
    world.drain()
    shown = {
        item_id: content(world.request("GET", f"/items/{item_id}")) for item_id in (healthy, broken, revoked, removed)
    }
    assert [item["state"] for item in shown.values()] == ["active", "needs_user", "revoked", "removed"]
    assert shown[healthy]["transactions"]["live"] > 0
    items = [*shown, without_user]
    return {
        "path.item_id": items,
        "query.replace": items,
        "query.account_id": [account["account_id"] for account in shown[healthy]["accounts"]],
        "query.client_user_id": [USER],
        "body.client_user_id": [USER],
        "body.public_token": [world.plaid.create_public_token(transactions=2) for _ in range(5)],
        "body.link_token": [link_token(world, USER), link_token(world, USER, item_id=broken)],
    }


@pytest.mark.parametrize(
    ("error_code", "status"), [("ITEM_LOCKED", 409), ("ACCOUNTS_LIMIT", 429), ("INVALID_FIELD", 502), ("HTTP_500", 503)]
)
def test_an_error_of_plaid_is_answered_as_documented(
    world: World, gateway: Gateway, known: Known, error_code: str, status: int
) -> None:
    world.plaid.inject_fault("/accounts/get", error_code, times=1000)
    found = explore(DOCUMENT, gateway, "fetchAccounts", known, FEW_EXAMPLES)
    world.plaid.clear_faults()
    assert found.differences == []
    assert status in found.answers


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_the_functions_do_what_the_document_says(gateway: Gateway, known: Known, operation_id: str) -> None:
    found = explore(DOCUMENT, gateway, operation_id, known)
    assert found.differences == []
    (operation,) = (route for route in ROUTES.values() if route["operationId"] == operation_id)
    documented = {int(status) for status in operation["responses"]}
    # No schema can generate a signature of Plaid's.
    successes = {401} if operation_id == "receiveWebhook" else {status for status in documented if status < 300}
    assert successes <= set(found.answers)
    assert len(found.answers) > 1 or operation_id == "receiveWebhook"


@pytest.mark.parametrize(
    ("operation_id", "broken", "difference"),
    [
        ("getItem", (f"{ITEM}|get|responses|404", ABSENT), "Undocumented status code"),
        ("listHistory", (f"{INVALID}|content", {"text/plain": {"schema": {}}}), "Undocumented Content-Type"),
        ("listItems", (f"{SUMMARY}|state|$ref", "#/components/schemas/Remedy"), "violates schema"),
        ("getItem", (f"{FRESHNESS}|pulled_at", ABSENT), "Unevaluated properties"),
        ("getItem", ("components|schemas|Item|allOf|1|required|0", "account_list"), "is a required property"),
        ("removeItem", ("components|headers|ItemLocation|schema|pattern", "^/item/"), "header does not conform"),
        ("listItems", (f"{LIMIT}|maximum", 50), "Schema-violating request accepted"),
        ("listItems", (f"{LIMIT}|maximum", 101), "valid data is refused"),
        ("resyncItem", (f"{NOTHING}|additionalProperties", True), "valid data is refused"),
    ],
)
def test_a_difference_is_found(
    gateway: Gateway, known: Known, operation_id: str, broken: tuple[str, object], difference: str
) -> None:
    found = explore(changed(*broken), gateway, operation_id, known, FEW_EXAMPLES)
    assert difference in "\n".join(found.differences)


def changed(at: str, value: object) -> dict[str, Any]:
    """Return a copy of the document with another value somewhere, or without one."""
    document = copy.deepcopy(DOCUMENT)
    *parents, last = at.split("|")
    target: Any = document
    for step in parents:
        target = target[int(step)] if isinstance(target, list) else target[step]
    if value is ABSENT:
        del target[last]
    else:
        target[int(last) if isinstance(target, list) else last] = value
    return document
