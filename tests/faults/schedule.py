"""Schedules: what happens, step by step, as plain data drawn from a seed.

A step that finds nothing to do does nothing, so that any selection of a schedule's steps is a schedule, too: that is
what makes a diverging one easy to shrink, to print and to keep.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Final

from tests.faults.boundary import Strike

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NEWS: Final = {
    "adds": 6,
    "adds pending": 3,
    "modifies": 5,
    "touches": 2,
    "removes": 4,
    "posts": 4,
    "churns": 2,
    "flashes": 2,
    "removes unknown": 1,
    "takes back": 8,
    "brings back": 6,
    "changes back": 5,
}
"""What the bank may do to the rows, and how often."""
HINTS: Final = ("ERROR", "LOGIN_REPAIRED", "PENDING_DISCONNECT", "PENDING_EXPIRATION", "NEW_ACCOUNTS_AVAILABLE")
"""ITEM webhooks that may be old news."""
GROWTH: Final = ("adds", "adds pending", "modifies", "removes", "brings back")
DECLINE: Final = ("takes back", "removes", "changes back", "posts")
"""What is seen by one worker, and taken back before the next one looks."""
TROUBLES: Final = ("ITEM_LOGIN_REQUIRED", "INSTITUTION_DOWN", "ITEM_LOCKED", "USER_PERMISSION_REVOKED")
CLOCK_ERRORS: Final = (0, 0, 0, -60, 60)
"""Seconds by which a clock may be wrong."""
WAITS: Final = (1, 31, 130, 400, 1000, 1900)
WRITE: Final = "DynamoDB.TransactWriteItems"
VISIBILITY_SECONDS: Final = 1900
"""A little more than the queue's visibility timeout."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happens: the name of a method of `Run`, and its arguments."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """Write it as it is kept."""
        return json.dumps([self.name, self.arguments], ensure_ascii=False)


def read(lines: list[str]) -> list[Step]:
    """Read steps as they were written."""
    return [Step(*json.loads(line)) for line in lines]


def draw(seed: int) -> list[Step]:
    """Return the schedule of a seed."""
    return list(_Author(Random(f"faults {seed}")).schedule())  # noqa: S311 - reproducible on purpose


@dataclass(frozen=True, slots=True)
class _Author:
    """Writes schedules scene by scene: what goes wrong seldom does so alone, and most of it needs a beginning."""

    rng: Random

    def schedule(self) -> Iterator[Step]:
        rng = self.rng
        yield Step(
            "begin",
            {
                "spell_out": rng.random() < 0.3,
                "hide_reverts": rng.random() < 0.4,
                "null_cursor": rng.random() < 0.3,
                "repeats_signed_anew": rng.random() < 0.7,
                "page": rng.choice((1, 2, 3, 5)),
                "transaction": rng.choice((1, 2, 3, 5)),
                "queues_ahead": rng.choice(CLOCK_ERRORS),
            },
        )
        yield self._link()
        if rng.random() < 0.7:
            yield from (Step("history_arrives", {"item": 0}), Step("history_arrives", {"item": 0}))
        if rng.random() < 0.6:
            yield from (self._webhooks(), Step("sync", {"ahead": 0}))
        scenes: dict[Callable[[], Iterator[Step]], int] = {
            self._worker_is_struck: 8,
            self._worker_is_frozen: 5,
            self._workers_race: 4,
            self._data_move: 4,
            self._trouble: 3,
            self._messages: 3,
            self._odds: 4,
        }
        for scene in rng.choices(list(scenes), list(scenes.values()), k=rng.randint(2, 6)):
            yield from scene()

    # ---- scenes

    def _worker_is_struck(self) -> Iterator[Step]:
        yield self._bank(*GROWTH)
        yield self._webhooks()
        yield self._receive(suspended=False)
        if self.rng.random() < 0.5:
            yield self._to_a_write(0)
            yield self._strike()
        for _ in range(self.rng.randint(0, 2)):
            yield self._go_on()
            yield self._strike()
        if self.rng.random() < 0.7:
            yield self._bank(*(DECLINE if self.rng.random() < 0.7 else ()))
        yield from self._rest()

    def _worker_is_frozen(self) -> Iterator[Step]:
        """It sleeps through its visibility timeout, its successor works, and somewhere in between it wakes."""
        yield self._bank(*GROWTH)
        yield self._webhooks()
        yield self._receive(suspended=True)
        begun = self.rng.random()  # else it has not even loaded the Item
        if begun < 0.8:
            yield self._to_a_write(0) if begun < 0.5 else self._go_on()
        yield Step("wait", {"seconds": VISIBILITY_SECONDS})
        yield self._bank(*(DECLINE if self.rng.random() < 0.7 else ()))
        yield self._webhooks()
        yield self._receive(suspended=False)
        if self.rng.random() < 0.5:
            yield self._to_a_write(1)
        yield from self._interleaved()
        if self.rng.random() < 0.3:
            yield Step("strike", {"which": 0, "strike": Strike.CRASH_BEFORE.value, "times": 1})
        yield from self._rest()

    def _workers_race(self) -> Iterator[Step]:
        for _ in range(self.rng.randint(2, 3)):
            yield self._bank()
            yield self._webhooks()
            yield self._receive(suspended=True)
            yield self._go_on()
            yield Step("wait", {"seconds": self.rng.choice((400, VISIBILITY_SECONDS, VISIBILITY_SECONDS))})
        yield from self._interleaved()
        yield from self._rest()

    def _data_move(self) -> Iterator[Step]:
        """The bank goes on while the pages are being read."""
        yield self._bank()
        yield self._webhooks()
        if self.rng.random() < 0.4:
            times, anywhere = self.rng.choice((1, 2, 6, 30)), self.rng.random() < 0.4
            yield Step("data_change_under_the_pull", {"item": self._number(), "times": times, "anywhere": anywhere})
        yield self._receive(suspended=False)
        for _ in range(self.rng.randint(1, 4)):
            yield self._go_on()
            yield self._bank()
            if self.rng.random() < 0.3:
                yield Step("history_arrives", {"item": self._number()})
        yield from self._rest()

    def _trouble(self) -> Iterator[Step]:
        rng = self.rng
        yield Step("trouble", {"item": self._number(), "code": rng.choice(TROUBLES)})
        yield self._bank()
        yield self._webhooks()
        yield self._receive(suspended=rng.random() < 0.3)
        yield self._go_on()
        yield Step("repair", {"item": self._number()})
        yield self._webhooks()
        yield from self._rest()

    def _messages(self) -> Iterator[Step]:
        rng = self.rng
        for _ in range(rng.randint(1, 3)):
            yield self._bank()
            yield Step(
                "webhook",
                {
                    "which": self._number(),
                    "times": rng.choice((1, 1, 2)),
                    "ahead": rng.choice(CLOCK_ERRORS),
                    "strike_at": rng.randint(0, 3),
                    "strike": rng.choice(list(Strike)).value,
                },
            )
        if rng.random() < 0.3:
            yield Step("webhook_is_lost", {"which": self._number()})
        if rng.random() < 0.4:
            yield Step("foreign_message", {"item": self._number(), "body": rng.choice(("no JSON", "[]", "{}"))})
        yield from self._rest()

    def _odds(self) -> Iterator[Step]:
        rng = self.rng
        yield rng.choice(
            (
                Step("signing_key_rotates", {"overlap": rng.choice((0, 600))}),
                Step("secret_rotates", {"told": rng.random() < 0.5}),
                self._link(),
                Step("annotate", {"item": self._number(), "row": self._number()}),
                Step("annotate", {"item": self._number(), "row": self._number()}),
                self._remove(),
                Step("account_withdrawn", {"item": self._number(), "account": self._number()}),
                Step("hint", {"item": self._number(), "code": rng.choice(HINTS)}),
                Step("redrive"),
                Step("tombstones_expire"),
            )
        )

    # ---- steps

    def _rest(self) -> Iterator[Step]:
        """Whatever is under way ends, or is left as it is."""
        if self.rng.random() < 0.5:
            yield Step("finish", {"which": self._number()})
        if self.rng.random() < 0.5:
            yield Step("wait", {"seconds": self.rng.choice(WAITS)})
        if self.rng.random() < 0.5:
            yield Step("sync", {"ahead": self.rng.choice(CLOCK_ERRORS)})

    def _interleaved(self) -> Iterator[Step]:
        """Two workers, now this one, now that one."""
        for _ in range(self.rng.randint(3, 8)):
            which, calls = self.rng.choice((0, 1)), self.rng.choice((1, 1, 2, 3, 5, 8))
            yield Step("go_on", {"which": which, "calls": calls}) if self.rng.random() < 0.85 else self._strike()

    def _number(self) -> int:
        return self.rng.choice((0, 0, 0, 1, 2, 5))

    def _bank(self, *kinds: str) -> Step:
        names = kinds or tuple(NEWS)
        what = self.rng.choices(names, [NEWS[name] for name in names], k=self.rng.randint(1, 8))
        return Step("bank", {"item": self._number(), "what": what, "lost": self.rng.random() < 0.1})

    def _webhooks(self) -> Step:
        return Step("webhooks", {"newest_first": self.rng.random() < 0.3})

    def _receive(self, *, suspended: bool) -> Step:
        ahead, count = self.rng.choice(CLOCK_ERRORS), self.rng.choice((10, 10, 1, 2))
        return Step("receive", {"count": count, "ahead": ahead, "suspended": suspended})

    def _go_on(self) -> Step:
        return Step("go_on", {"which": self._number(), "calls": self.rng.choice((1, 1, 2, 3, 4, 5, 6, 8, 12))})

    def _to_a_write(self, which: int) -> Step:
        return Step("go_on_to", {"which": which, "operation": WRITE, "times": self.rng.choice((1, 1, 2, 2, 3))})

    def _strike(self) -> Step:
        strike = self.rng.choice(list(Strike)).value
        return Step("strike", {"which": self._number(), "strike": strike, "times": self.rng.choice((1, 1, 1, 2, 3))})

    def _remove(self) -> Step:
        rng = self.rng
        at = rng.randint(1, 6) if rng.random() < 0.4 else 0
        strike = rng.choice(list(Strike)).value
        return Step("remove", {"item": self._number(), "erase": rng.random() < 0.5, "strike_at": at, "strike": strike})

    def _link(self) -> Step:
        rng = self.rng
        at = rng.randint(1, 8) if rng.random() < 0.3 else 0
        strike = rng.choice(list(Strike)).value
        return Step("link", {"transactions": rng.randint(0, 9), "strike_at": at, "strike": strike})
