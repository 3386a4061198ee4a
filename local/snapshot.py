"""Reads what is compared: both tables and the dead-letter queue from AWS, the Items from Plaid."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer

from local.comparison import PlaidItem, Tables

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from local.plaid import PlaidSimulator
    from local.stack import LocalStack

_CENT = Decimal("0.01")
_MAX_MESSAGES = 10


def truth_of(plaid: PlaidSimulator) -> list[PlaidItem]:
    with plaid.lock:
        return [plaid_item(plaid, item_id) for item_id in plaid.item_ids()]


def plaid_item(plaid: PlaidSimulator, item_id: str) -> PlaidItem:
    log = plaid.item(item_id).log
    return PlaidItem(
        item_id,
        rows=plaid.truth(item_id),
        head=log.head,
        final_cursors=plaid.final_cursors(item_id),
        removed=frozenset(change.transaction_id for change in log.changes) - log.live.keys(),
        accounts=frozenset(str(account["account_id"]) for account in plaid.account_rows(item_id)),
    )


def tables_of(stack: LocalStack) -> Tables:
    return Tables(
        items=list(_scan(stack, stack.items_table)),
        transactions=list(_scan(stack, stack.transactions_table)),
        dead_letters=list(_dead_letters(stack)),
    )


def _scan(stack: LocalStack, table: str) -> Iterator[dict[str, Any]]:
    pages = stack.client("dynamodb").get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    return (plain(attributes) for page in pages for attributes in page["Items"])


def _dead_letters(stack: LocalStack) -> Iterator[str]:
    sqs = stack.client("sqs")
    while letters := sqs.receive_message(
        QueueUrl=stack.dead_letter_queue_url, MaxNumberOfMessages=_MAX_MESSAGES, VisibilityTimeout=600
    ).get("Messages"):
        yield from (letter["Body"] for letter in letters)


def stored_cursor(stack: LocalStack, item_id: str) -> str:
    """Return the cursor that the Items table has for an Item; empty if there is none."""
    answer = stack.client("dynamodb").get_item(
        TableName=stack.items_table, Key={"item_id": {"S": item_id}}, ConsistentRead=True
    )
    return str(plain(answer.get("Item", {})).get("cursor", ""))


def tamper(stack: LocalStack, rng: Random) -> str:
    """Change the amount of one live row by a cent, without the engine; return which row it is."""
    row = rng.choice([row for row in tables_of(stack).transactions if "removed_at" not in row])
    stack.client("dynamodb").update_item(
        TableName=stack.transactions_table,
        Key={name: {"S": row[name]} for name in ("item_id", "transaction_id")},
        UpdateExpression="SET amount = :amount",
        ExpressionAttributeValues={":amount": {"N": str(row["amount"] + _CENT)}},
    )
    return f"Item {row['item_id']}, transaction {row['transaction_id']}, amount"


def plain(attributes: dict[str, Any]) -> dict[str, Any]:
    values = {name: TypeDeserializer().deserialize(value) for name, value in attributes.items()}
    return {name: getattr(value, "value", value) for name, value in values.items()}  # a Binary's bytes
