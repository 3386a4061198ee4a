"""Run an engine of our own for a while, and leave the machine as it was."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from local.containers.errors import NoContainerEngineError
from local.stack.signals import end_group

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.containers.programs import Programs

START_SECONDS = 30
STOP_SECONDS = 10
BRIDGE = "docker0"
FOLLOW_PARENT = """
exec 3<&0
"$@" </dev/null 3<&- & daemon=$!
trap 'kill $daemon' TERM
{ cat >/dev/null; kill $daemon; } <&3 2>/dev/null &
wait $daemon
wait $daemon
"""
"""Runs a command that ends with its parent, however that ends: we hold the other end of its standard input."""
TRACES = tuple(Path(path) for path in ("/etc/docker/key.json", "/etc/docker", "/run/docker", "/opt/containerd"))
"""What an engine writes outside the folders that it is given."""


def refuse_where_impossible() -> None:
    """Say why this machine can't run an engine of ours.

    Raises:
        NoContainerEngineError: It can't.
    """
    if platform.system() != "Linux":
        raise NoContainerEngineError("no container engine runs here (start Docker or Finch)")
    if os.geteuid() != 0:
        raise NoContainerEngineError(
            "no container engine runs here (start Docker or Finch), and only root can start one"
        )


@contextmanager
def running_daemon(programs: Programs, folder: Path) -> Iterator[str]:
    """Run dockerd for the time of the `with` block; yield its address for DOCKER_HOST.

    It gets no rule in the firewall and no forwarding: containers reach this machine, and nothing beyond it.

    Args:
        programs: Where it is.
        folder: For images (kept), its socket, its log.

    Raises:
        NoContainerEngineError: It does not start.
    """
    run = folder / "run"
    run.mkdir(parents=True, exist_ok=True)
    address = f"unix://{run}/docker.sock"
    traces = [path for path in TRACES if not path.exists()]
    groups = set(_control_groups())
    bridged = _bridge_exists()
    process = _start(programs, folder, address)
    try:
        _await(programs, process, address, run / "dockerd.log")
        yield address
    finally:
        _stop(programs, process, address)
        if not bridged and _bridge_exists():
            subprocess.run(["ip", "link", "delete", BRIDGE], check=False)  # noqa: S603, S607 # nosec B603 B607 - the system's own
        for group in set(_control_groups()) - groups:
            _remove_control_group(group)
        for path in traces:
            path.unlink(missing_ok=True) if path.is_file() else shutil.rmtree(path, ignore_errors=True)
        shutil.rmtree(run, ignore_errors=True)


def _control_groups() -> list[Path]:
    """Return those that hold an engine's containers, in either version's layout."""
    root = Path("/sys/fs/cgroup")
    return [*root.glob("docker"), *root.glob("*/docker")]


def _remove_control_group(group: Path) -> None:
    for path in (*sorted(group.rglob("*/"), reverse=True), group):
        with suppress(OSError):  # its files can't be removed, and need not be
            path.rmdir()


def _bridge_exists() -> bool:
    return Path("/sys/class/net", BRIDGE).exists()


def _start(programs: Programs, folder: Path, address: str) -> subprocess.Popen[bytes]:
    options = {
        "host": address,
        "data-root": folder / "data",
        "exec-root": folder / "run" / "exec",
        "pidfile": folder / "run" / "docker.pid",
        "iptables": "false",
        "ip6tables": "false",
        "ip-forward": "false",
        "ip-masq": "false",
    }
    # Mounts of its own: they end with it.
    command = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        FOLLOW_PARENT,
        "sh",
        "dockerd",
        *(f"--{name}={value}" for name, value in options.items()),
    ]
    with (folder / "run" / "dockerd.log").open("wb") as log:
        # A session of its own: an interrupt from the terminal reaches it through us.
        return subprocess.Popen(  # noqa: S603 # nosec B603 - the engine, with arguments of our own
            command,
            env=programs.environment,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _await(programs: Programs, process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(NoContainerEngineError):
            programs.run(["docker", "--host", address, "version"])
            return
        time.sleep(0.1)
    lines = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
    raise NoContainerEngineError(f"dockerd does not start: {lines[-1]}")


def _stop(programs: Programs, process: subprocess.Popen[bytes], address: str) -> None:
    """End the containers, the daemon, and what it started."""
    if process.poll() is None:
        docker = ["docker", "--host", address]
        with suppress(NoContainerEngineError):
            containers = programs.run([*docker, "ps", "--all", "--quiet"]).split()
            if containers:
                programs.run([*docker, "rm", "--force", *containers])
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    end_group(process, STOP_SECONDS)
