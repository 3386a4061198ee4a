"""`sam local` as a user calls it, from the project's folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest
import urllib3

from local.stack.emulator import claim_port
from local.stack.paths import Places

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.containers import ContainerEngine

PATIENCE_SECONDS: Final = 240
PROGRAM: Final = Places().cache / "tools" / "sam" / "bin" / "sam"


@dataclass(frozen=True)
class Sam:
    """The SAM CLI with an engine."""

    engine: ContainerEngine

    def invoke(self, function: str, event: object) -> Any:
        """Run `sam local invoke` once; return what it printed."""
        done = subprocess.run(
            self._command("invoke", function, "--event", "-"),
            input=json.dumps(event),
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
            **self._where,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        answer = json.loads(done.stdout)
        # A function's failure is an answer like any other, and SAM's exit status 0.
        assert not failed(answer), f"{answer}\n{done.stderr[-3000:]}"
        return answer

    @contextmanager
    def serving(self, service: str) -> Iterator[str]:
        """Run `sam local start-api` or `start-lambda`; yield its address."""
        port, log = claim_port(), Places().logs / f"sam-{service}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                self._command(service, "--port", str(port)), stdout=output, stderr=output, **self._where
            )
        try:
            _await(process, f"http://127.0.0.1:{port}")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)

    def _command(self, command: str, *arguments: str) -> list[str]:
        return [str(PROGRAM), "local", command, *arguments, "--config-env", "local", *self.engine.options]

    @property
    def _where(self) -> dict[str, Any]:
        environment = {**os.environ, **self.engine.environment, "SAM_CLI_TELEMETRY": "0"}
        return {"cwd": Places().project, "env": environment}


def failed(answer: object) -> bool:
    """Whether an answer is Lambda's description of a failure."""
    return isinstance(answer, dict) and "errorType" in answer


def _await(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib3.request("GET", url, retries=False, timeout=5)
        except urllib3.exceptions.HTTPError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"sam does not serve {url}: see .local/logs")
