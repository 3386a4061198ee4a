"""Accounts: how the known ones are merged with what Plaid lists, and what is concluded from a list."""

from __future__ import annotations

from decimal import Decimal
from itertools import product

import pytest
from plaid_sync.aws.dynamodb.account_rows import accounts_attribute
from plaid_sync.aws.dynamodb.expressions import serialize
from plaid_sync.domain.accounts import (
    MAX_ACCOUNTS_BYTES,
    NO_ACCOUNT_STATES,
    Account,
    AccountState,
    AccountStates,
    compare_accounts,
    merge_accounts,
)

from tests.fakes.aws import is_storable
from tests.fakes.plaid import page

ONE = frozenset({"a"})
STATES = {
    AccountState.LISTED: NO_ACCOUNT_STATES,
    AccountState.GONE: AccountStates(gone=ONE),
    AccountState.WITHDRAWN: AccountStates(withdrawn=ONE),
    AccountState.ERASED: AccountStates(erased=ONE),
}


def accounts(*names: str) -> tuple[Account, ...]:
    return tuple(Account(name, f"{name} account") for name in names)


def test_known_accounts_are_updated_and_extended_in_their_order() -> None:
    assert merge_accounts(accounts("a", "b"), (Account("b", "new"), Account("c"))) == (
        *accounts("a"),
        Account("b", "new"),
        Account("c"),
    )


def test_however_many_accounts_plaid_lists_they_fit_into_the_item_and_those_listed_last_are_kept() -> None:
    """DynamoDB refuses an item of more than 400 KB, and then no update of the Item could ever be committed."""
    texts = dict.fromkeys(("name", "mask", "type", "subtype"), "銀" * 200)
    known: tuple[Account, ...] = ()
    for answer in range(5):
        listed = [{"account_id": f"{answer}-{number:0120}"} | texts for number in range(200)]
        seen = page(accounts=listed).accounts
        known = merge_accounts(known, seen)
        assert len(seen) == 200
        assert {account.account_id for account in seen} <= {account.account_id for account in known}
        attribute = serialize(accounts_attribute(known))
        assert is_storable({"accounts": attribute, "rest": {"S": "x" * (400 * 1024 - 150_000)}})
    assert merge_accounts(known, accounts("a"))[-1:] == accounts("a")
    assert sum(account.size for account in merge_accounts(known, known)) <= MAX_ACCOUNTS_BYTES


def test_an_account_keeps_the_whole_object_of_plaid_with_exact_decimals() -> None:
    document = b'{"accounts": [{"account_id": "a", "balances": {"current": 0.10, "limit": 1e2}, "new": [1.50]}]}'
    (account,) = page_accounts(document)
    assert account.plaid_object == {
        "account_id": "a",
        "balances": {"current": Decimal("0.10"), "limit": Decimal("1e2")},
        "new": [Decimal("1.50")],
    }
    assert str(account.plaid_object["new"][0]) == "1.50"


def page_accounts(document: bytes) -> tuple[Account, ...]:
    from plaid_sync.plaid.responses import parse_account_list  # noqa: PLC0415 - the adapter, in this test only

    return parse_account_list(document).accounts


@pytest.mark.parametrize("plaid", [None, b"", b"no JSON", b"[]", b'{"account_id": '])
def test_an_object_that_cannot_be_read_is_empty(plaid: bytes | None) -> None:
    assert Account("a", plaid=plaid).plaid_object == {}


@pytest.mark.parametrize(
    ("state", "listed", "reported"), list(product(AccountState, (True, False), (True, False))), ids=str
)
def test_only_the_list_decides_about_an_account_and_a_report_decides_what_its_absence_means(
    state: AccountState, *, listed: bool, reported: bool
) -> None:
    known = accounts("a") if state in {AccountState.LISTED, AccountState.GONE} else ()
    seen = accounts("a") if listed else ()
    found = compare_accounts(known, STATES[state], seen, ONE if reported else (), complete=True)
    if state is AccountState.ERASED:
        expected = AccountState.ERASED
    elif listed:
        expected = AccountState.LISTED
    else:
        expected = AccountState.WITHDRAWN if reported or state is AccountState.WITHDRAWN else AccountState.GONE
    assert found.states.of("a") == expected
    assert [account.account_id for account in found.accounts] == (
        ["a"] if expected in {AccountState.LISTED, AccountState.GONE} else []
    )
    assert (bool(found.gone), bool(found.withdrawn), bool(found.returned)) == (
        expected is AccountState.GONE and state is not AccountState.GONE,
        expected is AccountState.WITHDRAWN and state is not AccountState.WITHDRAWN,
        expected is AccountState.LISTED and state is not AccountState.LISTED,
    )
    confirmed = expected is AccountState.WITHDRAWN or state is AccountState.ERASED
    assert found.unconfirmed == (ONE if reported and not confirmed else frozenset())
    incomplete = compare_accounts(known, STATES[state], seen, ONE if reported else (), complete=False)
    assert incomplete.states == (found.states if listed else STATES[state])
