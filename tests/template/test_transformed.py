"""CloudFormation and API Gateway accept what SAM's transform makes of the template, for all parameters."""

from __future__ import annotations

import copy
import itertools
import json
import re
from functools import cache
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any, Final

import pytest
from samtranslator.translator.managed_policy_translator import ManagedPolicyLoader
from samtranslator.translator.transform import transform

from local.release import Stack, digest, effective, stamped
from local.stack.nodes import compose
from tests.template.cloudformation import ABSENT, PROJECT, Resolver, Template, listed
from tests.template.test_parameters import BOUNDARY, CANARIES, DOMAIN, KEY, VPC, ZONE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import yaml

RESERVED: Final = {"ReserveSyncConcurrency": "true", "WebhookReservedConcurrency": "100"}
CHOICES: Final[tuple[tuple[dict[str, str], ...], ...]] = (
    ({"Stage": "dev"}, {"Stage": "prod"}, {"Stage": "local"}),
    ({}, DOMAIN, ZONE),
    ({}, VPC),
    ({}, KEY),
    ({}, BOUNDARY),
    ({}, {"DeploymentType": "AllAtOnce"}),
    ({}, {"SnapStart": "true"}),
    ({}, {"OutboundWebhooks": "true"}),
    ({}, {"TransactionEvents": "true"}),
    ({}, {"EventArchiveDays": "30"}),
    ({}, {"WebhookUrl": "https://proxy.example.com/webhooks/plaid"}),
    ({}, {"SyncMaximumConcurrency": "5", "PlaidCallsPerMinute": "100"} | RESERVED),
    ({}, {"AWS::Partition": "aws-cn"}, {"AWS::Partition": "aws-us-gov"}),
    ({}, {"Monitoring": "none"}, {"Monitoring": "full"}),
)
"""The parameters of conditions."""


def pairwise(choices: Sequence[Sequence[Mapping[str, str]]]) -> list[dict[str, str]]:
    """Return combinations in which each two values of two choices meet."""
    combinations = [frozenset(enumerate(found)) for found in itertools.product(*(range(len(each)) for each in choices))]
    pairs = {frozenset(pair) for each in combinations for pair in itertools.combinations(each, 2)}
    chosen = []
    while pairs:
        best = max(combinations, key=lambda each: sum(pair <= each for pair in pairs))
        pairs = {pair for pair in pairs if not pair <= best}
        chosen.append({name: value for index, number in sorted(best) for name, value in choices[index][number].items()})
    return chosen


COMBINATIONS: Final = pairwise(CHOICES)
LAYERS: Final = ("DependenciesLayer", "PlaidSyncLayer")
MAX_DESCRIPTION: Final = 256
"""Lambda's limit."""


def transformed(
    template: Template, contents: Mapping[str, str], parameters: Mapping[str, str] | None = None
) -> Template:
    """Return the template that CloudFormation gets for a build with these addresses of layers and functions."""
    document: dict[str, Any] = copy.deepcopy(dict(template.document))
    for name, resource in document["Resources"].items():
        properties = resource.get("Properties", {})
        for place in {"CodeUri", "ContentUri", "Location"} & properties.keys():
            if isinstance(properties[place], str):
                properties[place] = contents.get(name, f"s3://bucket/{name}-1.zip")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        return Template(transform(document, dict(parameters or {}), ManagedPolicyLoader(None)))


@pytest.fixture(scope="module")
def made(template: Template) -> Template:
    """The template after the transform, with its conditions unresolved."""
    return transformed(template, {})


# -- what publishes a version ------------------------------------------------------------------------------------------

SOURCE: Final = PROJECT / "template.yaml"


def called_versions(made: Template) -> dict[str, str]:
    """Return the version's id behind each function's alias: CloudFormation publishes a new version for a new id."""
    versions = {}
    for alias in made.of("AWS::Lambda::Alias").values():
        assert alias["Properties"]["Name"] == "live"
        version = alias["Properties"]["FunctionVersion"]["Fn::GetAtt"][0]
        versions[alias["Properties"]["FunctionName"]["Ref"]] = version
    return versions


@cache
def _source() -> yaml.Node:
    return compose(SOURCE)


@cache
def _stamped() -> str:
    document: dict[str, Any] = dict(Template.parse(stamped(compose(SOURCE), "RELEASE")).document)
    return json.dumps(document)


def released(overrides: str) -> Template:
    """Return what CloudFormation gets from `make deploy` with these parameters."""
    values = effective(_source(), Stack(), overrides)
    release = digest(SOURCE, values, "")
    return transformed(Template(json.loads(_stamped().replace("RELEASE", release))), {}, values)


def other_value(parameter: Mapping[str, Any]) -> str:
    default = str(parameter["Default"])
    if "AllowedValues" in parameter:
        return next(str(value) for value in parameter["AllowedValues"] if str(value) != default)
    return str(int(default) + 1) if parameter["Type"] == "Number" else f"{default}x"


@pytest.fixture(scope="module")
def published() -> dict[str, str]:
    """The versions of a deployment with the default of each parameter."""
    return called_versions(released(""))


PARAMETERS: Final = Template.parse(SOURCE.read_text()).document["Parameters"]


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_change_of_a_parameter_alone_reaches_every_alias(name: str, published: dict[str, str]) -> None:
    changed = called_versions(released(f'{name}="{other_value(PARAMETERS[name])}"'))
    assert published.keys() == changed.keys()
    assert not published.items() & changed.items()


def test_the_same_sources_and_parameters_publish_nothing(published: dict[str, str]) -> None:
    """That a parameter which a later deployment does not repeat is the same: tests/unit/test_release.py."""
    assert called_versions(released("")) == published
    assert called_versions(released(f'LogLevel="{PARAMETERS["LogLevel"]["Default"]}"')) == published


def test_whenever_a_version_is_published_its_function_has_changed() -> None:
    """Else Lambda refuses to publish (https://github.com/aws/serverless-application-model/issues/3281)."""
    before, after = (released(overrides) for overrides in ("", "AlarmEmail=a@example.com"))
    for name in called_versions(before):
        descriptions = [made.properties(name)["Description"] for made in (before, after)]
        assert len(set(descriptions)) == 2
        assert max(map(len, descriptions)) <= MAX_DESCRIPTION


def test_without_a_release_a_parameter_publishes_nothing(template: Template) -> None:
    """Why there are releases: https://github.com/aws/serverless-application-model/issues/3820."""
    quiet, debug = ({"LogLevel": level} for level in ("INFO", "DEBUG"))
    assert called_versions(transformed(template, {}, quiet)) == called_versions(transformed(template, {}, debug))


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


# -- a version is rolled back by its own errors ------------------------------------------------------------------------


def rollback_alarms(made: Template) -> dict[str, Any]:
    """Return the properties of the one alarm that CodeDeploy watches for each function."""
    watched = {}
    for alias in made.of("AWS::Lambda::Alias").values():
        if update := alias.get("UpdatePolicy"):
            group = made.properties(update["CodeDeployLambdaAliasUpdate"]["DeploymentGroupName"]["Ref"])
            assert group["AlarmConfiguration"]["Enabled"]
            (alarm,) = group["AlarmConfiguration"]["Alarms"]
            watched[alias["Properties"]["FunctionName"]["Ref"]] = made.properties(alarm["Name"]["Ref"])
    return watched


def test_a_canary_is_rolled_back_by_errors_of_the_version_that_it_brings_and_by_nothing_else(made: Template) -> None:
    alarms, versions = rollback_alarms(made), called_versions(made)
    assert alarms.keys() == CANARIES
    assert len(made.of("AWS::CodeDeploy::DeploymentGroup")) == len(made.of("AWS::CloudWatch::Alarm")) == len(CANARIES)
    for function, alarm in alarms.items():
        version = {"Fn::GetAtt": [versions[function], "Version"]}
        name = made.properties(function)["FunctionName"]["Fn::Sub"]
        # A new name for each version: CloudWatch keeps the state of an alarm that is changed.
        assert alarm["AlarmName"]["Fn::Sub"] == f"{name}-version-${{{versions[function]}.Version}}"
        assert {dimension["Name"]: dimension["Value"] for dimension in alarm["Dimensions"]} == {
            "FunctionName": {"Ref": function},
            "Resource": {"Fn::Sub": f"${{{function}}}:live"},
            "ExecutedVersion": version,
        }
        assert (alarm["Namespace"], alarm["MetricName"], alarm["Statistic"]) == ("AWS/Lambda", "Errors", "Sum")
        assert (alarm["Period"], alarm["EvaluationPeriods"], alarm["Threshold"]) == (60, 1, 1)
        assert alarm["TreatMissingData"] == "notBreaching"
        assert not {"AlarmActions", "OKActions", "InsufficientDataActions"} & alarm.keys()


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


@pytest.mark.parametrize("parameters", COMBINATIONS, ids=lambda found: "-".join(found.values()))
def test_for_each_two_parameters_references_exist_and_have_no_cycle(
    template: Template, parameters: dict[str, str]
) -> None:
    made = transformed(template, {}, {name: value for name, value in parameters.items() if ":" not in name})
    assert dangling(made, parameters) == set()
    assert order(made, parameters)


def test_the_combinations_have_each_condition_true_and_false(made: Template) -> None:
    resolvers = [Resolver.of(made, parameters) for parameters in COMBINATIONS]
    for name in made.document["Conditions"]:
        assert {resolver.holds({"Condition": name}) for resolver in resolvers} == {True, False}, name


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
    assert len(routes) == 27
    scheme = api["Properties"]["Body"]["components"]["securitySchemes"]["AWS_IAM"]
    assert scheme["x-amazon-apigateway-authtype"] == "awsSigv4"
