"""The Shared table as the sweep uses it: requests for attempts, and leases."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from plaid_sync.aws.dynamodb.attempts import SharedAttempts
from plaid_sync.domain.clock import format_timestamp
from plaid_sync.domain.item import ItemId
from plaid_sync.domain.schedule import AttemptClass, DueItem, Lease

from tests.fakes.clock import NOON, FakeClock
from tests.unit.aws.dynamodb.samples import SHARED

A, B = (DueItem(format_timestamp(NOON), ItemId(name), AttemptClass.ROUTINE) for name in "ab")
LATER = NOON + timedelta(minutes=1)


@pytest.fixture
def attempts(dynamodb: Any) -> SharedAttempts:
    return SharedAttempts(dynamodb, SHARED, FakeClock())


def test_a_request_is_there_until_it_is_answered(attempts: SharedAttempts) -> None:
    for item in (A, B):
        attempts.request_attempt(item.item_id, NOON)
    found = list(attempts.requested())
    requested = [(item.item_id, item.next_attempt_at, item.attempt_class, item.requested) for item in found]
    at = format_timestamp(NOON)
    assert requested == [(name, at, AttemptClass.FIRST_SYNC, True) for name in "ab"]
    assert all(map(attempts.is_requested, found))
    attempts.answer(A.item_id)
    assert list(attempts.requested()) == found[1:]
    assert [attempts.is_requested(item) for item in found] == [False, True]


def test_a_webhook_that_is_refused_later_is_another_request(attempts: SharedAttempts) -> None:
    attempts.request_attempt(A.item_id, NOON)
    (older,) = attempts.requested()
    attempts.request_attempt(A.item_id, LATER)
    (newer,) = attempts.requested()
    assert newer.next_attempt_at == format_timestamp(LATER)
    assert [attempts.is_requested(item) for item in (older, newer)] == [False, True]


def test_a_request_of_a_newer_version_is_skipped(attempts: SharedAttempts, dynamodb: Any) -> None:
    row = {"kind": {"S": "request"}, "name": {"S": "c"}, "requested_at": {"N": "1"}}
    dynamodb.put_item(TableName=SHARED, Item=row)
    assert list(attempts.requested()) == []


def test_an_attempt_is_leased_by_one_run_at_a_time(attempts: SharedAttempts) -> None:
    (before, other) = attempts.leases([A, B])
    assert (before, other) == (Lease(A), Lease(B))
    lease = before.renewed(NOON)
    assert attempts.take(before, lease)
    assert not attempts.take(before, lease)
    assert attempts.leases([A, B]) == [lease, Lease(B)]
    assert attempts.take(lease, lease.renewed(LATER))
    assert not attempts.take(lease, lease.renewed(LATER))


def test_the_next_attempt_of_an_item_has_a_lease_of_its_own(attempts: SharedAttempts) -> None:
    (before,) = attempts.leases([A])
    assert attempts.take(before, before.renewed(NOON))
    following = DueItem(format_timestamp(LATER), A.item_id, A.attempt_class)
    assert attempts.leases([following]) == [Lease(following)]


def test_a_lease_is_released_unless_another_run_has_it(attempts: SharedAttempts) -> None:
    (before,) = attempts.leases([A])
    lease = before.renewed(NOON)
    assert attempts.take(before, lease)
    attempts.release(before.renewed(LATER))
    assert attempts.leases([A]) == [lease]
    attempts.release(lease)
    assert attempts.leases([A]) == [before]
