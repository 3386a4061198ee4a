"""`sam local invoke`, once for each function: what it does in a container, it does to the stack."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.sam_local.sam import Sam
    from tests.sam_local.scene import Scene


def test_webhook_queues_what_plaid_has_signed(sam: Sam, scene: Scene) -> None:
    event = scene.event("webhook_sync_updates_available")
    answer = sam.invoke("WebhookFunction", event)
    assert (answer["statusCode"], json.loads(answer["body"])) == (200, {"result": "queued"})
    (message,) = scene.queued()
    assert (message["item_id"], message["cause"]) == (scene.items[0], "webhook")
    assert message["webhook"] == json.loads(event["body"])


def test_sync_brings_the_table_to_plaids_truth(sam: Sam, scene: Scene) -> None:
    scene.let_things_happen()
    assert sam.invoke("SyncFunction", scene.event("sync_batch_of_two_items")) == {"batchItemFailures": []}
    assert scene.differences() == []


def test_items_queues_a_sync_that_is_asked_for(sam: Sam, scene: Scene) -> None:
    answer = sam.invoke("ItemsFunction", scene.event("items_sync"))
    assert answer["statusCode"] == 202
    assert [(message["item_id"], message["cause"]) for message in scene.queued()] == [(scene.items[0], "request")]


def test_sweep_queues_what_is_due(sam: Sam, scene: Scene) -> None:
    scene.make_due()
    assert sam.invoke("SweepFunction", scene.event("sweep_scheduled"))["enqueued"] == 2
    found = {(message["item_id"], message["cause"]) for message in scene.queued()}
    assert found == {(item_id, "sweep") for item_id in scene.items}


def test_changes_announces_on_the_bus(sam: Sam, scene: Scene) -> None:
    scene.received(scene.heard)
    assert sam.invoke("ChangesFunction", scene.event("changes_item_needs_user")) == {"batchItemFailures": []}
    (announced,) = scene.received(scene.heard, wait_seconds=5)
    assert (announced["detail-type"], announced["detail"]["item_id"]) == ("ItemNeedsUser", scene.items[0])


def test_audit_finds_no_difference(sam: Sam, scene: Scene) -> None:
    report = sam.invoke("AuditFunction", scene.event("audit_item"))
    assert report["outcome"] == "clean"
    assert (report["missing"], report["extra"], report["different"]) == (0, 0, 0)
    assert report["at_plaid"] == len(scene.plaid.truth(scene.items[0]))
