"""The visibility of a batch's messages follows the worker: short, and extended while the invocation lives.

A message group is closed while one of its messages is hidden. So a killed worker's Items are open again after a minute,
and a slow Item delays no other: the messages of Items that are not begun within seconds return to the queue at once,
and those of finished Items are deleted before the batch ends.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from plaid_sync.domain.clock import Clock
    from plaid_sync.domain.item import ItemId
    from plaid_sync.sync.ports import ReceivedMessages

VISIBILITY_SECONDS: Final = 60
"""How long a message stays hidden after its worker died."""
EXTEND_AFTER: Final = timedelta(seconds=20)
"""An extension that fails is repeated with each beat: there is time for many."""
_INTERVAL_SECONDS: Final = 1.0
RETURN_AFTER: Final = timedelta(seconds=5)
"""How long an Item waits for the other Items of its batch."""


class Timer(Protocol):
    """Calls a function every few seconds while the batch is processed."""

    def __call__(self, beat: Callable[[], None]) -> AbstractContextManager[None]:
        """Call `beat` until the context ends, in another thread."""
        ...


@contextmanager
def thread_timer(beat: Callable[[], None]) -> Iterator[None]:
    """Call `beat` every second, in a thread that ends with the context; implements `Timer`."""
    ended = Event()

    def run() -> None:
        while not ended.wait(_INTERVAL_SECONDS):
            beat()

    thread = Thread(target=run, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@dataclass(slots=True)
class Heartbeat:
    """The messages of one batch; `beat` may be called by another thread.

    Attributes:
        handles: receipt handles by Item, of Items that are not begun.
        failures: how often the visibility of a message could not be changed.
    """

    messages: ReceivedMessages
    clock: Clock
    handles: dict[ItemId, Sequence[str]]
    failures: int = 0
    _current: Sequence[str] = ()
    _finished: list[str] = field(default_factory=list)
    _returning: list[str] = field(default_factory=list)
    _began_at: datetime = field(init=False)
    _extend_at: datetime = field(init=False)
    _lock: Lock = field(default_factory=Lock)

    @classmethod
    def start(cls, messages: ReceivedMessages, clock: Clock, handles: Mapping[ItemId, Sequence[str]]) -> Heartbeat:
        """Hide all messages for `VISIBILITY_SECONDS`."""
        heartbeat = cls(messages, clock, dict(handles))
        heartbeat._began_at = clock.now()
        heartbeat._extend([handle for received in handles.values() for handle in received])
        return heartbeat

    def begin(self, item_id: ItemId) -> bool:
        """Begin an Item; return False where its messages have returned to the queue."""
        with self._lock:
            received = self.handles.pop(item_id, None)
            if received is None:
                return False
            self._current = received
            return True

    def finish(self, *, deletable: Sequence[str]) -> None:
        """End the Item that was begun: some of its messages can be deleted now."""
        with self._lock:
            self._current = ()
            self._finished += deletable

    def beat(self) -> None:
        """Extend, return and delete messages as the time demands."""
        with self._lock:
            now = self.clock.now()
            if now - self._began_at >= RETURN_AFTER:
                self._return_unbegun(now)
                self._finished = self.messages.delete(self._finished) if self._finished else []
            if now >= self._extend_at:
                self._extend(self._current)

    def _return_unbegun(self, now: datetime) -> None:
        self._returning += [handle for received in self.handles.values() for handle in received]
        self.handles.clear()
        if now - self._began_at >= timedelta(seconds=VISIBILITY_SECONDS):
            self._returning = []  # they are visible by themselves
        self._returning = self._hide(self._returning, 0)

    def _extend(self, handles: Sequence[str]) -> None:
        now = self.clock.now()
        self._extend_at = now if self._hide(handles, VISIBILITY_SECONDS) else now + EXTEND_AFTER

    def _hide(self, handles: Sequence[str], seconds: int) -> list[str]:
        """Change the visibility of messages; return those for which that failed."""
        failed = self.messages.change_visibility(handles, seconds) if handles else []
        self.failures += len(failed)
        return failed
