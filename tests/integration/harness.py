"""The test harness: a Plaid server, the stack's tables and queues, and the real functions, for one test.

The functions call Plaid and AWS over HTTP, as deployed, each with its own role. They run in this process, by the test's
clock, or as they were built (`functions.py`). The harness receives messages, hands them to the function and deletes
them, as Lambda's event source mapping does.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count, pairwise
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlencode

from plaid_sync.aws.dynamodb.quarantine import QuarantineTable
from plaid_sync.domain.clock import format_timestamp, read_timestamp
from plaid_sync.domain.item import ItemId

from local.comparison import Tables, compare
from local.plaid import Phase
from local.snapshot import plaid_item, plain
from tests.integration.functions import FunctionClock, InProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from datetime import datetime

    from plaid_sync.aws.dynamodb.quarantine import QuarantinedEntry

    from local.plaid import PlaidServer, PlaidSimulator
    from local.stack import LocalStack
    from tests.deployment import Deployment
    from tests.integration.functions import Functions

Record = dict[str, Any]
LONG_AGO = "2026-01-01T00:00:00.000Z"
_OVERDUE: Final = count()
_HOURS_OF_CALLS: Final = "60000"
"""Per minute: in a test, an hour passes in moments."""
CALLER = "arn:aws:iam::000000000000:user/backend"


def overdue_time() -> str:
    """Return another time long ago with each call: that of an attempt which is not leased yet."""
    return format_timestamp(read_timestamp(LONG_AGO) + timedelta(seconds=next(_OVERDUE)))


def http_event(
    method: str, path: str, body: str | None = None, query: dict[str, str] | None = None, route: str | None = None
) -> dict[str, Any]:
    """Return an event of an HTTP API, payload 2.0, whose caller has signed for IAM."""
    names = {
        "items": "item_id",
        "access-tokens": "item_id",
        "accounts": "account_id",
        "transactions": "transaction_id",
        "users": "client_user_id",
    }
    if path == "/items/import":
        names = {}
    path_of_item, called, endpoint = path.partition("/plaid/")
    steps = path_of_item.strip("/").split("/")
    parameters = {names[before]: unquote(step) for before, step in pairwise(steps) if before in names}
    template = [f"{{{names[before]}}}" if before in names else step for before, step in pairwise(["", *steps])]
    if called:
        parameters["endpoint"], template = endpoint, [*template, "plaid", "{endpoint+}"]
    key = route or f"{method} /{'/'.join(template)}"
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": key,
        "rawPath": path,
        "rawQueryString": urlencode(query or {}),
        "headers": {"content-type": "application/json"},
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "example",
            "authorizer": {"iam": {"userArn": CALLER}},
            "domainName": "example.execute-api.us-east-1.amazonaws.com",
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7"},
            "requestId": os.urandom(11).hex(),
            "routeKey": key,
            "stage": "$default",
        },
        "isBase64Encoded": False,
    }
    # API Gateway leaves out what there is none of.
    optional = {"body": body, "queryStringParameters": query, "pathParameters": parameters}
    return event | {name: value for name, value in optional.items() if value}


@dataclass(slots=True)
class World:
    """One test's Plaid, beside the deployment.

    Attributes:
        settings: environment variables of the functions that differ from the deployed ones.
    """

    deployment: Deployment
    plaid: PlaidSimulator
    server: PlaidServer
    clock: Callable[[], datetime]
    pause: Callable[[float], None] = lambda _: None
    functions: Functions = field(default_factory=InProcess)
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def stack(self) -> LocalStack:
        """The stack, with an administrator's clients for the test itself."""
        return self.deployment.stack

    @property
    def function_clock(self) -> FunctionClock:
        """The time and the waits, as the functions read them."""
        return FunctionClock(self.clock, self.pause)

    def environment(self, name: str) -> dict[str, str]:
        limit = {} if name == "sweep" else {"PLAID_CALLS_PER_MINUTE": _HOURS_OF_CALLS}
        return self.deployment.environments[name] | limit | {"PLAID_BASE_URL": self.server.base_url} | self.settings

    def invoke(self, name: str, event: object, *, time_left: float | None = None, **changes: str) -> Any:
        """Invoke a function, with so many seconds left and some of its environment changed, and return its answer."""
        return self.functions.invoke(self, name, event, time_left, changes)

    # ---- the functions

    def link(self, *, ready: bool = True, **options: Any) -> str:
        """Link an Item through `POST /items`; its whole history is ready at once, or not at all."""
        answer = self.post_items({"public_token": self.plaid.create_public_token(**options)})
        assert answer["statusCode"] == 201, answer["body"]
        item_id: str = json.loads(answer["body"])["item_id"]
        while ready and self.plaid.advance_phase(item_id) < Phase.HISTORICAL:
            pass
        return item_id

    def synced(self, **options: Any) -> str:
        """Link an Item, and sync it."""
        item_id = self.link(**options)
        self.drain()
        return item_id

    def post_items(self, body: object) -> dict[str, Any]:
        return self.request("POST", "/items", body)

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        query: dict[str, str] | None = None,
        route: str | None = None,
    ) -> dict[str, Any]:
        text = None if body is None else body if isinstance(body, str) else json.dumps(body)
        return self.call_items(http_event(method, path, text, query, route))

    def call_items(self, event: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self.invoke("items", event)
        return answer

    def post_webhook(self, body: bytes, token: str | None, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Post to `/webhooks/plaid`; keys stay in memory from one call to the next."""
        headers = {} if token is None else {"plaid-verification": token}
        request = {"body": body.decode(), "isBase64Encoded": False, "headers": headers} | (event or {})
        answer: dict[str, Any] = self.invoke("webhook", request)
        return answer

    def deliver_webhooks(self, item_id: str) -> None:
        """Deliver the webhooks about an Item that Plaid holds, and work through the queue."""
        for delivery in self.plaid.webhooks(item_id):
            if delivery.state == "held":
                delivery.state = "delivered"
                assert self.post_webhook(delivery.body, self.plaid.sign(delivery.body))["statusCode"] == 200
        self.drain()

    def restart_webhook_function(self, **changes: str) -> None:
        """Start the webhook function with an empty memory, and with some of its environment changed."""
        self.functions.restart(self, "webhook", changes)

    @contextmanager
    def webhook_queue_gone(self) -> Iterator[None]:
        """Let the webhook function's queue not exist for a while."""
        self.restart_webhook_function(SYNC_QUEUE_URL=f"{self.stack.sync_queue_url}-gone")
        yield
        self.restart_webhook_function()

    def audit(self, event: dict[str, Any], time_left: float = 900.0) -> dict[str, Any]:
        answer: dict[str, Any] = self.invoke("audit", event, time_left=time_left)
        return answer

    def sweep(self, calls_per_minute: int | None = None) -> dict[str, int]:
        """Invoke the sweep; no Item of another world is due, for they share the table."""
        self._forget_other_worlds()
        changes = {} if calls_per_minute is None else {"PLAID_CALLS_PER_MINUTE": str(calls_per_minute)}
        answer: dict[str, int] = self.functions.invoke(self, "sweep", {}, None, changes)
        return answer

    def _forget_other_worlds(self) -> None:
        dynamodb = self.stack.client("dynamodb")
        pages = dynamodb.get_paginator("scan").paginate(TableName=self.stack.items_table, IndexName="by_next_attempt")
        for row in (row for page in pages for row in page["Items"]):
            if row["item_id"]["S"] not in self.plaid.items:
                dynamodb.update_item(
                    TableName=self.stack.items_table,
                    Key={"item_id": row["item_id"]},
                    UpdateExpression="REMOVE next_attempt_at, attempt_shard",
                )

    def make_due(self, item_id: str) -> None:
        """Let the time of an Item's next attempt come."""
        self.set_attribute(item_id, "next_attempt_at", {"S": overdue_time()})

    def attempt_due(self, item_id: str) -> None:
        """Let the time of an Item's next attempt come, sweep, and handle what is enqueued."""
        self.make_due(item_id)
        self.sweep()
        self.drain()

    # ---- the queue

    def receive(self) -> list[Record]:
        return received(self.stack.client("sqs"), self.stack.sync_queue_url, 10)

    def handle(self, records: list[Record]) -> set[str]:
        """Give a batch to the sync function and delete what it does not report as failed; return what it does."""
        answer = self.invoke("sync", {"Records": records})
        failed = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
        assert failed <= {record["messageId"] for record in records}
        for record in records:
            if record["messageId"] not in failed:
                self.delete(record)
        self.redeliver([record for record in records if record["messageId"] in failed])  # the minute passes at once
        return failed

    def delete(self, record: Record) -> None:
        sqs = self.stack.client("sqs")
        with stale_receipts_allowed(sqs):
            sqs.delete_message(QueueUrl=self.stack.sync_queue_url, ReceiptHandle=record["receiptHandle"])

    def redeliver(self, records: list[Record]) -> None:
        """Let the visibility timeout of messages that are still in the queue run out now."""
        sqs = self.stack.client("sqs")
        for record in records:
            with stale_receipts_allowed(sqs):
                sqs.change_message_visibility(
                    QueueUrl=self.stack.sync_queue_url, ReceiptHandle=record["receiptHandle"], VisibilityTimeout=0
                )

    def drain(self) -> int:
        """Handle batches until the queue is empty; return how many."""
        batches = 0
        while records := self.receive():
            self.handle(records)
            batches += 1
            assert batches < 100, "the queue does not empty"
        return batches

    def enqueue(self, item_id: str, cause: str = "request") -> None:
        """Enqueue a sync by hand."""
        self.stack.client("sqs").send_message(
            QueueUrl=self.stack.sync_queue_url,
            MessageBody=json.dumps({"item_id": item_id, "cause": cause}),
            MessageGroupId=item_id,
            MessageDeduplicationId=os.urandom(16).hex(),
        )

    def sync(self, item_id: str) -> None:
        self.enqueue(item_id)
        self.drain()

    def retry(self, records: list[Record]) -> None:
        """Receive and handle messages again, now."""
        self.redeliver(records)
        self.drain()

    def waiting(self) -> int:
        """Return how many messages are in the queue, hidden ones included."""
        attributes = self.stack.client("sqs").get_queue_attributes(
            QueueUrl=self.stack.sync_queue_url, AttributeNames=["All"]
        )["Attributes"]
        return int(attributes["ApproximateNumberOfMessages"]) + int(attributes["ApproximateNumberOfMessagesNotVisible"])

    def dead_letters(self) -> list[dict[str, Any]]:
        """Take what is in the dead-letter queue."""
        return self.take(self.stack.dead_letter_queue_url)

    def take(self, url: str) -> list[dict[str, Any]]:
        """Take up to ten messages out of a queue."""
        sqs = self.stack.client("sqs")
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"])
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        for message in messages:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return messages

    # ---- the tables

    def item(self, item_id: str) -> dict[str, Any]:
        answer = self.stack.client("dynamodb").get_item(
            TableName=self.stack.items_table, Key={"item_id": {"S": item_id}}, ConsistentRead=True
        )
        return plain(answer.get("Item", {}))

    def set_attribute(self, item_id: str, name: str, value: dict[str, Any]) -> None:
        self.stack.client("dynamodb").update_item(
            TableName=self.stack.items_table,
            Key={"item_id": {"S": item_id}},
            UpdateExpression="SET #name = :value",
            ExpressionAttributeNames={"#name": name},
            ExpressionAttributeValues={":value": value},
        )

    def rows(self, item_id: str) -> dict[str, dict[str, Any]]:
        """Return all rows of an Item, tombstones included."""
        pages = (
            self.stack.client("dynamodb")
            .get_paginator("query")
            .paginate(
                TableName=self.stack.transactions_table,
                ConsistentRead=True,
                KeyConditionExpression="item_id = :item_id",
                ExpressionAttributeValues={":item_id": {"S": item_id}},
            )
        )
        rows = [plain(attributes) for page in pages for attributes in page["Items"]]
        return {row["transaction_id"]: row for row in rows}

    def live(self, item_id: str) -> dict[str, dict[str, Any]]:
        return {key: row for key, row in self.rows(item_id).items() if "removed_at" not in row}

    def quarantined(self, item_id: str) -> list[QuarantinedEntry]:
        """Return the broken entries that are kept of an Item, as an operator's tool reads them."""
        tables = self.stack.items_table, self.stack.quarantine_table
        table = QuarantineTable(self.stack.client("dynamodb"), *tables, self.function_clock)
        return list(table.entries(ItemId(item_id)))

    def assert_exact(self, item_id: str, except_for: Collection[str] = (), state: str = "active") -> None:
        """Assert that the Item is recovered, and that the table equals Plaid's truth, row by row and field by field.

        Rows in `except_for` are not looked at. `state` is the Item's.
        """
        record = self.item(item_id)
        assert record["state"] == state
        plaid = plaid_item(self.plaid, item_id)
        truth = {key: row for key, row in plaid.rows.items() if key not in except_for}
        rows = [row for key, row in self.rows(item_id).items() if key not in except_for]
        tables = Tables(items=[record | {"state": "active"}], transactions=rows)
        assert compare([replace(plaid, rows=truth)], tables).differences == []


def received(sqs: Any, queue_url: str, most: int) -> list[Record]:
    """Receive messages the way the event source mapping hands them to a function."""
    messages = sqs.receive_message(
        QueueUrl=queue_url,
        MaxNumberOfMessages=most,
        AttributeNames=["All"],
        MessageAttributeNames=["All"],
        WaitTimeSeconds=0,
    )
    return [
        {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": message["Attributes"],
            "messageAttributes": {
                name: {"stringValue": attribute["StringValue"], "dataType": attribute["DataType"]}
                for name, attribute in message.get("MessageAttributes", {}).items()
            },
            "eventSource": "aws:sqs",
        }
        for message in messages.get("Messages", [])
    ]


@contextmanager
def stale_receipts_allowed(sqs: Any) -> Iterator[None]:
    """Tolerate a message that was acknowledged, or received again, since this receipt."""
    with suppress(sqs.exceptions.ReceiptHandleIsInvalid, sqs.exceptions.MessageNotInflight):
        yield
