"""What SAM's transform makes of the template is something that CloudFormation and API Gateway take, whatever is set."""

from __future__ import annotations

import itertools
import re
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.template.cloudformation import Template, listed
from tests.template.resolving import Resolver
from tests.template.test_layer_changes import transformed_document
from tests.template.test_parameters import DOMAIN, KEY, SETS, VPC

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CHOICES: Final[tuple[tuple[dict[str, str], ...], ...]] = (
    ({"Stage": "dev"}, {"Stage": "prod"}, {"Stage": "local"}),
    ({}, DOMAIN, SETS["zone"]),
    ({}, VPC),
    ({}, KEY),
    ({}, SETS["boundary"]),
    ({}, {"RollbackOnAlarms": "false"}),
)
"""What conditions depend on."""
COMBINATIONS: Final = [
    {name: value for chosen in combination for name, value in chosen.items()}
    for combination in itertools.product(*CHOICES)
]


@pytest.fixture(scope="module")
def made(request: pytest.FixtureRequest) -> Template:
    """The template after the transform, with its conditions still open."""
    template: Template = request.getfixturevalue("template")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        return Template(transformed_document(template, {}))


def references(value: Any) -> Iterator[str]:
    """The names that a value refers to: of resources, parameters and pseudo parameters."""
    if isinstance(value, list):
        for one in value:
            yield from references(one)
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from _named(name, one)


def _named(name: str, value: Any) -> Iterator[str]:
    if name == "Ref":
        yield value
    elif name == "Fn::GetAtt":
        yield value[0] if isinstance(value, list) else value.split(".")[0]
    elif name == "Fn::Sub":
        text, own = (value, {}) if isinstance(value, str) else value
        yield from references(own)
        yield from (one for one in re.findall(r"\$\{([^!}.]+)[^}]*\}", text) if one not in own)
    elif name == "DependsOn":
        yield from listed(value)
    else:
        yield from references(value)


def dangling(template: Template, parameters: Mapping[str, str]) -> set[str]:
    """What is referred to and does not exist with these parameters."""
    resolver = Resolver.of(template, parameters)
    resolved = resolver.resolved()
    known = {*resolved.resources, *template.document["Parameters"]}
    named = {*references(resolved.resources), *references(resolved.document["Outputs"])}
    return {one for one in named - known if not one.startswith("AWS::")}


def order(template: Template, parameters: Mapping[str, str]) -> list[str]:
    """An order in which all resources can be made; raises `CycleError` where there is none."""
    resources = Resolver.of(template, parameters).resolved().resources
    graph = {name: set(references(found)) & resources.keys() for name, found in resources.items()}
    return list(TopologicalSorter(graph).static_order())


def test_for_each_combination_of_parameters_all_that_is_referred_to_exists_and_can_be_made_in_some_order(
    made: Template,
) -> None:
    assert len(COMBINATIONS) == 144
    for parameters in COMBINATIONS:
        assert dangling(made, parameters) == set()
        assert order(made, parameters)


@pytest.mark.parametrize(
    ("path", "value", "parameters", "wrong"),
    [
        # A reference to what only a domain brings, and one to what only the key brings.
        ("Outputs/ApiUrl/Value", {"Fn::GetAtt": ["ApiDomain", "RegionalDomainName"]}, {}, "ApiDomain"),
        ("Resources/SyncQueue/Properties/KmsMasterKeyId", {"Fn::Sub": "${DataKey.Arn}"}, {}, "DataKey"),
    ],
)
def test_a_reference_to_what_is_not_there_is_seen(
    made: Template, path: str, value: object, parameters: dict[str, str], wrong: str
) -> None:
    assert dangling(made.broken(path, value), parameters) == {wrong}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        # The key's policy names a role, the role's policy the key; and an alarm by its resource, not by its name.
        ("Resources/DataKey/Properties/Description", {"Fn::GetAtt": ["SyncFunctionRole", "Arn"]}),
        ("Resources/DeploymentRole/DependsOn", "Alarms"),
    ],
)
def test_a_circle_is_seen(made: Template, path: str, value: object) -> None:
    with pytest.raises(ValueError, match="cycle"):
        order(made.broken(path, value), KEY)


def warned_of(api: Mapping[str, Any]) -> list[Any]:
    """Servers without an address, of which API Gateway warns, if a warning is enough for it to make no API.

    SAM writes one for DisableExecuteApiEndpoint, whatever its value:
    https://github.com/aws/serverless-application-model/issues/2424.
    """
    servers = api["Body"].get("servers", []) if api.get("FailOnWarnings") else []
    return [server for server in servers if "url" not in server]


@pytest.mark.parametrize("parameters", [{}, DOMAIN], ids=["execute-api", "domain"])
def test_api_gateway_makes_the_api_and_is_told_its_address(made: Template, parameters: dict[str, str]) -> None:
    (api,) = Resolver.of(made, parameters).resolved().of("AWS::ApiGatewayV2::Api").values()
    assert warned_of(api["Properties"]) == []
    assert warned_of({**api["Properties"], "FailOnWarnings": True}) != []
    # Told either way, so that a stack that gives its domain up is reached again.
    (server,) = api["Properties"]["Body"]["servers"]
    assert server["x-amazon-apigateway-endpoint-configuration"] == {"disableExecuteApiEndpoint": bool(parameters)}


def test_api_gateway_is_told_to_let_nobody_unsigned_in_but_to_the_webhook(made: Template) -> None:
    (api,) = made.of("AWS::ApiGatewayV2::Api").values()
    routes = {
        f"{method.upper()} {path}": operation
        for path, operations in api["Properties"]["Body"]["paths"].items()
        for method, operation in operations.items()
    }
    public = {name for name, one in routes.items() if one.get("security") != [{"AWS_IAM": []}]}
    assert public == {"POST /webhooks/plaid"}
    assert len(routes) == 13
    scheme = api["Properties"]["Body"]["components"]["securitySchemes"]["AWS_IAM"]
    assert scheme["x-amazon-apigateway-authtype"] == "awsSigv4"
