"""AWS clients with short timeouts, and AWS failures in the engine's words."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from plaid_sync.core.failures import RetryableError
from plaid_sync.core.plain_text import moment_text

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONFIG: Final = Config(
    # botocore waits a minute by default; inside a Lambda function that is the whole invocation. A call takes twelve
    # seconds at most, and the functions' timeouts and reserves of time count on it.
    connect_timeout=1,
    read_timeout=3,
    retries={"mode": "standard", "total_max_attempts": 3},
)
WEBHOOK_CONFIG: Final = Config(
    # Plaid waits ten seconds for an answer and the function has five: two tries of under two.
    connect_timeout=0.5,
    read_timeout=1.4,
    retries={"mode": "standard", "total_max_attempts": 2},
)
ITEMS_CONFIG: Final = Config(
    # Between the exchange of a public token and the end of the function everything must fit that undoing it takes, each
    # call at its slowest (see core/linking/linker.py): two tries, nine seconds at most.
    connect_timeout=1,
    read_timeout=3,
    retries={"mode": "standard", "total_max_attempts": 2},
)
RECORD_CONFIG: Final = Config(
    # What the webhook function records comes after SQS has the message, in what is left of its five seconds.
    connect_timeout=0.3,
    read_timeout=0.7,
    retries={"mode": "standard", "total_max_attempts": 1},
)


def client(service: str, config: Config = _CONFIG) -> Any:  # noqa: ANN401 - one factory for five client types
    """Return a client; region and endpoint come from the SDK's own environment."""
    return boto3.client(service, config=config)


@contextmanager
def aws_errors() -> Iterator[None]:
    """Turn whatever AWS or the network refuses into a `RetryableError` with AWS's error code."""
    try:
        yield
    except ClientError as error:
        raise RetryableError(error_code(error)) from error
    except BotoCoreError as error:
        raise RetryableError(type(error).__name__) from error


def error_code(error: ClientError) -> str:
    """Return AWS's error code."""
    return str(error.response.get("Error", {}).get("Code", "Unknown"))


def to_text(moment: datetime) -> str:
    """Write a time the way all tables do: ISO 8601, UTC, cut to milliseconds, so that text order is time order."""
    return moment_text(moment)


def from_text(text: str) -> datetime:
    """Read a time that `to_text` wrote."""
    return datetime.fromisoformat(text)


def utc_now() -> datetime:
    """Return the time, aware."""
    return datetime.now(UTC)
