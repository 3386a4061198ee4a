"""End a program in order on a signal, and end the processes that it has started."""

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
    """A signal to end has come. Not an `Exception`: no handler of failures may catch it and go on."""


@contextmanager
def stopping_in_order() -> Iterator[None]:
    """Turn the first signal to end into the end of the `with` block, and ignore further ones during the cleanup.

    A shell starts background jobs with SIGINT ignored: this makes them end on it, too.
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
    """Wait for a process to end after its signal, then kill the rest of its process group, which it leads."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin:
        process.stdin.close()
