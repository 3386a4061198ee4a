"""Net changes: the pages of one update folded into one change per transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plaid_sync.domain.transaction import RowRemoval, TransactionId, TransactionRow
from plaid_sync.pull.pages import NetChanges

from tests.fakes.plaid import page, transaction

if TYPE_CHECKING:
    from plaid_sync.pull.pages import Page

INVALID = {"amount": "1.00"}


def fold(*pages: Page) -> NetChanges:
    net = NetChanges()
    for following in pages:
        net.fold(following)
    return net


def amounts(net: NetChanges) -> dict[str, int | None]:
    return {
        key: int(change.amount) if isinstance(change, TransactionRow) else None for key, change in net.changes.items()
    }


def test_a_later_page_wins_over_an_earlier_one() -> None:
    net = fold(
        page(added=[transaction("a", 1), transaction("b", 1)], removed=[{"transaction_id": "c"}]),
        page(modified=[transaction("a", 2)], removed=[{"transaction_id": "b"}], added=[transaction("c", 3)]),
    )
    assert amounts(net) == {"a": 2, "b": None, "c": 3}
    assert net.modified == {"a"}


def test_within_a_page_removed_wins() -> None:
    net = fold(page(added=[transaction("a")], removed=[{"transaction_id": "a", "account_id": "account"}]))
    assert net.changes == {TransactionId("a"): RowRemoval(TransactionId("a"), "account")}
    assert net.rows() == []


def test_an_invalid_entry_mentions_its_transaction_and_does_not_change_it() -> None:
    net = fold(
        page(added=[transaction("a", 1), transaction("b") | INVALID], modified=[transaction("c") | INVALID]),
        page(modified=[transaction("a") | INVALID], added=[transaction("b", 2)], removed=[{"transaction_id": "d"}]),
    )
    assert amounts(net) == {"a": 1, "b": 2, "d": None}
    assert net.mentioned == {"a", "b", "c", "d"}
    assert net.modified == set()
    assert len(net.invalid) == 3
    assert not net.removes_unknown


def test_only_a_removal_without_a_readable_id_leaves_it_unknown_which_row_is_gone() -> None:
    unreadable = fold(page(added=[[]], modified=[None]))
    assert (unreadable.mentioned, unreadable.removes_unknown) == (set(), False)
    assert fold(page(removed=[{"account_id": "account"}])).removes_unknown
    assert not fold(page(removed=[{"transaction_id": "t", "account_id": 7}])).removes_unknown


def test_the_same_invalid_entry_counts_once_per_list() -> None:
    invalid = transaction("a") | INVALID
    assert len(fold(page(added=[invalid, invalid]), page(added=[dict(reversed(invalid.items()))])).invalid) == 1
    assert len(fold(page(added=[invalid], modified=[invalid])).invalid) == 2
