"""What a function imports is what its cold start costs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ENVIRONMENT = {
    "PLAID_ENV": "sandbox",
    "PLAID_SECRET_ID": "plaid",
    "SYNC_QUEUE_URL": "http://127.0.0.1:9/queue",
    "DEAD_LETTER_QUEUE_URL": "http://127.0.0.1:9/dead",
    "ITEMS_TABLE": "items",
    "TRANSACTIONS_TABLE": "transactions",
    "QUARANTINE_TABLE": "quarantine",
    "HISTORY_TABLE": "history",
    "LINKS_TABLE": "links",
    "LINK_CLIENT_NAME": "Application",
    "EVENT_BUS_NAME": "bus",
    "AUDIT_SAMPLE_SIZE": "1",
    "TOKEN_KEY_ID": "key",
    "SWEEP_LIMIT": "10",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
    "POWERTOOLS_SERVICE_NAME": "test",
    "POWERTOOLS_METRICS_NAMESPACE": "PlaidSync",
    "PYTHONPATH": os.pathsep.join([".", "layers/plaid_sync"]),
}


def modules_after_importing(function: str) -> set[str]:
    program = f"import sys, functions.{function}.app; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, text=True, check=True, timeout=60
    )
    return {name.split(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize("function", ["webhook", "sync", "items", "changes", "sweep", "audit"])
def test_no_function_imports_what_it_does_not_need(function: str) -> None:
    modules = modules_after_importing(function)
    assert ("plaid" in modules) == (function in {"sync", "items", "audit"})
    assert not modules & {"aws_xray_sdk", "pydantic", "requests", "local", "tests"}
