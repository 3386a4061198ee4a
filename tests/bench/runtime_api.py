"""Lambda's Runtime API for one function, which notes the CPU and wall time of its process at each poll.

The runtime interface client polls `next` when the function's module is imported, and after each answer
(https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html). The emulator starts a function with its first
invocation, and so can't separate the two.
"""

from __future__ import annotations

import json
import queue
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from local.lambda_runtime import BOOTSTRAP, isolated

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from local.lambda_runtime import BuiltFunction, Machine

_SECONDS: Final = 60
_STARTED: Final = b"started"


class RuntimeFailureError(Exception):
    """The function did not start, or raised; the text is its report."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of a process, since its start."""

    cpu: float
    wall: float

    def __sub__(self, earlier: Spent) -> Spent:
        """Return what was spent between two moments."""
        return Spent(self.cpu - earlier.cpu, self.wall - earlier.wall)


@dataclass(slots=True)
class Runtime:
    """A function's process.

    Attributes:
        init: what its start took, up to the first poll.
    """

    _events: queue.Queue[object] = field(default_factory=queue.Queue)
    _polls: queue.Queue[float] = field(default_factory=queue.Queue)
    _answers: queue.Queue[tuple[str, Any]] = field(default_factory=queue.Queue)
    _pid: int = 0
    _began: float = 0.0
    init: Spent = field(default_factory=lambda: Spent(0, 0))

    def invoke(self, event: object) -> tuple[Any, Spent]:
        """Invoke the function; return its answer and what it took, up to the next poll."""
        before = self._spent(time.monotonic())
        self._events.put(event)
        kind, answer = self._answers.get(timeout=_SECONDS)
        if kind != "response":
            raise RuntimeFailureError(json.dumps(answer))
        return answer, self._spent(self._polls.get(timeout=_SECONDS)) - before

    def _started(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        if process.stdout.readline().strip() != _STARTED:
            raise RuntimeFailureError("the function's file system can't be made")
        self._began = time.monotonic()
        self._pid = _last_descendant(process.pid)
        try:
            polled = self._polls.get(timeout=_SECONDS)
        except queue.Empty:
            raise RuntimeFailureError(repr(list(self._answers.queue))) from None
        self.init = self._spent(polled)

    def _spent(self, now: float) -> Spent:
        """Return what the process spent; the scheduler counts nanoseconds, for each thread."""
        threads = Path(f"/proc/{self._pid}/task").glob("*/schedstat")
        return Spent(sum(int(path.read_text().split()[0]) for path in threads) / 1e9, now - self._began)


@contextmanager
def running(machine: Machine, function: BuiltFunction, variables: Mapping[str, str], log: Path) -> Iterator[Runtime]:
    """Start a function in its file system under the runtime interface client; end it after the `with` block.

    Raises:
        RuntimeFailureError: It does not start.
    """
    runtime = Runtime()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Api", (_Api,), {"runtime": runtime}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = {"AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{server.server_port}"}
    mark = ["sh", "-c", f'echo {_STARTED.decode()}; exec "$@" >&2', "sh"]
    with tempfile.TemporaryDirectory(prefix="lambda-") as root, log.open("ab") as output:
        environment = {**function.environment("us-east-1"), **variables, **address}
        command = isolated(machine, function, root, variables=environment, command=BOOTSTRAP, before=mark)
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=output)
        try:
            runtime._started(process)  # noqa: SLF001 - the two are one
            yield runtime
        finally:
            process.kill()
            process.communicate()
            server.shutdown()
            server.server_close()


class _Api(BaseHTTPRequestHandler):
    """The endpoints of the Runtime API."""

    protocol_version = "HTTP/1.1"
    runtime: Runtime

    def do_GET(self) -> None:
        """Hand out the next event, when there is one."""
        self.runtime._polls.put(time.monotonic())  # noqa: SLF001
        body = json.dumps(self.runtime._events.get()).encode()  # noqa: SLF001
        arn = "arn:aws:lambda:us-east-1:000000000000:function:function:live"
        deadline = int((time.time() + _SECONDS) * 1000)
        headers = {"Aws-Request-Id": "request", "Invoked-Function-Arn": arn, "Deadline-Ms": deadline}
        self._respond(200, body, {f"Lambda-Runtime-{name}": str(value) for name, value in headers.items()})

    def do_POST(self) -> None:
        """Take an answer, or an error."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.runtime._answers.put((self.path.rpartition("/")[2], body))  # noqa: SLF001
        self._respond(202, b"{}", {})

    def log_message(self, *_arguments: object) -> None:
        """Log nothing."""

    def _respond(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Type": "application/json", "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _last_descendant(pid: int) -> int:
    """Return the process at the end of a chain of only children."""
    while children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        pid = int(children[-1])
    return pid
