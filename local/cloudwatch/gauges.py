"""How many messages the emulator's queues hold, and how old the oldest is, as metrics."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from local.cloudwatch.recorder import Recorder

_REPEAT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class QueueGauges:
    """Measures queues: what changes is recorded at once, what does not every ten seconds; on AWS it is every minute.

    Attributes:
        last: What was recorded, and when, by queue and metric.
    """

    recorder: Recorder
    last: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)

    def measure(self) -> None:
        """Measure every queue."""
        queues: Any = import_module("ministack.services.sqs")
        now = queues.time.time()  # which may be another than this process's: see `serve.follow_queue_clock`
        for queue in queues._queues.values():  # noqa: SLF001 - see `local.stack.serve`
            queues._refresh_counts(queue)  # noqa: SLF001
            attributes, messages = queue["attributes"], list(queue["messages"])
            oldest = min((message.get("enqueued_at", message["sent_at"]) for message in messages), default=now)
            record = partial(self._record, attributes["QueueArn"].rpartition(":")[2])
            record("ApproximateNumberOfMessagesVisible", int(attributes["ApproximateNumberOfMessages"]))
            for state in ("NotVisible", "Delayed"):
                name = f"ApproximateNumberOfMessages{state}"
                record(name, int(attributes[name]))
            record("ApproximateAgeOfOldestMessage", int(now - oldest), "Seconds")

    def _record(self, queue: str, name: str, value: float, unit: str = "Count") -> None:
        last, when = self.last.get((queue, name), (-1.0, 0.0))
        if value != last or time.time() - when > _REPEAT_SECONDS:
            self.last[queue, name] = (value, time.time())
            self.recorder.count("AWS/SQS", name, {"QueueName": queue}, value, unit)
