"""Changes to an Item's transactions, one by one or at random."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from datetime import date, timedelta
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Literal

from local.plaid.core import SimulatorCore
from local.plaid.generator import CustomTransaction
from local.plaid.items import INITIAL_DAYS, Item, Phase
from local.plaid.update_log import Change, Kind
from local.plaid.wire import entity_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from local.plaid.wire import JsonObject

# Where sync returns a posted transaction, relative to the removal of its pending one.
PostedLink = Literal["same page", "other page", "unlinked"]
_POSTED_LINKS: tuple[PostedLink, ...] = ("same page", "same page", "other page", "unlinked")
_PENDING_SHARE = 1 / 3
_TIP = Decimal("1.18")
_TIP_SHARE = 1 / 4
_CENT = Decimal("0.01")


class TransactionOperations(SimulatorCore):
    """Changes to the transactions of an Item. Each fires its webhooks, unless `notify` is False."""

    @contextmanager
    def _changing(self, item_id: str, *, notify: bool, ready: bool = True) -> Iterator[Item]:
        with self.lock:
            item = self.items[item_id]
            if ready and item.phase < Phase.INITIAL:
                raise ValueError("this Item's history is not ready yet: wait for it, or call advance_phase")
            before = item.log.head
            yield item
            if notify:
                self._fire_updates(item, before)

    def _fire_updates(self, item: Item, position: int) -> None:
        changes = item.log.changes[position:]
        if not changes:
            return
        item.last_success = self.clock()
        removed = [change.transaction_id for change in changes if change.kind == "removed"]
        if self.behavior.legacy_webhooks:
            if len(changes) > len(removed):
                count = sum(change.kind == "added" for change in changes)
                self.emit(item, "TRANSACTIONS", "DEFAULT_UPDATE", new_transactions=count)
            if removed:
                self.emit(item, "TRANSACTIONS", "TRANSACTIONS_REMOVED", removed_transactions=removed)
        if item.sync_called:
            self.emit(item, "TRANSACTIONS", "SYNC_UPDATES_AVAILABLE")

    def add(self, item_id: str, n: int = 1, *, pending: bool | None = None, notify: bool = True) -> list[str]:
        """Add transactions, a third of them pending by default; return their ids. The history need not be ready."""
        with self._changing(item_id, notify=notify, ready=False) as item:
            today = self.clock().date()
            drawn = (
                CustomTransaction(
                    today - timedelta(days=item.rng.randrange(4)),
                    pending=item.rng.random() < _PENDING_SHARE if pending is None else pending,
                )
                for _ in range(n)
            )
            return self.add_custom_transactions(item_id, drawn, notify=False)

    def add_custom_transactions(
        self, item_id: str, transactions: Iterable[CustomTransaction], *, notify: bool = True
    ) -> list[str]:
        """Add transactions with given dates, names and amounts; return their ids. The history need not be ready."""
        with self._changing(item_id, notify=notify, ready=False) as item:
            return [add_row(item, item.generator.transaction(custom)) for custom in transactions]

    def modify(
        self, item_id: str, transaction_id: str | None = None, *, notify: bool = True, **fields: object
    ) -> str | None:
        """Modify a transaction (by default any one, with a plausible correction); return its id."""
        with self._changing(item_id, notify=notify) as item:
            row = _pick(item, transaction_id)
            return _record(item, "modified", {**row, **(fields or _correction(row, item.rng))}) if row else None

    def touch(self, item_id: str, n: int = 1, *, notify: bool = True) -> list[str]:
        """Report transactions as modified although no field changed; return their ids."""
        with self._changing(item_id, notify=notify) as item:
            live = list(item.log.live.values())
            return [_record(item, "modified", row) for row in item.rng.sample(live, min(n, len(live)))]

    def move_transaction(self, item_id: str, transaction_id: str, account_id: str, *, notify: bool = True) -> None:
        """Report a transaction as modified, with another account of the Item."""
        with self._changing(item_id, notify=notify) as item:
            if account_id not in item.generator.account_ids:
                raise KeyError(account_id)
            _record(item, "modified", {**item.log.live[transaction_id], "account_id": account_id})

    def remove(self, item_id: str, transaction_id: str | None = None, *, notify: bool = True) -> str | None:
        with self._changing(item_id, notify=notify) as item:
            row = _pick(item, transaction_id)
            return _record(item, "removed", row) if row else None

    def remove_unknown(self, item_id: str, *, notify: bool = True) -> str:
        """Report the removal of a transaction that no client ever received; return its id."""
        with self._changing(item_id, notify=notify) as item:
            unknown_id = entity_id(item.rng)
            account_id = item.rng.choice(item.generator.accounts)["account_id"]
            item.log.append(Change("removed", unknown_id, account_id, phantom=True))
            return unknown_id

    def post_pending(
        self, item_id: str, transaction_id: str | None = None, link: PostedLink | None = None, *, notify: bool = True
    ) -> str | None:
        """Post a pending transaction under a new id; return that id, or None if nothing is pending.

        `link` chooses how sync returns it: on the page of the removal if there is room, on another page, or without
        `pending_transaction_id`. The default is random.
        """
        with self._changing(item_id, notify=notify) as item:
            row = _pick(item, transaction_id, pending=True)
            if row is None:
                return None
            return _post(item, row, item.rng.choice(_POSTED_LINKS) if link is None else link)

    def churn(self, item_id: str, transaction_id: str | None = None, *, notify: bool = True) -> str | None:
        """Remove a transaction and add it under a new id, as Plaid may after a large change; return that id."""
        with self._changing(item_id, notify=notify) as item:
            row = _pick(item, transaction_id)
            if row is None:
                return None
            _record(item, "removed", row)
            return add_row(item, {**row, "transaction_id": entity_id(item.rng)})

    def flash(self, item_id: str, *, notify: bool = True) -> str:
        """Add a transaction and remove it before any sync call; return its id."""
        with self._changing(item_id, notify=notify) as item:
            row = item.generator.transaction(CustomTransaction(self.clock().date(), pending=True))
            add_row(item, row)
            return _record(item, "removed", row)

    def readd(self, item_id: str, transaction_id: str | None = None, *, notify: bool = True) -> str | None:
        """Add a removed transaction again under its old id; return that id, or None if none was removed."""
        with self._changing(item_id, notify=notify) as item:
            row = _pick_removed(item, transaction_id)
            return add_row(item, row) if row else None

    def restore_row(self, item_id: str, transaction_id: str, *, notify: bool = True) -> None:
        """End the corruption of a transaction (see `corrupt_row`); if it is live, report it as modified."""
        with self._changing(item_id, notify=notify) as item:
            item.corruptions.pop(transaction_id, None)
            if transaction_id in item.log.live:
                _record(item, "modified", item.log.live[transaction_id])

    def refresh(self, item_id: str) -> None:
        """Do what /transactions/refresh does in the sandbox: post pending ones, raise an amount, add new ones."""
        with self._changing(item_id, notify=True) as item:
            for row in [row for row in item.log.live.values() if row["pending"]]:
                _post(item, row, item.rng.choice(_POSTED_LINKS))
            raised = _pick(item, None)
            if raised:
                _record(item, "modified", {**raised, "amount": raised["amount"] + 1})
            self.add(item_id, 2, pending=True, notify=False)

    def evolve(
        self, item_id: str, rng: Random | int | None = None, steps: int = 1, *, notify: bool = True
    ) -> Counter[str]:
        """Apply random changes; return how often each kind happened. One set of webhooks covers all.

        With a seed or a generator, the choice of changes does not depend on the Item's own generator.
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
            if not item.generator.accounts:  # none is listed any more
                return Counter()
            chance = rng if isinstance(rng, Random) else item.rng if rng is None else self.random(f"evolve {rng}")
            names = chance.choices(list(operations), weights, k=steps)
            return Counter(name for name in names if operations[name][1]())


def format_row(row: JsonObject, *, original: bool = False, category_version: str = "v2") -> JsonObject:
    formatted = dict(row)
    if not original:
        del formatted["original_description"]
    formatted["personal_finance_category"] = {**row["personal_finance_category"], "version": category_version}
    return formatted


def remove_account_rows(item: Item, account_id: str) -> None:
    for row in [row for row in item.log.live.values() if row["account_id"] == account_id]:
        _record(item, "removed", row)


def copied_rows(source: Item, item: Item) -> list[JsonObject]:
    """Return the transactions of another Item of the same login under the ids of this one, oldest first."""
    own = {account["persistent_account_id"]: account["account_id"] for account in item.generator.accounts}
    account_ids = {
        account["account_id"]: own[account["persistent_account_id"]]
        for account in source.generator.accounts
        if account["persistent_account_id"] in own
    }
    rows = [row for row in (*source.log.live.values(), *source.unreleased) if row["account_id"] in account_ids]
    new_ids = {row["transaction_id"]: entity_id(item.rng) for row in rows}
    copies = (
        {
            **row,
            "account_id": account_ids[row["account_id"]],
            "pending_transaction_id": None,
            "transaction_id": new_ids[row["transaction_id"]],
        }
        for row in rows
    )
    return sorted(copies, key=lambda row: str(row["date"]))


def release_history(item: Item, today: date) -> int:
    """Serve the transactions that are ready in the Item's phase; return their number."""
    oldest = (today - timedelta(days=INITIAL_DAYS)).isoformat() if item.phase is Phase.INITIAL else ""
    ready = [row for row in item.unreleased if row["date"] >= oldest]
    item.unreleased = [row for row in item.unreleased if row["date"] < oldest]
    for row in ready:
        _record(item, "added", row)
    return len(ready)


def _pick(item: Item, transaction_id: str | None, *, pending: bool = False) -> JsonObject | None:
    if transaction_id is not None:
        return item.log.live[transaction_id]
    rows = [row for row in item.log.live.values() if row["pending"] or not pending]
    return item.rng.choice(rows) if rows else None


def _pick_removed(item: Item, transaction_id: str | None) -> JsonObject | None:
    listed = item.generator.account_ids
    removed = {
        change.transaction_id: change.row
        for change in item.log.changes
        if change.kind == "removed"
        and change.row
        and change.transaction_id not in item.log.live
        and change.account_id in listed
    }
    if transaction_id is not None:
        return removed[transaction_id]
    return removed[item.rng.choice(list(removed))] if removed else None


def _record(item: Item, kind: Kind, row: JsonObject, *, new_page: bool = False) -> str:
    transaction_id = str(row["transaction_id"])
    item.log.append(Change(kind, transaction_id, row["account_id"], row, new_page))
    return transaction_id


def add_row(item: Item, row: JsonObject) -> str:
    """Add a transaction (unreleased, while the history is not ready); return its id."""
    if item.phase >= Phase.INITIAL:
        return _record(item, "added", row)
    item.unreleased.append(row)
    return str(row["transaction_id"])


def _post(item: Item, row: JsonObject, link: PostedLink) -> str:
    """Replace a pending transaction with its posted one; return the new id."""
    posted = {
        **row,
        "transaction_id": entity_id(item.rng),
        "amount": (row["amount"] * _TIP).quantize(_CENT) if item.rng.random() < _TIP_SHARE else row["amount"],
        "date": (date.fromisoformat(row["date"]) + timedelta(days=item.rng.randrange(3))).isoformat(),
        "pending": False,
        "pending_transaction_id": None if link == "unlinked" else row["transaction_id"],
    }
    _record(item, "removed", row)
    return _record(item, "added", posted, new_page=link == "other page")


def _correction(row: JsonObject, rng: Random) -> JsonObject:
    """Return fields that an institution or Plaid's enrichment might correct."""
    day = date.fromisoformat(row["date"])
    corrections: tuple[JsonObject, ...] = (
        {"amount": row["amount"] + Decimal(rng.randint(-500, 500)) * _CENT},
        {"date": (day - timedelta(days=rng.randint(1, 3))).isoformat()},
        {"name": f"{row['name'][:60]} ✓ {rng.randrange(1000)}"},
        {"merchant_name": rng.choice(("Renamed Merchant", "مطعم", None)), "website": None, "logo_url": None},
        {
            "personal_finance_category": {
                "confidence_level": "HIGH",
                "detailed": "GENERAL_SERVICES_OTHER_GENERAL_SERVICES",
                "primary": "GENERAL_SERVICES",
                "version": "v2",
            }
        },
    )
    return rng.choice(corrections)
