"""Containers reach this machine's loopback by the bridge's address; nobody else does."""

from __future__ import annotations

import ipaddress
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from local.sam.relay import Bridge, relayed
from local.stack.errors import LocalStackError

if TYPE_CHECKING:
    from collections.abc import Iterator

ADDRESS = "127.0.0.2"  # of this machine, and not what the server listens on: as a bridge's
BLOCK = b"x" * 300_000


@pytest.fixture
def port() -> Iterator[int]:
    """A server on the loopback that answers with what it is sent, once it has all of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):  # nobody came
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(everything(connection))

        server = threading.Thread(target=serve)
        server.start()
        yield listener.getsockname()[1]
        # Wakes it up if nobody came: a thread that waits at a closed socket would wake up at another test's.
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        server.join()


def everything(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def test_both_directions_are_passed_on_to_the_end(port: int) -> None:
    containers = Bridge(ADDRESS, ipaddress.IPv4Network("127.0.0.0/8"))
    with relayed(containers, {port}), socket.create_connection((ADDRESS, port)) as connection:
        connection.sendall(BLOCK)
        connection.shutdown(socket.SHUT_WR)
        assert everything(connection) == BLOCK


def test_who_is_not_on_the_bridge_is_hung_up_on(port: int) -> None:
    containers = Bridge(ADDRESS, ipaddress.IPv4Network("172.17.0.0/16"))
    with relayed(containers, {port}), socket.create_connection((ADDRESS, port)) as connection:
        assert connection.recv(1) == b""


def test_nothing_listens_afterwards(port: int) -> None:
    with relayed(Bridge(ADDRESS, ipaddress.IPv4Network("127.0.0.0/8")), {port}):
        pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((ADDRESS, port))


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server((ADDRESS, 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(LocalStackError, match=f"Port {port} "):  # noqa: SIM117 - the inner one raises
            with relayed(Bridge(ADDRESS, ipaddress.IPv4Network("127.0.0.0/8")), {port}):
                pass
