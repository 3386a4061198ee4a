"""What Plaid says came of a Link, in its two forms, whole or broken."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from plaid_sync.core.failures import ContractBrokenError
from plaid_sync.core.items import Account
from plaid_sync.core.linking.bank_logins import MOST_CLAIMS, fingerprints
from plaid_sync.core.linking.link_sessions import AddedItem, parse_link_results, session_key

CHECKING = {"id": "account-1", "name": "Plaid Checking", "mask": "0000", "type": "depository", "subtype": "checking"}
BANK = {"institution_id": "ins_1", "name": "First Platypus Bank"}
ADDED = {"public_token": "public-sandbox-1", "accounts": [CHECKING], "institution": BANK}
SUCCESS = {"public_token": "public-sandbox-1", "metadata": {"accounts": [CHECKING], "institution": BANK}}
ACCOUNT = Account("account-1", "Plaid Checking", "0000", "depository", "checking")
ENDED = {"finished_at": "2026-03-01T12:00:00Z"}


def results(*sessions: Any, **more: Any) -> bytes:
    return json.dumps({"link_sessions": list(sessions), "request_id": "request-1", **more}).encode()


@pytest.mark.parametrize(
    "session",
    [
        {"results": {"item_add_results": [ADDED]}},
        {"on_success": SUCCESS},
        {"results": {"item_add_results": [ADDED]}, "on_success": SUCCESS},
    ],
    ids=["results", "deprecated", "both"],
)
def test_both_forms_tell_of_what_was_added(session: dict[str, Any]) -> None:
    found = parse_link_results(results(ENDED | session))
    assert found.added == (AddedItem("public-sandbox-1", "ins_1", (ACCOUNT,)),)
    assert found.of("public-sandbox-1") == found.added[0]
    assert found.of("public-sandbox-2") is None
    assert (found.finished, found.request_id) == (True, "request-1")


@pytest.mark.parametrize(
    ("session", "finished"),
    [
        (ENDED, True),
        (ENDED | {"exit": None, "on_exit": None}, True),
        (ENDED | {"exit": {"error": None}}, False),
        (ENDED | {"on_exit": {"error": None}}, False),
        ({"finished_at": None}, False),
        ({}, False),
        (7, False),
    ],
    ids=str,
)
def test_a_session_is_finished_when_it_has_ended_without_an_exit(session: object, finished: bool) -> None:  # noqa: FBT001
    assert parse_link_results(results(session)).finished is finished


@pytest.mark.parametrize(
    ("moments", "finished_at"),
    [
        (["2026-03-01T12:00:00Z"], datetime(2026, 3, 1, 12, tzinfo=UTC)),
        (["2026-03-01T12:00:00Z", "2026-03-01T14:00:00+01:00"], datetime(2026, 3, 1, 13, tzinfo=UTC)),
        (["2026-03-01T12:00:00", "soon"], datetime(2026, 3, 1, 12, tzinfo=UTC)),
        (["soon"], None),
        ([7], None),
        ([{}], None),
    ],
    ids=str,
)
def test_when_the_last_session_ended_is_read_leniently(moments: list[object], finished_at: datetime | None) -> None:
    left = {"finished_at": "2026-03-02T12:00:00Z", "exit": {}}
    found = parse_link_results(results(left, *({"finished_at": moment} for moment in moments)))
    assert (found.finished, found.finished_at) == (True, finished_at)


def test_an_exit_does_not_undo_a_session_before_it() -> None:
    assert parse_link_results(results(ENDED | {"exit": {}}, ENDED)).finished


@pytest.mark.parametrize(
    "session",
    [
        {"results": None},
        {"results": {"item_add_results": None}},
        {"results": {"item_add_results": [None, 7, {}, {"public_token": None}, {"public_token": "p" * 600}]}},
        {"on_success": {"public_token": "\u00e9", "metadata": None}},
        {"on_success": {"metadata": ADDED}},
        {"on_success": []},
    ],
    ids=str,
)
def test_what_can_not_be_read_of_a_session_is_nothing(session: dict[str, Any]) -> None:
    assert parse_link_results(results(session)).added == ()


def test_a_connection_without_bank_or_accounts_is_one_all_the_same() -> None:
    (added,) = parse_link_results(results({"on_success": {"public_token": "public-1", "metadata": None}})).added
    assert added == AddedItem("public-1")
    assert fingerprints("user", added) == ()


@pytest.mark.parametrize("sessions", [None, {}, "x"])
def test_no_list_of_sessions_is_none_yet(sessions: object) -> None:
    assert parse_link_results(json.dumps({"link_sessions": sessions}).encode()).added == ()


def test_an_answer_that_is_no_object_breaks_the_contract() -> None:
    with pytest.raises(ContractBrokenError):
        parse_link_results(b"[]")


def test_a_session_is_stored_under_a_digest() -> None:
    assert session_key("link-1").startswith("session#")
    assert "link-1" not in session_key("link-1")
    assert session_key("link-1") != session_key("link-2")


# ---- fingerprints


def connection(*accounts: Account, bank: str | None = "ins_1") -> AddedItem:
    return AddedItem("public-1", bank, accounts)


def test_a_fingerprint_is_of_the_account_and_not_of_its_id() -> None:
    other_id = Account("account-2", "Plaid Checking", "0000", "depository", "checking")
    assert fingerprints("user", connection(ACCOUNT)) == fingerprints("user", connection(other_id))


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
def test_whatever_else_differs_is_another_account(user: str, added: AddedItem) -> None:
    (ours,), (theirs,) = fingerprints("user", connection(ACCOUNT)), fingerprints(user, added)
    assert ours != theirs
    assert ours.startswith("login#")


@pytest.mark.parametrize(
    "account", [Account("a", None, "0000"), Account("a", "Checking", None), Account("a", "", "0000")], ids=str
)
def test_an_account_without_a_name_or_a_mask_is_no_fingerprint(account: Account) -> None:
    assert fingerprints("user", connection(account)) == ()
    assert len(fingerprints("user", connection(account, ACCOUNT))) == 1


def test_of_very_many_accounts_two_links_choose_the_same_ones() -> None:
    accounts = [Account(str(number), f"Account {number}", "0000") for number in range(150)]
    one, other = fingerprints("user", connection(*accounts)), fingerprints("user", connection(*accounts[::-1]))
    assert one == other
    assert len(one) == MOST_CLAIMS
