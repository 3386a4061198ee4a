"""What runs beside the stack: its lock, the bundled Plaid server, and what `sam local` needs."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from local.sam.containers import Engine, relayed
from local.sam.files import environments, for_containers, loopback_ports, template_for_sam
from local.stack.dotenv import published
from local.stack.errors import LocalStackError
from local.stack.stack import plaid_credentials

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.stack.paths import Places
    from local.stack.stack import LocalStack


@contextmanager
def only_one(places: Places) -> Iterator[None]:
    """Hold `.local` for one running stack."""
    places.logs.mkdir(parents=True, exist_ok=True)
    with places.lock.open("a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            raise LocalStackError(
                f"The local stack runs already, as process {handle.read()}: use it (see {places.env}), or kill it."
            ) from None
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        for path in places.left_behind:
            path.unlink(missing_ok=True)
        for log in places.logs.glob("*.log"):
            log.unlink()
        yield


@contextmanager
def bundled_plaid_server() -> Iterator[str]:
    """Serve a Plaid for the time of the `with` block; yield its address."""
    # Not needed, and not loaded, with another server.
    from local.plaid import OffsetClock, PlaidServer, PlaidSimulator  # noqa: PLC0415

    client_id, secret = plaid_credentials()
    with PlaidServer(PlaidSimulator(clock=OffsetClock(), client_id=client_id, secret=secret)) as server:
        yield server.base_url


def check_built(places: Places) -> None:
    if not (places.built / "template.yaml").is_file():
        raise LocalStackError(f"--containers: there is nothing in {os.path.relpath(places.built)}: make build-local.")


@contextmanager
def open_to_containers(stack: LocalStack, places: Places, functions_endpoint_url: str | None = None) -> Iterator[None]:
    """Let containers reach the stack, and write the files of `sam local`, within the `with` block."""
    check_built(places)
    found, bridge = environments(stack, functions_endpoint_url), Engine.find().bridge()
    ports = loopback_ports(found) if bridge else set()
    with (
        relayed(bridge, ports),
        published(places.sam_template, template_for_sam(places)),
        published(places.sam_env, for_containers(found)),
    ):
        yield
