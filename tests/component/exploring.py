"""schemathesis on an OpenAPI document and a WSGI application: what they disagree about, in words."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from schemathesis.engine.recorder import ScenarioRecorder

SEED: Final = 4
EXAMPLES: Final = 20
"""Drawn for each operation and kind of data, valid and invalid; those of the parameters' edges come on top."""
PRINTABLE: Final = r"^(?:[^\p{C}\p{Z}]| )+$"
"""Text without control characters. Hypothesis can't draw from Unicode's properties: any text is tried instead."""

_MORE_THAN_A_SCHEMA: Final = {
    "POST /link-tokens": {"client_user_id"},
    "POST /items": {"public_token", "replace", "transactions"},
}
"""Where valid data is refused with 400 all the same, by field: whether the user's reference is needed depends on the
Item, whether `replace` is possible on the body, and Plaid knows its own public tokens only."""


@schemathesis.check
def valid_data_is_not_called_invalid(
    _: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> None:
    """Notice a 400 for what the document allows."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code != 400:
        return
    name = response.json().get("field")
    given = {**(case.query or {}), **(case.body if isinstance(case.body, dict) else {})}
    value = given.get(name)
    if isinstance(value, float) and value.is_integer():
        return  # 300.0 is an integer to JSON Schema alone
    if isinstance(value, str) and not value.isprintable():
        return  # see PRINTABLE
    assert name in _MORE_THAN_A_SCHEMA.get(case.operation.label, set()), f"valid data is refused: {response.text}"


@schemathesis.check
def problems_are_whole(
    _: schemathesis.CheckContext, response: schemathesis.Response, __: schemathesis.Case[Any]
) -> None:
    """Notice problem details of another status, and a wait whose length nobody is told."""
    if response.headers["content-type"] != ["application/problem+json"]:
        return
    problem = response.json()
    assert problem["status"] == response.status_code, "the problem details tell of another status"
    passes = response.status_code in {429, 503} and problem["code"] != "link_undone"
    waits = passes or problem["code"] == "link_session_not_finished"
    assert not waits or "retry-after" in response.headers, "nobody is told how long to wait"


@dataclass(slots=True)
class Exploration:
    """What came of it.

    Attributes:
        differences: what document and application disagree about.
        answers: how often each status came.
    """

    differences: list[str] = field(default_factory=list)
    answers: Counter[int] = field(default_factory=Counter)


def explore(
    document: Mapping[str, Any], application: Callable[..., Any], operation_id: str, known: Mapping[str, list[str]]
) -> Exploration:
    """Make requests to one operation: from its examples, at the edges of its parameters, and drawn from a seed.

    Args:
        document: the OpenAPI document.
        application: a WSGI application.
        operation_id: which operation.
        known: values of parameters that are worth trying, by their place and name: `path.item_id`.
    """
    schema = schemathesis.openapi.from_dict(_prepared(document, known), config=_configuration(known))
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


def _configuration(known: Mapping[str, list[str]]) -> SchemathesisConfig:
    return SchemathesisConfig.from_dict(
        {
            "seed": SEED,
            "suppress-health-check": ["all"],
            "dictionaries": {place: {"values": values} for place, values in known.items()},
            "parameters": {place: {"dictionary": place, "probability": 0.7} for place in known},
            "generation": {
                "max-examples": EXAMPLES,
                "deterministic": True,
                "database": "none",
                "no-shrink": True,
                "with-security-parameters": False,
            },
            "phases": {"stateful": {"enabled": False}},
            "checks": {
                # 500 is documented, too: a defect is answered so.
                "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", "502", "503"]},
                "positive_data_acceptance": {"enabled": False},  # valid_data_is_not_called_invalid is more exact
                "missing_required_header": {"expected-statuses": ["401"]},
                # Who has not signed, and methods without a route, are answered by API Gateway.
                "ignored_auth": {"enabled": False},
                "unsupported_method": {"enabled": False},
            },
        }
    )


# ---- the document as it is tried: stricter than it is published, for a client has to put up with what is new to it

_NEXT: Final = {"$ref": "#/components/parameters/Next"}


def _prepared(document: Mapping[str, Any], known: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return the document with closed answers, so that an undocumented member is noticed, and with known Items."""
    prepared = copy.deepcopy(dict(document))
    components, answers = prepared["components"], []
    for operation in (inner for path in prepared["paths"].values() for inner in path.values() if "responses" in inner):
        answers.append(operation["responses"])
        # An invented `next` is refused before anything else is looked at.
        operation["parameters"] = [one for one in operation.get("parameters", ()) if one != _NEXT]
    for answer in (answer for several in (components["responses"], *answers) for answer in several.values()):
        for content in answer.get("content", {}).values():
            _close(content["schema"])
            content["schema"] = _closed(content["schema"])
    for name in ("Accounts", "Freshness", "Item", "ItemSummary"):
        _close(components["schemas"][name])
    if "path.item_id" in known:
        components["parameters"]["ItemId"]["examples"] = {one: {"value": one} for one in known["path.item_id"]}
    _without_unicode_properties(prepared)
    return prepared


def _close(schema: dict[str, Any]) -> None:
    """Close what a schema has inside."""
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
