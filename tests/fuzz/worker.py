"""One target under atheris, in a process of its own: libFuzzer never returns, it ends the process.

So this process counts and stops by itself. It prints a JSON object a second, and a last one with `"done": true`.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, NoReturn
from unittest.mock import patch

import atheris

from tests.fuzz.tally import RUNS, FindingError

if TYPE_CHECKING:
    from tests.fuzz.tally import Target

_INSTRUMENTED: Final = ["plaid_sync", "functions", "jwt", "simplejson"]
_LIBFUZZER: Final = ("-max_len=1024", "-timeout=60", "-rss_limit_mb=4096", "-print_final_stats=0", "-verbosity=0")
_TELL_EVERY_SECONDS: Final = 1.0
_LOOK_EVERY: Final = 16


def main(arguments: list[str]) -> None:
    """Fuzz until the runs or the seconds are over, or something is found."""
    name, runs, seconds, seed, reproducers = arguments
    tell = os.fdopen(os.dup(1), "w", buffering=1)
    # Logs go nowhere, through an encoder as strict as Lambda's.
    sys.stdout = io.TextIOWrapper(Path(os.devnull).open("wb"), encoding="utf-8")  # noqa: SIM115 - until the process ends
    with atheris.instrument_imports(include=_INSTRUMENTED):
        from tests.fuzz.targets import make  # noqa: PLC0415 - imported here, so that it is instrumented

        target = make(name)
    worker = _Worker(target, int(runs), float(seconds), Path(reproducers), tell)
    with TemporaryDirectory() as corpus, patch.object(logging.Handler, "handleError", _log_line_lost):
        for number, case in enumerate(target.seeds()):
            (Path(corpus) / f"seed-{number}").write_bytes(case)
        options = [f"-seed={seed}", f"-artifact_prefix={reproducers}/", *_LIBFUZZER]
        atheris.Setup([sys.argv[0], *options, corpus], worker.run)
        worker.begin()
        atheris.Fuzz()


def _log_line_lost(*_: Any) -> NoReturn:
    raise RuntimeError("a log line is lost") from sys.exception()


@dataclass(slots=True)
class _Worker:
    target: Target
    runs: int
    seconds: float
    reproducers: Path
    tell: io.TextIOBase
    began: float = 0.0
    told: float = field(default=0.0)
    cases: int = 0

    def begin(self) -> None:
        self.began = self.told = time.monotonic()

    def run(self, case: bytes) -> None:
        try:
            self.target.run(case)
        except Exception as error:  # noqa: BLE001 - an exception of any kind is a finding
            self._found(case, error)
        self.cases += 1
        if self.target.tally[RUNS] >= self.runs:
            self._end({})
        if self.cases % _LOOK_EVERY == 0:
            self._look_at_the_clock()

    def _look_at_the_clock(self) -> None:
        now = time.monotonic()
        if now - self.began >= self.seconds:
            self._end({})
        if now - self.told >= _TELL_EVERY_SECONDS:
            self.told = now
            self._say({"done": False})

    def _found(self, case: bytes, error: Exception) -> None:
        file = self.reproducers / f"finding-{hashlib.sha256(case).hexdigest()[:16]}"
        file.write_bytes(case)
        what = str(error) if isinstance(error, FindingError) else "".join(traceback.format_exception(error))
        self._end({"what": what, "shown": getattr(error, "shown", ""), "file": str(file)})

    def _end(self, finding: dict[str, str]) -> NoReturn:
        self._say({"done": True, "finding": finding or None})
        os._exit(1 if finding else 0)

    def _say(self, more: dict[str, Any]) -> None:
        seconds = time.monotonic() - self.began
        self.tell.write(json.dumps({"seconds": seconds, "tally": self.target.tally, **more}) + "\n")
        self.tell.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
