"""Let annotated pending transactions post under faults, in every way in which Plaid may serve the pair.

Their application annotates them before and meanwhile; workers die, lose responses and are throttled. In the end each
annotation must be on the posted row where Plaid names the pair, and else on the removed one; and again 91 days later,
when every tombstone that expires is deleted.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections import Counter
from contextlib import closing
from random import Random
from typing import TYPE_CHECKING, Final

from local.plaid.transactions import add_row
from tests.simulation.faults.boundary import Fault
from tests.simulation.faults.checker import ANNOTATIONS
from tests.simulation.faults.harness import harness
from tests.simulation.faults.run import Run
from tests.simulation.faults.schedule import Step

if TYPE_CHECKING:
    from tests.simulation.faults.harness import Harness

LINKINGS: Final = ("same page", "other page", "removed first", "posted first", "unlinked")
"""How Plaid serves a pair: the first two in one update; the next two in two updates; the last without its link."""
FAULTS: Final = (
    *(Fault.CRASH_BEFORE, Fault.CRASH_AFTER, Fault.NOT_SENT, Fault.RESPONSE_LOST),
    *(Fault.THROTTLED, Fault.SERVER_ERROR, Fault.CONFLICT),
)
POSTINGS_OF_AN_ITEM: Final = 25
_DAYS_91: Final = 91 * 86_400.0


class Postings(Run):
    """One Item whose pending transactions post.

    Attributes:
        linking_of: how Plaid serves the pair of each pending transaction.
        posted: the id of the posted transaction of each pending one.
    """

    def __init__(self, shared: Harness, seed: int) -> None:
        self.rng = Random(f"postings {seed}")  # noqa: S311 - reproducible on purpose
        self.item_id = ""
        self.linking_of: dict[str, str] = {}
        self.posted: dict[str, str] = {}
        limits = {"page_size": self.rng.choice((3, 7)), "transaction_size": self.rng.choice((2, 5, 12, 97))}
        begin = {"part_size": self.rng.choice((6, 5000)), "queue_clock_error": 0, "new_signatures": True}
        options = {"spell_out": self.rng.random() < 0.5, "hide_reverts": False, "null_cursor": False}
        super().__init__(shared, [Step("begin", limits | begin | options)])

    def execute(self) -> None:
        """Let all of them post."""
        self.link(transactions=3, fault_at=0, fault="")
        (self.item_id,) = self.items
        for _ in range(2):
            self.advance_history(item=self.item_id)
        self._settle_syncs()
        pending = self.plaid.add(self.item_id, POSTINGS_OF_AN_ITEM, pending=True, notify=False)
        self.linking_of = {key: LINKINGS[number % len(LINKINGS)] for number, key in enumerate(pending)}
        self._sync_under_faults()
        for transaction_id in pending:
            if self.rng.random() < 0.8:
                self._note(transaction_id)
        for first in (True, False):
            for transaction_id in pending:
                self._post(transaction_id, first=first)
            self._sync_under_faults()
        self.check()
        self.wait(_DAYS_91)
        self.checker.expire(int(self.clock().timestamp()))
        self.check()

    def _post(self, transaction_id: str, *, first: bool) -> None:
        """Let Plaid serve the first or the second update of a posting."""
        plaid, item_id, linking = self.plaid, self.item_id, self.linking_of[transaction_id]
        if linking in {"same page", "other page", "unlinked"}:
            if first:
                posted = plaid.post_pending(item_id, transaction_id, linking, notify=False)  # type: ignore[arg-type] # one of its links
                self.posted[transaction_id] = str(posted)
            return
        if first:
            self.posted[transaction_id] = f"posted-{transaction_id}"
        row = plaid.item(item_id).log.live.get(transaction_id) or {}
        if (linking == "posted first") == first:
            content = row or self._removed_row(transaction_id)
            names = {"transaction_id": self.posted[transaction_id], "pending_transaction_id": transaction_id}
            with plaid.lock:
                add_row(plaid.item(item_id), {**content, **names, "pending": False})
        else:
            plaid.remove(item_id, transaction_id, notify=False)

    def _removed_row(self, transaction_id: str) -> dict[str, object]:
        changes = self.plaid.item(self.item_id).log.changes
        return next(dict(each.row) for each in changes if each.transaction_id == transaction_id and each.row)

    def _note(self, transaction_id: str) -> None:
        """Annotate a pending row, if it is stored and live."""
        row = self.checker.rows(self.item_id).get(transaction_id)
        if row is not None and "removed_at" not in row:
            self.checker.note_on(self.item_id, transaction_id, row)

    def _sync_under_faults(self) -> None:
        """Let workers meet faults while the application annotates; then let the Item settle without any."""
        self.plaid.fire_webhook(self.item_id, "TRANSACTIONS", "SYNC_UPDATES_AVAILABLE")
        self.deliver_webhooks(newest_first=False)
        for _ in range(self.rng.randint(2, 5)):
            invocation = self.invoke_sync(paused=self.rng.random() < 0.3)
            for _ in range(self.rng.randint(2, 16)):
                fault = self.rng.choice(FAULTS) if self.rng.random() < 0.4 else None
                self.step(invocation, fault)
                if self.rng.random() < 0.2:
                    self._note(self.rng.choice(list(self.linking_of)))
            self.wait(self.rng.choice((1, 61, 301)))
        self._settle_syncs()

    def _settle_syncs(self) -> None:
        for invocation in list(self.live):
            self.complete(invocation)
        self._drain()
        self._sweep_until(self.checker.is_settled)

    def check(self) -> None:
        """Compare rows with Plaid's, and each annotation with where it belongs."""
        self.checker.check_items(swept=False)
        rows = self.checker.rows(self.item_id)
        self.counts["annotations"] = len(self.checker.item(self.item_id).notes)
        self.counts["postings"] = len(self.posted)
        for name, transaction_id in self.checker.item(self.item_id).notes.items():
            linking = self.linking_of[transaction_id]
            holder = transaction_id if linking == "unlinked" else self.posted[transaction_id]
            found = [key for key, row in rows.items() if name in row.get(ANNOTATIONS, {})]
            self.counts["lost"] += not found
            self.counts["misplaced"] += bool(found) and found != [holder]


def run_postings(shared: Harness, postings: int, seed: int) -> Counter[str]:
    """Run Items until so many have posted; return what happened how often."""
    counts: Counter[str] = Counter()
    while counts["postings"] < postings:
        with closing(Postings(shared, seed)) as world:
            world.execute()
            counts += world.counts
        seed += 1
    return counts


def main() -> int:
    """Run; return the exit status: 0 where every annotation is where it belongs."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.faults.postings", description=__doc__)
    parser.add_argument("--postings", type=int, default=1000, metavar="N", help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of the first Item; the next ones count up")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of text")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message="No application metrics")  # of an invocation that was killed
    output, began = sys.stdout, time.monotonic()
    with harness() as shared:
        counts = run_postings(shared, options.postings, options.seed)
    wrong = counts["lost"] + counts["misplaced"]
    injected = sum(count for name, count in counts.items() if name.startswith("injected"))
    figures = {name: counts[name] for name in ("postings", "annotations", "lost", "misplaced")} | {"faults": injected}
    text = (
        f"{counts['postings']:,} postings in {len(LINKINGS)} linkings, {counts['annotations']:,} annotations, "
        f"{injected:,} faults: {counts['lost']} annotations lost, {counts['misplaced']} misplaced "
        f"(seed {options.seed}, {time.monotonic() - began:.0f} s)"
    )
    output.write(f"{json.dumps(figures) if options.json else text}\n")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
