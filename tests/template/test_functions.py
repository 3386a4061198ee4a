"""How the functions are configured and published, and that a break of it is noticed."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import pytest
from plaid_sync import config
from plaid_sync.core.linking.linker import EXCHANGE_TAKES_SECONDS

from tests.template.cloudformation import ABSENT, PROJECT, Template, environment

if TYPE_CHECKING:
    from collections.abc import Iterator

WEBHOOK: Final = "Resources/WebhookFunction/Properties"
ARCHITECTURES: Final = [{"Ref": "Architecture"}]
POWERTOOLS: Final = {"POWERTOOLS_SERVICE_NAME", "POWERTOOLS_METRICS_NAMESPACE", "POWERTOOLS_LOG_LEVEL"}
PLAID_WAITS: Final = 10
OTHER_CALLS_TAKE: Final = 15
"""Seconds before the exchange of a public token; with less left than it takes to undo one, none is made."""


def settings_of(function: str) -> set[str]:
    """The environment that a function's settings class reads: WebhookFunction's is WebhookSettings."""
    settings = getattr(config, function.replace("Function", "Settings"))
    return {field.name.upper() for field in dataclasses.fields(settings)}


def problems_of_environment(template: Template) -> Iterator[str]:
    common = environment(template.document["Globals"]["Function"])
    if common.keys() != POWERTOOLS:
        yield f"Globals set {sorted(common)}"
    for name in template.functions:
        own = environment(template.properties(name)).keys()
        if own != settings_of(name):
            yield f"{name}: only in one of template and settings: {sorted(own ^ settings_of(name))}"


def problems_of_publishing(template: Template) -> Iterator[str]:
    """What it takes for a change of code, of settings or of a layer to arrive at the alias that is called."""
    for name, properties in template.functions.items():
        if properties.get("AutoPublishAlias") != "live":
            yield f"{name} has no alias live"
        if properties.get("AutoPublishAliasAllProperties") is not True:
            yield f"{name} keeps its old version when only a layer changes"
        if properties.get("Layers") != [{"Ref": "DependenciesLayer"}, {"Ref": "PlaidSyncLayer"}]:
            yield f"{name} lacks a layer"
    for name, layer in template.of("AWS::Serverless::LayerVersion").items():
        if layer["Properties"].get("PublishLambdaVersion") is not True:
            yield f"functions keep their old version when {name} changes"
        if layer["Metadata"]["BuildMethod"] != "makefile":
            yield f"{name} is built without bytecode"


def problems_of_runtime(template: Template) -> Iterator[str]:
    for name, properties in template.functions.items():
        if (properties["Runtime"], properties["Architectures"]) != ("python3.13", ARCHITECTURES):
            yield f"{name} runs elsewhere than its layers"
        if properties.get("Tracing") != "Active":
            yield f"{name} is not traced"
        if not (PROJECT / properties["CodeUri"] / "app.py").is_file() or properties["Handler"] != "app.lambda_handler":
            yield f"{name} has no handler"
    for name, layer in template.of("AWS::Serverless::LayerVersion").items():
        properties = layer["Properties"]
        if (properties["CompatibleRuntimes"], properties["CompatibleArchitectures"]) != (["python3.13"], ARCHITECTURES):
            yield f"{name} is for another runtime"
        if layer["Metadata"]["BuildArchitecture"] != ARCHITECTURES[0]:
            yield f"sam build takes {name} of another architecture out of its cache"
        makefile = PROJECT / properties["ContentUri"] / "Makefile"
        if f"\nbuild-{name}:\n" not in makefile.read_text():
            yield f"{makefile.parent.name} has no target for {name}"


def problems_of_timeouts(template: Template) -> Iterator[str]:
    timeouts = {name: properties.get("Timeout", 3) for name, properties in template.functions.items()}
    if timeouts["WebhookFunction"] >= PLAID_WAITS:
        yield "WebhookFunction runs on after Plaid has gone"
    if timeouts["ItemsFunction"] < EXCHANGE_TAKES_SECONDS + OTHER_CALLS_TAKE:
        yield "ItemsFunction can be killed between an exchange and its undoing"


def problems_of_logs(template: Template) -> Iterator[str]:
    for name, properties in template.functions.items():
        logging = properties.get("LoggingConfig", {})
        group = logging.get("LogGroup", {}).get("Ref")
        if group not in template.of("AWS::Logs::LogGroup"):
            yield f"{name} has no log group of the template's"
        if logging.get("LogFormat") != "JSON":
            yield f"{name} does not log JSON"
        writes = [
            statement["Resource"]
            for role, statement in template.statements()
            if role == f"{name}Role" and "logs:PutLogEvents" in statement["Action"]
        ]
        if writes != [{"Fn::GetAtt": [group, "Arn"]}]:
            yield f"{name} can't write its log group, or can write others"
    for name, group in template.of("AWS::Logs::LogGroup").items():
        if group["Properties"].get("RetentionInDays") != {"Ref": "LogRetentionDays"}:
            yield f"{name} is kept for another time than the parameter says"


RULES: Final = {
    "environment": problems_of_environment,
    "publishing": problems_of_publishing,
    "runtime": problems_of_runtime,
    "timeouts": problems_of_timeouts,
    "logs": problems_of_logs,
}


@pytest.mark.parametrize("rule", RULES)
def test_the_template_keeps_the_rule(template: Template, rule: str) -> None:
    assert list(RULES[rule](template)) == []


@pytest.mark.parametrize(
    ("rule", "path", "value"),
    [
        ("environment", f"{WEBHOOK}/Environment/Variables/SYNC_QUEUE_URL", ABSENT),
        ("environment", f"{WEBHOOK}/Environment/Variables/ITEMS_TABLE", {"Ref": "ItemsTable"}),
        ("environment", f"{WEBHOOK}/Environment/Variables/POWERTOOLS_LOG_LEVEL", "DEBUG"),
        ("environment", "Globals/Function/Environment/Variables/PLAID_ENV", "sandbox"),
        ("publishing", "Globals/Function/AutoPublishAlias", ABSENT),
        ("publishing", f"{WEBHOOK}/AutoPublishAliasAllProperties", ABSENT),
        ("publishing", "Globals/Function/Layers/0", ABSENT),
        ("publishing", "Resources/PlaidSyncLayer/Properties/PublishLambdaVersion", ABSENT),
        ("publishing", "Resources/PlaidSyncLayer/Metadata/BuildMethod", "python3.13"),
        ("runtime", "Globals/Function/Architectures", ["x86_64"]),
        ("runtime", "Resources/PlaidSyncLayer/Properties/CompatibleArchitectures", ["x86_64"]),
        ("runtime", "Resources/PlaidSyncLayer/Metadata/BuildArchitecture", "arm64"),
        ("runtime", f"{WEBHOOK}/Runtime", "python3.12"),
        ("runtime", f"{WEBHOOK}/Tracing", "PassThrough"),
        ("runtime", f"{WEBHOOK}/CodeUri", "functions/nothing"),
        ("runtime", "Resources/DependenciesLayer/Properties/ContentUri", "layers/plaid_sync"),
        ("timeouts", f"{WEBHOOK}/Timeout", 10),
        ("timeouts", "Resources/ItemsFunction/Properties/Timeout", 30),
        ("logs", f"{WEBHOOK}/LoggingConfig", ABSENT),
        ("logs", f"{WEBHOOK}/LoggingConfig/LogGroup", {"Ref": "SyncLogGroup"}),
        ("logs", "Resources/WebhookLogGroup/Properties/RetentionInDays", ABSENT),
        ("logs", "Globals/Function/LoggingConfig/LogFormat", "Text"),
    ],
)
def test_a_break_of_the_rule_is_noticed(template: Template, rule: str, path: str, value: object) -> None:
    assert list(RULES[rule](template.broken(path, value)))
