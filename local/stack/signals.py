"""End a program in order when it is asked to, whatever it is doing; and end what it has started."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Stopped(BaseException):
    """The program was asked to end. Not an `Exception`: nothing on the way may take it for a failure and go on."""


@contextmanager
def stopping_in_order() -> Iterator[None]:
    """Turn the first request to end into the end of the `with` block, and ignore further ones while it cleans up.

    A shell starts background jobs with SIGINT ignored: they, too, end on it.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise Stopped

    former = {number: signal.signal(number, stop) for number in STOP_SIGNALS}
    try:
        yield
    except Stopped:
        pass
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def end_group(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Give a process that was asked to end so long to do it, then end all that is left of its process group.

    Args:
        process: The group's leader.
        seconds: How long.
    """
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin:
        process.stdin.close()
