"""Real responses of the emulator and of the local Plaid, recorded while a function runs, to be replayed at once."""

from __future__ import annotations

import io
import json
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import urllib3

from tests.integration.crashes import intercepted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CLAIM = "DynamoDB_20120810.UpdateItem"
WRITE = "DynamoDB_20120810.TransactWriteItems"
PULL = "/transactions/sync"


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its response.

    Attributes:
        call: AWS's operation as X-Amz-Target has it, or Plaid's path.
        request: the body.
        response: the body.
    """

    call: str
    request: str
    status: int
    response: str


@contextmanager
def recorded() -> Iterator[list[Exchange]]:
    """Record all that the functions call in this block."""
    exchanges: list[Exchange] = []

    def record(send: Callable[[], Any], call: str, body: Any) -> Any:
        response = send()
        content: bytes = response.data
        url, _, target = call.partition(" ")
        request = body.decode() if isinstance(body, bytes) else str(body or "")
        exchanges.append(Exchange(target or url, request, response.status, content.decode()))
        return urllib3.HTTPResponse(
            io.BytesIO(content), headers=response.headers, status=response.status, preload_content=False
        )

    with intercepted(record):
        yield exchanges


def save(exchanges: list[Exchange], path: Path) -> None:
    path.write_text(json.dumps(list(map(asdict, exchanges))))


def load(path: Path) -> list[Exchange]:
    return [Exchange(**fields) for fields in json.loads(path.read_text())]


def first_response(exchanges: list[Exchange], call: str) -> Any:
    return next(json.loads(exchange.response) for exchange in exchanges if exchange.call == call)
