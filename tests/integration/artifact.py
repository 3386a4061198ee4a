"""The built functions in Lambda's own runtime: nothing of them is imported from the working tree."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import pytest

from local.lambda_runtime import EMULATOR_GONE, BuiltFunction, FunctionError, FunctionProcess
from tests.template.cloudformation import Template

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from local.lambda_runtime import Machine
    from tests.integration.harness import World

_EMULATOR_LINES: Final = ("START RequestId", "END RequestId", "REPORT RequestId")


def built_functions(folder: Path) -> dict[str, BuiltFunction]:
    """Return the functions of the built template in `folder` by their short names: `webhook`, `sync`.

    Raises:
        pytest.UsageError: Nothing is built there.
    """
    path = folder.resolve() / "template.yaml"
    if not path.is_file():
        raise pytest.UsageError(f"--artifact {folder} holds no built template: make build-local")
    template = Template.parse(path.read_text())
    declared = template.of("AWS::Serverless::LayerVersion")
    layers = {name: path.parent / layer["Properties"]["ContentUri"] for name, layer in declared.items()}
    return {
        logical_id.removesuffix("Function").lower(): BuiltFunction(
            name=logical_id,
            handler=properties["Handler"],
            task=path.parent / properties["CodeUri"],
            layers=tuple(layers[layer["Ref"]] for layer in properties["Layers"]),
            timeout=properties["Timeout"],
            memory=properties["MemorySize"],
        )
        for logical_id, properties in template.functions.items()
    }


@dataclass(slots=True)
class Artifact:
    """The built functions, one process each.

    As in Lambda, a process keeps its memory between tests, until a test restarts it or changes its environment. Time is
    real.

    Attributes:
        built: The functions by their short names.
        logs: The folder for their output.
        plaid_port: The port of each world's Plaid, whose address a function reads once, at its start.
        variables: Environment variables besides the deployed ones, by function.
        invocations: How many, by function.
        starts: How many processes were started, by function.
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
    _read_bytes: Counter[str] = field(default_factory=Counter)
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
        """Invoke a function, in a new process if its environment or timeout differs."""
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
        except BaseException:  # such as a test's timeout: the next test needs an idle emulator
            self._stop(name)
            raise

    def restart(self, world: World, name: str, changes: Mapping[str, str]) -> None:  # noqa: ARG002 - a world like any
        """Start the next invocation with empty memory."""
        self._stop(name)
        self._changes[name] = dict(changes)

    def output(self) -> str:
        """Return the functions' output since the last call, without the emulator's own lines."""
        lines: list[str] = []
        for path in sorted(self.logs.glob("*.log")):
            text = path.read_bytes()[self._read_bytes[path.name] :].decode()
            self._read_bytes[path.name] += len(text.encode())
            lines += [line for line in text.splitlines() if line and not line.startswith(_EMULATOR_LINES)]
        return "\n".join(lines)

    @contextmanager
    def with_variables(self, variables: Mapping[str, str]) -> Iterator[None]:
        """Add variables to all functions' environments within the `with` block."""
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
