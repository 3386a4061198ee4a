"""What /item/get says of an Item: silence is never taken for health."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from plaid_sync.core import exact_json
from plaid_sync.core.error_codes import FailureClass, classify
from plaid_sync.core.failures import ContractBrokenError
from plaid_sync.core.lifecycle.health import UNREADABLE_CODE, ItemHealth, parse_health

WHEN, LATER = "2026-03-01T12:00:00Z", "2026-06-01T00:00:00Z"
ITEM = {"item_id": "item", "institution_id": "ins_1", "error": None, "consent_expiration_time": None}
STATUS = {"transactions": {"last_successful_update": WHEN, "last_failed_update": None}}


def health(status: object = STATUS, **item: Any) -> ItemHealth:
    answer = {"item": ITEM | item, "status": status, "request_id": "r1"}
    return parse_health(exact_json.dumps(answer, ascii_only=True).encode())


def test_a_healthy_item_has_no_error_and_says_when_it_last_heard_of_the_bank() -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert health() == ItemHealth(last_success_at=noon, request_id="r1", institution_id="ins_1")


def test_an_error_is_told_by_its_code_and_a_consent_by_its_end() -> None:
    found = health(error={"error_code": "ITEM_LOGIN_REQUIRED"}, consent_expiration_time=LATER)
    assert found.error_code == "ITEM_LOGIN_REQUIRED"
    assert found.consent_until == datetime(2026, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "error", [{"error_code": None}, {"error_code": "no code"}, {"x": 1}, "down", 7, [], True], ids=str
)
def test_an_error_that_can_not_be_read_is_one_all_the_same(error: object) -> None:
    assert health(error=error).error_code == UNREADABLE_CODE
    assert classify(UNREADABLE_CODE) is FailureClass.RETRY


@pytest.mark.parametrize("answer", [b"[]", b"{}", b'{"item": null}', b'{"item": []}', b'{"item": "x"}', b"7"])
def test_an_answer_that_shows_no_item_is_no_word_on_its_health(answer: bytes) -> None:
    with pytest.raises(ContractBrokenError, match="item"):
        parse_health(answer)


@pytest.mark.parametrize(
    "value", [None, 7, "", "soon", "\ud800", ["2026"], {"a": 1}, "9999-12-31T23:59:59-23:59"], ids=ascii
)
def test_what_only_informs_may_be_anything(value: object) -> None:
    updates = {"transactions": {"last_successful_update": value, "last_failed_update": value}}
    found = health(updates, consent_expiration_time=value, institution_id=value)
    assert (found.consent_until, found.last_success_at, found.last_failure_at) == (None, None, None)
    assert health(value).error_code is health({"transactions": value}).error_code is None
