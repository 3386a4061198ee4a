"""This engine: the sync function's handler with an event of its queue."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

from tests.integration.functions import lambda_context

if TYPE_CHECKING:
    from collections.abc import Callable

_NO_TIMEOUT: Final = 1e6


def prepare(item_id: str, port: int) -> Callable[[], None]:  # noqa: ARG001 - its environment has the address
    from functions.sync.app import lambda_handler  # noqa: PLC0415 - makes its clients when it is imported

    def sync() -> None:
        answer = lambda_handler({"Records": [_record(item_id)]}, lambda_context(_NO_TIMEOUT))
        assert answer == {"batchItemFailures": []}

    return sync


def _record(item_id: str) -> dict[str, Any]:
    now = str(int(time.time() * 1000))
    return {
        "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
        "receiptHandle": "receipt-handle",
        "body": json.dumps({"item_id": item_id, "cause": "webhook"}),
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": now,
            "ApproximateFirstReceiveTimestamp": now,
            "MessageGroupId": item_id,
        },
        "messageAttributes": {},
        "eventSource": "aws:sqs",
    }
