"""What becomes of the rows of a restored table: one by one, and after what happened since."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from plaid_sync.aws.dynamodb.account_rows import accounts_attribute
from plaid_sync.aws.dynamodb.expressions import deserialize, serialize
from plaid_sync.aws.dynamodb.history import entry_put
from plaid_sync.aws.dynamodb.item_rows import item_from_row
from plaid_sync.domain.accounts import Account
from plaid_sync.domain.clock import format_timestamp
from plaid_sync.domain.history import EntryKind, HistoryEntry
from plaid_sync.domain.item import ACCOUNT_ROWS, CHECK_ACCOUNTS, ItemId
from plaid_sync_cli.deployment import Deployment
from plaid_sync_cli.restored_items import GENERATION_STEP
from plaid_sync_cli.restoring import Report, Restorer

from tests.fakes.clock import NOON
from tests.unit.aws.dynamodb.samples import HISTORY, ITEMS, LINKS, TRANSACTIONS

if TYPE_CHECKING:
    from collections.abc import Callable

NOON_TEXT, LATER = format_timestamp(NOON), NOON + timedelta(hours=1)
OUTPUTS = {"ItemsTable": ITEMS, "TransactionsTable": TRANSACTIONS, "HistoryTable": HISTORY, "LinksTable": LINKS}
KEYS = {ITEMS: ["item_id"], TRANSACTIONS: ["item_id", "transaction_id"], HISTORY: ["item_id", "entry_id"]}


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of a stack, and beside each a restored one with the suffix `-restored`."""

    client: Any

    def put(self, table: str, **values: Any) -> None:
        row = {name: serialize(value) for name, value in values.items() if value is not None}
        self.client.put_item(TableName=table, Item=row)

    def item(self, item_id: str = "item", table: str = f"{ITEMS}-restored", **values: Any) -> None:
        row = {"item_id": item_id, "state": "active", "generation": 7, "access_token": b"old", "fresh_at": NOON_TEXT}
        row["linked_at"] = NOON_TEXT
        self.put(table, **row | {"cursor": "c", "link_id": "link"} | values)

    def row(self, transaction_id: str, table: str = f"{TRANSACTIONS}-restored", **values: Any) -> None:
        row = {"item_id": "item", "transaction_id": transaction_id, "account_id": "a", "generation": 3, "plaid": b"p"}
        self.put(table, **row | values)

    def happened(self, outcome: str, item_id: str = "item", kind: str = EntryKind.REQUEST, **details: Any) -> None:
        at = LATER + timedelta(seconds=len(self.rows(HISTORY)))
        entry = HistoryEntry(ItemId(item_id), at, outcome, kind, outcome, details)
        self.client.put_item(**entry_put(HISTORY, entry).request["Put"])

    def restore(self, action: Callable[[Restorer], None], source: str, **options: Any) -> Report:
        deployment = Deployment("stack", OUTPUTS, {}, boto3.DEFAULT_SESSION or boto3.Session())
        restorer = Restorer(deployment, source, lambda _: None, **options)
        action(restorer)
        return restorer.report

    def restore_items(self, source: str = f"{ITEMS}-restored", **options: Any) -> Report:
        return self.restore(Restorer.items, source, **options)

    def restore_transactions(self, source: str = f"{TRANSACTIONS}-restored", **options: Any) -> Report:
        return self.restore(Restorer.transactions, source, **options)

    def rows(self, table: str) -> list[dict[str, Any]]:
        return [deserialize(row) for row in self.client.scan(TableName=table)["Items"]]

    def stored(self, item_id: str = "item") -> dict[str, Any]:
        (row,) = [row for row in self.rows(ITEMS) if row["item_id"] == item_id]
        return row


@pytest.fixture
def tables(dynamodb: Any) -> Tables:
    for table, keys in KEYS.items():
        dynamodb.create_table(
            TableName=f"{table}-restored",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
            KeySchema=[
                {"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"), strict=False)
            ],
        )
    return Tables(dynamodb)


# ---- Items


def test_a_lost_item_is_restored_above_its_rows_with_a_full_resync_and_a_check_pending(tables: Tables) -> None:
    attempt: dict[str, Any] = {
        "attempt_id": "a",
        "writing_since": 5,
        "unfinished_attempts": 2,
        "checkpoint": {"cursor": "p"},
    }
    tables.item(**attempt, reconcile_after=NOON_TEXT, inconclusive_pulls=2, client_user_id="user", note="mine")
    assert tables.restore_items().rows == {"restored": 1}
    stored = tables.stored()
    assert stored["generation"] == 7 + GENERATION_STEP
    assert stored.keys().isdisjoint({*attempt, "reconcile_after", "inconclusive_pulls"})
    assert (stored["access_token"], stored["note"], stored["client_user_id"]) == (b"old", "mine", "user")
    item = item_from_row({name: serialize(value) for name, value in stored.items()})
    assert item.reconcile
    assert item.next_attempt_at is not None
    assert [check.code for check in item.pending_checks] == [CHECK_ACCOUNTS]
    (entry,) = tables.rows(HISTORY)
    assert (entry["request"], entry["outcome"]) == ("plaid-sync restore items", "restored")


def test_an_item_that_exists_is_kept_unless_it_is_replaced(tables: Tables) -> None:
    tables.item(cursor="older")
    tables.item(table=ITEMS, cursor="newer", generation=9)
    assert tables.restore_items().rows == {"kept": 1}
    assert tables.stored()["cursor"] == "newer"
    assert tables.restore_items(replace=True, dry_run=True).rows == {"restored": 1}
    assert tables.stored()["cursor"] == "newer"
    assert tables.restore_items(replace=True).rows == {"restored": 1}
    assert (tables.stored()["cursor"], tables.stored()["generation"]) == ("older", 9 + GENERATION_STEP)
    assert tables.restore_items(replace=True, only=frozenset({"another"})).rows == {}


def test_a_removed_item_is_never_replaced(tables: Tables) -> None:
    tables.item()
    tables.item(table=ITEMS, state="removed", removal_requested_at=NOON_TEXT, removal_erases=True)
    assert tables.restore_items(replace=True).rows == {"kept": 1}
    assert tables.stored()["state"] == "removed"


@pytest.mark.parametrize("completed", [True, False])
@pytest.mark.parametrize(("transactions", "erased_later"), [("erase", False), ("keep", True), ("keep", False)])
def test_an_item_that_was_removed_since_is_removed_again(
    tables: Tables,
    transactions: str,
    erased_later: bool,  # noqa: FBT001 - a parameter
    completed: bool,  # noqa: FBT001 - a parameter
) -> None:
    tables.item(bank_login_ids={"login#1"})
    tables.happened("removal_requested", transactions=transactions, replaced_by="newer")
    if erased_later:
        tables.happened("erasure_requested", transactions="erase")
    if completed:
        tables.happened("erased", kind=EntryKind.REMOVAL)
    assert tables.restore_items().items == {"removed": ["item"]}
    stored = tables.stored()
    assert (stored["state"], stored["replaced_by"]) == ("removed", "newer")
    assert stored["removal_erases"] == (transactions == "erase" or erased_later)
    assert "removal_completed_at" not in stored
    assert "next_attempt_at" in stored
    assert stored["bank_login_ids"] == {"login#1"}
    assert ("plaid_removed_at" in stored, "access_token" in stored) == (completed, not completed)


def test_an_item_whose_rows_were_erased_after_its_removal_has_them_erased_again(tables: Tables) -> None:
    removal: dict[str, Any] = {
        "removal_requested_at": NOON_TEXT,
        "removal_erases": False,
        "removal_completed_at": NOON_TEXT,
    }
    tables.item(state="removed", access_token=None, **removal)
    tables.happened("erasure_requested", transactions="erase")
    tables.restore_items()
    assert tables.stored()["removal_erases"] is True
    assert "removal_completed_at" not in tables.stored()


def test_a_completed_removal_stays_as_it_is(tables: Tables) -> None:
    removal: dict[str, Any] = {
        "removal_requested_at": NOON_TEXT,
        "removal_erases": True,
        "removal_completed_at": NOON_TEXT,
    }
    tables.item(state="removed", access_token=None, **removal)
    tables.restore_items()
    assert tables.stored().items() >= removal.items()
    assert "next_attempt_at" not in tables.stored()


def test_accounts_are_closed_as_the_history_says(tables: Tables) -> None:
    accounts = accounts_attribute(map(Account, "abcdef"))
    tables.item(accounts=accounts, erased_accounts={"c"}, revoked_accounts={"e"}, gone_accounts={"d"})
    tables.happened("account_erasure_requested", account_id="a")
    tables.happened("account_restored", account_id="c")
    tables.happened("accounts", kind=EntryKind.SYNC, withdrawn_accounts=["d"], returned_accounts=["e"])
    tables.restore_items()
    stored = tables.stored()
    assert (stored["erased_accounts"], stored["revoked_accounts"]) == ({"a"}, {"d"})
    assert "gone_accounts" not in stored
    item = item_from_row({name: serialize(value) for name, value in stored.items()})
    assert [account.account_id for account in item.accounts] == list("bcef")
    checks = [(check["code"], check.get("account_id")) for check in stored["pending_checks"]]
    assert checks == [(CHECK_ACCOUNTS, None), (ACCOUNT_ROWS, "a"), (ACCOUNT_ROWS, "d")]


def test_an_item_that_was_linked_since_becomes_a_removed_one_of_which_nothing_is_lost_twice(tables: Tables) -> None:
    for item_id in ("lost", "alive", "removed", "in-both"):
        tables.happened("linked", item_id)
    tables.item("alive", ITEMS)
    tables.item("in-both")
    tables.happened("removal_requested", "removed", transactions="erase")
    tables.happened("erased", "removed", EntryKind.REMOVAL)
    report = tables.restore_items()
    assert report.items == {"lost": ["lost"], "removed": ["removed"]}
    lost, removed = tables.stored("lost"), tables.stored("removed")
    assert (lost["state"], lost["removal_erases"], "access_token" in lost) == ("removed", False, False)
    assert ("plaid_removed_at" in lost, "plaid_removed_at" in removed) == (False, True)
    assert removed["removal_erases"] is True
    assert tables.stored("alive")["generation"] == 7
    again = tables.restore_items()
    assert (again.rows, again.items) == ({"kept": 1}, {})


def test_an_item_that_was_imported_since_is_named_and_can_be_imported_again(tables: Tables) -> None:
    for item_id in ("moved", "removed"):
        tables.happened("imported", item_id)
    tables.happened("removal_requested", "removed", transactions="keep")
    assert tables.restore_items().items == {"imported": ["moved"], "removed": ["removed"]}
    assert tables.stored("removed")["state"] == "removed"
    items = boto3.client("dynamodb").scan(TableName=ITEMS)["Items"]
    assert [item["item_id"]["S"] for item in items] == ["removed"]


def test_an_item_that_another_system_goes_on_with_stays_removed_here_and_is_not_removed_at_plaid(
    tables: Tables,
) -> None:
    tables.item("item", token_exported_at=NOON_TEXT)
    tables.item("other", token_exported_at=NOON_TEXT)
    tables.happened("removal_requested", at_plaid="keep", transactions="keep")
    tables.happened("kept", kind=EntryKind.REMOVAL)
    assert tables.restore_items().items == {"removed": ["item"]}
    stored = tables.stored()
    assert (stored["state"], stored["removal_keeps_at_plaid"]) == ("removed", True)
    assert stored.keys().isdisjoint({"access_token", "plaid_removed_at", "token_exported_at"})
    assert "token_exported_at" not in tables.stored("other"), "the history of a rotation may be lost"
    assert tables.restore_items().rows == {"kept": 2}


def test_an_item_whose_access_token_was_replaced_since_is_named_and_marked(tables: Tables) -> None:
    tables.item()
    tables.happened("token_rotated")
    assert tables.restore_items().items == {"token_in_doubt": ["item"]}
    assert tables.stored()["token_rotation_began_at"] == format_timestamp(LATER)
    assert tables.stored()["access_token"] == b"old"


def test_an_item_that_is_replaced_keeps_an_access_token_that_is_newer(tables: Tables) -> None:
    tables.item("proven")
    tables.item("proven", ITEMS, access_token=b"new", cursor="wrong", token_rotated_at=format_timestamp(LATER))
    tables.item("presumed")
    tables.item("presumed", ITEMS, access_token=b"new", cursor="wrong")
    tables.happened("token_rotated", "proven")
    tables.happened("token_rotated", "presumed")
    assert tables.restore_items(replace=True).items == {"token_in_doubt": ["presumed"]}
    for item_id in ("proven", "presumed"):
        assert (tables.stored(item_id)["access_token"], tables.stored(item_id)["cursor"]) == (b"new", "c")
        assert ("token_rotation_began_at" in tables.stored(item_id)) == (item_id == "presumed")


def test_a_token_that_was_replaced_before_the_restored_time_is_valid_without_a_sync_since(tables: Tables) -> None:
    """An Item that needs its user has no success after the replacement."""
    tables.item(state="needs_user", token_rotated_at=format_timestamp(LATER))
    tables.happened("token_rotated")
    assert tables.restore_items().items == {}
    assert "token_rotation_began_at" not in tables.stored()


@pytest.mark.parametrize(("ends", "marked"), [([], True), (["token_rotation_failed"], False)])
@pytest.mark.parametrize("removed", [True, False])
def test_a_rotation_without_an_end_leaves_the_token_in_doubt(
    tables: Tables,
    ends: list[str],
    marked: bool,  # noqa: FBT001 - a parameter
    removed: bool,  # noqa: FBT001 - a parameter
) -> None:
    tables.item()
    for outcome in ("token_rotation_began", *ends, *(["removal_requested"] if removed else [])):
        tables.happened(outcome)
    named = {"removed": ["item"]} if removed else {"token_in_doubt": ["item"]} if marked else {}
    assert tables.restore_items().items == named
    assert ("token_rotation_began_at" in tables.stored()) == marked


def test_a_removal_by_a_token_that_was_replaced_asks_plaid_whether_it_is_dead(tables: Tables) -> None:
    tables.item()
    tables.happened("token_rotated")
    tables.happened("removal_requested", transactions="keep")
    assert tables.restore_items().items == {"removed": ["item"]}
    assert tables.stored().keys() >= {"access_token", "token_rotation_began_at"}


def test_an_unregistered_item_is_rolled_back_again(tables: Tables) -> None:
    tables.item(state="removed", unregistered_link="link", exchanged_at=NOON_TEXT)
    assert tables.restore_items().items == {}
    stored = tables.stored()
    assert (stored["unregistered_link"], "next_attempt_at" in stored, "reconcile" in stored) == ("link", True, False)


@pytest.mark.parametrize("removal", ["", "removal_requested", "erased"])
def test_an_unregistered_item_that_was_linked_since_is_removed_by_its_token(tables: Tables, removal: str) -> None:
    tables.item(state="removed", unregistered_link="link", exchanged_at=NOON_TEXT, generation=None, fresh_at=None)
    tables.row("t")
    tables.happened("linked")
    if removal:
        tables.happened("removal_requested", transactions="erase")
    if removal == "erased":
        tables.happened("erased", kind=EntryKind.REMOVAL)
    assert tables.restore_items().items == {"removed" if removal else "unregistered": ["item"]}
    stored = tables.stored()
    assert stored.keys() >= {"removal_requested_at", "next_attempt_at", "fresh_at", "generation"}
    assert stored.keys().isdisjoint({"unregistered_link", "exchanged_at"})
    assert (stored["state"], stored["removal_erases"]) == ("removed", bool(removal))
    assert ("access_token" in stored, "plaid_removed_at" in stored) == (removal != "erased", removal == "erased")
    assert tables.restore_transactions().rows == {"not_restored" if removal else "restored": 1}


def test_an_unregistered_item_never_replaces_a_stored_one(tables: Tables) -> None:
    tables.item(state="removed", unregistered_link="link", exchanged_at=NOON_TEXT)
    tables.item(table=ITEMS)
    tables.happened("linked")
    assert tables.restore_items(replace=True).rows == {"kept": 1}
    assert tables.stored()["state"] == "active"


def test_an_item_that_was_lost_in_a_wrong_table_is_restored_from_the_right_one(tables: Tables) -> None:
    tables.happened("linked")
    assert tables.restore_items().items == {"lost": ["item"]}
    tables.happened("kept", kind=EntryKind.REMOVAL)
    tables.item()
    assert tables.restore_items().rows == {"restored": 1}
    stored = tables.stored()
    assert (stored["state"], stored["access_token"]) == ("active", b"old")
    assert stored["generation"] > GENERATION_STEP
    assert stored.keys().isdisjoint({"removal_requested_at", "removal_erases"})
    tables.happened("removal_requested", transactions="keep")
    tables.client.delete_item(TableName=ITEMS, Key={"item_id": {"S": "item"}})
    tables.restore_items()
    assert "access_token" in tables.stored()


def test_a_lost_item_whose_erasure_was_requested_is_removed_by_its_token(tables: Tables) -> None:
    tables.happened("linked")
    tables.restore_items()
    tables.happened("erasure_requested", transactions="erase")
    tables.happened("erased", kind=EntryKind.REMOVAL)
    tables.item()
    assert tables.restore_items().items == {"removed": ["item"]}
    assert (tables.stored()["removal_erases"], tables.stored()["access_token"]) == (True, b"old")


def test_a_damaged_row_of_a_removed_item_is_replaced_by_one_of_its_removal(tables: Tables) -> None:
    tables.item()
    tables.item(table=ITEMS, state="removed", removal_requested_at="no time", removal_erases=True)
    tables.happened("removal_requested", transactions="erase")
    assert tables.restore_items().rows == {"kept": 1}
    assert tables.restore_items(replace=True).items == {"removed": ["item"]}
    stored = tables.stored()
    assert (stored["state"], stored["removal_erases"]) == ("removed", True)
    assert stored["removal_requested_at"] == format_timestamp(LATER)


@pytest.mark.parametrize("damage", [{"generation": "x"}, {"linked_at": 7}, {"access_token": "text"}, {"state": None}])
def test_a_damaged_item_is_replaced(tables: Tables, damage: dict[str, Any]) -> None:
    tables.item(access_token=b"token")
    row = {"generation": 7, "state": "active", "access_token": b"token"} | damage
    damaged = {name: serialize(value) for name, value in ({"item_id": "item"} | row).items()}
    tables.client.put_item(TableName=ITEMS, Item=damaged)
    assert tables.restore_items(replace=True, only=frozenset({"item"})).rows == {"restored": 1}
    stored = tables.stored()
    assert (stored["state"], stored["access_token"], stored["linked_at"]) == ("active", b"token", NOON_TEXT)


def test_a_damaged_row_is_named_and_ends_nothing(tables: Tables) -> None:
    tables.item("damaged", linked_at="no time")
    tables.item("good")
    report = tables.restore_items()
    assert (report.rows, report.items) == ({"restored": 1, "unreadable": 1}, {"unreadable": ["damaged"]})


def test_an_item_that_is_modified_meanwhile_is_not_overwritten(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    tables.item()
    tables.item(table=ITEMS)
    read = Restorer._stored  # noqa: SLF001 - what happens between this read and the write

    def read_before_a_claim(restorer: Restorer, item_id: str) -> Any:
        found = read(restorer, item_id)
        tables.item(table=ITEMS, generation=8, cursor="newest")
        return found

    monkeypatch.setattr(Restorer, "_stored", read_before_a_claim)
    assert tables.restore_items(replace=True).items == {"modified": ["item"]}
    assert tables.stored()["cursor"] == "newest"


def test_what_a_request_changes_while_the_command_runs_is_known(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables.item()
    tables.item(table=ITEMS)
    read = Restorer._stored  # noqa: SLF001 - the last read before the facts

    def read_after_a_rotation(restorer: Restorer, item_id: str) -> Any:
        tables.item(table=ITEMS, access_token=b"new", generation=9)
        tables.happened("token_rotated")
        return read(restorer, item_id)

    monkeypatch.setattr(Restorer, "_stored", read_after_a_rotation)
    tables.restore_items(replace=True)
    assert tables.stored()["access_token"] == b"new"


def test_named_items_are_restored_without_a_scan(tables: Tables) -> None:
    tables.item()
    tables.item("another")
    tables.row("t")
    tables.row("of-another", item_id="another")
    tables.happened("linked", "lost")
    scanned: list[str] = []
    session = boto3.DEFAULT_SESSION or boto3.Session()
    session.events.register("before-call.dynamodb.Scan", lambda **_: scanned.append("table"))
    report = tables.restore_items(only=frozenset({"item", "lost", "unknown"}))
    assert (report.rows, report.items) == ({"restored": 2}, {"lost": ["lost"]})
    assert tables.restore_transactions(only=frozenset({"item"})).rows == {"restored": 1}
    assert scanned == []


def test_a_table_that_was_restored_under_its_name_is_corrected_in_place(tables: Tables) -> None:
    tables.item("active", ITEMS)
    tables.item("removed", ITEMS)
    tables.happened("removal_requested", "removed", transactions="erase")
    assert tables.restore_items(ITEMS).rows == {"restored": 2}
    assert tables.stored("active")["reconcile"] is True
    assert tables.stored("removed")["state"] == "removed"


# ---- the other tables


def test_transactions_are_copied_with_annotations_but_no_erased_ones(tables: Tables) -> None:
    tables.item(table=ITEMS, erased_accounts={"erased"}, revoked_accounts={"withdrawn"})
    tables.item("gone", ITEMS, state="removed", removal_requested_at=NOON_TEXT, removal_erases=True)
    tables.item("kept", ITEMS, state="removed", removal_requested_at=NOON_TEXT, removal_erases=False)
    tables.row("annotated", label="mine")
    tables.row("exists", label="older")
    tables.row("exists", TRANSACTIONS, label="newer")
    tables.row("of-erased-account", account_id="erased")
    tables.row("of-withdrawn-account", account_id="withdrawn")
    tables.row("empty-tombstone", account_id="erased", plaid=None, removed_at=NOON_TEXT)
    tables.row("expired", removed_at=NOON_TEXT, expires_at=1)
    for item_id in ("gone", "kept", "unknown"):
        tables.row(f"of-{item_id}", item_id=item_id)
    report = tables.restore_transactions()
    assert report.items == {"unknown": ["unknown"]}
    assert report.rows == {"restored": 3, "kept": 1, "not_restored": 5}
    stored = {row["transaction_id"]: row for row in tables.rows(TRANSACTIONS)}
    assert stored.keys() == {"annotated", "exists", "empty-tombstone", "of-kept"}
    assert (stored["annotated"]["label"], stored["exists"]["label"]) == ("mine", "newer")
    tables.restore_transactions(replace=True)
    assert {row["transaction_id"]: row for row in tables.rows(TRANSACTIONS)}["exists"]["label"] == "older"


def test_no_account_that_was_closed_before_a_removal_comes_back(tables: Tables) -> None:
    """A completed removal drops the accounts of the Item's row, and a lost Item's row never had them."""
    removal: dict[str, Any] = {"state": "removed", "removal_requested_at": NOON_TEXT, "removal_erases": False}
    for item_id in ("kept", "removed-again", "lost"):
        tables.happened("account_erasure_requested", item_id, account_id="erased")
        tables.happened("accounts", item_id, EntryKind.SYNC, withdrawn_accounts=["withdrawn"])
        for account_id in ("a", "erased", "withdrawn"):
            tables.row(f"{item_id}-{account_id}", item_id=item_id, account_id=account_id)
    tables.item("kept", ITEMS, access_token=None, removal_completed_at=NOON_TEXT, **removal)
    tables.item("removed-again")
    tables.happened("removal_requested", "removed-again", transactions="keep")
    tables.happened("linked", "lost")
    tables.restore_items()
    assert tables.restore_transactions().rows == {"restored": 3, "not_restored": 6}
    assert {row["account_id"] for row in tables.rows(TRANSACTIONS)} == {"a"}


def test_transactions_that_were_restored_under_their_name_are_erased_in_place(tables: Tables) -> None:
    tables.item(table=ITEMS, erased_accounts={"erased"})
    tables.item("gone", ITEMS, state="removed", removal_requested_at=NOON_TEXT, removal_erases=True)
    for row in ({}, {"account_id": "erased"}, {"item_id": "gone"}, {"item_id": "unknown"}):
        tables.row("t-" + "-".join(row.values()), TRANSACTIONS, **row)
    assert tables.restore_transactions(TRANSACTIONS, dry_run=True).rows == {"kept": 2, "erased": 2}
    assert len(tables.rows(TRANSACTIONS)) == 4
    report = tables.restore_transactions(TRANSACTIONS)
    assert (report.rows, report.items) == ({"kept": 2, "erased": 2}, {"unknown": ["unknown"]})
    assert {row["transaction_id"] for row in tables.rows(TRANSACTIONS)} == {"t-", "t-unknown"}


def test_history_is_copied_without_its_events_and_links_are_built_from_items(tables: Tables) -> None:
    entry = {"item_id": "item", "at": NOON_TEXT, "kind": "request", "outcome": "linked"}
    tables.put(f"{HISTORY}-restored", **entry, entry_id="1", published_events="ItemLinked")
    tables.put(f"{HISTORY}-restored", **entry, entry_id="2", expires_at=1)
    assert tables.restore(Restorer.history, f"{HISTORY}-restored").rows == {"restored": 1}
    assert tables.rows(HISTORY) == [entry | {"entry_id": "1"}]

    tables.item(table=ITEMS, bank_login_ids={"login#1", "login#2"})
    tables.item("removed", ITEMS, state="removed", bank_login_ids={"login#3"})
    tables.put(LINKS, link_key="login#2", item_id="another", link_id="other")
    assert tables.restore(Restorer.links, ITEMS).rows == {"restored": 1, "kept": 1}
    claims = {row["link_key"]: (row["item_id"], row["link_id"]) for row in tables.rows(LINKS)}
    assert claims == {"login#1": ("item", "link"), "login#2": ("another", "other")}
