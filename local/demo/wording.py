"""The functions' log lines that a newcomer should see, in plain words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.demo.progress import LogRecord

_FAILURES = {
    "unregistered": "it is not linked (yet)",
    "INTERNAL_SERVER_ERROR": "Plaid has an internal error",
    "TRANSACTIONS_SYNC_LIMIT": "Plaid says that it is asked too often",
    "mutation_persists": "its data does not stop changing",
}
_OUTCOMES = {
    "needs_user": "its user has to log in at the bank again: noted on the Item, the message is done",
    "terminal": "Plaid does not serve it any more: noted on the Item, the message is done",
    "superseded": "a newer attempt has it covered",
}


def notable(record: LogRecord, name: Callable[[str], str]) -> str | None:
    """Return what a log line says, if it says something out of the ordinary.

    Args:
        record: the line.
        name: returns how an Item is called.
    """
    say = _SAYINGS.get(str(record.get("message")))
    line = say(record) if say else None
    if line is None or "item_id" not in record:
        return line
    return f"  sync: {name(str(record['item_id']))}: {line}"


def _failure(record: LogRecord) -> str:
    code = str(record.get("code"))
    reason = _FAILURES.get(code) or f"Plaid cannot be used ({code})"
    return f"{reason}; the message comes back in {record.get('retry_in_seconds')} s"


def _sync(record: LogRecord) -> str | None:
    if record.get("outcome") in _OUTCOMES:
        return _OUTCOMES[str(record["outcome"])]
    if record.get("FullResyncs"):
        return "its whole history was pulled again"
    if record.get("PaginationRestarts"):
        return "its data changed during the pull, which started again from the stored cursor"
    return None


_SAYINGS: dict[str, Callable[[LogRecord], str | None]] = {
    "sync failed": _failure,
    "item synced": _sync,
    "webhook not accepted": lambda record: f"  webhook: answered 503 ({record.get('reason')}): Plaid sends it again",
    "message parked in the dead-letter queue": lambda record: f"  sync: message put aside: {record.get('reason')}",
}
