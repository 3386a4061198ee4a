"""The keys of account claims."""

from __future__ import annotations

import dataclasses

import pytest
from plaid_sync.domain.accounts import Account
from plaid_sync.domain.claims import MAX_CLAIMS, claim_keys

ACCOUNT = Account("account-1", "Plaid Checking", "0000", "depository", "checking")


def key_of(account: Account, user: str = "user", institution: str = "ins_1") -> str:
    (key,) = claim_keys(user, institution, [account])
    return key


@pytest.mark.parametrize(
    ("user", "institution", "change"),
    [
        ("user 2", "ins_1", {}),
        ("user", "ins_2", {}),
        ("user", "ins_1", {"name": "Plaid Saving"}),
        ("user", "ins_1", {"mask": "0001"}),
        ("user", "ins_1", {"mask": None}),
        ("user", "ins_1", {"subtype": "savings"}),
        ("user", "ins_1", {"subtype": None}),
    ],
)
def test_any_other_difference_is_another_account(user: str, institution: str, change: dict[str, str | None]) -> None:
    assert key_of(dataclasses.replace(ACCOUNT, **change), user, institution) != key_of(ACCOUNT)  # type: ignore[arg-type]


def test_the_account_id_is_no_part_of_the_key() -> None:
    assert key_of(dataclasses.replace(ACCOUNT, account_id="account-2")) == key_of(ACCOUNT)
    assert key_of(ACCOUNT).startswith("login#")
    assert "Plaid" not in key_of(ACCOUNT)


def test_an_account_without_a_mask_is_claimed_by_institution_and_name() -> None:
    without = dataclasses.replace(ACCOUNT, mask=None)
    assert key_of(dataclasses.replace(without, account_id="account-2")) == key_of(without)
    assert key_of(dataclasses.replace(without, name="Plaid Saving")) != key_of(without)
    assert key_of(dataclasses.replace(without, mask="")) == key_of(without)


@pytest.mark.parametrize("name", [None, ""])
def test_an_account_without_a_name_has_no_claim(name: str | None) -> None:
    nameless = Account("a", name, "0000")
    assert claim_keys("user", "ins_1", [nameless]) == ()
    assert claim_keys("user", "ins_1", [nameless, ACCOUNT]) == (key_of(ACCOUNT),)


def test_without_an_institution_nothing_is_claimed() -> None:
    assert claim_keys("user", None, [ACCOUNT]) == ()


def test_two_links_of_very_many_accounts_claim_the_same_ones() -> None:
    accounts = [Account(str(number), f"Account {number}", "0000") for number in range(150)]
    first, second = claim_keys("user", "ins_1", accounts), claim_keys("user", "ins_1", accounts[::-1])
    assert first == second
    assert len(first) == MAX_CLAIMS
