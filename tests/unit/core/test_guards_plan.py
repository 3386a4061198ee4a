"""The limits of others, as numbers of their own: a constant of ours must not be able to move them."""

from __future__ import annotations

from datetime import timedelta

from plaid_sync.core.sync.coalescing import covers
from plaid_sync.core.sync.plan import RowWrite, into_transactions
from plaid_sync.core.sync.transactions import Removal, TransactionId

from tests.unit.core.test_plan import row
from tests.unit.core.test_triggers import NOON, item

ACTIONS_IN_A_TRANSACTION = 100
BYTES_IN_A_TRANSACTION = 4_000_000


def test_a_transaction_is_within_dynamodbs_limits() -> None:
    many: list[RowWrite] = [Removal(TransactionId(str(number))) for number in range(250)]
    large: list[RowWrite] = [row(str(number), size=340_000) for number in range(40)]
    for writes in (many, large):
        for batch in into_transactions(writes):
            # The Item's is one, and the last transaction has the history's entry, too.
            assert 1 + len(batch) + 1 <= ACTIONS_IN_A_TRANSACTION
            assert (
                sum(0 if isinstance(write, Removal) else len(write.plaid) for write in batch) < BYTES_IN_A_TRANSACTION
            )


def test_clocks_a_minute_off_each_cover_nothing_that_came_later() -> None:
    """The queue's clock is a minute slow and the worker's a minute fast: a trigger of just after looks so old."""
    assert not covers(item(pull_began_at=NOON), NOON - timedelta(seconds=119))
    assert covers(item(pull_began_at=NOON), NOON - timedelta(minutes=5))
