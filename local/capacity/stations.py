"""How long each step takes: a time that is drawn, on AWS, and CPU time of two cores, on the local stack."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import simpy

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from random import Random

Steps = "Generator[simpy.Event, Any, None]"
_P99: Final = 2.3263478740408408
"""Standard deviations from the median to the 99th percentile of a normal distribution."""


class Stations(Protocol):
    """The steps of a webhook and of a sync, each a process of SimPy that ends when the step does."""

    def deliver(self) -> Generator[simpy.Event, Any, None]:
        """From Plaid's request until SQS has accepted the message."""
        ...

    def respond(self) -> Generator[simpy.Event, Any, None]:
        """From there until Plaid has the response."""
        ...

    def receive(self) -> Generator[simpy.Event, Any, None]:
        """From a message in the queue to an invocation of the sync function."""
        ...

    def claim(self) -> Generator[simpy.Event, Any, None]:
        """Load and claim an Item."""
        ...

    def pull(self) -> Generator[simpy.Event, Any, None]:
        """One call of /transactions/sync."""
        ...

    def commit(self) -> Generator[simpy.Event, Any, None]:
        """Write the rows and the cursor."""
        ...

    def start(self, function: str) -> Generator[simpy.Event, Any, None]:
        """A cold start."""
        ...


@dataclass(frozen=True, slots=True)
class AwsStations:
    """The steps on AWS: each takes a lognormal time with the median and the 99th percentile of docs/capacity.toml.

    Attributes:
        seconds: median and 99th percentile by step.
    """

    env: simpy.Environment
    rng: Random
    seconds: Mapping[str, tuple[float, float]]

    def _take(self, step: str) -> Generator[simpy.Event, Any, None]:
        median, p99 = self.seconds[step]
        yield self.env.timeout(self.rng.lognormvariate(math.log(median), math.log(p99 / median) / _P99))

    def deliver(self) -> Generator[simpy.Event, Any, None]:
        return self._take("deliver")

    def respond(self) -> Generator[simpy.Event, Any, None]:
        return self._take("respond")

    def receive(self) -> Generator[simpy.Event, Any, None]:
        return self._take("receive")

    def claim(self) -> Generator[simpy.Event, Any, None]:
        return self._take("claim")

    def pull(self) -> Generator[simpy.Event, Any, None]:
        return self._take("pull")

    def commit(self) -> Generator[simpy.Event, Any, None]:
        return self._take("commit")

    def start(self, function: str) -> Generator[simpy.Event, Any, None]:
        return self._take(f"start_{function}")


Demands = "Mapping[str, Mapping[str, float]]"


class LocalStations:
    """The steps on the local stack: each takes CPU time, which was measured when nothing else happened.

    The emulator and the local Plaid are one process of Python each, so that each runs on one core at a time; the cores
    are shared by all. A step takes its CPU time in slices, as processes that wait for a core get it.
    """

    def __init__(
        self,
        env: simpy.Environment,
        demands: Mapping[str, Mapping[str, float]],
        free: Sequence[float],
        depth: Callable[[], int],
    ) -> None:
        """Prepare the processes and the cores.

        Args:
            env: the simulation's.
            demands: seconds of CPU time of a webhook, a batch, a sync, a message that waits and an idle second, by
                process.
            free: cores that other programs leave, in each five seconds.
            depth: returns how many messages are in the queue.
        """
        self.env = env
        self._demands = demands
        self._free = free
        self._depth = depth
        self._cores = simpy.Resource(env, _CORES)
        self._processes = {name: simpy.Resource(env, 1) for name in ("emulator", "plaid")}
        env.process(self._idle())

    def _run(self, thing: str, process: str, share: float) -> Generator[simpy.Event, Any, None]:
        """Take a share of the CPU time that a thing takes of a process."""
        left = self._demands[thing].get(process, 0.0) * share
        while left > 0:
            part = min(left, _SLICE)
            left -= part
            if process in self._processes:
                with self._processes[process].request() as turn:
                    yield turn
                    yield from self._on_a_core(part)
            else:
                yield from self._on_a_core(part)

    def _on_a_core(self, seconds: float) -> Generator[simpy.Event, Any, None]:
        with self._cores.request() as core:
            yield core
            free = self._free[min(int(self.env.now / _SAMPLE), len(self._free) - 1)]
            speed = min(1.0, free / self._cores.count)  # what is free is shared, and a process has one core at most
            yield self.env.timeout(seconds / speed)

    def _idle(self) -> Generator[simpy.Event, Any, None]:
        while True:
            yield self.env.timeout(1.0)
            for process in self._demands["idle"]:
                yield from self._run("idle", process, 1.0)

    def deliver(self) -> Generator[simpy.Event, Any, None]:
        yield from self._run("webhook", "plaid", 0.5)
        yield from self._run("webhook", "emulator", 0.6)
        yield from self._run("waiting", "emulator", self._depth())
        yield from self._run("webhook", "webhook", 0.6)

    def respond(self) -> Generator[simpy.Event, Any, None]:
        yield from self._run("webhook", "webhook", 0.4)
        yield from self._run("webhook", "emulator", 0.4)
        yield from self._run("webhook", "plaid", 0.5)

    def receive(self) -> Generator[simpy.Event, Any, None]:
        yield from self._run("batch", "emulator", 1.0)
        yield from self._run("waiting", "emulator", 2 * self._depth())  # to receive, and to delete
        yield from self._run("batch", "sync", 1.0)

    def claim(self) -> Generator[simpy.Event, Any, None]:
        yield from self._run("sync", "sync", 0.4)
        yield from self._run("sync", "emulator", 0.5)

    def pull(self) -> Generator[simpy.Event, Any, None]:
        yield from self._run("sync", "sync", 0.2)
        yield from self._run("sync", "plaid", 1.0)

    def commit(self) -> Generator[simpy.Event, Any, None]:
        yield from self._run("sync", "sync", 0.4)
        yield from self._run("sync", "emulator", 0.5)

    def start(self, function: str) -> Generator[simpy.Event, Any, None]:  # noqa: ARG002 - the protocol's
        """Every process runs before the load begins."""
        yield self.env.timeout(0.0)


_CORES: Final = 2
_SAMPLE: Final = 5.0
_SLICE: Final = 0.002
"""Seconds: about what Linux gives a process when others wait."""
