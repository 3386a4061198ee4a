"""Schedules: what happens, step by step, as plain data drawn from a seed.

A step that has no subject does nothing, so that each subset of a schedule's steps is a schedule, too. So one that
diverges is easy to shrink, to print and to keep.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Final

from tests.simulation.faults.bank import GROWTH, REVERSAL, ROW_CHANGES
from tests.simulation.faults.boundary import PLAID, Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ITEM_WEBHOOKS: Final = ("ERROR", "LOGIN_REPAIRED", "PENDING_DISCONNECT", "PENDING_EXPIRATION", "NEW_ACCOUNTS_AVAILABLE")
"""Codes of ITEM webhooks that nothing caused."""
ITEM_ERRORS: Final = ("ITEM_LOGIN_REQUIRED", "INSTITUTION_DOWN", "ITEM_LOCKED", "USER_PERMISSION_REVOKED")
REGRANTS: Final = ("LOGIN_REPAIRED", "NEW_ACCOUNTS_AVAILABLE", "")
"""Which webhook reports that an account is listed again is not documented."""
CLOCK_ERRORS: Final = (0, 0, 0, -60, 60)
"""Seconds."""
WAITS: Final = (1, 31, 61, 130, 400, 4000, 20_000)
WRITE: Final = "DynamoDB.TransactWriteItems"
PAST_VISIBILITY: Final = (61, 301)
"""A little more than the visibility timeout, in seconds: after a heartbeat, and before the first one."""
_REFUSED: Final = (Fault.NOT_SENT, Fault.RESPONSE_LOST, Fault.THROTTLED, Fault.SERVER_ERROR)
OUTAGES: Final = {
    "DynamoDB": _REFUSED,
    "AmazonSQS": _REFUSED,
    "TrentService": _REFUSED,
    "secretsmanager": _REFUSED,
    PLAID: (
        *_REFUSED,
        Fault.PROXY_ERROR,
        Fault.UNKNOWN_ERROR,
        Fault.NOT_READY,
        Fault.STATUS_UNKNOWN,
        Fault.STATUS_MISSING,
    ),
}
"""What each call of a service meets in an outage."""
DEAD_CURSORS: Final = (Fault.CURSOR_REJECTED, Fault.CURSOR_MISSING, Fault.CURSOR_REPEATED, Fault.UNKNOWN_ERROR)


@dataclass(frozen=True, slots=True)
class Step:
    """One step: the name of a method of `Run`, and its arguments."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return json.dumps([self.name, self.arguments], ensure_ascii=False)


def parse(lines: list[str]) -> list[Step]:
    return [Step(*json.loads(line)) for line in lines]


def draw(seed: int) -> list[Step]:
    return list(_Generator(Random(f"faults {seed}")).schedule())  # noqa: S311 - reproducible on purpose


def _step(name: str, **arguments: object) -> Step:
    return Step(name, arguments)


@dataclass(frozen=True, slots=True)
class _Generator:
    """Draws schedules scene by scene: faults seldom come alone, and most of them need a beginning."""

    rng: Random

    def schedule(self) -> Iterator[Step]:
        rng = self.rng
        yield _step(
            "begin",
            spell_out=rng.random() < 0.3,
            hide_reverts=rng.random() < 0.4,
            null_cursor=rng.random() < 0.3,
            revoked_rows_removed=rng.random() < 0.5,
            keeps_gone_rows=rng.random() < 0.25,
            new_signatures=rng.random() < 0.7,
            page_size=rng.choice((1, 2, 3, 5)),
            transaction_size=rng.choice((1, 2, 3, 5)),
            part_size=rng.choice((1, 3, 6, 5000, 5000)),
            queue_clock_error=rng.choice(CLOCK_ERRORS),
        )
        yield self._link()
        if rng.random() < 0.7:
            yield from (_step("advance_history", item=0), _step("advance_history", item=0))
        if rng.random() < 0.6:
            yield from (self._deliver_webhooks(), _step("sync", clock_error=0))
        scenes: dict[Callable[[], Iterator[Step]], int] = {
            self._faults_in_a_worker: 8,
            self._paused_worker: 5,
            self._race: 4,
            self._changes_during_the_pull: 4,
            self._item_error: 3,
            self._outage: 4,
            self._dead_cursor: 2,
            self._accounts: 5,
            self._postings: 5,
            self._killed_again_and_again: 1,
            self._messages: 3,
            self._miscellaneous: 4,
        }
        for scene in rng.choices(list(scenes), list(scenes.values()), k=rng.randint(2, 6)):
            yield from scene()

    # ---- scenes

    def _faults_in_a_worker(self) -> Iterator[Step]:
        yield self._change_rows(*GROWTH)
        yield self._deliver_webhooks()
        yield self._receive(paused=False)
        if self.rng.random() < 0.5:
            yield self._advance_to_a_write(0)
            yield self._inject()
        for _ in range(self.rng.randint(0, 2)):
            yield self._advance()
            yield self._inject()
        if self.rng.random() < 0.7:
            yield self._change_rows(*(REVERSAL if self.rng.random() < 0.7 else ()))
        yield from self._end_of_scene()

    def _paused_worker(self) -> Iterator[Step]:
        """A worker is paused past its visibility timeout, its successor runs, and the first one resumes meanwhile."""
        yield self._change_rows(*GROWTH)
        yield self._deliver_webhooks()
        yield self._receive(paused=True)
        begun = self.rng.random()  # else it has not even loaded the Item
        if begun < 0.8:
            yield self._advance_to_a_write(0) if begun < 0.5 else self._advance()
        yield self._wait_past_visibility()
        yield self._change_rows(*(REVERSAL if self.rng.random() < 0.7 else ()))
        yield self._deliver_webhooks()
        yield self._receive(paused=False)
        if self.rng.random() < 0.5:
            yield self._advance_to_a_write(1)
        yield from self._interleaved()
        if self.rng.random() < 0.3:
            yield _step("inject", which=0, fault=Fault.CRASH_BEFORE.value, times=1)
        yield from self._end_of_scene()

    def _race(self) -> Iterator[Step]:
        for _ in range(self.rng.randint(2, 3)):
            yield self._change_rows()
            yield self._deliver_webhooks()
            yield self._receive(paused=True)
            yield self._advance()
            yield self._wait_past_visibility()
        yield from self._interleaved()
        yield from self._end_of_scene()

    def _changes_during_the_pull(self) -> Iterator[Step]:
        yield self._change_rows()
        yield self._deliver_webhooks()
        if self.rng.random() < 0.4:
            times, anywhere = self.rng.choice((1, 2, 6, 30)), self.rng.random() < 0.4
            yield _step("mutate_during_pagination", item=self._number(), times=times, anywhere=anywhere)
        yield self._receive(paused=False)
        for _ in range(self.rng.randint(1, 4)):
            yield self._advance()
            yield self._change_rows()
            if self.rng.random() < 0.3:
                yield _step("advance_history", item=self._number())
        yield from self._end_of_scene()

    def _item_error(self) -> Iterator[Step]:
        yield _step("set_item_error", item=self._number(), code=self.rng.choice(ITEM_ERRORS))
        yield self._change_rows()
        yield self._deliver_webhooks()
        yield self._receive(paused=self.rng.random() < 0.3)
        yield self._advance()
        yield _step("repair_login", item=self._number())
        yield self._deliver_webhooks()
        yield from self._end_of_scene()

    def _outage(self) -> Iterator[Step]:
        """A service fails for long, and workers and the sweep go on meanwhile."""
        yield self._change_rows()
        if self.rng.random() < 0.6:
            yield self._deliver_webhooks()
        service = self.rng.choice(list(OUTAGES))
        yield _step("begin_outage", service=service, fault=self.rng.choice(OUTAGES[service]).value)
        for _ in range(self.rng.randint(1, 4)):
            if self.rng.random() < 0.3:
                yield self._change_rows()
                yield self._deliver_webhooks()
            yield self._attempt()
        if self.rng.random() < 0.9:
            yield _step("end_outages")
        yield self._attempt()
        yield from self._end_of_scene()

    def _accounts(self) -> Iterator[Step]:
        """Accounts come and go, while workers run and die."""
        yield self._change_rows(*GROWTH)
        if self.rng.random() < 0.6:
            yield self._deliver_webhooks()
        for _ in range(self.rng.randint(1, 3)):
            if self.rng.random() < 0.5:
                yield self._receive(paused=self.rng.random() < 0.3)
                yield self._advance()
            yield self._change_account()
            if self.rng.random() < 0.5:
                yield self._change_rows()
            if self.rng.random() < 0.6:
                yield self._deliver_webhooks()
            if self.rng.random() < 0.5:
                yield self._advance()
                yield self._inject()
            if self.rng.random() < 0.5:
                yield self._attempt()
        yield from self._end_of_scene()

    def _postings(self) -> Iterator[Step]:
        """Annotated pending rows post, while their application annotates them and workers die."""
        yield self._change_rows("add pending", "add again")
        yield self._deliver_webhooks()
        yield _step("sync", clock_error=0)
        for _ in range(self.rng.randint(1, 4)):
            yield self._note()
        yield self._change_rows("post", "post", "remove newest")
        yield self._deliver_webhooks()
        yield self._receive(paused=self.rng.random() < 0.3)
        if self.rng.random() < 0.7:
            yield self._advance_to_a_write(0)
        for _ in range(self.rng.randint(1, 4)):
            yield self.rng.choice((self._note(), self._advance(), self._inject(), self._change_rows(*REVERSAL)))
        if self.rng.random() < 0.3:
            yield _step("expire_tombstones")
        yield from self._end_of_scene()

    def _note(self) -> Step:
        return _step("note", item=self._number(), row=self._number())

    def _dead_cursor(self) -> Iterator[Step]:
        yield _step("kill_cursor", item=self._number(), fault=self.rng.choice(DEAD_CURSORS).value)
        yield self._change_rows()
        yield self._deliver_webhooks()
        for _ in range(self.rng.randint(1, 3)):
            yield self._attempt()
        yield from self._end_of_scene()

    def _killed_again_and_again(self) -> Iterator[Step]:
        yield self._change_rows()
        yield self._deliver_webhooks()
        for _ in range(self.rng.choice((2, 6, 7))):
            yield self._receive(paused=False)
            yield _step("advance", which=0, calls=self.rng.choice((2, 3, 4, 6)))
            yield _step("inject", which=0, fault=Fault.CRASH_BEFORE.value, times=1)
            yield _step("wait", seconds=61)
        yield from self._end_of_scene()

    def _messages(self) -> Iterator[Step]:
        rng = self.rng
        for _ in range(rng.randint(1, 3)):
            yield self._change_rows()
            yield _step(
                "deliver_webhook",
                which=self._number(),
                times=rng.choice((1, 1, 2)),
                clock_error=rng.choice(CLOCK_ERRORS),
                fault_at=rng.randint(0, 3),
                fault=self._fault(),
            )
        if rng.random() < 0.3:
            yield _step("lose_webhook", which=self._number())
        if rng.random() < 0.4:
            yield _step("send_foreign_message", item=self._number(), body=rng.choice(("no JSON", "[]", "{}")))
        yield from self._end_of_scene()

    def _miscellaneous(self) -> Iterator[Step]:
        rng = self.rng
        yield rng.choice(
            (
                _step("rotate_signing_key", overlap=rng.choice((0, 600))),
                _step("rotate_secret", stored=rng.random() < 0.5),
                self._link(),
                _step("annotate", item=self._number(), row=self._number()),
                _step("annotate", item=self._number(), row=self._number()),
                self._remove(),
                self._change_account(),
                _step("send_item_webhook", item=self._number(), code=rng.choice(ITEM_WEBHOOKS)),
                _step("redrive"),
                _step("stop_heartbeats", stopped=rng.random() < 0.7),
                self._sweep(),
                _step("expire_tombstones"),
            )
        )

    # ---- steps

    def _end_of_scene(self) -> Iterator[Step]:
        """What is running ends, or is left as it is."""
        if self.rng.random() < 0.5:
            yield _step("finish", which=self._number())
        if self.rng.random() < 0.5:
            yield _step("wait", seconds=self.rng.choice(WAITS))
        if self.rng.random() < 0.5:
            yield self._attempt()

    def _attempt(self) -> Step:
        """Let a worker run, the sweep, or both when the next attempt is due."""
        return self.rng.choice(
            (
                _step("sync", clock_error=self.rng.choice(CLOCK_ERRORS)),
                _step("retry", item=self._number()),
                _step("wait", seconds=self.rng.choice(WAITS)),
                self._sweep(),
            )
        )

    def _sweep(self) -> Step:
        fault_at = self.rng.randint(1, 14) if self.rng.random() < 0.3 else 0
        return _step("sweep", fault_at=fault_at, fault=self._fault())

    def _wait_past_visibility(self) -> Step:
        return _step("wait", seconds=self.rng.choice(PAST_VISIBILITY))

    def _interleaved(self) -> Iterator[Step]:
        for _ in range(self.rng.randint(3, 8)):
            which, calls = self.rng.choice((0, 1)), self.rng.choice((1, 1, 2, 3, 5, 8))
            yield _step("advance", which=which, calls=calls) if self.rng.random() < 0.85 else self._inject()

    def _number(self) -> int:
        return self.rng.choice((0, 0, 0, 1, 2, 5))

    def _fault(self) -> str:
        return self.rng.choice(list(Fault)).value

    def _change_rows(self, *kinds: str) -> Step:
        names = kinds or tuple(ROW_CHANGES)
        changes = self.rng.choices(names, [ROW_CHANGES[name][0] for name in names], k=self.rng.randint(1, 8))
        return _step("change_rows", item=self._number(), changes=changes, webhook_lost=self.rng.random() < 0.1)

    def _deliver_webhooks(self) -> Step:
        return _step("deliver_webhooks", newest_first=self.rng.random() < 0.3)

    def _receive(self, *, paused: bool) -> Step:
        clock_error, count = self.rng.choice(CLOCK_ERRORS), self.rng.choice((10, 10, 1, 2))
        return _step("receive", count=count, clock_error=clock_error, paused=paused)

    def _advance(self) -> Step:
        return _step("advance", which=self._number(), calls=self.rng.choice((1, 1, 2, 3, 4, 5, 6, 8, 12)))

    def _advance_to_a_write(self, which: int) -> Step:
        return _step("advance_to", which=which, operation=WRITE, times=self.rng.choice((1, 1, 2, 2, 3)))

    def _inject(self) -> Step:
        fault = self._fault()
        return _step("inject", which=self._number(), fault=fault, times=self.rng.choice((1, 1, 1, 2, 3)))

    def _change_account(self) -> Step:
        rng, which = self.rng, {"item": self._number(), "account": self._number()}
        fault_at = rng.randint(1, 6) if rng.random() < 0.4 else 0
        return rng.choice(
            (
                _step("close_account", **which),
                _step("renumber_account", **which, webhook=rng.random() < 0.5),
                _step("revoke_account", **which, webhook=rng.random() < 0.7),
                _step("regrant_account", **which, code=rng.choice(REGRANTS)),
                _step("regrant_account", **which, code=rng.choice(REGRANTS)),
                _step("repeat_revocation", **which),
                _step("deselect_account", **which, fault_at=fault_at, fault=self._fault()),
            )
        )

    def _remove(self) -> Step:
        fault_at = self.rng.randint(1, 6) if self.rng.random() < 0.4 else 0
        fault = self._fault()
        return _step("remove", item=self._number(), erase=self.rng.random() < 0.5, fault_at=fault_at, fault=fault)

    def _link(self) -> Step:
        fault_at = self.rng.randint(1, 10) if self.rng.random() < 0.3 else 0
        fault = self._fault()
        return _step("link", transactions=self.rng.randint(0, 9), fault_at=fault_at, fault=fault)
