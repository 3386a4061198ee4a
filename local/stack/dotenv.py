"""The files by which other programs find a running local stack."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from local.stack.stack import LocalStack


def variables_of(stack: LocalStack) -> dict[str, str]:
    """Return what a program needs to use the stack, as an administrator."""
    emulator = stack.emulator
    return {
        "WEBHOOK_URL": stack.webhook_url,
        "API_URL": stack.api_url,
        "AWS_ENDPOINT_URL": emulator.endpoint_url,
        "AWS_REGION": emulator.region,
        "AWS_DEFAULT_REGION": emulator.region,  # the one that boto3 reads
        "AWS_ACCESS_KEY_ID": emulator.access_key_id,
        "AWS_SECRET_ACCESS_KEY": emulator.secret_access_key,
        "PLAID_BASE_URL": stack.plaid_base_url,
        "ITEMS_TABLE": stack.items_table,
        "TRANSACTIONS_TABLE": stack.transactions_table,
        "QUARANTINE_TABLE": stack.quarantine_table,
        "HISTORY_TABLE": stack.history_table,
        "PLAID_SECRET_ID": stack.resources.id("PlaidSecret"),
        "EVENT_BUS_NAME": stack.resources.id("EventBus"),
        "SYNC_QUEUE_URL": stack.sync_queue_url,
        "DEAD_LETTER_QUEUE_URL": stack.dead_letter_queue_url,
    }


def dotenv(variables: Mapping[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in variables.items())


def read_dotenv(path: Path) -> dict[str, str]:
    """Return the variables of the running stack; none without the file."""
    if not path.is_file():
        return {}
    pairs = (line.partition("=") for line in path.read_text().splitlines())
    return {name: value for name, _, value in pairs}


@contextmanager
def published(path: Path, text: str) -> Iterator[None]:
    """Have the file exist, complete from its first moment, for the time of the `with` block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    partial.touch(mode=0o600)
    partial.write_text(text)
    partial.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
