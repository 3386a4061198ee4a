"""Runs one schedule: each step is a method here. At the end the world comes to rest, and everything is compared."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from local.plaid import Behavior, Phase
from tests.faults.boundary import Strike
from tests.faults.world import Sizes, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from local.plaid import PlaidSimulator
    from tests.faults.bench import Bench
    from tests.faults.schedule import Step
    from tests.faults.world import Invocation

MOST_LINKS: Final = 2


def _take_back(plaid: PlaidSimulator, item_id: str) -> None:
    """Remove the newest row: who has not seen it is told nothing of it."""
    live = plaid.item(item_id).log.live
    if live:
        plaid.remove(item_id, list(live)[-1], notify=False)


def _bring_back(plaid: PlaidSimulator, item_id: str) -> None:
    """Add the row again that was removed last; not one of an account that the user has withdrawn."""
    log, revoked = plaid.item(item_id).log, plaid.item(item_id).revoked
    removed = [change for change in log.changes if change.kind == "removed" and change.row]
    gone = [change.transaction_id for change in removed if change.account_id not in revoked]
    gone = [one for one in gone if one not in log.live]
    if gone:
        plaid.readd(item_id, gone[-1], notify=False)


def _change_back(plaid: PlaidSimulator, item_id: str) -> None:
    """Give the row that was modified last the content that it had before; change one first where none was."""
    log = plaid.item(item_id).log
    modified = [change.transaction_id for change in log.changes if change.kind == "modified"]
    modified = [one for one in modified if one in log.live]
    if not modified:
        plaid.modify(item_id, notify=False)
        return
    rows = [change.row for change in log.changes if change.transaction_id == modified[-1] and change.row]
    before = {name: value for name, value in rows[-2].items() if name != "transaction_id"}
    plaid.modify(item_id, modified[-1], notify=False, **before)


_NEWS: Final[dict[str, Callable[[PlaidSimulator, str], object]]] = {
    "adds": lambda plaid, item_id: plaid.add(item_id, notify=False),
    "adds pending": lambda plaid, item_id: plaid.add(item_id, pending=True, notify=False),
    "modifies": lambda plaid, item_id: plaid.modify(item_id, notify=False),
    "touches": lambda plaid, item_id: plaid.touch(item_id, 2, notify=False),
    "removes": lambda plaid, item_id: plaid.remove(item_id, notify=False),
    "posts": lambda plaid, item_id: plaid.post_pending(item_id, notify=False),
    "churns": lambda plaid, item_id: plaid.churn(item_id, notify=False),
    "flashes": lambda plaid, item_id: plaid.flash(item_id, notify=False),
    "removes unknown": lambda plaid, item_id: plaid.remove_unknown(item_id, notify=False),
    "takes back": _take_back,
    "brings back": _bring_back,
    "changes back": _change_back,
}


def run(bench: Bench, steps: Iterable[Step]) -> Counter[str]:
    """Run a schedule to its end; return what happened how often.

    Raises:
        DivergenceError: something that must hold does not.
    """
    one = Run(bench)
    try:
        for step in steps:
            getattr(one, step.name)(**step.arguments)
        one.end()
        return one.world.counts | Counter({"commits": one.world.watch.commits, "schedules": 1})
    finally:
        one.world.close()


@dataclass(slots=True)
class Run:
    """One schedule under way. Items, webhooks, rows and invocations are named by number, modulo how many there are."""

    bench: Bench
    world: World = field(init=False)
    repeats_signed_anew: bool = True

    def begin(  # noqa: PLR0913 - all that is otherwise from schedule to schedule
        self,
        *,
        spell_out: bool,
        hide_reverts: bool,
        null_cursor: bool,
        repeats_signed_anew: bool,
        page: int,
        transaction: int,
        queues_ahead: int,
    ) -> None:
        behavior = Behavior(
            rate_limits=False,
            legacy_webhooks=False,
            initial_seconds=None,
            historical_seconds=None,
            spell_out=spell_out,
            hide_reverts=hide_reverts,
            not_ready_cursor_null=null_cursor,
        )
        self.repeats_signed_anew = repeats_signed_anew
        self.world = World.create(self.bench, behavior, Sizes(page, transaction), timedelta(seconds=queues_ahead))

    def end(self) -> None:
        """Let everything come to rest, and compare; then sweep, and compare what lost webhooks had hidden."""
        self.world.settle()
        self.world.watch.check_acknowledged()
        self.world.watch.check_items(swept=False)
        self.world.sweep()
        self.world.watch.check_items(swept=True)

    # ---- Plaid and the bank

    def _item(self, number: int, *, ready: bool = False) -> str | None:
        plaid = self.world.plaid
        items = [
            one
            for one in self.world.items
            if not plaid.item(one).removed and (not ready or plaid.item(one).phase >= Phase.INITIAL)
        ]
        return items[number % len(items)] if items else None

    def bank(self, *, item: int, what: list[str], lost: bool) -> None:
        item_id, plaid = self._item(item, ready=True), self.world.plaid
        if item_id is None:
            return
        head = plaid.item(item_id).log.head
        for name in what:
            _NEWS[name](plaid, item_id)
        if plaid.item(item_id).log.head > head and plaid.item(item_id).sync_called:
            plaid.fire_webhook(item_id, "TRANSACTIONS", "SYNC_UPDATES_AVAILABLE")
            if lost:
                self.world.lose(self.world.undelivered()[-1])

    def history_arrives(self, *, item: int) -> None:
        item_id = self._item(item)
        if item_id is not None and self.world.plaid.item(item_id).phase < Phase.HISTORICAL:
            self.world.plaid.advance_phase(item_id)

    def trouble(self, *, item: int, code: str) -> None:
        item_id = self._item(item)
        if item_id is not None and self.world.plaid.item(item_id).error_code is None:
            self.world.plaid.set_item_error(item_id, code)

    def account_withdrawn(self, *, item: int, account: int) -> None:
        item_id = self._item(item, ready=True)
        if item_id is None:
            return
        accounts = [one["account_id"] for one in self.world.plaid.account_rows(item_id)]
        if len(accounts) > 1:
            self.world.plaid.revoke_account(item_id, accounts[account % len(accounts)])

    def hint(self, *, item: int, code: str) -> None:
        """Send an ITEM webhook that nothing has led to: an old one, or a warning."""
        item_id = self._item(item)
        if item_id is not None:
            self.world.hint(item_id, code)

    def repair(self, *, item: int) -> None:
        item_id = self._item(item)
        if item_id is not None and self.world.plaid.item(item_id).error_code is not None:
            self.world.plaid.repair_login(item_id)

    def data_change_under_the_pull(self, *, item: int, times: int, anywhere: bool) -> None:
        item_id = self._item(item)
        if item_id is not None:
            self.world.plaid.force_mutation(item_id, times, anywhere=anywhere)

    def signing_key_rotates(self, *, overlap: int) -> None:
        self.world.plaid.rotate_keys(overlap)

    def secret_rotates(self, *, told: bool) -> None:
        self.world.rotate_secret(told=told)

    # ---- webhooks

    def webhooks(self, *, newest_first: bool) -> None:
        """Deliver all that are waiting."""
        waiting = self.world.undelivered()
        for delivery in reversed(waiting) if newest_first else waiting:
            self._through(self.world.deliver(delivery, fresh=self.repeats_signed_anew, ahead=timedelta(0)))

    def webhook(self, *, which: int, times: int, ahead: int, strike_at: int, strike: str) -> None:
        waiting = self.world.undelivered()
        if not waiting:
            return
        delivery = waiting[which % len(waiting)]
        for _ in range(times):
            invocation = self.world.deliver(delivery, fresh=self.repeats_signed_anew, ahead=timedelta(seconds=ahead))
            self._through(invocation, strike_at, strike)

    def webhook_is_lost(self, *, which: int) -> None:
        waiting = self.world.undelivered()
        if waiting:
            self.world.lose(waiting[which % len(waiting)])

    # ---- workers

    def receive(self, *, count: int, ahead: int, suspended: bool) -> None:
        """Begin a sync, up to its first call."""
        self.world.sync(count, ahead=timedelta(seconds=ahead), suspended=suspended)

    def sync(self, *, ahead: int) -> None:
        """Sync whatever is visible, undisturbed."""
        self._through(self.world.sync(10, ahead=timedelta(seconds=ahead), suspended=False))

    def _live(self, which: int) -> Invocation | None:
        return self.world.live[which % len(self.world.live)] if self.world.live else None

    def go_on(self, *, which: int, calls: int) -> None:
        invocation = self._live(which)
        for _ in range(calls):
            self.world.step(invocation)

    def go_on_to(self, *, which: int, operation: str, times: int) -> None:
        """Go on up to the n-th call of an operation, and stop before it."""
        invocation, left = self._live(which), times
        while invocation is not None and invocation.actor.waiting is not None:
            left -= invocation.actor.waiting.operation == operation
            if left <= 0:
                return
            self.world.step(invocation)

    def strike(self, *, which: int, strike: str, times: int) -> None:
        invocation = self._live(which)
        for _ in range(times):
            self.world.step(invocation, Strike(strike))

    def finish(self, *, which: int) -> None:
        self._through(self._live(which))

    def _through(self, invocation: Invocation | None, strike_at: int = 0, strike: str = "") -> None:
        """Let an invocation run to its end, striking its n-th call (0: none)."""
        number = 0
        while invocation is not None and not invocation.actor.ended:
            number += 1
            self.world.step(invocation, Strike(strike) if number == strike_at else None)

    # ---- everything else

    def wait(self, *, seconds: int) -> None:
        self.world.wait(seconds)

    def link(self, *, transactions: int, strike_at: int, strike: str) -> None:
        if len(self.world.links) < MOST_LINKS:
            self._through(self.world.post_link(self.world.link(transactions)), strike_at, strike)

    def annotate(self, *, item: int, row: int) -> None:
        item_id = self._item(item)
        if item_id is not None:
            self.world.annotate(item_id, row)

    def remove(self, *, item: int, erase: bool = False, strike_at: int = 0, strike: str = "") -> None:
        item_id = self._item(item)
        if item_id is not None and len(self.world.items) == MOST_LINKS:
            self._through(self.world.remove(item_id, erase=erase), strike_at, strike)

    def foreign_message(self, *, item: int, body: str) -> None:
        self.world.send(body, self._item(item) or "strangers")
        self.world.counts["foreign messages"] += 1

    def redrive(self) -> None:
        self.world.redrive()

    def tombstones_expire(self) -> None:
        self.world.expire_tombstones()
