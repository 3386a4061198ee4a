"""The CPU time of a genuine webhook: `PYTHONPATH=layers/plaid_sync python -m tests.bench.webhook`.

The webhook function and a bare handler receive the same delivery, in turns, in one process whose CPU time is measured.
SQS and DynamoDB are another process that accepts everything. The bare handler sends the same message with an SQS client
as boto3 makes it, verifies nothing, and neither logs nor measures.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from importlib import import_module
from random import Random
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import boto3
import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from plaid_sync.plaid.verification_keys import parse_key
from plaid_sync.webhook.keys import VerificationKeys
from plaid_sync.webhook.signature import parse_signature, verify

from local.plaid import utc_now
from local.plaid.keys import KeyRing
from tests.bench.figures import Figure, Table
from tests.fakes.shared import FakeSharedState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plaid_sync.webhook.signature import VerificationKey

ROUNDS: Final = 15
DELIVERIES: Final = 60
"""Of a round."""
VERIFICATIONS: Final = 400
TARGET: Final = 1.6
"""Times the bare handler."""
BODY: Final = json.dumps(
    {
        "environment": "production",
        "historical_update_complete": True,
        "initial_update_complete": True,
        "item_id": "wz666MBjYWTp2PDzzggYhM6oWWmBb",
        "webhook_code": "SYNC_UPDATES_AVAILABLE",
        "webhook_type": "TRANSACTIONS",
    },
    indent=2,
).encode()
_RESPONSE: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: %d\r\n\r\n%s"
ENVIRONMENT: Final = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "none") | {
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "PLAID_ENV": "production",
    "PLAID_SECRET_ID": "secret",
    "SYNC_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/000000000000/sync.fifo",
    "HISTORY_TABLE": "history",
    "SHARED_TABLE": "shared",
    "ITEMS_FUNCTION": "items:live",
    "POWERTOOLS_SERVICE_NAME": "plaid-sync",
    "POWERTOOLS_METRICS_NAMESPACE": "PlaidSync",
    "POWERTOOLS_LOG_LEVEL": "INFO",
    "AWS_LAMBDA_FUNCTION_NAME": "webhook",
}


class OneKey:
    """Plaid's /webhook_verification_key/get."""

    def __init__(self, key: VerificationKey) -> None:
        self.key = key

    def fetch(self, _key_id: str) -> VerificationKey:
        return self.key


def measure() -> Table:
    """Measure both handlers and the verification alone, in turns."""
    with _servers() as endpoint:
        os.environ |= ENVIRONMENT | {"AWS_ENDPOINT_URL": endpoint}
        ring = KeyRing(Random(7), utc_now)  # noqa: S311 - reproducible on purpose
        key = parse_key(ring.current.kid, {"key": ring.public(ring.current.kid)})
        token = ring.sign(BODY)
        event, context = _event(token), import_module("tests.integration.functions").lambda_context()
        large = event | {"body": "x" * 1_000_000}
        ours, bare = _function(key), _bare_handler()
        cpu_ms = _compare(
            {
                "ours": lambda: ours(event, context),
                "bare": lambda: bare(event, context),
                "large": lambda: ours(large, context, 401),
            },
            DELIVERIES,
            1e3,
        )
        der = jwt.utils.raw_to_der_signature(jwt.utils.base64url_decode(token.rpartition(".")[2]), ec.SECP256R1())
        signed = token.rpartition(".")[0].encode()
        verify_us = _compare(
            {
                "ours": lambda: _verify(token, key),
                "pyjwt": lambda: jwt.decode(token, key.public_key, ["ES256"], options={"verify_iat": False}),
                "floor": lambda: key.public_key.verify(der, signed, ec.ECDSA(hashes.SHA256())),
            },
            VERIFICATIONS,
            1e6,
        )
    return Table(
        "a webhook",
        (
            Figure(
                "a genuine webhook",
                "ms of CPU time",
                cpu_ms["ours"],
                baseline=cpu_ms["bare"],
                target=cpu_ms["bare"] * TARGET,
            ),
            Figure("its token, replayed with 1 MB", "ms of CPU time", cpu_ms["large"], target=cpu_ms["ours"]),
            Figure(
                "the verification of its token",
                "µs of CPU time",
                verify_us["ours"],
                baseline=verify_us["pyjwt"],
                floor=verify_us["floor"],
            ),
        ),
        "a handler that only sends the message, with boto3's own client; for the verification PyJWT",
    )


def _verify(token: str, key: VerificationKey) -> None:
    verify(BODY, parse_signature(token), key, utc_now())


def _function(key: VerificationKey) -> Callable[..., Any]:
    """Return the handler of the function, which knows Plaid's key; its log goes nowhere."""
    with _silent():
        app: Any = import_module("functions.webhook.app")
    app.receiver = replace(app.receiver, keys=VerificationKeys(OneKey(key), FakeSharedState()))

    def handler(event: dict[str, Any], context: object, status: int = 200) -> None:
        assert app.lambda_handler(event, context)["statusCode"] == status

    return handler


def _bare_handler() -> Callable[..., Any]:
    sqs = boto3.client("sqs")

    def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
        body = json.loads(event["body"])
        sqs.send_message(
            QueueUrl=ENVIRONMENT["SYNC_QUEUE_URL"],
            MessageBody=json.dumps({"item_id": body["item_id"], "cause": "webhook", "webhook": body}),
            MessageGroupId=body["item_id"],
            MessageDeduplicationId=hashlib.sha256(event["headers"]["plaid-verification"].encode()).hexdigest(),
            MessageAttributes={
                "correlation_id": {"DataType": "String", "StringValue": event["requestContext"]["requestId"]}
            },
        )
        return {"statusCode": 200, "body": json.dumps({"result": "queued"})}

    return handler


def _event(token: str) -> dict[str, Any]:
    return {
        "version": "2.0",
        "routeKey": "POST /webhooks/plaid",
        "headers": {"content-type": "application/json", "plaid-verification": token},
        "requestContext": {"requestId": "JKJaXmPLvHcESHA="},
        "body": BODY.decode(),
        "isBase64Encoded": False,
    }


def _compare(calls: dict[str, Callable[[], object]], number: int, scale: float) -> dict[str, float]:
    """Return the CPU time of one of each of the calls, scaled: the median of rounds that take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    with _silent():
        for _ in range(ROUNDS):
            for name, call in calls.items():
                began = time.process_time()
                for _ in range(number):
                    call()
                seconds[name].append(time.process_time() - began)
    return {name: median(values[1:]) / number * scale for name, values in seconds.items()}


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Let file descriptor 1 lead nowhere: a logger keeps the stream that it began with."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


@contextlib.contextmanager
def _servers() -> Iterator[str]:
    """Run the process that takes the place of AWS; yield its address."""
    command = [sys.executable, "-m", "tests.bench.webhook", "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.terminate()


async def _serve() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]))
                body = b'{"MessageId":"1","SequenceNumber":"1"}' if b"amazonsqs" in head else b"{}"
                writer.write(_RESPONSE % (len(body), body))

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - what the parent reads
    await server.serve_forever()


def main() -> int:
    if sys.argv[1:] == ["--serve"]:
        asyncio.run(_serve())
    for figure in measure().figures:
        others = {"baseline": figure.baseline, "floor": figure.floor, "target": figure.target}
        text = ", ".join(f"{name} {value:,.2f}" for name, value in others.items() if value is not None)
        ratio = f": {figure.ours / figure.baseline:.2f} times" if figure.baseline else ""
        sys.stdout.write(f"{figure.name}: {figure.ours:,.2f} {figure.unit} ({text}){ratio}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
