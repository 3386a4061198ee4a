"""The usual handler with one DynamoDB client."""

import os
from typing import Any

import boto3

dynamodb = boto3.client("dynamodb")


def lambda_handler(_event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Read an Item that does not exist."""
    answer = dynamodb.get_item(TableName=os.environ["ITEMS_TABLE"], Key={"item_id": {"S": "none"}})
    return {"found": "Item" in answer}
