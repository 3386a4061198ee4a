"""The functions as they were built, run by Lambda's own runtime: nothing of them is imported from the working tree."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from local.lambda_runtime import EMULATOR_GONE, FunctionError, FunctionProcess

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from local.lambda_runtime import BuiltFunction, Machine
    from tests.component.world import World

_OF_THE_EMULATOR: Final = ("START RequestId", "END RequestId", "REPORT RequestId")


@dataclass(slots=True)
class Artifact:
    """The built functions, one process each.

    A process keeps its memory from test to test, as Lambda's do, until a test wants it empty, or another environment.
    Clock and waits are real.

    Attributes:
        machine: runs them.
        built: the functions by their short names.
        logs: the folder for what they put out.
        plaid_port: where each world's Plaid listens, for its address is read once, at the start.
        variables: what a function's environment has beside the deployed one, by function.
        invocations: how many there were, by function.
        starts: how many processes were started, by function.
    """

    machine: Machine
    built: Mapping[str, BuiltFunction]
    logs: Path
    plaid_port: int
    variables: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    invocations: Counter[str] = field(default_factory=Counter)
    starts: Counter[str] = field(default_factory=Counter)
    real_time: bool = True
    _running: dict[str, FunctionProcess] = field(default_factory=dict)
    _heard: Counter[str] = field(default_factory=Counter)
    _changes: dict[str, Mapping[str, str]] = field(default_factory=dict)

    @contextmanager
    def running(self) -> Iterator[Artifact]:
        """End all processes after the `with` block."""
        try:
            yield self
        finally:
            for name in list(self._running):
                self._stop(name)

    def invoke(
        self, world: World, name: str, event: object, time_left: float | None, changes: Mapping[str, str]
    ) -> Any:
        """Invoke a function, in a new process if the one that runs has another environment or timeout."""
        built = self.built[name]
        if time_left is not None:
            built = replace(built, timeout=int(time_left))
        variables = world.deployment.variables(name) | world.environment(name)
        variables |= {**self.variables.get(name, {}), **self._changes.get(name, {}), **changes}
        process = self._running.get(name)
        if process is None or (process.function, process.variables) != (built, variables):
            process = self._start(name, built, variables)
        self.invocations[name] += 1
        try:
            return process.invoke(event)
        except FunctionError as error:
            if error.kind == EMULATOR_GONE:
                self._stop(name)
            raise
        except BaseException:  # as of a test that runs out of time: the next one must not find the emulator at work
            self._stop(name)
            raise

    def restart(self, world: World, name: str, changes: Mapping[str, str]) -> None:  # noqa: ARG002 - a world like any
        """Let the next invocation find an empty memory."""
        self._stop(name)
        self._changes[name] = dict(changes)

    def output(self) -> str:
        """Return what the functions have put out since this was last called, without what the emulator adds."""
        lines: list[str] = []
        for path in sorted(self.logs.glob("*.log")):
            text = path.read_bytes()[self._heard[path.name] :].decode()
            self._heard[path.name] += len(text.encode())
            lines += [line for line in text.splitlines() if line and not line.startswith(_OF_THE_EMULATOR)]
        return "\n".join(lines)

    @contextmanager
    def with_variables(self, variables: Mapping[str, str]) -> Iterator[None]:
        """Give all functions more variables, for the time of the `with` block."""
        before, self.variables = self.variables, dict.fromkeys(self.built, variables)
        try:
            yield
        finally:
            self.variables = before

    def _start(self, name: str, built: BuiltFunction, variables: Mapping[str, str]) -> FunctionProcess:
        self._stop(name)
        self.starts[name] += 1
        process = FunctionProcess(self.machine, built, variables, self.logs / f"{name}.log")
        self._running[name] = process.start()
        return process

    def _stop(self, name: str) -> None:
        if process := self._running.pop(name, None):
            process.stop()
