"""Copies the rows of a restored table back, and applies to them what an older row does not know.

A restored table is another table, and older. The history says what happened since: Items that were linked and removed,
accounts that were erased or withdrawn, access tokens that were replaced. docs/runbook.md has the procedure.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.pool import ThreadPool
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.aws.dynamodb import item_rows
from plaid_sync.aws.dynamodb.expressions import Expression, deserialize, number_of, serialize
from plaid_sync.aws.dynamodb.history import entry_from_row, entry_put
from plaid_sync.aws.dynamodb.transact import ITEM, ConditionFailedError, put, write_together
from plaid_sync.domain.accounts import AccountStates
from plaid_sync.domain.clock import SystemClock, format_timestamp, utc_now
from plaid_sync.domain.errors import UnreadableItemError
from plaid_sync.domain.history import EntryKind, HistoryEntry
from plaid_sync.domain.item import (
    ACCOUNT_ROWS,
    CHECK_ACCOUNTS,
    ItemId,
    ItemState,
    PendingCheck,
    StateName,
    merge_checks,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from plaid_sync_cli.deployment import Deployment

Row = dict[str, Any]
GENERATION_STEP: Final = 1_000_000
"""Added to the generation of a restored Item, so that no row is newer than its Item: in 35 days, the longest time that
a table can be restored over, an Item has far fewer attempts."""
_WORKERS: Final = 8
_ATTEMPT: Final = (
    *("attempt_id", "checkpoint", "pull_restarts", "reconcile_after", "inconclusive_pulls"),
    *("unfinished_attempts", "writing_since"),
)
"""Attributes of an attempt that ended long ago. Without `writing_since`, absence counts in a complete history only."""
_ACCOUNT_CHANGES: Final = {"withdrawn_accounts": True, "returned_accounts": False}


@dataclass(slots=True)
class Facts:
    """What the history knows of an Item.

    Attributes:
        removal_requested: the request that removed it.
        erase: whether its transactions have to be erased.
        removed_at: when its removal was complete: its access token is dead.
        erased: accounts that were erased; False for those that were restored after that.
        withdrawn: accounts that the user withdrew; False for those that Plaid listed again after that.
        token_replaced_at: when its access token was last replaced.
        rotation_began_at: when a replacement began that has no end: its access token may be dead.
    """

    linked: bool = False
    removal_requested: HistoryEntry | None = None
    erase: bool = False
    removed_at: datetime | None = None
    erased: dict[str, bool] = field(default_factory=dict)
    withdrawn: dict[str, bool] = field(default_factory=dict)
    token_replaced_at: datetime | None = None
    rotation_began_at: datetime | None = None

    def add(self, entry: HistoryEntry) -> None:
        """Learn from an entry; they come in their order."""
        outcome, details = entry.outcome, entry.details
        match outcome:
            case "linked":
                self.linked = True
            case "removal_requested" | "erasure_requested":
                self.removal_requested = self.removal_requested or entry
                self.erase = self.erase or details.get("transactions") == "erase"
            case "account_erasure_requested" | "account_restored":
                self.erased[details["account_id"]] = outcome == "account_erasure_requested"
            case "token_rotation_began":
                self.rotation_began_at = entry.at
            case "token_rotation_failed":
                self.rotation_began_at = None
            case "token_rotated":
                self.token_replaced_at, self.rotation_began_at = entry.at, None
        # Without a request it ended the removal of a lost Item, whose access token Plaid still accepts.
        if entry.kind == EntryKind.REMOVAL and self.removal_requested is not None:
            self.removed_at = entry.at
        for name, withdrawn in _ACCOUNT_CHANGES.items():
            self.withdrawn |= dict.fromkeys(details.get(name, ()), withdrawn)

    def account_states(self, known: AccountStates) -> AccountStates:
        """Return the states of accounts as of now: those of a row, changed by what the history knows."""
        withdrawn, erased = _changed(known.withdrawn, self.withdrawn), _changed(known.erased, self.erased)
        return AccountStates(known.gone - withdrawn, withdrawn, erased)

    def has_newest_token(self, row: Row) -> bool:
        """Return whether the row's access token is the last one: it was stored, or it worked, after the replacement."""
        known_at = max(str(row.get(name, {}).get("S", "")) for name in ("fresh_at", "token_rotated_at"))
        return self.token_replaced_at is None or format_timestamp(self.token_replaced_at) <= known_at

    def removal(self, item_id: ItemId) -> Row:
        """Return the attributes of its removal, as far as it is done."""
        entry, now = self.removal_requested, utc_now()
        requested_at = now if entry is None else entry.at
        sets = item_rows.removal_attributes(item_id, ItemState(StateName.REMOVED), requested_at, erase=self.erase)
        sets |= {"removal_completed_at": None, "rows_to_erase": None, **item_rows.request_attributes(item_id, now)}
        if entry is not None:
            sets["replaced_by"] = entry.details.get("replaced_by")
        if self.removed_at is not None:
            sets |= {"access_token": None, "plaid_removed_at": format_timestamp(self.removed_at)}
        return sets


def _changed(known: frozenset[str], changes: dict[str, bool]) -> frozenset[str]:
    return frozenset(each for each in {*known, *changes} if changes.get(each, True))


def restored_item(row: Row, stored: Row, facts: Facts) -> Row:
    """Return the row of a restored Item: removed again where it was, else with a full resync pending.

    One that was registered since is removed, too: its row has nothing but an access token.

    Args:
        row: as restored, in DynamoDB's form.
        stored: the row that it replaces; empty if there is none.
        facts: what the history knows of the Item.
    """
    values, item, now = deserialize(row), item_rows.item_from_row(row), utc_now()
    generation = GENERATION_STEP + max(number_of(each, "generation") for each in (values, deserialize(stored)))
    known = {"generation": generation, **_token(row, stored, facts)}
    if "unregistered_link" in values and facts.linked:
        return lost_item(item.item_id, facts) | known | facts.removal(item.item_id)
    due = {} if values.get("removal_completed_at") else item_rows.request_attributes(item.item_id, now)
    restored = values | dict.fromkeys(_ATTEMPT) | known | due
    if "unregistered_link" in values:
        return restored
    if item.removed:
        again = facts.erase and (item.removal is None or not item.removal.erase)
        return restored | (facts.removal(item.item_id) if again else {})
    if facts.removal_requested is not None:
        return restored | facts.removal(item.item_id)
    states = facts.account_states(item.account_states)
    closed = states.without_content
    accounts = (account for account in item.accounts if account.account_id not in closed)
    checks = [PendingCheck(CHECK_ACCOUNTS, now)]
    checks += [PendingCheck(ACCOUNT_ROWS, now, account_id=each) for each in sorted(closed)]
    return restored | {
        **item_rows.FULL_RESYNC,
        **item_rows.account_state_attributes(states),
        "accounts": item_rows.accounts_attribute(accounts),
        "pending_checks": item_rows.check_attributes(merge_checks(item.pending_checks, checks)),
    }


def _token(row: Row, stored: Row, facts: Facts) -> Row:
    """Return the newest access token that there is.

    Where it may be dead, its rotation counts as begun: so the removal asks Plaid, and reports an Item that it keeps.
    """
    candidates = [each for each in (row, stored) if "B" in each.get("access_token", {})]
    if "access_token" not in row or not candidates:
        return {}
    newest = next(filter(facts.has_newest_token, candidates), None)
    began_at = facts.rotation_began_at or (facts.token_replaced_at if newest is None else None)
    chosen = deserialize(newest or candidates[-1])
    token = {name: chosen.get(name) for name in ("access_token", "token_rotated_at", "token_rotation_began_at")}
    return token | ({} if began_at is None else {"token_rotation_began_at": format_timestamp(began_at)})


def lost_item(item_id: ItemId, facts: Facts) -> Row:
    """Return the row of an Item of which only the history is left: removed, because its access token is lost.

    So its rows have an owner that can erase them, and its user can link the bank again. Its removal reports it as
    orphaned, unless Plaid removed it before.
    """
    fresh_at = format_timestamp(utc_now())  # without it no list has the Item
    return {"item_id": item_id, "generation": GENERATION_STEP, "fresh_at": fresh_at} | facts.removal(item_id)


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
        """Restore Items. One that was removed since stays removed, and one that was linked since becomes so."""
        found = set[str]()
        for page in self._pages(self.source):
            found.update(map(_id_of, page))
            self._each(page, self._restore_item)
        for item_id in sorted(self._linked() - found):
            if self._stored(item_id) is None and (facts := self._facts(item_id)).linked:
                result = self._put_item(lost_item(ItemId(item_id), facts), None)
                self.report.rows[result] += 1
                self.report.add("lost" if facts.removal_requested is None else "removed", item_id)

    def _linked(self) -> set[str]:
        """Return the Items that the history knows to be linked, or those to restore: their facts say more."""
        if self.only:
            return set(self.only)
        expression = Expression()
        linked = {"FilterExpression": expression.equals("outcome", "linked"), **expression.arguments()}
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
        facts = self._facts(item_id)
        if stored is not None and not in_place and self._is_kept(row, stored):
            return "kept"
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
        """Return whether a row that exists stays: a removed Item's, unless it was lost only in another restored table.

        No removal leaves a row without one of these attributes, but that of an Item whose access token was lost.
        """
        if stored.keys().isdisjoint({"access_token", "plaid_removed_at", "unregistered_link"}):
            return False
        return not self.replace or _is_removed(stored) or "unregistered_link" in row

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
                {"link_key": serialize(key), "item_id": row["item_id"], "link_id": row["link_id"]}
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
