"""`feed`: a snapshot for a new consumer, and a replay of what the archive of the event bus keeps."""

from __future__ import annotations

import sys
import time
import uuid
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from plaid_sync.domain.clock import format_timestamp, parse_timestamp, utc_now
from plaid_sync.domain.item import ItemId

from plaid_sync_cli.bulk import progress
from plaid_sync_cli.command import Context, OptionalItemsArgument, command
from plaid_sync_cli.errors import CommandError, ExitCode, usage_error
from plaid_sync_cli.monitoring import item_ids, item_indexes
from plaid_sync_cli.output import plural, private_file, to_json
from plaid_sync_cli.snapshots import Snapshots

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

APP: Final = typer.Typer()
FEED: Final = typer.Typer(no_args_is_help=True, help="Snapshots and replays for those who consume the feed.")
APP.add_typer(FEED, name="feed")
_POLL_SECONDS: Final = 5.0
_ENDED: Final = frozenset({"COMPLETED", "CANCELLED", "FAILED"})


@command(FEED, "snapshot")
def snapshot(
    context: Context,
    items: OptionalItemsArgument = None,
    file: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="A file; default: standard output.")
    ] = None,
) -> int:
    """Write a JSON line for each Item: its state, accounts and live transactions, and the sequence they are of.

    Apply the events of the feed whose sequence is greater. With `--json` and `--output`, standard output has the number
    of Items.

    Example: `plaid-sync feed snapshot --output snapshot.jsonl`
    """
    if context.output.as_json and file is None:
        raise usage_error("--json", "Give --output, too: standard output has one of them.")
    deployment = context.deployment
    chosen = items or item_ids(deployment, item_indexes(deployment).counts())
    snapshots, count = Snapshots.of(deployment), 0
    target = nullcontext(sys.stdout) if file is None else private_file(file)
    with progress(context.output.stderr, "snapshot", len(chosen)) as advance, target as stream:
        for item_id in chosen:
            document = snapshots.read(ItemId(item_id))
            if document is None and items:
                raise usage_error(f"ITEM_ID {item_id}", "plaid-sync items lists your Items.")
            if document is not None:
                stream.write(f"{to_json(document)}\n")
                count += 1
            advance(1)
    if file is not None:
        context.output.show({"items": count, "file": str(file)}, lambda: [f"{plural(count, 'Item')} in {file}"])
    return ExitCode.OK


@command(FEED, "replay")
def replay(
    context: Context,
    since: Annotated[str, typer.Option("--since", metavar="TIME", help="Events from then on: 2026-11-01T00:00:00Z.")],
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Events before; default: now.")] = None,
) -> int:
    """Publish events of the bus's archive again to the bus's rules, with the same ids; wait until that ends.

    All rules get them, those of outbound webhooks, too. Exit code 1 if there is no archive, or it fails.

    Example: `plaid-sync feed replay --since 2026-11-01T00:00:00Z`
    """
    first, last = _moment("--since", since), utc_now() if until is None else _moment("--until", until)
    if first >= last:
        raise usage_error(f"--since {since}", "Give a time before --until, and before now.")
    events, bus = context.deployment.client("events"), context.deployment.output("EventBusName")
    archive = _archive(events, f"{context.deployment.name}-events")
    name = f"{context.deployment.name[:30]}-{uuid.uuid4().hex[:12]}"
    destination = events.describe_event_bus(Name=bus)["Arn"]
    events.start_replay(
        ReplayName=name,
        EventSourceArn=archive,
        EventStartTime=first,
        EventEndTime=last,
        Destination={"Arn": destination},
    )
    state = "STARTING"
    for found in _followed(events, name):
        state, reached = found["State"], found.get("EventLastReplayedTime")
        context.output.log(f"{state.lower()}" + (f", up to {format_timestamp(reached)}" if reached else ""))
    document = {"replay": name, "state": state, "since": format_timestamp(first), "until": format_timestamp(last)}
    context.output.show(document, lambda: [f"The replay {name} is {state.lower()}."])
    return ExitCode.OK if state == "COMPLETED" else ExitCode.ACTION_REQUIRED


def _moment(option: str, text: str) -> datetime:
    moment = parse_timestamp(text)
    if moment is None:
        raise usage_error(f"{option} {text}", "Give a time with its zone: 2026-11-01T00:00:00Z.")
    return moment


def _archive(events: Any, name: str) -> str:  # noqa: ANN401 - a boto3 client
    try:
        return str(events.describe_archive(ArchiveName=name)["ArchiveArn"])
    except events.exceptions.ResourceNotFoundException:
        fix = 'Deploy with PARAMETERS="EventArchiveDays=30"; it keeps events from then on. Until then: feed snapshot.'
        raise CommandError("the stack has no archive of its events", fix, ExitCode.ACTION_REQUIRED) from None


def _followed(events: Any, name: str) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - a boto3 client
    while True:
        found = events.describe_replay(ReplayName=name)
        yield found
        if found["State"] in _ENDED:
            return
        time.sleep(_POLL_SECONDS)
