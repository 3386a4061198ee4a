"""Who may do what, and that more is noticed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.template.cloudformation import ABSENT, Template, listed

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY: Final = "Resources/TokenKey/Properties/KeyPolicy/Statement"
SYNC: Final = "Resources/SyncFunctionRole/Properties"
STATEMENTS: Final = f"{SYNC}/Policies/0/PolicyDocument/Statement"
AUDIT: Final = "Resources/AuditFunctionRole/Properties/Policies/0/PolicyDocument/Statement"
ITEMS: Final = "Resources/ItemsFunctionRole/Properties/Policies/0/PolicyDocument/Statement"
WITHOUT_A_RESOURCE: Final = {
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
    "ec2:CreateNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:DeleteNetworkInterface",
    "ec2:AssignPrivateIpAddresses",
    "ec2:UnassignPrivateIpAddresses",
}
"""Actions that no resource can be named for; those on network interfaces are Lambda's own, see NetworkPolicy."""
ON_DEMAND: Final = [
    {"Fn::If": [condition, {"Ref": policy}, {"Ref": "AWS::NoValue"}]}
    for condition, policy in (("InVpc", "NetworkPolicy"), ("OwnKey", "DataKeyPolicy"))
]
"""What parameters add to each function's role."""
BOUNDARY: Final = {"Fn::If": ["Bounded", {"Ref": "PermissionsBoundaryArn"}, {"Ref": "AWS::NoValue"}]}
SHARED_KEY: Final = {"DataKey", "DataKeyPolicy"}
"""Where the key of tables, queues and logs is granted; TokenKey is another matter."""
RESOURCE_POLICIES: Final = {"AWS::SQS::QueuePolicy", "AWS::KMS::Key"}
"""In these `*` is what the policy is attached to."""
USES_OF_A_KEY: Final = {
    "kms:Encrypt",
    "kms:Decrypt",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:GenerateDataKeyPair",
    "kms:GenerateDataKeyPairWithoutPlaintext",
    "kms:CreateGrant",
}
BOUND_TO_ITS_ITEM: Final = {
    "ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["item_id"]},
    "Null": {"kms:EncryptionContextKeys": "false"},
}


def problems_of_width(template: Template) -> Iterator[str]:
    for name, statement in template.statements():
        where = f"{name}/{statement.get('Sid', 'trust')}"
        if {"NotAction", "NotResource", "NotPrincipal"} & statement.keys():
            yield f"{where} allows all but what it names"
        actions = set(listed(statement.get("Action", [])))
        if any("*" in action for action in actions):
            yield f"{where} names actions by pattern"
        whole = any(resource == "*" for resource in listed(statement.get("Resource", [])))
        attached = template.resources[name]["Type"] in RESOURCE_POLICIES
        if whole and not attached and actions - WITHOUT_A_RESOURCE:
            yield f"{where} is not limited to a resource"
        if statement["Effect"] == "Allow" and statement.get("Principal") == "*":
            yield f"{where} lets anybody in"


def problems_of_roles(template: Template) -> Iterator[str]:
    """A function without a role of its own gets SAM's, whose managed policies allow logs and SQS on everything."""
    roles = [properties.get("Role", {}).get("Fn::GetAtt", [None])[0] for properties in template.functions.values()]
    if None in roles or len(set(roles)) != len(roles):
        yield "a function has no role of its own"
    for name, role in template.of("AWS::IAM::Role").items():
        of_a_function = name in roles
        if role["Properties"].get("ManagedPolicyArns", []) != (ON_DEMAND if of_a_function else []):
            yield f"{name} has managed policies"
        trusted = [statement["Principal"] for statement in role["Properties"]["AssumeRolePolicyDocument"]["Statement"]]
        if trusted != [{"Service": "lambda.amazonaws.com" if of_a_function else "codedeploy.amazonaws.com"}]:
            yield f"{name} can be assumed by others than Lambda, or CodeDeploy"
        if role["Properties"].get("PermissionsBoundary") != BOUNDARY:
            yield f"{name} is not bounded by what bounds the others"
    for name, properties in template.functions.items():
        if {"Policies", "Connectors"} & properties.keys():
            yield f"{name} has permissions that are not in its role"


def problems_of_token_key(template: Template) -> Iterator[str]:
    """Tokens are sealed by `items` alone and opened by `items`, `sync`, `audit`, each only for the Item it names."""
    users: dict[str, list[Any]] = {}
    for name, statement in template.statements():
        for action in listed(statement["Action"]) if name not in SHARED_KEY else []:
            if action.startswith("kms:") and name != "TokenKey":
                yield f"{name} allows {action} beside the key policy"
            if action in USES_OF_A_KEY:
                users.setdefault(action, []).append(statement.get("Principal"))
                if statement.get("Condition") != BOUND_TO_ITS_ITEM:
                    yield f"{action} is not bound to an Item"
    items, *others = ({"AWS": {"Fn::GetAtt": [f"{name}FunctionRole", "Arn"]}} for name in ("Items", "Sync", "Audit"))
    if users != {"kms:Encrypt": [items], "kms:Decrypt": [items, *others]}:
        yield f"the key is used by {users}"


GRANTS: Final[dict[tuple[str, str], set[str]]] = {
    # Who may do what with the data, and with the queues; a transaction is allowed by the actions of its parts.
    ("SyncFunctionRole", "ItemsTable"): {"GetItem", "UpdateItem", "ConditionCheckItem"},
    ("ItemsFunctionRole", "ItemsTable"): {"GetItem", "UpdateItem", "ConditionCheckItem"},
    ("ItemsFunctionRole", "ItemsTable/index/by_link"): {"Query"},
    ("ItemsFunctionRole", "ItemsTable/index/by_user"): {"Query"},
    ("ItemsFunctionRole", "ItemsTable/index/by_status"): {"Query", "Scan"},
    ("SweepFunctionRole", "ItemsTable"): {"UpdateItem"},
    ("SweepFunctionRole", "ItemsTable/index/by_due"): {"Query"},
    ("SweepFunctionRole", "ItemsTable/index/by_status"): {"Query"},
    ("SweepFunctionRole", "QuarantineTable"): {"Scan"},
    ("SyncFunctionRole", "TransactionsTable"): {"BatchGetItem", "Query", "UpdateItem", "BatchWriteItem"},
    ("ItemsFunctionRole", "TransactionsTable"): {"Query"},
    ("ItemsFunctionRole", "TransactionsTable/index/by_account"): {"Query"},
    # The audit reads, and nothing else.
    ("AuditFunctionRole", "ItemsTable"): {"GetItem"},
    ("AuditFunctionRole", "ItemsTable/index/by_status"): {"Query"},
    ("AuditFunctionRole", "TransactionsTable"): {"BatchGetItem", "Query"},
    # What is kept there is for people: it is counted and erased with its Item, and never read.
    ("SyncFunctionRole", "QuarantineTable"): {"UpdateItem", "BatchWriteItem", "Query"},
    # What has happened is neither changed nor deleted.
    ("SyncFunctionRole", "HistoryTable"): {"PutItem"},
    ("WebhookFunctionRole", "HistoryTable"): {"PutItem"},
    ("ItemsFunctionRole", "HistoryTable"): {"PutItem", "Query"},
    ("ItemsFunctionRole", "LinksTable"): {"BatchGetItem", "GetItem", "PutItem", "ConditionCheckItem"},
    ("SyncFunctionRole", "LinksTable"): {"DeleteItem"},
    ("WebhookFunctionRole", "SyncQueue"): {"SendMessage"},
    ("ItemsFunctionRole", "SyncQueue"): {"SendMessage"},
    ("SweepFunctionRole", "SyncQueue"): {"SendMessage", "GetQueueAttributes"},
    ("SyncFunctionRole", "SyncQueue"): {
        "ReceiveMessage",
        "DeleteMessage",
        "GetQueueAttributes",
        "ChangeMessageVisibility",
        "SendMessage",
    },
    ("SyncFunctionRole", "DeadLetterQueue"): {"SendMessage"},
}
READS_THE_STREAM: Final = {"DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"}


def grants(template: Template) -> dict[tuple[str, str], set[str]]:
    """What each role may do with each table, index, stream and queue."""
    found: dict[tuple[str, str], set[str]] = {}
    for name, statement in template.statements():
        if template.resources[name]["Type"] != "AWS::IAM::Role":
            continue
        for action in listed(statement["Action"]):
            service, _, operation = action.partition(":")
            for resource in listed(statement.get("Resource", [])) if service in {"dynamodb", "sqs"} else []:
                found.setdefault((name, _target(resource)), set()).add(operation)
    return found


def _target(resource: Any) -> str:
    """The logical id of a table or a queue, with what follows of its ARN."""
    if "Fn::Sub" in resource:
        return str(resource["Fn::Sub"]).replace("${", "").replace(".Arn}", "")
    logical_id, attribute = resource["Fn::GetAtt"]
    return str(logical_id) if attribute == "Arn" else f"{logical_id}.{attribute}"


def problems_of_writers(template: Template) -> Iterator[str]:
    """`sync` is the only writer of transactions, and of the dead-letter queue; nobody but it reads the queue."""
    found = grants(template)
    streams = {pair for pair in found if pair[1].endswith(".StreamArn")}
    for pair in streams:
        if pair[0] != "ChangesFunctionRole" or found[pair] != READS_THE_STREAM:
            yield f"{pair} may {found[pair]}"
    for pair in (found.keys() | GRANTS.keys()) - streams:
        if found.get(pair, set()) != GRANTS.get(pair, set()):
            yield f"{pair} may {found.get(pair)}, and should {GRANTS.get(pair)}"


def test_every_statement_names_its_actions_and_resources(template: Template) -> None:
    assert list(problems_of_width(template)) == []


def test_every_function_has_a_role_of_its_own_without_managed_policies(template: Template) -> None:
    assert list(problems_of_roles(template)) == []


def test_only_items_seals_tokens_and_only_items_sync_and_audit_open_them(template: Template) -> None:
    assert list(problems_of_token_key(template)) == []


def test_only_sync_writes_transactions_and_reads_the_queue(template: Template) -> None:
    assert list(problems_of_writers(template)) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{STATEMENTS}/ReceiveTriggers/Action", "sqs:*"),
        (f"{STATEMENTS}/WriteTransactions/Action/0", "dynamodb:Batch*"),
        (f"{STATEMENTS}/ClaimAndCommitItems/Resource", "*"),
        (f"{STATEMENTS}/ClaimAndCommitItems/Resource", [{"Ref": "ItemsTable"}, "*"]),
        (f"{STATEMENTS}/SendTraces/Action/0", "logs:PutLogEvents"),
        (f"{STATEMENTS}/ReceiveTriggers/NotAction", "sqs:PurgeQueue"),
        (f"{ITEMS}/FindItems/Resource/0", "*"),
        (f"{KEY}/AccountAdministers/Action", "kms:*"),
        ("Resources/QueuesPolicy/Properties/PolicyDocument/Statement/0/Effect", "Allow"),
    ],
)
def test_a_statement_that_is_too_wide_is_noticed(template: Template, path: str, value: object) -> None:
    assert list(problems_of_width(template.broken(path, value)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("Resources/WebhookFunction/Properties/Role", ABSENT),
        ("Resources/WebhookFunction/Properties/Role", {"Fn::GetAtt": ["SyncFunctionRole", "Arn"]}),
        ("Resources/WebhookFunction/Properties/Policies", ["AmazonSQSFullAccess"]),
        (f"{SYNC}/ManagedPolicyArns", ["arn:aws:iam::aws:policy/AdministratorAccess"]),
        (f"{SYNC}/PermissionsBoundary", ABSENT),
        ("Resources/DeploymentRole/Properties/PermissionsBoundary", ABSENT),
        ("Resources/DeploymentRole/Properties/ManagedPolicyArns", ["arn:aws:iam::aws:policy/AWSCodeDeployRole"]),
        ("Resources/DeploymentRole/Properties/AssumeRolePolicyDocument/Statement/0/Principal", {"AWS": "*"}),
        (f"{SYNC}/AssumeRolePolicyDocument/Statement/0/Principal", {"AWS": "*"}),
    ],
)
def test_a_role_that_is_too_wide_is_noticed(template: Template, path: str, value: object) -> None:
    assert list(problems_of_roles(template.broken(path, value)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{KEY}/SyncDecrypts/Action", ["kms:Encrypt", "kms:Decrypt"]),
        (f"{KEY}/SyncDecrypts/Principal/AWS", {"Fn::GetAtt": ["WebhookFunctionRole", "Arn"]}),
        (f"{KEY}/ItemsDecrypts/Principal/AWS", {"Fn::GetAtt": ["ChangesFunctionRole", "Arn"]}),
        (f"{KEY}/AuditDecrypts/Action", "kms:Encrypt"),
        (f"{KEY}/AuditDecrypts/Condition", ABSENT),
        (f"{KEY}/ItemsEncrypts/Condition", ABSENT),
        (f"{KEY}/ItemsDecrypts/Condition", ABSENT),
        (f"{KEY}/SyncDecrypts/Condition/Null", ABSENT),
        (f"{KEY}/SyncDecrypts", ABSENT),
        (f"{KEY}/AccountAdministers/Action/0", "kms:Decrypt"),
        (f"{KEY}/AccountAdministers/Action/0", "kms:CreateGrant"),
        (f"{STATEMENTS}/ParkMessages/Action", "kms:Decrypt"),
    ],
)
def test_another_use_of_the_token_key_is_noticed(template: Template, path: str, value: object) -> None:
    assert list(problems_of_token_key(template.broken(path, value)))


@pytest.mark.parametrize(
    ("action", "target"),
    [
        ("dynamodb:PutItem", "TransactionsTable"),
        ("dynamodb:UpdateItem", "QuarantineTable"),
        ("dynamodb:Query", "TransactionsTable"),
        ("dynamodb:GetItem", "ItemsTable"),
        ("dynamodb:PutItem", "LinksTable"),
        ("dynamodb:UpdateItem", "HistoryTable"),
        ("sqs:SendMessage", "DeadLetterQueue"),
        ("sqs:ReceiveMessage", "SyncQueue"),
    ],
)
def test_another_writer_is_noticed(template: Template, action: str, target: str) -> None:
    path = "Resources/WebhookFunctionRole/Properties/Policies/0/PolicyDocument/Statement/0"
    statement = {"Effect": "Allow", "Action": action, "Resource": {"Fn::GetAtt": [target, "Arn"]}}
    assert list(problems_of_writers(template.broken(path, statement)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{STATEMENTS}/QuarantineBrokenEntries/Action", "dynamodb:GetItem"),
        (f"{STATEMENTS}/QuarantineBrokenEntries/Action", ["dynamodb:UpdateItem", "dynamodb:Scan"]),
        (f"{STATEMENTS}/ReleaseBankLogins", ABSENT),
        (f"{ITEMS}/ReadTransactions/Action", ["dynamodb:Query", "dynamodb:UpdateItem"]),
        (f"{AUDIT}/ReadTransactions/Action/0", "dynamodb:UpdateItem"),
        (f"{AUDIT}/ReadItems/Action", ["dynamodb:GetItem", "dynamodb:UpdateItem"]),
        (f"{ITEMS}/ListItems/Resource", {"Fn::GetAtt": ["ItemsTable", "Arn"]}),
        (f"{ITEMS}/ReadAndChangeItems/Action/1", "dynamodb:DeleteItem"),
        (f"{ITEMS}/ReadAndAddHistory/Action/1", "dynamodb:DeleteItem"),
        (f"{ITEMS}/KeepLinks/Resource", {"Fn::GetAtt": ["QuarantineTable", "Arn"]}),
        (f"{ITEMS}/ReadAndAddHistory/Resource", {"Fn::GetAtt": ["HistoryTable", "StreamArn"]}),
    ],
)
def test_another_grant_of_a_function_that_has_some_is_noticed(template: Template, path: str, value: object) -> None:
    assert list(problems_of_writers(template.broken(path, value)))
