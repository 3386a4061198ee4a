"""From a history entry to the events on the bus."""

from __future__ import annotations

from typing import Any

import pytest
from plaid_sync.aws.dynamodb.expressions import deserialize
from plaid_sync.aws.dynamodb.history import entry_put
from plaid_sync.domain.history import DetailType, EntryKind, HistoryEntry
from plaid_sync.domain.item import ItemId
from plaid_sync.events import BusEvent, events_of_entry

from tests.fakes.clock import NOON

DETAILS = {
    "causes": ["webhook ITEM ERROR"],
    "state_before": "active",
    "state": "needs_user",
    "code": "ITEM_LOGIN_REQUIRED",
    "generation": 7,
    "plaid_request_ids": ["r1"],
    "caller": "arn:aws:iam::123456789012:user/someone",
}


def stored(*published_events: str, **details: Any) -> dict[str, Any]:
    entry = HistoryEntry(ItemId("item"), NOON, "g7", EntryKind.SYNC, "needs_user", DETAILS | details, published_events)
    return deserialize(entry_put("history", entry).request["Put"]["Item"])


def test_each_event_of_an_entry_is_published_with_its_cause_and_nothing_private() -> None:
    detail = {
        "item_id": "item",
        "entry_id": "2026-06-01T12:00:00.000Z#g7",
        "at": "2026-06-01T12:00:00.000Z",
        "kind": "sync",
        "outcome": "needs_user",
        "state_before": "active",
        "state": "needs_user",
        "code": "ITEM_LOGIN_REQUIRED",
        "causes": ["webhook ITEM ERROR"],
    }
    events = events_of_entry(stored(DetailType.NEW_ACCOUNTS, DetailType.NEEDS_USER))
    assert events == [BusEvent("NewAccountsAvailable", detail), BusEvent("ItemNeedsUser", detail)]


def test_every_detail_type_is_published_by_its_name_also_one_of_a_newer_version() -> None:
    names = [*(detail_type.value for detail_type in DetailType), "ItemCelebrated"]
    assert [event.detail_type for event in events_of_entry(stored(*names))] == names


@pytest.mark.parametrize("published_events", [{}, {"published_events": ""}, {"published_events": "\u00e9"}], ids=str)
def test_an_entry_without_events_publishes_nothing(published_events: dict[str, Any]) -> None:
    assert events_of_entry({"item_id": "item"} | published_events) == []


@pytest.mark.parametrize(
    "value", [None, 7, "", "\ud800", "a\nb", "x" * 1025, ["fine", "\ud800"], {"a": "b"}], ids=ascii
)
def test_an_attribute_that_no_event_can_hold_is_omitted(value: object) -> None:
    (event,) = events_of_entry(
        {"published_events": "ItemActive", "item_id": "item", "code": value, "causes": ["request"]}
    )
    assert event.detail == {"item_id": "item", "causes": ["request"]}
