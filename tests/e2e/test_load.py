"""The load on the local stack, small: the figures are those of the load that was put on it, and nothing is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from local.stack.paths import PROJECT

ITEMS = 12
RATE, SECONDS = 10, 2


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    options = ["--items", str(ITEMS), "--rate", str(RATE), "--seconds", str(SECONDS), "--json"]
    path = os.pathsep.join([str(PROJECT), str(PROJECT / "layers" / "plaid_sync")])
    done = subprocess.run(
        [sys.executable, "-m", "tests.load", *options],
        env=os.environ | {"PYTHONPATH": path},
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        check=True,
    )
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_every_webhook_is_accepted_and_the_table_equals_plaids(found: dict[str, Any]) -> None:
    for outcome in found["outcomes"]:
        assert outcome["accepted"] == outcome["webhooks"]
        assert outcome["differences"] == 0
        assert 0 < outcome["lag_p50"] <= outcome["lag_p99"] <= outcome["seconds"]
    assert [outcome["webhooks"] for outcome in found["outcomes"]] == [ITEMS, ITEMS, RATE * SECONDS]


def test_each_message_is_synced_or_coalesced(found: dict[str, Any]) -> None:
    at_once, storm, steady = found["outcomes"]
    assert at_once["commits"] == at_once["pulls"] == ITEMS
    for outcome in (storm, steady):
        assert outcome["commits"] + outcome["coalesced"] == outcome["webhooks"]


def test_cpu_time_and_memory_are_those_of_the_stacks_processes(found: dict[str, Any]) -> None:
    times, (outcome, *_) = found["service_times"], found["outcomes"]
    assert {"emulator", "plaid", "webhook"} <= times["webhook"].keys()
    assert {"emulator", "plaid", "sync"} <= times["sync"].keys()
    assert {"emulator", "plaid", "webhook", "sync"} <= outcome["memory"].keys()
    assert all(0 < seconds < 1 for thing in ("webhook", "batch", "sync") for seconds in times[thing].values())
    assert all(0 < each["largest"] < 4096 for each in outcome["memory"].values())
