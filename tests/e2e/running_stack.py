"""A stack of one's own that syncs by itself, with its Plaid: as `make local` has it, but for schedules."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local.plaid import Behavior, PlaidServer, PlaidSimulator, utc_now
from local.stack import LocalStack

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Running:
    stack: LocalStack
    server: PlaidServer
    plaid: PlaidSimulator


@contextmanager
def running_stack(seed: int) -> Iterator[Running]:
    plaid = PlaidSimulator(seed=seed, clock=utc_now, behavior=Behavior(initial_seconds=0.1, historical_seconds=0.5))
    with PlaidServer(plaid) as server, LocalStack.start(server.base_url) as stack:
        yield Running(stack, server, plaid)
