"""`dlq`: what was given up, why, and back again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from plaid_sync.adapters.aws import utc_now

from plaid_sync_cli import readings
from plaid_sync_cli.command import Context, command
from plaid_sync_cli.dead_letters import DeadLetter, DeadLetterQueue, grouped
from plaid_sync_cli.errors import ExitCode
from plaid_sync_cli.output import age, plural, table
from plaid_sync_cli.progress import progress
from plaid_sync_cli.redriving import movable, move_all, replay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from rich.console import RenderableType

APP: Final = typer.Typer()
DLQ: Final = typer.Typer(no_args_is_help=True, help="The dead-letter queue: what was given up, and back again.")
APP.add_typer(DLQ, name="dlq")
_ITEMS_NAMED: Final = 3


@command(DLQ, "list")
def list_letters(context: Context) -> int:
    """List dead letters, grouped by cause. They stay where they are. Exit code 1 if there are any.

    Of one Item ten can be read at a time; the others are behind them.

    Example: `plaid-sync dlq list`
    """
    queue, now = DeadLetterQueue.of(context.deployment), utc_now()
    total = readings.queue_depth(context.deployment, queue.url, now).total
    letters = queue.peek()
    groups = grouped(letters)
    document = {
        "total": max(total, len(letters)),
        "read": len(letters),
        "groups": [
            {
                "cause": one.cause,
                "count": one.count,
                "oldest": one.oldest,
                "items": list(one.items),
                "malformed": one.malformed,
            }
            for one in groups
        ],
        "messages": [_document(letter) for letter in letters],
    }
    context.output.show(document, lambda: _list(letters, total, now))
    return ExitCode.FOUND if letters or total else ExitCode.FINE


def _document(letter: DeadLetter) -> dict[str, Any]:
    return {
        "message_id": letter.message_id,
        "cause": letter.cause,
        "item_id": letter.item_id,
        "malformed": letter.malformed,
        "sent_at": letter.sent_at,
    }


def _list(letters: Sequence[DeadLetter], total: int, now: datetime) -> Iterator[RenderableType]:
    if not letters:
        yield "No dead letters." if not total else f"{plural(total, 'dead letter')}, none to be read now: try again."
        return
    more = f" (of about {total:,}: the others are behind these)" if total > len(letters) else ""
    then = "" if all(letter.malformed for letter in letters) else " When the cause is gone: plaid-sync dlq replay"
    yield f"{plural(len(letters), 'dead letter')}{more}.{then}"
    yield ""
    rows = [(one.cause, f"{one.count:,}", age(one.oldest, now), _named(one.items)) for one in grouped(letters)]
    yield table("cause", "messages", "oldest", "Items", right=["messages"], rows=rows)
    if malformed := [letter.message_id for letter in letters if letter.malformed]:
        yield ""
        yield f"Malformed, and not to be replayed: {', '.join(malformed)}"


def _named(items: Sequence[str]) -> str:
    shown = ", ".join(items[:_ITEMS_NAMED])
    return f"{shown} and {len(items) - _ITEMS_NAMED:,} more" if len(items) > _ITEMS_NAMED else shown or "-"


@command(DLQ, "replay")
def replay_letters(  # noqa: PLR0913 - each is an option
    context: Context,
    item: Annotated[str | None, typer.Option(help="Only those of an item_id.")] = None,
    cause: Annotated[str | None, typer.Option(help="Only those whose cause begins so.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many.")] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be sent back.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> int:
    """Send dead letters back to the sync queue. Each is deleted only after the queue has taken it.

    Malformed ones stay, and are named. Exit code 1 if any stay.

    Example: `plaid-sync dlq replay --cause unregistered --dry-run`
    """
    queue = DeadLetterQueue.of(context.deployment)
    wanted = _filter(item, cause)
    found = queue.peek()
    chosen = [letter for letter in found if wanted(letter) and not letter.malformed][:limit]
    if dry_run:
        document = {"would_replay": [_document(letter) for letter in chosen]}
        rows = [(letter.message_id, letter.item_id, letter.cause) for letter in chosen]
        context.output.show(
            document, lambda: [f"Would send back {len(chosen):,}:", table("message", "item", "cause", rows=rows)]
        )
        return ExitCode.FINE
    if not chosen:
        return _told(context, 0, [letter for letter in found if letter.malformed])
    context.output.confirm(f"Send {plural(len(chosen), 'dead letter')} back to the sync queue?", yes=yes)
    total = readings.queue_depth(context.deployment, queue.url, utc_now()).total
    if item is None and cause is None and limit is None and movable(found, total):
        with progress(context.output.notes, "moved by SQS", None) as advance:
            moved = move_all(queue, advance)
        if moved is not None:
            return _told(context, moved, [])
    with progress(context.output.notes, "replay", limit or total) as advance:
        result = replay(queue, wanted, limit, lambda _: advance(1))
    return _told(context, len(result.sent), [letter for letter in result.kept if letter.malformed])


def _filter(item: str | None, cause: str | None) -> Callable[[DeadLetter], bool]:
    return lambda letter: (
        (item is None or letter.item_id == item) and (cause is None or letter.cause.lower().startswith(cause.lower()))
    )


def _told(context: Context, sent: int, malformed: Sequence[DeadLetter]) -> int:
    left = readings.queue_depth(context.deployment, context.deployment.output("DeadLetterQueueUrl"), utc_now()).total
    document = {"replayed": sent, "left": left, "malformed": [letter.message_id for letter in malformed]}

    def text() -> Iterator[str]:
        yield f"Sent back {plural(sent, 'dead letter')}; {left:,} left."
        if malformed:
            yield f"Malformed, and left where they are: {', '.join(letter.message_id for letter in malformed)}"

    context.output.show(document, text)
    return ExitCode.FOUND if left else ExitCode.FINE
