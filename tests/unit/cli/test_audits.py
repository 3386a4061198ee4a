"""Parallel audits from an operator's machine."""

from __future__ import annotations

import gc
import os
import signal
import socket
import threading
from typing import TYPE_CHECKING

import boto3
import pytest
from plaid_sync_cli.audits import Auditor
from plaid_sync_cli.bulk import RateLimiter
from plaid_sync_cli.deployment import Deployment

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT raises, also in a process that was started in the background and ignores it.

    An exception in a callback of the garbage collector is ignored, and Hypothesis has one: no collection meanwhile.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.disable()
    yield
    gc.enable()
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interruption_does_not_wait_for_responses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:  # it accepts connections and never responds
        session = boto3.Session(aws_access_key_id="none", aws_secret_access_key="none", region_name="us-east-1")
        outputs = {"AuditFunctionName": "audit"}
        deployment = Deployment("stack", outputs, {}, session, f"http://127.0.0.1:{server.getsockname()[1]}")
        connections: list[socket.socket] = []
        threading.Thread(target=interrupt_after, args=(server, 2, connections), daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            Auditor(deployment).audit(["a", "b"], RateLimiter(10.0), lambda _: None)
        assert len(connections) == 2
        for connection in connections:
            connection.close()


def interrupt_after(server: socket.socket, number: int, connections: list[socket.socket]) -> None:
    """Interrupt this process once so many requests wait for their responses."""
    while len(connections) < number:
        connections.append(server.accept()[0])
    os.kill(os.getpid(), signal.SIGINT)
