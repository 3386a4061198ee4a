"""Let Items that another system linked move in, and out again, under faults, while their histories change.

Each request dies, loses responses and is throttled at any call, and the application repeats it. Webhooks before the
switch go to the other system, which is all that hears of those changes. When every import is answered and the first
syncs are done, long before a routine attempt, each table must equal Plaid's. Then every Item gets its webhooks back.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from io import StringIO
from random import Random
from typing import TYPE_CHECKING, Any, Final

import pyrage
import urllib3

from local.plaid import Phase
from tests.integration.harness import http_event
from tests.simulation.faults.bank import ROW_CHANGES
from tests.simulation.faults.boundary import Fault
from tests.simulation.faults.checker import DivergenceError
from tests.simulation.faults.harness import CLIENT_ID, harness
from tests.simulation.faults.run import Run
from tests.simulation.faults.schedule import Step
from tests.simulation.faults.world import Link

if TYPE_CHECKING:
    from local.plaid import Delivery
    from tests.simulation.faults.harness import Harness
    from tests.simulation.faults.world import Invocation

OTHER_SYSTEM: Final = "https://other-system.invalid/plaid"
ITEMS_OF_A_WORLD: Final = 5
FAULTS: Final = (
    *(Fault.CRASH_BEFORE, Fault.CRASH_AFTER, Fault.NOT_SENT, Fault.RESPONSE_LOST),
    *(Fault.THROTTLED, Fault.SERVER_ERROR, Fault.CONFLICT),
)
_KEY: Final = pyrage.x25519.Identity.generate()
"""Of the system that Items move out to."""
_FINAL: Final = {200, 201}
_MAX_REQUESTS: Final = 40
_PROGRESS: Final = 100
_SOON: Final = 180.0
"""Seconds after which the sweep has begun everything but routine attempts, which come after twelve hours."""


@dataclass(slots=True)
class Moved:
    """An Item that another system linked.

    Attributes:
        cursor: the end of the other system's pulls; None where the import pulls from the beginning.
    """

    item_id: str
    access_token: str
    cursor: str | None = None


class MoveIn(Run):
    """Some Items that move in, and out again.

    Attributes:
        log: what the functions log, and emit as metrics.
        responses: the bodies of all responses.
    """

    def __init__(self, shared: Harness, seed: int, log: StringIO, items: int = ITEMS_OF_A_WORLD) -> None:
        self.log, self.responses = log, list[str]()
        self.rng = Random(f"move in {seed}")  # noqa: S311 - reproducible on purpose
        self.number_of_items = items
        limits = {"page_size": self.rng.choice((3, 50)), "transaction_size": self.rng.choice((5, 12, 97))}
        begin = {"part_size": self.rng.choice((6, 5000)), "queue_clock_error": 0, "new_signatures": True}
        options = {"spell_out": self.rng.random() < 0.5, "hide_reverts": False, "null_cursor": False}
        super().__init__(shared, [Step("begin", limits | begin | options)])
        self.moved = [self._link_elsewhere() for _ in range(items)]

    def _link_elsewhere(self) -> Moved:
        """Let the other system link an Item and sync it, so that Plaid sends webhooks about its history."""
        linked = self.plaid.link_item(OTHER_SYSTEM, self.rng.randint(0, 12), 60, Phase.HISTORICAL)
        cursor = self._pull(linked.access_token)
        self.links.append(Link("", linked.item_id, 201))
        return Moved(linked.item_id, linked.access_token, cursor if self.rng.random() < 0.3 else None)

    def _pull(self, access_token: str) -> str:
        """Return the cursor at the end of the history, as the other system's sync does."""
        cursor, more = "", True
        while more:
            body = {"client_id": CLIENT_ID, "secret": self.plaid.secret, "access_token": access_token, "cursor": cursor}
            response = urllib3.request("POST", f"{self.harness.server.base_url}/transactions/sync", json=body).json()
            cursor, more = response["next_cursor"], response["has_more"]
        return str(cursor)

    def execute(self) -> None:
        """Let them move in, and out again."""
        for moved in self.moved:
            self._change(moved.item_id)
        for moved in self.rng.sample(self.moved, len(self.moved)):
            self._import(moved)
        self._come_to_rest()
        self._check(moved_in=True)
        for moved in self.moved:
            if moved.cursor is not None:
                self._request(http_event("POST", f"/items/{moved.item_id}/resync"), {202})
                self.checker.item(moved.item_id).imported_at = 0
        self._come_to_rest()
        self._check(moved_in=True)
        for moved in self.rng.sample(self.moved, len(self.moved)):
            self._move_out(moved)
        for _ in range(3):  # a removal whose worker died is swept, and again after a failure
            self._end_workers()
            self.wait(_SOON)
            self.complete(self.invoke_sweep())
        self._end_workers()
        self._check(moved_in=False)

    def _move_out(self, moved: Moved) -> None:
        """Export the token, restore the webhook URL, and remove the Item here alone."""
        body = json.dumps({"recipient": str(_KEY.to_public())})
        exported = self._request(http_event("POST", f"/access-tokens/{moved.item_id}/export", body), {200})
        document = json.loads(pyrage.decrypt(json.loads(exported["body"])["encrypted"].encode(), [_KEY]))
        if document["access_token"] != moved.access_token:
            raise DivergenceError(f"{moved.item_id}: another token was exported")
        self._request(http_event("DELETE", f"/items/{moved.item_id}/webhook"), {200})
        query = {"transactions": "erase", "at_plaid": "keep"}
        self._request(http_event("DELETE", f"/items/{moved.item_id}", query=query), {202})

    def _import(self, moved: Moved) -> None:
        body = {"access_token": moved.access_token, "client_user_id": "user"}
        observed = self.checker.item(moved.item_id)
        if moved.cursor is not None:
            body["cursor"] = observed.cursor = moved.cursor
            observed.position = observed.imported_at = self.plaid.final_cursors(moved.item_id)[moved.cursor]
        self._request(http_event("POST", "/items/import", json.dumps(body)), _FINAL, moved.item_id)
        observed.registered = True

    def _request(self, event: dict[str, Any], final: set[int], item_id: str | None = None) -> dict[str, Any]:
        """Send a request until its response is final, while the bank, Plaid and workers go on; return that."""
        answers: list[Invocation] = []

        def ended(invocation: Invocation) -> None:
            answers.append(invocation)
            self.responses.append(str(invocation.response))

        for _ in range(_MAX_REQUESTS):
            invocation = self._invoke("items", event, ended)
            fails_at = self.rng.randint(1, 14)
            while invocation is not None and not invocation.ended:
                fails_at -= 1
                self.step(invocation, self.rng.choice(FAULTS) if not fails_at else None)
                self._go_on()
            if answers[-1].status in final:
                response: dict[str, Any] = answers[-1].response
                return response
            self.counts["requests repeated"] += 1
            self.wait(self.rng.choice((1, 5, 61, _SOON)))
            if self.rng.random() < 0.5:
                # An Item that is registered is pulled, and what the other system then hears of comes after that pull.
                self.complete(self.invoke_sweep())
                self._end_workers()
                self._change(self.rng.choice(self.moved).item_id if item_id is None else item_id)
        raise DivergenceError(f"no final response: {[(answer.status, answer.response) for answer in answers[-3:]]}")

    def _go_on(self) -> None:
        """Let the bank change rows, Plaid deliver webhooks, and workers pull, now and then.

        Mostly of Items whose webhooks go elsewhere: a pull can begin before the switch, and commit after it.
        """
        elsewhere = [each.item_id for each in self.moved if self.plaid.item(each.item_id).webhook_url == OTHER_SYSTEM]
        if self.rng.random() < 0.15:
            everyone = [each.item_id for each in self.moved]
            self._change(self.rng.choice(elsewhere if elsewhere and self.rng.random() < 0.8 else everyone))
        if self.rng.random() < 0.1:
            self._deliver()
        if elsewhere and self.rng.random() < 0.15:
            item_id = self.rng.choice(elsewhere)
            self.queues.send(json.dumps({"item_id": item_id, "cause": "request"}), item_id)
        if self.rng.random() < 0.3:
            self.invoke_sync(paused=self.rng.random() < 0.3)
        for worker in [each for each in self.live if each.environment.function == "sync"]:
            if self.rng.random() < 0.3 and not worker.ended:
                self.step(worker, self.rng.choice(FAULTS) if self.rng.random() < 0.05 else None)

    def _change(self, item_id: str) -> None:
        """Let the bank change rows; Plaid sends a webhook to where it sends them at that moment."""
        head = self.plaid.item(item_id).log.head
        for _ in range(self.rng.randint(1, 3)):
            _, change = ROW_CHANGES[self.rng.choice(list(ROW_CHANGES))]
            change(self.plaid, item_id)
        if self.plaid.item(item_id).log.head > head:
            self.plaid.fire_webhook(item_id, "TRANSACTIONS", "SYNC_UPDATES_AVAILABLE")
            elsewhere = self.plaid.item(item_id).webhook_url == OTHER_SYSTEM
            self.counts["changes before the switch" if elsewhere else "changes after the switch"] += 1

    def undelivered(self) -> list[Delivery]:
        """Return the webhooks that come here: the other system takes its own, which this stack never hears of."""
        return [delivery for delivery in super().undelivered() if delivery.url != OTHER_SYSTEM]

    def _deliver(self) -> None:
        for delivery in self.undelivered():
            self.complete(self.deliver(delivery))

    def _come_to_rest(self) -> None:
        """Let everything end that a message, a webhook or the sweep begins within minutes; no routine attempt."""
        for _ in range(2):
            self._end_workers()
            self._sweep_until(self.checker.is_settled)
            self.wait(_SOON)
            self.complete(self.invoke_sweep())

    def _end_workers(self) -> None:
        for invocation in list(self.live):
            self.complete(invocation)
        self._drain()

    def _check(self, *, moved_in: bool) -> None:
        """Compare rows with Plaid's, the URLs of webhooks, and what is stored with the access tokens."""
        if moved_in:  # afterwards only the other system gets webhooks
            self.checker.check_items(swept=False)
        self.counts["moved in" if moved_in else "moved out"] = 0
        for moved in self.moved:
            at_plaid = self.plaid.item(moved.item_id)
            here = at_plaid.webhook_url != OTHER_SYSTEM
            if here != moved_in or at_plaid.removed or at_plaid.access_token != moved.access_token:
                raise DivergenceError(f"{moved.item_id}: {at_plaid.webhook_url}, removed: {at_plaid.removed}")
            if not moved_in and (
                "access_token" in self.checker.record(moved.item_id) or self.checker.rows(moved.item_id)
            ):
                raise DivergenceError(f"{moved.item_id}: the token or rows are left")
            self.counts["moved in" if moved_in else "moved out"] += 1
        self.counts["relinked"] += len(self.plaid.items) - len(self.moved)
        found = f"{self._stored()}{self.log.getvalue()}{self.responses}"
        for moved in self.moved:
            self.counts["tokens in plain text"] += moved.access_token in found

    def _stored(self) -> str:
        """Return everything that tables, the event bus and the queue hold, binary values as text."""
        stack, dynamodb = self.harness.stack, self.harness.stack.client("dynamodb")
        tables = (stack.items_table, stack.transactions_table, stack.history_table, stack.links_table)
        rows = [dynamodb.scan(TableName=name, ConsistentRead=True)["Items"] for name in (*tables, stack.shared_table)]
        return f"{rows}{self.bus.archive}"


def run_moves(items: int, seed: int) -> Counter[str]:
    """Let so many Items move in and out; return what happened how often."""
    counts, log = Counter[str](), StringIO()
    with harness(log) as shared:
        for first in range(0, items, ITEMS_OF_A_WORLD):
            _move(shared, log, seed + first // ITEMS_OF_A_WORLD, min(ITEMS_OF_A_WORLD, items - first), counts)
            if first % _PROGRESS == 0 and first:
                sys.stderr.write(f"{first:,} of {items:,}\n")
            log.seek(0)
            log.truncate()
    return counts


def _move(shared: Harness, log: StringIO, seed: int, items: int, counts: Counter[str]) -> None:
    with closing(MoveIn(shared, seed, log, items)) as world:
        try:
            world.execute()
        except DivergenceError as error:
            sys.stderr.write(f"seed {seed}: {error}\n")
            counts["worlds that diverged"] += 1
        counts["bytes of logs"] += len(log.getvalue())
        counts.update(world.counts)


def main() -> int:
    """Run; return the exit status: 0 where everything moved, and nothing is lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.faults.move_in", description=__doc__)
    parser.add_argument("--items", type=int, default=1000, metavar="N", help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of the first world; the next ones count up")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of text")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message="No application metrics")  # of an invocation that was killed
    output, began = sys.stdout, time.monotonic()
    counts = run_moves(options.items, options.seed)
    wrong = counts["worlds that diverged"] + counts["relinked"] + counts["tokens in plain text"]
    injected = sum(count for name, count in counts.items() if name.startswith("injected"))
    names = ("moved in", "moved out", "relinked", "changes before the switch", "changes after the switch")
    figures = {
        name: counts[name] for name in (*names, "worlds that diverged", "requests repeated", "tokens in plain text")
    }
    text = ", ".join(f"{count:,} {name}" for name, count in (figures | {"faults": injected}).items())
    seconds = f"seed {options.seed}, {time.monotonic() - began:.0f} s"
    output.write(f"{json.dumps(figures | {'faults': injected}) if options.json else f'{text} ({seconds})'}\n")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
