"""Find the engine's programs, or unpack Debian's into the project's cache: nothing is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local.containers.errors import NoContainerEngineError
from local.stack.venv import exclusive

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from local.stack.paths import Progress

PACKAGE = "docker.io"
NEEDED = ("dockerd", "docker", "containerd", "runc")
_LAST_LINES = 300


@dataclass(frozen=True, slots=True)
class Programs:
    """The environment in which the engine's programs are found.

    Attributes:
        environment: For `subprocess`.
    """

    environment: dict[str, str]

    def find(self, name: str) -> str | None:
        """Return a program's path."""
        return shutil.which(name, path=self.environment["PATH"])

    def run(self, command: Sequence[str], *, data: bytes | None = None) -> str:
        """Run a program to its end; return what it printed.

        Raises:
            NoContainerEngineError: It failed.
        """
        # Programs of the engine, with arguments of our own.
        done = subprocess.run(  # noqa: S603 # nosec B603
            command, env=self.environment, input=data, capture_output=True, check=False
        )
        if done.returncode:
            text = (done.stderr or done.stdout).decode(errors="replace").strip().replace("\n", " ")
            raise NoContainerEngineError(f"{' '.join(command[:2])} failed: {text[-_LAST_LINES:]}")
        return done.stdout.decode()


def installed() -> Programs:
    """Return the programs that are on PATH."""
    return Programs(dict(os.environ))


def obtained(folder: Path, progress: Progress) -> Programs:
    """Return a complete set of programs: those on PATH, and Debian's for what is missing there.

    Args:
        folder: Where Debian's are unpacked, and found again.
        progress: Told about what takes time.

    Raises:
        NoContainerEngineError: There is none to be had.
    """
    programs = installed()
    if all(programs.find(name) for name in NEEDED):
        return programs
    with exclusive(folder.with_suffix(".lock")):
        if not folder.is_dir():
            _unpack(folder, progress)
    programs = _with(folder)
    missing = [name for name in NEEDED if not programs.find(name)]
    if missing:
        raise NoContainerEngineError(f"Debian's package {PACKAGE} brought no {', '.join(missing)}")
    return programs


def _with(folder: Path) -> Programs:
    root = folder / "root"
    paths = [str(root / name) for name in ("usr/sbin", "usr/bin", "sbin", "bin")]
    libraries = sorted(str(path) for path in root.glob("usr/lib/*-linux-gnu"))
    return Programs(
        os.environ
        | {
            "PATH": os.pathsep.join([os.environ.get("PATH", os.defpath), *paths]),
            "LD_LIBRARY_PATH": os.pathsep.join(libraries),
        }
    )


def _unpack(folder: Path, progress: Progress) -> None:
    """Have apt download the package and all that it depends on and is not installed, and unpack that."""
    apt = shutil.which("apt-get")
    if apt is None:
        raise NoContainerEngineError("no dockerd is installed, and without apt-get none can be had")
    progress(f"unpacking Debian's {PACKAGE} into {os.path.relpath(folder)} (once, about 20 seconds)")
    building = folder.with_suffix(".new")
    shutil.rmtree(building, ignore_errors=True)
    (building / "archives" / "partial").mkdir(parents=True)
    options = ["--download-only", "--yes", "--no-install-recommends", "-o", f"Dir::Cache::archives={building}/archives"]
    download = [apt, "install", *options, PACKAGE]
    host = installed()
    try:
        host.run(download)
    except NoContainerEngineError:  # its lists may be old, or missing
        host.run([apt, "update"])
        host.run(download)
    for package in sorted((building / "archives").glob("*.deb")):
        host.run(["dpkg-deb", "--extract", str(package), str(building / "root")])
    shutil.rmtree(building / "archives")
    building.rename(folder)
