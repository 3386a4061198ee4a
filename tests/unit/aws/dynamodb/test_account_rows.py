"""The accounts of an Item as its row has them: each comes back as it was, also as an older version wrote it."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plaid_sync.aws.dynamodb.account_rows import accounts_attribute, accounts_from
from plaid_sync.domain import exact_json
from plaid_sync.domain.accounts import Account
from plaid_sync.domain.clock import format_timestamp
from plaid_sync.domain.compression import decompress
from plaid_sync.plaid.responses import parse_account_list

from tests.fakes.clock import NOON

VALUES = st.none() | st.integers() | st.text(max_size=5) | st.sampled_from(["", "depository", "銀" * 100, "\ud800"])
OBJECTS = st.fixed_dictionaries(
    {"account_id": st.sampled_from("ab")},
    optional=dict.fromkeys(("name", "mask", "type", "subtype", "kind", "as_of", "plaid", "new"), VALUES),
)


def older(accounts: tuple[Account, ...]) -> bytes:
    """Return the attribute as an older version wrote it."""
    rows: list[dict[str, Any]] = []
    for account in accounts:
        row = {name: getattr(account, name) for name in ("account_id", "name", "mask", "kind", "subtype")}
        row["plaid"] = None if account.plaid is None else account.plaid.decode()
        row["as_of"] = None if account.as_of is None else format_timestamp(account.as_of)
        rows.append({name: value for name, value in row.items() if value is not None})
    return zlib.compress(exact_json.dumps(rows, ascii_only=True).encode())


@given(st.lists(OBJECTS, min_size=1, max_size=3))
def test_accounts_are_read_as_they_were_written(objects: list[dict[str, Any]]) -> None:
    """A name that is a number, too long or half a character is Plaid's alone; then Plaid's object may be missing."""
    accounts = parse_account_list(exact_json.dumps({"accounts": objects}, ascii_only=True).encode()).accounts
    assert len(accounts) == len(objects)
    assert accounts_from(accounts_attribute(accounts)) == accounts
    assert accounts_from(older(accounts)) == accounts


def nested(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


@pytest.mark.parametrize(
    "account",
    [
        Account("a"),
        Account("a", "Name", "0000", "depository", "checking", as_of=NOON),
        Account("a", "Renamed", plaid=b'{"account_id":"a","name":"Name","type":"credit"}', as_of=NOON),
        Account("a", plaid=b'{"balances":{"current":0.10,"limit":1E+2},"name":"\xc3\xa9"}'),
        Account("a", plaid=b"{}"),
        Account("a", plaid=b"no object"),
        Account("a", plaid=nested(exact_json.MAX_DEPTH)),
    ],
    ids=str,
)
def test_an_account_keeps_plaids_object_digit_for_digit(account: Account) -> None:
    assert accounts_from(accounts_attribute([account])) == (account,)


def test_fields_that_plaids_object_has_are_not_repeated() -> None:
    account = Account(
        "a", "Name", "0000", "credit", plaid=b'{"account_id":"a","mask":"0000","name":"N","type":"credit"}'
    )
    (row,) = exact_json.loads(decompress(accounts_attribute([account])) or b"")
    assert row == {"name": "Name", "plaid": account.plaid_object}


@pytest.mark.parametrize("damaged", [None, "text", b"no zlib", zlib.compress(b"7"), zlib.compress(b'["a", {"b": 1}]')])
def test_what_another_program_wrote_is_no_account(damaged: object) -> None:
    assert accounts_from(damaged) == ()


def test_without_accounts_there_is_no_attribute() -> None:
    assert accounts_attribute([]) is None
