"""One execution environment: a function's process, which keeps its memory between invocations."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from local.lambda_runtime.machine import RuntimeUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from local.lambda_runtime.machine import Machine

EMULATOR_GONE: Final = "Emulator.Gone"
"""The kind of an error that is not the function's: its caller stopped it meanwhile."""
BOOTSTRAP: Final = ("/var/lang/bin/python3.13", "/var/runtime/bootstrap.py")
"""What Lambda's runtime starts, by its path in the function's file system."""
_HERE: Final = Path(__file__).parent
_PATH: Final = "/2015-03-31/functions/function/invocations"
_START_SECONDS: Final = 30
_MARGIN_SECONDS: Final = 60
"""How long the emulator may take to kill a function that timed out, and to answer."""


class FunctionError(Exception):
    """A function raised, exited or timed out.

    Attributes:
        kind: Lambda's `errorType`: an exception's name, `Sandbox.Timedout` or the like.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.message = message


@dataclass(frozen=True, slots=True)
class BuiltFunction:
    """A function as the built template declares it.

    Attributes:
        layers: The folders of its layers; a later one hides an earlier one.
        memory: MB, for the function's environment; nothing limits it here.
    """

    name: str
    handler: str
    task: Path
    layers: tuple[Path, ...]
    timeout: int
    memory: int

    def environment(self, region: str) -> dict[str, str]:
        return {
            "AWS_DEFAULT_REGION": region,
            "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self.memory),
            "AWS_LAMBDA_FUNCTION_NAME": self.name,
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(self.timeout),
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_FORMAT": "JSON",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{self.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": "local",
            "AWS_REGION": region,
            "LAMBDA_RUNTIME_DIR": "/var/runtime",
            "LAMBDA_TASK_ROOT": "/var/task",
            "LANG": "en_US.UTF-8",
            "LD_LIBRARY_PATH": "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/task:/var/task/lib:/opt/lib",
            "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
            "TZ": ":UTC",
            "_HANDLER": self.handler,
        }


@dataclass(slots=True)
class FunctionProcess:
    """A running function.

    Attributes:
        variables: Its environment besides Lambda's own variables.
    """

    machine: Machine
    function: BuiltFunction
    variables: Mapping[str, str]
    log: Path
    region: str = "us-east-1"
    _port: int = 0
    _process: subprocess.Popen[bytes] | None = None
    _root: tempfile.TemporaryDirectory[str] | None = None
    # The emulator crashes on concurrent invocations; an execution environment gets one at a time in Lambda as well.
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> Self:
        self._port, runtime_port = _free_port(), _free_port()
        self._root = tempfile.TemporaryDirectory(prefix="lambda-")
        with self.log.open("ab") as log:
            # Programs of util-linux and of this project.
            self._process = subprocess.Popen(  # noqa: S603 # nosec B603
                self._command(self._root.name, f"127.0.0.1:{self._port}", f"127.0.0.1:{runtime_port}"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait()
        return self

    def invoke(self, event: object) -> Any:  # noqa: ANN401 - any JSON
        body = json.dumps(event).encode()
        with self._turn:
            connection = http.client.HTTPConnection(
                "127.0.0.1", self._port, timeout=self.function.timeout + _MARGIN_SECONDS
            )
            try:
                connection.request("POST", _PATH, body)
                answer = connection.getresponse()
                return _result(answer.status, answer.read())
            except (OSError, http.client.HTTPException) as error:
                raise FunctionError(EMULATOR_GONE, f"{error!r}\n{self._log_tail()}") from error
            finally:
                connection.close()

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._root is not None:
            self._root.cleanup()
            self._root = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _command(self, root: str, address: str, runtime_api: str) -> list[str]:
        emulator = ["/usr/local/bin/aws-lambda-rie", "--log-level", "error"]
        addresses = ["--runtime-interface-emulator-address", address, "--runtime-api-address", runtime_api]
        variables = {**self.function.environment(self.region), **self.variables}
        return isolated(
            self.machine, self.function, root, variables=variables, command=[*emulator, *addresses, *BOOTSTRAP]
        )

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
            except OSError as error:
                if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise RuntimeUnavailableError(
                        f"{self.function.name} could not be started: {self._log_tail()}"
                    ) from error
                time.sleep(0.01)
            else:
                return

    def _log_tail(self) -> str:
        return self.log.read_text(errors="replace").strip()[-2000:]


def isolated(  # noqa: PLR0913 - what a process is made of
    machine: Machine,
    function: BuiltFunction,
    root: str,
    *,
    variables: Mapping[str, str],
    command: Sequence[str],
    before: Sequence[str] = (),
) -> list[str]:
    """Return the command that runs another one in a function's file system, as Lambda's user.

    Args:
        machine: This machine.
        function: What is mounted.
        root: An empty folder.
        variables: The whole environment.
        command: What runs, by its path in the function's file system.
        before: A program with its arguments, in this machine's file system, which executes the rest of its arguments.
    """
    layers = ":".join(str(layer) for layer in reversed(function.layers))
    places = [machine.python, machine.packages, _HERE / "bootstrap.py", machine.emulator, function.task, layers]
    return [
        *machine.isolation,
        *("sh", str(_HERE / "root.sh"), root, *map(str, places)),
        *before,
        *("env", "-i", *(f"{name}={value}" for name, value in variables.items())),
        *("unshare", f"--root={root}", "--wd=/var/task", *machine.user),
        *command,
    ]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _result(status: int, body: bytes) -> Any:  # noqa: ANN401 - any JSON
    """Return a function's answer; the emulator answers 200 to failures as well."""
    text = body.decode()
    try:
        result = json.loads(text)
    except ValueError:
        raise FunctionError("Sandbox.Timedout" if "timed out" in text else "Runtime.Unknown", text) from None
    if isinstance(result, dict) and "errorType" in result and "errorMessage" in result:
        raise FunctionError(result["errorType"], result["errorMessage"])
    if status != http.client.OK:
        raise FunctionError("Runtime.Unknown", text)
    return result
