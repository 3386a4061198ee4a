"""What Plaid's ITEM webhooks are taken for, hostile ones included: none of them may fail the sync that it led to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plaid_sync.core.items import ItemId
from plaid_sync.core.lifecycle.notices import CODES, cause_of, occurrence_of
from plaid_sync.core.lifecycle.standing import Occurrence
from plaid_sync.core.lifecycle.states import Event
from plaid_sync.core.triggers import Cause, ReceivedTrigger, SyncTrigger

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
IN_A_WEEK = NOON + timedelta(days=7)
MEMBERS = ("webhook_type", "webhook_code", "account_id", "consent_expiration_time", "disconnect_time", "error", "")
TEXT = st.text("aZ0 -:T.\n\0\u00e9\ud800\U0001f600", max_size=130)
WORDS = st.sampled_from(
    [*Event, "ITEM", "TRANSACTIONS", "2026-03-08T12:00:00Z", "9999-12-31T23:59:59-23:59", "0001-01-01"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals() | TEXT | WORDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=2),
    max_leaves=4,
)


def received(webhook: dict[str, Any] | None, cause: Cause = Cause.WEBHOOK) -> ReceivedTrigger:
    return ReceivedTrigger(SyncTrigger(ItemId("item"), cause, webhook), "body", "message", "receipt", NOON, 1)


def told_by(code: str, **members: object) -> Occurrence | None:
    return occurrence_of(received({"webhook_type": "ITEM", "webhook_code": code} | members))


def test_every_code_that_is_queued_is_told_of_by_its_event() -> None:
    assert {code: told_by(code) for code in CODES} == {code: Occurrence(Event(code), told_at=NOON) for code in CODES}


@pytest.mark.parametrize(
    "webhook",
    [
        None,
        {},
        {"webhook_type": "TRANSACTIONS", "webhook_code": "SYNC_UPDATES_AVAILABLE"},
        {"webhook_type": "TRANSACTIONS", "webhook_code": "ERROR"},
        {"webhook_type": "ITEM", "webhook_code": "WEBHOOK_UPDATE_ACKNOWLEDGED"},
        {"webhook_type": "ITEM", "webhook_code": "SOMETHING_NEW"},
        {"webhook_type": "ITEM", "webhook_code": ["ERROR"]},
        {"webhook_type": "ITEM", "webhook_code": Event.HEALTHY.value},
        {"webhook_type": "ITEM", "webhook_code": Event.REMOVE.value},
    ],
    ids=str,
)
def test_whatever_else_a_trigger_holds_says_nothing_of_its_item(webhook: dict[str, Any] | None) -> None:
    assert occurrence_of(received(webhook)) is None


@pytest.mark.parametrize(
    ("code", "member"),
    [("PENDING_EXPIRATION", "consent_expiration_time"), ("PENDING_DISCONNECT", "disconnect_time")],
)
@pytest.mark.parametrize(
    "text", ["2026-03-08T12:00:00Z", "2026-03-08T12:00:00", "2026-03-08T14:00:00+02:00", "2026-03-08T12:00:00.000Z"]
)
def test_a_warnings_deadline_is_read_in_every_form_of_iso_8601(code: str, member: str, text: str) -> None:
    assert told_by(code, **{member: text}) == Occurrence(Event(code), until=IN_A_WEEK, told_at=NOON)


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        "",
        "soon",
        "9999-12-31T23:59:59-23:59",
        "0001-01-01T00:00:00+23:59",
        "1970-01-01",
        ["2026-03-08"],
        "\ud800",
    ],
    ids=ascii,
)
def test_a_deadline_that_is_no_time_or_years_away_is_left_out(value: object) -> None:
    told = told_by("PENDING_DISCONNECT", disconnect_time=value)
    assert told == Occurrence(Event.PENDING_DISCONNECT, told_at=NOON)


def test_only_the_webhook_about_a_withdrawn_account_names_one() -> None:
    told = told_by("USER_ACCOUNT_REVOKED", account_id="account")
    assert told == Occurrence(Event.USER_ACCOUNT_REVOKED, told_at=NOON, account_id="account")
    assert told_by("ERROR", account_id="account") == Occurrence(Event.ERROR, told_at=NOON)


@pytest.mark.parametrize("account_id", [None, "", 7, ["account"], {"a": 1}, "\ud800", "a\nb", "x" * 129], ids=ascii)
def test_an_account_that_no_row_can_have_is_left_out(account_id: object) -> None:
    told = told_by("USER_ACCOUNT_REVOKED", account_id=account_id)
    assert told == Occurrence(Event.USER_ACCOUNT_REVOKED, told_at=NOON)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(MEMBERS), JSON), st.sampled_from([*CODES, None]))
def test_no_webhook_whatever_raises_and_what_is_read_of_it_can_be_stored(
    webhook: dict[str, Any], code: str | None
) -> None:
    genuine = {} if code is None else {"webhook_type": "ITEM", "webhook_code": code}
    message = received(webhook | genuine)
    told = occurrence_of(message)
    assert cause_of(message).isascii()
    assert cause_of(message).isprintable()
    assert (told is None) <= (code is None)
    if told is not None:
        assert told.until is None or (told.until.tzinfo is UTC and abs(told.until - NOON) < timedelta(days=5 * 366))
        assert told.account_id is None or (told.account_id.isascii() and 0 < len(told.account_id) <= 128)


def test_a_history_says_by_which_webhook_a_sync_was_led_to() -> None:
    assert cause_of(received(None, Cause.REQUEST)) == "request"
    assert cause_of(received({"webhook_type": "ITEM", "webhook_code": "ERROR"})) == "webhook ITEM ERROR"
    assert cause_of(received({"webhook_type": "ITEM", "webhook_code": "\ud800"})) == "webhook ITEM"
