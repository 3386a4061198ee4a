"""What limits the system: rates, a FIFO queue, and levels that are measured over time."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from itertools import count
from math import inf
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import simpy

Item = int
_EPSILON: Final = 1e-9
"""Seconds: sums of times are not exact."""


@dataclass(slots=True)
class Rate:
    """A rate with a burst, as a token bucket: units a second, which may be infinite.

    Attributes:
        used: units so far.
        refused: how often no token was there.
    """

    env: simpy.Environment
    per_second: float
    burst: float = 1.0
    used: float = 0.0
    refused: int = 0
    _free_at: float = -inf

    def wait(self, units: float = 1.0) -> float:
        """Take tokens; return the seconds until they are there: a client that retries gets them then."""
        self.used += units
        if self.per_second == inf:
            return 0.0
        self._free_at = max(self._free_at, self.env.now - self.burst / self.per_second) + units / self.per_second
        seconds = max(0.0, self._free_at - self.env.now)
        self.refused += seconds > 0
        return seconds

    def allows(self) -> bool:
        """Take a token if one is there."""
        if self.per_second == inf:
            return True
        if (
            max(self._free_at, self.env.now - self.burst / self.per_second) + 1 / self.per_second
            > self.env.now + _EPSILON
        ):
            self.refused += 1
            return False
        self.wait()
        return True


@dataclass(slots=True)
class Window:
    """So many calls in each minute, counted in a sliding window, as the local Plaid does it."""

    env: simpy.Environment
    per_minute: float
    used: int = 0
    _calls: deque[float] = field(default_factory=deque)

    @property
    def is_full(self) -> bool:
        while self._calls and self._calls[0] <= self.env.now - 60:
            self._calls.popleft()
        return len(self._calls) >= self.per_minute

    def count(self) -> None:
        """Count a call that is allowed."""
        self._calls.append(self.env.now)
        self.used += 1


@dataclass(frozen=True, slots=True)
class Batch:
    """The messages of one Item that were received together: each with its number in the queue, and when it was sent."""

    item: Item
    messages: list[tuple[int, float]]

    @property
    def newest(self) -> float:
        return self.messages[-1][1]


@dataclass(slots=True)
class FifoQueue:
    """An SQS FIFO queue with one message group for each Item: a group is closed while its messages are in flight.

    Attributes:
        max_in_flight: SQS hands out no more messages than these.
        whole_groups: a receive takes as many messages of a group as possible, as SQS does; the emulator goes by their
            order alone.
        depth: messages that are not deleted.
    """

    env: simpy.Environment
    max_in_flight: float
    whole_groups: bool = True
    depth: int = 0
    in_flight: int = 0
    max_depth: int = 0
    _messages: dict[Item, deque[tuple[int, float]]] = field(default_factory=dict)
    _open: list[tuple[int, Item]] = field(default_factory=list)
    _closed: set[Item] = field(default_factory=set)
    _numbers: Any = field(default_factory=count)

    def send(self, item: Item) -> None:
        group = self._messages.setdefault(item, deque())
        group.append((next(self._numbers), self.env.now))
        self.depth += 1
        self.max_depth = max(self.max_depth, self.depth)
        if len(group) == 1 and item not in self._closed:
            heapq.heappush(self._open, (group[0][0], item))

    def receive(self, limit: int) -> list[Batch]:
        """Return the oldest messages of open groups."""
        taken: dict[Item, list[tuple[int, float]]] = {}
        while limit and self._open and self.in_flight < self.max_in_flight:
            _, item = heapq.heappop(self._open)
            group = self._messages[item]
            messages = [group.popleft() for _ in range(min(limit, len(group) if self.whole_groups else 1))]
            taken.setdefault(item, []).extend(messages)
            limit -= len(messages)
            self.in_flight += len(messages)
            if group and not self.whole_groups:
                heapq.heappush(self._open, (group[0][0], item))
        self._closed |= taken.keys()
        if not self.whole_groups:
            self._open = [(number, item) for number, item in self._open if item not in taken]
            heapq.heapify(self._open)
        return [Batch(item, messages) for item, messages in taken.items()]

    def delete(self, batch: Batch) -> None:
        """Delete received messages: their group is open again."""
        self.depth -= len(batch.messages)
        self._reopen(batch)

    def put_back(self, batch: Batch) -> None:
        """Make received messages visible, in their places."""
        self._messages[batch.item].extendleft(reversed(batch.messages))
        self._reopen(batch)

    def _reopen(self, batch: Batch) -> None:
        self.in_flight -= len(batch.messages)
        self._closed.discard(batch.item)
        if group := self._messages[batch.item]:
            heapq.heappush(self._open, (group[0][0], batch.item))
        else:
            del self._messages[batch.item]

    @property
    def has_open(self) -> bool:
        return bool(self._open)


@dataclass(slots=True)
class Level:
    """A number that changes over time, such as busy workers, with its mean and its maximum."""

    env: simpy.Environment
    value: int = 0
    maximum: int = 0
    _area: float = 0.0
    _since: float = 0.0

    def add(self, change: int) -> None:
        self._area += self.value * (self.env.now - self._since)
        self._since = self.env.now
        self.value += change
        self.maximum = max(self.maximum, self.value)

    @property
    def mean(self) -> float:
        self.add(0)
        return self._area / self.env.now if self.env.now else 0.0
