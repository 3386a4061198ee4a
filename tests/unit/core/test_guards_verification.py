"""Edges of the proof that the engine's own constants must not be able to move."""

from __future__ import annotations

from datetime import timedelta

import pytest
from plaid_sync.core.webhooks.receiver import UnusableError, parse_webhook
from plaid_sync.core.webhooks.verification import verify

from tests.unit.core.test_webhook_verification import BODY, KEY, NOW, reason, sign


def test_a_clock_of_plaids_that_is_seconds_ahead_is_accepted() -> None:
    assert verify(BODY, sign(), {"kid-1": KEY}, NOW - timedelta(seconds=3)) == NOW
    assert reason(sign(), now=NOW - timedelta(seconds=30)) == "issued_in_future"


def test_a_header_that_is_longer_than_any_of_plaids_is_not_decoded() -> None:
    assert verify(BODY, sign(jti="x" * 1_000), {"kid-1": KEY}, NOW) == NOW
    assert reason(sign(jti="x" * 10_000)) == "malformed_token"


@pytest.mark.parametrize("key_id", ["\ud800", "\u00e9", "a\nb", "\x00"])
def test_a_key_id_that_no_request_can_hold_is_malformed(key_id: str) -> None:
    assert reason(sign(header={"kid": key_id})) == "malformed_token"


def test_a_token_has_one_spelling() -> None:
    token = sign()
    assert verify(BODY, token, {"kid-1": KEY}, NOW) == NOW
    for other in (f"{token}=", f"{token}==", f" {token}", f"{token}\n"):
        assert reason(other) == "malformed_token"


@pytest.mark.parametrize("name", ["", "x" * 129, "\\ud800", "\\u0000", "\\u202e"])
def test_a_type_or_code_that_can_not_be_logged_is_refused(name: str) -> None:
    for kind, code in ((name, "ERROR"), ("ITEM", name)):
        with pytest.raises(UnusableError, match="printable"):
            parse_webhook(f'{{"webhook_type": "{kind}", "webhook_code": "{code}"}}'.encode())
