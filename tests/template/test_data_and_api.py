"""What keeps data and secrets, and what the HTTP API lets through, and that a break of it is noticed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.template.cloudformation import ABSENT, Template

if TYPE_CHECKING:
    from collections.abc import Iterator

PUBLIC_ROUTES: Final = {"POST /webhooks/plaid"}
TRANSACTIONS: Final = "Resources/TransactionsTable"
QUARANTINE: Final = "Resources/QuarantineTable"
API: Final = "Resources/Api/Properties"
INDEXES: Final = "Resources/ItemsTable/Properties/GlobalSecondaryIndexes"
ROUTES: Final = {
    "POST /link-tokens",
    "POST /items",
    "GET /items",
    "GET /items/{item_id}",
    "DELETE /items/{item_id}",
    "GET /items/{item_id}/history",
    "GET /items/{item_id}/transactions",
    "POST /items/{item_id}/sync",
    "POST /items/{item_id}/refresh",
    "POST /items/{item_id}/resync",
    "POST /items/{item_id}/webhook",
    "POST /items/{item_id}/accounts",
} | PUBLIC_ROUTES
SHOWN_IN_LISTS: Final = {
    "item_id",
    "client_user_id",
    "status",
    "status_code",
    "status_at",
    "expiry_until",
    "synced_at",
    "linked_at",
    "institution_id",
    "update_status",
    "fresh_at",
}
"""What the indexes of the Items table hold; no token, no account."""


def problems_of_keeping(template: Template) -> Iterator[str]:
    for name, resource in template.resources.items():
        if resource["Type"] in {"AWS::DynamoDB::Table", "AWS::KMS::Key"} and (
            resource.get("DeletionPolicy"),
            resource.get("UpdateReplacePolicy"),
        ) != ("Retain", "Retain"):
            yield f"{name} goes with its stack"
    for name in template.of("AWS::DynamoDB::Table"):
        table = template.properties(name)
        if table.get("DeletionProtectionEnabled") is not True:
            yield f"{name} can be deleted by mistake"
        if table.get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled") is not True:
            yield f"{name} can't be restored to a point in time"
        if table.get("SSESpecification", {}).get("SSEEnabled") is not True:
            yield f"{name} is encrypted with no key of the account"
        if table.get("BillingMode") != "PAY_PER_REQUEST":
            yield f"{name} has a fixed capacity"
        if "TableName" in table:
            yield f"{name} can't be created again while the retained one exists"


def problems_of_schema(template: Template) -> Iterator[str]:
    items, transactions = template.properties("ItemsTable"), template.properties("TransactionsTable")
    if _key(items) != ["item_id"] or _indexes(items) != {
        "by_link": (["link_id"], "KEYS_ONLY"),
        "by_user": (["client_user_id", "item_id"], "INCLUDE"),
        "by_status": (["status", "fresh_at"], "INCLUDE"),
        "by_due": (["status", "due_at"], "KEYS_ONLY"),
    }:
        yield "the Items table has other keys"
    for index in items.get("GlobalSecondaryIndexes", []):
        shown = {*index["Projection"].get("NonKeyAttributes", []), *_key(index), "item_id"}
        if index["Projection"]["ProjectionType"] != "KEYS_ONLY" and shown != SHOWN_IN_LISTS:
            yield f"the index {index['IndexName']} shows {sorted(shown ^ SHOWN_IN_LISTS)}"
    if _key(transactions) != ["item_id", "transaction_id"]:
        yield "the Transactions table has other keys"
    if _indexes(transactions) != {"by_account": (["account_id", "date_id"], "ALL")}:
        yield "the Transactions table has other indexes"
    if transactions.get("TimeToLiveSpecification") != {"AttributeName": "expires_at", "Enabled": True}:
        yield "removed transactions stay for ever"
    if transactions.get("StreamSpecification") != {"StreamViewType": "NEW_AND_OLD_IMAGES"}:
        yield "the stream does not tell what changed"
    quarantine = template.properties("QuarantineTable")
    if _key(quarantine) != ["item_id", "entry_part"] or _indexes(quarantine):
        yield "the Quarantine table has other keys"
    if "TimeToLiveSpecification" in quarantine:
        yield "what is quarantined goes away by itself"
    yield from _problems_of_links_and_history(template)


def _problems_of_links_and_history(template: Template) -> Iterator[str]:
    history, links = template.properties("HistoryTable"), template.properties("LinksTable")
    if _key(history) != ["item_id", "entry_id"] or _indexes(history):
        yield "the History table has other keys"
    if history.get("StreamSpecification") != {"StreamViewType": "NEW_IMAGE"}:
        yield "nobody hears what an entry announces"
    if _key(links) != ["link_key"] or _indexes(links):
        yield "the Links table has other keys"
    for name, table in (("entry", history), ("link session", links)):
        if table.get("TimeToLiveSpecification") != {"AttributeName": "expires_at", "Enabled": True}:
            yield f"no {name} ever goes away"


def _key(table: dict[str, Any]) -> list[str]:
    return [part["AttributeName"] for part in table["KeySchema"]]


def _indexes(table: dict[str, Any]) -> dict[str, tuple[list[str], str]]:
    return {
        index["IndexName"]: (_key(index), index["Projection"]["ProjectionType"])
        for index in table.get("GlobalSecondaryIndexes", [])
    }


def problems_of_secrets(template: Template) -> Iterator[str]:
    for name in template.of("AWS::SecretsManager::Secret"):
        if {"SecretString", "GenerateSecretString"} & template.properties(name).keys():
            yield f"an update of the stack can overwrite {name}"
    for name, parameter in template.document["Parameters"].items():
        if parameter.get("NoEcho"):
            yield f"the parameter {name} is a secret"
    if template.properties("TokenKey").get("EnableKeyRotation") is not True:
        yield "the key is not rotated"


def problems_of_routes(template: Template) -> Iterator[str]:
    api = template.properties("Api")
    routes = {
        f"{event['Method']} {event['Path']}": event.get("Auth", {}).get("Authorizer")
        for _, event in template.events("HttpApi")
    }
    if {route for route, authorizer in routes.items() if authorizer != "AWS_IAM"} != PUBLIC_ROUTES:
        yield "other routes than the webhook are public"
    if routes.keys() != ROUTES:
        yield f"the routes differ from the API's: {sorted(routes.keys() ^ ROUTES)}"
    if routes.keys() != api.get("RouteSettings", {}).keys():
        yield "a route has no throttle of its own, or a throttle no route"
    for settings in [api.get("DefaultRouteSettings", {}), *api.get("RouteSettings", {}).values()]:
        if settings.keys() != {"ThrottlingRateLimit", "ThrottlingBurstLimit"}:
            yield "a route is throttled by half"
    for name, event in template.events("HttpApi"):
        if (event.get("ApiId"), event.get("PayloadFormatVersion")) != ({"Ref": "Api"}, "2.0"):
            yield f"{name} is called in another way"
    if api.get("Auth", {}).get("EnableIamAuthorizer") is not True:
        yield "the API is deployed although its authorization may be missing"


def problems_of_access_log(template: Template) -> Iterator[str]:
    log = template.properties("Api").get("AccessLogSettings", {})
    if log.get("DestinationArn") != {"Fn::GetAtt": ["ApiLogGroup", "Arn"]}:
        yield "there is no access log"
    try:
        fields = json.loads(log.get("Format", ""))
    except ValueError:
        yield "the access log is not JSON"
        return
    if not {"requestId", "routeKey", "status", "responseLatency", "integrationError"} <= fields.keys():
        yield "the access log does not say what happened"


RULES: Final = {
    "keeping": problems_of_keeping,
    "schema": problems_of_schema,
    "secrets": problems_of_secrets,
    "routes": problems_of_routes,
    "access log": problems_of_access_log,
}


@pytest.mark.parametrize("rule", RULES)
def test_the_template_keeps_the_rule(template: Template, rule: str) -> None:
    assert list(RULES[rule](template)) == []


@pytest.mark.parametrize(
    ("rule", "path", "value"),
    [
        ("keeping", f"{TRANSACTIONS}/DeletionPolicy", ABSENT),
        ("keeping", f"{TRANSACTIONS}/UpdateReplacePolicy", "Delete"),
        ("keeping", "Resources/TokenKey/DeletionPolicy", "Delete"),
        ("keeping", f"{TRANSACTIONS}/Properties/DeletionProtectionEnabled", False),
        ("keeping", f"{TRANSACTIONS}/Properties/PointInTimeRecoverySpecification", ABSENT),
        ("keeping", "Resources/ItemsTable/Properties/SSESpecification", ABSENT),
        ("keeping", "Resources/ItemsTable/Properties/BillingMode", "PROVISIONED"),
        ("keeping", "Resources/ItemsTable/Properties/TableName", "items"),
        ("schema", "Resources/ItemsTable/Properties/GlobalSecondaryIndexes", ABSENT),
        ("schema", f"{TRANSACTIONS}/Properties/KeySchema/1", ABSENT),
        ("schema", f"{TRANSACTIONS}/Properties/GlobalSecondaryIndexes/0/Projection/ProjectionType", "KEYS_ONLY"),
        ("schema", f"{TRANSACTIONS}/Properties/TimeToLiveSpecification/Enabled", False),
        ("schema", f"{TRANSACTIONS}/Properties/StreamSpecification/StreamViewType", "KEYS_ONLY"),
        ("keeping", f"{QUARANTINE}/DeletionPolicy", "Delete"),
        ("keeping", f"{QUARANTINE}/Properties/SSESpecification", ABSENT),
        ("schema", f"{QUARANTINE}/Properties/KeySchema/1/AttributeName", "transaction_id"),
        ("schema", f"{QUARANTINE}/Properties/TimeToLiveSpecification", {"AttributeName": "expires_at"}),
        ("schema", f"{INDEXES}/by_user/KeySchema/1", ABSENT),
        ("schema", f"{INDEXES}/by_status/Projection", {"ProjectionType": "ALL"}),
        ("schema", f"{INDEXES}/by_user/Projection/NonKeyAttributes/0", "access_token"),
        ("schema", f"{INDEXES}/by_status/Projection/NonKeyAttributes/0", "accounts"),
        ("schema", "Resources/HistoryTable/Properties/TimeToLiveSpecification", ABSENT),
        ("schema", "Resources/HistoryTable/Properties/StreamSpecification", ABSENT),
        ("schema", "Resources/HistoryTable/Properties/KeySchema/1", ABSENT),
        ("schema", "Resources/LinksTable/Properties/TimeToLiveSpecification/Enabled", False),
        ("schema", "Resources/LinksTable/Properties/KeySchema/0/AttributeName", "item_id"),
        ("keeping", "Resources/HistoryTable/DeletionPolicy", "Delete"),
        ("keeping", "Resources/LinksTable/Properties/PointInTimeRecoverySpecification", ABSENT),
        ("secrets", "Resources/PlaidSecret/Properties/SecretString", "{}"),
        ("secrets", "Parameters/PlaidEnvironment/NoEcho", True),
        ("secrets", "Resources/TokenKey/Properties/EnableKeyRotation", ABSENT),
        ("routes", "Resources/ItemsFunction/Properties/Events/LinkItem/Properties/Auth", ABSENT),
        ("routes", "Resources/WebhookFunction/Properties/Events/PlaidWebhook/Properties/Path", "/other"),
        ("routes", "Resources/ItemsFunction/Properties/Events/GetHistory/Properties/Auth", ABSENT),
        ("routes", "Resources/ItemsFunction/Properties/Events/RemoveItem", ABSENT),
        ("routes", f"{API}/RouteSettings", {}),
        ("routes", f"{API}/DefaultRouteSettings", ABSENT),
        ("routes", f"{API}/Auth", ABSENT),
        ("access log", f"{API}/AccessLogSettings", ABSENT),
        ("access log", f"{API}/AccessLogSettings/Format", "$context.requestId"),
        ("access log", f"{API}/AccessLogSettings/Format", "{}"),
    ],
)
def test_a_break_of_the_rule_is_noticed(template: Template, rule: str, path: str, value: object) -> None:
    assert list(RULES[rule](template.broken(path, value)))
