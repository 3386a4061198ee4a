"""The roles that the template defines, as the emulator enforces them: what each function may do, and may not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from plaid_sync.aws.dynamodb.shared_rows import shared_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.stack import LocalStack

KEY = {"item_id": {"S": "no such Item"}}
ROW = {**KEY, "transaction_id": {"S": "none"}}
CLAIM = {"link_key": {"S": "login#none"}}
SHARED_KEY = shared_key("key", "none")
OF_ITEM = {"KeyConditionExpression": "item_id = :id", "ExpressionAttributeValues": {":id": {"S": "none"}}}
SESSION = {"link_key": {"S": "session#none"}}
BOUND = {"EncryptionContext": {"item_id": "an Item"}}


def refusal(stack: LocalStack, function: str, service: str, call: str, **arguments: Any) -> str | None:
    """Return the error code that the function would get, or None."""
    try:
        getattr(stack.role_client(function, service), call)(**arguments)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return None


def message(url: str, deduplication_id: str) -> dict[str, str]:
    return {
        "QueueUrl": url,
        "MessageBody": "{}",
        "MessageGroupId": "roles",
        "MessageDeduplicationId": deduplication_id,
    }


def test_a_batch_of_messages_needs_the_permission_of_a_single_one(stack: LocalStack) -> None:
    url = stack.resources.id("SyncQueue")
    entries = [{"Id": "1", "ReceiptHandle": "none", "VisibilityTimeout": 1}]
    change = {"QueueUrl": url, "Entries": entries}
    assert refusal(stack, "sync", "sqs", "change_message_visibility_batch", **change) is None
    assert refusal(stack, "items", "sqs", "change_message_visibility_batch", **change) == "AccessDenied"


@pytest.mark.parametrize(
    ("function", "queue", "answer"),
    [
        ("webhook", "SyncQueue", None),
        ("items", "SyncQueue", None),
        ("sync", "SyncQueue", "AccessDenied"),
        ("changes", "SyncQueue", "AccessDenied"),
        ("webhook", "DeadLetterQueue", "AccessDenied"),
        ("items", "DeadLetterQueue", "AccessDenied"),
        ("sync", "DeadLetterQueue", None),
    ],
)
def test_each_role_sends_only_to_its_queues(stack: LocalStack, function: str, queue: str, answer: str | None) -> None:
    sent = message(stack.resources.id(queue), f"{function} {queue}")
    assert refusal(stack, function, "sqs", "send_message", **sent) == answer


@pytest.mark.parametrize(
    ("function", "call", "arguments", "answer"),
    [
        ("webhook", "get_item", {"TableName": "ItemsTable", "Key": KEY}, "AccessDeniedException"),
        ("webhook", "get_item", {"TableName": "SharedTable", "Key": SHARED_KEY}, None),
        (
            "webhook",
            "delete_item",
            {"TableName": "SharedTable", "Key": SHARED_KEY},
            "AccessDeniedException",
        ),
        ("items", "get_item", {"TableName": "SharedTable", "Key": SHARED_KEY}, "AccessDeniedException"),
        ("items", "scan", {"TableName": "ItemsTable"}, "AccessDeniedException"),
        ("items", "delete_item", {"TableName": "TransactionsTable", "Key": ROW}, "AccessDeniedException"),
        ("sync", "get_item", {"TableName": "ItemsTable", "Key": KEY}, None),
        ("sync", "delete_item", {"TableName": "ItemsTable", "Key": KEY}, "AccessDeniedException"),
        ("sync", "delete_item", {"TableName": "TransactionsTable", "Key": ROW}, "AccessDeniedException"),
        ("sync", "scan", {"TableName": "TransactionsTable"}, "AccessDeniedException"),
        ("sync", "update_item", {"TableName": "LinksTable", "Key": CLAIM}, None),
        ("sync", "delete_item", {"TableName": "LinksTable", "Key": CLAIM}, None),
        ("sync", "update_item", {"TableName": "LinksTable", "Key": SESSION}, "AccessDeniedException"),
        ("sync", "delete_item", {"TableName": "LinksTable", "Key": SESSION}, "AccessDeniedException"),
        ("sync", "put_item", {"TableName": "LinksTable", "Item": CLAIM}, "AccessDeniedException"),
        ("sync", "get_item", {"TableName": "LinksTable", "Key": CLAIM}, "AccessDeniedException"),
        ("items", "delete_item", {"TableName": "LinksTable", "Key": CLAIM}, None),
        ("items", "delete_item", {"TableName": "SharedTable", "Key": SHARED_KEY}, "AccessDeniedException"),
        ("items", "query", {"TableName": "QuarantineTable"} | OF_ITEM, "AccessDeniedException"),
        ("audit", "get_item", {"TableName": "ItemsTable", "Key": KEY}, None),
        ("audit", "put_item", {"TableName": "ItemsTable", "Item": KEY}, "AccessDeniedException"),
        ("audit", "put_item", {"TableName": "TransactionsTable", "Item": ROW}, "AccessDeniedException"),
        ("audit", "update_item", {"TableName": "TransactionsTable", "Key": ROW}, "AccessDeniedException"),
        ("audit", "delete_item", {"TableName": "TransactionsTable", "Key": ROW}, "AccessDeniedException"),
    ],
)
def test_each_role_has_only_its_permissions_on_the_tables(
    stack: LocalStack, function: str, call: str, arguments: dict[str, Any], answer: str | None
) -> None:
    named = {**arguments, "TableName": stack.resources.id(arguments["TableName"])}
    assert refusal(stack, function, "dynamodb", call, **named) == answer


ENTRY = {**KEY, "entry_id": {"S": "none"}}
PART = {**KEY, "entry_part": {"S": "none"}}
SHARED_KINDS = ("count", "once", "request", "lease", "recurring", "invalidation")
ROWS = {
    "Items": ("ItemsTable", KEY),
    "Transactions": ("TransactionsTable", ROW),
    "Quarantine": ("QuarantineTable", PART),
    "History": ("HistoryTable", ENTRY),
    "account claims": ("LinksTable", CLAIM),
    "link sessions": ("LinksTable", SESSION),
    "Plaid's public keys": ("SharedTable", SHARED_KEY),
    **{f"{kind} rows": ("SharedTable", shared_key(kind, "none")) for kind in SHARED_KINDS},
}
READS = {
    # By any request at all: a write can return the row that it replaces, and a condition can be a question about it.
    "webhook": {"History", "Plaid's public keys", "count rows", "once rows", "request rows", "invalidation rows"},
    "sync": {"Items", "Transactions", "Quarantine", "History", "account claims", "request rows"},
    "items": {
        *("Items", "Transactions", "History", "account claims", "link sessions"),
        *("once rows", "request rows", "lease rows", "recurring rows", "invalidation rows"),
    },
    "changes": {"History"},  # which has the change log
    "sweep": {"request rows", "lease rows"},
    "audit": {"Items", "Transactions"},
}
"""What a role can read of the tables. A history entry has no token, and nothing of a row."""


def requests(table: str, row: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every request that can return a row, or say something about it."""
    (name, value), *_ = row.items()
    keyed, returned = {"TableName": table, "Key": row}, {"ReturnValues": "ALL_OLD"}
    failing = {"ConditionExpression": "attribute_not_exists(secret)", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    named = {"ExpressionAttributeNames": {"#n": name}, "ExpressionAttributeValues": {":v": value}}
    yield "get_item", keyed
    yield "batch_get_item", {"RequestItems": {table: {"Keys": [row]}}}
    yield "query", {"TableName": table, "KeyConditionExpression": "#n = :v", **named}
    yield "scan", {"TableName": table, "Limit": 1}
    for more in (returned, failing):
        yield "update_item", {**keyed, "UpdateExpression": "REMOVE unknown", **more}
        yield "put_item", {"TableName": table, "Item": row, **more}
        yield "delete_item", {**keyed, **more}
    yield "transact_get_items", {"TransactItems": [{"Get": keyed}]}
    yield "transact_write_items", {"TransactItems": [{"ConditionCheck": {**keyed, **failing}}]}
    yield "transact_write_items", {"TransactItems": [{"Delete": {**keyed, **failing}}]}
    yield "execute_statement", {"Statement": f'SELECT * FROM "{table}"'}  # noqa: S608 - the table's name


@pytest.mark.parametrize("function", READS)
def test_a_role_reads_by_no_request_what_its_function_does_not_need(stack: LocalStack, function: str) -> None:
    found = set()
    for what, (logical_id, row) in ROWS.items():
        table = stack.resources.id(logical_id)
        for call, arguments in requests(table, row):
            answer = refusal(stack, function, "dynamodb", call, **arguments)
            if answer not in {"AccessDeniedException", "AccessDenied"}:
                found.add(what)
        stack.client("dynamodb").delete_item(TableName=table, Key=row)  # which a write has made
    assert found == READS[function]


@pytest.mark.parametrize("action", ["Put", "Delete"])
def test_a_transaction_is_refused_for_any_action_that_its_role_lacks(stack: LocalStack, action: str) -> None:
    target = {"Item": ROW} if action == "Put" else {"Key": ROW}
    check = {
        "TableName": stack.items_table,
        "Key": KEY,
        "ConditionExpression": "attribute_not_exists(item_id)",
    }
    parts = [{"ConditionCheck": check}, {action: {"TableName": stack.transactions_table, **target}}]
    assert refusal(stack, "sync", "dynamodb", "transact_write_items", TransactItems=parts[:1]) is None
    assert refusal(stack, "sync", "dynamodb", "transact_write_items", TransactItems=parts) == "AccessDeniedException"


def test_only_items_encrypts_a_token_and_only_items_sync_and_audit_decrypt_it_for_its_own_item(
    stack: LocalStack,
) -> None:
    key = {"KeyId": stack.resources.id("TokenKey")}
    plain = {**key, "Plaintext": b"token"}
    encrypted = {**key, **stack.role_client("items", "kms").encrypt(**plain, **BOUND)}
    encrypted = {name: encrypted[name] for name in ("KeyId", "CiphertextBlob")}
    assert refusal(stack, "items", "kms", "encrypt", **plain) == "AccessDeniedException"
    assert refusal(stack, "sync", "kms", "encrypt", **plain, **BOUND) == "AccessDeniedException"
    assert refusal(stack, "webhook", "kms", "encrypt", **plain, **BOUND) == "AccessDeniedException"
    assert refusal(stack, "audit", "kms", "encrypt", **plain, **BOUND) == "AccessDeniedException"
    for function in ("sync", "items", "audit"):
        assert refusal(stack, function, "kms", "decrypt", **encrypted, **BOUND) is None
        assert refusal(stack, function, "kms", "decrypt", **encrypted) == "AccessDeniedException"
    assert refusal(stack, "changes", "kms", "decrypt", **encrypted, **BOUND) == "AccessDeniedException"
    assert refusal(stack, "webhook", "kms", "decrypt", **encrypted, **BOUND) == "AccessDeniedException"


@pytest.mark.parametrize("function", ["webhook", "items", "sync", "audit"])
def test_functions_read_plaids_keys_and_cannot_change_them(stack: LocalStack, function: str) -> None:
    secret = {"SecretId": stack.resources.id("PlaidSecret")}
    changed = {**secret, "SecretString": "{}"}
    assert refusal(stack, function, "secretsmanager", "get_secret_value", **secret) is None
    assert refusal(stack, function, "secretsmanager", "put_secret_value", **changed) == "AccessDeniedException"
