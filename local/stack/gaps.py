"""Differences between the emulator and AWS that are corrected after a deployment, through the AWS API.

Neither the template nor the functions know of them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local.stack.errors import LocalStackError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from local.stack.emulator import Emulator
    from local.stack.resources import Resources

METHODS = frozenset({"get", "post", "put", "patch", "delete", "head", "options"})


@dataclass(frozen=True, slots=True)
class Route:
    """One route of an HTTP API.

    Attributes:
        key: Method and path, `POST /items`.
    """

    key: str
    function_arn: str
    needs_iam: bool


def close_gaps(emulator: Emulator, resources: Resources) -> None:
    import_routes(emulator, resources)
    grant_secrets_by_arn(emulator, resources)
    enable_recovery(emulator, resources)


def import_routes(emulator: Emulator, resources: Resources) -> None:
    """Create the routes of every HTTP API: the emulator ignores the OpenAPI body that defines them."""
    gateway = emulator.client("apigatewayv2")
    for logical_id, resource in resources.template["Resources"].items():
        if resource["Type"] != "AWS::ApiGatewayV2::Api" or logical_id not in resources.ids:
            continue
        routes = list(routes_of(resource["Properties"].get("Body", {}), resources))
        if not routes:
            raise LocalStackError(
                f"{logical_id} has no routes: the local stack reads them from the API's OpenAPI body."
            )
        api_id = resources.ids[logical_id]
        for route in gateway.get_routes(ApiId=api_id)["Items"]:  # an older template's
            gateway.delete_route(ApiId=api_id, RouteId=route["RouteId"])
        for route in routes:
            _create_route(gateway, api_id, route)


def routes_of(body: Mapping[str, Any], resources: Resources) -> Iterator[Route]:
    """Yield the routes that an OpenAPI document with API Gateway's extensions defines."""
    schemes = body.get("components", {}).get("securitySchemes", {})
    signed = {name for name, scheme in schemes.items() if scheme.get("x-amazon-apigateway-authtype") == "awsSigv4"}
    for path, operations in body.get("paths", {}).items():
        for method, operation in operations.items():
            if method not in METHODS | {"x-amazon-apigateway-any-method"}:
                continue
            verb = method.upper() if method in METHODS else "ANY"
            key = path if path == "$default" else f"{verb} {path}"
            security = {name for requirement in operation.get("security", []) for name in requirement}
            uri = operation["x-amazon-apigateway-integration"]["uri"]
            yield Route(key, _function_arn(resources.resolve(uri)), bool(security & signed))


def grant_secrets_by_arn(emulator: Emulator, resources: Resources) -> None:
    """Let policies name secrets as they do on AWS: `Ref` of a secret is its ARN there, its name in the emulator."""
    secrets, iam = emulator.client("secretsmanager"), emulator.client("iam")
    arns = {name: secrets.describe_secret(SecretId=name)["ARN"] for name in resources.of("AWS::SecretsManager::Secret")}
    for role in resources.of("AWS::IAM::Role"):
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
            document = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
            corrected = _replaced(document, arns)
            if corrected != document:
                iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(corrected))


def switch_off_schedules(emulator: Emulator, resources: Resources) -> None:
    """Disable all schedules, so that a long test run does not depend on the minute in which it began."""
    events, scheduler = emulator.client("events"), emulator.client("scheduler")
    scheduled = {rule["Name"] for rule in events.list_rules()["Rules"] if rule.get("ScheduleExpression")}
    for name in scheduled.intersection(resources.of("AWS::Events::Rule")):  # those of the default bus
        events.disable_rule(Name=name)
    for name in resources.of("AWS::Scheduler::Schedule"):
        schedule = scheduler.get_schedule(Name=name)
        kept = ("GroupName", "ScheduleExpression", "FlexibleTimeWindow", "Target")
        scheduler.update_schedule(Name=name, State="DISABLED", **{field: schedule[field] for field in kept})


def enable_recovery(emulator: Emulator, resources: Resources) -> None:
    """Turn on point-in-time recovery where the template has it: the emulator's CloudFormation ignores it."""
    for logical_id, resource in resources.template["Resources"].items():
        recovery = resource["Properties"].get("PointInTimeRecoverySpecification") if "Properties" in resource else None
        if resource["Type"] == "AWS::DynamoDB::Table" and recovery and logical_id in resources.ids:
            emulator.client("dynamodb").update_continuous_backups(
                TableName=resources.ids[logical_id], PointInTimeRecoverySpecification=recovery
            )


def _create_route(gateway: Any, api_id: str, route: Route) -> None:  # noqa: ANN401 - a boto3 client
    integration = gateway.create_integration(
        ApiId=api_id,
        IntegrationType="AWS_PROXY",
        IntegrationUri=route.function_arn,
        PayloadFormatVersion="2.0",
    )
    gateway.create_route(
        ApiId=api_id,
        RouteKey=route.key,
        Target=f"integrations/{integration['IntegrationId']}",
        AuthorizationType="AWS_IAM" if route.needs_iam else "NONE",
    )


def _function_arn(uri: str) -> str:
    """Return the function in an integration's URI, `arn:...:path/2015-03-31/functions/ARN/invocations`."""
    found = re.fullmatch(r".*/functions/(arn:.+)/invocations", uri)
    return found[1] if found else uri


def _replaced(value: Any, replacements: Mapping[str, str]) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, str):
        return replacements.get(value, value)
    if isinstance(value, list):
        return [_replaced(item, replacements) for item in value]
    if isinstance(value, dict):
        return {name: _replaced(item, replacements) for name, item in value.items()}
    return value
