"""`make local` as a program: ready while its env file exists, gone without a trace however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from local.stack import Places

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def post(url: str) -> int:
    with closing(HTTPConnection(urlsplit(url).netloc, timeout=30)) as connection:
        connection.request("POST", urlsplit(url).path, b"{}", {"Content-Type": "application/json"})
        return connection.getresponse().status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_make_local_is_up_while_its_env_file_exists_and_ends_in_order(tmp_path: Path, number: signal.Signals) -> None:
    with command(tmp_path) as process:
        ready = json.loads(process.stdout.readline())
        env = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
        assert list(env) == [
            *("WEBHOOK_URL", "API_URL", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID"),
            *("AWS_SECRET_ACCESS_KEY", "PLAID_BASE_URL", "ITEMS_TABLE", "TRANSACTIONS_TABLE", "QUARANTINE_TABLE"),
            *("HISTORY_TABLE", "PLAID_SECRET_ID", "EVENT_BUS_NAME", "SYNC_QUEUE_URL", "DEAD_LETTER_QUEUE_URL"),
        ]
        assert env.items() <= ready.items()
        assert post(env["WEBHOOK_URL"]) == 401
        assert post(f"{env['API_URL']}/items") == 403
        process.send_signal(number)
        assert process.wait(30) == 0
        assert not (tmp_path / "env").exists()
        assert_gone(tmp_path)


def test_make_local_leaves_no_process_when_it_is_killed(tmp_path: Path) -> None:
    with command(tmp_path) as process:
        post(json.loads(process.stdout.readline())["WEBHOOK_URL"])
        process.kill()
        process.wait()
        assert_gone(tmp_path)


def test_make_local_refuses_to_run_twice(tmp_path: Path) -> None:
    with command(tmp_path) as process:
        process.stdout.readline()
        with command(tmp_path) as second:
            assert second.wait(30) == 1
            assert f"as process {process.pid}" in second.stderr.read()
        assert (tmp_path / "env").exists()


class Command(subprocess.Popen[str]):
    """`make local`'s process, its output piped."""

    stdout: Any
    stderr: Any


@contextmanager
def command(directory: Path) -> Iterator[Command]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PLAID_", "LOCAL_"))}
    process = Command(
        [sys.executable, "-m", "local.stack", "--json", "--directory", str(directory)],
        cwd=Places().project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.terminate()


def assert_gone(directory: Path) -> None:
    """Wait for the end of every process that has the directory in its arguments: the emulator and the functions."""
    running = ["pgrep", "-f", str(directory)]
    for _ in range(100):
        found = subprocess.run(running, capture_output=True, text=True, check=False).stdout
        if not found:
            return
        threading.Event().wait(0.1)
    pytest.fail(f"still running: {found}")
