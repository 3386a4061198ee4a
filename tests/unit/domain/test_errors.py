"""Plaid's error codes by failure class, and what the user has to do about each.

test_items_document.py compares the whole table with docs/items.md.
"""

from __future__ import annotations

from collections import Counter

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


@pytest.mark.parametrize("code", ["A_CODE_OF_NEXT_YEAR", ""])
def test_an_unknown_code_is_transient(code: str) -> None:
    assert classify(code) is FailureClass.TRANSIENT
    assert not is_known(code)


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
