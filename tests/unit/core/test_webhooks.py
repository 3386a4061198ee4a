from __future__ import annotations

import pytest
from plaid_sync.core.webhooks.receiver import UnusableError, deduplication_id, parse_webhook

ASK_FOR_SOMETHING = {
    "TRANSACTIONS": {"SYNC_UPDATES_AVAILABLE"},
    "ITEM": {
        "ERROR",
        "LOGIN_REPAIRED",
        "PENDING_DISCONNECT",
        "PENDING_EXPIRATION",
        "USER_PERMISSION_REVOKED",
        "USER_ACCOUNT_REVOKED",
        "NEW_ACCOUNTS_AVAILABLE",
    },
}
NEED_NOTHING = {
    "TRANSACTIONS": {
        "INITIAL_UPDATE",
        "HISTORICAL_UPDATE",
        "DEFAULT_UPDATE",
        "TRANSACTIONS_REMOVED",
        "RECURRING_TRANSACTIONS_UPDATE",
    },
    "ITEM": {"WEBHOOK_UPDATE_ACKNOWLEDGED"},
    "LINK": {"SESSION_FINISHED"},
    "SOMETHING_NEW": {"SYNC_UPDATES_AVAILABLE"},
}


def is_queued(webhook_type: str, webhook_code: str) -> bool:
    body = f'{{"webhook_type": "{webhook_type}", "webhook_code": "{webhook_code}", "item_id": "item"}}'
    return parse_webhook(body.encode()).is_queued


def test_every_code_that_can_change_the_answer_of_a_sync_or_how_an_item_stands_is_queued_and_no_other() -> None:
    assert all(is_queued(kind, code) for kind, codes in ASK_FOR_SOMETHING.items() for code in codes)
    assert not any(is_queued(kind, code) for kind, codes in NEED_NOTHING.items() for code in codes)


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
