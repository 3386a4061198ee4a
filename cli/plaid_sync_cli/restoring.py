"""Copies the rows of a restored table back, and applies to them what an older row does not know.

A restored table is another table, and older. docs/runbook.md has the procedure.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.pool import ThreadPool
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.aws.dynamodb import item_rows
from plaid_sync.aws.dynamodb.expressions import Expression, deserialize, serialize
from plaid_sync.aws.dynamodb.history import entry_from_row, entry_put
from plaid_sync.aws.dynamodb.transact import ITEM, ConditionFailedError, put, write_together
from plaid_sync.domain.clock import SystemClock, utc_now
from plaid_sync.domain.errors import UnreadableItemError
from plaid_sync.domain.history import EntryKind, HistoryEntry
from plaid_sync.domain.item import ItemId, StateName

from plaid_sync_cli.restored_items import Facts, Row, lost_item, restored_item

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plaid_sync_cli.deployment import Deployment

_WORKERS: Final = 8
_CLAIM: Final = ("item_id", "link_id", "client_user_id")
"""What an account claim has of its Item."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What may be stored of an Item's transactions.

    Attributes:
        known: whether there is such an Item.
        erased: whether nothing of it is kept.
        closed: the accounts of which no content is kept.
    """

    known: bool = False
    erased: bool = False
    closed: frozenset[str] = frozenset()

    def allows(self, row: Row) -> bool:
        """Return whether a row may be stored; an erased tombstone of a closed account has no content."""
        is_closed = row.get("account_id", {}).get("S") in self.closed and "plaid" in row
        return self.known and not self.erased and not is_closed


@dataclass(slots=True)
class Report:
    """What was done.

    Attributes:
        rows: their number by result: `restored`, `kept`, …
        items: the ids of Items that an operator has to know of.
    """

    rows: Counter[str] = field(default_factory=Counter)
    items: dict[str, list[str]] = field(default_factory=dict)

    def add(self, what: str, item_id: str) -> str:
        """Note an Item; return what is noted."""
        self.items.setdefault(what, []).append(item_id)
        return what


@dataclass(frozen=True, slots=True)
class Restorer:
    """Restores one table of a deployment.

    Attributes:
        source: the restored table; the deployment's own where that was restored under its own name.
        replace: whether rows that exist are replaced, too.
        only: the Items to restore; empty for all.
        dry_run: whether nothing is written.
        advance: is called with a number of rows that are done.
    """

    deployment: Deployment
    source: str
    advance: Callable[[int], None]
    replace: bool = False
    only: frozenset[str] = frozenset()
    dry_run: bool = False
    report: Report = field(default_factory=Report)

    # ---- Items

    def items(self) -> None:
        """Restore Items. One that was removed since stays removed, and one that was linked since becomes so.

        One that was imported since can be imported again: its access token is not lost.
        """
        found = set[str]()
        for page in self._pages(self.source):
            found.update(map(_id_of, page))
            self._each(page, self._restore_item)
        for item_id in sorted(self._linked() - found):
            if self._stored(item_id) is not None:
                continue
            facts = self._facts(item_id)
            if facts.imported and facts.removal_requested is None:
                self.report.add("imported", item_id)
            elif facts.linked or facts.imported:
                result = self._put_item(lost_item(ItemId(item_id), facts), None)
                self.report.rows[result] += 1
                self.report.add("lost" if facts.removal_requested is None else "removed", item_id)

    def _linked(self) -> set[str]:
        """Return the Items that were linked or imported, as far as the history goes; or those that are named."""
        if self.only:
            return set(self.only)
        expression = Expression()
        either = " OR ".join(expression.equals("outcome", outcome) for outcome in ("linked", "imported"))
        linked = {"FilterExpression": either, **expression.arguments()}
        return {_id_of(row) for page in self._scan(self.deployment.output("HistoryTable"), linked) for row in page}

    def _facts(self, item_id: str) -> Facts:
        """Learn what happened to an Item.

        Read them after its row: what an API request changes later fails the condition under which the row is written.
        """
        facts = Facts()
        for page in self._partition(self.deployment.output("HistoryTable"), item_id):
            for row in page:
                facts.add(entry_from_row(row))
        return facts

    def _restore_item(self, row: Row) -> str:
        item_id, in_place = _id_of(row), self.source == self.deployment.output("ItemsTable")
        stored = row if in_place else self._stored(item_id)
        if stored is not None and not in_place and self._is_kept(row, stored):
            return "kept"
        facts = self._facts(item_id)
        try:
            restored = restored_item(row, stored or {}, facts)
        except UnreadableItemError:
            return self.report.add("unreadable", item_id)
        if "removal_requested_at" in restored.keys() - row.keys():
            self.report.add("unregistered" if facts.removal_requested is None else "removed", item_id)
        elif restored.get("state") != StateName.REMOVED and restored.get("token_rotation_began_at"):
            self.report.add("token_in_doubt", item_id)
        return self._put_item(restored, stored)

    def _is_kept(self, row: Row, stored: Row) -> bool:
        """Return whether a row that exists stays: with `replace` that of a removed Item, unless it is damaged."""
        # Only the removal of an Item that another restored table lacked leaves a row without one of these.
        known = {"access_token", "plaid_removed_at", "removal_keeps_at_plaid", "unregistered_link"}
        if stored.keys().isdisjoint(known):
            return False
        is_readable = item_rows.listed_item(stored).state.code != item_rows.UNREADABLE_ROW
        return not self.replace or "unregistered_link" in row or (_is_removed(stored) and is_readable)

    def _put_item(self, row: Row, stored: Row | None) -> str:
        """Write an Item with its history entry, unless a sync or a request has changed it meanwhile."""
        if self.dry_run:
            return "restored"
        expression, clock, item_id = Expression(), SystemClock(), row["item_id"]
        known = deserialize(stored or {})
        names = ("item_id", "generation", "state", "removal_erases")
        # A damaged row can hold a null, which is not absent.
        unchanged = " AND ".join(
            f"{expression.name(name)} = {expression.value(known[name])}"
            if name in known
            else expression.equals(name, None)
            for name in names
        )
        write = put(ITEM, self.deployment.output("ItemsTable"), row)
        write.request["Put"] |= {"ConditionExpression": unchanged, **expression.arguments()}
        details = {"request": "plaid-sync restore items"}
        entry = HistoryEntry(item_id, clock.now(), "restore", EntryKind.REQUEST, "restored", details)
        actions = [write, entry_put(self.deployment.output("HistoryTable"), entry)]
        try:
            write_together(self.deployment.client("dynamodb"), actions, clock)
        except ConditionFailedError:
            return self.report.add("modified", item_id)
        return "restored"

    def _stored(self, item_id: str) -> Row | None:
        key, table = {"item_id": {"S": item_id}}, self.deployment.output("ItemsTable")
        response = self.deployment.client("dynamodb").get_item(TableName=table, Key=key, ConsistentRead=True)
        found: Row | None = response.get("Item")
        return found

    # ---- the other tables

    def transactions(self) -> None:
        """Restore transactions, none of an erased Item or a closed account; in place, delete those."""
        scopes: dict[str, Scope] = {}
        for page in self._pages(self.source):
            for item_id in {_id_of(row) for row in page} - scopes.keys():
                scopes[item_id] = self._scope(item_id)
            self._each(page, lambda row: self._restore_transaction(row, scopes[_id_of(row)]))

    def _scope(self, item_id: str) -> Scope:
        stored = self._stored(item_id)
        if stored is None or "unregistered_link" in stored:
            self.report.add("unknown", item_id)
            return Scope()
        try:
            item = item_rows.item_from_row(stored)
        except UnreadableItemError:
            self.report.add("unreadable", item_id)
            return Scope()
        # A removed Item no longer has its accounts, and a lost one never had them here: the history has them.
        facts = self._facts(item_id)
        erased = facts.erase or (item.removal is not None and item.removal.erase)
        return Scope(known=True, erased=erased, closed=facts.account_states(item.account_states).without_content)

    def _restore_transaction(self, row: Row, scope: Scope) -> str:
        table = self.deployment.output("TransactionsTable")
        if self.source == table:
            if scope.allows(row) or not scope.known:
                return "kept"
            if not self.dry_run:
                key = {name: row[name] for name in ("item_id", "transaction_id")}
                self.deployment.client("dynamodb").delete_item(TableName=table, Key=key)
            return "erased"
        if not scope.allows(row) or _has_expired(row):
            return "not_restored"
        return self._put(table, row, "transaction_id")

    def history(self) -> None:
        """Restore history entries that are missing, without their events: those were published when it happened."""
        table = self.deployment.output("HistoryTable")
        for page in self._pages(self.source):
            entries = [
                {name: value for name, value in row.items() if name != "published_events"}
                for row in page
                if not _has_expired(row)
            ]
            self._each(entries, lambda row: self._put(table, row, "entry_id"))

    def links(self) -> None:
        """Restore the account claims that are missing, from the Items that hold them."""
        table = self.deployment.output("LinksTable")
        for page in self._pages(self.source):
            claims = [
                {"link_key": serialize(key), **{name: row[name] for name in _CLAIM if name in row}}
                for row in page
                if not _is_removed(row) and "link_id" in row
                for key in sorted(row.get("bank_login_ids", {}).get("SS", ()))
            ]
            self._each(claims, lambda row: self._put(table, row, "link_key"))

    def _put(self, table: str, row: Row, key: str) -> str:
        """Write a row that is missing, or any with `replace`."""
        dynamodb, expression = self.deployment.client("dynamodb"), Expression()
        if self.dry_run:
            return "restored"
        absent = {"ConditionExpression": expression.equals(key, None), **expression.arguments()}
        try:
            dynamodb.put_item(TableName=table, Item=row, **({} if self.replace else absent))
        except dynamodb.exceptions.ConditionalCheckFailedException:
            return "kept"
        return "restored"

    # ---- reading

    def _pages(self, table: str) -> Iterator[list[Row]]:
        """Yield the rows of the Items to restore."""
        if self.only:
            for item_id in sorted(self.only):
                yield from self._partition(table, item_id)
        else:
            yield from self._scan(table, {})

    def _scan(self, table: str, request: dict[str, Any]) -> Iterator[list[Row]]:
        pages = self.deployment.client("dynamodb").get_paginator("scan")
        for page in pages.paginate(TableName=table, ConsistentRead=True, **request):
            yield page["Items"]

    def _partition(self, table: str, item_id: str) -> Iterator[list[Row]]:
        """Yield the rows of an Item in the order of their sort key."""
        expression, pages = Expression(), self.deployment.client("dynamodb").get_paginator("query")
        chosen = {"KeyConditionExpression": expression.equals("item_id", item_id), **expression.arguments()}
        for page in pages.paginate(TableName=table, ConsistentRead=True, **chosen):
            yield page["Items"]

    def _each(self, rows: list[Row], restore: Callable[[Row], str]) -> None:
        """Restore the rows of a page, some at a time."""
        with ThreadPool(_WORKERS) as pool:
            self.report.rows.update(pool.map(restore, rows))
        self.advance(len(rows))


def _id_of(row: Row) -> str:
    return str(row["item_id"]["S"])


def _is_removed(row: Row) -> bool:
    """Return whether an Item is removed, or was never registered."""
    return row.get("state") == serialize(StateName.REMOVED.value)


def _has_expired(row: Row) -> bool:
    return "expires_at" in row and int(row["expires_at"]["N"]) <= utc_now().timestamp()
