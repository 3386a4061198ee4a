"""Puts two messages into the dead-letter queue, as the sync function does, and takes out what was there."""

from __future__ import annotations

import os
import uuid
from typing import Any, Final

import boto3

LETTERS: Final = (
    ("foreign", "{", "malformed: the body is not JSON"),
    ("ghost", '{"item_id": "ghost", "cause": "request"}', "unregistered"),
)


def main() -> None:
    sqs: Any = boto3.client("sqs")
    queue = os.environ["DEAD_LETTER_QUEUE_URL"]
    sqs.purge_queue(QueueUrl=queue)
    for group, body, reason in LETTERS:
        sqs.send_message(
            QueueUrl=queue,
            MessageBody=body,
            MessageGroupId=group,
            MessageDeduplicationId=str(uuid.uuid4()),
            MessageAttributes={"reason": {"DataType": "String", "StringValue": reason}},
        )


if __name__ == "__main__":
    main()
