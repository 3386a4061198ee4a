"""The Items table: what each condition allows, and what its failure means."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import boto3
import pytest
from botocore.config import Config
from plaid_sync.domain.accounts import Account, AccountStates
from plaid_sync.domain.clock import format_timestamp
from plaid_sync.domain.errors import SupersededError, TransientError, UnreadableItemError
from plaid_sync.domain.history import EntryKind, HistoryEntry
from plaid_sync.domain.item import (
    ACCOUNT_ROWS,
    Cursor,
    Expiry,
    ItemFailure,
    ItemId,
    ItemState,
    PendingCheck,
    Removal,
    RemovalReason,
    StateName,
)
from plaid_sync.domain.schedule import AttemptClass, NextAttempt
from plaid_sync.items_api.ports import ItemChange
from plaid_sync.sync.ports import AccountsUpdate, FollowUp, FoundItem, ItemStateUpdate

from tests.fakes.clock import NOON, FakeClock
from tests.unit.aws.dynamodb.samples import (
    COMMIT,
    ENTRY,
    ITEM,
    ITEMS,
    NEEDS_USER,
    REMOVED,
    ROW,
    claim,
    claim_of,
    history_of_kind,
    items_table,
    loaded,
    set_attribute,
)

if TYPE_CHECKING:
    from datetime import datetime

    from plaid_sync.aws.dynamodb.items import ItemsTable
    from plaid_sync.aws.dynamodb.transactions import TransactionsTable

NOWHERE = "http://127.0.0.1:9"
LATER = NextAttempt(NOON + timedelta(days=1), AttemptClass.ROUTINE)
FAILED = ItemStateUpdate(
    NEEDS_USER.state, FollowUp(LATER, ItemFailure("A_CODE", "transient", NOON, NOON)), NEEDS_USER.entry
)
COMPLETED = HistoryEntry(ITEM, NOON, "end-erased", EntryKind.REMOVAL, "erased", {"erased": 3})


# ---- the claim


def test_each_claim_raises_the_generation_and_returns_the_item(items: ItemsTable) -> None:
    claims = [claim(items, attempt) for attempt in ("first", "second")]
    assert [claimed.generation for claimed in claims] == [1, 2]
    assert items.load(ITEM) == claims[1]


def test_a_claim_is_idempotent_after_a_lost_response(items: ItemsTable) -> None:
    before = loaded(items)
    claims = [items.claim(before, claim_of("attempt")) for _ in range(2)]
    assert claims[0] == claims[1] == items.load(ITEM)


def test_a_claim_that_arrives_after_a_newer_one_changes_nothing(items: ItemsTable) -> None:
    before = loaded(items)
    newer = claim(items, "newer")
    with pytest.raises(TransientError, match="item_modified_concurrently"):
        items.claim(before, claim_of("late"))
    assert items.load(ITEM) == newer


def test_an_unregistered_or_removed_item_cannot_be_claimed(items: ItemsTable, dynamodb: Any) -> None:
    assert items.load(ItemId("another")) is None
    before = loaded(items)
    set_attribute(dynamodb, "state", REMOVED)
    with pytest.raises(TransientError):
        items.claim(before, claim_of("attempt"))


def find(items: ItemsTable, attempt_id: str, covered_after: datetime = NOON, item_id: ItemId = ITEM) -> FoundItem:
    return items.find(item_id, claim_of(attempt_id), covered_after)


def test_an_item_is_found_and_claimed_in_one_call(items: ItemsTable) -> None:
    webhook_at = NOON + timedelta(seconds=1)
    found = items.find(ITEM, claim_of("1", webhook_at=webhook_at), NOON)
    assert found == FoundItem(loaded(items), claimed=True)
    assert found.item is not None
    assert (found.item.generation, found.item.unfinished_attempts, found.item.webhook_at) == (1, 1, webhook_at)
    again = items.find(ITEM, claim_of("2", repeated=True), NOON).item
    assert again is not None
    assert (again.generation, again.unfinished_attempts, again.webhook_at) == (2, 1, webhook_at)


def test_a_find_whose_response_is_lost_has_claimed(items: ItemsTable) -> None:
    assert find(items, "1") == find(items, "1")
    assert loaded(items).generation == 1


def test_the_repeat_of_a_claim_finds_that_the_item_was_removed_in_between(items: ItemsTable, dynamodb: Any) -> None:
    find(items, "1")
    set_attribute(dynamodb, "state", REMOVED)
    assert find(items, "1") == FoundItem(loaded(items))


def test_a_find_that_arrives_after_a_later_attempt_only_finds(items: ItemsTable) -> None:
    find(items, "2")
    before = loaded(items)
    assert find(items, "1") == FoundItem(before)
    assert loaded(items) == before
    assert items.claim(before, claim_of("1")).generation == before.generation + 1


@pytest.mark.parametrize("state", [StateName.REMOVED.value, "of_a_newer_version"])
def test_a_removed_item_or_one_in_an_unknown_state_is_only_found(items: ItemsTable, dynamodb: Any, state: str) -> None:
    set_attribute(dynamodb, "state", {"S": state})
    before = loaded(items)
    assert find(items, "1") == FoundItem(before)
    assert loaded(items) == before


def test_an_item_that_is_not_registered_is_not_found(items: ItemsTable, dynamodb: Any) -> None:
    assert find(items, "1", item_id=ItemId("another")) == FoundItem(None)
    assert items.load(ItemId("another")) is None
    set_attribute(dynamodb, "state", REMOVED)
    set_attribute(dynamodb, "unregistered_link", {"S": "link"})
    assert find(items, "1") == FoundItem(None)


def test_an_item_whose_pull_may_cover_the_messages_is_only_found(
    items: ItemsTable, transactions: TransactionsTable
) -> None:
    transactions.write(ITEM, claim(items, "0").generation, [], begin=False, end=COMMIT)
    before = loaded(items)
    assert before.pull_began_at == NOON
    assert find(items, "1", NOON - timedelta(milliseconds=1)) == FoundItem(before)
    assert find(items, "1", NOON).claimed


@pytest.mark.parametrize("name", ["generation", "unfinished_attempts"])
def test_a_damaged_item_is_not_claimed(items: ItemsTable, dynamodb: Any, name: str) -> None:
    set_attribute(dynamodb, name, {"L": []})
    before = dynamodb.scan(TableName=ITEMS)["Items"]
    with suppress(UnreadableItemError):
        assert not find(items, "1").claimed
    assert dynamodb.scan(TableName=ITEMS)["Items"] == before


def test_a_network_failure_is_a_transient_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "none")
    config = Config(retries={"total_max_attempts": 1})
    client = boto3.Session(region_name="us-east-1").client("dynamodb", endpoint_url=NOWHERE, config=config)
    with pytest.raises(TransientError, match="EndpointConnectionError"):
        items_table(client).load(ITEM)


# ---- what a sync records


def test_a_sync_records_its_result_and_its_entry_in_one_transaction(
    items: ItemsTable, transactions: TransactionsTable, dynamodb: Any
) -> None:
    expiry = Expiry("PENDING_DISCONNECT", NOON + timedelta(days=7))
    state = ItemState(StateName.EXPIRING, expiry.code, NOON, expiry, warnings_resolved_until=NOON)
    checking = Account("account", "Checking", "0000", "depository", "checking", b"object", NOON)
    accounts = (checking, Account("another"))
    claim(items)
    commit = replace(COMMIT, state=state, accounts=accounts, accounts_checked_at=NOON)
    transactions.write(ITEM, 1, [ROW], begin=False, end=commit)
    stored = loaded(items)
    assert (stored.state, stored.accounts) == (state, accounts)
    assert stored.accounts_checked_at == NOON
    assert history_of_kind(dynamodb, EntryKind.SYNC) == [ENTRY]

    items.record(claim(items), replace(NEEDS_USER, update_status="NOT_READY"))
    broken = loaded(items)
    assert (broken.state, broken.accounts, broken.update_status) == (NEEDS_USER.state, accounts, "NOT_READY")
    assert history_of_kind(dynamodb, EntryKind.SYNC) == [NEEDS_USER.entry, ENTRY]

    commit = replace(COMMIT, expected_cursor=Cursor("one"), cursor=Cursor("two"), accounts=accounts)
    transactions.write(ITEM, claim(items).generation, [], begin=False, end=commit)
    recovered = loaded(items)
    assert (recovered.state, recovered.accounts) == (ItemState(StateName.ACTIVE), accounts)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a record leaves of the next attempt, and of the outcome."""

    at: datetime | None
    attempt_class: str
    state: ItemState
    failure: ItemFailure | None
    unfinished_attempts: int
    entries: list[HistoryEntry]


def recorded(items: ItemsTable, dynamodb: Any) -> Recorded:
    item = loaded(items)
    row = dynamodb.get_item(TableName=ITEMS, Key={"item_id": {"S": ITEM}})["Item"]
    attempt_class, _, _ = row["attempt_shard"]["S"].partition("#")
    entries = history_of_kind(dynamodb, EntryKind.SYNC)
    return Recorded(item.next_attempt_at, attempt_class, item.state, item.failure, item.unfinished_attempts, entries)


@pytest.mark.parametrize("entry", [FAILED.entry, None], ids=["with an entry", "without one"])
def test_an_outcome_is_recorded(items: ItemsTable, dynamodb: Any, entry: HistoryEntry | None) -> None:
    outcome = replace(FAILED, entry=entry)
    entries = [] if entry is None else [entry]
    items.record(claim(items), outcome)
    said = Recorded(LATER.at, "routine", outcome.state, FAILED.follow_up.failure, 0, entries)
    assert recorded(items, dynamodb) == said


@pytest.mark.parametrize("entry", [FAILED.entry, None], ids=["with an entry", "without one"])
def test_a_record_is_idempotent_after_a_lost_response(
    items: ItemsTable, dynamodb: Any, entry: HistoryEntry | None
) -> None:
    claimed = claim(items)
    for _ in range(2):
        items.record(claimed, replace(FAILED, entry=entry))
        assert recorded(items, dynamodb).at == LATER.at


def test_a_superseded_outcome_is_not_recorded(items: ItemsTable, dynamodb: Any) -> None:
    older, newer = claim(items), claim(items, "newer")
    with pytest.raises(SupersededError):
        items.record(older, FAILED)
    assert loaded(items) == newer
    assert history_of_kind(dynamodb, EntryKind.SYNC) == []


def test_the_failure_of_a_removal_does_not_postpone_the_erasure_that_was_requested_meanwhile(
    items: ItemsTable, dynamodb: Any
) -> None:
    remove(items, erase=False)
    item = loaded(items)
    items.record(item, replace(FAILED, state=item.state))
    assert (loaded(items).failure, loaded(items).next_attempt_at) == (FAILED.follow_up.failure, LATER.at)
    assert items.also_erase_transactions(item, HistoryEntry(ITEM, NOON, "erase", EntryKind.REQUEST, "erase"))
    requested = loaded(items)
    with pytest.raises(SupersededError):
        items.record(item, replace(FAILED, state=item.state))
    assert loaded(items) == requested
    assert history_of_kind(dynamodb, EntryKind.SYNC) == [FAILED.entry]


def test_an_item_that_is_removed_during_a_sync_stays_removed(items: ItemsTable, dynamodb: Any) -> None:
    claimed = claim(items)
    set_attribute(dynamodb, "state", REMOVED)
    before = items.load(ITEM)
    with pytest.raises(SupersededError):
        items.record(claimed, NEEDS_USER)
    assert items.load(ITEM) == before
    assert history_of_kind(dynamodb, EntryKind.SYNC) == []


def test_only_the_newest_attempt_records_accounts_and_in_one_transaction_with_its_entry(
    items: ItemsTable, dynamodb: Any
) -> None:
    older, newer = claim(items, "older"), claim(items, "newer")
    states = AccountStates(frozenset({"gone"}), frozenset({"withdrawn"}), frozenset({"erased"}))
    checks = (PendingCheck(ACCOUNT_ROWS, NOON, account_id="gone"),)
    update = AccountsUpdate(states, checks, frozenset({"login#1"}), full_resync=True, entry=ENTRY)
    with pytest.raises(SupersededError):
        items.record_accounts(older, update)
    assert loaded(items) == newer
    found = replace(newer, accounts=(Account("gone"),), accounts_checked_at=NOON, institution_id="ins_1")
    recorded = items.record_accounts(found, update)
    assert recorded == loaded(items)
    assert (recorded.generation, recorded.account_states, recorded.pending_checks) == (3, states, checks)
    assert recorded.bank_login_ids == {"login#1"}
    assert recorded.reconcile
    assert history_of_kind(dynamodb, EntryKind.SYNC) == [ENTRY]
    with pytest.raises(SupersededError):
        items.complete_checks(newer, ())
    assert items.complete_checks(recorded, ()) == loaded(items) == replace(recorded, generation=4, pending_checks=())


# ---- requests of the API


def test_a_request_that_supersedes_an_attempt_clears_the_unfinished_attempts(items: ItemsTable) -> None:
    claim(items, "first")
    claimed = claim(items, "second")
    assert claimed.unfinished_attempts == 2
    assert items.change(loaded(items), ItemChange(full_resync=True), replace(ENTRY, entry_suffix="resync"))
    assert claim(items, "third").unfinished_attempts == 1
    change = ItemChange(state=ItemState(StateName.ACTIVE, since=NOON))
    assert items.change(loaded(items), change, replace(ENTRY, entry_suffix="repaired"))
    assert loaded(items).unfinished_attempts == 0


def test_a_requested_full_resync_is_a_new_start(items: ItemsTable, dynamodb: Any) -> None:
    set_attribute(dynamodb, "pull_restarts", {"N": "3"})
    assert items.change(loaded(items), ItemChange(full_resync=True), ENTRY)
    assert loaded(items) == replace(loaded(items), reconcile=True, pull_restarts=0, checkpoint=None)


# ---- the removal


def remove(items: ItemsTable, *, erase: bool) -> None:
    """Remove the Item as the API does."""
    entry = HistoryEntry(ITEM, NOON, "remove", EntryKind.REQUEST, "removed")
    assert items.remove(loaded(items), ItemState(StateName.REMOVED, since=NOON), entry, erase=erase)


def removal(items: ItemsTable) -> Removal:
    found = loaded(items).removal
    assert found is not None
    return found


def test_no_removal_step_is_recorded_for_an_item_that_is_not_removed(items: ItemsTable, dynamodb: Any) -> None:
    before = loaded(items)
    with pytest.raises(TransientError):
        items.record_plaid_removed(ITEM)
    with pytest.raises(TransientError):
        items.record_rows_to_erase(ITEM, 3)
    with pytest.raises(TransientError):
        items.record_removal_completed(before, COMPLETED)
    assert loaded(items) == before
    assert history_of_kind(dynamodb, EntryKind.REMOVAL) == []


@pytest.mark.usefixtures("items")
def test_the_access_token_is_dropped_once_plaid_removed_the_item(dynamodb: Any) -> None:
    clock = FakeClock()
    items = items_table(dynamodb, clock)
    remove(items, erase=True)
    assert loaded(items).access_token == b"encrypted"
    for _ in range(2):
        items.record_plaid_removed(ITEM)
        clock.sleep(1)
    assert loaded(items).access_token == b""
    assert removal(items) == Removal(requested_at=NOON, erase=True, plaid_removed_at=NOON)


def test_the_number_of_rows_is_recorded_once(items: ItemsTable) -> None:
    remove(items, erase=True)
    assert [items.record_rows_to_erase(ITEM, rows) for rows in (3, 1, 0)] == [3, 3, 3]
    assert removal(items).rows_to_erase == 3


def test_the_completion_is_recorded_once_with_its_entry(items: ItemsTable, dynamodb: Any) -> None:
    remove(items, erase=True)
    item = loaded(items)
    items.record_removal_completed(item, COMPLETED)
    items.record_removal_completed(item, replace(COMPLETED, outcome="another"))
    assert removal(items).completed_at == NOON
    assert loaded(items).state.name == StateName.REMOVED
    assert history_of_kind(dynamodb, EntryKind.REMOVAL) == [COMPLETED]


@pytest.mark.parametrize("erase", [True, False], ids=["erase", "keep"])
def test_the_note_about_a_removal_goes_with_the_erased_rows(items: ItemsTable, *, erase: bool) -> None:
    entry = HistoryEntry(ITEM, NOON, "remove", EntryKind.REQUEST, "removed")
    reason = RemovalReason("OTHER", "Jane Doe moved away")
    assert items.remove(loaded(items), ItemState(StateName.REMOVED, since=NOON), entry, erase=erase, reason=reason)
    items.record_removal_completed(loaded(items), COMPLETED)
    assert removal(items).reason == (RemovalReason("OTHER") if erase else reason)


def test_a_removal_that_keeps_rows_is_not_completed_when_erasure_was_requested_concurrently(
    items: ItemsTable, dynamodb: Any
) -> None:
    remove(items, erase=False)
    item = loaded(items)
    entry = HistoryEntry(ITEM, NOON, "erase", EntryKind.REQUEST, "erase")
    assert items.also_erase_transactions(item, entry)
    with pytest.raises(TransientError, match="removal_changed"):
        items.record_removal_completed(item, COMPLETED)
    assert removal(items) == Removal(requested_at=NOON, erase=True)
    assert history_of_kind(dynamodb, EntryKind.REMOVAL) == []


# ---- the options of the pull


def test_options_hold_for_the_cursor_that_they_were_committed_with(
    items: ItemsTable, transactions: TransactionsTable, dynamodb: Any
) -> None:
    """A version that does not know them commits another cursor, and leaves them as they are."""
    claimed = items.restart_pull(claim(items), from_beginning=False, pulled_with="v2")
    assert loaded(items).pulled_with == "v2"
    transactions.write(ITEM, claimed.generation, [ROW], begin=False, end=replace(COMMIT, pulled_with="v2"))
    assert loaded(items).pulled_with == "v2"
    set_attribute(dynamodb, "cursor", {"S": "of another version"})
    assert loaded(items).pulled_with == ""


def test_a_replaced_access_token_is_stored_with_its_time_until_the_removal_is_complete(
    dynamodb: Any, items: ItemsTable
) -> None:
    began = HistoryEntry(ITEM, NOON, "began", EntryKind.REQUEST, "token_rotation_began")
    rotated = replace(began, at=NOON + timedelta(seconds=2), entry_suffix="rotated", outcome="token_rotated")
    assert items.begin_token_rotation(loaded(items), began)
    assert items.finish_token_rotation(ITEM, began.at, b"new", rotated)
    row = dynamodb.get_item(TableName=ITEMS, Key={"item_id": {"S": ITEM}})["Item"]
    assert (row["access_token"], row["token_rotated_at"]) == ({"B": b"new"}, {"S": format_timestamp(rotated.at)})
    assert "token_rotation_began_at" not in row
    assert items.remove(
        loaded(items), ItemState(StateName.REMOVED), replace(began, outcome="removal_requested"), erase=True
    )
    items.record_removal_completed(loaded(items), COMPLETED)
    assert "token_rotated_at" not in dynamodb.get_item(TableName=ITEMS, Key={"item_id": {"S": ITEM}})["Item"]


def test_a_switch_of_the_webhooks_supersedes_attempts_and_needs_the_item_as_it_was_loaded(
    dynamodb: Any, items: ItemsTable
) -> None:
    before = loaded(items)
    claimed = claim(items)
    entry = HistoryEntry(ITEM, NOON, "switched", EntryKind.REQUEST, "done")
    assert not items.record_webhook(before, entry, here=True)
    assert items.record_webhook(claimed, entry, here=True)
    with pytest.raises(SupersededError):
        items.record(claimed, FAILED)
    row = dynamodb.get_item(TableName=ITEMS, Key={"item_id": {"S": ITEM}})["Item"]
    assert row["webhook_switched_at"] == {"S": format_timestamp(NOON)}
    assert "unfinished_attempts" not in row
    assert loaded(items).next_attempt_at is not None
    assert loaded(items).imported is None, "it was linked here"
    assert items.record_webhook(loaded(items), replace(entry, entry_suffix="restored"), here=False)
    assert "webhook_switched_at" not in dynamodb.get_item(TableName=ITEMS, Key={"item_id": {"S": ITEM}})["Item"]


# ---- the export of a token


EXPORT: Final = HistoryEntry(ITEM, NOON + timedelta(seconds=5), "export", EntryKind.REQUEST, "token_exported")


def test_an_export_is_recorded_with_its_entry_or_not_at_all(dynamodb: Any, items: ItemsTable) -> None:
    before = loaded(items)
    claimed = claim(items)
    assert not items.record_token_export(before, EXPORT)
    assert [entry.outcome for entry in history_of_kind(dynamodb, EntryKind.REQUEST)] == ["linked"]
    assert items.record_token_export(claimed, EXPORT)
    assert [entry.outcome for entry in history_of_kind(dynamodb, EntryKind.REQUEST)] == ["token_exported", "linked"]
    assert loaded(items) == replace(claimed, token_exported_at=EXPORT.at)


def test_a_rotation_ends_what_an_export_allows(items: ItemsTable) -> None:
    assert items.record_token_export(loaded(items), EXPORT)
    exported = loaded(items)
    began = replace(EXPORT, at=EXPORT.at + timedelta(seconds=1), outcome="token_rotation_began")
    assert items.begin_token_rotation(exported, began)
    assert loaded(items).token_exported_at is None
    assert not items.remove_here(exported, ItemState(StateName.REMOVED), began, erase=False)


@pytest.mark.parametrize("name", ["token_rotated_at", "token_rotation_began_at"])
def test_a_version_that_knows_no_exports_and_rotates_the_token_ends_it_too(
    dynamodb: Any, items: ItemsTable, name: str
) -> None:
    assert items.record_token_export(loaded(items), EXPORT)
    set_attribute(dynamodb, name, {"S": format_timestamp(EXPORT.at + timedelta(seconds=1))})
    assert loaded(items).token_exported_at is None


def test_an_item_that_is_kept_at_plaid_loses_its_token_with_the_request(dynamodb: Any, items: ItemsTable) -> None:
    assert items.record_token_export(loaded(items), EXPORT)
    entry = replace(EXPORT, outcome="removal_requested", entry_suffix="remove")
    assert items.remove_here(loaded(items), ItemState(StateName.REMOVED), entry, erase=False)
    assert loaded(items).access_token == b""
    assert removal(items) == Removal(requested_at=entry.at, erase=False, keeps_at_plaid=True)
    items.record_removal_completed(loaded(items), COMPLETED)
    row = dynamodb.get_item(TableName=ITEMS, Key={"item_id": {"S": ITEM}})["Item"]
    assert "token_exported_at" not in row
    assert removal(items).keeps_at_plaid
