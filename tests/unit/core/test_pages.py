from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from plaid_sync.core import exact_json
from plaid_sync.core.failures import ContractBrokenError
from plaid_sync.core.sync.pages import NetChanges, Page, parse_page
from plaid_sync.core.sync.transactions import Removal, TransactionId, TransactionRow, unpack

BAD = {"amount": "1.00"}


def transaction(transaction_id: str, amount: int = 1) -> dict[str, Any]:
    return {
        "transaction_id": transaction_id,
        "account_id": "account",
        "amount": amount,
        "date": "2026-01-01",
        "pending": False,
    }


def answer(**fields: Any) -> bytes:
    document = {
        "added": [],
        "modified": [],
        "removed": [],
        "next_cursor": "final",
        "has_more": False,
        "transactions_update_status": "HISTORICAL_UPDATE_COMPLETE",
        "request_id": "r1",
    }
    return exact_json.dumps(document | fields, ascii_only=True).encode()


def fold(*answers: bytes) -> NetChanges:
    return fold_pages(*map(parse_page, answers))


def fold_pages(*pages: Page) -> NetChanges:
    net = NetChanges()
    for page in pages:
        net.fold(page)
    return net


def final(net: NetChanges) -> dict[str, int | None]:
    return {
        key: int(change.amount) if isinstance(change, TransactionRow) else None for key, change in net.changes.items()
    }


@pytest.mark.parametrize("cursor", ["", None])
def test_an_empty_or_null_cursor_means_that_nothing_is_ready(cursor: str | None) -> None:
    assert parse_page(answer(next_cursor=cursor)).next_cursor is None


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("added", {"added": None}),
        ("removed", {"removed": {}}),
        ("has_more", {"has_more": "false"}),
        ("next_cursor", {"next_cursor": 7}),
        ("next_cursor", {"next_cursor": "", "has_more": True}),
        ("next_cursor", {"next_cursor": None, "added": [transaction("t")]}),
        ("next_cursor", {"next_cursor": None, "removed": ["t"]}),
    ],
)
def test_an_answer_that_breaks_the_contract_is_refused_by_field(field: str, fields: dict[str, Any]) -> None:
    with pytest.raises(ContractBrokenError) as refused:
        parse_page(answer(**fields))
    assert refused.value.field == field


NOT_PLAIN = [
    None,
    7,
    {"a": "b"},
    ["x" * 2_000_000],
    "x" * 129,
    "x" * 2_000_000,
    "\ud800",
    "\u00e9",
    "a\nb",
    "\x00",
]


@pytest.mark.parametrize("cursor", ["\ud800", "c" * 1025, "a\nb", 7, ["c"]], ids=ascii)
def test_a_cursor_that_can_not_be_stored_breaks_the_page(cursor: object) -> None:
    with pytest.raises(ContractBrokenError, match="next_cursor"):
        parse_page(answer(next_cursor=cursor))


@pytest.mark.parametrize("value", NOT_PLAIN, ids=lambda value: ascii(value)[:20])
@pytest.mark.parametrize("name", ["transactions_update_status", "request_id"])
def test_what_only_informs_is_plain_or_left_out_and_breaks_no_page(name: str, value: object) -> None:
    page = parse_page(answer(added=[transaction("t")], **{name: value}))
    assert {"transactions_update_status": page.update_status, "request_id": page.request_id}[name] == ""
    assert len(page.added) == 1


def test_the_status_and_the_request_id_are_kept_up_to_128_characters() -> None:
    page = parse_page(answer(transactions_update_status="S" * 128, request_id="r 1"))
    assert (page.update_status, page.request_id) == ("S" * 128, "r 1")


def test_a_later_page_has_the_last_word() -> None:
    net = fold(
        answer(added=[transaction("a", 1), transaction("b", 1)], removed=[{"transaction_id": "c"}]),
        answer(modified=[transaction("a", 2)], removed=[{"transaction_id": "b"}], added=[transaction("c", 3)]),
    )
    assert final(net) == {"a": 2, "b": None, "c": 3}
    assert net.modified == {"a"}


def test_within_a_page_removed_is_the_last_word() -> None:
    net = fold(answer(added=[transaction("a")], removed=[{"transaction_id": "a", "account_id": "account"}]))
    assert net.changes == {TransactionId("a"): Removal(TransactionId("a"), "account")}
    assert net.rows() == []


def test_a_broken_entry_is_set_apart_with_all_that_it_holds_and_the_others_go_on() -> None:
    without_id = transaction("?") | {"note": "\ud83d", "balance": Decimal("0.10")}
    del without_id["transaction_id"]
    page = parse_page(
        answer(
            added=[transaction("a"), transaction("b") | {"amount": "1.00"}, ["c"], transaction("d")],
            modified=[transaction("e"), without_id],
            removed=[{"transaction_id": "f"}, {"account_id": "account"}, "g"],
        )
    )
    assert [row.transaction_id for row in (*page.added, *page.modified)] == ["a", "d", "e"]
    assert [removal.transaction_id for removal in page.removed] == ["f"]
    assert [(entry.source, entry.field, entry.transaction_id) for entry in page.broken] == [
        ("added", "amount", "b"),
        ("added", "transaction", None),
        ("modified", "transaction_id", None),
        ("removed", "transaction_id", None),
        ("removed", "removed", None),
    ]
    assert exact_json.loads(page.broken[2].raw) == without_id


@pytest.mark.parametrize("account_id", [7, ["account"], "a" * 2100, "\ud800"])
def test_a_removal_with_a_broken_account_is_applied_and_set_apart(account_id: object) -> None:
    entry = {"transaction_id": "t", "account_id": account_id}
    page = parse_page(answer(removed=[entry]))
    assert page.removed == (Removal(TransactionId("t")),)
    assert [(one.field, one.transaction_id) for one in page.broken] == [("account_id", "t")]
    assert not fold_pages(page).removes_unknown


def test_unknown_fields_and_words_of_every_vocabulary_break_nothing() -> None:
    entry = transaction("t") | {
        "payment_channel": "carrier pigeon",
        "personal_finance_category": {"primary": "SPACE_TRAVEL"},
        "transaction_type": "barter",
        "shoe_size": {"eu": Decimal("42.5")},
    }
    page = parse_page(answer(added=[entry], transactions_update_status="SOMETHING_NEW", weather="fine"))
    assert page.broken == ()
    assert page.update_status == "SOMETHING_NEW"
    (row,) = page.added
    assert (row.payment_channel, row.category) == ("carrier pigeon", "SPACE_TRAVEL")
    assert unpack(row.plaid) == entry


def test_a_broken_entry_is_no_word_on_its_transaction_but_mentions_it() -> None:
    net = fold(
        answer(added=[transaction("a", 1), transaction("b") | {"amount": "?"}], modified=[transaction("c") | BAD]),
        answer(modified=[transaction("a") | BAD], added=[transaction("b", 2)], removed=[{"transaction_id": "d"}]),
    )
    assert final(net) == {"a": 1, "b": 2, "d": None}
    assert net.mentioned == {"a", "b", "c", "d"}
    assert net.modified == set()
    assert len(net.broken) == 3
    assert not net.removes_unknown


def test_an_entry_without_an_id_mentions_nothing_and_only_a_removal_leaves_unknown_what_is_gone() -> None:
    assert fold(answer(added=[[]], modified=[None])).mentioned == set()
    assert not fold(answer(added=[[]], modified=[None])).removes_unknown
    assert fold(answer(removed=[{"account_id": "account"}])).removes_unknown


def test_the_same_broken_entry_is_met_once() -> None:
    broken = transaction("a") | BAD
    assert len(fold(answer(added=[broken, broken]), answer(added=[dict(reversed(broken.items()))])).broken) == 1
    assert len(fold(answer(added=[broken], modified=[broken])).broken) == 2
