"""The invariants, checked while a schedule runs and when its world is quiescent.

It reads the tables as an administrator, and compares them with Plaid's truth by `local.comparison`, which knows nothing
of the engine. Time is counted in steps: each call of any worker is one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.aws.dynamodb.account_rows import accounts_from
from plaid_sync.domain.clock import read_timestamp

from local.comparison import PlaidItem, Tables, compare
from local.snapshot import plaid_item, plain

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from local.plaid import PlaidSimulator
    from local.stack import LocalStack
    from tests.simulation.faults.boundary import Call

ANNOTATION: Final = "ledger_account"
"""An attribute of the application's own."""
ANNOTATIONS: Final = "annotations"
"""The attribute that follows a transaction."""


_PENDING: Final = {"failing_since", "unfinished_attempts", "pending_checks", "checkpoint", "writing_since", "reconcile"}
_LOOKED_AT_AGAIN: Final = {"USER_ACCOUNT_REVOKED"}
_CONCLUSIVE: Final = {"not_ready", "needs_user", "revoked"}
"""Outcomes without a commit that need no retry: Plaid's refusal, or that nothing is ready."""


class DivergenceError(AssertionError):
    pass


def _require(holds: bool, item_id: str, complaint: str) -> None:  # noqa: FBT001 - an assertion
    if not holds:
        raise DivergenceError(f"{item_id}: {complaint}")


@dataclass(slots=True)
class ObservedItem:
    """What was observed of one Item.

    Attributes:
        registered: the application got the response that it is linked, so that it must be synced.
        pulled: the step at which the newest pull began whose result was recorded.
        webhooks: for each acknowledged webhook, by its signature, the step at which its first delivery began.
        position: the position of the stored cursor in Plaid's log.
        at_removal: all rows as they were when the Item was removed.
        unreported: whether something changed that no webhook and no request reports, or whose webhook was lost.
        closed: accounts that Plaid stopped to list, at least for a while.
        notes: the names in `annotations` that an application wrote, with the transaction that each was written on.
        imported_at: the position of the cursor that it was imported with: rows that have not changed since are not
            pulled, until the whole history is.
    """

    registered: bool = False
    pulled: int = -1
    webhooks: dict[str, int] = field(default_factory=dict)
    cursor: str = ""
    position: int = 0
    annotations: dict[str, str] = field(default_factory=dict)
    at_removal: dict[str, Any] | None = None
    unreported: bool = False
    closed: set[str] = field(default_factory=set)
    notes: dict[str, str] = field(default_factory=dict)
    imported_at: int = 0

    @property
    def followed(self) -> bool:
        """Whether the engine has work with it: a sync, or its removal."""
        return self.registered or self.at_removal is not None

    @property
    def synced(self) -> bool:
        """Whether its rows must follow Plaid."""
        return self.registered and self.at_removal is None


@dataclass(slots=True)
class Checker:
    """Checks one schedule.

    Attributes:
        steps: calls so far.
        keeps_gone_rows: whether the stack keeps the rows of accounts that are gone.
        commits: commits so far, each compared with Plaid's truth at its cursor.
        noted: notes so far.
        committed: for each commit that the feed publishes (Item, generation), the rows of the Item then.
    """

    stack: LocalStack
    plaid: PlaidSimulator
    keeps_gone_rows: bool = False
    steps: int = 0
    commits: int = 0
    noted: int = 0
    items: dict[str, ObservedItem] = field(default_factory=dict)
    committed: dict[tuple[str, int], dict[str, dict[str, Any]]] = field(default_factory=dict)

    def item(self, item_id: str) -> ObservedItem:
        return self.items.setdefault(item_id, ObservedItem())

    # ---- observations

    def before_call(self, pulls: dict[str, int], call: Call) -> None:
        """Observe where a pull begins: at a page that is requested with a cursor that ended a pull, or with none.

        Where it continues one of another invocation, at its first page: Plaid would refuse that if the data had
        changed since the pull began.

        Args:
            pulls: the step at which the worker began its current pull of each Item.
            call: what it is about to do.
        """
        self.steps += 1
        if call.operation != "/transactions/sync":
            return
        token, cursor = call.body["access_token"], call.body.get("cursor") or ""
        for item in self.plaid.items.values():
            if item.access_token == token and (
                not cursor or cursor in self.plaid.final_cursors(item.item_id) or item.item_id not in pulls
            ):
                pulls[item.item_id] = self.steps

    def after_call(self, pulls: dict[str, int], call: Call) -> None:
        """Check a transaction of the engine, or a commit without rows, that succeeded."""
        alone = call.operation == "DynamoDB.UpdateItem" and "#synced_at" in call.body["ExpressionAttributeNames"]
        if call.operation != "DynamoDB.TransactWriteItems" and not alone:
            return
        actions = [{"Update": call.body}] if alone else call.body["TransactItems"]
        item_action = next(iter(actions[0].values()))
        if "item_id" not in item_action.get("Key", {}):
            return  # a link session's
        item_id, names = item_action["Key"]["item_id"]["S"], item_action["ExpressionAttributeNames"]
        item = self.item(item_id)
        if "#removal_requested_at" in names:
            item.at_removal = self.rows(item_id) if item.at_removal is None else item.at_removal
        elif "#removal_completed_at" not in names:
            commit = "#synced_at" in names
            self._check_write(item_id, commit=commit)
            entries = [action["Put"]["Item"] for action in actions if "Put" in action]
            concluded = any(entry.get("outcome", {}).get("S") in _CONCLUSIVE for entry in entries)
            if item_id in pulls and (commit or concluded):
                item.pulled = max(item.pulled, pulls[item_id])

    def _check_write(self, item_id: str, *, commit: bool) -> None:
        item, record = self.item(item_id), self.record(item_id)
        _require(item.at_removal is None, item_id, "a removed Item was written")
        cursor = record.get("cursor", "")
        if not commit:
            _require(cursor == item.cursor, item_id, "the cursor moved before all rows were written")
            return
        position = self.plaid.final_cursors(item_id).get(cursor)
        if position is None:
            raise DivergenceError(f"{item_id}: the cursor {cursor!r} is not one that ended a pull")
        _require(position >= item.position, item_id, "the cursor moved backwards")
        item.cursor, item.position = cursor, position
        self.commits += 1
        rows = self.rows(item_id)
        if record.get("changes_at") == record["generation"]:
            self.committed[item_id, int(record["generation"])] = rows
        self._check_commit(item_id, record, rows, position)

    def _check_commit(
        self, item_id: str, record: dict[str, Any], rows: dict[str, dict[str, Any]], position: int
    ) -> None:
        """Compare the rows with Plaid's at the stored cursor: not only the end must be right."""
        truth = self._pulled(item_id, self.plaid.truth_at(item_id, position), rows, position)
        at_plaid = PlaidItem(item_id, truth, position, self.plaid.final_cursors(item_id))
        resync_pending = record.pop("reconcile", False)
        record["state"] = "active"  # the state is checked at the end
        differences = compare([at_plaid], Tables([record], list(rows.values()))).differences
        # An account that is closed while the attempt runs is in one of Plaid's responses, and not in the other.
        closed = self._transactions_of(item_id, self.item(item_id).closed)
        differences = [difference for difference in differences if difference.transaction_id not in closed]
        if resync_pending:  # rows that are gone at Plaid may still be live
            differences = [difference for difference in differences if difference.transaction_id in truth]
        _require(not differences, item_id, f"after a commit: {differences[:3]} of {len(differences)}")

    def _pulled(
        self, item_id: str, truth: Mapping[str, Any], rows: Collection[str], position: int | None = None
    ) -> dict[str, Any]:
        """Return Plaid's rows without those that may be absent.

        They have not changed since the cursor that the Item was imported with: a pull of the whole history brings them.
        """
        since = self.item(item_id).imported_at
        changed = {change.transaction_id for change in self.plaid.item(item_id).log.changes[since:position]}
        return {key: row for key, row in truth.items() if not since or key in changed or key in rows}

    def _transactions_of(self, item_id: str, accounts: set[str]) -> set[str]:
        """Return the transactions that were ever in one of the accounts."""
        changes = self.plaid.item(item_id).log.changes
        return {change.transaction_id for change in changes if change.account_id in accounts}

    # ---- at the end, when the world is quiescent

    def check_webhooks(self) -> None:
        """Check that each acknowledged webhook led to a pull that began after it."""
        for item_id, item in self.items.items():
            newest = max(item.webhooks.values(), default=-1)
            _require(
                item.pulled > newest or not item.synced,
                item_id,
                f"a webhook acknowledged at step {newest} led to no pull: the last one began at step {item.pulled}",
            )

    def check_items(self, *, swept: bool) -> None:
        """Check that live rows equal Plaid's; before a sweep only where everything was reported."""
        for item_id, item in self.items.items():
            if item.synced and (swept or not item.unreported):
                rows, record = self.rows(item_id), self.record(item_id)
                kept = self._check_accounts(item_id, record, swept=swept)
                tables = Tables([record], [row for row in rows.values() if row.get("account_id") not in kept])
                at_plaid = plaid_item(self.plaid, item_id)
                at_plaid = replace(at_plaid, rows=self._pulled(item_id, at_plaid.rows, rows))
                differences = compare([at_plaid], tables).differences
                _require(not differences, item_id, f"{differences[:3]} of {len(differences)} differences")
                for transaction_id, value in item.annotations.items():
                    found = rows.get(transaction_id, {}).get(ANNOTATION)
                    _require(found == value, item_id, f"annotation of {transaction_id}: {found!r}, not {value!r}")
                self._check_notes(item_id, rows)
            if item.at_removal is not None:
                self._check_removed(item_id, item.at_removal)

    def _check_notes(self, item_id: str, rows: dict[str, dict[str, Any]]) -> None:
        """Check that each note is on one row: the posted one where the pair is known, and none that expires."""
        item = self.item(item_id)
        erased = self._transactions_of(item_id, item.closed)
        for name, transaction_id in item.notes.items():
            holders = [row for row in rows.values() if name in row.get(ANNOTATIONS, {})]
            if not holders and transaction_id in erased:
                continue
            _require(len(holders) == 1, item_id, f"{name} of {transaction_id} is on {len(holders)} rows")
            (row,) = holders
            if "removed_at" not in row:
                continue
            _require("expires_at" not in row, item_id, f"{name} of {transaction_id} expires with its tombstone")
            posted = rows.get(row.get("posted_transaction_id", ""), {})
            linked = "removed_at" not in posted and posted.get("pending_transaction_id") == row["transaction_id"]
            _require(not linked, item_id, f"{name} of {transaction_id} has not moved to its posted row")

    def _check_accounts(self, item_id: str, record: dict[str, Any], *, swept: bool) -> set[str]:
        """Check what is stored about accounts against Plaid's list; return the gone ones whose rows stay.

        Before a sweep, an account that no transaction and no report mentions need not be known.
        """
        listed = {str(account["account_id"]) for account in self.plaid.account_rows(item_id)}
        gone, withdrawn = (set(record.get(name, ())) for name in ("gone_accounts", "revoked_accounts"))
        _require(not listed & (gone | withdrawn), item_id, f"closed, though listed: {listed & (gone | withdrawn)}")
        stored = {account.account_id for account in accounts_from(record.get("accounts"))}
        _require(not swept or stored - gone == listed, item_id, f"accounts {stored - gone}, and Plaid lists {listed}")
        return gone if self.keeps_gone_rows else set()

    def _check_removed(self, item_id: str, at_removal: dict[str, Any]) -> None:
        record, rows = self.record(item_id), self.rows(item_id)
        _require("removal_completed_at" in record, item_id, "a removal was not completed")
        _require("access_token" not in record, item_id, "the token of a removed Item is still stored")
        _require(self.plaid.item(item_id).removed, item_id, "a removed Item is still billed")
        if record["removal_erases"]:
            _require(not rows, item_id, f"{len(rows)} rows of an erased Item are left")
            counted = int(record["rows_to_erase"])
            _require(counted == len(at_removal), item_id, f"{counted} of {len(at_removal)} rows counted")
        else:
            _require(rows == at_removal, item_id, "a removed Item's rows changed")

    # ---- the tables

    @property
    def _dynamodb(self) -> Any:
        return self.stack.client("dynamodb")

    def record(self, item_id: str) -> dict[str, Any]:
        key = {"item_id": {"S": item_id}}
        found = self._dynamodb.get_item(TableName=self.stack.items_table, Key=key, ConsistentRead=True)
        return plain(found.get("Item", {}))

    def planned(self, item_id: str) -> datetime:
        """Return when an Item is attempted next: an Item that is synced always remembers a time."""
        record = self.record(item_id)
        _require("next_attempt_at" in record, item_id, "no attempt is planned")
        return read_timestamp(record["next_attempt_at"])

    def is_settled(self, item_id: str, *, after_a_day: bool = False) -> bool:
        """Return whether nothing of an Item is pending but its routine attempts.

        For a day, an account that Plaid lists although a webhook says that it was withdrawn is looked at again.
        """
        record = self.record(item_id)
        if self.item(item_id).at_removal is not None:
            return "removal_completed_at" in record
        if not after_a_day and {check["code"] for check in record.get("pending_checks", ())} <= _LOOKED_AT_AGAIN:
            record.pop("pending_checks", None)
        return _PENDING.isdisjoint(record)

    def rows(self, item_id: str) -> dict[str, dict[str, Any]]:
        """Return all rows of an Item, tombstones included."""
        found = self._dynamodb.query(
            TableName=self.stack.transactions_table,
            ConsistentRead=True,
            KeyConditionExpression="item_id = :item_id",
            ExpressionAttributeValues={":item_id": {"S": item_id}},
        )
        assert "LastEvaluatedKey" not in found, "histories here are small"
        return {row["transaction_id"]: row for row in map(plain, found["Items"])}

    def annotate(self, item_id: str, number: int) -> None:
        """Write an application's attribute on one of the live rows."""
        live = sorted(key for key, row in self.rows(item_id).items() if "removed_at" not in row)
        if not live:
            return
        annotations, transaction_id = self.item(item_id).annotations, live[number % len(live)]
        value = annotations[transaction_id] = f"account {len(annotations)} at {self.steps}"
        self._dynamodb.update_item(
            TableName=self.stack.transactions_table,
            Key=_key(item_id, transaction_id),
            UpdateExpression="SET #name = :value",
            ExpressionAttributeNames={"#name": ANNOTATION},
            ExpressionAttributeValues={":value": {"S": value}},
        )

    def note(self, item_id: str, number: int) -> None:
        """Write into `annotations` of one of the live rows, of the pending ones if there are any."""
        rows = {key: row for key, row in self.rows(item_id).items() if "removed_at" not in row}
        if keys := sorted(key for key, row in rows.items() if row.get("pending")) or sorted(rows):
            transaction_id = keys[number % len(keys)]
            self.note_on(item_id, transaction_id, rows[transaction_id])

    def note_on(self, item_id: str, transaction_id: str, row: dict[str, Any]) -> None:
        """Add a name to the annotations of a live row, as PATCH does."""
        notes = self.item(item_id).notes
        name = f"note {len(notes)}"
        notes[name] = transaction_id
        merged = row.get(ANNOTATIONS, {}) | {name: transaction_id}
        self._dynamodb.update_item(
            TableName=self.stack.transactions_table,
            Key=_key(item_id, transaction_id),
            UpdateExpression="SET annotations = :merged ADD annotations_version :one",
            ConditionExpression="attribute_exists(generation) AND attribute_not_exists(removed_at)",
            ExpressionAttributeValues={
                ":merged": {"M": {key: {"S": value} for key, value in merged.items()}},
                ":one": {"N": "1"},
            },
        )
        self.noted += 1

    def expire(self, now: int) -> None:
        for item_id, item in self.items.items():
            rows = self.rows(item_id)
            expired = [key for key, row in rows.items() if row.get("expires_at", now) < now]
            for transaction_id in expired:
                self._dynamodb.delete_item(TableName=self.stack.transactions_table, Key=_key(item_id, transaction_id))
                item.annotations.pop(transaction_id, None)
            if item.at_removal is not None:
                item.at_removal = {key: row for key, row in rows.items() if key not in expired}


def _key(item_id: str, transaction_id: str) -> dict[str, dict[str, str]]:
    return {"item_id": {"S": item_id}, "transaction_id": {"S": transaction_id}}
