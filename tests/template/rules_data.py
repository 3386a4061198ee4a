"""Rules for tables, secrets, and the HTTP API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from tests.template.cloudformation import ABSENT, Template
from tests.template.rules import differences, rule, without

if TYPE_CHECKING:
    from collections.abc import Iterator

PUBLIC_ROUTES: Final = {"POST /webhooks/plaid"}
ROUTES: Final = 27
ITEMS: Final = "Resources/ItemsTable"
TRANSACTIONS: Final = "Resources/TransactionsTable"
QUARANTINE: Final = "Resources/QuarantineTable"
HISTORY: Final = "Resources/HistoryTable"
LINKS: Final = "Resources/LinksTable"
SHARED: Final = "Resources/SharedTable"
API: Final = "Resources/Api/Properties"
EVENTS: Final = "Resources/ItemsFunction/Properties/Events"
INDEXES: Final = f"{ITEMS}/Properties/GlobalSecondaryIndexes"
IN_LISTS: Final = {
    *("item_id", "client_user_id", "institution_id", "state", "state_code", "state_since", "update_status"),
    *("expiry_until", "synced_at", "linked_at", "fresh_at", "failing_since", "failure_code"),
}
IN_ATTEMPTS: Final = {
    *("item_id", "attempt_shard", "next_attempt_at", "failing_since", "failure_code", "failure_class"),
}
"""What the indexes of the Items table project, those of lists and the sweep's: no token, no account."""
EXPECTED_TABLE: Final = {
    "DeletionProtectionEnabled": True,
    "PointInTimeRecoverySpecification/PointInTimeRecoveryEnabled": True,
    "SSESpecification/SSEEnabled": True,
    "BillingMode": "PAY_PER_REQUEST",
    "TableName": None,  # with a name, a table can't be created again while the retained one exists
}
STATEFUL: Final = {"AWS::DynamoDB::Table", "AWS::KMS::Key", "AWS::SQS::Queue"}
LOSABLE: Final = {"SharedTable", "SyncQueue"}
"""What its functions fill again: without backup or protection, and deleted with the stack."""
EMPTY_IF_CREATION_FAILS: Final = {
    "TokenKey",
    "DeadLetterQueue",
    "FailedEventsQueue",
    "OutboundQueue",
    "OutboundDeadLetterQueue",
}
"""What is deleted again if its creation is rolled back; the reasons for the others are in the template."""
LOSABLE_TABLE: Final = {
    **EXPECTED_TABLE,
    "DeletionProtectionEnabled": None,
    "PointInTimeRecoverySpecification/PointInTimeRecoveryEnabled": None,
}
TTL: Final = {"AttributeName": "expires_at", "Enabled": True}
SCHEMA: Final[dict[str, tuple[Any, ...]]] = {
    # Table: keys, indexes with keys and projection, TTL, stream. What is quarantined has no TTL: people resolve it.
    "ItemsTable": (
        ["item_id"],
        {
            "by_link": (["link_id"], "KEYS_ONLY"),
            "by_user": (["client_user_id", "item_id"], "INCLUDE"),
            "by_state": (["state", "fresh_at"], "INCLUDE"),
            "by_next_attempt": (["attempt_shard", "next_attempt_at"], "INCLUDE"),
        },
        None,
        {"StreamViewType": "NEW_AND_OLD_IMAGES"},
    ),
    "TransactionsTable": (
        ["item_id", "transaction_id"],
        {"by_account": (["account_id", "date_id"], "ALL")},
        TTL,
        {"StreamViewType": "NEW_AND_OLD_IMAGES"},
    ),
    "QuarantineTable": (["item_id", "entry_part"], {"by_item": (["item_id", "entry_part"], "KEYS_ONLY")}, None, None),
    "HistoryTable": (["item_id", "entry_id"], {}, TTL, {"StreamViewType": "NEW_IMAGE"}),
    "LinksTable": (["link_key"], {"by_user": (["client_user_id"], "INCLUDE")}, TTL, None),
    "SharedTable": (["kind", "name"], {}, TTL, None),
}


@rule(
    *without(TRANSACTIONS, "DeletionPolicy", "Properties/PointInTimeRecoverySpecification"),
    *without(QUARANTINE, "UpdateReplacePolicy", "Properties/SSESpecification"),
    ("Resources/TokenKey/DeletionPolicy", "Delete"),
    ("Resources/TokenKey/DeletionPolicy", "Retain"),
    ("Resources/DataKey/DeletionPolicy", "RetainExceptOnCreate"),
    ("Resources/DeadLetterQueue/DeletionPolicy", "Delete"),
    ("Resources/FailedEventsQueue/UpdateReplacePolicy", "Delete"),
    (f"{TRANSACTIONS}/DeletionPolicy", "RetainExceptOnCreate"),
    *without(SHARED, "Properties/SSESpecification"),
    (f"{SHARED}/Properties/DeletionProtectionEnabled", True),
    (f"{SHARED}/DeletionPolicy", "Retain"),
)
def tables_keys_and_dead_letters_are_retained_protected_recoverable_and_encrypted(template: Template) -> Iterator[str]:
    for name, resource in template.resources.items():
        policies = resource.get("DeletionPolicy"), resource.get("UpdateReplacePolicy")
        if name in LOSABLE:
            kept = ("Delete", "Delete")
        else:
            kept = ("RetainExceptOnCreate" if name in EMPTY_IF_CREATION_FAILS else "Retain", "Retain")
        if resource["Type"] in STATEFUL and policies != kept:
            yield f"{name} has the policies {policies}"
    for name in template.of("AWS::DynamoDB::Table"):
        yield from differences(name, template.properties(name), LOSABLE_TABLE if name in LOSABLE else EXPECTED_TABLE)


@rule(
    (INDEXES, ABSENT),
    (f"{INDEXES}/by_user/KeySchema/1", ABSENT),
    (f"{INDEXES}/by_state/Projection", {"ProjectionType": "ALL"}),
    (f"{INDEXES}/by_user/Projection/NonKeyAttributes/0", "access_token"),
    (f"{QUARANTINE}/Properties/TimeToLiveSpecification", {"AttributeName": "expires_at"}),
    *without(SHARED, "Properties/TimeToLiveSpecification"),
    *without(HISTORY, "Properties/TimeToLiveSpecification", "Properties/StreamSpecification", "Properties/KeySchema/1"),
)
def tables_have_their_keys_indexes_ttl_and_stream_and_no_index_has_a_token(template: Template) -> Iterator[str]:
    for name in SCHEMA.keys() | template.of("AWS::DynamoDB::Table").keys():
        table = template.properties(name)
        indexes = {
            index["IndexName"]: (_key(index), index["Projection"]["ProjectionType"])
            for index in table.get("GlobalSecondaryIndexes", [])
        }
        found = _key(table), indexes, table.get("TimeToLiveSpecification"), table.get("StreamSpecification")
        if found != SCHEMA.get(name):
            yield f"{name} has {found}"
    for index in template.properties("ItemsTable").get("GlobalSecondaryIndexes", []):
        shown = {*index["Projection"].get("NonKeyAttributes", []), *_key(index), "item_id"}
        expected = IN_ATTEMPTS if index["IndexName"] == "by_next_attempt" else IN_LISTS
        if index["Projection"]["ProjectionType"] != "KEYS_ONLY" and shown != expected:
            yield f"the index {index['IndexName']} shows {sorted(shown ^ expected)}"


def _key(table: dict[str, Any]) -> list[str]:
    return [part["AttributeName"] for part in table["KeySchema"]]


@rule(
    ("Resources/PlaidSecret/Properties/SecretString", "{}"),
    ("Parameters/PlaidEnvironment/NoEcho", True),
    ("Resources/TokenKey/Properties/EnableKeyRotation", ABSENT),
)
def no_parameter_or_update_holds_a_secret_and_the_token_key_rotates(template: Template) -> Iterator[str]:
    for name in template.of("AWS::SecretsManager::Secret"):
        if {"SecretString", "GenerateSecretString"} & template.properties(name).keys():
            yield f"an update of the stack can overwrite {name}"
    for name, parameter in template.document["Parameters"].items():
        if parameter.get("NoEcho"):
            yield f"the parameter {name} is a secret"
    yield from differences("TokenKey", template.properties("TokenKey"), {"EnableKeyRotation": True})


@rule(
    *without(EVENTS, "LinkItem/Properties/Auth", "GetHistory/Properties/Auth", "RemoveItem"),
    (f"{EVENTS}/ListItems/Properties/PayloadFormatVersion", "1.0"),
    ("Resources/WebhookFunction/Properties/Events/PlaidWebhook/Properties/Path", "/other"),
    *without(API, "Auth"),
)
def all_routes_but_plaids_need_iam(template: Template) -> Iterator[str]:
    """That the routes are those of docs/openapi.yaml: tests/unit/test_openapi_document.py."""
    api = template.properties("Api")
    routes = {
        f"{event['Method']} {event['Path']}": event.get("Auth", {}).get("Authorizer")
        for _, event in template.events("HttpApi")
    }
    if len(routes) != ROUTES:
        yield f"there are {len(routes)} routes"
    if {route for route, authorizer in routes.items() if authorizer != "AWS_IAM"} != PUBLIC_ROUTES:
        yield "other routes than the webhook are public"
    for name, event in template.events("HttpApi"):
        yield from differences(name, event, {"ApiId": {"Ref": "Api"}, "PayloadFormatVersion": "2.0"})
    yield from differences("Api", api, {"Auth/EnableIamAuthorizer": True})


@rule(
    (f"{API}/RouteSettings", {}),
    (f"{API}/RouteSettings/POST ~1items", {"ThrottlingRateLimit": 10}),
    (f"{API}/RouteSettings/POST ~1webhooks~1plaid/DetailedMetricsEnabled", False),
    (f"{API}/DefaultRouteSettings/ThrottlingBurstLimit", ABSENT),
    *without(API, "DefaultRouteSettings"),
)
def the_webhook_has_its_own_throttle_and_no_other_route_has_settings(template: Template) -> Iterator[str]:
    """A route with settings can't be removed (https://github.com/aws/serverless-application-model/issues/1939)."""
    api = template.properties("Api")
    own = api.get("RouteSettings", {})
    if own.keys() != PUBLIC_ROUTES:
        yield f"{sorted(own)} have settings of their own"
    for name, settings in {"default": api.get("DefaultRouteSettings", {}), **own}.items():
        limits = "Items" if name == "default" else "Webhook"
        expected = {
            "ThrottlingRateLimit": {"Ref": f"{limits}RateLimit"},
            "ThrottlingBurstLimit": {"Ref": f"{limits}BurstLimit"},
        } | ({} if name == "default" else {"DetailedMetricsEnabled": True})
        if settings != expected:
            yield f"{name} has {settings}"


@rule(
    (f"{API}/AccessLogSettings", ABSENT),
    (f"{API}/AccessLogSettings/Format", "$context.requestId"),
    (f"{API}/AccessLogSettings/Format", "{}"),
)
def the_access_log_is_json_with_route_status_latency_and_error(template: Template) -> Iterator[str]:
    log = template.properties("Api").get("AccessLogSettings", {})
    if log.get("DestinationArn") != {"Fn::GetAtt": ["ApiLogGroup", "Arn"]}:
        yield "there is no access log"
    try:
        fields = json.loads(log.get("Format", ""))
    except ValueError:
        yield "the access log is not JSON"
        return
    if missing := {"requestId", "routeKey", "status", "responseLatency", "integrationError"} - fields.keys():
        yield f"the access log lacks {missing}"
