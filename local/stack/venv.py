"""The emulator's own virtual environment, made from its lock when it is first needed.

It is separate because the emulator pins another botocore, and because functions run on its interpreter: they find
third-party code only in the layers, as on AWS.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from local.stack.errors import LocalStackError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from local.stack.paths import Places, Progress

MIN_PYTHON = (3, 11)


def make_emulator_venv(places: Places, progress: Progress) -> None:
    """Make the emulator's environment, unless it is there and made from the lock as it is."""
    check_python()
    directory, wanted = places.emulator_venv, fingerprint(places.emulator_lock)
    with exclusive(directory.with_suffix(".lock")):
        stamp = directory / "made-from"
        if not (places.emulator_python.exists() and stamp.is_file() and stamp.read_text() == wanted):
            progress("making the emulator's environment (once, about 20 seconds)")
            _make(places.emulator_lock, directory)
            stamp.write_text(wanted)


def check_python() -> None:
    if sys.version_info < MIN_PYTHON:
        raise LocalStackError(
            f"Python {MIN_PYTHON[0]}.{MIN_PYTHON[1]} or later is needed, this is {sys.version.split()[0]}: "
            "make .venv with a later one (rm -r .venv && make PYTHON=python3.13 setup)."
        )


def fingerprint(lock: Path) -> str:
    """Return what the environment depends on: the lock's content and the interpreter it is made with."""
    version = f"{sys.implementation.cache_tag} {sys.base_prefix}"
    return hashlib.sha256(version.encode() + lock.read_bytes()).hexdigest()


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file `path`: one process at a time makes what the block makes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _make(lock: Path, directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    _run(
        [sys.executable, "-m", "venv", str(directory)],
        "This Python cannot make virtual environments: install its venv module (Debian: apt install python3-venv).",
    )
    pip = [str(directory / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run(
        [*pip, "--require-hashes", "--requirement", str(lock)],
        f"The AWS emulator could not be installed from {lock.name}: check the connection to the package index "
        "(pip's own settings apply) and run it again.",
    )


def _run(command: list[str], advice: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # Fixed programs with arguments of our own: nothing here comes from outside.
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 # nosec B603
    if done.returncode:
        raise LocalStackError(f"{advice}\n{(done.stderr or done.stdout).strip()[-2000:]}")
