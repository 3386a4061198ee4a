"""Sample events for the functions: what API Gateway and SQS hand to them, with genuine signatures.

`tests/events/*.json` are written by this program for one fixed moment. A webhook's signature is good for five minutes,
so to invoke a function with one now, print it anew:

    python -m local.events webhook_sync_updates_available | sam local invoke WebhookFunction -e -

The signing key is the one of `python -m local.plaid --seed 7`, which serves its public half.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from local.plaid import PlaidSimulator, SimulatedClock
from local.plaid.webhooks import ITEM_CODES, TRANSACTIONS_CODES, payload

Event = dict[str, Any]

SEED = 7
WRITTEN_AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
FOLDER = Path(__file__).parents[1] / "tests" / "events"
ITEM_ID = "item-a"
WEBHOOK_URL = "https://example.execute-api.us-east-1.amazonaws.com/webhooks/plaid"


class Samples:
    """All sample events, as they would be at one moment."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._plaid = PlaidSimulator(seed=SEED, clock=SimulatedClock(now))
        linked = self._plaid.link_item(webhook_url=WEBHOOK_URL)
        self._item = self._plaid.item(linked.item_id)

    def all(self) -> dict[str, Event]:
        """Return the events by name."""
        codes = [("TRANSACTIONS", code) for code in TRANSACTIONS_CODES] + [("ITEM", code) for code in ITEM_CODES]
        events = {self._name(kind, code): self._webhook(self._body(kind, code)) for kind, code in codes}
        body = self._body("TRANSACTIONS", "SYNC_UPDATES_AVAILABLE")
        changed = body.replace(b'"item_id": "', b'"item_id": "x')
        return events | {
            "webhook_base64": self._encoded(body),
            "webhook_forged_body": self._webhook(changed, self._plaid.sign(body)),
            "webhook_forged_signature": self._webhook(body, self._plaid.forge(body, "ES256")),
            "webhook_unsigned": self._webhook(body, None),
            **self._api_requests(),
            "changes_item_needs_user": {"Records": [self._stream_record()]},
            "audit_item": {"item_id": self._item.item_id, "values": False},
            "audit_sample": {"sample": 5},
            "sync_batch_of_two_items": {"Records": [*self._records("item-a", 2), *self._records("item-b", 1)]},
        }

    def _name(self, kind: str, code: str) -> str:
        prefix = "" if kind == "TRANSACTIONS" else f"{kind.lower()}_"
        return f"webhook_{prefix}{code.lower()}"

    def _body(self, kind: str, code: str) -> bytes:
        return json.dumps(payload(self._item, kind, code, "sandbox", self._now), indent=2).encode()

    def _webhook(self, body: bytes, token: str | None = "") -> Event:
        headers = {"content-type": "application/json", "content-length": str(len(body))}
        if token is not None:
            headers["plaid-verification"] = token or self._plaid.sign(body)
        return self._request("/webhooks/plaid", body.decode(), headers)

    def _encoded(self, body: bytes) -> Event:
        event = self._webhook(body)
        return event | {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}

    def _api_requests(self) -> dict[str, Event]:
        """Return a request for every route of the Items API."""
        item = "/items/{item_id}"
        session = {"link_token": "link-sandbox-00000000", "client_user_id": "user-17"}
        return {
            "items_link_token": self._http("POST /link-tokens", {"client_user_id": "user-17"}),
            "items_link": self._http("POST /items", {"public_token": "public-sandbox-00000000"}),
            "items_link_session": self._http("POST /items", {"public_token": "public-sandbox-00000000", **session}),
            "items_list": self._http("GET /items", query={"state": "needs_user"}),
            "items_show": self._http(f"GET {item}"),
            "items_history": self._http(f"GET {item}/history", query={"limit": "10"}),
            "items_transactions": self._http(f"GET {item}/transactions", query={"limit": "10"}),
            "items_sync": self._http(f"POST {item}/sync"),
            "items_refresh": self._http(f"POST {item}/refresh"),
            "items_resync": self._http(f"POST {item}/resync"),
            "items_webhook": self._http(f"POST {item}/webhook"),
            "items_accounts": self._http(f"POST {item}/accounts"),
            "items_remove": self._http(f"DELETE {item}", query={"transactions": "erase"}),
        }

    def _http(self, route: str, body: object = None, query: dict[str, str] | None = None) -> Event:
        """Return a request of a caller that IAM knows; API Gateway leaves out what there is none of."""
        path = route.split(" ")[1].replace("{item_id}", ITEM_ID)
        text = None if body is None else json.dumps(body)
        event = self._request(path, text, {"content-type": "application/json"}, route)
        caller = {"iam": {"userArn": "arn:aws:iam::000000000000:user/backend"}}
        event["requestContext"] = event["requestContext"] | {"authorizer": caller}
        if "{item_id}" in route:
            event["pathParameters"] = {"item_id": ITEM_ID}
        if query:
            event |= {"queryStringParameters": query, "rawQueryString": urlencode(query)}
        return event

    def _stream_record(self) -> Event:
        """Return a record of the History table's stream."""
        at = "2026-03-01T12:00:00.000Z"
        texts = {"item_id": ITEM_ID, "entry_id": f"{at}#g7", "at": at, "kind": "sync", "outcome": "needs_user"}
        states = {"status_before": "active", "status": "needs_user", "code": "ITEM_LOGIN_REQUIRED"}
        image = {name: {"S": text} for name, text in (texts | states | {"announcements": "ItemNeedsUser"}).items()}
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
        """Return an event of an HTTP API, payload 2.0."""
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
                "timeEpoch": int(self._now.timestamp() * 1000),
            },
            "isBase64Encoded": False,
        }
        return event if body is None else event | {"body": body}

    def _records(self, item_id: str, count: int) -> list[Event]:
        """Return records of the sync queue's event source mapping."""
        sent = int(self._now.timestamp() * 1000)
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


def main(arguments: list[str] | None = None) -> int:
    """Print or write events; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m local.events", description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", help="print this event, signed now; without a name, list the names")
    parser.add_argument("--write", action="store_true", help="write all of them to tests/events, for a fixed moment")
    options = parser.parse_args(arguments)
    if options.write:
        for name, event in Samples(WRITTEN_AT).all().items():
            (FOLDER / f"{name}.json").write_text(json.dumps(event, indent=2) + "\n")
        return 0
    events = Samples(datetime.now(UTC)).all()
    if options.name is None:
        print("\n".join(sorted(events)))
        return 0
    if options.name not in events:
        print(f"There is no event {options.name}; there are: {', '.join(sorted(events))}", file=sys.stderr)
        return 2
    print(json.dumps(events[options.name], indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
