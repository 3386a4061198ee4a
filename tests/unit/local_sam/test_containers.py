"""Which container engine runs; only its containers reach the loopback, through the bridge's address."""

from __future__ import annotations

import ipaddress
import socket
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from local.sam.containers import PROGRAMS, Bridge, Engine, relayed
from local.stack.errors import LocalStackError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ADDRESS = "127.0.0.2"  # like a bridge's: of this machine, and not the one that the server listens on
BLOCK = b"x" * 300_000


@pytest.fixture
def port() -> Iterator[int]:
    """A server on the loopback that echoes its input when it has all of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):  # no connection
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(everything(connection))

        server = threading.Thread(target=serve)
        server.start()
        yield listener.getsockname()[1]
        # Wakes up a thread without a connection: a closed socket alone would leave it waiting.
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        server.join()


def everything(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def test_both_directions_are_relayed_completely(port: int) -> None:
    containers = Bridge(ADDRESS, ipaddress.IPv4Network("127.0.0.0/8"))
    with relayed(containers, {port}), socket.create_connection((ADDRESS, port)) as connection:
        connection.sendall(BLOCK)
        connection.shutdown(socket.SHUT_WR)
        assert everything(connection) == BLOCK


def test_a_connection_from_outside_the_bridge_is_closed(port: int) -> None:
    containers = Bridge(ADDRESS, ipaddress.IPv4Network("172.17.0.0/16"))
    with relayed(containers, {port}), socket.create_connection((ADDRESS, port)) as connection:
        assert connection.recv(1) == b""


def test_the_relay_ends_with_its_block(port: int) -> None:
    with relayed(Bridge(ADDRESS, ipaddress.IPv4Network("127.0.0.0/8")), {port}):
        pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((ADDRESS, port))


def test_a_port_in_use_is_named() -> None:
    with socket.create_server((ADDRESS, 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(LocalStackError, match=f"Port {port} "):  # noqa: SIM117 - the inner one raises
            with relayed(Bridge(ADDRESS, ipaddress.IPv4Network("127.0.0.0/8")), {port}):
                pass


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH that holds a shell and nothing else."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    (tmp_path / "sh").symlink_to("/bin/sh")
    return tmp_path


def install(programs: Path, name: str, script: str) -> None:
    (programs / name).write_text(f"#!/bin/sh\n{script}\n")
    (programs / name).chmod(0o755)


def test_without_a_running_engine_the_error_names_the_engines(programs: Path) -> None:
    for name in PROGRAMS:
        install(programs, name, "exit 1")
    with pytest.raises(LocalStackError, match="no container engine runs: start Docker, Podman") as caught:
        Engine.find()
    assert "\n" not in str(caught.value)


def test_the_first_engine_that_runs_is_used(programs: Path) -> None:
    install(programs, "docker", "exit 1")
    install(programs, "finch", "echo running")
    assert Engine.find() == Engine("finch")


def test_sam_gets_podmans_socket(programs: Path) -> None:
    install(programs, "podman", f"echo unix://{programs}/podman.sock")
    with pytest.raises(LocalStackError, match=r"Podman \(with its socket\)"):
        Engine.find()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(programs / "podman.sock"))
        assert Engine.find() == Engine("podman", {"DOCKER_HOST": f"unix://{programs}/podman.sock"})


@pytest.mark.parametrize(
    ("engine", "network"),
    [
        ("docker", '{"IPAM": {"Config": [{"Subnet": "127.0.0.0/8", "Gateway": "127.0.0.2"}]}}'),
        ("podman", '{"subnets": [{"subnet": "fd00::/64"}, {"subnet": "127.0.0.0/8", "gateway": "127.0.0.2"}]}'),
    ],
)
def test_the_bridge_is_the_engines_default_ipv4_network(programs: Path, engine: str, network: str) -> None:
    install(programs, engine, f"echo '[{network}]'")
    bridge = Engine(engine).bridge()
    assert bridge is None or bridge == Bridge(ADDRESS, ipaddress.IPv4Network("127.0.0.0/8"))
    assert (bridge is None) == (sys.platform != "linux")
