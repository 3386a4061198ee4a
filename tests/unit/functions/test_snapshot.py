"""What a snapshot of a started function holds (Lambda SnapStart): nothing secret, no connection, nothing unique."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.functions import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
FUNCTIONS = sorted(path.parent.name for path in (ROOT / "functions").glob("*/app.py"))
PROGRAM = """
import importlib, json, os, random, sys, uuid

app = importlib.import_module(f"functions.{sys.argv[1]}.app")

from plaid_sync.aws.dynamodb.transact import back_off
from plaid_sync.domain.clock import jitter

class Clock:
    def sleep(self, seconds):
        self.slept = seconds

def drawn():
    clock = Clock()
    back_off(clock, 1)
    yield from (clock.slept, jitter(), str(uuid.uuid4()))
    if hasattr(app, "receiver"):
        yield app.receiver.keys.draw()
    if hasattr(app, "sampler"):
        yield app.sampler.randbelow(2**62)

files = [os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if name != "3"]
print(json.dumps({"sockets": [name for name in files if name.startswith("socket:")]}), flush=True)
seed = random.getstate()
for _ in range(2):
    if os.fork() == 0:
        random.setstate(seed)  # Python draws another seed after a fork, not after a snapshot
        print(json.dumps(list(drawn())), flush=True)
        os._exit(0)
    os.wait()
"""
"""Starts a function, as the snapshot holds it, and lets two processes go on from there."""


@pytest.fixture
def calls() -> Iterator[tuple[str, list[str]]]:
    """A server that answers nothing, and the paths that were called."""
    paths: list[str] = []

    class Nothing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            paths.append(self.path)
            self.send_error(500)

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_arguments: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Nothing)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", paths
    server.shutdown()
    server.server_close()


def start(function: str, address: str) -> list[Any]:
    path = os.pathsep.join(map(str, (ROOT, ROOT / "layers" / "plaid_sync")))
    environment = ENVIRONMENT | {
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_ENDPOINT_URL": address,
        "PLAID_BASE_URL": address,
        "POWERTOOLS_METRICS_NAMESPACE": "PlaidSync",
        "POWERTOOLS_SERVICE_NAME": "test",
        "AUDIT_SAMPLE_SIZE": "1",
        "PLAID_CALLS_PER_MINUTE": "1000",
        "REFRESH_AFTER_HOURS": "24",
        "PYTHONPATH": path,
    }
    command = [sys.executable, "-c", PROGRAM, function]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_started_function_has_called_nothing_and_two_that_go_on_from_it_draw_different_numbers(
    function: str, calls: tuple[str, list[str]]
) -> None:
    address, paths = calls
    opened, one, other = start(function, address)
    assert paths == [], "no secret was read, and no token decrypted"
    assert opened == {"sockets": []}
    assert len({*one, *other}) == len(one) + len(other)


def test_the_engine_draws_from_the_kernel_alone() -> None:
    """A generator with a seed in memory repeats itself in each process that goes on from a snapshot."""
    sources = [*(ROOT / "functions").rglob("*.py"), *(ROOT / "layers" / "plaid_sync").rglob("*.py")]
    drawn = [match for path in sources for match in re.findall(r"\b(?:random\.\w+|uuid\.\w+\()", path.read_text())]
    assert set(drawn) == {"random.SystemRandom", "uuid.uuid4("}
    assert not [path for path in sources if re.search(r"from (random|uuid) import", path.read_text())]
