"""Keys of the Links table: of link sessions, and the fingerprints of accounts."""

from __future__ import annotations

import dataclasses

import pytest
from plaid_sync.domain.item import Account
from plaid_sync.linking.sessions import MAX_CLAIMS, AddedItem, fingerprints, link_id_of, session_key

ACCOUNT = Account("account-1", "Plaid Checking", "0000", "depository", "checking")


def test_a_session_is_stored_under_a_digest() -> None:
    assert session_key("link-1").startswith("session#")
    assert "link-1" not in session_key("link-1")
    assert session_key("link-1") != session_key("link-2")
    assert link_id_of("public-sandbox-1") == link_id_of("public-sandbox-1") != link_id_of("public-sandbox-2")


def connection(*accounts: Account, bank: str | None = "ins_1") -> AddedItem:
    return AddedItem("public-1", bank, accounts)


@pytest.mark.parametrize(
    ("user", "added"),
    [
        ("user 2", connection(ACCOUNT)),
        ("user", connection(ACCOUNT, bank="ins_2")),
        ("user", connection(Account("account-1", "Plaid Saving", "0000", "depository", "checking"))),
        ("user", connection(Account("account-1", "Plaid Checking", "0001", "depository", "checking"))),
        ("user", connection(Account("account-1", "Plaid Checking", "0000", "depository", "savings"))),
        ("user", connection(Account("account-1", "Plaid Checking", "0000", "depository", None))),
    ],
)
def test_any_other_difference_is_another_account(user: str, added: AddedItem) -> None:
    (first,), (second,) = fingerprints("user", connection(ACCOUNT)), fingerprints(user, added)
    assert first != second
    assert fingerprints("user", connection(dataclasses.replace(ACCOUNT, account_id="account-2"))) == (first,)
    assert first.startswith("login#")


@pytest.mark.parametrize(
    "account", [Account("a", None, "0000"), Account("a", "Checking", None), Account("a", "", "0000")], ids=str
)
def test_an_account_without_a_name_or_a_mask_has_no_fingerprint(account: Account) -> None:
    assert fingerprints("user", connection(account)) == ()
    assert len(fingerprints("user", connection(account, ACCOUNT))) == 1


def test_two_links_of_very_many_accounts_claim_the_same_ones() -> None:
    accounts = [Account(str(number), f"Account {number}", "0000") for number in range(150)]
    first, second = fingerprints("user", connection(*accounts)), fingerprints("user", connection(*accounts[::-1]))
    assert first == second
    assert len(first) == MAX_CLAIMS
