"""`plaid-sync feed`: a snapshot equals the table at the last commit, and a replay publishes what the archive has."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from plaid_sync.domain.transaction import plaid_object
from plaid_sync.feed import exact_texts

from local.stack.deploy import STACK_NAME
from tests.integration.command_line import CommandLine
from tests.integration.in_process import strikes_a_call

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.harness import World


@pytest.fixture
def cli(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    return CommandLine.at(world, tmp_path)


def texts(world: World, item_id: str) -> dict[str, Any]:
    return {key: exact_texts(plaid_object(row)) for key, row in world.live(item_id).items()}


def sync_with_feed(world: World, item_id: str) -> None:
    world.enqueue(item_id)
    (record,) = world.receive()
    world.invoke("sync", {"Records": [record]}, TRANSACTION_EVENTS="true")
    world.delete(record)


@strikes_a_call
def test_a_snapshot_has_the_rows_of_the_last_commit_with_its_sequence(
    cli: CommandLine, world: World, tmp_path: Path
) -> None:
    item_id = world.synced(transactions=20)
    world.plaid.add(item_id, 3, notify=False)
    sync_with_feed(world, item_id)
    committed = texts(world, item_id)
    assert cli.json("feed", "snapshot", item_id, "--output", "snapshot.jsonl") == {
        "items": 1,
        "file": "snapshot.jsonl",
    }
    (line,) = (tmp_path / "snapshot.jsonl").read_text().splitlines()
    snapshot = json.loads(line)
    assert {row["transaction_id"]: row for row in snapshot["transactions"]} == committed
    changes_at = int(world.item(item_id)["changes_at"])
    assert (snapshot["sequence"], snapshot["state"]) == (f"{changes_at:010d}-19999999", "active")
    assert len(snapshot["accounts"]) == len(world.plaid.account_rows(item_id))
    assert (tmp_path / "snapshot.jsonl").stat().st_mode & 0o077 == 0


def test_an_item_that_is_not_registered_is_named(cli: CommandLine) -> None:
    result = cli.run("feed", "snapshot", "unknown")
    assert (result.exit_code, "ITEM_ID unknown" in result.output) == (2, True)


def test_a_replay_needs_an_archive_and_then_completes(cli: CommandLine, world: World) -> None:
    since = ("feed", "replay", "--since", "2026-01-01T00:00:00Z")
    without = cli.run(*since)
    assert (without.exit_code, "EventArchiveDays" in without.output) == (1, True)
    events = world.stack.client("events")
    bus = events.describe_event_bus(Name=world.stack.resources.outputs["EventBusName"])["Arn"]
    events.create_archive(ArchiveName=f"{STACK_NAME}-events", EventSourceArn=bus)
    try:
        assert cli.json(*since)["state"] == "COMPLETED"
    finally:
        events.delete_archive(ArchiveName=f"{STACK_NAME}-events")


@pytest.mark.parametrize("moments", [("yesterday",), ("2026-02-01T00:00:00Z", "2026-01-01T00:00:00Z")])
def test_a_time_that_cannot_be_used_is_named(cli: CommandLine, moments: tuple[str, ...]) -> None:
    until = ("--until", moments[1]) if len(moments) > 1 else ()
    result = cli.run("feed", "replay", "--since", moments[0], *until)
    assert (result.exit_code, f"--since {moments[0]}" in result.output) == (2, True)
