"""`dlq`: lists dead-lettered messages, and moves them back to the sync queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from plaid_sync.domain.clock import utc_now

from plaid_sync_cli.bulk import progress
from plaid_sync_cli.command import Context, DryRunOption, OptionalItemArgument, YesOption, command
from plaid_sync_cli.dead_letters import DeadLetter, DeadLetterQueue, can_redrive, group_by_cause, redrive, replay
from plaid_sync_cli.errors import ExitCode
from plaid_sync_cli.monitoring import queue_depth
from plaid_sync_cli.output import age, plural, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from rich.console import RenderableType

APP: Final = typer.Typer()
DLQ: Final = typer.Typer(no_args_is_help=True, help="List and redrive dead-lettered messages.")
APP.add_typer(DLQ, name="dlq")
_MAX_ITEMS_SHOWN: Final = 3
_MESSAGE: Final = "dead-lettered message"


@command(DLQ, "list")
def list_letters(context: Context, item: OptionalItemArgument = None) -> int:
    """List dead-lettered messages, grouped by cause; they are not changed. Exit code 1 if there are any.

    SQS returns at most ten messages of an Item at a time.

    Example: `plaid-sync dlq list`
    """
    queue, now = DeadLetterQueue.of(context.deployment), utc_now()
    total = queue_depth(context.deployment, queue.url, now).total
    letters = queue.peek()
    if item is not None:
        letters = list(filter(_selector(item, None), letters))
        total = len(letters)
    document = {
        "total": max(total, len(letters)),
        "read": len(letters),
        "groups": [
            {
                "cause": group.cause,
                "count": group.count,
                "oldest": group.oldest,
                "items": list(group.items),
                "malformed": group.malformed,
            }
            for group in group_by_cause(letters)
        ],
        "messages": [_document(letter) for letter in letters],
    }
    context.output.show(document, lambda: _render(letters, total, now))
    return ExitCode.ACTION_REQUIRED if letters or total else ExitCode.OK


def _document(letter: DeadLetter) -> dict[str, Any]:
    return {
        "message_id": letter.message_id,
        "cause": letter.cause,
        "item_id": letter.item_id,
        "malformed": letter.malformed,
        "sent_at": letter.sent_at,
    }


def _render(letters: Sequence[DeadLetter], total: int, now: datetime) -> Iterator[RenderableType]:
    if not letters:
        yield f"{plural(total, _MESSAGE)}, none available now: try again." if total else "No dead-lettered messages."
        return
    more = f" (of about {total:,}: the others are blocked behind these)" if total > len(letters) else ""
    then = "" if all(letter.malformed for letter in letters) else " Once the causes are fixed: plaid-sync dlq replay"
    yield f"{plural(len(letters), _MESSAGE)}{more}.{then}"
    yield ""
    rows = [
        (group.cause, f"{group.count:,}", age(group.oldest, now), _item_list(group.items))
        for group in group_by_cause(letters)
    ]
    yield table("cause", "messages", "oldest", "Items", right=["messages"], rows=rows)
    if malformed := [letter.message_id for letter in letters if letter.malformed]:
        yield ""
        yield f"Malformed, cannot be replayed: {', '.join(malformed)}"


def _item_list(items: Sequence[str]) -> str:
    shown = ", ".join(items[:_MAX_ITEMS_SHOWN])
    return f"{shown} and {len(items) - _MAX_ITEMS_SHOWN:,} more" if len(items) > _MAX_ITEMS_SHOWN else shown or "-"


@command(DLQ, "replay")
def replay_letters(  # noqa: PLR0913 - each is an option
    context: Context,
    item: OptionalItemArgument = None,
    cause: Annotated[str | None, typer.Option(metavar="PREFIX", help="Only causes that begin with this.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="At most N messages.")] = None,
    *,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
) -> int:
    """Move dead-lettered messages back to the sync queue. Each is deleted only after the sync queue has it.

    Malformed messages are kept and listed. Exit code 1 if any messages are left.

    Example: `plaid-sync dlq replay --cause worker_died --dry-run`
    """
    queue = DeadLetterQueue.of(context.deployment)
    selects = _selector(item, cause)
    found = queue.peek()
    selected = [letter for letter in found if selects(letter) and not letter.malformed][:limit]
    if dry_run:
        document = {"would_replay": [_document(letter) for letter in selected]}
        rows = [(letter.message_id, letter.item_id, letter.cause) for letter in selected]
        context.output.show(
            document, lambda: [f"Would replay {len(selected):,}:", table("message", "item", "cause", rows=rows)]
        )
        return ExitCode.OK
    if not selected:
        return _report(context, 0, [letter for letter in found if letter.malformed])
    context.output.confirm(f"Move {plural(len(selected), _MESSAGE)} back to the sync queue?", yes=yes)
    total = queue_depth(context.deployment, queue.url, utc_now()).total
    if item is None and cause is None and limit is None and can_redrive(found, total):
        with progress(context.output.stderr, "moved by SQS", None) as advance:
            moved = redrive(queue, advance)
        if moved is not None:
            return _report(context, moved, [])
    with progress(context.output.stderr, "replay", limit or total) as advance:
        result = replay(queue, selects, limit, lambda _: advance(1))
    return _report(context, len(result.sent), [letter for letter in result.kept if letter.malformed])


def _selector(item: str | None, cause: str | None) -> Callable[[DeadLetter], bool]:
    return lambda letter: (
        (item is None or letter.item_id == item) and (cause is None or letter.cause.lower().startswith(cause.lower()))
    )


def _report(context: Context, sent: int, malformed: Sequence[DeadLetter]) -> int:
    left = queue_depth(context.deployment, context.deployment.output("DeadLetterQueueUrl"), utc_now()).total
    document = {"replayed": sent, "left": left, "malformed": [letter.message_id for letter in malformed]}

    def text() -> Iterator[str]:
        yield f"Replayed {plural(sent, _MESSAGE)}; {left:,} left."
        if malformed:
            yield f"Malformed, kept: {', '.join(letter.message_id for letter in malformed)}"

    context.output.show(document, text)
    return ExitCode.ACTION_REQUIRED if left else ExitCode.OK
