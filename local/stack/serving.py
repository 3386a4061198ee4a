"""What stands beside the stack while it runs: the bundled Plaid server, and the files that `sam local` reads."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from local.sam.files import environments, for_containers, loopback_ports, template_for_sam
from local.sam.relay import find_bridge, relayed
from local.stack.dotenv import published
from local.stack.stack import plaid_credentials

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.stack.paths import Places
    from local.stack.stack import LocalStack


@contextmanager
def bundled_plaid_server() -> Iterator[str]:
    """Serve a Plaid for the time of the `with` block; yield its address."""
    # Not needed, and not loaded, with another server.
    from local.plaid import OffsetClock, PlaidServer, PlaidSimulator  # noqa: PLC0415

    client_id, secret = plaid_credentials()
    with PlaidServer(PlaidSimulator(clock=OffsetClock(), client_id=client_id, secret=secret)) as server:
        yield server.base_url


@contextmanager
def open_to_containers(stack: LocalStack, places: Places, functions_endpoint_url: str | None = None) -> Iterator[None]:
    """Let containers reach the stack, and tell `sam local` how, for the time of the `with` block.

    Raises:
        LocalStackError: No container engine answers, or the bridge's ports are taken.
    """
    found, bridge = environments(stack, functions_endpoint_url), find_bridge()
    ports = loopback_ports(found) if bridge else set()
    with (
        relayed(bridge, ports),
        published(places.sam_template, template_for_sam(places)),
        published(places.sam_env, for_containers(found)),
    ):
        yield
