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

from local.plaid import PlaidSimulator, SimulatedClock
from local.plaid.webhooks import ITEM_CODES, TRANSACTIONS_CODES, payload

Event = dict[str, Any]

SEED = 7
WRITTEN_AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
FOLDER = Path(__file__).parents[1] / "tests" / "events"
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
            "items_link": self._http("/items", {"public_token": "public-sandbox-00000000"}),
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

    def _http(self, path: str, body: object) -> Event:
        return self._request(path, json.dumps(body), {"content-type": "application/json"})

    def _request(self, path: str, body: str, headers: dict[str, str]) -> Event:
        """Return an event of an HTTP API, payload 2.0."""
        route = f"POST {path}"
        return {
            "version": "2.0",
            "routeKey": route,
            "rawPath": path,
            "rawQueryString": "",
            "headers": headers,
            "requestContext": {
                "accountId": "000000000000",
                "apiId": "example",
                "domainName": "example.execute-api.us-east-1.amazonaws.com",
                "http": {"method": "POST", "path": path, "protocol": "HTTP/1.1", "sourceIp": "52.21.26.131"},
                "requestId": "JKJaXmPLvHcESHA=",
                "routeKey": route,
                "stage": "$default",
                "timeEpoch": int(self._now.timestamp() * 1000),
            },
            "body": body,
            "isBase64Encoded": False,
        }

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
