"""docs/openapi.yaml is what the functions do: schemathesis makes requests from it, the real handlers answer."""

from __future__ import annotations

import base64
import copy
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

import pytest
import schemathesis
import yaml
from plaid_sync.domain.claims import user_key
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from werkzeug import Request, Response

from local.plaid import Phase
from tests.integration.harness import LONG_AGO, http_event
from tests.integration.link_flows import content, link_token, linked, put_link, went_through_link
from tests.integration.module_harness import lasting_world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tests.deployment import Deployment
    from tests.integration.functions import Functions
    from tests.integration.harness import World

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
PRINTABLE: Final = r"^(?:[^\p{C}\p{Z}]| )+$"
"""Text without control characters. Hypothesis can't generate from Unicode properties: any text is tried instead."""

OTHER_SYSTEM: Final = "https://other-system.invalid/plaid"
PRODUCT_LISTS: Final = (
    "products",
    "required_if_supported_products",
    "optional_products",
    "additional_consented_products",
)
MORE_THAN_A_SCHEMA: Final = {
    "POST /link-tokens": {"client_user_id", "days_requested", "user", "redirect_uri", *PRODUCT_LISTS},
    "POST /items": {"public_token", "replace", "transactions"},
    "POST /items/import": {"access_token", "cursor"},
    "POST /access-tokens/{item_id}/export": {"recipient"},
    "DELETE /items/{item_id}": {"reason_code", "reason_note"},
    "PATCH /items/{item_id}/transactions/{transaction_id}/annotations": {"body"},
    "GET /items/{item_id}/transactions": {"to", "max_amount"},
    "GET /items/{item_id}/accounts/{account_id}/transactions": {"to", "max_amount"},
}
"""Fields for which valid data can get 400: some Items require `client_user_id`, others do not; `replace` and
`transactions` depend on the body, as do fields that exclude each other; a range can end before it begins; a public key
has a checksum; Plaid gets no reason for an Item that it keeps; only Plaid knows its tokens; and a cursor is ASCII."""


@schemathesis.check
def valid_data_is_not_called_invalid(
    _: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> None:
    """Fail for a 400 to what the document allows."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code != 400:
        return
    if "plaid-request-id" in response.headers:
        return  # Plaid's own error
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
    if response.headers.get("content-type") != ["application/problem+json"]:
        return
    problem = response.json()
    assert problem["status"] == response.status_code, "the problem details have another status"
    transient = response.status_code in {429, 503} and problem["code"] != "link_rolled_back"
    waits = transient or problem["code"] == "link_session_not_finished"
    assert not waits or "retry-after" in response.headers, "Retry-After is missing"


def explore(world: World, known: Known, operation_id: str, examples: int) -> tuple[list[str], set[int]]:
    """Make requests to one operation: from its examples, at the limits of its parameters, and generated from a seed.

    Returns:
        Where the functions differ from the document, and the statuses that they have answered.
    """
    schema = schemathesis.openapi.from_dict(
        _prepared(known, went_through_link(world, USER)), config=_configuration(known, examples)
    )
    schema.app = api_gateway(world)
    differences, statuses = [], set()
    for event in from_schema(schema.include(operation_id=operation_id)).execute():
        if isinstance(event, events.NonFatalError):
            raise event.value
        if not isinstance(event, events.ScenarioFinished):
            continue
        interactions = event.recorder.interactions.values()
        statuses |= {call.response.status_code for call in interactions if call.response is not None}
        for case_id, checks in event.recorder.checks.items():
            curl = event.recorder.cases[case_id].value.as_curl_command()
            failures = [check.failure_info.failure for check in checks if check.failure_info is not None]
            differences += [f"{failure.title}\n{failure.message}\n{curl}" for failure in failures]
    return differences, statuses


def api_gateway(world: World) -> Callable[..., Iterable[bytes]]:
    """Return a WSGI application that does what API Gateway does: requests become events for the functions.

    Every caller has signed: authorization is API Gateway's, and tested over HTTP in `test_api_over_http.py`.
    """

    @Request.application
    def answer(request: Request) -> Response:
        for route in ROUTES:
            method, template = route.split(" ")
            pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template.replace("{endpoint}", "(?P<endpoint>.+)"))
            found = re.fullmatch(pattern, request.path, re.DOTALL)
            if method == request.method and found:
                event = _event_of(request, route, found.groupdict())
                shown = world.invoke("webhook" if template.startswith("/webhooks") else "items", event)
                return Response(shown["body"], shown["statusCode"], shown["headers"])
        return Response('{"message":"Not Found"}', 404, content_type="application/json")

    return answer


def _event_of(request: Request, route: str, parameters: dict[str, str]) -> dict[str, Any]:
    query = request.query_string.decode("latin-1")
    values: dict[str, list[str]] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        values.setdefault(name, []).append(value)
    try:
        body, encoded = request.get_data().decode(), False
    except UnicodeDecodeError:
        body, encoded = base64.b64encode(request.get_data()).decode(), True
    event = http_event(request.method, request.path, body, {key: ",".join(several) for key, several in values.items()})
    return event | {
        "routeKey": route.replace("{endpoint}", "{endpoint+}"),
        "rawQueryString": query,
        "headers": {name.lower(): value for name, value in request.headers},
        "pathParameters": parameters or None,
        "isBase64Encoded": encoded,
    }


def _configuration(known: Known, examples: int) -> SchemathesisConfig:
    return SchemathesisConfig.from_dict(
        {
            "seed": 4,
            "suppress-health-check": ["all"],
            "dictionaries": {place: {"values": values} for place, values in known.items()},
            "parameters": {
                place: {"dictionary": place, "probability": 0.7 if len(values) > 1 else 1.0}
                for place, values in known.items()
            },
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
                "missing_required_header": {"expected-statuses": ["401", "428"]},
                # API Gateway answers unsigned requests and methods without a route.
                "ignored_auth": {"enabled": False},
                "unsupported_method": {"enabled": False},
            },
        }
    )


TRANSACTION: Final = (("TransactionId", "path.transaction_id"),)
NEXT: Final = {"$ref": "#/components/parameters/Next"}


def _prepared(known: Known, session: dict[str, str]) -> dict[str, Any]:
    """Return the document with closed answers, known Items and a finished link session.

    Clients must ignore members that they do not know; here an undocumented member is a difference.
    """
    prepared = copy.deepcopy(DOCUMENT)
    components, answers = prepared["components"], []
    for operation in (inner for path in prepared["paths"].values() for inner in path.values() if "responses" in inner):
        answers.append(operation["responses"])
        # A generated `next` is refused before any other parameter is read.
        # Nothing syncs meanwhile: a wait would only last.
        operation["parameters"] = [
            parameter
            for parameter in operation.get("parameters", ())
            if parameter != NEXT and parameter.get("name") != "wait"
        ]
    for answer in (answer for several in (components["responses"], *answers) for answer in several.values()):
        for media_type in answer.get("content", {}).values():
            _close(media_type["schema"])
            media_type["schema"] = _closed(media_type["schema"])
    for name in ("Accounts", "Freshness", "Item", "ItemSummary"):
        _close(components["schemas"][name])
    paths = {"ItemId": "path.item_id", "AccountId": "path.account_id", "ClientUserId": "path.client_user_id"}
    for parameter, name in (*paths.items(), *TRANSACTION):
        components["parameters"][parameter]["examples"] = {value: {"value": value} for value in known[name]}
    link = prepared["paths"]["/items"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    link["bySession"]["value"] = session
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
        world.restart_webhook_function()
        yield world


@pytest.fixture(scope="module")
def known(world: World) -> Known:
    """Items in several states, and other values that no schema can generate."""
    logins = ("ana", "ben", "cem", "dea", "eva")
    healthy, broken, revoked, removed, replaced = (linked(world, USER, login) for login in logins)
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
    put_link(world, user_key("erased"), requested_at=LONG_AGO, erased_at=LONG_AGO)
    link_token(world, "leaving")
    tokens = [world.plaid.link_item(OTHER_SYSTEM, transactions=2).access_token for _ in range(5)]
    body = {"access_token": tokens[0], "client_user_id": USER}
    imported = content(world.request("POST", "/items/import", body), 201)["item_id"]
    items = [*shown, without_user, imported]
    accounts = [account["account_id"] for account in shown[healthy]["accounts"]]
    return {
        "path.item_id": items,
        "path.account_id": accounts,
        "path.transaction_id": [str(row["transaction_id"]) for row in world.live(healthy).values()][:3],
        "header.If-Match": ["*"],
        "path.client_user_id": ["erased", "leaving"],
        "query.replace": [replaced],
        "query.client_user_id": [USER],
        "body.client_user_id": [USER],
        "body.access_token": tokens,
        "body.public_token": [world.plaid.create_public_token(transactions=2) for _ in range(5)],
        "body.link_token": [link_token(world, USER), link_token(world, USER, item_id=broken)],
    }


@pytest.mark.parametrize(
    ("error_code", "status"),
    [
        ("ITEM_LOCKED", 409),
        pytest.param("ACCOUNTS_LIMIT", 429, marks=pytest.mark.exhaustive),
        pytest.param("INVALID_FIELD", 502, marks=pytest.mark.exhaustive),
        ("HTTP_500", 503),
    ],
)
def test_an_error_of_plaid_is_answered_as_documented(world: World, known: Known, error_code: str, status: int) -> None:
    world.plaid.inject_fault("/accounts/get", error_code, times=1000)
    differences, statuses = explore(world, known, "fetchAccounts", examples=4)
    world.plaid.clear_faults()
    assert differences == []
    assert status in statuses


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_the_functions_do_what_the_document_says(world: World, known: Known, operation_id: str) -> None:
    differences, statuses = explore(world, known, operation_id, examples=10)
    assert differences == []
    (operation,) = (route for route in ROUTES.values() if route["operationId"] == operation_id)
    # No schema can generate a signature of Plaid's.
    successes = {int(status) for status in operation["responses"] if status.isdigit() and int(status) < 300}
    if operation_id == "syncItem":
        successes = {202}
    assert {401} <= statuses if operation_id == "receiveWebhook" else successes < statuses
