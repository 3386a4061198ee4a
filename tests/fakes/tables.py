"""All tables in memory, and the engine on them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from plaid_sync.domain.errors import SupersededError, TransientError
from plaid_sync.pull.puller import Puller
from plaid_sync.removal import Remover
from plaid_sync.sync.accounts import AccountChecks
from plaid_sync.sync.engine import SyncEngine
from plaid_sync.sync.planner import UpdatePlanner
from plaid_sync.sync.steps import AttemptSteps

from tests.fakes.clock import FakeClock
from tests.fakes.history import FakeHistory
from tests.fakes.items import FakeItems
from tests.fakes.links import FakeLinks
from tests.fakes.transactions import FakeTransactions

if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Protocol

    from plaid_sync.domain.history import HistoryEntry
    from plaid_sync.domain.item import Item, ItemId
    from plaid_sync.domain.ports import PlaidRemoval
    from plaid_sync.pull.puller import PlaidTransactions
    from plaid_sync.sync.ports import PlaidAccounts
    from plaid_sync.sync.quarantine import Part

    class Plaid(PlaidAccounts, PlaidTransactions, PlaidRemoval, Protocol):
        """Plaid as a sync uses it."""


@dataclass(slots=True)
class FakeQuarantine:
    """Implements `Quarantine`.

    Attributes:
        parts: the kept parts by Item, entry and number.
    """

    items: FakeItems
    parts: dict[tuple[ItemId, str, int], Part] = field(default_factory=dict)

    def keep(self, item_id: ItemId, generation: int, parts: Collection[Part]) -> None:
        if not self.items.is_fenced(item_id, generation):
            raise SupersededError
        self.parts |= {(item_id, part.entry_id, part.number): part for part in parts}


@dataclass(frozen=True, slots=True)
class FakeTokens:
    """Implements `TokenEncryptor` and `AccessTokens`: a ciphertext is bound to its Item.

    Attributes:
        forgotten: the Items whose tokens were forgotten.
    """

    forgotten: list[ItemId] = field(default_factory=list)

    def encrypt(self, item_id: ItemId, access_token: str) -> bytes:
        return f"{item_id}\0{access_token[::-1]}".encode()

    def decrypt(self, item_id: ItemId, ciphertext: bytes) -> str:
        context, _, text = ciphertext.decode().partition("\0")
        if context != item_id:
            raise TransientError("InvalidCiphertextException")
        return text[::-1]

    def forget(self, item_id: ItemId) -> None:
        self.forgotten.append(item_id)


@dataclass(slots=True)
class Tables:
    """All tables, and the token key.

    Attributes:
        orphaned: the removed Items that were reported as living on at Plaid.
    """

    clock: FakeClock = field(default_factory=FakeClock)
    history: FakeHistory = field(default_factory=FakeHistory)
    links: FakeLinks = field(default_factory=FakeLinks)
    tokens: FakeTokens = field(default_factory=FakeTokens)
    orphaned: list[ItemId] = field(default_factory=list)
    items: FakeItems = field(init=False)
    transactions: FakeTransactions = field(init=False)
    quarantine: FakeQuarantine = field(init=False)

    def __post_init__(self) -> None:
        self.items = FakeItems(self.history, self.clock)
        self.links.clock = self.clock
        self.transactions = FakeTransactions(self.items)
        self.quarantine = FakeQuarantine(self.items)

    @classmethod
    def of(cls, *items: Item) -> Tables:
        """Hold these Items, each with an access token."""
        tables = cls()
        for item in items:
            tables.items.put(item)
            tables.items.set(item.item_id, access_token=tables.tokens.encrypt(item.item_id, f"access-{item.item_id}"))
        return tables

    @property
    def entries(self) -> list[HistoryEntry]:
        """The history of all Items."""
        return self.history.entries

    def engine(self, plaid: Plaid, *, keeps_gone_rows: bool = False, pulled_with: str = "") -> SyncEngine:
        puller = Puller(plaid, self.clock)
        return SyncEngine(
            items=self.items,
            steps=AttemptSteps(
                items=self.items,
                transactions=self.transactions,
                quarantine=self.quarantine,
                tokens=self.tokens,
                plaid=plaid,
                planner=UpdatePlanner(self.transactions, puller, keeps_gone_rows),
                accounts=AccountChecks(self.items, self.transactions, plaid, self.links, puller, keeps_gone_rows),
                clock=self.clock,
                pulled_with=pulled_with,
            ),
            removals=self.remover(plaid),
            clock=self.clock,
        )

    def remover(self, plaid: Plaid) -> Remover:
        """Return the remover on these tables."""
        return Remover(self.items, self.transactions, self.links, self.tokens, plaid, self.clock, self.orphaned.append)
