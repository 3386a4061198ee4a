"""Puts all of it into the emulator before that starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local.cloudwatch import sources
from local.cloudwatch.alarms import Watch
from local.cloudwatch.clock import AlarmClock
from local.cloudwatch.formation import add_resource_types
from local.cloudwatch.recorder import Recorder

if TYPE_CHECKING:
    from pathlib import Path


def install(logs: Path) -> None:
    """Extend the emulator's CloudWatch.

    Args:
        logs: The emulator's folder for logs, where the alarms' clock is made.
    """
    recorder = Recorder()
    sources.extract_logged(recorder)
    sources.count_invocations(recorder)
    sources.count_messages(recorder)
    sources.count_requests(recorder)
    sources.count_capacity(recorder)
    add_resource_types()
    Watch(recorder, AlarmClock.create(logs)).install()
