"""Queries read to their end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plaid_sync.adapters.aws import aws_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb import DynamoDBClient


def query_pages(client: DynamoDBClient, request: dict[str, Any]) -> Iterator[Any]:
    """Yield each answer of a query, page after page.

    Raises:
        RetryableError: DynamoDB can't be read now.
    """
    start: dict[str, Any] = {}
    while True:
        with aws_errors():
            answer = client.query(**request, **start)
        yield answer
        if "LastEvaluatedKey" not in answer:
            return
        start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
