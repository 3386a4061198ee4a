"""What the demo reads from the functions' logs, and how it says it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from local.demo.observer import LogTail
from local.demo.progress import Progress
from local.demo.wording import notable

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


def seen(*records: dict[str, Any]) -> Progress:
    progress = Progress()
    for record in records:
        progress.add(record)
    return progress


def test_webhooks_are_counted_by_answer_reason_and_item() -> None:
    progress = seen(
        WEBHOOK,
        {**WEBHOOK, "result": "ignored", "cold_start": False},
        {"message": "webhook rejected", "reason": "stale"},
        {"message": "webhook not accepted", "reason": "verification_key_timeout"},
    )
    assert progress.webhooks == {"queued": 1, "ignored": 1, "rejected": 1, "failed": 1}
    assert progress.rejections == {"stale": 1}
    assert (progress.accepted, progress.item("A").webhooks, progress.processes) == (2, 2, 1)


def test_syncs_are_counted_with_what_they_wrote() -> None:
    progress = seen(SYNC, {**SYNC, "outcome": "not_ready"}, FAILURE)
    item = progress.item("A")
    assert (item.syncs, item.written, item.state) == (1, 6, "again in 5 s")
    assert progress.outcomes == {"committed": 1, "not_ready": 1}
    assert progress.failures == {"INTERNAL_SERVER_ERROR": 1}


def test_triggers_come_from_the_metrics() -> None:
    progress = seen({"_aws": {}, "TriggersReceived": [4.0], "TriggersCoalesced": [3.0]}, {"TriggersReceived": [9]})
    assert (progress.triggers, progress.coalesced) == (4, 3)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (FAILURE, "Item 1: Plaid has an internal error; the message comes back in 5 s"),
        ({**FAILURE, "code": "NEW"}, "Plaid cannot be used (NEW)"),
        (SYNC, "changed during the pull"),
        ({**SYNC, "outcome": "needs_user"}, "log in at the bank again"),
        ({"message": "webhook not accepted", "reason": "why"}, "answered 503 (why)"),
        ({"message": "message parked in the dead-letter queue", "reason": "malformed"}, "put aside: malformed"),
    ],
)
def test_what_is_out_of_the_ordinary_is_said_in_words(record: dict[str, Any], words: str) -> None:
    assert words in str(notable(record, lambda _: "Item 1"))


@pytest.mark.parametrize("record", [WEBHOOK, {**SYNC, "PaginationRestarts": 0}, {}, {"_aws": {}}])
def test_what_is_ordinary_is_not_said(record: dict[str, Any]) -> None:
    assert notable(record, lambda _: "Item 1") is None


def test_a_log_is_read_once_and_only_in_whole_lines(tmp_path: Path) -> None:
    tail = LogTail(tmp_path / "sync.log")
    assert list(tail.records()) == []
    first, second = (json.dumps({"n": n}).encode() for n in (1, 2))
    tail.path.write_bytes(first + b"\nSTART not JSON\n{broken}\n" + second[:3])
    assert list(tail.records()) == [{"n": 1}]
    assert list(tail.records()) == []
    with tail.path.open("ab") as log:
        log.write(second[3:] + b"\n")
    assert list(tail.records()) == [{"n": 2}]
