"""The demo as a newcomer runs it: it ends with the truth, notices a table that is wrong, and can be interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from local.demo.steps.living import OPERATIONS

PROJECT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "local.demo"]


def test_the_demo_notices_the_one_row_that_is_wrong_and_finds_everything_else_as_promised() -> None:
    run = subprocess.run([*COMMAND, "--json", "--corrupt"], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert run.returncode == 1, run.stderr
    outcome = json.loads(run.stdout)
    assert outcome["problems"] == []
    (difference,) = outcome["differences"]
    row = f"Item {difference['item_id']}, transaction {difference['transaction_id']}, {difference['field']}"
    assert f"tampered with, as asked for: {row}" in run.stderr
    assert difference["field"] == "amount"
    assert outcome["rows_in_table"] == outcome["rows_at_plaid"]
    assert len(outcome["items"]) >= 5
    assert outcome["changes"] >= 3000
    assert outcome["exact_amounts"] == ["0.1234567", "-98765432109.87", "0.00"]
    assert all(outcome["happened"][name] > 0 for name in OPERATIONS)
    assert sum(outcome["webhooks"]["rejected_by_reason"].values()) == outcome["happened"]["forged"]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in /proc")
def test_an_interrupted_demo_leaves_nothing_running() -> None:
    demo = subprocess.Popen(
        [*COMMAND, "--plain"], cwd=PROJECT, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert demo.stdout is not None
    with demo.stdout:
        assert any("People link their banks" in line for line in demo.stdout)
        started = _descendants(demo.pid)
        os.kill(demo.pid, signal.SIGINT)
        assert demo.wait(60) == 130
    assert started
    deadline = time.monotonic() + 10  # what was killed takes a moment to be gone
    while any(map(_is_running, started)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [process for process in started if _is_running(process)] == []


def _is_running(process: int) -> bool:
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def _descendants(process: int) -> list[int]:
    children = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii").split()
    return [found for child in map(int, children) for found in (child, *_descendants(child))]
