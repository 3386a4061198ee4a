"""The sample events by name; the first word of a name is the function."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.events.subjects import FixedSubject, RunningSubject

Event = dict[str, Any]

_RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
"""The public key of the examples in age's README."""
ENDPOINT = "accounts/balance/get"
FOLDER = Path(__file__).parents[2] / "tests" / "events"


def function_of(name: str) -> str:
    return name.partition("_")[0]


class Samples:
    """All sample events of one subject. Each call creates an event: its tokens may be valid only once."""

    def __init__(self, subject: FixedSubject | RunningSubject) -> None:
        self._subject = subject
        self._makers: dict[str, Callable[[], Event]] = {
            **self._webhooks(),
            **self._api_requests(),
            "sync_batch_of_two_items": self._batch_of_two_items,
            "sweep_scheduled": self._scheduled,
            "audit_item": lambda: {"item_id": subject.item_id, "values": False},
            "audit_sample": lambda: {"sample": 5},
            "changes_item_needs_user": lambda: {"Records": [self._stream_record()]},
            "outbound_item_needs_user": lambda: {"Records": [self._bus_message()]},
        }

    @property
    def names(self) -> list[str]:
        return sorted(self._makers)

    def event(self, name: str) -> Event:
        return self._makers[name]()

    def _webhooks(self) -> dict[str, Callable[[], Event]]:
        return {
            "webhook_sync_updates_available": self._genuine("TRANSACTIONS", "SYNC_UPDATES_AVAILABLE"),
            "webhook_recurring_transactions_update": self._genuine("TRANSACTIONS", "RECURRING_TRANSACTIONS_UPDATE"),
            "webhook_item_error": self._genuine("ITEM", "ERROR"),
            "webhook_base64": self._encoded,
            "webhook_forged_body": self._with_forged_body,
            "webhook_forged_signature": self._with_forged_signature,
            "webhook_unsigned": lambda: self._webhook(self._update(), None),
        }

    def _update(self) -> bytes:
        return self._subject.body("TRANSACTIONS", "SYNC_UPDATES_AVAILABLE")

    def _genuine(self, kind: str, code: str) -> Callable[[], Event]:
        def make() -> Event:
            body = self._subject.body(kind, code)
            return self._webhook(body, self._subject.sign(body))

        return make

    def _encoded(self) -> Event:
        body = self._update()
        event = self._webhook(body, self._subject.sign(body))
        return event | {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}

    def _with_forged_body(self) -> Event:
        body = self._update()
        changed = body.replace(b'"item_id": "', b'"item_id": "x')
        return self._webhook(changed, self._subject.sign(body))

    def _with_forged_signature(self) -> Event:
        body = self._update()
        return self._webhook(body, self._subject.forge(body))

    def _webhook(self, body: bytes, token: str | None) -> Event:
        headers = {"content-type": "application/json", "content-length": str(len(body))}
        if token is not None:
            headers["plaid-verification"] = token
        return self._request("/webhooks/plaid", body.decode(), headers)

    def _api_requests(self) -> dict[str, Callable[[], Event]]:
        item = "/items/{item_id}"
        account = f"{item}/accounts/{{account_id}}"
        annotations = f"{item}/transactions/{{transaction_id}}/annotations"
        any_version = {"if-match": "*"}
        return {
            "items_link_token": lambda: self._http("POST /link-tokens", {"client_user_id": "user-17"}),
            "items_link": lambda: self._http("POST /items", {"public_token": self._subject.public_token()}),
            "items_link_session": lambda: self._http("POST /items", asdict(self._subject.link_session())),
            "items_import": lambda: self._http(
                "POST /items/import",
                {"access_token": self._subject.foreign_access_token(), "client_user_id": "user-17"},
            ),
            "items_restore_webhook": lambda: self._http(f"DELETE {item}/webhook"),
            "items_list": lambda: self._http("GET /items", query={"state": "needs_user"}),
            "items_show": lambda: self._http(f"GET {item}"),
            "items_history": lambda: self._http(f"GET {item}/history", query={"limit": "10"}),
            "items_transactions": lambda: self._http(f"GET {item}/transactions", query={"limit": "10"}),
            "items_annotations": lambda: self._http(f"GET {annotations}"),
            "items_annotate": lambda: self._http(f"PATCH {annotations}", {"note": "lunch"}, headers=any_version),
            "items_drop_annotations": lambda: self._http(f"DELETE {annotations}", headers=any_version),
            "items_review_annotations": lambda: self._http(f"GET {item}/annotations/review"),
            "items_transaction": lambda: self._http(f"GET {item}/transactions/{{transaction_id}}"),
            "items_account_transactions": lambda: self._http(
                f"GET {account}/transactions", query={"order": "newest", "limit": "10"}
            ),
            "items_sync": lambda: self._http(f"POST {item}/sync"),
            "items_refresh": lambda: self._http(f"POST {item}/refresh"),
            "items_resync": lambda: self._http(f"POST {item}/resync"),
            "items_webhook": lambda: self._http(f"POST {item}/webhook"),
            "items_accounts": lambda: self._http(f"POST {item}/accounts"),
            "items_call_endpoint": lambda: self._http(f"POST {item}/plaid/{{endpoint+}}", {"options": {}}),
            "items_erase_account": lambda: self._http(f"DELETE {account}"),
            "items_restore_account": lambda: self._http(f"POST {account}/restore"),
            "items_rotate_token": lambda: self._http(f"POST {item}/access-token/rotate"),
            "items_export_token": lambda: self._http("POST /access-tokens/{item_id}/export", {"recipient": _RECIPIENT}),
            "items_remove": lambda: self._http(f"DELETE {item}", query={"transactions": "erase"}),
            "items_erase_user": lambda: self._http("DELETE /users/{client_user_id}"),
        }

    def _http(
        self,
        route: str,
        body: object = None,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Event:
        """Return a request of an IAM caller; like API Gateway, omit absent values."""
        path, parameters = route.split(" ")[1], {}
        for name in ("item_id", "account_id", "transaction_id", "client_user_id"):
            if f"{{{name}}}" in path:  # only then: a running stack may have no Item yet
                parameters[name] = getattr(self._subject, name)
                path = path.replace(f"{{{name}}}", parameters[name])
        if "{endpoint+}" in path:
            parameters["endpoint"] = ENDPOINT
            path = path.replace("{endpoint+}", ENDPOINT)
        text = None if body is None else json.dumps(body)
        event = self._request(path, text, {"content-type": "application/json"} | (headers or {}), route)
        caller = {"iam": {"userArn": "arn:aws:iam::000000000000:user/backend"}}
        event["requestContext"] = event["requestContext"] | {"authorizer": caller}
        if parameters:
            event["pathParameters"] = parameters
        if query:
            event |= {"queryStringParameters": query, "rawQueryString": urlencode(query)}
        return event

    def _bus_message(self) -> Event:
        """Return the message by which EventBridge puts an event into the queue of outbound webhooks."""
        at = f"{self._subject.now:%Y-%m-%dT%H:%M:%S}.000Z"
        detail = {"item_id": self._subject.item_id, "entry_id": f"{at}#g7", "at": at, "state": "needs_user"}
        event = {"id": "1", "source": "plaid-sync-engine", "detail-type": "ItemNeedsUser", "detail": detail}
        return {
            "messageId": "00000000-0000-4000-8000-000000000001",
            "receiptHandle": "1",
            "body": json.dumps(event),
            "attributes": {"ApproximateReceiveCount": "1"},
            "messageAttributes": {},
            "eventSource": "aws:sqs",
            "awsRegion": "us-east-1",
        }

    def _stream_record(self) -> Event:
        at = f"{self._subject.now:%Y-%m-%dT%H:%M:%S}.000Z"
        texts = {
            "item_id": self._subject.item_id,
            "entry_id": f"{at}#g7",
            "at": at,
            "kind": "sync",
            "outcome": "needs_user",
        }
        states = {"state_before": "active", "state": "needs_user", "code": "ITEM_LOGIN_REQUIRED"}
        image = {name: {"S": text} for name, text in (texts | states | {"published_events": "ItemNeedsUser"}).items()}
        return {
            "eventID": "1",
            "eventName": "INSERT",
            "eventSource": "aws:dynamodb",
            "awsRegion": "us-east-1",
            "dynamodb": {
                "Keys": {name: image[name] for name in ("item_id", "entry_id")},
                "NewImage": image | {"causes": {"L": [{"S": "webhook ITEM ERROR"}]}, "generation": {"N": "7"}},
                "SequenceNumber": "111",
                "StreamViewType": "NEW_IMAGE",
            },
        }

    def _request(self, path: str, body: str | None, headers: dict[str, str], route: str | None = None) -> Event:
        """Return an event of an HTTP API, payload version 2.0."""
        route = route or f"POST {path}"
        event = {
            "version": "2.0",
            "routeKey": route,
            "rawPath": path,
            "rawQueryString": "",
            "headers": headers,
            "requestContext": {
                "accountId": "000000000000",
                "apiId": "example",
                "domainName": "example.execute-api.us-east-1.amazonaws.com",
                "http": {
                    "method": route.split(" ")[0],
                    "path": path,
                    "protocol": "HTTP/1.1",
                    "sourceIp": "52.21.26.131",
                },
                "requestId": "JKJaXmPLvHcESHA=",
                "routeKey": route,
                "stage": "$default",
                "timeEpoch": int(self._subject.now.timestamp() * 1000),
            },
            "isBase64Encoded": False,
        }
        return event if body is None else event | {"body": body}

    def _batch_of_two_items(self) -> Event:
        first, second = self._subject.item_id, self._subject.other_item_id
        return {"Records": [*self._records(first, 2), *self._records(second, 1)]}

    def _scheduled(self) -> Event:
        return {
            "version": "0",
            "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
            "detail-type": "Scheduled Event",
            "source": "aws.events",
            "account": "000000000000",
            "time": f"{self._subject.now:%Y-%m-%dT%H:%M:%SZ}",
            "region": "us-east-1",
            "resources": ["arn:aws:events:us-east-1:000000000000:rule/sweep"],
            "detail": {},
        }

    def _records(self, item_id: str, count: int) -> list[Event]:
        sent = int(self._subject.now.timestamp() * 1000)
        return [
            {
                "messageId": f"{item_id}-message-{number}",
                "receiptHandle": f"{item_id}-receipt-{number}",
                "body": json.dumps({"item_id": item_id, "cause": "request"}),
                "attributes": {
                    "ApproximateReceiveCount": "1",
                    "SentTimestamp": str(sent + number),
                    "SequenceNumber": f"1887{number:016}",
                    "MessageGroupId": item_id,
                    "MessageDeduplicationId": f"{item_id}-{number}",
                    "SenderId": "AROAEXAMPLE:webhook",
                    "ApproximateFirstReceiveTimestamp": str(sent + 20),
                },
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:sync.fifo",
                "awsRegion": "us-east-1",
            }
            for number in range(count)
        ]
