"""The container engine of this machine, and how its containers reach the local stack.

Run as a program, it fails with one line if no engine runs.

On Linux a container reaches its host at the bridge's address only. To listen on all addresses would open the local
stack, whose administrator may run code, to the network. So a relay listens on the bridge's address, and closes
connections that do not come from the bridge's network. Docker Desktop needs no relay: it routes `host.docker.internal`
to the loopback address.
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
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local.stack.errors import LocalStackError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

LOOPBACK: Final = "127.0.0.1"
PROGRAMS: Final = {"docker": "bridge", "finch": "bridge", "podman": "podman"}
"""The default network of each engine, by the name of its client."""
_BLOCK: Final = 65536


@dataclass(frozen=True, slots=True)
class Bridge:
    """The engine's default network."""

    address: str
    network: ipaddress.IPv4Network


@dataclass(frozen=True, slots=True)
class Engine:
    """A container engine that runs.

    Attributes:
        environment: What the SAM CLI needs to find it.
    """

    program: str
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def find(cls) -> Engine:
        """Find Docker (also at DOCKER_HOST), Finch or Podman."""
        for program in filter(shutil.which, PROGRAMS):
            if program != "podman":
                if _output(program, "info"):
                    return cls(program)
            elif found := _output(program, "info", "--format", "{{.Host.RemoteSocket.Path}}"):
                # Podman runs without a server, but the SAM CLI needs its socket.
                path = found.strip().removeprefix("unix://")
                if Path(path).is_socket():
                    return cls(program, {"DOCKER_HOST": os.environ.get("DOCKER_HOST", f"unix://{path}")})
        raise LocalStackError("no container engine runs: start Docker, Podman (with its socket) or Finch")

    def bridge(self) -> Bridge | None:
        """Return the default network; None if the engine runs in a virtual machine and needs no relay."""
        if platform.system() != "Linux":
            return None
        name = PROGRAMS[self.program]
        (found,) = json.loads(_output(self.program, "network", "inspect", name) or "[{}]")
        for entry in found.get("subnets") or found.get("IPAM", {}).get("Config") or ():
            values = {key.lower(): value for key, value in entry.items()}
            network = ipaddress.ip_network(values["subnet"])
            if isinstance(network, ipaddress.IPv4Network):
                bridge = Bridge(values.get("gateway") or str(network[1]), network)
                return bridge if _is_local(bridge.address) else None
        raise LocalStackError(f"--containers: {self.program}'s network {name} has no IPv4 addresses.")


def _output(program: str, *arguments: str) -> str | None:
    # The engine's own client.
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)  # noqa: S603 # nosec B603
    return done.stdout if done.returncode == 0 else None


def _is_local(address: str) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


@contextlib.contextmanager
def relayed(bridge: Bridge | None, ports: Iterable[int]) -> Iterator[None]:
    """Relay connections to `ports` of the bridge's address to the loopback address, within the `with` block."""
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
        raise LocalStackError(f"Port {port} of the containers' bridge, {bridge.address}, is in use: {error}") from error
    with listener:
        threading.Thread(target=_accept, args=(listener, bridge, port), name=f"relay-{port}", daemon=True).start()
        try:
            yield
        finally:
            # Wakes up its thread, which close does not.
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, bridge: Bridge, port: int) -> None:
    with contextlib.suppress(OSError):  # the listener is closed
        while True:
            connection, peer = listener.accept()
            if ipaddress.ip_address(peer[0]) in bridge.network:
                threading.Thread(target=_forward, args=(connection, port), daemon=True).start()
            else:
                connection.close()


def _forward(inside: socket.socket, port: int) -> None:
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


if __name__ == "__main__":
    try:
        Engine.find()
    except LocalStackError as error:
        sys.exit(f"sam local: {error}")
