"""Every function in a container does to the stack what it does in Lambda."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import urllib3
from botocore.config import Config

from tests.integration.test_events import REFUSED
from tests.sam_local.scene import SAM_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sam_local.scene import Sam, Scene


def test_webhook_enqueues_a_signed_webhook(sam: Sam, scene: Scene) -> None:
    event = scene.event("webhook_sync_updates_available")
    answer = sam.invoke("WebhookFunction", event)
    assert (answer["statusCode"], json.loads(answer["body"])) == (200, {"result": "queued"})
    (message,) = scene.queued()
    assert (message["item_id"], message["cause"]) == (scene.items[0], "webhook")
    assert message["webhook"] == json.loads(event["body"])


def test_sync_makes_the_table_equal_to_plaid(sam: Sam, scene: Scene) -> None:
    for item_id in scene.items:
        scene.plaid.evolve(item_id, steps=30)
    assert scene.differences()
    assert sam.invoke("SyncFunction", scene.event("sync_batch_of_two_items")) == {"batchItemFailures": []}
    assert scene.differences() == []


def test_items_enqueues_a_requested_sync(sam: Sam, scene: Scene) -> None:
    answer = sam.invoke("ItemsFunction", scene.event("items_sync"))
    assert answer["statusCode"] == 202
    assert [(message["item_id"], message["cause"]) for message in scene.queued()] == [(scene.items[0], "request")]


def test_sweep_enqueues_due_items(sam: Sam, scene: Scene) -> None:
    for item_id in scene.items:
        scene.stack.client("dynamodb").update_item(
            TableName=scene.stack.items_table,
            Key={"item_id": {"S": item_id}},
            UpdateExpression="SET next_attempt_at = :past",
            ExpressionAttributeValues={":past": {"S": "2020-01-01T00:00:00.000Z"}},
        )
    assert sam.invoke("SweepFunction", scene.event("sweep_scheduled"))["enqueued"] == 2
    queued = {(message["item_id"], message["cause"]) for message in scene.queued()}
    assert queued == {(item_id, "sweep") for item_id in scene.items}


def test_changes_publishes_on_the_bus(sam: Sam, scene: Scene) -> None:
    scene.received(scene.application_queue_url)
    assert sam.invoke("ChangesFunction", scene.event("changes_item_needs_user")) == {"batchItemFailures": []}
    (published,) = scene.received(scene.application_queue_url, wait_seconds=5)
    assert (published["detail-type"], published["detail"]["item_id"]) == ("ItemNeedsUser", scene.items[0])


def test_outbound_has_no_endpoint_to_post_to(sam: Sam, scene: Scene) -> None:
    assert sam.invoke("OutboundFunction", scene.event("outbound_item_needs_user")) == {"batchItemFailures": []}


def test_audit_finds_no_difference(sam: Sam, scene: Scene) -> None:
    report = sam.invoke("AuditFunction", scene.event("audit_item"))
    assert (report["outcome"], report["missing"], report["extra"], report["different"]) == ("clean", 0, 0, 0)
    assert report["at_plaid"] == len(scene.plaid.truth(scene.items[0]))


@pytest.fixture(scope="module")
def lambda_api(sam: Sam, scene: Scene) -> Iterator[Any]:
    """Lambda's API, served by `sam local start-lambda`."""
    assert scene.stack.emulator.running
    with sam.serving("start-lambda") as url:
        yield boto3.client(
            "lambda",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="any",
            aws_secret_access_key="any",
            config=Config(read_timeout=SAM_SECONDS, retries={"total_max_attempts": 1}, proxies={}),
        )


@pytest.mark.parametrize("name", ["webhook_base64", "webhook_item_error", *sorted(REFUSED)])
def test_start_lambda_verifies_webhooks(lambda_api: Any, scene: Scene, name: str) -> None:
    answer = lambda_api.invoke(FunctionName="WebhookFunction", Payload=json.dumps(scene.event(name)).encode())
    document = json.loads(answer["Payload"].read())
    expected = (401, {"error": REFUSED[name]}) if name in REFUSED else (200, {"result": "queued"})
    assert (document["statusCode"], json.loads(document["body"])) == expected
    assert len(scene.queued()) == (name not in REFUSED)


def test_start_api_serves_webhooks_and_the_items_api(sam: Sam, scene: Scene) -> None:
    with sam.serving("start-api") as url:
        for name, status in (("webhook_sync_updates_available", 200), ("webhook_unsigned", 401)):
            event = scene.event(name)
            headers = {key: value for key, value in event["headers"].items() if key != "content-length"}
            answer = urllib3.request(
                "POST", url + event["rawPath"], body=event["body"], headers=headers, retries=False, timeout=SAM_SECONDS
            )
            assert answer.status == status, answer.data
            queued = [json.loads(event["body"])] if status == 200 else []
            assert [message["webhook"] for message in scene.queued()] == queued
        path = scene.event("items_show")["rawPath"]
        shown = urllib3.request("GET", url + path, retries=False, timeout=SAM_SECONDS)
        assert (shown.status, shown.json()["item_id"]) == (200, scene.items[0])
