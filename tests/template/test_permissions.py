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
WITHOUT_A_RESOURCE: Final = {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}
"""Actions that no resource can be named for."""
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
        if role["Properties"].get("ManagedPolicyArns"):
            yield f"{name} has managed policies"
        trusted = [statement["Principal"] for statement in role["Properties"]["AssumeRolePolicyDocument"]["Statement"]]
        if trusted != [{"Service": "lambda.amazonaws.com"}]:
            yield f"{name} can be assumed by others than Lambda"
    for name, properties in template.functions.items():
        if {"Policies", "Connectors"} & properties.keys():
            yield f"{name} has permissions that are not in its role"


def problems_of_token_key(template: Template) -> Iterator[str]:
    """Tokens are sealed by `items` and opened by `sync`, each only for the Item that it names."""
    users: dict[str, list[Any]] = {}
    for name, statement in template.statements():
        for action in listed(statement["Action"]):
            if action.startswith("kms:") and name != "TokenKey":
                yield f"{name} allows {action} beside the key policy"
            if action in USES_OF_A_KEY:
                users.setdefault(action, []).append(statement.get("Principal"))
                if statement.get("Condition") != BOUND_TO_ITS_ITEM:
                    yield f"{action} is not bound to an Item"
    if users != {
        "kms:Encrypt": [{"AWS": {"Fn::GetAtt": ["ItemsFunctionRole", "Arn"]}}],
        "kms:Decrypt": [{"AWS": {"Fn::GetAtt": ["SyncFunctionRole", "Arn"]}}],
    }:
        yield f"the key is used by {users}"


def problems_of_writers(template: Template) -> Iterator[str]:
    """`sync` is the only writer of transactions, and of the dead-letter queue; nobody but it reads the queue.

    Into the quarantine it only writes: what is kept is for people.
    """
    only_sync = {
        ("TransactionsTable", "dynamodb"),
        ("QuarantineTable", "dynamodb"),
        ("DeadLetterQueue", "sqs"),
        ("SyncQueue", "sqs:ReceiveMessage"),
    }
    for name, statement in template.statements():
        if "QuarantineTable" in str(statement.get("Resource")) and listed(statement["Action"]) != [
            "dynamodb:UpdateItem"
        ]:
            yield f"{name} may do more to the quarantine than keep an entry"
        if template.resources[name]["Type"] != "AWS::IAM::Role" or name == "SyncFunctionRole":
            continue
        targets = str(statement.get("Resource"))
        for target, action in only_sync:
            if target in targets and any(str(allowed).startswith(action) for allowed in listed(statement["Action"])):
                yield f"{name} may {action} {target}"


def test_every_statement_names_its_actions_and_resources(template: Template) -> None:
    assert list(problems_of_width(template)) == []


def test_every_function_has_a_role_of_its_own_without_managed_policies(template: Template) -> None:
    assert list(problems_of_roles(template)) == []


def test_only_items_seals_tokens_and_only_sync_opens_them(template: Template) -> None:
    assert list(problems_of_token_key(template)) == []


def test_only_sync_touches_transactions_and_reads_the_queue(template: Template) -> None:
    assert list(problems_of_writers(template)) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{STATEMENTS}/0/Action", "sqs:*"),
        (f"{STATEMENTS}/3/Action/0", "dynamodb:Batch*"),
        (f"{STATEMENTS}/2/Resource", "*"),
        (f"{STATEMENTS}/2/Resource", [{"Ref": "ItemsTable"}, "*"]),
        (f"{STATEMENTS}/7/Action/0", "logs:PutLogEvents"),
        (f"{STATEMENTS}/0/NotAction", "sqs:PurgeQueue"),
        (f"{KEY}/2/Action", "kms:*"),
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
        (f"{SYNC}/AssumeRolePolicyDocument/Statement/0/Principal", {"AWS": "*"}),
    ],
)
def test_a_role_that_is_too_wide_is_noticed(template: Template, path: str, value: object) -> None:
    assert list(problems_of_roles(template.broken(path, value)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{KEY}/0/Action", ["kms:Encrypt", "kms:Decrypt"]),
        (f"{KEY}/1/Principal/AWS", {"Fn::GetAtt": ["WebhookFunctionRole", "Arn"]}),
        (f"{KEY}/1/Condition", ABSENT),
        (f"{KEY}/1/Condition/Null", ABSENT),
        (f"{KEY}/1", ABSENT),
        (f"{KEY}/2/Action/0", "kms:Decrypt"),
        (f"{KEY}/2/Action/0", "kms:CreateGrant"),
        (f"{STATEMENTS}/4/Action", "kms:Decrypt"),
    ],
)
def test_another_use_of_the_token_key_is_noticed(template: Template, path: str, value: object) -> None:
    assert list(problems_of_token_key(template.broken(path, value)))


@pytest.mark.parametrize(
    ("action", "target"),
    [
        ("dynamodb:PutItem", "TransactionsTable"),
        ("dynamodb:UpdateItem", "QuarantineTable"),
        ("sqs:SendMessage", "DeadLetterQueue"),
    ],
)
def test_another_writer_is_noticed(template: Template, action: str, target: str) -> None:
    path = "Resources/WebhookFunctionRole/Properties/Policies/0/PolicyDocument/Statement/0"
    statement = {"Effect": "Allow", "Action": action, "Resource": {"Fn::GetAtt": [target, "Arn"]}}
    assert list(problems_of_writers(template.broken(path, statement)))


@pytest.mark.parametrize("action", ["dynamodb:DeleteItem", ["dynamodb:UpdateItem", "dynamodb:Query"]])
def test_more_than_keeping_an_entry_is_noticed(template: Template, action: object) -> None:
    assert list(problems_of_writers(template.broken(f"{STATEMENTS}/4/Action", action)))
