"""The memory of a first sync of a long history: `PYTHONPATH=layers/plaid_sync python -m tests.bench.first_sync`.

The engine pulls so many transactions, in pages of 500 as Plaid sends them, and writes them in parts into tables that
keep nothing: what is left is the memory of the engine. Each size runs in its own process, whose peak of resident memory
Linux reports.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.domain.item import ItemId
from plaid_sync.sync.job import Outcome, SyncJob

from tests.fakes.clock import NOON
from tests.fakes.items import FakeItems, new_item
from tests.fakes.plaid import FakePlaid, page, transaction
from tests.fakes.tables import Tables
from tests.fakes.transactions import FakeTransactions

if TYPE_CHECKING:
    from collections.abc import Collection

    from plaid_sync.domain.clock import Deadline
    from plaid_sync.domain.item import Checkpoint, Cursor
    from plaid_sync.domain.transaction import RowWrite
    from plaid_sync.pull.pages import Page
    from plaid_sync.sync.ports import Commit

ITEM: Final = ItemId("item")
SIZES: Final = (500, 100_000, 200_000)
PAGE: Final = 500
FILLING: Final = {"name": "Plaid Gold Standard 0% Interest Checking", "website": "plaid.com" * 60}
INVOCATION_SECONDS: Final = 300.0


@dataclass(slots=True)
class Plaid(FakePlaid):
    """Plaid with a long history, whose pages take two seconds each."""

    transactions: int = 0

    def sync_page(self, access_token: str, cursor: Cursor | None, days_requested: int | None) -> Page:  # noqa: ARG002 - the port's
        self.clock.sleep(2.0)
        self.calls["sync"] += 1
        start = int(cursor or 0)
        end = min(start + PAGE, self.transactions)
        rows = [transaction(f"{number:037}") | FILLING for number in range(start, end)]
        return page(added=rows, next_cursor=str(end), has_more=end < self.transactions)


@dataclass(slots=True)
class NoRows(FakeTransactions):
    """A Transactions table that forgets what is written."""

    written: int = field(default=0)

    def write(
        self,
        item_id: ItemId,
        generation: int,
        writes: Collection[RowWrite],
        *,
        begin: bool,
        end: Commit | Checkpoint | None = None,
    ) -> None:
        self.written += len(writes)
        FakeTransactions.write(self, item_id, generation, (), begin=begin, end=end)


def sync(transactions: int) -> str:
    """Sync in this process; return the figures as a line."""
    tables = Tables.of(new_item(ITEM, linked_at=NOON))
    items: FakeItems = tables.items
    rows = NoRows(items)
    tables.transactions = rows
    plaid, invocations, outcome = Plaid(clock=tables.clock, transactions=transactions), 0, Outcome.CONTINUES
    while outcome is Outcome.CONTINUES:
        invocations += 1
        deadline: Deadline = tables.clock.deadline(INVOCATION_SECONDS)
        outcome = tables.engine(plaid).sync(SyncJob(ITEM, tables.clock.now(), deadline)).outcome
    peak: Any = Path("/proc/self/status").read_text(encoding="ascii").partition("VmHWM:")[2].split()[0]
    pages, mebibytes = plaid.calls["sync"], int(peak) // 1024
    return (
        f"{transactions:>8,} transactions  {outcome}  {rows.written:>8,} rows written  {pages:>4} pages  "
        f"{invocations} invocations  {mebibytes} MiB"
    )


def main() -> int:
    if len(sys.argv) > 1:
        sys.stdout.write(f"{sync(int(sys.argv[1]))}\n")
        return 0
    for size in SIZES:
        subprocess.run([sys.executable, "-m", "tests.bench.first_sync", str(size)], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
