"""Plaid's error codes by failure class, and what the user has to do about each.

test_items_document.py compares the whole table with docs/items.md.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Final

import pytest
from plaid_sync.domain.errors import (
    CODES_BY_CLASS,
    PENDING_DISCONNECT,
    PENDING_EXPIRATION,
    FailureClass,
    PlaidError,
    Remedy,
    classify,
    is_known,
    remedy_for,
)
from plaid_sync.domain.text import is_error_code

ALL = [code for codes in CODES_BY_CLASS.values() for code in codes]


def test_every_code_has_one_class_and_every_class_has_codes() -> None:
    assert [code for code, times in Counter(ALL).items() if times > 1] == []
    assert set(CODES_BY_CLASS) == set(FailureClass)
    assert all(CODES_BY_CLASS.values())
    assert [code for code in ALL if not is_error_code(code)] == []
    for failure, codes in CODES_BY_CLASS.items():
        assert {PlaidError(code).failure_class for code in codes} == {classify(code) for code in codes} == {failure}
    assert all(map(is_known, ALL))


# ---- Plaid's own list of codes

PLAID_CODES: Final[dict[str, list[str]]] = json.loads((Path(__file__).parent / "plaid_codes.json").read_text())[
    "codes_by_type"
]
NOT_MET: Final = {
    "products that the engine never requests": {
        "INSTANT_MATCH_FAILED",
        "NO_AUTH_ACCOUNTS",
        "NO_INVESTMENT_ACCOUNTS",
        "NO_INVESTMENT_AUTH_ACCOUNTS",
        "NO_LIABILITY_ACCOUNTS",
        "INVALID_ACCOUNT_NUMBER",
        "INVALID_PROCESSOR_TOKEN",
        "INVALID_USER_IDENTITY_DATA",
        "TOO_MANY_VERIFICATION_ATTEMPTS",
        "USER_NOT_FOUND",
    },
    "limits of endpoints that the engine never calls": {
        "AUTH_LIMIT",
        "IDENTITY_LIMIT",
        "INVESTMENT_HOLDINGS_GET_LIMIT",
        "INVESTMENT_TRANSACTIONS_LIMIT",
    },
    "endpoints of the sandbox alone": {"SANDBOX_PRODUCT_NOT_ENABLED", "SANDBOX_WEBHOOK_INVALID"},
    "what Link shows to the user itself": {
        "PLAID_DIRECT_ITEM_IMPORT_RETURNED_INVALID_MFA",
        "INCORRECT_OAUTH_NONCE",
        "INCORRECT_LINK_TOKEN",
        "OAUTH_STATE_ID_ALREADY_PROCESSED",
        "OAUTH_STATE_ID_NOT_FOUND",
    },
}
"""Codes of Plaid's that none of the engine's calls can meet: their type and status suffice."""
BESIDE_THE_LIST: Final = {"RATE_LIMIT_EXCEEDED", "INVALID_SECRET", "INVALID_CLIENT_ID", "HTTP_429"}
"""Former names, and a limit without a body."""
CLASSES_OF_TYPE: Final = {
    "ITEM_ERROR": {FailureClass.NEEDS_USER, FailureClass.TERMINAL, FailureClass.TRANSIENT},
    "INSTITUTION_ERROR": {FailureClass.INSTITUTION_DOWN, FailureClass.TERMINAL, FailureClass.CLIENT_ERROR},
    "API_ERROR": {FailureClass.TRANSIENT},
    "TRANSACTIONS_ERROR": {FailureClass.RESTART},
    "INVALID_REQUEST": {FailureClass.CLIENT_ERROR},
    "INVALID_INPUT": {FailureClass.CLIENT_ERROR, FailureClass.NEEDS_USER, FailureClass.TERMINAL},
    "RATE_LIMIT_EXCEEDED": {FailureClass.THROTTLED, FailureClass.CLIENT_ERROR},
}


def test_every_code_that_plaid_lists_is_in_the_table_or_cannot_be_met() -> None:
    listed = {code for codes in PLAID_CODES.values() for code in codes}
    not_met = {code for codes in NOT_MET.values() for code in codes}
    assert listed - set(ALL) == not_met
    assert set(ALL) - listed == BESIDE_THE_LIST


@pytest.mark.parametrize("error_type", CLASSES_OF_TYPE)
def test_every_listed_code_has_a_class_that_its_type_allows(error_type: str) -> None:
    met = [code for code in PLAID_CODES[error_type] if is_known(code)]
    assert {classify(code, error_type, 400) for code in met} == CLASSES_OF_TYPE[error_type]


# ---- type and status


@pytest.mark.parametrize("code", ["A_CODE_OF_NEXT_YEAR", ""])
def test_an_unknown_code_is_classified_by_its_type(code: str) -> None:
    assert not is_known(code)
    assert classify(code, "ITEM_ERROR", 400) is FailureClass.NEEDS_USER
    assert classify(code, "INVALID_REQUEST", 400) is classify(code, "INVALID_INPUT") is FailureClass.CLIENT_ERROR
    for error_type in ("", "API_ERROR", "INSTITUTION_ERROR", "TRANSACTIONS_ERROR", "A_TYPE_OF_NEXT_YEAR"):
        for status in (None, 400, 404, 500, 503):
            assert classify(code, error_type, status) is FailureClass.TRANSIENT


@pytest.mark.parametrize("code", ["A_LIMIT_OF_NEXT_YEAR", "TRANSACTIONS_REFRESH_LIMIT", "INTERNAL_SERVER_ERROR"])
def test_a_limit_is_recognized_by_its_type_or_its_status(code: str) -> None:
    assert classify(code, "RATE_LIMIT_EXCEEDED", 400) is FailureClass.THROTTLED
    assert classify(code, "API_ERROR", 429) is FailureClass.THROTTLED


@pytest.mark.parametrize("code", ["CREDITS_EXHAUSTED", "TRIAL_CONNECTION_LIMIT", "ADDITION_LIMIT"])
def test_a_used_up_quota_is_not_waited_for(code: str) -> None:
    assert classify(code, "RATE_LIMIT_EXCEEDED", 429) is FailureClass.CLIENT_ERROR


def test_a_code_of_the_table_has_its_class_with_every_type_that_plaid_gives_it() -> None:
    for error_type in ("ITEM_ERROR", "INVALID_INPUT", ""):
        assert classify("USER_PERMISSION_REVOKED", error_type, 400) is FailureClass.TERMINAL
        assert classify("ADDITIONAL_CONSENT_REQUIRED", error_type, 400) is FailureClass.NEEDS_USER
        assert classify("INSTITUTION_DOWN", error_type, 400) is FailureClass.INSTITUTION_DOWN


# ---- remedies


@pytest.mark.parametrize("code", ["PRODUCTS_NOT_SUPPORTED", "ITEM_LOGIN_REQUIRED", "A_CODE_OF_NEXT_YEAR"])
def test_an_optional_endpoint_gives_no_remedy_for_the_item(code: str) -> None:
    needed = Remedy.RELINK if code == "PRODUCTS_NOT_SUPPORTED" else Remedy.UPDATE_MODE
    remedies = {"/transactions/refresh": Remedy.NONE, "/accounts/get": needed, "/transactions/sync": needed}
    for endpoint, remedy in remedies.items():
        assert PlaidError(code, error_type="ITEM_ERROR", endpoint=endpoint).remedy is remedy


def test_a_code_that_needs_the_user_has_a_remedy() -> None:
    needs_user = CODES_BY_CLASS[FailureClass.NEEDS_USER]
    assert {remedy_for(code) for code in needs_user} == {Remedy.UPDATE_MODE, Remedy.BANK_THEN_UPDATE_MODE}
    at_the_bank = {"ITEM_LOCKED", "PASSWORD_RESET_REQUIRED", "USER_SETUP_REQUIRED"}
    assert {code for code in needs_user if remedy_for(code) is Remedy.BANK_THEN_UPDATE_MODE} == at_the_bank
    assert {remedy_for(code) for code in CODES_BY_CLASS[FailureClass.TERMINAL]} == {Remedy.RELINK}
    assert remedy_for(PENDING_EXPIRATION) is remedy_for(PENDING_DISCONNECT) is Remedy.UPDATE_MODE


def test_a_transient_failure_or_a_client_error_requires_nothing_of_the_user() -> None:
    waiting = (FailureClass.TRANSIENT, FailureClass.THROTTLED, FailureClass.INSTITUTION_DOWN)
    assert {remedy_for(code) for failure in waiting for code in CODES_BY_CLASS[failure]} == {Remedy.WAIT}
    assert {remedy_for(code) for code in CODES_BY_CLASS[FailureClass.CLIENT_ERROR]} == {Remedy.NONE}
    assert remedy_for("A_CODE_OF_NEXT_YEAR") is Remedy.WAIT
    assert remedy_for(None) is Remedy.NONE
