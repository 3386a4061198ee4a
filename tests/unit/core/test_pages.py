from __future__ import annotations

from typing import Any

import pytest
from plaid_sync.core import exact_json
from plaid_sync.core.failures import ContractBrokenError
from plaid_sync.core.pages import NetChanges, parse_page
from plaid_sync.core.transactions import Removal, TransactionId, TransactionRow


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
    return exact_json.dumps(document | fields).encode()


def fold(*answers: bytes) -> NetChanges:
    net = NetChanges()
    for document in answers:
        net.fold(parse_page(document))
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
        ("transaction", {"added": ["t"]}),
    ],
)
def test_an_answer_that_breaks_the_contract_is_refused_by_field(field: str, fields: dict[str, Any]) -> None:
    with pytest.raises(ContractBrokenError) as refused:
        parse_page(answer(**fields))
    assert refused.value.field == field


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
