"""The Shared table as the call budget uses it: what is counted, and up to which ceilings."""

from __future__ import annotations

from typing import Any

import pytest
from plaid_sync.aws.dynamodb.call_counts import SharedCalls
from plaid_sync.domain.budget import SLICE, SLICES_BEFORE, SYNC_ENDPOINT, CallClass, CallCounts, Ceilings
from plaid_sync.domain.errors import TransientError

from tests.fakes.calls import FakeCallCounts
from tests.fakes.clock import NOON
from tests.unit.aws.dynamodb.samples import SHARED

WEBHOOK, AUDIT = CallClass.WEBHOOK, CallClass.AUDIT
ROOMY = Ceilings(shared=100, own=10, total=200)


@pytest.fixture(params=["DynamoDB", "fake"])
def counts(request: pytest.FixtureRequest, dynamodb: Any) -> SharedCalls | FakeCallCounts:
    return FakeCallCounts() if request.param == "fake" else SharedCalls(lambda: dynamodb, SHARED)


def test_the_twelve_slices_before_one_are_summed(counts: SharedCalls) -> None:
    for number in range(SLICES_BEFORE + 3):
        assert counts.add(SYNC_ENDPOINT, NOON - SLICE * number, WEBHOOK, 2, ROOMY)
    assert counts.add(SYNC_ENDPOINT, NOON - SLICE, CallClass.INTERACTIVE, 5, ROOMY)
    assert counts.add("/item/get", NOON - SLICE, WEBHOOK, 7, ROOMY)
    counts.add_throttled(SYNC_ENDPOINT, NOON - SLICE)
    expected = CallCounts(total=2 * SLICES_BEFORE + 5, interactive=5, throttled=1)
    assert counts.before(SYNC_ENDPOINT, NOON) == expected
    assert counts.before(SYNC_ENDPOINT, NOON + SLICE * 60) == CallCounts()


@pytest.mark.parametrize(
    ("ceilings", "taken"),
    [
        (Ceilings(shared=9, own=0, total=100), 9),
        (Ceilings(shared=0, own=4, total=100), 4),
        (Ceilings(shared=0, own=100, total=3), 3),
        (Ceilings(shared=5, own=20, total=7), 7),
        (Ceilings(shared=-4, own=2, total=100), 2),
    ],
)
def test_calls_are_counted_up_to_the_ceilings(counts: SharedCalls, ceilings: Ceilings, taken: int) -> None:
    allowed = [counts.add(SYNC_ENDPOINT, NOON, AUDIT, 1, ceilings) for _ in range(20)]
    assert allowed == [True] * taken + [False] * (20 - taken)
    assert counts.before(SYNC_ENDPOINT, NOON + SLICE).total == taken


def test_the_own_part_of_a_class_is_free_although_others_have_taken_theirs(counts: SharedCalls) -> None:
    assert counts.add(SYNC_ENDPOINT, NOON, WEBHOOK, 50, ROOMY)
    ceilings = Ceilings(shared=10, own=2, total=100)
    assert [counts.add(SYNC_ENDPOINT, NOON, AUDIT, 1, ceilings) for _ in range(3)] == [True, True, False]


def test_a_slice_in_which_calls_were_throttled_can_be_counted(counts: SharedCalls) -> None:
    counts.add_throttled(SYNC_ENDPOINT, NOON)
    assert counts.add(SYNC_ENDPOINT, NOON, WEBHOOK, 1, ROOMY)


def test_rows_expire(dynamodb: Any) -> None:
    SharedCalls(lambda: dynamodb, SHARED).add(SYNC_ENDPOINT, NOON, WEBHOOK, 1, ROOMY)
    (row,) = dynamodb.scan(TableName=SHARED)["Items"]
    assert row["kind"] == {"S": "calls"}
    assert int(row["expires_at"]["N"]) - NOON.timestamp() == 600


def test_a_table_that_is_not_there_is_a_transient_failure(dynamodb: Any) -> None:
    counts = SharedCalls(lambda: dynamodb, "absent")
    with pytest.raises(TransientError):
        counts.before(SYNC_ENDPOINT, NOON)
    with pytest.raises(TransientError):
        counts.add(SYNC_ENDPOINT, NOON, WEBHOOK, 1, ROOMY)
    with pytest.raises(TransientError):
        counts.add_throttled(SYNC_ENDPOINT, NOON)
