"""The processes of the local stack: their CPU time and the peak of their resident memory, as Linux reports them."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

PLAID: Final = "plaid"
"""This process: the local Plaid, the sender of webhooks, and the test."""
EMULATOR: Final = "emulator"
SAMPLE_SECONDS: Final = 5.0
_CORES: Final = os.cpu_count() or 1
_MIN_FREE: Final = 0.15
"""Cores: where other programs left less, the stack waited for something else, and they took what it did not need."""
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_FUNCTION: Final = b"AWS_LAMBDA_FUNCTION_NAME="
_GROUP_FIELD: Final = 2
_CPU_FIELDS: Final = slice(11, 13)
"""Places in /proc/<pid>/stat after the name (proc_pid_stat(5)): process group; user and system time."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What the stack has used so far.

    Attributes:
        cpu: seconds of CPU time by name: `plaid`, `emulator`, and each function's short name.
        machine: seconds of CPU time of the whole machine, all processes together.
    """

    cpu: dict[str, float]
    machine: float

    def since(self, before: Usage) -> Usage:
        """Return what was used since then; a process that has ended meanwhile is not in it."""
        used = {name: max(0.0, seconds - before.cpu.get(name, 0.0)) for name, seconds in self.cpu.items()}
        return Usage(used, self.machine - before.machine)


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of the processes of one name, at their peaks, in MiB.

    Attributes:
        largest: of one process.
        processes: how many there are.
    """

    largest: float
    processes: int


def usage(group: int) -> Usage:
    """Return the CPU time of the processes of a group (the emulator and the functions), of this one, and of all."""
    cpu = defaultdict[str, float](float)
    for process, name in _processes(group):
        fields = _stat(process)
        cpu[name] += sum(map(int, fields[_CPU_FIELDS])) / _TICKS
    line = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0].split()
    user, nice, system, _idle, _waiting, *interrupts = map(int, line[1:9])  # guests are in the time of users already
    return Usage(cpu, (user + nice + system + sum(interrupts)) / _TICKS)


@contextmanager
def sampled_cores(group: int) -> Iterator[list[float]]:
    """Return a list, to which the cores are added that other programs left in each five seconds of the `with` block."""
    free, ended = list[float](), Event()

    def sample() -> None:
        before, at = usage(group), time.monotonic()
        while not ended.wait(SAMPLE_SECONDS) or not free:
            now, until = usage(group), time.monotonic()
            used = now.since(before)
            others = max(0.0, used.machine - sum(used.cpu.values())) / (until - at)
            left = round(_CORES - others, 2)
            free.append(left if left >= _MIN_FREE or not free else free[-1])
            before, at = now, until

    thread = Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield free
    finally:
        ended.set()
        thread.join()


def memory(group: int) -> dict[str, Memory]:
    """Return the memory of the processes of a group and of this one, by name."""
    peaks = defaultdict[str, list[float]](list)
    for process, name in _processes(group):
        text = (process / "status").read_text(encoding="ascii", errors="replace")
        peaks[name].append(int(text.partition("VmHWM:")[2].split()[0]) / 1024)
    return {name: Memory(max(found), len(found)) for name, found in sorted(peaks.items())}


def _processes(group: int) -> Iterator[tuple[Path, str]]:
    yield Path("/proc/self"), PLAID
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            if int(_stat(process)[_GROUP_FIELD]) == group:
                yield process, _name(process)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended


def _name(process: Path) -> str:
    variables = (process / "environ").read_bytes().split(b"\0")
    names = (variable.removeprefix(_FUNCTION) for variable in variables if variable.startswith(_FUNCTION))
    return next(names, EMULATOR.encode()).decode().rpartition("-")[2]


def _stat(process: Path) -> list[str]:
    """Return the fields of a process after its name, which may contain anything."""
    return (process / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
