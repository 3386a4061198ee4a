"""Tables are lost and restored to an earlier time, by the steps of docs/runbook.md, until the audit finds nothing.

The emulator has no past: it copies a table as it is. So the restored tables are made at the time that is restored, and
every other step is taken in its order after the damage.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from plaid_sync_cli.errors import ExitCode

from local.snapshot import tables_of
from local.stack.paths import PROJECT
from tests.e2e.rehearsal import Rehearsal, rehearsal

if TYPE_CHECKING:
    from collections.abc import Iterator

TABLES = {
    "ITEMS_TABLE": "ItemsTable",
    "TRANSACTIONS_TABLE": "TransactionsTable",
    "HISTORY_TABLE": "HistoryTable",
    "LINKS_TABLE": "LinksTable",
}
JOINT, ALONE = "Items, or Items and Transactions", "Transactions alone"
KEYS = {"ITEMS_TABLE": ("item_id",), "TRANSACTIONS_TABLE": ("item_id", "transaction_id")}
KEYS |= {"HISTORY_TABLE": ("item_id", "entry_id"), "LINKS_TABLE": ("link_key",)}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    with rehearsal(tmp_path_factory.mktemp("restore")) as stage:
        yield stage


def steps_of(heading: str) -> list[list[str]]:
    """Return the commands of the runbook under a heading."""
    section = (PROJECT / "docs" / "runbook.md").read_text().partition(f"#### {heading}\n")[2]
    block = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    assert block is not None
    return [shlex.split(line) for line in block[1].splitlines()]


def options_of(words: list[str]) -> dict[str, str]:
    pairs = zip(words[::2], words[1::2], strict=True)
    return {"".join(map(str.title, name.strip("-").split("-"))): value for name, value in pairs}


@dataclass(frozen=True, slots=True)
class Restoration:
    """The steps of the runbook, without those for tables that are intact."""

    stage: Rehearsal
    heading: str
    restored: frozenset[str]
    replaced: frozenset[str] = frozenset()
    reports: dict[str, Any] = field(default_factory=dict)

    def name(self, placeholder: str) -> str:
        """Return the name of a table for that in the runbook, such as `ITEMS_TABLE-restored`."""
        table, _, suffix = placeholder.partition("-")
        return self.stage.stack.resources.id(TABLES[table]) + (f"-{suffix}" if suffix else "")

    def steps(self) -> list[list[str]]:
        of_intact = {f"{table}-restored" for table in TABLES if table not in self.restored}
        steps = [words for words in steps_of(self.heading) if of_intact.isdisjoint(words)]
        if "TRANSACTIONS_TABLE" not in self.restored:
            steps = [words for words in steps if words[1] != "resync"]
        return [words for words in steps if words[1:3] != ["restore", "links"] or "LINKS_TABLE" in self.restored]

    def keep_the_past(self) -> None:
        """Make the restored tables, as of now."""
        for words in self.steps():
            if words[:3] == ["aws", "dynamodb", "restore-table-to-point-in-time"]:
                options = options_of(words[3:])
                self.stage.stack.client("dynamodb").restore_table_to_point_in_time(
                    SourceTableName=self.name(options["SourceTableName"]),
                    TargetTableName=self.name(options["TargetTableName"]),
                    UseLatestRestorableTime=True,
                )

    def follow(self) -> None:
        """Take all steps after the damage; the audit's exit code is that of one without drift."""
        for words in self.steps():
            match words:
                case ["aws", _, "delete-table", _, table]:
                    self.stage.stack.client("dynamodb").delete_table(TableName=self.name(table))
                case ["aws", *_]:
                    pass
                case ["plaid-sync", "watch"]:
                    self.stage.let_time_pass_until(self._is_settled)
                case ["plaid-sync", "audit", *_]:
                    self.reports["audit"] = self.stage.cli.json(*words[1:], "--rate", "10/s")
                case ["plaid-sync", "restore", table, *options]:
                    self.reports[table] = self._restore(table, options)
                case ["plaid-sync", "pause"]:
                    pass  # the test has paused to do the damage
                case ["plaid-sync", "resync", *options]:
                    self.stage.cli.json("resync", *options, "--yes")
                case ["plaid-sync", *command]:
                    self.stage.cli.json(*command)

    def _restore(self, table: str, options: list[str]) -> Any:
        named = [self.name(word) if word.endswith("-restored") else word for word in options]
        replace = ["--replace"] if table in self.replaced else []
        dry = self.stage.cli.text("restore", table, *named, *replace, "--dry-run", "--json", code=self.code(table))
        prompted = self.stage.cli.run("restore", table, *named, *replace, stdin="n\n")
        assert prompted.exit_code == ExitCode.INTERRUPTED
        self.reports[f"question of {table}"] = prompted.output
        done = self.stage.cli.json("restore", table, *named, *replace, "--yes", code=self.code(table))
        assert '"dry_run": true' in dry
        return done

    def code(self, table: str) -> int:
        return int(table == "items" and not self.replaced)

    def _is_settled(self) -> bool:
        rows = self.rows("ITEMS_TABLE")
        return not any(row.get("reconcile") or "writing_since" in row for row in rows) and all(
            "removal_completed_at" in row for row in rows if row["state"] == "removed"
        )

    def rows(self, table: str) -> list[dict[str, Any]]:
        tables = tables_of(self.stage.stack)
        return list(map(dict, tables.items if table == "ITEMS_TABLE" else tables.transactions))

    def lose(self, table: str, suffix: str = "") -> list[dict[str, Any]]:
        """Delete and return all rows of a table, or those that its restored copy has."""
        dynamodb, name = self.stage.stack.client("dynamodb"), self.name(table)
        pages = dynamodb.get_paginator("scan").paginate(TableName=name + suffix)
        keys = [{key: row[key] for key in KEYS[table]} for page in pages for row in page["Items"]]
        for key in keys:
            dynamodb.delete_item(TableName=name, Key=key)
        return keys


@dataclass(slots=True)
class Fleet:
    """Items to which different things happen between the restored time and the damage."""

    stage: Rehearsal
    changed: str = ""
    erased: str = ""
    kept: str = ""
    with_erased_account: str = ""
    linked_since: str = ""
    annotated: str = ""
    closed: set[str] = field(default_factory=set)
    removed_later: list[str] = field(default_factory=list)

    def link(self) -> None:
        for name in ("changed", "erased", "kept", "with_erased_account"):
            setattr(self, name, self.stage.link())
        self.annotated = min(self.stage.plaid.truth(self.changed))
        self.stage.stack.client("dynamodb").update_item(
            TableName=self.stage.stack.transactions_table,
            Key={"item_id": {"S": self.changed}, "transaction_id": {"S": self.annotated}},
            UpdateExpression="SET label = :label",
            ExpressionAttributeValues={":label": {"S": "mine"}},
        )

    def _erase_an_account(self, item: str) -> None:
        account = min(str(row["account_id"]) for row in self.stage.plaid.truth(item).values())
        self.closed.add(account)
        self.stage.cli.json("accounts", "erase", item, account, "--yes")

    def live_on(self) -> None:
        """Change everything at Plaid and here, and let syncs and removals complete."""
        plaid, cli, item = self.stage.plaid, self.stage.cli, self.changed
        others = [each for each in sorted(plaid.truth(item)) if each != self.annotated]
        self.removed_later = plaid.add(item, 3, pending=False)
        plaid.add(item, 2, pending=True)
        plaid.modify(item, others[0], name="Changed since")
        plaid.remove(item, others[1])
        plaid.post_pending(item)
        self.stage.sync(item)
        self.linked_since = self.stage.link()
        for of_two in (self.with_erased_account, self.kept):
            self._erase_an_account(of_two)
        self.stage.let_time_pass_until(lambda: not any("plaid" in row for row in self._closed_rows()))
        for removed, transactions in ((self.erased, "erase"), (self.kept, "keep")):
            cli.json("remove", removed, "--transactions", transactions, "--yes")
        self.stage.wait_until(lambda: self.stage.exact(item))
        self.stage.let_time_pass_until(self._are_removed)

    def _are_removed(self) -> bool:
        shown = [self.stage.cli.json("item", item)["item"] for item in (self.erased, self.kept)]
        return all("completed_at" in item["removal"] for item in shown)

    def _closed_rows(self) -> list[dict[str, Any]]:
        rows = map(dict, tables_of(self.stage.stack).transactions)
        return [row for row in rows if row.get("account_id") in self.closed]

    def change_while_paused(self) -> None:
        """Change at Plaid what no cursor of the restored time would mention."""
        for transaction_id in self.removed_later:
            self.stage.plaid.remove(self.changed, transaction_id)
        self.stage.plaid.add(self.changed, 2)

    def assert_nothing_erased_is_back(self) -> None:
        tables = tables_of(self.stage.stack)
        assert [row for row in tables.transactions if row["item_id"] == self.erased] == []
        assert not any("plaid" in row or "name" in row for row in self._closed_rows())
        assert any("plaid" in row for row in tables.transactions if row["item_id"] == self.kept)
        states = {row["item_id"]: row["state"] for row in tables.items}
        assert (states[self.erased], states[self.kept]) == ("removed", "removed")
        assert not any("access_token" in row for row in tables.items if row["state"] == "removed")
        assert {self.erased, self.kept}.isdisjoint(self.stage.plaid.item_ids())

    def label(self) -> str | None:
        rows = tables_of(self.stage.stack).transactions
        (row,) = [row for row in rows if row["transaction_id"] == self.annotated]
        label: str | None = row.get("label")
        return label


def settled(stage: Rehearsal, restored: set[str], heading: str = JOINT, **options: Any) -> tuple[Fleet, Restoration]:
    """Link, keep the past, live on, and pause for the damage."""
    fleet, restoration = Fleet(stage), Restoration(stage, heading, frozenset(restored), **options)
    fleet.link()
    restoration.keep_the_past()
    fleet.live_on()
    stage.cli.json("pause", "--yes")
    return fleet, restoration


def assert_clean(restoration: Restoration) -> None:
    audit = restoration.reports["audit"]
    assert (audit["drifted_rows"], audit["drifted_items"]) == (0, 0)
    assert {report["outcome"] for report in audit["reports"]} == {"clean"}


def test_lost_items_are_restored(stage: Rehearsal) -> None:
    fleet, restoration = settled(stage, {"ITEMS_TABLE", "LINKS_TABLE"})
    restoration.lose("ITEMS_TABLE")
    restoration.lose("LINKS_TABLE")
    fleet.change_while_paused()
    restoration.follow()
    items = restoration.reports["items"]["items"]
    assert {fleet.erased, fleet.kept} <= set(items["removed"])
    assert items["lost"] == [fleet.linked_since]
    assert "Items in neither table, which become lost: 1." in restoration.reports["question of items"]
    assert_clean(restoration)
    fleet.assert_nothing_erased_is_back()
    assert stage.exact(fleet.changed)
    assert fleet.label() == "mine"
    stage.await_alarm("items-orphaned")


def test_items_with_wrong_content_are_replaced(stage: Rehearsal) -> None:
    fleet, restoration = settled(stage, {"ITEMS_TABLE"}, replaced=frozenset({"items"}))
    stage.store(fleet.changed, cursor={"S": "wrong"}, generation={"N": "1"}, state={"S": "needs_user"})
    stage.store(fleet.with_erased_account, linked_at={"N": "7"})  # docs/runbook.md, "Repairing a damaged Item row"
    assert stage.cli.run("item", fleet.with_erased_account).exit_code != 0
    fleet.change_while_paused()
    restoration.follow()
    assert_clean(restoration)
    fleet.assert_nothing_erased_is_back()
    assert stage.exact(fleet.changed)
    assert stage.exact(fleet.linked_since)
    assert stage.cli.json("item", fleet.with_erased_account)["item"]["state"] == "active"


def test_lost_transactions_are_restored(stage: Rehearsal) -> None:
    fleet, restoration = settled(stage, {"TRANSACTIONS_TABLE"}, ALONE)
    restoration.lose("TRANSACTIONS_TABLE")
    fleet.change_while_paused()
    restoration.follow()
    assert restoration.reports["transactions"]["rows"]["not_restored"] > 0
    assert_clean(restoration)
    fleet.assert_nothing_erased_is_back()
    assert stage.exact(fleet.changed)
    assert stage.exact(fleet.linked_since)
    assert fleet.label() == "mine"


def test_all_tables_are_restored_together(stage: Rehearsal) -> None:
    fleet, restoration = settled(stage, set(TABLES))
    for table in ("ITEMS_TABLE", "TRANSACTIONS_TABLE", "LINKS_TABLE"):
        restoration.lose(table)
    entries = restoration.lose("HISTORY_TABLE", "-restored")
    fleet.change_while_paused()
    published = stage.stack.logs("changes").count('"ItemLinked"')
    restoration.follow()
    assert restoration.reports["history"]["rows"] == {"restored": len(entries)}
    assert stage.stack.logs("changes").count('"ItemLinked"') == published
    assert_clean(restoration)
    fleet.assert_nothing_erased_is_back()
    assert stage.exact(fleet.changed)
    assert fleet.label() == "mine"
