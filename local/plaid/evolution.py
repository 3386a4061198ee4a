"""What can happen to an Item's transactions after they are ready."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

from local.plaid import identifiers, rows
from local.plaid.breakages import BREAKAGES
from local.plaid.core import SimulatorCore
from local.plaid.generator import Draft
from local.plaid.items import Item, Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from local.plaid.rows import Link
    from local.plaid.wire import JsonObject

_PENDING_SHARE = 1 / 3


class HistoryOperations(SimulatorCore):
    """Changes to the rows of an Item that is ready. Each tells by webhook unless `notify` is False."""

    @contextmanager
    def _changing(self, item_id: str, *, notify: bool, ready: bool = True) -> Iterator[Item]:
        with self.lock:
            item = self.items[item_id]
            if ready and item.phase < Phase.INITIAL:
                raise ValueError("this Item's history is not ready yet: wait for it, or call advance_phase")
            mark = item.log.head
            yield item
            if notify:
                self._tell(item, mark)

    def _tell(self, item: Item, mark: int) -> None:
        """Send the webhooks that tell of everything after a position of the log."""
        news = item.log.changes[mark:]
        if not news:
            return
        item.last_success = self.clock()
        removed = [change.transaction_id for change in news if change.kind == "removed"]
        if self.behaviour.legacy_webhooks:
            if len(news) > len(removed):
                count = sum(change.kind == "added" for change in news)
                self.emit(item, "TRANSACTIONS", "DEFAULT_UPDATE", new_transactions=count)
            if removed:
                self.emit(item, "TRANSACTIONS", "TRANSACTIONS_REMOVED", removed_transactions=removed)
        if item.armed:
            self.emit(item, "TRANSACTIONS", "SYNC_UPDATES_AVAILABLE")

    def add(self, item_id: str, n: int = 1, *, pending: bool | None = None, notify: bool = True) -> list[str]:
        """Add new rows (some pending, unless told); return their ids. Works before the history is ready, too."""
        with self._changing(item_id, notify=notify, ready=False) as item:
            today = self.clock().date()
            drafts = (
                Draft(
                    today - timedelta(days=item.rng.randrange(4)),
                    pending=item.rng.random() < _PENDING_SHARE if pending is None else pending,
                )
                for _ in range(n)
            )
            return [rows.add(item, item.generator.transaction(draft)) for draft in drafts]

    def add_drafts(self, item_id: str, drafts: Iterable[Draft], *, notify: bool = True) -> list[str]:
        """Add rows with given dates, names and amounts; return their ids."""
        with self._changing(item_id, notify=notify, ready=False) as item:
            return [rows.add(item, item.generator.transaction(draft)) for draft in drafts]

    def modify(
        self, item_id: str, transaction_id: str | None = None, *, notify: bool = True, **fields: object
    ) -> str | None:
        """Change a live row (any row, in a plausible way, unless told otherwise); return its id."""
        with self._changing(item_id, notify=notify) as item:
            row = rows.pick(item, transaction_id)
            return rows.change(item, {**row, **(fields or rows.plausible_edit(row, item.rng))}) if row else None

    def touch(self, item_id: str, n: int = 1, *, notify: bool = True) -> list[str]:
        """Report live rows as modified although nothing about them changed; return their ids."""
        with self._changing(item_id, notify=notify) as item:
            live = list(item.log.live.values())
            return [rows.change(item, row) for row in item.rng.sample(live, min(n, len(live)))]

    def remove(self, item_id: str, transaction_id: str | None = None, *, notify: bool = True) -> str | None:
        """Remove a live row; return its id."""
        with self._changing(item_id, notify=notify) as item:
            row = rows.pick(item, transaction_id)
            return rows.drop(item, row) if row else None

    def remove_unknown(self, item_id: str, *, notify: bool = True) -> str:
        """Report the removal of a row that no client ever saw; return its id."""
        with self._changing(item_id, notify=notify) as item:
            return rows.drop_unknown(item)

    def post_pending(
        self, item_id: str, transaction_id: str | None = None, link: Link | None = None, *, notify: bool = True
    ) -> str | None:
        """Post a pending row under a new id; return that id, or None if nothing is pending.

        `link` chooses how sync tells: both halves on the same page if there is room, the posted row on
        another page, or without `pending_transaction_id`. At random unless told.
        """
        with self._changing(item_id, notify=notify) as item:
            row = rows.pick_pending(item, transaction_id)
            return rows.post(item, row, link or rows.any_link(item)) if row else None

    def churn(self, item_id: str, transaction_id: str | None = None, *, notify: bool = True) -> str | None:
        """Remove a row and add it again under a new id, as Plaid does with heavily edited ones; return that id."""
        with self._changing(item_id, notify=notify) as item:
            row = rows.pick(item, transaction_id)
            if row is None:
                return None
            rows.drop(item, row)
            return rows.add(item, {**row, "transaction_id": identifiers.entity_id(item.rng)})

    def flash(self, item_id: str, *, notify: bool = True) -> str:
        """Add a row and remove it again before anybody can sync; return its id."""
        with self._changing(item_id, notify=notify) as item:
            row = item.generator.transaction(Draft(self.clock().date(), pending=True))
            rows.add(item, row)
            return rows.drop(item, row)

    def readd(self, item_id: str, transaction_id: str | None = None, *, notify: bool = True) -> str | None:
        """Bring a removed row back under its old id; return it, or None if none was removed."""
        with self._changing(item_id, notify=notify) as item:
            row = rows.pick_removed(item, transaction_id)
            return rows.add(item, row) if row else None

    def refresh(self, item_id: str) -> None:
        """Do what /transactions/refresh does in the sandbox: pendings post, an amount grows, new ones appear."""
        with self._changing(item_id, notify=True) as item:
            for row in [row for row in item.log.live.values() if row["pending"]]:
                rows.post(item, row, rows.any_link(item))
            row_to_grow = rows.pick(item, None)
            if row_to_grow:
                rows.change(item, {**row_to_grow, "amount": row_to_grow["amount"] + 1})
            self.add(item_id, 2, pending=True, notify=False)

    def evolve(
        self, item_id: str, rng: Random | int | None = None, steps: int = 1, *, notify: bool = True
    ) -> Counter[str]:
        """Let so many random things happen; return how often each did. One set of webhooks tells of all.

        A seed or a generator makes the choice of things repeatable apart from the Item's own chance.
        """
        operations: dict[str, tuple[int, Callable[[], object]]] = {
            "add": (30, lambda: self.add(item_id, notify=False)),
            "modify": (14, lambda: self.modify(item_id, notify=False)),
            "touch": (10, lambda: self.touch(item_id, notify=False)),
            "post": (18, lambda: self.post_pending(item_id, notify=False)),
            "remove": (7, lambda: self.remove(item_id, notify=False)),
            "churn": (7, lambda: self.churn(item_id, notify=False)),
            "flash": (5, lambda: self.flash(item_id, notify=False)),
            "remove unknown": (4, lambda: self.remove_unknown(item_id, notify=False)),
            "readd": (5, lambda: self.readd(item_id, notify=False)),
        }
        weights = [weight for weight, _ in operations.values()]
        with self._changing(item_id, notify=notify) as item:
            if not item.generator.accounts:  # all are revoked: nothing can happen to them any more
                return Counter()
            chance = rng if isinstance(rng, Random) else item.rng if rng is None else self.random(f"evolve {rng}")
            names = chance.choices(list(operations), weights, k=steps)
            return Counter(name for name in names if operations[name][1]())

    def truth(self, item_id: str, *, include_original_description: bool = False) -> dict[str, JsonObject]:
        """Return the live rows, by id, exactly as sync would show them now."""
        with self.lock:
            live = self.items[item_id].log.live
            return {key: rows.shown(row, original=include_original_description) for key, row in live.items()}

    def truth_at(self, item_id: str, position: int) -> dict[str, JsonObject]:
        """Return the live rows as they were at a position of the log (see `final_cursors`)."""
        with self.lock:
            return {key: rows.shown(row) for key, row in self.items[item_id].log.at(position).items()}

    def final_cursors(self, item_id: str) -> dict[str, int]:
        """Return every cursor of the whole Item that ever ended a loop, with its position in the log."""
        with self.lock:
            return dict(self.items[item_id].final_cursors)

    def break_row(self, item_id: str, transaction_id: str, how: str) -> None:
        """From now on, let sync break the contract wherever it tells of a row: `how` is one of `BREAKAGES`.

        The row itself stays as it is: `truth` has it.
        """
        with self.lock:
            self.items[item_id].breakages[transaction_id] = BREAKAGES[how]

    def heal_row(self, item_id: str, transaction_id: str, *, notify: bool = True) -> None:
        """Let sync tell of a row as it is again, and if it is live report it as modified."""
        with self._changing(item_id, notify=notify) as item:
            item.breakages.pop(transaction_id, None)
            if transaction_id in item.log.live:
                rows.change(item, item.log.live[transaction_id])

    def force_mutation(self, item_id: str, times: int = 1, *, anywhere: bool = False) -> None:
        """Fail the next pages with a mutation error: those after the first of a loop.

        With `anywhere`, every page of a loop that does not start from the empty cursor. Seen in production:
        the error came after a final cursor had been stored, and only a full resync got past it.
        """
        with self.lock:
            item = self.items[item_id]
            item.forced_mutations = times
            item.forced_anywhere = anywhere
