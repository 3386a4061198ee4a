"""The registration of an Item: its row, its account claims and the Item that it replaces, all or nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.stub import Stubber
from plaid_sync.aws.dynamodb.links import LinksTable
from plaid_sync.aws.dynamodb.transact import MAX_TRIES
from plaid_sync.domain.claims import user_key
from plaid_sync.domain.errors import RefusedError, TransientError
from plaid_sync.domain.history import EntryKind, HistoryEntry
from plaid_sync.domain.item import Cursor, Imported, Item, ItemId, ItemState, Removal, StateName
from plaid_sync.linking.sessions import ClaimHeldError, LinkProgress, LinkSession, Registration, Replacement

from tests.fakes.clock import NOON, FakeClock
from tests.unit.aws.dynamodb.samples import (
    COMMIT,
    ITEM,
    ITEMS,
    LINKS,
    NEW,
    REMOVED,
    ROW,
    claim,
    history_of_kind,
    items_table,
    loaded,
    register,
    registrations,
    set_attribute,
)

if TYPE_CHECKING:
    from plaid_sync.aws.dynamodb.items import ItemsTable
    from plaid_sync.aws.dynamodb.transactions import TransactionsTable


def test_registering_again_keeps_what_a_sync_wrote(
    items: ItemsTable, transactions: TransactionsTable, dynamodb: Any
) -> None:
    claim(items)
    transactions.write(ITEM, 1, [ROW], begin=False, end=COMMIT)
    before = loaded(items)
    register(dynamodb, replace(NEW, access_token=b"encrypted again", days_requested=30))
    assert items.load(ITEM) == replace(before, access_token=b"encrypted again")


def test_blocking_keeps_a_stored_item_and_prevents_any_other_registration(items: ItemsTable, dynamodb: Any) -> None:
    assert registrations(dynamodb).block_registration(ITEM, "user")
    assert items.load(ITEM) is not None
    late = replace(NEW, item_id=ItemId("late"))
    assert not registrations(dynamodb).block_registration(late.item_id, "user")
    with pytest.raises(TransientError, match="item_modified_concurrently"):
        register(dynamodb, late)
    assert items.load(late.item_id) is None


def test_no_item_of_a_user_who_is_being_erased_is_registered_and_no_session_is_stored(dynamodb: Any) -> None:
    late = replace(NEW, item_id=ItemId("late"), client_user_id="user")
    session = LinkSession("session#1", "user", None, None, NOON + timedelta(days=1))
    dynamodb.put_item(
        TableName=LINKS, Item={"link_key": {"S": user_key("user")}, "erasing_since": {"S": "2026-01-01T00:00:00.000Z"}}
    )
    with pytest.raises(TransientError, match="user_being_erased"):
        register(dynamodb, late)
    with pytest.raises(RefusedError, match="the user is being erased"):
        LinksTable(dynamodb, LINKS, FakeClock()).add_session(session)
    assert dynamodb.scan(TableName=LINKS)["Count"] == 1
    assert dynamodb.get_item(TableName=ITEMS, Key={"item_id": {"S": "late"}}).get("Item") is None


@pytest.mark.usefixtures("aws")
def test_claims_that_dynamodb_reads_with_its_last_try_are_found() -> None:
    client, key = boto3.client("dynamodb"), {"link_key": {"S": "login#1"}}
    left = {LINKS: {"Keys": [key]}}
    row = key | {"item_id": {"S": ITEM}, "link_id": {"S": "link"}}
    table = LinksTable(client, LINKS, FakeClock())
    with Stubber(client) as stub:
        for _ in range(MAX_TRIES - 1):
            stub.add_response("batch_get_item", {"Responses": {}, "UnprocessedKeys": left})
        stub.add_response("batch_get_item", {"Responses": {LINKS: [row]}})
        assert table.claims(["login#1"]).keys() == {"login#1"}
        for _ in range(MAX_TRIES):
            stub.add_response("batch_get_item", {"Responses": {}, "UnprocessedKeys": left})
        with pytest.raises(TransientError, match="UnprocessedKeys"):
            table.claims(["login#1"])


def test_a_removed_item_is_not_registered_again(items: ItemsTable, dynamodb: Any) -> None:
    set_attribute(dynamodb, "state", REMOVED)
    before = items.load(ITEM)
    with pytest.raises(TransientError, match="item_modified_concurrently"):
        register(dynamodb, replace(NEW, access_token=b"another"))
    assert items.load(ITEM) == before


def user_item(name: str, *claims: str) -> Item:
    """Return an Item of one user, with the keys of its account claims."""
    return replace(NEW, item_id=ItemId(name), client_user_id="user", bank_login_ids=frozenset(claims))


def replacement(item_id: ItemId) -> Replacement:
    entry = HistoryEntry(item_id, NOON, "replaced", EntryKind.REQUEST, "removed")
    return Replacement(item_id, ItemState(StateName.REMOVED, since=NOON), erase=True, entry=entry)


def test_an_account_claim_has_one_holder_and_nothing_of_a_second_item_is_stored(dynamodb: Any) -> None:
    items = register(dynamodb, user_item("first", "login#a", "login#b"))
    second = user_item("second", "login#b", "login#c")
    with pytest.raises(ClaimHeldError) as held:
        register(dynamodb, second)
    assert held.value.holder == "first"
    assert items.load(second.item_id) is None
    assert history_of_kind(dynamodb, EntryKind.REQUEST, second.item_id) == []
    register(dynamodb, second, releasable_item_ids=frozenset({ItemId("first")}))
    assert loaded(items, second.item_id).bank_login_ids == {"login#b", "login#c"}


def test_an_item_is_replaced_in_the_transaction_that_registers_the_new_one(dynamodb: Any) -> None:
    first, second = user_item("first", "login#a"), user_item("second", "login#a")
    items = register(dynamodb, first)
    register(
        dynamodb,
        second,
        releasable_item_ids=frozenset({first.item_id}),
        replacement=replacement(first.item_id),
    )
    assert loaded(items, first.item_id).removal == Removal(requested_at=NOON, erase=True)
    assert not loaded(items, second.item_id).removed
    assert len(history_of_kind(dynamodb, EntryKind.REQUEST, first.item_id)) == 2


def test_an_item_is_registered_also_when_the_replaced_one_was_removed_concurrently(dynamodb: Any) -> None:
    first, second = user_item("first"), user_item("second")
    items = register(dynamodb, first)
    set_attribute(dynamodb, "state", REMOVED, item_id="first")
    before = items.load(first.item_id)
    register(dynamodb, second, replacement=replacement(first.item_id))
    assert not loaded(items, second.item_id).removed
    assert items.load(first.item_id) == before


def test_an_item_of_another_user_is_not_replaced(dynamodb: Any) -> None:
    other = replace(user_item("first"), client_user_id="another user")
    items, second = register(dynamodb, other), user_item("second")
    with pytest.raises(TransientError, match="item_modified_concurrently"):
        register(dynamodb, second, replacement=replacement(other.item_id))
    assert not loaded(items, other.item_id).removed
    assert items.load(second.item_id) is None


LATE = replace(NEW, item_id=ItemId("late"), link_id="link", linked_at=NOON)
MINUTE = timedelta(minutes=1)


def exchanged(dynamodb: Any) -> None:
    """Record that the public token of `LATE` was exchanged."""
    progress = LinkProgress("link", None, NOON + timedelta(days=1), LATE.item_id)
    registrations(dynamodb).record_exchange(progress, LATE.item_id, b"first", NOON)


def test_an_exchanged_item_is_no_item_until_it_is_registered(items: ItemsTable, dynamodb: Any) -> None:
    exchanged(dynamodb)
    assert items.load(LATE.item_id) is None
    assert items.exchanged_token(LATE.item_id, "link") == b"first"
    assert items.exchanged_token(LATE.item_id, "another link") is None
    register(dynamodb, LATE)
    item = loaded(items, LATE.item_id)
    assert (item.state.name, item.linked_at, item.access_token) == ("active", NOON, LATE.access_token)
    assert items.exchanged_token(LATE.item_id, "link") is None
    assert items.begin_rollback(LATE.item_id, NOON + MINUTE) is None
    exchanged(dynamodb)
    assert loaded(items, LATE.item_id) == item
    register(dynamodb, LATE)
    assert loaded(items, LATE.item_id) == item


def test_an_exchanged_item_whose_rollback_began_is_never_registered(items: ItemsTable, dynamodb: Any) -> None:
    exchanged(dynamodb)
    assert items.begin_rollback(LATE.item_id, NOON - MINUTE) is None
    for _ in range(2):
        assert items.begin_rollback(LATE.item_id, NOON + MINUTE) == b"first"
        assert items.exchanged_token(LATE.item_id, "link") == b""
    for _ in range(2):
        with pytest.raises(TransientError, match="item_modified_concurrently"):
            register(dynamodb, LATE)
        items.record_rolled_back(LATE.item_id)
        assert items.begin_rollback(LATE.item_id, NOON + MINUTE) is None
    assert items.load(LATE.item_id) is None
    row = dynamodb.get_item(TableName=items.table, Key={"item_id": {"S": LATE.item_id}})["Item"]
    assert not {"access_token", "next_attempt_at", "attempt_shard"} & row.keys()


def test_an_exchanged_item_is_registered_neither_for_another_link_nor_after_a_block(
    items: ItemsTable, dynamodb: Any
) -> None:
    exchanged(dynamodb)
    with pytest.raises(TransientError, match="item_modified_concurrently"):
        register(dynamodb, replace(LATE, link_id="another link"))
    assert not registrations(dynamodb).block_registration(LATE.item_id, "user")
    with pytest.raises(TransientError, match="item_modified_concurrently"):
        register(dynamodb, LATE)
    assert items.load(LATE.item_id) is None


def test_an_imported_item_is_stored_with_its_cursor_and_its_webhook_and_replaces_none(dynamodb: Any) -> None:
    moved = replace(
        NEW,
        item_id=ItemId("moved"),
        cursor=Cursor("theirs"),
        imported=Imported("https://other.invalid"),
        link_id="token",
    )
    linked = HistoryEntry(moved.item_id, NOON, "imported", EntryKind.REQUEST, "imported")
    registration = Registration(moved, None, linked)
    registrations(dynamodb).register_imported(registration)
    stored = items_table(dynamodb).load(moved.item_id)
    assert stored is not None
    assert (stored.cursor, stored.imported, stored.link_id) == (moved.cursor, moved.imported, "token")
    again = replace(registration, item=replace(moved, access_token=b"older", imported=Imported(None)))
    with pytest.raises(TransientError, match="item_modified_concurrently"):
        registrations(dynamodb).register_imported(again)
    assert items_table(dynamodb).load(moved.item_id) == stored


def test_an_imported_item_takes_no_claim_of_another(dynamodb: Any) -> None:
    key = "login#1"
    register(dynamodb, replace(NEW, item_id=ItemId("first"), bank_login_ids=frozenset({key})))
    moved = replace(NEW, item_id=ItemId("moved"), bank_login_ids=frozenset({key}), imported=Imported())
    entry = HistoryEntry(moved.item_id, NOON, "imported", EntryKind.REQUEST, "imported")
    registration = Registration(moved, None, entry)
    with pytest.raises(ClaimHeldError):
        registrations(dynamodb).register_imported(registration)
    assert items_table(dynamodb).load(moved.item_id) is None
