"""The engine's ports in memory: one attempt at a time; what DynamoDB would not store is a finding."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.adapters.dynamodb.expressions import serialize
from plaid_sync.adapters.dynamodb.history_table import entry_put
from plaid_sync.adapters.dynamodb.item_format import committed, found
from plaid_sync.core.failures import RowNewerThanItemError
from plaid_sync.core.items import Item, ItemId, ItemRemoval, ItemStatus, Standing
from plaid_sync.core.lifecycle.removal import Remover
from plaid_sync.core.sync.catching_up import CatchUp
from plaid_sync.core.sync.pulling import Puller
from plaid_sync.core.sync.syncing import SyncEngine
from plaid_sync.core.sync.transactions import Removal, StoredRow, TransactionRow

from tests.fuzz.edges import is_storable
from tests.fuzz.signing import NOON
from tests.fuzz.tally import require

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from typing import Protocol

    from plaid_sync.core.history import HistoryEntry
    from plaid_sync.core.sync.plan import Commit, RowWrite, Verdict
    from plaid_sync.core.sync.quarantine import Part
    from plaid_sync.core.sync.transactions import TransactionId
    from plaid_sync.ports.common import Clock
    from plaid_sync.ports.lifecycle import PlaidItem
    from plaid_sync.ports.sync import PlaidTransactions

    class Plaid(PlaidItem, PlaidTransactions, Protocol):
        """Plaid as a sync uses it."""


_WELL: Final = Standing(ItemStatus.ACTIVE)


def new_item(name: str, standing: Standing = _WELL, **fields: Any) -> Item:
    """Return an Item that nobody has synced."""
    return Item(ItemId(name), access_token=b"", generation=0, standing=standing, **fields)


@dataclass(slots=True)
class Tables:
    """All tables, and tokens that are the Item's id.

    Attributes:
        rows_of: the rows of each Item, tombstones included.
        entries: the history, the oldest first.
        released: the claims that Items have let go.
        erased: the ids of rows whose content is gone, too.
    """

    items: dict[ItemId, Item]
    rows_of: dict[ItemId, dict[TransactionId, StoredRow]] = field(default_factory=dict)
    entries: list[HistoryEntry] = field(default_factory=list)
    released: dict[ItemId, set[str]] = field(default_factory=dict)
    erased: set[TransactionId] = field(default_factory=set)

    @classmethod
    def of(cls, *items: Item) -> Tables:
        """Hold these Items."""
        return cls({item.item_id: item for item in items})

    def live(self, item_id: ItemId) -> set[TransactionId]:
        """Return the ids of an Item's transactions."""
        return {row.transaction_id for row in self.rows_of.get(item_id, {}).values() if row.live}

    # ---- the Items table

    def load(self, item_id: ItemId) -> Item | None:
        """See `ports.sync.SyncItems`."""
        return self.items.get(item_id)

    def claim(self, item: Item, attempt_id: str) -> Item:  # noqa: ARG002 - the port's
        """See `ports.sync.SyncItems`."""
        self.items[item.item_id] = replace(item, generation=item.generation + 1)
        return self.items[item.item_id]

    def raise_fence(self, item: Item, generation: int) -> None:
        """See `ports.sync.SyncItems`."""
        self.items[item.item_id] = replace(self.items[item.item_id], generation=generation, reconcile=True)

    def withdraw_accounts(self, item: Item, accounts: Collection[str]) -> None:
        """See `ports.sync.SyncItems`."""
        self.items[item.item_id] = replace(self.items[item.item_id], revoked_accounts=frozenset(accounts))

    def record(self, item: Item, verdict: Verdict) -> None:
        """See `ports.sync.SyncItems`."""
        _require_storable(found(verdict))
        self._add(verdict.entry)
        self.items[item.item_id] = replace(
            self.items[item.item_id], standing=verdict.standing, revoked_accounts=verdict.revoked_accounts
        )

    def record_plaid_removed(self, item_id: ItemId) -> None:
        """See `ports.lifecycle.RemovalItems`."""
        self.items[item_id] = replace(self.items[item_id], access_token=b"")
        self._remove(item_id, plaid_removed=True)

    def record_rows_to_erase(self, item_id: ItemId, rows: int) -> int:
        """See `ports.lifecycle.RemovalItems`."""
        known = self._removal(item_id).rows_to_erase
        if known is None:
            self._remove(item_id, rows_to_erase=rows)
        return rows if known is None else known

    def record_removal_completed(self, item: Item, entry: HistoryEntry) -> None:
        """See `ports.lifecycle.RemovalItems`."""
        if not self._removal(item.item_id).completed:
            self._add(entry)
            self._remove(item.item_id, completed=True)

    def _removal(self, item_id: ItemId) -> ItemRemoval:
        removal = self.items[item_id].removal
        assert removal is not None
        return removal

    def _remove(self, item_id: ItemId, **fields: Any) -> None:
        self.items[item_id] = replace(self.items[item_id], removal=replace(self._removal(item_id), **fields))

    # ---- the rows

    def rows(self, item_id: ItemId, ids: Collection[TransactionId]) -> Mapping[TransactionId, StoredRow]:
        """See `ports.sync.TransactionTable`."""
        return {one: row for one, row in self.rows_of.get(item_id, {}).items() if one in ids}

    def scan_item(self, item_id: ItemId, since: int = 0) -> Iterator[StoredRow]:
        """See `ports.sync.TransactionTable`."""
        stored = list(self.rows_of.get(item_id, {}).values())
        return (replace(row, row=None) for row in stored if row.generation >= since)

    def write(
        self, item_id: ItemId, generation: int, writes: Collection[RowWrite], *, begin: bool, commit: Commit | None
    ) -> None:
        """See `ports.sync.TransactionTable`."""
        item, rows = self.items[item_id], self.rows_of.setdefault(item_id, {})
        require(holds=generation == item.generation and not begin, what="written", shown=writes)
        newest = max(
            (rows[write.transaction_id].generation for write in writes if write.transaction_id in rows), default=0
        )
        if newest >= generation:
            raise RowNewerThanItemError(newest)
        for write in writes:
            older = rows.get(write.transaction_id)
            content = write if isinstance(write, TransactionRow) else None
            self.erased |= {write.transaction_id} if isinstance(write, Removal) and write.erase else set()
            first = older.first_generation if older else generation
            rows[write.transaction_id] = StoredRow(
                write.transaction_id, write.account_id, content is not None, generation, first, content
            )
        if commit is not None:
            _require_storable(committed(commit))
            self._add(commit.entry)
            self.items[item_id] = replace(
                item,
                cursor=commit.cursor,
                standing=commit.standing,
                accounts=commit.accounts or item.accounts,
                revoked_accounts=commit.revoked_accounts,
                pull_began_at=commit.pull_began_at,
            )

    def keep(self, item_id: ItemId, generation: int, parts: Collection[Part]) -> None:
        """See `ports.sync.Quarantine`."""
        raise NotImplementedError

    def count(self, item_id: ItemId) -> int:
        """See `ports.lifecycle.ErasableRows`."""
        return len(self.rows_of.get(item_id, {}))

    def erase(self, item_id: ItemId, time_left: Callable[[], float]) -> None:  # noqa: ARG002 - the port's
        """See `ports.lifecycle.ErasableRows`."""
        self.rows_of.pop(item_id, None)

    # ---- what else a sync needs

    def release(self, item_id: ItemId, bank_login_ids: Collection[str]) -> None:
        """See `ports.lifecycle.BankLogins`."""
        self.released.setdefault(item_id, set()).update(bank_login_ids)

    def decrypt(self, item_id: ItemId, ciphertext: bytes) -> str:  # noqa: ARG002 - the port's
        """See `ports.common.TokenDecryptor`."""
        return item_id

    def _add(self, entry: HistoryEntry) -> None:
        stored = entry_put("history", entry)["Put"]["Item"]
        require(holds=is_storable(stored), what="an entry that DynamoDB refuses", shown=stored)
        self.entries.append(entry)

    def engine(
        self,
        plaid: Plaid,
        clock: Clock = lambda: NOON,
        pause: Callable[[float], None] = lambda _: None,
    ) -> SyncEngine:
        """Return the engine on these tables."""
        return SyncEngine(
            items=self,
            transactions=self,
            quarantine=self,
            tokens=self,
            plaid=plaid,
            catch_up=CatchUp(self, Puller(plaid, clock, pause)),
            remover=Remover(self, self, self, self, plaid, clock),
            clock=clock,
        )


def _require_storable(attributes: dict[str, Any]) -> None:
    stored = {name: serialize(value) for name, value in attributes.items() if value is not None}
    require(holds=is_storable(stored), what="an Item that DynamoDB refuses", shown=stored)
