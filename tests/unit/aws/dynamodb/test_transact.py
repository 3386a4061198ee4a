"""Transactional writes, while others write to the same rows."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from plaid_sync.aws.dynamodb.transact import MAX_TRIES, Action, ConditionFailedError, write_fenced, write_together
from plaid_sync.domain.errors import PlaidSyncError, RowNewerThanItemError, SupersededError, TransientError
from plaid_sync.linking.service import EXCHANGE_SECONDS

from tests.fakes.clock import FakeClock
from tests.unit.aws.dynamodb.samples import REMOVED, cancellation

CALL_SECONDS = 9 + 15 + 9 + 9 + 9 + 9 + 3 * 12 + 2 * 0.5
"""See `EXCHANGE_SECONDS`."""
ACTIONS = [
    Action("first", {"Put": {"TableName": "items", "Item": {"item_id": {"S": "item"}}}}),
    Action("second", {"Put": {"TableName": "history", "Item": {"item_id": {"S": "item"}}}}),
]


@pytest.fixture
def client(aws: None) -> Any:  # noqa: ARG001 - the mock has to be up first
    return boto3.client("dynamodb")


@pytest.mark.parametrize("code", ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"])
def test_a_conflict_or_a_throttled_write_is_retried_with_backoff(client: Any, code: str) -> None:
    """No emulator makes conflicts, so DynamoDB's responses are written out here."""
    clock = FakeClock()
    with Stubber(client) as stub:
        for _ in range(MAX_TRIES - 1):
            stub.add_client_error(**cancellation("None", code))
        stub.add_response("transact_write_items", {})
        write_together(client, ACTIONS, clock)
        stub.assert_no_pending_responses()
    assert len(clock.pauses) == MAX_TRIES - 1


def test_the_retries_end_within_the_time_that_linking_reserves(client: Any) -> None:
    clock = FakeClock()
    with Stubber(client) as stub:
        for _ in range(MAX_TRIES):
            stub.add_client_error(**cancellation("None", "TransactionConflict"))
        with pytest.raises(TransientError, match="transaction_canceled"):
            write_together(client, ACTIONS, clock)
    max_seconds = sum(0.05 * 2**attempt * 1.5 for attempt in range(MAX_TRIES))
    assert len(clock.pauses) == MAX_TRIES
    assert sum(clock.pauses) <= max_seconds
    assert CALL_SECONDS + 2 * max_seconds <= EXCHANGE_SECONDS


@pytest.mark.parametrize("code", ["ValidationError", "ItemCollectionSizeLimitExceeded"])
def test_a_transaction_that_dynamodb_always_rejects_is_not_retried(client: Any, code: str) -> None:
    clock = FakeClock()
    with Stubber(client) as stub:
        stub.add_client_error(**cancellation("None", code))
        with pytest.raises(TransientError, match=code):
            write_together(client, ACTIONS, clock)
        stub.assert_no_pending_responses()
    assert clock.pauses == []


def test_a_failed_condition_is_final_and_names_its_action(client: Any) -> None:
    clock = FakeClock()
    failed_with_row = cancellation("None", "ConditionalCheckFailed")
    failed_with_row["modeled_fields"]["CancellationReasons"][1]["Item"] = {"item_id": {"S": "item"}}
    with Stubber(client) as stub:
        stub.add_client_error(**failed_with_row)
        with pytest.raises(ConditionFailedError, match="second") as failed:
            write_together(client, ACTIONS, clock)
    assert failed.value.found == {"second": {"item_id": {"S": "item"}}}
    assert clock.pauses == []


C, CONFLICT, THROTTLED, INVALID = "ConditionalCheckFailed", "TransactionConflict", "ThrottlingError", "ValidationError"
RETRIED = "retried"


@pytest.mark.parametrize(
    ("item", "rows", "result"),
    [
        (C, ["None", "None"], SupersededError),
        (C, [CONFLICT, C], SupersededError),
        (C, [INVALID, THROTTLED], SupersededError),
        (INVALID, [C, "None"], TransientError),
        (CONFLICT, [INVALID, C], TransientError),
        ("None", [C, INVALID], TransientError),
        (CONFLICT, [C, "None"], RETRIED),
        (THROTTLED, [C, C], RETRIED),
        ("SomeNewCode", [C, C], RETRIED),
        (CONFLICT, ["None", "None"], RETRIED),
        ("None", [C, CONFLICT], RETRIED),
        ("None", [C, "ProvisionedThroughputExceeded"], RETRIED),
        ("None", ["None", CONFLICT], RETRIED),
        ("None", [C, "None"], RowNewerThanItemError),
        ("None", [C, C], RowNewerThanItemError),
    ],
)
def test_the_reasons_of_a_canceled_fenced_transaction_are_read_together(
    client: Any, item: str, rows: list[str], result: type[Exception] | str
) -> None:
    """A conflict on the Item says nothing about rows: its generation may be about to be that of the newer row."""
    actions = [Action(label, ACTIONS[0].request) for label in ("item", "row a", "row b")]
    canceled = cancellation(item, *rows)
    for reason in canceled["modeled_fields"]["CancellationReasons"]:
        reason.update({"Item": {"generation": {"N": "7"}}} if reason["Code"] == C else {})
    with Stubber(client) as stub:
        stub.add_client_error(**canceled)
        if result == RETRIED:
            stub.add_response("transact_write_items", {})
            write_fenced(client, actions, 2, FakeClock())
        else:
            with pytest.raises(PlaidSyncError) as raised:
                write_fenced(client, actions, 2, FakeClock())
            assert type(raised.value) is result
        stub.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("item", "row", "error"),
    [
        ({"generation": {"N": "3"}}, None, SupersededError),
        ({"generation": {"N": "2"}, "state": REMOVED}, None, SupersededError),
        ({}, None, SupersededError),
        ({"generation": {"N": "2"}, "state": {"S": "active"}}, None, TransientError),
        (None, {"generation": {"N": "7"}}, RowNewerThanItemError),
        (None, {"generation": {"N": "1"}}, ConditionFailedError),
    ],
    ids=["a newer attempt", "removed", "no Item", "another cursor", "a newer row", "an annotated row"],
)
def test_a_failed_fence_says_why(
    client: Any, item: dict[str, Any] | None, row: dict[str, Any] | None, error: type[Exception]
) -> None:
    actions = [Action("item", ACTIONS[0].request), Action("row t", ACTIONS[1].request)]
    codes = ["None" if found is None else "ConditionalCheckFailed" for found in (item, row)]
    failed = cancellation(*codes)
    for reason, found in zip(failed["modeled_fields"]["CancellationReasons"], (item, row), strict=True):
        reason.update({"Item": found} if found else {})
    with Stubber(client) as stub:
        stub.add_client_error(**failed)
        with pytest.raises(error) as raised:
            write_fenced(client, actions, 2, FakeClock())
    assert type(raised.value) is error
