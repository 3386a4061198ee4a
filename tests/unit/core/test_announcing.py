from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from plaid_sync.adapters.dynamodb.expressions import deserialize
from plaid_sync.adapters.dynamodb.history_table import entry_put
from plaid_sync.core.history import EntryKind, HistoryEntry
from plaid_sync.core.items import ItemId
from plaid_sync.core.lifecycle.announcing import BusEvent, events_of
from plaid_sync.core.lifecycle.states import Announcement

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DETAILS = {
    "causes": ["webhook ITEM ERROR"],
    "status_before": "active",
    "status": "needs_user",
    "code": "ITEM_LOGIN_REQUIRED",
    "generation": 7,
    "plaid_request_ids": ["r1"],
    "caller": "arn:aws:iam::123456789012:user/someone",
}


def stored(*announcements: Announcement, **details: Any) -> dict[str, Any]:
    """Return an entry as the History table's stream shows it."""
    entry = HistoryEntry(ItemId("item"), NOON, "g7", EntryKind.SYNC, "needs_user", DETAILS | details, announcements)
    return deserialize(entry_put("history", entry)["Put"]["Item"])


def test_an_entry_tells_each_of_its_announcements_with_what_led_to_it_and_nothing_else() -> None:
    detail = {
        "item_id": "item",
        "entry_id": "2026-03-01T12:00:00.000Z#g7",
        "at": "2026-03-01T12:00:00.000Z",
        "kind": "sync",
        "outcome": "needs_user",
        "status_before": "active",
        "status": "needs_user",
        "code": "ITEM_LOGIN_REQUIRED",
        "causes": ["webhook ITEM ERROR"],
    }
    told = events_of(stored(Announcement.NEW_ACCOUNTS, Announcement.NEEDS_USER))
    assert told == [BusEvent("NewAccountsAvailable", detail), BusEvent("ItemNeedsUser", detail)]


def test_every_announcement_reaches_the_bus_by_its_own_name() -> None:
    assert [event.name for event in events_of(stored(*Announcement))] == [one.value for one in Announcement]


@pytest.mark.parametrize(
    "announcements", [{}, {"announcements": ""}, {"announcements": "ItemCelebrated"}, {"announcements": 7}], ids=str
)
def test_an_entry_that_announces_nothing_that_we_know_is_not_told(announcements: dict[str, Any]) -> None:
    assert events_of({"item_id": "item"} | announcements) == []


@pytest.mark.parametrize(
    "value", [None, 7, "", "\ud800", "a\nb", "x" * 1025, ["fine", "\ud800"], {"a": "b"}], ids=ascii
)
def test_what_no_event_can_hold_is_left_out(value: object) -> None:
    (event,) = events_of({"announcements": "ItemActive", "item_id": "item", "code": value, "causes": ["request"]})
    assert event.detail == {"item_id": "item", "causes": ["request"]}
