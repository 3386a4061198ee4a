"""Rules for roles, key policies and grants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tests.template.cloudformation import ABSENT, Template, listed
from tests.template.rules import rule, without

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY: Final = "Resources/TokenKey/Properties/KeyPolicy/Statement"
DEPLOYMENT: Final = "Resources/DeploymentRole/Properties"
FUNCTION: Final = "Resources/WebhookFunction/Properties"
SYNC: Final = "Resources/SyncFunctionRole/Properties"
STATEMENTS: Final = f"{SYNC}/Policies/0/PolicyDocument/Statement"
AUDIT: Final = "Resources/AuditFunctionRole/Properties/Policies/0/PolicyDocument/Statement"
ITEMS: Final = "Resources/ItemsFunctionRole/Properties/Policies/0/PolicyDocument/Statement"
WEBHOOK: Final = "Resources/WebhookFunctionRole/Properties/Policies/0/PolicyDocument/Statement/0"
SWEEP: Final = "Resources/SweepFunctionRole/Properties/Policies/0/PolicyDocument/Statement"
WITHOUT_A_RESOURCE: Final = {
    *("xray:PutTraceSegments", "xray:PutTelemetryRecords", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets"),
    *("ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface"),
    *("ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses"),
}
"""Actions without a resource to name; those on network interfaces are Lambda's, see NetworkPolicy."""
BY_PARAMETERS: Final = [
    {"Fn::If": [condition, {"Ref": policy}, {"Ref": "AWS::NoValue"}]}
    for condition, policy in (("InVpc", "NetworkPolicy"), ("OwnKey", "DataKeyPolicy"))
]
"""What parameters add to each function's role."""
BOUNDARY: Final = {"Fn::If": ["Bounded", {"Ref": "PermissionsBoundaryArn"}, {"Ref": "AWS::NoValue"}]}
DATA_KEY: Final = {"DataKey", "DataKeyPolicy"}
"""Grants of the key for tables, queues and logs, which is not TokenKey."""
RESOURCE_POLICIES: Final = {"AWS::SQS::QueuePolicy", "AWS::KMS::Key"}
"""In these, `*` is the resource that the policy is attached to."""
USES_OF_A_KEY: Final = {
    *("kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:CreateGrant"),
    *("kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext"),
    *("kms:GenerateDataKeyPair", "kms:GenerateDataKeyPairWithoutPlaintext"),
}
BOUND_TO_ITS_ITEM: Final = {
    "ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["item_id"]},
    "Null": {"kms:EncryptionContextKeys": "false"},
}
HISTORY_MAPPING: Final = {
    "Fn::Sub": "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:event-source-mapping:"
    "${ChangesFunctionHistory}"
}
COMPLETED_BY: Final = {
    "Fn::Sub": "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:${AWS::StackName}-items:live"
}
"""The alias of the items function."""
PARTITIONS: Final = {
    # What roles, or single statements of theirs, may use of the tables that they share with others.
    ("SyncFunctionRole", "LinksTable"): {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["login#*"]}},
    ("SyncFunctionRole", "SharedTable"): {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["request"]}},
    ("WebhookFunctionRole", "SharedTable"): {
        "ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["key", "count", "once", "request", "invalidation"]}
    },
    ("ItemsFunctionRole", "SharedTable"): {
        "ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["once", "request", "lease"]}
    },
    ("ItemsFunctionRole/CacheRecurringStreams", "SharedTable"): {
        "ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["recurring", "invalidation"]}
    },
    ("SweepFunctionRole", "SharedTable"): {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["request", "lease"]}},
}
COUNTED_CALLS: Final = {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["calls"]}}
"""The partition that every role that calls Plaid has beside these."""


@rule(
    (f"{STATEMENTS}/ReceiveMessages/Action", "sqs:*"),
    (f"{STATEMENTS}/ClaimAndCommitItems/Resource", "*"),
    (f"{STATEMENTS}/ClaimAndCommitItems/Resource", [{"Ref": "ItemsTable"}, "*"]),
    (f"{STATEMENTS}/SendTraces/Action/0", "logs:PutLogEvents"),
    (f"{STATEMENTS}/ReceiveMessages/NotAction", "sqs:PurgeQueue"),
    (f"{ITEMS}/FindItems/Resource/0", "*"),
    ("Resources/QueuesPolicy/Properties/PolicyDocument/Statement/0/Effect", "Allow"),
)
def every_statement_names_its_actions_and_resources(template: Template) -> Iterator[str]:
    for name, statement in template.statements():
        where = f"{name}/{statement.get('Sid', 'trust')}"
        if {"NotAction", "NotResource", "NotPrincipal"} & statement.keys():
            yield f"{where} allows everything except what it names"
        actions = set(listed(statement.get("Action", [])))
        if any("*" in action for action in actions):
            yield f"{where} names actions by pattern"
        everything = "*" in listed(statement.get("Resource", []))
        attached = template.resources[name]["Type"] in RESOURCE_POLICIES
        if everything and not attached and actions - WITHOUT_A_RESOURCE:
            yield f"{where} is not limited to a resource"
        if statement["Effect"] == "Allow" and statement.get("Principal") == "*":
            yield f"{where} allows every principal"


@rule(
    (f"{FUNCTION}/Role", ABSENT),
    (f"{FUNCTION}/Role", {"Fn::GetAtt": ["SyncFunctionRole", "Arn"]}),
    (f"{FUNCTION}/Policies", ["AmazonSQSFullAccess"]),
    (f"{SYNC}/ManagedPolicyArns", ["arn:aws:iam::aws:policy/AdministratorAccess"]),
    (f"{SYNC}/PermissionsBoundary", ABSENT),
    (f"{SYNC}/AssumeRolePolicyDocument/Statement/0/Principal", {"AWS": "*"}),
    (f"{DEPLOYMENT}/AssumeRolePolicyDocument/Statement/0/Principal", {"AWS": "*"}),
)
def every_function_has_its_own_role_without_managed_policies(template: Template) -> Iterator[str]:
    """SAM's own roles have managed policies that allow logs and SQS on all resources."""
    roles = [properties.get("Role", {}).get("Fn::GetAtt", [None])[0] for properties in template.functions.values()]
    if None in roles or len(set(roles)) != len(roles):
        yield "a function has no role of its own"
    for name, role in template.of("AWS::IAM::Role").items():
        of_a_function = name in roles
        if role["Properties"].get("ManagedPolicyArns", []) != (BY_PARAMETERS if of_a_function else []):
            yield f"{name} has managed policies"
        trusted = [statement["Principal"] for statement in role["Properties"]["AssumeRolePolicyDocument"]["Statement"]]
        if trusted != [{"Service": "lambda.amazonaws.com" if of_a_function else "codedeploy.amazonaws.com"}]:
            yield f"other services or accounts can assume {name}"
        if role["Properties"].get("PermissionsBoundary") != BOUNDARY:
            yield f"{name} has no permissions boundary"
    for name, properties in template.functions.items():
        if {"Policies", "Connectors"} & properties.keys():
            yield f"{name} has permissions outside its role"


@rule(
    (f"{KEY}/SyncDecrypts/Action", ["kms:Encrypt", "kms:Decrypt"]),
    (f"{KEY}/SyncDecrypts/Principal/AWS", {"Fn::GetAtt": ["WebhookFunctionRole", "Arn"]}),
    (f"{KEY}/AuditDecrypts/Action", "kms:Encrypt"),
    *without(KEY, "AuditDecrypts/Condition", "ItemsEncrypts/Condition", "ItemsDecrypts/Condition"),
    *without(KEY, "SyncDecrypts/Condition/Null", "SyncDecrypts"),
    (f"{KEY}/AccountAdministers/Action/0", "kms:Decrypt"),
    (f"{STATEMENTS}/DeadLetterMessages/Action", "kms:Decrypt"),
)
def only_items_encrypts_tokens_and_only_items_sync_and_audit_decrypt_them(template: Template) -> Iterator[str]:
    """Each use is bound to the Item that the encryption context names."""
    users: dict[str, list[Any]] = {}
    for name, statement in template.statements():
        for action in listed(statement["Action"]) if name not in DATA_KEY else []:
            if action.startswith("kms:") and name != "TokenKey":
                yield f"{name} allows {action} beside the key policy"
            if action in USES_OF_A_KEY:
                users.setdefault(action, []).append(statement.get("Principal"))
                if statement.get("Condition") != BOUND_TO_ITS_ITEM:
                    yield f"{action} is not bound to an Item"
    items, *others = ({"AWS": {"Fn::GetAtt": [f"{name}FunctionRole", "Arn"]}} for name in ("Items", "Sync", "Audit"))
    if users != {"kms:Encrypt": [items], "kms:Decrypt": [items, *others]}:
        yield f"the key is used by {users}"


@rule(
    (f"{KEY}/AccountAdministers/Action", ["kms:DescribeKey", "kms:PutKeyPolicy", "kms:UpdatePrimaryRegion"]),
    (f"{KEY}/AccountAdministers/Action", ["kms:DescribeKey", "kms:ReplicateKey"]),
)
def administrators_can_replicate_a_token_key_that_is_multi_region(template: Template) -> Iterator[str]:
    """IAM alone does not allow it: KMS demands both in the key policy (its API reference, "Required permissions")."""
    for name, statement in template.statements():
        if (name, statement.get("Sid")) == ("TokenKey", "AccountAdministers"):
            missing = {"kms:ReplicateKey", "kms:UpdatePrimaryRegion"} - set(statement["Action"])
            yield from (f"administrators of {name} lack {action}" for action in sorted(missing))


GRANTS: Final[dict[tuple[str, str], set[str]]] = {
    # Each role's actions on data and queues. A DynamoDB transaction needs the actions of its parts.
    ("Sync", "ItemsTable"): {"GetItem", "UpdateItem", "ConditionCheckItem"},
    ("Sync", "TransactionsTable"): {"BatchGetItem", "Query", "UpdateItem", "BatchWriteItem"},
    # Quarantined entries are for people: sync counts and erases them, and never reads them.
    ("Sync", "QuarantineTable"): {"UpdateItem", "BatchWriteItem", "Query"},
    # History is append-only, but for the erasure of a user.
    ("Sync", "HistoryTable"): {"PutItem", "Query", "BatchWriteItem"},
    ("Sync", "LinksTable"): {"UpdateItem", "DeleteItem"},
    ("Sync", "SharedTable"): {"DeleteItem", "Query", "UpdateItem"},
    ("Sync", "SyncQueue"): {
        *("ReceiveMessage", "DeleteMessage", "GetQueueAttributes", "ChangeMessageVisibility"),
    },
    ("Sync", "DeadLetterQueue"): {"SendMessage"},
    # To delete is to erase a user.
    ("Items", "ItemsTable"): {"GetItem", "UpdateItem", "ConditionCheckItem", "DeleteItem"},
    ("Items", "ItemsTable/index/by_link"): {"Query"},
    ("Items", "ItemsTable/index/by_user"): {"Query"},
    ("Items", "ItemsTable/index/by_state"): {"Query", "Scan"},
    # It changes annotations; by its conditions, of rows that are there.
    ("Items", "TransactionsTable"): {"Query", "GetItem", "UpdateItem"},
    ("Items", "TransactionsTable/index/by_account"): {"Query"},
    ("Items", "QuarantineTable/index/by_item"): {"Query"},
    ("Items", "HistoryTable"): {"PutItem", "Query", "DeleteItem"},
    ("Items", "LinksTable"): {"BatchGetItem", "GetItem", "PutItem", "UpdateItem", "ConditionCheckItem", "DeleteItem"},
    ("Items", "LinksTable/index/by_user"): {"Query"},
    ("Items", "SharedTable"): {"GetItem", "PutItem", "Query", "DeleteItem", "UpdateItem"},
    ("Items", "SyncQueue"): {"SendMessage"},
    ("Webhook", "HistoryTable"): {"PutItem"},
    ("Webhook", "SharedTable"): {"GetItem", "UpdateItem"},
    ("Webhook", "SyncQueue"): {"SendMessage"},
    ("Sweep", "ItemsTable/index/by_next_attempt"): {"Query"},
    ("Sweep", "ItemsTable/index/by_state"): {"Query", "Scan"},
    ("Sweep", "QuarantineTable/index/by_item"): {"Scan"},
    ("Sweep", "SharedTable"): {"Query", "GetItem", "BatchGetItem", "UpdateItem", "DeleteItem"},
    ("Sweep", "SyncQueue"): {"SendMessage"},
    # The audit changes no data: it counts its calls to Plaid.
    ("Audit", "SharedTable"): {"Query", "UpdateItem"},
    ("Audit", "ItemsTable"): {"GetItem"},
    ("Audit", "ItemsTable/index/by_state"): {"Query"},
    ("Audit", "TransactionsTable"): {"BatchGetItem", "Query"},
    ("Changes", "FailedEventsQueue"): {"SendMessage"},
    ("Outbound", "OutboundQueue"): {
        *("ReceiveMessage", "DeleteMessage", "GetQueueAttributes", "ChangeMessageVisibility", "SendMessage"),
    },
    ("Outbound", "OutboundDeadLetterQueue"): {"SendMessage"},
    ("Changes", "HistoryTable.StreamArn"): {"DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"},
    ("Changes", "ItemsTable.StreamArn"): {"DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"},
    ("Changes", "HistoryTable"): {"GetItem", "PutItem", "Query", "UpdateItem"},
}


def _grant(action: str, target: str) -> tuple[str, object]:
    return WEBHOOK, {"Effect": "Allow", "Action": action, "Resource": {"Fn::GetAtt": [target, "Arn"]}}


@rule(
    _grant("dynamodb:PutItem", "TransactionsTable"),
    _grant("dynamodb:GetItem", "ItemsTable"),
    (f"{WEBHOOK.removesuffix('/0')}/ShareKeysAndRequestAttempts/Action", "dynamodb:GetItem"),
    (f"{STATEMENTS}/QuarantineBrokenEntries/Action", ["dynamodb:UpdateItem", "dynamodb:Scan"]),
    (f"{STATEMENTS}/FollowAccountsWithClaims", ABSENT),
    (f"{ITEMS}/ReadTransactions/Action", ["dynamodb:Query", "dynamodb:UpdateItem"]),
    (f"{AUDIT}/ReadTransactions/Action/0", "dynamodb:UpdateItem"),
    (f"{ITEMS}/ListItems/Resource", {"Fn::GetAtt": ["ItemsTable", "Arn"]}),
    (f"{ITEMS}/ReadAndAddHistory/Resource", {"Fn::GetAtt": ["HistoryTable", "StreamArn"]}),
)
def only_sync_writes_transactions_and_reads_the_queue(template: Template) -> Iterator[str]:
    found: dict[tuple[str, str], set[str]] = {}
    for name, statement in template.statements():
        if template.resources[name]["Type"] != "AWS::IAM::Role":
            continue
        for action in listed(statement["Action"]):
            service, _, operation = action.partition(":")
            for resource in listed(statement.get("Resource", [])) if service in {"dynamodb", "sqs"} else []:
                found.setdefault((name.removesuffix("FunctionRole"), _target(resource)), set()).add(operation)
    for pair in found.keys() | GRANTS.keys():
        if found.get(pair) != GRANTS.get(pair):
            yield f"{pair} may {found.get(pair)}, and should {GRANTS.get(pair)}"


@rule(
    *without(f"{STATEMENTS}/FollowAccountsWithClaims", "Condition", "Condition/Null"),
    (f"{STATEMENTS}/FollowAccountsWithClaims/Condition/ForAllValues:StringLike/dynamodb:LeadingKeys", ["*"]),
    *without(f"{SWEEP}/FindRequestsAndLeaseAttempts", "Condition", "Condition/Null"),
    *without(f"{STATEMENTS}/CountPlaidCalls", "Condition", "Condition/Null"),
    *without(f"{WEBHOOK.removesuffix('/0')}/ShareKeysAndRequestAttempts", "Condition"),
    *without(f"{ITEMS}/CacheRecurringStreams", "Condition", "Condition/Null"),
)
def roles_that_share_a_table_are_limited_to_their_partitions(template: Template) -> Iterator[str]:
    """Account claims and link sessions; the sweep's leases and Plaid's public keys."""
    for name, statement in template.statements():
        for table in ("LinksTable", "SharedTable"):
            uses = {"Fn::GetAtt": [table, "Arn"]} in listed(statement.get("Resource", []))
            sid = statement.get("Sid")
            own = COUNTED_CALLS if sid == "CountPlaidCalls" else PARTITIONS.get((f"{name}/{sid}", table))
            wanted = PARTITIONS.get((name, table)) if own is None else own
            limits = {} if wanted is None else wanted | {"Null": {"dynamodb:LeadingKeys": "false"}}
            if uses and statement.get("Condition", {}) != limits:
                yield f"{name}/{statement.get('Sid')} is not limited to its partitions of {table}"


@rule(
    (f"{WEBHOOK.removesuffix('/0')}/CompleteLinkSessions/Resource", {"Fn::GetAtt": ["ItemsFunction", "Arn"]}),
    (
        f"{WEBHOOK.removesuffix('/0')}/CompleteLinkSessions/Resource",
        [COMPLETED_BY, {"Fn::GetAtt": ["AuditFunction", "Arn"]}],
    ),
    (f"{WEBHOOK.removesuffix('/0')}/CompleteLinkSessions/Action", "lambda:UpdateFunctionCode"),
    (f"{WEBHOOK.removesuffix('/0')}/CompleteLinkSessions", ABSENT),
    (f"{SWEEP}/WatchMapping/Resource", "*"),
    (
        f"{STATEMENTS}/ReceiveMessages",
        {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": [COMPLETED_BY]},
    ),
)
def only_the_webhook_function_invokes_a_function_and_only_items_live(template: Template) -> Iterator[str]:
    """The items function trusts its events: a role that can invoke it can do all that the Items API can."""
    found = [
        (name, action, listed(statement.get("Resource", [])))
        for name, statement in template.statements()
        for action in listed(statement["Action"])
        if action.startswith("lambda:") and name != "DeploymentRole"
    ]
    expected = [
        ("WebhookFunctionRole", "lambda:InvokeFunction", [COMPLETED_BY]),
        ("SweepFunctionRole", "lambda:GetEventSourceMapping", [HISTORY_MAPPING]),
    ]
    if found != expected:
        yield f"functions are used by {found}"


def _target(resource: Any) -> str:
    """Return the logical id of a table or a queue, with the rest of its ARN."""
    if "Fn::Sub" in resource:
        return str(resource["Fn::Sub"]).replace("${", "").replace(".Arn}", "")
    logical_id, attribute = resource["Fn::GetAtt"]
    return str(logical_id) if attribute == "Arn" else f"{logical_id}.{attribute}"
