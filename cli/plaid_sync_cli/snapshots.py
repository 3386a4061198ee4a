"""The snapshot of an Item that a new consumer of the feed begins with (docs/events/README.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.aws.dynamodb.change_log import ChangeLogTable
from plaid_sync.aws.dynamodb.items import ItemsTable
from plaid_sync.aws.dynamodb.transactions import TransactionRows
from plaid_sync.domain.changes import ChangeKind, undone
from plaid_sync.domain.clock import Deadline, SystemClock
from plaid_sync.feed import accounts_of, commit_sequence, exact_texts, state_of

from plaid_sync_cli.errors import CommandError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from plaid_sync.domain.changes import Change
    from plaid_sync.domain.clock import Clock
    from plaid_sync.domain.item import Item, ItemId
    from plaid_sync.domain.transaction import TransactionId

    from plaid_sync_cli.deployment import Deployment

_MAX_TRIES: Final = 5
_PAUSE_SECONDS: Final = 2.0
_NO_LIMIT: Final = Deadline(lambda: float("inf"))
_LAST_GENERATION: Final = 9_999_999_999


class _ContentUnknownError(Exception):
    """A row is being written whose content at the last commit is nowhere: it is too large for the log."""


@dataclass(frozen=True, slots=True)
class Snapshots:
    """Reads snapshots."""

    items: ItemsTable
    rows: TransactionRows
    log: ChangeLogTable
    clock: Clock

    @classmethod
    def of(cls, deployment: Deployment) -> Snapshots:
        """Return those of a deployment."""
        dynamodb, clock = deployment.client("dynamodb"), SystemClock()
        history = deployment.output("HistoryTable")
        return cls(
            ItemsTable(dynamodb, deployment.output("ItemsTable"), history, clock),
            TransactionRows(dynamodb, deployment.output("TransactionsTable"), clock),
            ChangeLogTable(dynamodb, history, clock),
            clock,
        )

    def read(self, item_id: ItemId) -> dict[str, Any] | None:
        """Return an Item with its accounts and rows as they were at its last commit; None where it is not registered.

        Raises:
            CommandError: the Item is written all the time.
        """
        for _ in range(_MAX_TRIES):
            item = self.items.load(item_id)
            if item is None:
                return None
            try:
                rows = {} if item.removed else self._committed_rows(item)
            except _ContentUnknownError:
                rows = None
            again = self.items.load(item_id)
            if rows is not None and again is not None and again.changes_at == item.changes_at:
                return _document(item, rows)
            self.clock.sleep(_PAUSE_SECONDS)
        raise CommandError(f"{item_id} is being written", "Run the command again.", ExitCode.ACTION_REQUIRED)

    def _committed_rows(self, item: Item) -> dict[str, dict[str, Any]]:
        """Return the live rows; what was written since the last commit is undone.

        The log is read last, so that it has every write that was read; to undo one that was not read changes nothing.
        """
        live = self.rows.live_rows(item.item_id, _NO_LIMIT)
        rows = {str(row.transaction_id): row.row.plaid_object for row in live if row.row is not None}
        records = self.log.records(item.item_id, item.changes_at, _LAST_GENERATION, _NO_LIMIT)
        return before(rows, (change for record in records for change in record.changes))


def before(rows: dict[str, dict[str, Any]], changes: Iterable[Change]) -> dict[str, dict[str, Any]]:
    """Return rows as they were before changes, some of which may have been made when they were read."""
    of_row: dict[TransactionId, list[Change]] = {}
    for change in changes:
        of_row.setdefault(change.transaction_id, []).append(change)
    found = dict(rows)
    for transaction_id, its_changes in of_row.items():
        lived, content = undone(its_changes, rows.get(transaction_id))
        found.pop(transaction_id, None)
        if lived and content is None and not any(change.kind is ChangeKind.REMOVED for change in its_changes):
            raise _ContentUnknownError  # of a removed one the content is erased, and the next commit says so
        if lived and content is not None:
            found[transaction_id] = content
    return found


def _document(item: Item, rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    user = {} if item.client_user_id is None else {"client_user_id": item.client_user_id}
    return {
        "item_id": item.item_id,
        **user,
        "sequence": commit_sequence(item.changes_at),
        **state_of(item),
        "accounts": [
            {"account_id": account_id, "state": state.value, "account": exact_texts(account)}
            for account_id, (state, account) in sorted(accounts_of(item).items())
        ],
        "transactions": [exact_texts(rows[transaction_id]) for transaction_id in sorted(rows)],
    }
