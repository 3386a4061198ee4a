from __future__ import annotations

import pytest
from plaid_sync.core.webhooks import UnusableError, deduplication_id, parse_webhook

NEED_A_SYNC = {
    "TRANSACTIONS": {"SYNC_UPDATES_AVAILABLE"},
    "ITEM": {"ERROR", "LOGIN_REPAIRED", "USER_PERMISSION_REVOKED", "USER_ACCOUNT_REVOKED"},
}
NEED_NOTHING = {
    "TRANSACTIONS": {
        "INITIAL_UPDATE",
        "HISTORICAL_UPDATE",
        "DEFAULT_UPDATE",
        "TRANSACTIONS_REMOVED",
        "RECURRING_TRANSACTIONS_UPDATE",
    },
    "ITEM": {"PENDING_DISCONNECT", "PENDING_EXPIRATION", "NEW_ACCOUNTS_AVAILABLE", "WEBHOOK_UPDATE_ACKNOWLEDGED"},
    "LINK": {"SESSION_FINISHED"},
    "SOMETHING_NEW": {"SYNC_UPDATES_AVAILABLE"},
}


def needs_sync(webhook_type: str, webhook_code: str) -> bool:
    body = f'{{"webhook_type": "{webhook_type}", "webhook_code": "{webhook_code}", "item_id": "item"}}'
    return parse_webhook(body.encode()).needs_sync


def test_every_code_that_can_change_the_answer_of_a_sync_triggers_one_and_no_other() -> None:
    assert all(needs_sync(kind, code) for kind, codes in NEED_A_SYNC.items() for code in codes)
    assert not any(needs_sync(kind, code) for kind, codes in NEED_NOTHING.items() for code in codes)


def test_a_webhook_may_concern_no_item() -> None:
    webhook = parse_webhook(b'{"webhook_type": "LINK", "webhook_code": "SESSION_FINISHED"}')
    assert webhook.item_id is None


@pytest.mark.parametrize("item_id", ["7", '""', '"a b"', '"\\u00e9"', "null"])
def test_an_item_id_that_no_message_group_could_have_is_none(item_id: str) -> None:
    body = f'{{"webhook_type": "ITEM", "webhook_code": "ERROR", "item_id": {item_id}}}'
    assert parse_webhook(body.encode()).item_id is None


@pytest.mark.parametrize(
    ("body", "complaint"),
    [(b"\xff", "JSON"), (b"[]", "object"), (b'{"webhook_code": "ERROR"}', "webhook_type"),
     (b'{"webhook_type": "ITEM", "webhook_code": 7}', "webhook_code")],
)  # fmt: skip
def test_a_proven_but_unusable_body_is_named(body: bytes, complaint: str) -> None:
    with pytest.raises(UnusableError, match=complaint):
        parse_webhook(body)


def test_deliveries_deduplicate_by_their_token_alone() -> None:
    assert deduplication_id("token-1") == deduplication_id("token-1") != deduplication_id("token-2")
    assert len(deduplication_id("token-1")) <= 128
