from __future__ import annotations

from collections import Counter

import pytest
from plaid_sync.core.error_codes import (
    CODES_BY_CLASS,
    PENDING_DISCONNECT,
    PENDING_EXPIRATION,
    FailureClass,
    Remedy,
    classify,
    is_known,
    remedy_of,
)
from plaid_sync.core.plain_text import is_error_code

DOCUMENTED = {
    FailureClass.RESTART: ["TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"],
    FailureClass.RETRY: ["INTERNAL_SERVER_ERROR", "PLANNED_MAINTENANCE"],
    FailureClass.THROTTLED: [
        "TRANSACTIONS_SYNC_LIMIT",
        "RATE_LIMIT",
        "TRANSACTIONS_LIMIT",
        "ITEM_GET_LIMIT",
        "INSTITUTION_RATE_LIMIT",
    ],
    FailureClass.INSTITUTION_DOWN: [
        "INSTITUTION_DOWN",
        "INSTITUTION_NOT_RESPONDING",
        "INSTITUTION_NOT_AVAILABLE",
    ],
    FailureClass.NEEDS_USER: [
        "ITEM_LOGIN_REQUIRED",
        "ACCESS_NOT_GRANTED",
        "ADDITIONAL_CONSENT_REQUIRED",
        "NO_ACCOUNTS",
        "ITEM_LOCKED",
        "PASSWORD_RESET_REQUIRED",
        "USER_SETUP_REQUIRED",
    ],
    FailureClass.TERMINAL: [
        "ITEM_NOT_FOUND",
        "ITEM_CONCURRENTLY_DELETED",
        "USER_PERMISSION_REVOKED",
        "INSTITUTION_NO_LONGER_SUPPORTED",
        "UNSUPPORTED_RESPONSE",
        "ITEM_NOT_SUPPORTED",
        "PRODUCTS_NOT_SUPPORTED",
        "PRODUCT_NOT_ENABLED",
    ],
    FailureClass.OURS: [
        "INVALID_ACCESS_TOKEN",
        "INVALID_API_KEYS",
        "UNAUTHORIZED_ENVIRONMENT",
        "INVALID_FIELD",
        "INVALID_ACCOUNT_ID",
        "CREDITS_EXHAUSTED",
    ],
}
"""What Plaid's documentation says of the codes that concern a sync (https://plaid.com/docs/errors/)."""
ALL = [code for codes in CODES_BY_CLASS.values() for code in codes]


def test_every_code_has_one_class_and_every_class_has_codes() -> None:
    assert [code for code, times in Counter(ALL).items() if times > 1] == []
    assert set(CODES_BY_CLASS) == set(FailureClass)
    assert all(CODES_BY_CLASS.values())
    assert all(classify(code) is failure for failure, codes in CODES_BY_CLASS.items() for code in codes)


def test_every_code_has_the_form_by_which_codes_are_told_from_other_words() -> None:
    assert [code for code in ALL if not is_error_code(code)] == []


@pytest.mark.parametrize(("failure", "codes"), DOCUMENTED.items())
def test_what_plaid_documents_about_a_sync_is_in_the_table(failure: FailureClass, codes: list[str]) -> None:
    assert {code: classify(code) for code in codes} == dict.fromkeys(codes, failure)
    assert all(is_known(code) for code in codes)


@pytest.mark.parametrize("code", ["A_CODE_OF_NEXT_YEAR", ""])
def test_what_is_not_in_the_table_is_retried(code: str) -> None:
    assert classify(code) is FailureClass.RETRY
    assert not is_known(code)


def test_the_answer_of_a_proxy_is_retried_and_is_no_code_of_plaids_that_we_lack() -> None:
    assert classify("HTTP_502") is FailureClass.RETRY
    assert is_known("HTTP_502")


def test_whatever_only_the_user_can_repair_says_what_the_user_has_to_do() -> None:
    needing = CODES_BY_CLASS[FailureClass.NEEDS_USER]
    assert {remedy_of(code) for code in needing} == {Remedy.UPDATE_MODE, Remedy.BANK_THEN_UPDATE_MODE}
    at_the_bank = {"ITEM_LOCKED", "PASSWORD_RESET_REQUIRED", "USER_SETUP_REQUIRED"}
    assert {code for code in needing if remedy_of(code) is Remedy.BANK_THEN_UPDATE_MODE} == at_the_bank
    assert {remedy_of(code) for code in CODES_BY_CLASS[FailureClass.TERMINAL]} == {Remedy.RELINK}
    assert remedy_of(PENDING_EXPIRATION) is remedy_of(PENDING_DISCONNECT) is Remedy.UPDATE_MODE


def test_what_passes_by_itself_or_is_ours_asks_nothing_of_the_user() -> None:
    waiting = (FailureClass.RETRY, FailureClass.THROTTLED, FailureClass.INSTITUTION_DOWN)
    assert {remedy_of(code) for failure in waiting for code in CODES_BY_CLASS[failure]} == {Remedy.WAIT}
    assert {remedy_of(code) for code in CODES_BY_CLASS[FailureClass.OURS]} == {Remedy.NONE}
    assert remedy_of("A_CODE_OF_NEXT_YEAR") is Remedy.WAIT
    assert remedy_of(None) is Remedy.NONE
