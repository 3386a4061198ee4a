"""Rules for the configuration and publication of functions and layers."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from plaid_sync import config
from plaid_sync.linking.service import EXCHANGE_SECONDS

from tests.template.cloudformation import ABSENT, PROJECT, Template, environment
from tests.template.rules import differences, rule, without

if TYPE_CHECKING:
    from collections.abc import Iterator

WEBHOOK: Final = "Resources/WebhookFunction/Properties"
SWEEP: Final = "Resources/SweepFunction/Properties"
LAYER: Final = "Resources/PlaidSyncLayer"
MAX_EVENT_AGES: Final = {"rate(1 minute)": 60, "rate(1 day)": 3600}
"""Seconds. The least that AWS accepts is 60."""
ARCHITECTURES: Final = [{"Ref": "Architecture"}]
EXPECTED_FUNCTION: Final = {
    "AutoPublishAlias": "live",
    "Layers": [{"Ref": "DependenciesLayer"}, {"Ref": "PlaidSyncLayer"}],
    "Runtime": "python3.13",
    "Architectures": ARCHITECTURES,
    "Tracing": "Active",
    "Handler": "app.lambda_handler",
}
EXPECTED_LAYER: Final = {
    "Properties/CompatibleRuntimes": ["python3.13"],
    "Properties/CompatibleArchitectures": ARCHITECTURES,
    "Metadata/BuildArchitecture": ARCHITECTURES[0],  # else `sam build` takes one of another architecture from its cache
    "Metadata/BuildMethod": "makefile",  # which compiles bytecode
}
POWERTOOLS: Final = {"POWERTOOLS_SERVICE_NAME", "POWERTOOLS_METRICS_NAMESPACE", "POWERTOOLS_LOG_LEVEL"}
PLAID_TIMEOUT: Final = 10
OTHER_CALLS_TAKE: Final = 15
"""Seconds before the token exchange. With less time left than a rollback takes, the function exchanges nothing."""


@rule(
    (f"{WEBHOOK}/Environment/Variables/SYNC_QUEUE_URL", ABSENT),
    (f"{WEBHOOK}/Environment/Variables/LINKS_TABLE", {"Ref": "LinksTable"}),
    (f"{WEBHOOK}/Environment/Variables/POWERTOOLS_LOG_LEVEL", "DEBUG"),
    ("Globals/Function/Environment/Variables/PLAID_ENV", "sandbox"),
)
def each_function_gets_exactly_its_settings(template: Template) -> Iterator[str]:
    common = environment(template.document["Globals"]["Function"])
    if common.keys() != POWERTOOLS:
        yield f"Globals set {sorted(common)}"
    for name in template.functions:
        settings = getattr(config, name.replace("Function", "Settings"))  # WebhookFunction reads WebhookSettings
        wanted = {field.name.upper() for field in dataclasses.fields(settings)}
        if different := environment(template.properties(name)).keys() ^ wanted:
            yield f"{name}: only in one of template and settings: {sorted(different)}"


@rule(
    *without("Globals/Function", "AutoPublishAlias", "Layers/0"),
    (f"{WEBHOOK}/CodeUri", "functions/nothing"),
    (f"{LAYER}/Properties/CompatibleArchitectures", ["x86_64"]),
    ("Resources/DependenciesLayer/Properties/ContentUri", "layers/plaid_sync"),
)
def functions_and_layers_have_one_runtime_an_alias_and_a_handler(template: Template) -> Iterator[str]:
    """That each change reaches the alias: test_transformed.py."""
    for name, properties in template.functions.items():
        # Each run of the sweep would be a trace of its own: 43,800 a month.
        traced = {"Tracing": "PassThrough"} if name == "SweepFunction" else {}
        yield from differences(name, properties, EXPECTED_FUNCTION | traced)
        if not (PROJECT / properties["CodeUri"] / "app.py").is_file():
            yield f"{name} has no handler"
    for name, layer in template.of("AWS::Serverless::LayerVersion").items():
        yield from differences(name, layer, EXPECTED_LAYER)
        if f"\nbuild-{name}:\n" not in (PROJECT / layer["Properties"]["ContentUri"] / "Makefile").read_text():
            yield f"no Makefile builds {name}"


@rule(
    (f"{SWEEP}/EventInvokeConfig/MaximumEventAgeInSeconds", ABSENT),
    (f"{SWEEP}/EventInvokeConfig/MaximumRetryAttempts", ABSENT),
    (f"{SWEEP}/Events/EveryMinute/Properties/RetryPolicy", ABSENT),
    (f"{SWEEP}/Events/EveryMinute/Properties/RetryPolicy/MaximumEventAgeInSeconds", 3600),
    ("Resources/AuditFunction/Properties/EventInvokeConfig/MaximumEventAgeInSeconds", 21_600),
)
def a_scheduled_run_that_cannot_start_in_time_is_dropped(template: Template) -> Iterator[str]:
    """Lambda keeps an event that it throttles for six hours by default, EventBridge one that Lambda refuses for a day.

    After an outage, all of them would run.
    """
    for name, event in template.events("Schedule"):
        limits = template.functions[name]["EventInvokeConfig"], event.get("RetryPolicy", {})
        for limit in limits:
            if "MaximumRetryAttempts" not in limit:
                yield f"{name} is retried by default"
            if limit.get("MaximumEventAgeInSeconds") != MAX_EVENT_AGES[event["Schedule"]]:
                yield f"{name} starts late"


@rule((f"{WEBHOOK}/Timeout", 10), ("Resources/ItemsFunction/Properties/Timeout", 30))
def timeouts_fit_plaids_wait_and_the_rollback_of_a_link(template: Template) -> Iterator[str]:
    timeouts = {name: properties.get("Timeout", 3) for name, properties in template.functions.items()}
    if timeouts["WebhookFunction"] >= PLAID_TIMEOUT:
        yield "WebhookFunction runs longer than Plaid waits"
    if timeouts["ItemsFunction"] < EXCHANGE_SECONDS + OTHER_CALLS_TAKE:
        yield "ItemsFunction can time out between an exchange and its rollback"


@rule(
    (f"{WEBHOOK}/LoggingConfig", ABSENT),
    (f"{WEBHOOK}/LoggingConfig/LogGroup", {"Ref": "SyncLogGroup"}),
    ("Resources/WebhookLogGroup/Properties/RetentionInDays", ABSENT),
    ("Globals/Function/LoggingConfig/LogFormat", "Text"),
)
def each_function_writes_json_to_its_own_log_group(template: Template) -> Iterator[str]:
    groups = template.of("AWS::Logs::LogGroup")
    for name, properties in template.functions.items():
        logging = properties.get("LoggingConfig", {})
        group = logging.get("LogGroup", {}).get("Ref")
        if group not in groups:
            yield f"{name} has no log group in the template"
        yield from differences(name, logging, {"LogFormat": "JSON"})
        writes = [
            statement["Resource"]
            for role, statement in template.statements()
            if role == f"{name}Role" and "logs:PutLogEvents" in statement["Action"]
        ]
        if writes != [{"Fn::GetAtt": [group, "Arn"]}]:
            yield f"{name} can't write its log group, or can write others"
    for name, found in groups.items():
        yield from differences(name, found, {"Properties/RetentionInDays": {"Ref": "LogRetentionDays"}})
