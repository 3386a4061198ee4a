"""`sam local start-lambda` with every sample event, and `sam local start-api` over HTTP."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import boto3
import pytest
import urllib3
from botocore.config import Config

from local.events import WRITTEN_AT, FixedSubject, Samples
from local.events.running import RunningSubject
from local.events.samples import function_of
from local.stack.paths import say
from tests.component.test_events import QUEUED, REFUSED
from tests.sam_local.sam import PATIENCE_SECONDS, failed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sam_local.sam import Sam
    from tests.sam_local.scene import Scene

SAMPLES: Final = Samples(FixedSubject(WRITTEN_AT)).names
STATUSES: Final = {
    "items_link": 201,
    "items_link_session": 201,
    "items_link_token": 201,
    "items_remove": 202,
    "items_resync": 202,
    "items_sync": 202,
    "items_refresh": 202,
}
"""All other requests are answered 200."""


@pytest.fixture(scope="module")
def lambda_api(sam: Sam) -> Iterator[Any]:
    """Lambda's API, served by `sam local start-lambda`."""
    with sam.serving("start-lambda") as url:
        yield boto3.client(
            "lambda",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="any",
            aws_secret_access_key="any",
            config=Config(read_timeout=PATIENCE_SECONDS, retries={"total_max_attempts": 1}, proxies={}),
        )


@pytest.fixture(scope="module")
def http_api(sam: Sam) -> Iterator[str]:
    """The HTTP API, served by `sam local start-api`."""
    with sam.serving("start-api") as url:
        yield url


def invoke(lambda_api: Any, function: str, event: object) -> Any:
    answer = lambda_api.invoke(FunctionName=f"{function.title()}Function", Payload=json.dumps(event).encode())
    document = json.loads(answer["Payload"].read())
    assert not failed(document), document
    return document


@pytest.mark.parametrize("name", [name for name in SAMPLES if function_of(name) == "webhook"])
def test_every_webhook_is_answered_as_its_name_says(lambda_api: Any, scene: Scene, name: str) -> None:
    answer = invoke(lambda_api, "webhook", scene.event(name))
    document, queued = json.loads(answer["body"]), scene.queued()
    if name in REFUSED:
        assert (answer["statusCode"], document, queued) == (401, {"error": REFUSED[name]}, [])
    else:
        wanted = name in QUEUED
        assert (answer["statusCode"], document) == (200, {"result": "queued" if wanted else "ignored"})
        assert [message["cause"] for message in queued] == (["webhook"] if wanted else [])


@pytest.mark.parametrize("name", [name for name in SAMPLES if function_of(name) == "items" and "remove" not in name])
def test_every_request_is_served(lambda_api: Any, scene: Scene, name: str) -> None:
    answer = invoke(lambda_api, "items", scene.event(name))
    assert answer["statusCode"] == STATUSES.get(name, 200), answer


def test_an_item_is_removed(lambda_api: Any, scene: Scene) -> None:
    linked = json.loads(invoke(lambda_api, "items", scene.event("items_link"))["body"])["item_id"]
    other = Samples(RunningSubject(scene.subject.stack, say, linked))
    assert invoke(lambda_api, "items", other.event("items_remove"))["statusCode"] == STATUSES["items_remove"]
    scene.queued()


@pytest.mark.parametrize("name", [name for name in SAMPLES if function_of(name) in {"sync", "changes"}])
def test_every_batch_is_worked_through(lambda_api: Any, scene: Scene, name: str) -> None:
    assert invoke(lambda_api, function_of(name), scene.event(name)) == {"batchItemFailures": []}


def test_the_sweep_and_the_sampled_audit_run(lambda_api: Any, scene: Scene) -> None:
    invoke(lambda_api, "sync", scene.event("sync_batch_of_two_items"))
    assert invoke(lambda_api, "sweep", scene.event("sweep_scheduled"))["waiting"] == 0
    sampled = invoke(lambda_api, "audit", scene.event("audit_sample"))
    outcomes = {report["item_id"]: report["outcome"] for report in sampled["reports"]}
    assert [outcomes[item_id] for item_id in scene.items] == ["clean", "clean"]
    assert invoke(lambda_api, "audit", scene.event("audit_item"))["outcome"] == "clean"


@pytest.mark.parametrize(("name", "status"), [("webhook_sync_updates_available", 200), ("webhook_unsigned", 401)])
def test_a_webhook_is_posted_to_the_served_api(http_api: str, scene: Scene, name: str, status: int) -> None:
    event = scene.event(name)
    headers = {name: value for name, value in event["headers"].items() if name != "content-length"}
    url = f"{http_api}{event['rawPath']}"
    answer = urllib3.request("POST", url, body=event["body"], headers=headers, retries=False, timeout=PATIENCE_SECONDS)
    assert answer.status == status, answer.data
    queued = [json.loads(event["body"])] if status == 200 else []
    assert [message["webhook"] for message in scene.queued()] == queued


def test_an_item_is_read_from_the_served_api(http_api: str, scene: Scene) -> None:
    event = scene.event("items_show")
    answer = urllib3.request("GET", f"{http_api}{event['rawPath']}", retries=False, timeout=PATIENCE_SECONDS)
    assert (answer.status, answer.json()["item_id"]) == (200, scene.items[0])


def test_no_sample_is_left_out() -> None:
    tested = {"webhook", "items", "sync", "changes", "sweep", "audit"}
    assert {function_of(name) for name in SAMPLES} == tested
