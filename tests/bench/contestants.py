"""What is measured side by side: each contestant is a process, and so is each server that answers it.

A contestant is a module with `prepare(options)`, which returns the operation to repeat. Its process reports the CPU
time, user and system, of all its threads; the server's is not in it. The parent gives each contestant a turn in each
round, so that what else the machine does falls on all alike, and takes the median of the rounds.
"""

from __future__ import annotations

import cProfile
import importlib
import json
import os
import pstats
import statistics
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from local.stack.paths import PROJECT
from tests.bench.recording import save
from tests.bench.replay import CALLS, UNANSWERED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.bench.recording import Exchange

_PYTHONPATH: Final = os.pathsep.join([str(PROJECT), str(PROJECT / "layers" / "plaid_sync")])
_PROFILED: Final = "profile"
_PROFILE_LINES: Final = 60


@dataclass(frozen=True, slots=True)
class Entry:
    """A contestant to be started.

    Attributes:
        module: in `tests.bench`.
        options: of its `prepare`, as JSON has them.
        exchanges: what its server replays.
        repetitions: of its operation in a round, so that a round takes every contestant about as long.
        units: what one operation is divided by, such as its number of transactions.
        environment: variables of its process.
        pages: how often its server serves the last recorded page, with other ids, as one history.
    """

    module: str
    options: Mapping[str, Any]
    exchanges: Sequence[Exchange]
    repetitions: int
    units: int
    environment: Mapping[str, str]
    pages: int = 1


@dataclass(frozen=True, slots=True)
class _Process:
    process: subprocess.Popen[str]
    port: int

    def request(self, line: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, f"a contestant ended: {self.process.args!r}"
        return answer

    def peak_bytes(self) -> int:
        # Not getrusage, which counts the parent's memory from before the program was replaced.
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024

    def calls(self) -> Counter[str]:
        connection = HTTPConnection("127.0.0.1", self.port)
        connection.request("GET", CALLS)
        found = Counter[str](json.loads(connection.getresponse().read()))
        connection.close()
        assert UNANSWERED not in found, found
        return found


def medians(entries: Mapping[str, Entry], rounds: int, same_calls: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Return the seconds of CPU time of each contestant for one of its units.

    Args:
        entries: the contestants, by name.
        rounds: how often each has its turn, after one that does not count.
        same_calls: by contestant, the calls that it has to make as often as they were recorded. An engine that records
            a failure instead of its rows would be fast.
    """
    with ExitStack() as stack:
        processes = {name: stack.enter_context(_running(entry)) for name, entry in entries.items()}
        found: dict[str, list[float]] = {name: [] for name in entries}
        for name, process in processes.items():
            process.request("1")
            before = process.calls()
            process.request("1")
            calls = process.calls()
            for call in same_calls.get(name, ()):
                expected = sum(exchange.call == call for exchange in entries[name].exchanges)
                assert calls[call] - before[call] == expected, (name, call, calls, expected)
        for _ in range(rounds):
            for name, process in processes.items():
                repetitions = entries[name].repetitions
                found[name].append(float(process.request(str(repetitions))) / repetitions / entries[name].units)
        for process in processes.values():
            process.calls()
    return {name: statistics.median(values) for name, values in found.items()}


def once(entry: Entry, calls: Mapping[str, int]) -> tuple[float, int]:
    """Run a contestant's operation once, in a new process; return its seconds of CPU time, and the bytes of its peak.

    Args:
        entry: the contestant.
        calls: how often it has to call what.
    """
    with _running(entry) as process:
        seconds = float(process.request("1"))
        found = process.calls()
        assert {call: found[call] for call in calls} == calls, found
        return seconds, process.peak_bytes()


def profile(entry: Entry) -> str:
    """Return where the time of a contestant's operation goes, by function."""
    with _running(entry) as process:
        process.request("1")
        return str(json.loads(process.request(f"{_PROFILED} {entry.repetitions}")))


@contextmanager
def _running(entry: Entry) -> Iterator[_Process]:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "recording.json"
        save(list(entry.exchanges), file)
        with _started(["tests.bench.replay", str(file), str(entry.pages)], {}) as server:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            url = f"http://127.0.0.1:{port}"
            arguments = ["tests.bench.contestants", entry.module, json.dumps({**entry.options, "port": port})]
            variables = {**entry.environment, "AWS_ENDPOINT_URL": url, "PLAID_BASE_URL": url}
            with _started(arguments, variables) as process:
                yield _Process(process, port)


@contextmanager
def _started(arguments: Sequence[str], variables: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run a module that ends with its standard input."""
    pipe = subprocess.PIPE
    environment = {**os.environ, **variables, "PYTHONPATH": _PYTHONPATH}
    command = [sys.executable, "-m", *arguments]
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.stdin.close() if process.stdin else None
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


# ---- the contestant's own process


def _take_part(module: str, options: Mapping[str, Any]) -> None:
    """Repeat an operation as often as each line says; what it logs is written to nowhere."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    operation = importlib.import_module(f"tests.bench.{module}").prepare(**options)
    for line in sys.stdin:
        *profiled, repetitions = line.split()
        profiler = cProfile.Profile(time.process_time)  # of the machine, other processes have their share
        if profiled:
            profiler.enable()
        began = time.process_time()
        for _ in range(int(repetitions)):
            operation()
        seconds = time.process_time() - began
        profiler.disable()
        answers.write(f"{json.dumps(_lines(profiler)) if profiled else seconds}\n")
        answers.flush()


def _lines(profiler: cProfile.Profile) -> str:
    import io  # noqa: PLC0415 - only a profile needs it

    text = io.StringIO()
    statistics_ = pstats.Stats(profiler, stream=text)
    for order in ("cumulative", "tottime"):
        statistics_.sort_stats(order).print_stats(_PROFILE_LINES)
    return text.getvalue()


if __name__ == "__main__":
    _take_part(sys.argv[1], json.loads(sys.argv[2]))
