"""The usual handler with one SQS client."""

import os
from typing import Any

import boto3

sqs = boto3.client("sqs")


def lambda_handler(_event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Read the attributes of the queue."""
    return {"arn": sqs.get_queue_attributes(QueueUrl=os.environ["SYNC_QUEUE_URL"], AttributeNames=["QueueArn"])}
