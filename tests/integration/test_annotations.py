"""Annotations over the Items API, while their transactions post."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from local.plaid import Behavior, Phase
from tests.integration.harness import http_event
from tests.integration.link_flows import content, linked, refused

if TYPE_CHECKING:
    from tests.integration.harness import World


@pytest.fixture
def behavior() -> Behavior:
    return Behavior(rate_limits=False, initial_seconds=None, historical_seconds=None, history_transactions=3)


@pytest.fixture
def item_id(world: World) -> str:
    item_id = linked(world, "user")
    while world.plaid.advance_phase(item_id) < Phase.HISTORICAL:
        pass
    world.drain()
    return item_id


def request(  # noqa: PLR0913, PLR0917 - the parts of a request
    world: World, item_id: str, transaction_id: str, method: str = "GET", body: object = None, version: str = ""
) -> dict[str, Any]:
    path = f"/items/{item_id}/transactions/{transaction_id}/annotations"
    event = http_event(method, path, None if body is None else json.dumps(body))
    return world.call_items(event | {"headers": {"if-match": f'"{version}"'} if version else {}})


def sync(world: World, item_id: str) -> None:
    content(world.request("POST", f"/items/{item_id}/sync"), 202)
    world.drain()


def unmoved(world: World, item_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = content(world.request("GET", f"/items/{item_id}/annotations/review"))["unmoved"]
    return found


def test_annotations_follow_a_transaction_that_posts(world: World, item_id: str) -> None:
    (pending,) = world.plaid.add(item_id, pending=True)
    sync(world, item_id)
    first = request(world, item_id, pending, "PATCH", {"note": "lunch", "share": 0.5}, "0")
    assert first["headers"]["etag"] == '"1"'
    posted = str(world.plaid.post_pending(item_id, pending, "same page"))
    sync(world, item_id)
    moved = content(request(world, item_id, posted))
    assert moved["annotations"] == {"note": "lunch", "share": 0.5}
    shown = content(request(world, item_id, pending))
    assert (shown["annotations"], shown["posted_transaction_id"]) == ({}, posted)
    late = refused(request(world, item_id, pending, "PATCH", {"note": "x"}, "2"), 409, "transaction_removed")
    assert late["posted_transaction_id"] == posted
    assert unmoved(world, item_id) == []


def test_without_a_link_they_stay_and_are_listed_until_a_person_has_moved_them(world: World, item_id: str) -> None:
    (pending,) = world.plaid.add(item_id, pending=True)
    sync(world, item_id)
    content(request(world, item_id, pending, "PATCH", {"note": "lunch"}, "0"))
    posted = str(world.plaid.post_pending(item_id, pending, "unlinked"))
    sync(world, item_id)
    assert content(request(world, item_id, posted))["annotations"] == {}
    (listed,) = unmoved(world, item_id)
    assert (listed["transaction_id"], listed["annotations"]) == (pending, {"note": "lunch"})
    assert "expires_at" not in world.rows(item_id)[pending]
    content(request(world, item_id, posted, "PATCH", listed["annotations"], "0"))
    content(request(world, item_id, pending, "DELETE", version=str(listed["version"])))
    assert unmoved(world, item_id) == []
    assert "expires_at" in world.rows(item_id)[pending]
