"""What ITEM webhooks request beyond a sync, hostile webhooks included: none fails the sync."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plaid_sync.domain.item import CHECK_ACCOUNTS, ItemId, PendingCheck
from plaid_sync.domain.messages import Cause, ReceivedMessage, SyncMessage
from plaid_sync.domain.transitions import ITEM_WEBHOOK_EVENTS, EventType
from plaid_sync.sync.batch import cause_of, check_of_message

from tests.fakes.clock import NOON

MEMBERS = ("webhook_type", "webhook_code", "account_id", "consent_expiration_time", "disconnect_time", "error", "")
TEXT = st.text("aZ0 -:T.\n\0\u00e9\ud800\U0001f600", max_size=130)
WORDS = st.sampled_from(
    [*EventType, "ITEM", "TRANSACTIONS", "2026-06-08T12:00:00Z", "9999-12-31T23:59:59-23:59", "0001-01-01"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals() | TEXT | WORDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=2),
    max_leaves=4,
)


def received(webhook: dict[str, Any] | None, cause: Cause = Cause.WEBHOOK) -> ReceivedMessage:
    return ReceivedMessage(SyncMessage(ItemId("item"), cause, webhook), "body", "message", "receipt", NOON, 1)


def check_of(code: str, **members: object) -> PendingCheck | None:
    return check_of_message(received({"webhook_type": "ITEM", "webhook_code": code} | members))


def test_every_queued_item_webhook_requests_its_check() -> None:
    checks = {code: check_of(code) for code in ITEM_WEBHOOK_EVENTS}
    assert checks == {code: PendingCheck(code, reported_at=NOON) for code in ITEM_WEBHOOK_EVENTS}


@pytest.mark.parametrize("code", ["A_CODE_OF_NEXT_YEAR", EventType.HEALTHY.value, EventType.REMOVE.value])
def test_an_item_webhook_that_plaid_has_added_is_a_hint_to_look(code: str) -> None:
    later = {"consent_expiration_time": "2026-06-08T12:00:00Z", "account_id": "account"}
    assert check_of(code, **later) == PendingCheck("ERROR", reported_at=NOON)


@pytest.mark.parametrize(
    "webhook",
    [
        None,
        {},
        {"webhook_type": "TRANSACTIONS", "webhook_code": "SYNC_UPDATES_AVAILABLE"},
        {"webhook_type": "TRANSACTIONS", "webhook_code": "ERROR"},
        {"webhook_type": "ITEM", "webhook_code": "WEBHOOK_UPDATE_ACKNOWLEDGED"},
        {"webhook_type": "ITEM", "webhook_code": ["ERROR"]},
        {"webhook_type": "ITEM", "webhook_code": None},
    ],
    ids=str,
)
def test_any_other_message_requests_none(webhook: dict[str, Any] | None) -> None:
    assert check_of_message(received(webhook)) is None


@pytest.mark.parametrize(
    ("code", "member"),
    [("PENDING_EXPIRATION", "consent_expiration_time"), ("PENDING_DISCONNECT", "disconnect_time")],
)
@pytest.mark.parametrize(
    "text", ["2026-06-08T12:00:00Z", "2026-06-08T12:00:00", "2026-06-08T14:00:00+02:00", "2026-06-08T12:00:00.000Z"]
)
def test_the_deadline_of_a_warning_is_parsed_in_every_form_of_iso_8601(code: str, member: str, text: str) -> None:
    in_a_week = NOON + timedelta(days=7)
    assert check_of(code, **{member: text}) == PendingCheck(code, until=in_a_week, reported_at=NOON)


@pytest.mark.parametrize(
    "value",
    [
        *(None, 7, "", "soon", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "1970-01-01"),
        *(["2026-06-08"], "\ud800"),
    ],
    ids=ascii,
)
def test_an_implausible_deadline_is_omitted(value: object) -> None:
    check = check_of("PENDING_DISCONNECT", disconnect_time=value)
    assert check == PendingCheck("PENDING_DISCONNECT", reported_at=NOON)


def test_only_the_webhook_about_a_withdrawn_account_names_one() -> None:
    revoked = PendingCheck("USER_ACCOUNT_REVOKED", reported_at=NOON, account_id="account")
    assert check_of("USER_ACCOUNT_REVOKED", account_id="account") == revoked
    assert check_of("ERROR", account_id="account") == PendingCheck("ERROR", reported_at=NOON)


@pytest.mark.parametrize("account_id", [None, "", 7, ["account"], {"a": 1}, "\ud800", "a\nb", "x" * 129], ids=ascii)
def test_an_account_id_that_no_row_can_have_is_omitted(account_id: object) -> None:
    check = check_of("USER_ACCOUNT_REVOKED", account_id=account_id)
    assert check == PendingCheck("USER_ACCOUNT_REVOKED", reported_at=NOON)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(MEMBERS), JSON), st.sampled_from([*ITEM_WEBHOOK_EVENTS, None]))
def test_no_webhook_raises_and_the_parsed_fields_can_be_stored(webhook: dict[str, Any], code: str | None) -> None:
    genuine = {} if code is None else {"webhook_type": "ITEM", "webhook_code": code}
    message = received(webhook | genuine)
    check = check_of_message(message)
    assert cause_of(message).isascii()
    assert cause_of(message).isprintable()
    assert (check is None) <= (code is None)
    if check is not None:
        assert check.until is None or (check.until.tzinfo is UTC and abs(check.until - NOON) < timedelta(days=5 * 366))
        assert check.account_id is None or (check.account_id.isascii() and 0 < len(check.account_id) <= 128)


def test_the_cause_of_a_sync_names_the_webhook() -> None:
    assert cause_of(received(None, Cause.REQUEST)) == "request"
    assert cause_of(received({"webhook_type": "ITEM", "webhook_code": "ERROR"})) == "webhook ITEM ERROR"
    assert cause_of(received({"webhook_type": "ITEM", "webhook_code": "\ud800"})) == "webhook ITEM"


def test_a_request_about_accounts_compares_them_and_no_other_one_does() -> None:
    checks = {cause: check_of_message(received(None, cause)) for cause in Cause}
    assert {cause: check.code for cause, check in checks.items() if check} == {Cause.ACCOUNTS: CHECK_ACCOUNTS}
