"""The templates as files: suppressions, outputs, nested templates, the local difference, environments."""

from __future__ import annotations

import re
import shlex
import tomllib
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from tests.template.cloudformation import PROJECT, Resolver, Template

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOV: Final = re.compile(r"checkov:skip=(?P<checks>[^:\s]*):?(?P<reason>.*)")
CFN_LINT: Final = re.compile(r"ignore_checks:(?P<checks>[^#]*)(?:#(?P<reason>.*))?")
TEMPLATES: Final = {
    path.name: path.read_text() for path in (PROJECT / "template.yaml", *sorted((PROJECT / "infra").glob("*.yaml")))
}
ENVIRONMENTS: Final = tomllib.loads((PROJECT / "samconfig.toml").read_text())


def suppressions(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        for found in filter(None, (CHECKOV.search(line), CFN_LINT.search(line))):
            yield found["checks"].strip(), (found["reason"] or "").strip()


def unreasoned(text: str) -> list[str]:
    """Return the suppressed checks whose reason is missing or a word or two."""
    return [checks for checks, reason in suppressions(text) if not re.search(r"\w+ \w+ \w+", reason)]


@pytest.mark.parametrize("text", TEMPLATES.values(), ids=TEMPLATES)
def test_every_suppression_has_a_reason_and_cloudformation_can_read_the_yaml(text: str) -> None:
    assert len(list(suppressions(text))) == len(re.findall(r"checkov:|ignore_checks|disable_checks", text))
    assert unreasoned(text) == []
    # CloudFormation's YAML has no anchors, aliases and merge keys.
    assert not {yaml.AnchorToken, yaml.AliasToken} & {type(token) for token in yaml.scan(text)}


def test_nothing_is_suppressed_outside_the_templates() -> None:
    names = (".checkov.yaml", ".checkov.yml", ".cfnlintrc", ".cfnlintrc.yaml", ".cfnlintrc.yml")
    assert [name for name in names if (PROJECT / name).exists()] == []


def test_each_nested_template_gets_its_parameters_with_the_same_limits(template: Template, alarms: Template) -> None:
    nested = [found["Properties"] for found in template.of("AWS::Serverless::Application").values()]
    assert {found["Location"] for found in nested} == {f"infra/{name}" for name in TEMPLATES if name != "template.yaml"}
    for found in nested:
        wanted = Template.parse((PROJECT / found["Location"]).read_text()).document["Parameters"]
        assert found["Parameters"].keys() == wanted.keys()
    for name in ("AlarmEmail", "MaxHoursWithoutWebhook", "RunbookUrl"):
        outer, inner = (dict(found.document["Parameters"][name]) for found in (template, alarms))
        assert {**outer, "Description": ""} == {**inner, "Description": ""}


def test_the_outputs_name_every_resource_that_operators_and_applications_use(template: Template) -> None:
    named = {f"{name}Name" for name in (*template.functions, "Dashboard", "EventBus")}
    urls = {f"{name}Url" for name in (*template.of("AWS::SQS::Queue"), "Webhook", "Api", "Dashboard")}
    ids = {
        "ApiId",
        "SyncEventSourceMappingId",
        "PlaidSecretId",
        "OutboundSecretId",
        "TokenKeyId",
        "TransactionsStreamArn",
    }
    ids |= {"PageTopicArn", "AlarmTopicArn", "DataKeyPolicyArn"}
    assert template.document["Outputs"].keys() == named | urls | ids | template.of("AWS::DynamoDB::Table").keys()


def test_two_stacks_of_one_name_in_two_regions_share_nothing(template: Template, dashboard: Template) -> None:
    """Names of IAM and dashboards are global in an account; a hosted zone's records are named by a parameter."""
    (properties,) = [found["Properties"] for found in dashboard.of("AWS::CloudWatch::Dashboard").values()]
    assert properties["DashboardName"] == {"Fn::Sub": "${StackName}-${AWS::Region}"}
    for kind, name in (("Role", "RoleName"), ("ManagedPolicy", "ManagedPolicyName")):
        assert [found for found in template.of(f"AWS::IAM::{kind}").values() if name in found["Properties"]] == []


def test_only_the_transport_differs_locally(template: Template, alarms: Template) -> None:
    monitored = {"Monitoring": "full"}
    for found, policy, chosen in ((template, "QueuesPolicy", monitored), (alarms, "TopicsPolicy", dict[str, str]())):
        dev, local = (Resolver.of(found, {"Stage": stage} | chosen).resolved().document for stage in ("dev", "local"))
        remaining = {name: resource for name, resource in dev["Resources"].items() if name != policy}
        assert {**dev, "Resources": remaining} == local != dev


def _deployment(environment: str) -> dict[str, Any]:
    return dict(ENVIRONMENTS[environment]["deploy"]["parameters"])


@pytest.mark.parametrize(("environment", "plaid"), [("dev", "sandbox"), ("prod", "production")])
def test_each_environment_sets_parameters_that_exist(template: Template, environment: str, plaid: str) -> None:
    pairs = shlex.split(_deployment(environment)["parameter_overrides"])
    overrides, parameters = dict(pair.split("=", 1) for pair in pairs), template.document["Parameters"]
    # Every deployment sets these: all others stay as they were chosen.
    assert overrides.keys() == {"Stage", "PlaidEnvironment", "LogRetentionDays"} <= parameters.keys()
    assert (overrides["Stage"], overrides["PlaidEnvironment"]) == (environment, plaid)
    for name, value in overrides.items():
        assert value in map(str, parameters[name].get("AllowedValues", [value]))


def test_prod_is_confirmed_and_separate_from_dev() -> None:
    dev, prod = _deployment("dev"), _deployment("prod")
    assert prod["confirm_changeset"] is True
    assert dev["stack_name"] != prod["stack_name"]
    # No named IAM resources: an account can have two stacks. Nested templates need the expansion.
    assert dev["capabilities"] == prod["capabilities"] == "CAPABILITY_IAM CAPABILITY_AUTO_EXPAND"


@pytest.mark.parametrize(("environment", "calls_a_minute"), [("sandbox", 1_000), ("production", 2_500)])
def test_all_workers_together_stay_below_plaids_limit(
    template: Template, environment: str, calls_a_minute: int
) -> None:
    limits = template.document["Mappings"]["PlaidLimits"][environment]
    assert int(limits["SyncCallsPerMinute"]) == calls_a_minute
    # A call in 1.2 seconds and worker: see the mapping.
    assert limits["SyncMaximumConcurrency"] * 50 == 0.8 * calls_a_minute
    default = Resolver.of(template, {})
    assert default.holds({"Condition": "DerivedConcurrency"})
    assert not Resolver.of(template, {"SyncMaximumConcurrency": "5"}).holds({"Condition": "DerivedConcurrency"})
