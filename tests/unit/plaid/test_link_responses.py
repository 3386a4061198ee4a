"""The results of a link session, in the two forms of /link/token/get, complete or unreadable."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from plaid_sync.domain.accounts import Account
from plaid_sync.domain.errors import SchemaViolationError
from plaid_sync.linking.sessions import AddedItem
from plaid_sync.plaid.link import parse_link_results

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
def test_both_forms_list_the_connections(session: dict[str, Any]) -> None:
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
    assert parse_link_results(results(session, ENDED)).finished


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
def test_the_end_of_the_last_finished_session_is_parsed_leniently(
    moments: list[object], finished_at: datetime | None
) -> None:
    left = {"finished_at": "2026-03-02T12:00:00Z", "exit": {}}
    found = parse_link_results(results(left, *({"finished_at": moment} for moment in moments)))
    assert (found.finished, found.finished_at) == (True, finished_at)


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
def test_an_unreadable_connection_is_omitted(session: dict[str, Any]) -> None:
    assert parse_link_results(results(session)).added == ()
    malformed: list[object] = [None, {}, "x"]
    for sessions in malformed:
        assert parse_link_results(json.dumps({"link_sessions": sessions}).encode()).added == ()
    with pytest.raises(SchemaViolationError):
        parse_link_results(b"[]")


def test_a_connection_can_have_no_bank_and_no_accounts() -> None:
    (added,) = parse_link_results(results({"on_success": {"public_token": "public-1", "metadata": None}})).added
    assert added == AddedItem("public-1")
