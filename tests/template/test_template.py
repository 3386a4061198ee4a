"""What must be true of the template as a file: its suppressions, outputs, local difference and environments."""

from __future__ import annotations

import re
import shlex
import tomllib
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from tests.template.cloudformation import PROJECT, Template
from tests.template.resolving import Resolver

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOV: Final = re.compile(r"checkov:skip=(?P<checks>[^:\s]*):?(?P<reason>.*)")
CFN_LINT: Final = re.compile(r"ignore_checks:(?P<checks>[^#]*)(?:#(?P<reason>.*))?")
OUTPUTS: Final = {
    "WebhookUrl",
    "ApiUrl",
    "ApiId",
    "ItemsTable",
    "TransactionsTable",
    "QuarantineTable",
    "HistoryTable",
    "LinksTable",
    "TransactionsStreamArn",
    "SyncQueueUrl",
    "SyncTriggersId",
    "DeadLetterQueueUrl",
    "PlaidSecretId",
    "EventBusName",
    "TokenKeyId",
    "WebhookFunctionName",
    "SyncFunctionName",
    "ItemsFunctionName",
    "AuditFunctionName",
    "ChangesFunctionName",
    "SweepFunctionName",
    "DashboardName",
    "DashboardUrl",
    "AlarmTopicArn",
}
TEMPLATES: Final = {
    path.name: path.read_text() for path in (PROJECT / "template.yaml", *sorted((PROJECT / "infra").glob("*.yaml")))
}
MOST_BYTES: Final = 1_000_000
"""What CloudFormation takes from a bucket. It takes 51,200 without one, but nested templates can't come without one."""


def suppressions(text: str) -> Iterator[tuple[str, str]]:
    """Every suppressed check with its reason; a reason is a sentence, not a word."""
    for line in text.splitlines():
        for found in filter(None, (CHECKOV.search(line), CFN_LINT.search(line))):
            yield found["checks"].strip(), (found["reason"] or "").strip()


def unreasoned(text: str) -> list[str]:
    return [checks for checks, reason in suppressions(text) if not re.search(r"\w+ \w+ \w+", reason)]


@pytest.mark.parametrize("text", TEMPLATES.values(), ids=TEMPLATES)
def test_every_suppression_says_why(text: str) -> None:
    assert len(list(suppressions(text))) == len(re.findall(r"checkov:|ignore_checks|disable_checks", text))
    assert unreasoned(text) == []


def test_nothing_is_suppressed_outside_the_template() -> None:
    names = (".checkov.yaml", ".checkov.yml", ".cfnlintrc", ".cfnlintrc.yaml", ".cfnlintrc.yml")
    assert [name for name in names if (PROJECT / name).exists()] == []


@pytest.mark.parametrize(
    "line",
    ["# checkov:skip=CKV_AWS_1", "# checkov:skip=CKV_AWS_1:no", "ignore_checks: [W1]", "ignore_checks: [W1] # no"],
)
def test_a_suppression_without_a_reason_is_noticed(text: str, line: str) -> None:
    assert unreasoned(f"{text}\n{line}\n")


@pytest.mark.parametrize("text", TEMPLATES.values(), ids=TEMPLATES)
def test_cloudformation_reads_it(text: str) -> None:
    # CloudFormation's YAML has no anchors, aliases and merge keys.
    tokens = [type(token) for token in yaml.scan(text)]
    assert yaml.AnchorToken not in tokens
    assert yaml.AliasToken not in tokens
    assert len(text.encode()) < MOST_BYTES


def test_each_nested_template_gets_the_parameters_that_it_wants(template: Template) -> None:
    nested = template.of("AWS::Serverless::Application")
    assert {found["Properties"]["Location"] for found in nested.values()} == {
        f"infra/{name}" for name in TEMPLATES if name != "template.yaml"
    }
    for found in nested.values():
        wanted = Template.parse((PROJECT / found["Properties"]["Location"]).read_text()).document["Parameters"]
        assert found["Properties"]["Parameters"].keys() == wanted.keys()


def test_what_somebody_may_set_is_bounded_in_the_nested_template_as_well(template: Template, alarms: Template) -> None:
    for name in ("AlarmEmail", "DeadManHours", "RunbookUrl"):
        outer, inner = (dict(found.document["Parameters"][name]) for found in (template, alarms))
        assert {**outer, "Description": ""} == {**inner, "Description": ""}


def test_the_outputs_say_where_everything_is(template: Template) -> None:
    assert template.document["Outputs"].keys() == OUTPUTS


def test_only_the_transport_differs_locally(template: Template) -> None:
    dev, local = (Resolver.of(template, {"Stage": stage}).resolved().document for stage in ("dev", "local"))
    assert dev["Resources"].keys() - local["Resources"].keys() == {"QueuesPolicy"}
    assert {**dev, "Resources": {**dev["Resources"], "QueuesPolicy": None}} == {
        **local,
        "Resources": {**local["Resources"], "QueuesPolicy": None},
    }


def test_prod_refuses_another_plaid_server(template: Template) -> None:
    rule = template.document["Rules"]["ProdTalksToPlaid"]
    assert rule["RuleCondition"] == {"Fn::Equals": [{"Ref": "Stage"}, "prod"]}
    assert rule["Assertions"][0]["Assert"] == {"Fn::Equals": [{"Ref": "PlaidBaseUrl"}, ""]}


def _deployment(environment: str) -> dict[str, Any]:
    document = tomllib.loads((PROJECT / "samconfig.toml").read_text())
    return dict(document[environment]["deploy"]["parameters"])


def _overrides(environment: str) -> dict[str, str]:
    pairs = shlex.split(_deployment(environment)["parameter_overrides"])
    return dict(pair.split("=", 1) for pair in pairs)


@pytest.mark.parametrize(("environment", "plaid"), [("dev", "sandbox"), ("prod", "production")])
def test_each_environment_sets_parameters_that_exist(template: Template, environment: str, plaid: str) -> None:
    overrides, parameters = _overrides(environment), template.document["Parameters"]
    assert overrides.keys() <= parameters.keys()
    assert (overrides["Stage"], overrides["PlaidEnvironment"]) == (environment, plaid)
    for name, value in overrides.items():
        assert value in map(str, parameters[name].get("AllowedValues", [value]))


def test_prod_is_confirmed_and_apart_from_dev() -> None:
    dev, prod = _deployment("dev"), _deployment("prod")
    assert prod["confirm_changeset"] is True
    assert dev["stack_name"] != prod["stack_name"]
    # No IAM names: the stack can be deployed twice in an account. Nested templates are expanded.
    assert dev["capabilities"] == prod["capabilities"] == "CAPABILITY_IAM CAPABILITY_AUTO_EXPAND"


@pytest.mark.parametrize(("environment", "calls_a_minute"), [("sandbox", 1_000), ("production", 2_500)])
def test_the_workers_together_stay_below_plaids_limit(
    template: Template, environment: str, calls_a_minute: int
) -> None:
    limits = template.document["Mappings"]["PlaidLimits"][environment]
    assert limits["SyncCallsPerMinute"] == calls_a_minute
    # Two calls a second and worker: see the mapping.
    assert 0.9 * calls_a_minute < limits["SyncMaximumConcurrency"] * 120 <= calls_a_minute
    assert template.document["Conditions"]["DerivedConcurrency"] == {
        "Fn::Equals": [{"Ref": "SyncMaximumConcurrency"}, 0]
    }
    assert template.document["Parameters"]["SyncMaximumConcurrency"]["Default"] == 0
