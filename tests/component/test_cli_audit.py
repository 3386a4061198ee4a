"""`plaid-sync audit` against the deployed audit function: drift is shown, repaired and gone."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.component.cli_runs import CommandLine
from tests.component.inside import asks_the_emulator
from tests.component.lasting import lasting_world
from tests.deployment import NOWHERE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.component.world import World
    from tests.deployment import Deployment

pytestmark = asks_the_emulator

FUNCTIONS = ("items", "audit")


@pytest.fixture(scope="module")
def world(deployment: Deployment) -> Iterator[World]:
    """A world whose Plaid the deployed functions call too."""
    with lasting_world(deployment, seed=37) as world:
        for function in FUNCTIONS:
            deployment.stack.set_environment(function, {"PLAID_BASE_URL": world.server.base_url})
        yield world
        for function in FUNCTIONS:
            deployment.stack.set_environment(function, {"PLAID_BASE_URL": NOWHERE})


@contextmanager
def syncing(world: World) -> Iterator[None]:
    """Process the queue in the background, as the deployed function does."""
    done = threading.Event()

    def work() -> None:
        while not done.wait(0.1):
            world.drain()

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield
    finally:
        done.set()
        worker.join()


def test_drift_is_shown_then_repaired_and_gone(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cli = CommandLine.at(world, tmp_path)
    good, bad = world.link(transactions=20), world.link(transactions=30)
    world.drain()
    transaction_id = min(world.live(bad))
    key = {"item_id": {"S": bad}, "transaction_id": {"S": transaction_id}}
    world.stack.client("dynamodb").delete_item(TableName=world.stack.transactions_table, Key=key)

    assert "No drift: 1 Item, 20 transactions" in cli.text("audit", good)
    shown = cli.text("audit", good, bad, "--rate", "10/s", code=1)
    assert "1 row of 1 Item drifted: 2 Items, 50 transactions" in shown
    assert transaction_id in shown
    found = cli.json("audit", bad, "--values", code=1)
    (difference,) = found["reports"][0]["differences"]
    assert (difference["field"], difference["at_plaid"], difference["in_table"]) == ("(row)", "live", "(absent)")

    with syncing(world):
        assert "Repaired 1 Item. Nothing is left." in cli.text("audit", bad, "--repair", "--yes")
    assert transaction_id in world.live(bad)
    world.assert_exact(bad)
    cli.text("audit", code=2)
    cli.text("audit", good, "--all", code=2)
    assert cli.text("audit", "unknown", code=1).startswith("Nothing could be compared: 1 unregistered.")
    assert "1 Item, 20 transactions at Plaid compared. Not compared: 1 unregistered." in cli.text(
        "audit", good, "unknown", "--rate", "10/s", code=1
    )
