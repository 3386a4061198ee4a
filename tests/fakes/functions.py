"""The Lambda functions' modules without a stack: tests give them fakes to work with."""

from __future__ import annotations

import os
from importlib import import_module
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import patch

from botocore.session import get_session
from plaid_sync.aws import clients

ENVIRONMENT: Final = {
    "AWS_DEFAULT_REGION": "us-east-1",
    "PLAID_ENV": "sandbox",
    "PLAID_SECRET_ID": "secret",
    "SYNC_QUEUE_URL": "https://sqs.invalid/sync.fifo",
    "DEAD_LETTER_QUEUE_URL": "https://sqs.invalid/dead.fifo",
    "ITEMS_TABLE": "items",
    "QUARANTINE_TABLE": "quarantine",
    "HISTORY_MAPPING_ID": "mapping",
    "TRANSACTIONS_TABLE": "transactions",
    "HISTORY_TABLE": "history",
    "LINKS_TABLE": "links",
    "SHARED_TABLE": "shared",
    "PLAID_CALLS_PER_MINUTE": "1000",
    "REFRESH_AFTER_HOURS": "24",
    "ITEMS_FUNCTION": "items:live",
    "LINK_CLIENT_NAME": "Application",
    "RECURRING_CACHE_HOURS": "0",
    "TOKEN_KEY_ID": "key",
    "GONE_ACCOUNT_ROWS": "remove",
    "EVENT_BUS_NAME": "bus",
    "FAILED_EVENTS_QUEUE_URL": "https://sqs.invalid/failed-events",
    "OUTBOUND_QUEUE_URL": "https://sqs.invalid/outbound",
    "OUTBOUND_DEAD_LETTER_QUEUE_URL": "https://sqs.invalid/outbound-dead",
    "OUTBOUND_SECRET_ID": "endpoints",
    "OUTBOUND_TARGETS": "public",
}


def import_app(name: str) -> Any:
    with patch.dict(os.environ, ENVIRONMENT), patch.object(clients, "session", get_session()):
        return import_module(f"functions.{name}.app")


def lambda_context(seconds_left: float = 300) -> Any:
    return SimpleNamespace(
        function_name="function",
        memory_limit_in_mb=512,
        invoked_function_arn="arn:aws:lambda:us-east-1:000000000000:function:function:live",
        aws_request_id="request",
        get_remaining_time_in_millis=lambda: int(seconds_left * 1000),
    )
