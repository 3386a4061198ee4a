"""Several writes in one transaction, while somebody else writes to one of the rows."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from plaid_sync.adapters.dynamodb.atomic import TRIES, ConditionFailedError, write_together
from plaid_sync.core.failures import RetryableError
from plaid_sync.core.linking.linker import EXCHANGE_TAKES_SECONDS

CALLS_TAKE = 9 + 15 + 9 + 9 + 9 + 9 + 3 * 12 + 2 * 0.5
"""See `EXCHANGE_TAKES_SECONDS`."""
ACTIONS: list[dict[str, Any]] = [{"Put": {"TableName": "items", "Item": {"item_id": {"S": "item"}}}}]


def cancelled(stub: Stubber, code: str) -> None:
    stub.add_client_error(
        "transact_write_items",
        "TransactionCanceledException",
        modeled_fields={"CancellationReasons": [{"Code": "None"}, {"Code": code}]},
    )


@pytest.fixture
def client(aws: None) -> Any:  # noqa: ARG001 - the mock has to be up first
    return boto3.client("dynamodb")


def test_a_row_that_others_write_to_does_not_undo_a_link(client: Any) -> None:
    pauses: list[float] = []
    with Stubber(client) as stub:
        for _ in range(TRIES - 1):
            cancelled(stub, "TransactionConflict")
        stub.add_response("transact_write_items", {})
        write_together(client, ACTIONS, pauses.append)
        stub.assert_no_pending_responses()
    assert len(pauses) == TRIES - 1


def test_it_is_given_up_in_the_time_that_linking_has_for_it(client: Any) -> None:
    pauses: list[float] = []
    with Stubber(client) as stub:
        for _ in range(TRIES):
            cancelled(stub, "TransactionConflict")
        with pytest.raises(RetryableError, match="transaction_cancelled"):
            write_together(client, ACTIONS, pauses.append)
    longest = sum(0.05 * 2**attempt * 1.5 for attempt in range(TRIES))
    assert sum(pauses) <= longest
    assert CALLS_TAKE + 2 * longest <= EXCHANGE_TAKES_SECONDS


def test_a_condition_that_fails_is_final(client: Any) -> None:
    with Stubber(client) as stub:
        cancelled(stub, "ConditionalCheckFailed")
        with pytest.raises(ConditionFailedError) as failed:
            write_together(client, ACTIONS, lambda _: None)
    assert set(failed.value.found) == {1}
