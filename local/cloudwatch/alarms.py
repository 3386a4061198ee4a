"""Alarms that are evaluated as on AWS: every second, and before CloudWatch answers a request.

The emulator itself evaluates an alarm only when a metric arrives through its API, mixes the metric's series, and knows
neither missing data nor numbers of datapoints nor periods nor metric math.
"""

from __future__ import annotations

import asyncio
import logging
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

from local.cloudwatch.clock import AlarmClock
from local.cloudwatch.evaluation import Values, evaluate, values_of_math
from local.cloudwatch.metrics import QueueGauges, Recorder, record_services
from local.cloudwatch.resource_types import add_resource_types

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_TICK_SECONDS = 1.0


def install(logs: Path) -> None:
    """Extend the emulator's CloudWatch before it starts; the alarms' clock is a file in its folder for logs."""
    recorder = Recorder()
    record_services(recorder)
    add_resource_types()
    AlarmWatch(recorder, AlarmClock.create(logs)).install()


class AlarmWatch:
    """Keeps metrics and alarms up to date, in the thread that serves the emulator's requests."""

    def __init__(self, recorder: Recorder, clock: AlarmClock) -> None:
        self._recorder = recorder
        self._clock = clock
        self._gauges = QueueGauges(recorder)
        self._cloudwatch: Any = import_module("ministack.services.cloudwatch")

    def install(self) -> None:
        """Update before every request to CloudWatch is answered, and every second."""
        app: Any = import_module("ministack.app")
        handle, lifespan = self._cloudwatch.handle_request, app._handle_lifespan  # noqa: SLF001 - see `local.stack.serve`

        async def update_and_handle(*request: Any) -> Any:  # noqa: ANN401
            self.update()
            return await handle(*request)

        async def live(*scope: Any) -> None:  # noqa: ANN401
            ticking = asyncio.create_task(self._tick())
            try:
                await lifespan(*scope)
            finally:
                ticking.cancel()

        self._cloudwatch.handle_request = update_and_handle
        self._cloudwatch._evaluate_alarm = self.evaluate  # noqa: SLF001
        app._handle_lifespan = live  # noqa: SLF001

    def update(self) -> None:
        """Measure the queues, store what was recorded, and evaluate every alarm."""
        self._gauges.measure()
        self._recorder.store()
        for alarm in self._cloudwatch._alarms.values():  # noqa: SLF001
            self.evaluate(alarm)

    def evaluate(self, alarm: dict[str, Any]) -> None:
        """Set an alarm's state, and run its actions."""
        cloudwatch = self._cloudwatch
        found = evaluate(alarm, self._values(alarm))
        if found.state == alarm["StateValue"]:
            return
        former, alarm["StateValue"] = alarm["StateValue"], found.state
        alarm["StateReason"], alarm["StateUpdatedTimestamp"] = found.reason, int(time.time())
        cloudwatch._record_history(alarm["AlarmName"], former, found.state, found.reason)  # noqa: SLF001
        cloudwatch._dispatch_alarm_actions(alarm, former, found.state, found.reason)  # noqa: SLF001

    def _values(self, alarm: dict[str, Any]) -> Values:
        periods = alarm["EvaluationPeriods"]
        if "Metrics" in alarm:
            return values_of_math(alarm["Metrics"], lambda source: self._series(source["Metric"], source, periods))
        statistic = alarm.get("ExtendedStatistic") or alarm["Statistic"]
        return self._series(alarm, {**alarm, "Stat": statistic}, periods)

    def _series(self, metric: Mapping[str, Any], source: Mapping[str, Any], number: int) -> Values:
        """Return a metric's statistic in the newest periods; `source` has `Stat`, `Period` and maybe `Unit`."""
        cloudwatch, now, period = self._cloudwatch, self._clock(), int(source["Period"])
        dimensions = {each["Name"]: each["Value"] for each in metric.get("Dimensions") or []}
        key = (metric["Namespace"], metric["MetricName"], cloudwatch._dims_key(dimensions))  # noqa: SLF001
        periods: list[list[dict[str, Any]]] = [[] for _ in range(number)]
        for point in cloudwatch._metrics.get(key, ()):  # noqa: SLF001
            age = int((now - point["Timestamp"]) // period)
            if 0 <= age < number and source.get("Unit") in {None, point["Unit"]}:
                periods[age].append(point)
        return [
            cloudwatch._stat_value(cloudwatch._calc_stats(points), source["Stat"], points) if points else None  # noqa: SLF001
            for points in periods
        ]

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            try:
                self.update()
            except Exception:
                # It is in the emulator's log. A watch that ends unseen would freeze every alarm.
                logging.getLogger(__name__).exception("alarms were not evaluated")
