"""Waiting for a sync: 200 only for a pull that began after the request."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from plaid_sync.domain.errors import TransientError
from plaid_sync.domain.item import Checkpoint, Cursor, ItemFailure

from tests.fakes.api import Api, content, problem
from tests.fakes.clock import NOON, FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from plaid_sync.domain.item import ItemId

Step = dict[str, Any]
FIRST, LATER = "2026-06-01T11:00:00.000Z#a", "2026-06-01T12:00:00.000Z#b"
OLD, NEW, RESUMED = (NOON + timedelta(minutes=minutes) for minutes in (-60, 1, -30))
IDLE: Step = {"attempt_id": FIRST, "unfinished_attempts": 0, "pull_began_at": OLD, "generation": 3}
RUNNING: Step = {**IDLE, "unfinished_attempts": 1}
CLAIMED: Step = {"attempt_id": LATER, "unfinished_attempts": 1, "generation": 4}
COMMITTED: Step = {"attempt_id": LATER, "unfinished_attempts": 0, "generation": 4, "pull_began_at": NEW}
CHECKPOINT = Checkpoint(Cursor("c"), None, from_beginning=True, began_at=RESUMED, written=((3, 3),))


@dataclass(slots=True)
class Worker(FakeClock):
    """A clock in whose pauses a worker changes an Item, one step in each."""

    change: Callable[[Step], None] = field(default=lambda _: None)
    steps: list[Step] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        FakeClock.sleep(self, seconds)
        if self.steps:
            self.change(self.steps.pop(0))


def waited(api: Api, item_id: ItemId, before: Step, steps: list[Step], **how: Any) -> tuple[int, Worker]:
    """Let a worker take steps while a request waits; return its status."""
    api.tables.items.set(item_id, **before)
    worker = Worker(change=lambda step: api.tables.items.set(item_id, **step), steps=list(steps))
    api.tables.clock = api.ports["clock"] = worker
    query: Mapping[str, str] = {"wait": how.pop("wait", "20")}
    answer = api.request("POST", f"/items/{item_id}/sync", how.pop("body", None), query, **how)
    shown = json.loads(answer["body"])
    expected = {"item_id": item_id} if answer["statusCode"] == 200 else {"queued": True}
    assert shown.items() >= expected.items()
    return answer["statusCode"], worker


@pytest.mark.parametrize(
    ("before", "steps", "status"),
    [
        pytest.param(IDLE, [COMMITTED], 200, id="claimed and committed between two looks"),
        pytest.param(IDLE, [{}, CLAIMED, {}, COMMITTED], 200, id="claimed, then committed"),
        pytest.param(IDLE, [CLAIMED, {"failure": ItemFailure("X", "transient", NOON, NOON)}], 202, id="failed"),
        pytest.param(IDLE, [CLAIMED, {"unfinished_attempts": 0}], 202, id="concluded without a pull"),
        pytest.param(IDLE, [], 202, id="nothing happens"),
        pytest.param(
            RUNNING, [{"unfinished_attempts": 0, "pull_began_at": NEW}], 202, id="the earlier attempt commits"
        ),
        pytest.param(
            RUNNING,
            [{"unfinished_attempts": 0, "pull_began_at": RESUMED}, CLAIMED, COMMITTED],
            200,
            id="the earlier attempt commits, then a later one",
        ),
        pytest.param(RUNNING, [CLAIMED, COMMITTED], 200, id="the earlier attempt is superseded"),
        pytest.param(
            IDLE,
            [{"unfinished_attempts": 0, "pull_began_at": NEW}, CLAIMED, {"unfinished_attempts": 0}],
            202,
            id="an attempt that did not count as unfinished commits",
        ),
        pytest.param(
            IDLE | {"checkpoint": CHECKPOINT},
            [CLAIMED, COMMITTED | {"checkpoint": None, "pull_began_at": RESUMED}],
            202,
            id="the pull had begun before",
        ),
        pytest.param(
            IDLE, [COMMITTED | {"pull_began_at": OLD - timedelta(days=1)}], 200, id="the worker's clock is a day behind"
        ),
    ],
)
def test_only_a_pull_that_began_after_the_request_counts(
    api: Api, item_id: ItemId, before: Step, steps: list[Step], status: int
) -> None:
    answered, worker = waited(api, item_id, before, steps)
    assert answered == status
    assert sum(worker.pauses) <= 20
    assert status == 200 or sum(worker.pauses) == 20
    assert len(api.queue.sent) == 1


def test_without_wait_nothing_waits(api: Api, item_id: ItemId) -> None:
    assert waited(api, item_id, IDLE, [COMMITTED], wait="0")[1].pauses == []
    content(api.request("POST", f"/items/{item_id}/sync"), 202)


def test_a_wait_ends_before_the_invocation_does(api: Api, item_id: ItemId) -> None:
    status, worker = waited(api, item_id, IDLE, [], seconds=10.0)
    assert (status, sum(worker.pauses) <= 10) == (202, True)


def test_a_failed_look_at_the_item_fails_no_request(api: Api, item_id: ItemId) -> None:
    stored = api.ports["items"].load

    class Unreadable:
        """The Items table, which cannot be read while the worker claims."""

        def __getattr__(self, name: str) -> Any:
            return getattr(api.tables.items, name)

        def load(self, item_id: ItemId) -> Any:
            item = stored(item_id)
            if item is not None and item.unfinished_attempts:
                raise TransientError("unreachable")
            return item

    api.ports["items"] = Unreadable()
    assert waited(api, item_id, IDLE, [CLAIMED, COMMITTED])[0] == 200


@pytest.mark.parametrize("value", ["", "21", "-1", "1.5", "twenty", "020"])
def test_a_bad_wait_is_rejected(api: Api, item_id: ItemId, value: str) -> None:
    refused = problem(api.request("POST", f"/items/{item_id}/sync", query={"wait": value}), 400, "invalid_request")
    assert (refused["field"], refused["fix"]) == ("wait", "send an integer from 0 to 20")
    assert not api.queue.sent
