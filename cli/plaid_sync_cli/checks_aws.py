"""Checks of the stack itself: the event source mapping, schedules, alarms, versions, tables, the key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from plaid_sync_cli import readings
from plaid_sync_cli.checking import Check, Finding, failed, ok, warning
from plaid_sync_cli.deployment import ALIAS
from plaid_sync_cli.output import plural
from plaid_sync_cli.usage import TABLES, functions
from plaid_sync_cli.verdict import ENABLED

if TYPE_CHECKING:
    from plaid_sync_cli.deployment import Deployment

_SCHEDULES: Final = {"AWS::Events::Rule", "AWS::Scheduler::Schedule"}
_REDEPLOY: Final = "Deploy the template again: it says so."
_CONFIRMED: Final = "arn:"


def mapping(deployment: Deployment) -> Finding:
    """See whether the sync function gets the queue's messages."""
    state = readings.mapping_state(deployment)
    if state == ENABLED:
        return ok("enabled")
    return failed(f"{state}: nothing is synced", "plaid-sync resume")


def schedules(deployment: Deployment) -> Finding:
    """See whether the sweep and the audit are started."""
    found = {name: _scheduled(deployment, kind, name) for kind, name in _resources(deployment) if kind in _SCHEDULES}
    if not found:
        return warning(
            "the stack has no schedule", "Deploy a template with the sweep: lost webhooks are repaired by it."
        )
    off = sorted(name for name, state in found.items() if state != "ENABLED")
    if off:
        return failed(f"off: {', '.join(off)}", "Enable them: aws events enable-rule --name NAME, or deploy again.")
    return ok(f"{plural(len(found), 'schedule')} enabled")


def _scheduled(deployment: Deployment, kind: str, name: str) -> str:
    if kind == "AWS::Events::Rule":
        return str(deployment.client("events").describe_rule(Name=name.rsplit("|", 1)[-1])["State"])
    return str(deployment.client("scheduler").get_schedule(Name=name)["State"])


def _resources(deployment: Deployment) -> list[tuple[str, str]]:
    pages = (
        deployment.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=deployment.name)
    )
    return [
        (one["ResourceType"], one.get("PhysicalResourceId", ""))
        for page in pages
        for one in page["StackResourceSummaries"]
    ]


def alarms(deployment: Deployment) -> Finding:
    """See whether there are alarms, and somebody who is told of them."""
    found = readings.alarms(deployment)
    if not found:
        return failed("the stack has no alarms", _REDEPLOY)
    topic = deployment.outputs.get("AlarmTopicArn")
    if topic is None:
        return warning(f"{plural(len(found), 'alarm')}, and no topic that tells of them", _REDEPLOY)
    if not any(topic in alarm.actions for alarm in found):
        return failed(f"no alarm of {len(found):,} tells the topic {topic}", _REDEPLOY)
    answer = deployment.client("sns").list_subscriptions_by_topic(TopicArn=topic)
    confirmed = [one for one in answer["Subscriptions"] if one["SubscriptionArn"].startswith(_CONFIRMED)]
    if not confirmed:
        return warning(
            f"nobody is told of {plural(len(found), 'alarm')}: the topic has no confirmed subscription",
            "Set the parameter AlarmEmail, and confirm the mail that AWS sends.",
        )
    return ok(f"{plural(len(found), 'alarm')}, told to {plural(len(confirmed), 'subscription')}")


def versions(deployment: Deployment) -> Finding:
    """See whether each alias points to the newest version, and that all run on one runtime with the same layers."""
    client = deployment.client("lambda")
    behind, builds = [], set()
    for name in functions(deployment):
        alias = client.get_alias(FunctionName=name, Name=ALIAS)
        newest = max(_versions(client, name), default=0)
        if alias["FunctionVersion"] != str(newest) or alias.get("RoutingConfig", {}).get("AdditionalVersionWeights"):
            behind.append(f"{name} ({ALIAS}: {alias['FunctionVersion']}, newest: {newest})")
        live = client.get_function_configuration(FunctionName=name, Qualifier=ALIAS)
        layers = ", ".join(_short(layer["Arn"]) for layer in live.get("Layers", []))
        builds.add(f"{live['Runtime']} with {layers or 'no layers'}")
    if behind:
        return warning(f"not the newest version: {', '.join(behind)}", "A deployment is going on, or was rolled back.")
    if len(builds) > 1:
        return warning(f"the functions differ: {'; '.join(sorted(builds))}", _REDEPLOY)
    return ok(f"{ALIAS} is the newest version everywhere: {''.join(builds)}")


def _versions(client: Any, name: str) -> list[int]:  # noqa: ANN401 - a boto3 client
    pages = client.get_paginator("list_versions_by_function").paginate(FunctionName=name)
    return [int(one["Version"]) for page in pages for one in page["Versions"] if one["Version"].isdigit()]


def _short(arn: str) -> str:
    """Return the name and the version of a layer."""
    return ":".join(arn.split(":")[-2:])


def tables(deployment: Deployment) -> Finding:
    """See whether the tables can be brought back, and not be deleted."""
    client, wrong = deployment.client("dynamodb"), []
    for output in TABLES:
        name = deployment.output(output)
        backups = client.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
        recovery = backups.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus")
        wrong += [] if recovery == "ENABLED" else [f"{output} has no point-in-time recovery"]
        protected = client.describe_table(TableName=name)["Table"].get("DeletionProtectionEnabled")
        wrong += [] if protected else [f"{output} is not protected against deletion"]
    if wrong:
        return failed("; ".join(wrong), _REDEPLOY)
    return ok(f"{plural(len(TABLES), 'table')} with point-in-time recovery, protected against deletion")


def key(deployment: Deployment) -> Finding:
    """See whether the key of the access tokens is rotated, and not about to be deleted."""
    client, key_id = deployment.client("kms"), deployment.output("TokenKeyId")
    state = client.describe_key(KeyId=key_id)["KeyMetadata"]["KeyState"]
    if state != ENABLED:
        return failed(
            f"the key is {state}: without it all access tokens are lost", "aws kms cancel-key-deletion, enable-key"
        )
    if not client.get_key_rotation_status(KeyId=key_id)["KeyRotationEnabled"]:
        return warning("the key is not rotated", "aws kms enable-key-rotation, or deploy again.")
    return ok("enabled and rotated")


CHECKS: Final = (
    Check("event source mapping", mapping),
    Check("schedules", schedules),
    Check("alarms", alarms),
    Check("versions", versions),
    Check("tables", tables),
    Check("token key", key),
)
"""In the order of their consequences."""
