"""Puts metrics into the emulator's CloudWatch from any of its threads."""

from __future__ import annotations

import time
from importlib import import_module
from queue import Empty, SimpleQueue
from typing import Any

from local.cloudwatch.emf import Datum


class Recorder:
    """Metrics on their way: added by whichever thread has them, stored by the one that serves requests."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[Datum] = SimpleQueue()
        self._cloudwatch: Any = import_module("ministack.services.cloudwatch")

    def add(self, datum: Datum) -> None:
        """Add values of a metric."""
        self._waiting.put(datum)

    def count(self, namespace: str, name: str, dimensions: dict[str, str], value: float, unit: str = "Count") -> None:
        """Add one value of one of AWS's own metrics, as of now."""
        self.add(Datum(namespace, name, dimensions, time.time(), unit, {value: 1}))

    def store(self) -> None:
        """Store what was added."""
        while True:
            try:
                datum = self._waiting.get_nowait()
            except Empty:
                return
            values, counts = list(datum.values), [float(count) for count in datum.values.values()]
            self._cloudwatch._store_datum(  # noqa: SLF001 - see `local.stack.serve`
                datum.namespace,
                datum.name,
                dict(datum.dimensions),
                datum.timestamp,
                datum.unit,
                None,
                values,
                counts,
                None,
            )
