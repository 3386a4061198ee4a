"""Runs one schedule: each step is a method here. Then the world becomes quiescent, and everything is compared."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Literal

from plaid_sync.config import KEEP
from plaid_sync.domain.errors import WORKER_DIED
from plaid_sync.domain.item import ItemId
from plaid_sync.domain.schedule import ACCOUNTS_INTERVAL

from local.plaid import Behavior, Phase
from tests.simulation.faults.bank import ROW_CHANGES
from tests.simulation.faults.boundary import Fault
from tests.simulation.faults.checker import DivergenceError
from tests.simulation.faults.feed import PUBLISHING_FAULTS
from tests.simulation.faults.harness import set_limits
from tests.simulation.faults.world import LAMBDA_SECONDS, Link, World

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from local.plaid import Delivery
    from local.plaid.account_operations import RegrantCode
    from tests.simulation.faults.harness import Harness
    from tests.simulation.faults.schedule import Step
    from tests.simulation.faults.world import Invocation

WEBHOOK_URL: Final = "http://plaid-sync.test/webhooks/plaid"
MAX_LINKS: Final = 2
_MAX_REQUESTS: Final = 5
"""How often an application repeats a request whose response it did not get."""
_MAX_BATCHES: Final = 60
_MAX_SWEEPS: Final = 40
_A_DAY: Final = (ACCOUNTS_INTERVAL + timedelta(minutes=10)).total_seconds()
"""After so long the accounts of each Item are compared with Plaid's list, by any clock."""
_READY: Final = {
    "change_rows",
    "close_account",
    "renumber_account",
    "revoke_account",
    "regrant_account",
    "repeat_revocation",
    "deselect_account",
}
"""Steps that need an Item that Plaid has transactions of."""


def run(harness: Harness, steps: Sequence[Step]) -> Counter[str]:
    """Run a schedule to its end; return what happened how often.

    Raises:
        DivergenceError: an invariant is broken.
    """
    with closing(Run(harness, steps)) as schedule:
        schedule.execute()
        return schedule.counts | Counter({"commits": schedule.checker.commits, "notes": schedule.checker.noted})


class Run(World):
    """One schedule. Items, webhooks, rows and invocations are addressed by number, modulo how many there are.

    Attributes:
        warned: Items that Plaid sent an expiry warning about.
    """

    def __init__(self, harness: Harness, steps: Sequence[Step]) -> None:
        begin = steps[0].arguments
        behavior = Behavior(
            rate_limits=False,
            legacy_webhooks=False,
            initial_seconds=None,
            historical_seconds=None,
            spell_out=begin["spell_out"],
            hide_reverts=begin["hide_reverts"],
            not_ready_cursor_null=begin["null_cursor"],
            revoked_rows_removed=begin.get("revoked_rows_removed", True),
        )
        set_limits(begin["page_size"], begin["transaction_size"], begin["part_size"])
        keeps_gone_rows = begin.get("keeps_gone_rows", False)
        changes = {"GONE_ACCOUNT_ROWS": KEEP if keeps_gone_rows else "remove", "TRANSACTION_EVENTS": "true"}
        super().__init__(harness, behavior, timedelta(seconds=begin["queue_clock_error"]), changes)
        self.checker.keeps_gone_rows = keeps_gone_rows
        self.steps = steps[1:]
        self.new_signatures: bool = begin["new_signatures"]
        self.warned: set[str] = set()

    def execute(self) -> None:
        """Execute the steps. Let the world become quiescent, and compare.

        Then let a day pass, and the time of each Item's routine attempt come, and compare again: lost webhooks are made
        up for, and what no webhook reports is found.
        """
        for step in self.steps:
            arguments = dict(step.arguments)
            if "item" in arguments:
                arguments["item"] = self._item(arguments["item"], ready=step.name in _READY)
                if not arguments["item"] and step.name != "send_foreign_message":
                    continue
            getattr(self, step.name)(**arguments)
            self._publish_sometimes()
        self._settle()
        self._sweep_until(self.checker.is_settled)
        self.checker.check_webhooks()
        self.checker.check_items(swept=False)
        self.wait(_A_DAY)
        swept: set[str] = set()
        self._sweep_until(lambda item_id: self._is_done(item_id, swept), swept)
        self.checker.check_items(swept=True)
        self._check_dead_letters()
        self._check_feed()

    def _publish_sometimes(self) -> None:
        """Publish now and then, with faults: drawn apart from the steps, which shrinking takes out."""
        rng = self.bus.rng
        if rng.random() < 0.4:
            fault_at = rng.randint(1, 4) if rng.random() < 0.4 else 0
            self.publish(fault_at, rng.choice(PUBLISHING_FAULTS).value)
        for item_id in self.items if rng.random() < 0.1 else ():
            self.bus.join(self.harness.snapshots.read(ItemId(item_id)))

    def _check_feed(self) -> None:
        """Publish the rest, and compare what a consumer knows with the tables."""
        for _ in range(_MAX_BATCHES):
            if not self.publish():
                break
        self.bus.deliver()
        for item_id, item in self.checker.items.items():
            if item.followed:
                self.bus.check(item_id, self.checker)
        self.counts["events"] += len(self.bus.archive)
        self.counts["commits compared with the feed"] += len(self.checker.committed)

    def _item(self, number: int, *, ready: bool) -> str:
        """Return an Item that is not removed; empty: there is none."""
        items = [
            item_id
            for item_id in self.items
            if not self.plaid.item(item_id).removed and (not ready or self.plaid.item(item_id).phase >= Phase.INITIAL)
        ]
        return items[number % len(items)] if items else ""

    # ---- Plaid and the bank

    def change_rows(self, *, item: str, changes: list[str], webhook_lost: bool) -> None:
        head = self.plaid.item(item).log.head
        for name in changes:
            _, change = ROW_CHANGES[name]
            change(self.plaid, item)
        if self.plaid.item(item).log.head > head and self.plaid.item(item).sync_called:
            self.plaid.fire_webhook(item, "TRANSACTIONS", "SYNC_UPDATES_AVAILABLE")
            if webhook_lost:
                self.lose(self.undelivered()[-1])

    def advance_history(self, *, item: str) -> None:
        if self.plaid.item(item).phase < Phase.HISTORICAL:
            self.plaid.advance_phase(item)

    def set_item_error(self, *, item: str, code: str) -> None:
        if self.plaid.item(item).error_code is None:
            self.plaid.set_item_error(item, code)

    def repair_login(self, *, item: str) -> None:
        if self.plaid.item(item).error_code is not None:
            self.plaid.repair_login(item)

    def close_account(self, *, item: str, account: int) -> None:
        """Let the bank close an account, which no webhook reports."""
        if closed := self._closable(item, account):
            self.plaid.close_account(item, closed)
            self._close(item, closed, reported=False)

    def renumber_account(self, *, item: str, account: int, webhook: bool) -> None:
        """Let the bank renumber an account; a webhook reports at most that there are transactions."""
        if closed := self._closable(item, account):
            self.plaid.renumber_account(item, closed)
            self._close(item, closed, reported=False)
            if webhook and self.plaid.item(item).sync_called:
                self.plaid.fire_webhook(item, "TRANSACTIONS", "SYNC_UPDATES_AVAILABLE")

    def revoke_account(self, *, item: str, account: int, webhook: bool = True) -> None:
        if closed := self._closable(item, account):
            self.plaid.revoke_account(item, closed, notify=webhook)
            self._close(item, closed, reported=webhook)

    def regrant_account(self, *, item: str, account: int, code: RegrantCode | Literal[""]) -> None:
        """List an account again that was closed, revoked or deselected; without a code, no webhook reports it."""
        if unlisted := list(self.plaid.item(item).unlisted):
            returned = unlisted[account % len(unlisted)]
            if code:
                self.plaid.regrant_account(item, returned, webhook_code=code)
            else:
                self.plaid.regrant_account(item, returned, notify=False)
                self.checker.item(item).unreported = True

    def repeat_revocation(self, *, item: str, account: int) -> None:
        """Let an old webhook arrive that says that an account was withdrawn which Plaid lists."""
        accounts = [row["account_id"] for row in self.plaid.account_rows(item)]
        account_id = accounts[account % len(accounts)]
        self.plaid.fire_webhook(item, "ITEM", "USER_ACCOUNT_REVOKED", account_id=account_id)

    def deselect_account(self, *, item: str, account: int, fault_at: int, fault: str) -> None:
        """Let the user deselect an account in an update mode, and the application report that it is finished."""
        closed, link_token = self._closable(item, account), self.request_update_mode(item)
        if closed and link_token:
            self.plaid.complete_link(link_token, deselect=[closed])
            self._close(item, closed, reported=True)
            self.complete(self.finish_update_mode(item, link_token), fault_at, fault)

    def _closable(self, item: str, account: int) -> str | None:
        """Return an account that Plaid can stop to list: one stays."""
        accounts = [str(row["account_id"]) for row in self.plaid.account_rows(item)]
        return accounts[account % len(accounts)] if len(accounts) > 1 else None

    def _close(self, item: str, account_id: str, *, reported: bool) -> None:
        observed = self.checker.item(item)
        observed.closed.add(account_id)
        observed.unreported = observed.unreported or not reported
        self.counts["accounts closed"] += 1

    def send_item_webhook(self, *, item: str, code: str) -> None:
        """Let Plaid send an ITEM webhook that nothing caused: an old one, or a warning."""
        self.plaid.fire_webhook(item, "ITEM", code)
        if code.startswith("PENDING"):
            self.warned.add(item)

    def mutate_during_pagination(self, *, item: str, times: int, anywhere: bool) -> None:
        self.plaid.force_mutation(item, times, anywhere=anywhere)

    def rotate_signing_key(self, *, overlap: int) -> None:
        self.plaid.rotate_keys(overlap)

    def rotate_secret(self, *, stored: bool) -> None:
        """Rotate Plaid's secret; the stored one follows now, or at the end of the schedule."""
        self.plaid.secret = f"{self.plaid.secret}+"
        if stored:
            self.harness.store_secret(self.plaid.secret)

    # ---- webhooks

    def deliver_webhooks(self, *, newest_first: bool) -> None:
        undelivered = self.undelivered()
        for delivery in reversed(undelivered) if newest_first else undelivered:
            self.complete(self.deliver(delivery, new_signature=self.new_signatures))

    def deliver_webhook(self, *, which: int, times: int, clock_error: int, fault_at: int, fault: str) -> None:
        error = timedelta(seconds=clock_error)
        for delivery in self._undelivered(which) * times:
            invocation = self.deliver(delivery, new_signature=self.new_signatures, clock_error=error)
            self.complete(invocation, fault_at, fault)

    def lose_webhook(self, *, which: int) -> None:
        for delivery in self._undelivered(which):
            self.lose(delivery)

    def _undelivered(self, which: int) -> list[Delivery]:
        """Return one of the webhooks that Plaid has not delivered yet, if there is one."""
        undelivered = self.undelivered()
        return [undelivered[which % len(undelivered)]] if undelivered else []

    # ---- workers

    def receive(self, *, count: int, clock_error: int, paused: bool) -> None:
        """Begin a sync, up to its first call."""
        self.invoke_sync(count, clock_error=timedelta(seconds=clock_error), paused=paused)

    def sync(self, *, clock_error: int) -> None:
        self.complete(self.invoke_sync(clock_error=timedelta(seconds=clock_error)))

    def _live(self, which: int) -> Invocation | None:
        return self.live[which % len(self.live)] if self.live else None

    def advance(self, *, which: int, calls: int) -> None:
        invocation = self._live(which)
        for _ in range(calls):
            self.step(invocation)

    def advance_to(self, *, which: int, operation: str, times: int) -> None:
        """Advance to the n-th call of an operation, and stop before it."""
        invocation, left = self._live(which), times
        while invocation is not None and invocation.waiting is not None:
            left -= invocation.waiting.operation == operation
            if left <= 0:
                return
            self.step(invocation)

    def inject(self, *, which: int, fault: str, times: int) -> None:
        invocation = self._live(which)
        for _ in range(times):
            self.step(invocation, Fault(fault))

    def finish(self, *, which: int) -> None:
        self.complete(self._live(which))

    # ---- everything else

    def link(self, *, transactions: int, fault_at: int, fault: str) -> None:
        """Let a user complete Link, and the application post the public token."""
        if len(self.links) < MAX_LINKS:
            token = self.plaid.create_public_token(WEBHOOK_URL, transactions, days=60)
            link = Link(token, self.plaid.public_tokens[token].item.item_id)
            self.links.append(link)
            self.complete(self.post_link(link), fault_at, fault)

    def annotate(self, *, item: str, row: int) -> None:
        self.checker.annotate(item, row)

    def note(self, *, item: str, row: int) -> None:
        self.checker.note(item, row)

    def remove(self, *, item: str, erase: bool, fault_at: int, fault: str) -> None:
        if len(self.items) == MAX_LINKS:
            self.complete(self.request_removal(item, erase=erase), fault_at, fault)

    def send_foreign_message(self, *, item: str, body: str) -> None:
        self.queues.send(body, item or "foreign")
        self.counts["foreign messages"] += 1

    def redrive(self) -> None:
        self.queues.redrive()

    def begin_outage(self, *, service: str, fault: str) -> None:
        self.outages[service] = Fault(fault)

    def end_outages(self) -> None:
        self.outages.clear()

    def stop_heartbeats(self, *, stopped: bool) -> None:
        self.heartbeats = not stopped

    def kill_cursor(self, *, item: str, fault: str) -> None:
        """Let Plaid refuse the Item's stored cursor from now on."""
        if cursor := self.checker.record(item).get("cursor"):
            self.dead_cursors[item] = cursor, Fault(fault)

    def sweep(self, *, fault_at: int, fault: str) -> None:
        self.complete(self.invoke_sweep(), fault_at, fault)

    def retry(self, *, item: str) -> None:
        """Let the time of the Item's next attempt come, sweep, and sync."""
        if self.checker.item(item).synced:
            self._wait_until(self.checker.planned(item))
            self.complete(self.invoke_sweep())
            self.complete(self.invoke_sync())

    def _wait_until(self, moment: datetime) -> None:
        self.wait(max(0.0, (moment - self.clock()).total_seconds()) + 1)

    def expire_tombstones(self) -> None:
        """Let the tombstones' lifetime pass, and DynamoDB delete them."""
        if not self.queues.size() and not self.live:  # a queue keeps messages for days, and a worker lives for minutes
            self.wait(timedelta(days=91).total_seconds())
            self.checker.expire(int(self.clock().timestamp()))

    # ---- the end

    def _settle(self) -> None:
        """Stop all faults and complete everything that began; lost webhooks stay lost."""
        plaid = self.plaid
        self.outages.clear()
        self.heartbeats = True
        for invocation in list(self.live):
            self.complete(invocation)
        self.harness.store_secret(plaid.secret)
        plaid.clear_faults()
        for item_id in self.items:
            plaid.force_mutation(item_id, 0)
            if plaid.item(item_id).error_code and not plaid.item(item_id).removed:
                plaid.repair_login(item_id)
            elif item_id in self.warned:
                plaid.fire_webhook(item_id, "ITEM", "LOGIN_REPAIRED")  # the user renews the connection
        self._repeat_requests()
        self._report_update_modes()
        for item_id in self.items:
            while not plaid.item(item_id).removed and plaid.item(item_id).phase < Phase.HISTORICAL:
                plaid.advance_phase(item_id)
        self._drain()

    def _check_dead_letters(self) -> None:
        """Check that no message was dead-lettered, but one whose processing killed the worker again and again."""
        for letter in self.queues.take_dead_letters():
            if letter.reason != WORKER_DIED:
                raise DivergenceError(f"{letter.group}: dead-lettered: {letter}")

    def _repeat_requests(self) -> None:
        """Let the application repeat the requests that got no final response."""
        for link in self.links:
            for _ in range(_MAX_REQUESTS):
                if link.status is None or 400 <= link.status < 500 or link.status == 201:
                    break
                self.complete(self.post_link(link))
        for item_id, erase in list(self.removals):
            for _ in range(_MAX_REQUESTS):
                if self.removals[item_id, erase] in {202, 404}:
                    break
                self.complete(self.request_removal(item_id, erase=erase))

    def _report_update_modes(self) -> None:
        """Let the application report the finished update modes, unless their link tokens have expired."""
        for (item_id, link_token), status in list(self.updates.items()):
            if not 200 <= status < 500:
                self.complete(self.finish_update_mode(item_id, link_token))
            if self.updates[item_id, link_token] != 202:
                self.checker.item(item_id).unreported = True

    def _drain(self) -> None:
        for _ in range(_MAX_BATCHES):
            for delivery in self.undelivered():
                self.complete(self.deliver(delivery))
            if invocation := self.invoke_sync():
                self.complete(invocation)
            elif not self.queues.size() and not self.undelivered():
                return
            else:
                self.wait(LAMBDA_SECONDS["sync"] + 1)
        raise AssertionError(f"the queue does not drain: {self.queues.size()} messages, {self.counts}")

    def _is_done(self, item_id: str, swept: set[str]) -> bool:
        covered = item_id in swept or not self.checker.item(item_id).synced
        return covered and self.checker.is_settled(item_id, after_a_day=True)

    def _sweep_until(self, is_done: Callable[[str], bool], swept: set[str] | None = None) -> None:
        """Let the time of the Items' next attempts come, one after the other, until all are done.

        Args:
            is_done: whether an Item is.
            swept: the Items that an attempt was due for are added to it.
        """
        for _ in range(_MAX_SWEEPS):
            followed = [item_id for item_id in self.items if self.checker.item(item_id).followed]
            left = {item_id: self.checker.planned(item_id) for item_id in followed if not is_done(item_id)}
            if not left:
                return
            self._wait_until(min(left.values()))
            if swept is not None:
                swept |= {item_id for item_id, moment in left.items() if moment <= self.clock()}
            self.complete(self.invoke_sweep())
            self._drain()
        raise DivergenceError(f"{next(iter(left))}: not settled after {_MAX_SWEEPS} sweeps")
