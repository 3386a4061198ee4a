"""What the demo reads from the functions' logs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from local.demo.logs import LogTail, Totals

if TYPE_CHECKING:
    from pathlib import Path

WEBHOOK = {"message": "webhook accepted", "result": "queued", "item_id": "A", "cold_start": True}
SYNC = {
    "message": "item synced",
    "item_id": "A",
    "outcome": "committed",
    "TransactionsAdded": 3,
    "TransactionsModified": 2,
    "TransactionsRemoved": 1,
    "PaginationRestarts": 1,
}
FAILURE = {"message": "sync failed", "item_id": "A", "code": "INTERNAL_SERVER_ERROR", "retry_in_seconds": 5}


def totals_of(*records: dict[str, Any]) -> Totals:
    totals = Totals()
    for record in records:
        totals.add(record)
    return totals


def test_webhooks_are_counted_by_result_and_reason() -> None:
    totals = totals_of(
        WEBHOOK,
        {**WEBHOOK, "result": "ignored", "cold_start": False},
        {"message": "webhook rejected", "reason": "stale"},
        {"message": "webhook not accepted", "reason": "verification_key_timeout"},
    )
    assert totals.webhooks == {"queued": 1, "ignored": 1, "rejected": 1, "failed": 1}
    assert totals.rejections == {"stale": 1}
    assert totals.processes == 1


def test_syncs_are_counted_with_what_they_wrote() -> None:
    totals = totals_of(SYNC, {**SYNC, "outcome": "not_ready"}, FAILURE)
    assert (totals.committed, totals.written) == ({"A": 1}, {"A": 6})
    assert totals.outcomes == {"committed": 1, "not_ready": 1}
    assert totals.failures == {"INTERNAL_SERVER_ERROR": 1}


def test_messages_are_counted_from_the_metrics() -> None:
    assert totals_of({"_aws": {}, "TriggersReceived": [4.0]}, {"TriggersReceived": [9]}).messages == 4


def test_a_log_is_read_once_and_only_in_complete_lines(tmp_path: Path) -> None:
    tail = LogTail(tmp_path / "sync.log")
    assert list(tail.records()) == []
    first, second = (json.dumps({"n": n}).encode() for n in (1, 2))
    tail.path.write_bytes(first + b"\nSTART not JSON\n{broken}\n" + second[:3])
    assert list(tail.records()) == [{"n": 1}]
    assert list(tail.records()) == []
    with tail.path.open("ab") as log:
        log.write(second[3:] + b"\n")
    assert list(tail.records()) == [{"n": 2}]
