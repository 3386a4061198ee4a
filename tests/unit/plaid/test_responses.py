"""Plaid's responses about an Item: invalid entries are set apart, informational fields may be anything."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from plaid_sync.domain import exact_json
from plaid_sync.domain.errors import FailureClass, SchemaViolationError, classify
from plaid_sync.domain.item import ItemHealth
from plaid_sync.domain.transaction import RowRemoval, TransactionId
from plaid_sync.plaid.responses import UNREADABLE_CODE, parse_health, parse_page

from tests.fakes.plaid import page, page_body, transaction

NOT_PRINTABLE = [None, 7, {"a": "b"}, ["x" * 2_000_000], "x" * 129, "x" * 2_000_000, "\ud800", "\u00e9", "a\nb", "\x00"]

# ---- /transactions/sync


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("added", {"added": "null"}),
        ("removed", {"removed": {}}),
        ("has_more", {"has_more": "false"}),
        ("next_cursor", {"next_cursor": "", "has_more": True}),
        ("next_cursor", {"next_cursor": None, "added": [transaction("t")]}),
        ("next_cursor", {"next_cursor": None, "removed": ["t"]}),
        *(("next_cursor", {"next_cursor": cursor}) for cursor in ("\ud800", "c" * 1025, "a\nb", 7, ["c"])),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_a_page_that_violates_the_schema_is_rejected_by_field(field: str, fields: dict[str, Any]) -> None:
    with pytest.raises(SchemaViolationError) as rejected:
        page(**fields)
    assert rejected.value.field == field


@pytest.mark.parametrize("value", NOT_PRINTABLE, ids=lambda value: ascii(value)[:20])
@pytest.mark.parametrize("name", ["transactions_update_status", "request_id"])
def test_an_unreadable_informational_field_is_omitted_and_a_null_cursor_is_none(name: str, value: object) -> None:
    parsed = page(added=[transaction("t")], **{name: value})
    assert {"transactions_update_status": parsed.update_status, "request_id": parsed.request_id}[name] == ""
    assert len(parsed.added) == 1
    parsed = page(transactions_update_status="S" * 128, request_id="r 1")
    assert (parsed.update_status, parsed.request_id) == ("S" * 128, "r 1")
    assert page(next_cursor="").next_cursor is page(next_cursor=None).next_cursor is None


@pytest.mark.parametrize("name", ["added", "modified", "removed", "accounts"])
def test_null_is_an_empty_list_and_a_missing_list_is_not(name: str) -> None:
    parsed = page(**{"added": [transaction("t")], "accounts": [{"account_id": "a"}]} | {name: None})
    assert (len(parsed.added), len(parsed.accounts)) == (name != "added", name != "accounts")
    if name != "accounts":
        body = page_body().replace(f'"{name}"'.encode(), b'"other"')
        with pytest.raises(SchemaViolationError, match=name):
            parse_page(body)


DEEP = b"[" * 150 + b"]" * 150
"""Parsers of an ordinary stack read it, and those at the end of a deep one do not."""


@pytest.mark.parametrize("value", [b"NaN", b"-Infinity", b"1e9999999999999999999", b"9" * 5000, DEEP, b"\xff"])
def test_an_entry_that_no_parser_reads_is_set_apart_as_its_own_text(value: bytes) -> None:
    """Of an added one the row stays as it is, and a removal whose id is readable is applied."""
    fields = {name: [transaction("a"), transaction("b"), transaction("c")] for name in ("added", "removed")}
    body = page_body(accounts=[{"account_id": "x"}, {"account_id": "b"}], **fields)
    body = body.replace(b'"transaction_id":"b"', b'"note":%b,"transaction_id":"b"' % value)
    body = body.replace(b'"account_id":"b"', b'"account_id":%b' % value)
    parsed = parse_page(body)
    assert [row.transaction_id for row in parsed.added] == ["a", "c"]
    assert [removal.transaction_id for removal in parsed.removed] == ["a", "b", "c"]
    assert [(entry.source, entry.transaction_id) for entry in parsed.invalid] == [("added", "b"), ("removed", "b")]
    assert all(entry.raw in body and value in entry.raw for entry in parsed.invalid)
    assert [account.account_id for account in parsed.accounts] == ["x"]


@pytest.mark.parametrize("value", [b"]", b'"', b"1},,{"])
def test_a_page_whose_entries_cannot_be_separated_is_rejected(value: bytes) -> None:
    with pytest.raises(exact_json.InvalidJsonError):
        parse_page(page_body(added=[transaction("t")]).replace(b'"t"}', value + b"}"))


def test_an_unreadable_cursor_is_not_taken_for_not_ready() -> None:
    with pytest.raises(SchemaViolationError, match="next_cursor"):
        parse_page(page_body().replace(b'"final"', b"NaN"))


def test_the_texts_of_an_account_are_cut_to_whole_characters() -> None:
    (account,) = page(accounts=[{"account_id": "a", "name": "\u9280" * 200, "type": "\u9280" * 200}]).accounts
    assert (account.name, account.kind) == ("\u9280" * 66, "\u9280" * 10)


def test_an_invalid_entry_is_set_apart_whole_and_the_others_are_rows() -> None:
    without_id = transaction("?") | {"note": "\ud83d", "balance": Decimal("0.10")}
    del without_id["transaction_id"]
    parsed = page(
        added=[transaction("a"), transaction("b") | {"amount": "1.00"}, ["c"], transaction("d")],
        modified=[transaction("e"), without_id],
        removed=[{"transaction_id": "f"}, {"account_id": "account"}, "g"],
    )
    assert [row.transaction_id for row in (*parsed.added, *parsed.modified)] == ["a", "d", "e"]
    assert [removal.transaction_id for removal in parsed.removed] == ["f"]
    assert [(entry.source, entry.field, entry.transaction_id) for entry in parsed.invalid] == [
        ("added", "amount", "b"),
        ("added", "transaction", None),
        ("modified", "transaction_id", None),
        ("removed", "transaction_id", None),
        ("removed", "removed", None),
    ]
    assert exact_json.loads(parsed.invalid[2].raw) == without_id


@pytest.mark.parametrize("account_id", [7, ["account"], "a" * 2100, "\ud800"], ids=lambda value: ascii(value)[:20])
def test_a_removal_with_an_invalid_account_is_applied_and_set_apart(account_id: object) -> None:
    parsed = page(removed=[{"transaction_id": "t", "account_id": account_id}])
    assert parsed.removed == (RowRemoval(TransactionId("t")),)
    assert [(entry.field, entry.transaction_id) for entry in parsed.invalid] == [("account_id", "t")]


# ---- /item/get: a missing report is never taken for health

WHEN, LATER = "2026-03-01T12:00:00Z", "2026-06-01T00:00:00Z"
ITEM = {"item_id": "item", "institution_id": "ins_1", "error": None, "consent_expiration_time": None}
STATUS = {"transactions": {"last_successful_update": WHEN, "last_failed_update": None}}


def health(status: object = STATUS, **item: Any) -> ItemHealth:
    response = {"item": ITEM | item, "status": status, "request_id": "r1"}
    return parse_health(exact_json.dumps(response, ascii_only=True).encode())


def test_a_report_has_the_error_code_and_the_end_of_the_consent() -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert health() == ItemHealth(last_success_at=noon, request_id="r1", institution_id="ins_1")
    found = health(error={"error_code": "ITEM_LOGIN_REQUIRED"}, consent_expiration_time=LATER)
    assert found.error_code == "ITEM_LOGIN_REQUIRED"
    assert found.consent_until == datetime(2026, 6, 1, tzinfo=UTC)


def test_a_report_has_the_type_and_the_reason_of_an_error() -> None:
    error = {
        "error_code": "ITEM_LOGIN_REQUIRED",
        "error_type": "ITEM_ERROR",
        "error_code_reason": "OAUTH_USER_REVOKED",
    }
    found = health(error=error)
    assert (found.error_type, found.code_reason) == ("ITEM_ERROR", "OAUTH_USER_REVOKED")
    for value in (None, 7, "", "a b"):
        odd = health(error=error | {"error_type": value, "error_code_reason": value})
        assert (odd.error_code, odd.error_type, odd.code_reason) == ("ITEM_LOGIN_REQUIRED", "", None)
    unreadable = health(error=error | {"error_code": None})
    assert (unreadable.error_code, unreadable.error_type) == (UNREADABLE_CODE, "")


@pytest.mark.parametrize(
    "error", [{"error_code": None}, {"error_code": "no code"}, {"x": 1}, "down", 7, [], True], ids=str
)
def test_an_unreadable_error_is_an_error(error: object) -> None:
    assert health(error=error).error_code == UNREADABLE_CODE
    assert classify(UNREADABLE_CODE) is FailureClass.TRANSIENT


@pytest.mark.parametrize("response", [b"[]", b"{}", b'{"item": null}', b'{"item": []}', b'{"item": "x"}', b"7"])
def test_a_response_without_an_item_is_no_report(response: bytes) -> None:
    with pytest.raises(SchemaViolationError, match="item"):
        parse_health(response)


@pytest.mark.parametrize(
    "value", [None, 7, "", "soon", "\ud800", ["2026"], {"a": 1}, "9999-12-31T23:59:59-23:59"], ids=ascii
)
def test_an_informational_field_of_a_report_may_be_anything(value: object) -> None:
    updates = {"transactions": {"last_successful_update": value, "last_failed_update": value}}
    found = health(updates, consent_expiration_time=value, institution_id=value)
    assert (found.consent_until, found.last_success_at, found.last_failure_at) == (None, None, None)
    assert health(value).error_code is health({"transactions": value}).error_code is None
