"""What the engine's own calls cost, as the answers themselves say (`ReturnConsumedCapacity`)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from plaid_sync.adapters.dynamodb.erasable_rows import ErasableTables
from plaid_sync.adapters.dynamodb.quarantine_table import QuarantineTable
from plaid_sync.core.items import Cursor
from plaid_sync.core.lifecycle.removal import Remover
from plaid_sync.core.sync.catching_up import CatchUp
from plaid_sync.core.sync.pages import HISTORY_COMPLETE, Page
from plaid_sync.core.sync.pulling import Puller
from plaid_sync.core.sync.sync_job import SyncJob
from plaid_sync.core.sync.syncing import SyncEngine
from plaid_sync.core.sync.transactions import TransactionId

from tests.conformance.bench import HISTORY, ITEMS, NOON, Bench, moment, row
from tests.conformance.case import compares

if TYPE_CHECKING:
    from datetime import datetime

    from plaid_sync.core.items import ItemId
    from plaid_sync.core.lifecycle.health import ItemHealth
    from plaid_sync.core.sync.transactions import TransactionRow
    from plaid_sync.ports.common import Clock

_TABLES = ("reads", "items", "rows", "history")
_NAMES = {ITEMS: "items", HISTORY: "history"}
_READS = frozenset({"GetItem", "BatchGetItem", "Query"})


@dataclass(frozen=True, slots=True)
class _Plaid:
    """A Plaid that has one page, and tokens that are their own ciphertext."""

    page: Page

    def sync_page(self, _access_token: str, _cursor: Cursor | None, _days_requested: int | None) -> Page:
        return self.page

    def decrypt(self, _item_id: ItemId, ciphertext: bytes) -> str:
        return ciphertext.decode()

    def health(self, access_token: str) -> ItemHealth:
        raise NotImplementedError

    def remove(self, access_token: str) -> None:
        raise NotImplementedError


@dataclass(slots=True)
class _Meter:
    """Adds up what the calls of one client consume, by table and index, at the level that INDEXES gives."""

    used: Counter[str] = field(default_factory=Counter)

    def on(self, bench: Bench) -> Bench:
        client = bench.connect("dynamodb")
        client.meta.events.register("provide-client-params.dynamodb", self._ask)
        client.meta.events.register("after-call.dynamodb", self._add)
        return replace(bench, client=client)

    @staticmethod
    def _ask(params: dict[str, Any], **_: Any) -> dict[str, Any]:
        return params | {"ReturnConsumedCapacity": "INDEXES"}

    def _add(self, parsed: dict[str, Any], model: Any, **_: Any) -> None:
        consumed = parsed.get("ConsumedCapacity", [])
        for one in consumed if isinstance(consumed, list) else [consumed]:
            if model.name in _READS:
                self.used["reads"] += one["CapacityUnits"]
                continue
            indexes = {name: units["CapacityUnits"] for name, units in one.get("GlobalSecondaryIndexes", {}).items()}
            self.used.update(indexes)
            table = _NAMES.get(one["TableName"].rpartition("/")[2], "rows")
            self.used[table] += one["CapacityUnits"] - sum(indexes.values())

    def units(self, *names: str) -> str:
        return ", ".join(f"{name} {self.used[name]:g}" for name in names)


def _later() -> datetime:
    return NOON + timedelta(hours=1)


def _sync(
    bench: Bench, item_id: ItemId, clock: Clock, *, added: list[TransactionRow], modified: list[TransactionRow]
) -> None:
    cursor = Cursor(bench.fresh())
    plaid = _Plaid(Page(tuple(added), tuple(modified), (), cursor, False, HISTORY_COMPLETE, "request"))  # noqa: FBT003
    puller = Puller(plaid, clock, lambda _: None)
    quarantine = QuarantineTable(bench.client, ITEMS, "not used: nothing is broken", moment, lambda _: None)
    rows = ErasableTables(bench.client, (), pause=lambda _: None)
    engine = SyncEngine(
        items=bench.items,
        transactions=bench.transactions,
        quarantine=quarantine,
        tokens=plaid,
        plaid=plaid,
        catch_up=CatchUp(bench.transactions, puller),
        remover=Remover(bench.items, rows, bench.links, plaid, plaid, clock),
        clock=clock,
    )
    engine.sync(SyncJob(item_id, clock(), 1, lambda: 300.0))


def _metered(bench: Bench, *, added: int = 0, modified: int = 0) -> _Meter:
    """Sync an Item that has the `modified` rows already."""
    item_id, account, meter = bench.registered(), bench.fresh(), _Meter()
    rows = [row(f"t{number}", account) for number in range(added + modified)]
    _sync(bench, item_id, moment, added=rows[added:], modified=[])
    _sync(meter.on(bench), item_id, _later, added=rows[:added], modified=rows[added:])
    return meter


@compares("reads 1, items 3, rows 2, history 2")
def a_sync_of_one_new_row(bench: Bench) -> str:
    """Load, claim, one transaction, which counts twice."""
    return _metered(bench, added=1).units(*_TABLES)


@compares("reads 1, items 3, rows 196, history 2")
def a_sync_of_98_new_rows(bench: Bench) -> str:
    return _metered(bench, added=98).units(*_TABLES)


@compares(None)
def the_part_of_the_index_in_a_sync_of_one_new_row(bench: Bench) -> str:
    return _metered(bench, added=1).units("by_account")


@compares(None)
def the_part_of_the_index_in_a_sync_of_98_new_rows(bench: Bench) -> str:
    return _metered(bench, added=98).units("by_account")


@compares("reads 2, items 3, rows 0, history 2, by_account 0")
def a_sync_of_one_row_that_did_not_change(bench: Bench) -> str:
    return _metered(bench, modified=1).units(*_TABLES, "by_account")


@compares("reads 1, items 3, rows 0, history 2, by_account 0")
def a_sync_of_nothing(bench: Bench) -> str:
    return _metered(bench).units(*_TABLES, "by_account")


@compares("by_link 0, by_user 0")
def the_part_of_the_indexes_of_items_in_a_sync_of_nothing(bench: Bench) -> str:
    """It has no user: `by_user` has nothing of it."""
    return _metered(bench).units("by_link", "by_user")


@compares(None)
def the_part_of_the_index_by_status_in_a_sync_of_nothing(bench: Bench) -> str:
    """Its sort key moves with each sync: an entry is deleted, and another one put."""
    return _metered(bench).units("by_status")


@compares("items 1, by_link 0")
def a_claim(bench: Bench) -> str:
    item_id, meter = bench.registered(), _Meter()
    item = bench.loaded(item_id)
    meter.on(bench).items.claim(item, "attempt")
    return meter.units("items", "by_link")


@compares("reads 100")
def a_consistent_batch_of_100_rows(bench: Bench) -> str:
    item_id, meter = bench.registered(claims=1), _Meter()
    for half in (range(50), range(50, 100)):
        bench.write(item_id, 1, *(row(f"t{number}") for number in half))
    meter.on(bench).transactions.rows(item_id, [TransactionId(f"t{number}") for number in range(100)])
    return meter.units("reads")


@compares("reads 100")
def a_consistent_batch_of_100_rows_that_are_absent(bench: Bench) -> str:
    item_id, meter = bench.registered(), _Meter()
    meter.on(bench).transactions.rows(item_id, [TransactionId(f"t{number}") for number in range(100)])
    return meter.units("reads")
