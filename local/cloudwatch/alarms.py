"""Alarms that are evaluated as on AWS: every second, and whenever anybody asks for them.

The emulator itself looks at them when a metric is put through its API only, takes the metric's other series for theirs,
and knows no missing data, no numbers of datapoints and no periods.
"""

from __future__ import annotations

import asyncio
import logging
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

from local.cloudwatch.evaluation import verdict_of
from local.cloudwatch.gauges import QueueGauges

if TYPE_CHECKING:
    from local.cloudwatch.clock import AlarmClock
    from local.cloudwatch.recorder import Recorder

_TICK_SECONDS = 1.0


class Watch:
    """Keeps metrics and alarms up to date, in the thread that serves the emulator's requests."""

    def __init__(self, recorder: Recorder, clock: AlarmClock) -> None:
        self._recorder = recorder
        self._clock = clock
        self._gauges = QueueGauges(recorder)
        self._cloudwatch: Any = import_module("ministack.services.cloudwatch")

    def install(self) -> None:
        """Have it look before every request to CloudWatch is answered, and every second."""
        app: Any = import_module("ministack.app")
        handle, lifespan = self._cloudwatch.handle_request, app._handle_lifespan  # noqa: SLF001 - see `local.stack.serve`

        async def look_and_handle(*request: Any) -> Any:  # noqa: ANN401
            self.look()
            return await handle(*request)

        async def live(*scope: Any) -> None:  # noqa: ANN401
            ticking = asyncio.create_task(self._tick())
            try:
                await lifespan(*scope)
            finally:
                ticking.cancel()

        self._cloudwatch.handle_request = look_and_handle
        self._cloudwatch._evaluate_alarm = self.evaluate  # noqa: SLF001
        app._handle_lifespan = live  # noqa: SLF001

    def look(self) -> None:
        """Measure the queues, store what was recorded, and evaluate every alarm."""
        self._gauges.measure()
        self._recorder.store()
        for alarm in self._cloudwatch._alarms.values():  # noqa: SLF001
            self.evaluate(alarm)

    def evaluate(self, alarm: dict[str, Any]) -> None:
        """Bring an alarm into the state that its metric calls for, with its actions and the alarms made of it."""
        cloudwatch = self._cloudwatch
        verdict = verdict_of(alarm, self._values(alarm))
        if verdict.state == alarm["StateValue"]:
            return
        former, alarm["StateValue"] = alarm["StateValue"], verdict.state
        alarm["StateReason"], alarm["StateUpdatedTimestamp"] = verdict.reason, int(time.time())
        cloudwatch._record_history(alarm["AlarmName"], former, verdict.state, verdict.reason)  # noqa: SLF001
        cloudwatch._dispatch_alarm_actions(alarm, former, verdict.state, verdict.reason)  # noqa: SLF001
        cloudwatch._evaluate_parent_alarms(alarm)  # noqa: SLF001

    def _values(self, alarm: dict[str, Any]) -> list[float | None]:
        """Return the alarm's statistic in each of its periods, the newest first."""
        dimensions = {each["Name"]: each["Value"] for each in alarm.get("Dimensions") or []}
        key = (alarm["Namespace"], alarm["MetricName"], self._cloudwatch._dims_key(dimensions))  # noqa: SLF001
        points, now, period = self._cloudwatch._metrics.get(key, ()), self._clock(), alarm["Period"]  # noqa: SLF001
        periods: list[list[dict[str, Any]]] = [[] for _ in range(alarm["EvaluationPeriods"])]
        for point in points:
            age = int((now - point["Timestamp"]) // period)
            if 0 <= age < len(periods) and alarm.get("Unit") in {None, point["Unit"]}:
                periods[age].append(point)
        return [self._statistic(alarm, points) for points in periods]

    def _statistic(self, alarm: dict[str, Any], points: list[dict[str, Any]]) -> float | None:
        if not points:
            return None
        name = alarm.get("ExtendedStatistic") or alarm["Statistic"]
        value: float | None = self._cloudwatch._stat_value(self._cloudwatch._calc_stats(points), name, points)  # noqa: SLF001
        return value

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            try:
                self.look()
            except Exception:
                # Told in the emulator's log; a watch that has ended unseen would make every alarm a lie.
                logging.getLogger(__name__).exception("alarms were not evaluated")
