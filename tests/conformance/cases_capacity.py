"""What the engine's own calls cost, as the answers themselves say (`ReturnConsumedCapacity`)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from plaid_sync.adapters.quarantine_table import QuarantineTable
from plaid_sync.core.items import Cursor
from plaid_sync.core.pages import HISTORY_COMPLETE, Page
from plaid_sync.core.pulling import Puller
from plaid_sync.core.syncing import SyncEngine, SyncJob
from plaid_sync.core.transactions import TransactionId

from tests.conformance.bench import ITEMS, NOON, Bench, moment, row
from tests.conformance.case import compares

if TYPE_CHECKING:
    from plaid_sync.core.items import ItemId
    from plaid_sync.core.transactions import TransactionRow

_TABLES = ("reads", "items", "rows")
_READS = frozenset({"GetItem", "BatchGetItem", "Query"})


@dataclass(frozen=True, slots=True)
class _Plaid:
    """A Plaid that has one page, and tokens that are their own ciphertext."""

    page: Page

    def sync_page(self, _access_token: str, _cursor: Cursor | None, _days_requested: int | None) -> Page:
        return self.page

    def decrypt(self, _item_id: ItemId, ciphertext: bytes) -> str:
        return ciphertext.decode()


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
            table = "items" if one["TableName"] == ITEMS else "rows"
            self.used[table] += one["CapacityUnits"] - sum(indexes.values())

    def units(self, *names: str) -> str:
        return ", ".join(f"{name} {self.used[name]:g}" for name in names)


def _sync(bench: Bench, item_id: ItemId, *, added: list[TransactionRow], modified: list[TransactionRow]) -> None:
    cursor = Cursor(bench.fresh())
    plaid = _Plaid(Page(tuple(added), tuple(modified), (), cursor, False, HISTORY_COMPLETE, "request"))  # noqa: FBT003
    puller = Puller(plaid, moment, lambda _: None)
    quarantine = QuarantineTable(bench.client, ITEMS, "not used: nothing is broken", moment, lambda _: None)
    engine = SyncEngine(bench.items, bench.transactions, quarantine, plaid, puller, moment)
    engine.sync(SyncJob(item_id, NOON, 1, lambda: 300.0))


def _metered(bench: Bench, *, added: int = 0, modified: int = 0) -> _Meter:
    """Sync an Item that has the `modified` rows already."""
    item_id, account, meter = bench.registered(), bench.fresh(), _Meter()
    rows = [row(f"t{number}", account) for number in range(added + modified)]
    _sync(bench, item_id, added=rows[added:], modified=[])
    _sync(meter.on(bench), item_id, added=rows[:added], modified=rows[added:])
    return meter


@compares("reads 1, items 3, rows 2")
def a_sync_of_one_new_row(bench: Bench) -> str:
    """Load, claim, one transaction, which counts twice."""
    return _metered(bench, added=1).units(*_TABLES)


@compares("reads 1, items 3, rows 198")
def a_sync_of_99_new_rows(bench: Bench) -> str:
    return _metered(bench, added=99).units(*_TABLES)


@compares(None)
def the_part_of_the_index_in_a_sync_of_one_new_row(bench: Bench) -> str:
    return _metered(bench, added=1).units("by_account")


@compares(None)
def the_part_of_the_index_in_a_sync_of_99_new_rows(bench: Bench) -> str:
    return _metered(bench, added=99).units("by_account")


@compares("reads 2, items 3, rows 0, by_account 0")
def a_sync_of_one_row_that_did_not_change(bench: Bench) -> str:
    return _metered(bench, modified=1).units(*_TABLES, "by_account")


@compares("reads 1, items 3, rows 0, by_account 0")
def a_sync_of_nothing(bench: Bench) -> str:
    return _metered(bench).units(*_TABLES, "by_account")


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
