"""docs/events: the feed's events are valid by their schemas, and the patterns match what their names say."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import pytest
from plaid_sync.domain.accounts import AccountStates
from plaid_sync.domain.changes import Change, ChangeKind
from plaid_sync.domain.item import Expiry, ItemState, Removal, StateName
from plaid_sync.domain.transaction import TransactionId
from plaid_sync.events import BusEvent
from plaid_sync.feed import MAX_EVENT_BYTES, SOURCE, ItemWrite

from tests.event_schemas import EVENTS, SCHEMAS, validate
from tests.fakes.clock import NOON
from tests.unit.test_feed import ACCOUNTS, AFTER, BEFORE, COMMIT, account, added, events, log_of, removed

if TYPE_CHECKING:
    from plaid_sync.domain.item import Item

PATTERNS: dict[str, Any] = json.loads((EVENTS / "patterns.json").read_text())


def modified(key: str, fields: dict[str, Any] | None) -> Change:
    return Change(TransactionId(key), ChangeKind.MODIFIED, "account", fields=fields)


def plaids(key: str, **content: Any) -> Change:
    return added(key, date="2026-06-01", **content)


def samples() -> list[BusEvent]:
    """Return events of each kind, in each of their forms."""
    large = plaids("large", name="x" * MAX_EVENT_BYTES)
    log = log_of(
        *(plaids("a"), large, replace(plaids("unknown"), content=None), removed("b")),
        *(replace(removed("c"), account_id=None), modified("n", None)),
        modified("m", {"name": {"new": "Shop"}, "amount": {"old": 1, "new": 2}, "mcc": {"old": "1"}}),
        *(removed("pending"), plaids("posted", pending_transaction_id="pending")),
        *(removed("old"), plaids("new", pending_transaction_id="old", name="x" * MAX_EVENT_BYTES)),
    )  # fmt: skip
    withdrawn = AccountStates(withdrawn=frozenset({"account"}))
    broken = ItemState(StateName.EXPIRING, "PENDING_EXPIRATION", NOON, Expiry("PENDING_EXPIRATION", NOON))
    first = ItemWrite(None, replace(ACCOUNTS, generation=0, changes_at=0, client_user_id=None))
    writes: list[tuple[Item, Item]] = [
        (ACCOUNTS, replace(BEFORE, account_states=withdrawn)),
        (BEFORE, replace(BEFORE, accounts=(account("x" * MAX_EVENT_BYTES),))),
        (BEFORE, replace(BEFORE, generation=5, state=broken)),
        (BEFORE, replace(BEFORE, generation=6, state=ItemState(StateName.REMOVED), removal=Removal(NOON, erase=True))),
        (BEFORE, replace(BEFORE, generation=5, state=ItemState(StateName.NEEDS_USER, "ITEM_LOGIN_REQUIRED", NOON))),
        (replace(BEFORE, changes_at=0), replace(AFTER, webhook_at=NOON + timedelta(seconds=20))),
        (BEFORE, replace(AFTER, synced_at=NOON + timedelta(minutes=2), webhook_at=NOON + timedelta(seconds=20))),
    ]
    later = [event for before, after in writes for event in events(ItemWrite(before, after, NOON))]
    return [*events(first), *events(COMMIT, log), *later]


SAMPLES = samples()


def test_each_kind_of_event_has_a_schema_and_its_samples_are_valid() -> None:
    assert {event.detail_type for event in SAMPLES} == SCHEMAS.keys()
    for event in SAMPLES:
        validate(event.detail)


def test_samples_have_each_member_that_a_schema_describes() -> None:
    for detail_type, schema in SCHEMAS.items():
        details = [dict(event.detail) for event in SAMPLES if event.detail_type == detail_type]
        assert schema["properties"].keys() == {name for detail in details for name in detail}, detail_type
        described = schema["properties"]["data"]["properties"].keys()
        assert described == {name for detail in details for name in detail["data"]}, detail_type


def test_the_schemas_agree_on_what_is_around_the_data() -> None:
    around = [
        {**schema["properties"], "type": None, "data": None, "required": schema["required"]}
        for schema in SCHEMAS.values()
    ]
    assert all(each == around[0] for each in around)
    for schema in SCHEMAS.values():
        jsonschema_rs.meta.validate(schema)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sequence": "4"},
        {"specversion": 1.0},
        {"subject": None},
        {"time": "yesterday"},
        {"type": "TransactionAdded.v2"},
        {"data": {"item_id": "item", "transaction_id": "a", "account_id": "account"}},
        {"data": {"item_id": "item", "transaction_id": "a", "account_id": "account", "transaction": 1}},
        {
            "data": {
                "item_id": "item",
                "transaction_id": "a",
                "account_id": "account",
                "content": "omitted",
                "transaction": {},
            }
        },
    ],
    ids=str,
)
def test_a_schema_refuses_what_is_no_such_event(wrong: dict[str, Any]) -> None:
    (event,) = [each for each in SAMPLES if each.detail["data"].get("transaction_id") == "a"]
    with pytest.raises((jsonschema_rs.ValidationError, KeyError)):
        validate({**event.detail, **wrong})


# ---- patterns


def matches(pattern: dict[str, Any], event: dict[str, Any]) -> bool:
    """Return whether EventBridge matches an event, by what the patterns use of its language."""
    for name, wanted in pattern.items():
        found = event.get(name)
        if isinstance(wanted, dict):
            if not matches(wanted, found or {}):
                return False
        elif not any(_accepts(each, found) for each in wanted):
            return False
    return True


def _accepts(wanted: Any, found: Any) -> bool:
    if not isinstance(wanted, dict):
        return bool(found == wanted)
    ((operator, limit),) = [wanted["numeric"]]
    assert operator == ">"
    return isinstance(found, int) and found > limit


def names_matching(event: BusEvent) -> set[str]:
    published = {"source": SOURCE, "detail-type": event.detail_type, "detail": dict(event.detail)}
    return {name for name, pattern in PATTERNS.items() if matches(pattern, published)}


def expected_names(event: BusEvent) -> set[str]:
    data, found = event.detail["data"], {"everything of the feed"}
    found |= {"every change of a transaction"} if event.detail_type.startswith("Transaction") else set()
    found |= {"one user"} if "client_user_id" in data else set()
    found |= {"pending transactions that posted"} if event.detail_type == "TransactionPosted" else set()
    found |= {"balances and accounts"} if event.detail_type == "AccountChanged" else set()
    found |= {"Items that need their user"} if data.get("state") == "needs_user" else set()
    return found | ({"syncs that took longer than a minute"} if (data.get("lag_seconds") or 0) > 60 else set())


def test_the_patterns_match_what_their_names_say() -> None:
    matched = set()
    for event in SAMPLES:
        assert names_matching(event) == expected_names(event), event.detail_type
        matched |= names_matching(event)
    assert matched == PATTERNS.keys(), "a pattern that no sample matches"
    signal = BusEvent("ItemActive", {"item_id": "item", "client_user_id": "user-17", "state": "needs_user"})
    assert names_matching(signal) == set()
