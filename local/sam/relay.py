"""Let containers reach what listens on this machine's loopback, and nobody else.

On Linux a container reaches its host at the bridge's address only. Listening on all addresses would open the local
stack, whose administrator may run code, to the network; so this listens on the bridge's, and hangs up on whoever
connects to it from anywhere else. Docker Desktop needs none of it: there `host.docker.internal` leads to the loopback
by itself.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import platform
import selectors
import shutil
import socket
import subprocess
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local.stack.errors import LocalStackError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

LOOPBACK = "127.0.0.1"
_BLOCK = 65536


@dataclass(frozen=True, slots=True)
class Bridge:
    """The engine's default network.

    Attributes:
        address: This machine's on it.
        network: Whose addresses the containers have.
    """

    address: str
    network: ipaddress.IPv4Network


def find_bridge(environment: Mapping[str, str]) -> Bridge | None:
    """Return the container engine's bridge; None where the engine runs in a machine of its own and needs no relay.

    Args:
        environment: Where the engine is, if not where `docker` looks by itself.

    Raises:
        LocalStackError: No engine answers.
    """
    if platform.system() != "Linux":
        return None
    docker = shutil.which("docker", path=environment.get("PATH"))
    asked = ["network", "inspect", "bridge", "--format", "{{json .IPAM.Config}}"]
    # The engine's own client.
    done = docker and subprocess.run(  # noqa: S603 # nosec B603
        [docker, *asked], env=os.environ | environment, capture_output=True, text=True, check=False
    )
    if not done or done.returncode:
        reason = done.stderr.strip() if done else "there is no docker on PATH"
        raise LocalStackError(f"--containers needs a container engine that runs: {reason}")
    for entry in json.loads(done.stdout):
        network = ipaddress.ip_network(entry["Subnet"])
        if isinstance(network, ipaddress.IPv4Network):
            bridge = Bridge(entry.get("Gateway") or str(network[1]), network)
            return bridge if _is_ours(bridge.address) else None
    raise LocalStackError("--containers: the container engine's bridge has no IPv4 network.")


def _is_ours(address: str) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


@contextlib.contextmanager
def relayed(bridge: Bridge | None, ports: Iterable[int]) -> Iterator[None]:
    """Pass connections to `ports` of the bridge's address on to the loopback, for the time of the `with` block.

    Without a bridge, there is nothing to do.

    Raises:
        LocalStackError: A port is taken there.
    """
    with contextlib.ExitStack() as stack:
        if bridge:
            for port in sorted(ports):
                stack.enter_context(_relay(bridge, port))
        yield


@contextlib.contextmanager
def _relay(bridge: Bridge, port: int) -> Iterator[None]:
    try:
        listener = socket.create_server((bridge.address, port))
    except OSError as error:
        raise LocalStackError(f"Port {port} of the containers' bridge, {bridge.address}, is taken: {error}") from error
    with listener:
        threading.Thread(target=_accept, args=(listener, bridge, port), name=f"relay-{port}", daemon=True).start()
        try:
            yield
        finally:
            # Wakes up its thread, which closing alone does not.
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, bridge: Bridge, port: int) -> None:
    with contextlib.suppress(OSError):  # the listener was closed
        while True:
            connection, peer = listener.accept()
            if ipaddress.ip_address(peer[0]) in bridge.network:
                threading.Thread(target=_pass_on, args=(connection, port), daemon=True).start()
            else:
                connection.close()


def _pass_on(inside: socket.socket, port: int) -> None:
    with inside, contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port)) as outside:
        other = {inside: outside, outside: inside}
        with selectors.DefaultSelector() as selector:
            for side in other:
                selector.register(side, selectors.EVENT_READ)
            while selector.get_map():
                for key, _ in selector.select():
                    side = inside if key.fileobj is inside else outside
                    block = side.recv(_BLOCK)
                    if block:
                        other[side].sendall(block)
                    else:
                        selector.unregister(side)
                        other[side].shutdown(socket.SHUT_WR)
