"""Many audits at once, from an operator's machine."""

from __future__ import annotations

import os
import signal
import socket
import threading
from typing import TYPE_CHECKING

import boto3
import pytest
from plaid_sync_cli.auditing import Auditing
from plaid_sync_cli.deployment import Deployment
from plaid_sync_cli.pacing import Pace

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT raises, also where this process was started in the background, which is started to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interruption_waits_for_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it accepts, and never answers
        session = boto3.Session(aws_access_key_id="none", aws_secret_access_key="none", region_name="us-east-1")
        outputs = {"AuditFunctionName": "audit"}
        deployment = Deployment("stack", outputs, {}, session, f"http://127.0.0.1:{silent.getsockname()[1]}")
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            Auditing(deployment).audit(["a", "b"], Pace(10.0), lambda _: None)
