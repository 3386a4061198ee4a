"""Other products on the deployed stack: webhooks reach the bus, calls return Plaid's response, no token is shown."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

import pytest

from local.demo.application import Application
from local.plaid import Phase
from tests.e2e.running_stack import Running, running_stack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.stack import LocalStack

PATIENCE_SECONDS: Final = 60.0
CALLS: Final[dict[str, dict[str, Any]]] = {
    "/accounts/balance/get": {},
    "/investments/holdings/get": {"options": {}},
    "/liabilities/get": {},
    "/transactions/recurring/get": {},
}


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with running_stack(seed=73) as running:
        yield running


@pytest.fixture
def events(running: Running) -> str:
    """A queue of the application's, with a rule that puts Plaid's webhooks there."""
    sqs, bus = running.stack.client("sqs"), running.stack.resources.id("EventBus")
    url: str = sqs.create_queue(QueueName="products")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    rules, pattern = running.stack.client("events"), json.dumps({"detail-type": ["PlaidWebhook"]})
    rules.put_rule(Name="products", EventBusName=bus, EventPattern=pattern, State="ENABLED")
    rules.put_targets(Rule="products", EventBusName=bus, Targets=[{"Id": "queue", "Arn": arn}])
    return url


def next_event(stack: LocalStack, url: str, webhook_type: str) -> dict[str, Any]:
    sqs, deadline = stack.client("sqs"), time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", []):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            detail: dict[str, Any] = json.loads(message["Body"])["detail"]
            if detail["webhook_type"] == webhook_type:
                return detail
    pytest.fail(f"no {webhook_type} webhook on the bus")


def linked(running: Running, application: Application) -> str:
    """Link an Item with investments, and wait for its first sync."""
    products = {"products": ["transactions", "investments"]}
    token = application.call("POST", "/link-tokens", {"client_user_id": "user-1", **products})["link_token"]
    link = {"link_token": token, "client_user_id": "user-1"}
    public_token = running.plaid.complete_link(token)
    item_id: str = application.call("POST", "/items", {**link, "public_token": public_token})["item_id"]
    while running.plaid.item(item_id).phase < Phase.HISTORICAL:
        time.sleep(0.1)
    application.call("POST", f"/items/{item_id}/sync?wait=20")
    return item_id


def everything_put_out(running: Running, item_id: str, events: list[dict[str, Any]]) -> str:
    """Return the logs of all functions, the events, the history and the access log."""
    stack = running.stack
    logs = [stack.logs(name) for name in stack.functions]
    key = {"KeyConditionExpression": "item_id = :item", "ExpressionAttributeValues": {":item": {"S": item_id}}}
    history = stack.client("dynamodb").query(TableName=stack.history_table, **key)["Items"]
    shared = stack.client("dynamodb").scan(TableName=stack.shared_table)["Items"]
    return "\n".join([*logs, str(events), str(history), str(shared)])


def test_a_webhook_reaches_the_bus_and_calls_return_plaids_response_and_nothing_shows_the_token(
    running: Running, events: str
) -> None:
    stack, application = running.stack, Application.create(running.stack)
    item_id = linked(running, application)
    running.plaid.change_product(item_id, "holdings")
    reported = next_event(stack, events, "HOLDINGS")
    assert (reported["webhook_code"], reported["item_id"]) == ("DEFAULT_UPDATE", item_id)
    sent: dict[str, bytes] = {}
    running.plaid.observer = lambda path, _request, _status, response: sent.__setitem__(path, response)
    responses = [application.send("POST", f"/items/{item_id}/plaid{path}", body) for path, body in CALLS.items()]
    assert [(response.status, response.data) for response in responses] == [(200, sent[path]) for path in CALLS]
    assert all(response.headers["content-type"] == "application/json; charset=utf-8" for response in responses)
    request_ids = [json.loads(response.data)["request_id"] for response in responses]
    assert [response.headers["plaid-request-id"] for response in responses] == request_ids
    history = application.call("GET", f"/items/{item_id}/history")["history"]
    called = [entry for entry in history if "endpoint" in entry][::-1]
    assert [entry["endpoint"] for entry in called] == list(CALLS)
    assert [entry["plaid_request_ids"] for entry in called] == [[request_id] for request_id in request_ids]
    assert {entry["outcome"] for entry in called} == {"done"}
    assert all(entry["caller"].endswith(":user/demo-application") for entry in called)
    access_token = running.plaid.item(item_id).access_token
    shown = everything_put_out(running, item_id, [reported])
    assert item_id in shown
    assert "POST /items/{item_id}/plaid/{endpoint+}" in shown
    for secret in (access_token, access_token.rpartition("-")[2], running.plaid.secret):
        assert secret not in shown
        assert not any(secret.encode() in response.data for response in responses)
    balance = str(running.plaid.account_rows(item_id)[0]["balances"]["current"])
    assert balance in responses[0].data.decode()
    assert balance not in shown, "no log and no history has an amount"
