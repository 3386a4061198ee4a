"""What the demo reads from the functions' logs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from local.demo.logs import LogTail

if TYPE_CHECKING:
    from pathlib import Path


def test_a_log_is_read_once_and_only_in_complete_lines(tmp_path: Path) -> None:
    tail = LogTail(tmp_path / "sync.log")
    assert list(tail.records()) == []
    first, second = (json.dumps({"n": n}).encode() for n in (1, 2))
    tail.path.write_bytes(first + b"\nSTART not JSON\n{broken}\n" + second[:3])
    assert list(tail.records()) == [{"n": 1}]
    assert list(tail.records()) == []
    with tail.path.open("ab") as log:
        log.write(second[3:] + b"\n")
    assert list(tail.records()) == [{"n": 2}]
