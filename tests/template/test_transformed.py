"""CloudFormation and API Gateway accept what SAM's transform makes of the template, for all parameters."""

from __future__ import annotations

import copy
import itertools
import re
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any, Final

import pytest
from samtranslator.translator.managed_policy_translator import ManagedPolicyLoader
from samtranslator.translator.transform import transform

from tests.template.cloudformation import ABSENT, Resolver, Template, listed
from tests.template.test_parameters import BOUNDARY, DOMAIN, KEY, VPC, ZONE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CHOICES: Final[tuple[tuple[dict[str, str], ...], ...]] = (
    ({"Stage": "dev"}, {"Stage": "prod"}, {"Stage": "local"}),
    ({}, DOMAIN, ZONE),
    ({}, VPC),
    ({}, KEY),
    ({}, BOUNDARY),
    ({}, {"RollbackOnAlarms": "false"}),
)
"""The parameters of conditions."""
COMBINATIONS: Final = [
    {name: value for chosen in combination for name, value in chosen.items()}
    for combination in itertools.product(*CHOICES)
]
LAYERS: Final = ("DependenciesLayer", "PlaidSyncLayer")


def transformed(template: Template, contents: Mapping[str, str]) -> Template:
    """Return the template that CloudFormation gets for a build with these addresses of layers and functions."""
    document: dict[str, Any] = copy.deepcopy(dict(template.document))
    for name, resource in document["Resources"].items():
        properties = resource.get("Properties", {})
        for place in {"CodeUri", "ContentUri", "Location"} & properties.keys():
            if isinstance(properties[place], str):
                properties[place] = contents.get(name, f"s3://bucket/{name}-1.zip")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        return Template(transform(document, {}, ManagedPolicyLoader(None)))


@pytest.fixture(scope="module")
def made(template: Template) -> Template:
    """The template after the transform, with its conditions unresolved."""
    return transformed(template, {})


# -- a change of a layer -----------------------------------------------------------------------------------------------


def called_versions(made: Template) -> dict[str, str]:
    """Return the version's id behind each function's alias: CloudFormation publishes a new version for a new id."""
    versions = {}
    for alias in made.of("AWS::Lambda::Alias").values():
        assert alias["Properties"]["Name"] == "live"
        version = alias["Properties"]["FunctionVersion"]["Fn::GetAtt"][0]
        versions[alias["Properties"]["FunctionName"]["Ref"]] = version
    return versions


def outdated(template: Template, layer: str) -> set[str]:
    """Return the functions whose alias keeps its version when only this layer changes."""
    before = called_versions(transformed(template, {}))
    after = called_versions(transformed(template, {layer: f"s3://bucket/{layer}-2.zip"}))
    assert before.keys() == after.keys() == template.functions.keys()
    return {name for name, version in before.items() if after[name] == version}


def test_a_build_without_changes_publishes_nothing(template: Template, made: Template) -> None:
    assert called_versions(transformed(template, {})) == called_versions(made)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_change_of_a_layer_alone_reaches_every_alias_thanks_to_both_properties(
    template: Template, layer: str
) -> None:
    assert outdated(template, layer) == set()
    without_all = template.broken("Resources/SyncFunction/Properties/AutoPublishAliasAllProperties", ABSENT)
    assert outdated(without_all, layer) == {"SyncFunction"}
    without_version = template.broken(f"Resources/{layer}/Properties/PublishLambdaVersion", ABSENT)
    assert outdated(without_version, layer) == set(template.functions)


# -- references --------------------------------------------------------------------------------------------------------


def references(value: Any) -> Iterator[str]:
    """Yield the names of resources, parameters and pseudo parameters that a value refers to."""
    if isinstance(value, list):
        for entry in value:
            yield from references(entry)
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _named(name, inner)


def _named(name: str, value: Any) -> Iterator[str]:
    if name == "Ref":
        yield value
    elif name == "Fn::GetAtt":
        yield value[0] if isinstance(value, list) else value.split(".")[0]
    elif name == "Fn::Sub":
        text, own = (value, {}) if isinstance(value, str) else value
        yield from references(own)
        yield from (found for found in re.findall(r"\$\{([^!}.]+)[^}]*\}", text) if found not in own)
    elif name == "DependsOn":
        yield from listed(value)
    else:
        yield from references(value)


def dangling(template: Template, parameters: Mapping[str, str]) -> set[str]:
    """Return references to names that do not exist with these parameters."""
    resolved = Resolver.of(template, parameters).resolved()
    known = {*resolved.resources, *template.document["Parameters"]}
    named = {*references(resolved.resources), *references(resolved.document["Outputs"])}
    return {name for name in named - known if not name.startswith("AWS::")}


def order(template: Template, parameters: Mapping[str, str]) -> list[str]:
    """Return an order in which all resources can be created; raise `CycleError` if there is none."""
    resources = Resolver.of(template, parameters).resolved().resources
    graph = {name: set(references(found)) & resources.keys() for name, found in resources.items()}
    return list(TopologicalSorter(graph).static_order())


def test_for_all_combinations_of_parameters_references_exist_and_have_no_cycle(made: Template) -> None:
    assert len(COMBINATIONS) == 144
    for parameters in COMBINATIONS:
        assert dangling(made, parameters) == set()
        assert order(made, parameters)


# -- API Gateway -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parameters", [{}, DOMAIN], ids=["execute-api", "domain"])
def test_api_gateway_accepts_the_api_and_its_endpoint(made: Template, parameters: dict[str, str]) -> None:
    (api,) = Resolver.of(made, parameters).resolved().of("AWS::ApiGatewayV2::Api").values()
    # API Gateway warns about a server without a URL: https://github.com/aws/serverless-application-model/issues/2424
    assert not api["Properties"].get("FailOnWarnings")
    # Set in both cases, so that a stack that removes its domain is reachable again.
    (server,) = api["Properties"]["Body"]["servers"]
    assert server["x-amazon-apigateway-endpoint-configuration"] == {"disableExecuteApiEndpoint": bool(parameters)}


def test_api_gateway_lets_unsigned_requests_reach_the_webhook_only(made: Template) -> None:
    (api,) = made.of("AWS::ApiGatewayV2::Api").values()
    routes = {
        f"{method.upper()} {path}": operation
        for path, operations in api["Properties"]["Body"]["paths"].items()
        for method, operation in operations.items()
    }
    public = {name for name, operation in routes.items() if operation.get("security") != [{"AWS_IAM": []}]}
    assert public == {"POST /webhooks/plaid"}
    assert len(routes) == 16
    scheme = api["Properties"]["Body"]["components"]["securitySchemes"]["AWS_IAM"]
    assert scheme["x-amazon-apigateway-authtype"] == "awsSigv4"
