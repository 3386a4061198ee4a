"""A change of a layer alone arrives at the alias that is called, as SAM's transform makes it."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final

import pytest
from samtranslator.translator.managed_policy_translator import ManagedPolicyLoader
from samtranslator.translator.transform import transform

from tests.template.cloudformation import ABSENT, Template

if TYPE_CHECKING:
    from collections.abc import Mapping

LAYERS: Final = ("DependenciesLayer", "PlaidSyncLayer")


@pytest.fixture(autouse=True)
def region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


def transformed_document(template: Template, contents: Mapping[str, str]) -> dict[str, Any]:
    """The template that CloudFormation gets for a build whose layers and functions lie at these addresses."""
    document: dict[str, Any] = copy.deepcopy(dict(template.document))
    for name, resource in document["Resources"].items():
        properties = resource.get("Properties", {})
        for place in {"CodeUri", "ContentUri", "Location"} & properties.keys():
            if isinstance(properties[place], str):
                properties[place] = contents.get(name, f"s3://bucket/{name}-1.zip")
    made: dict[str, Any] = transform(document, {}, ManagedPolicyLoader(None))
    return made


def transformed(template: Template, contents: Mapping[str, str]) -> dict[str, Any]:
    """Its resources."""
    return dict(transformed_document(template, contents)["Resources"])


def called_versions(resources: Mapping[str, Any]) -> dict[str, str]:
    """The id of the version behind each function's alias: CloudFormation publishes a new one exactly for a new id."""
    versions = {}
    for resource in resources.values():
        if resource["Type"] == "AWS::Lambda::Alias":
            assert resource["Properties"]["Name"] == "live"
            version = resource["Properties"]["FunctionVersion"]["Fn::GetAtt"][0]
            versions[resource["Properties"]["FunctionName"]["Ref"]] = version
    return versions


def left_behind(template: Template, layer: str) -> set[str]:
    """The functions whose alias stays on its old version when only this layer has a new content."""
    before = called_versions(transformed(template, {}))
    after = called_versions(transformed(template, {layer: f"s3://bucket/{layer}-2.zip"}))
    assert before.keys() == after.keys() == template.functions.keys()
    return {name for name, version in before.items() if after[name] == version}


@pytest.mark.parametrize("layer", LAYERS)
def test_a_change_of_a_layer_alone_reaches_the_alias_of_every_function(template: Template, layer: str) -> None:
    assert left_behind(template, layer) == set()


def test_a_build_that_changes_nothing_publishes_nothing(template: Template) -> None:
    assert called_versions(transformed(template, {})) == called_versions(transformed(template, {}))


@pytest.mark.parametrize("layer", LAYERS)
def test_without_publishing_by_all_properties_an_alias_stays_behind(template: Template, layer: str) -> None:
    broken = template.broken("Resources/SyncFunction/Properties/AutoPublishAliasAllProperties", ABSENT)
    assert left_behind(broken, layer) == {"SyncFunction"}


@pytest.mark.parametrize("layer", LAYERS)
def test_without_publishing_a_version_with_the_layer_every_alias_stays_behind(template: Template, layer: str) -> None:
    broken = template.broken(f"Resources/{layer}/Properties/PublishLambdaVersion", ABSENT)
    assert left_behind(broken, layer) == set(template.functions)
