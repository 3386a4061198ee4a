"""The stack on the emulator, which all subjects of a run share."""

from __future__ import annotations

import atexit
from contextlib import ExitStack
from functools import cache
from itertools import count
from typing import TYPE_CHECKING, Final

from tests.deployment import deployed, idle_stack
from tests.integration.module_harness import lasting_world

if TYPE_CHECKING:
    from tests.deployment import Deployment
    from tests.integration.harness import World

_SEEDS: Final = count(1)


@cache
def _deployment() -> Deployment:
    resources = ExitStack()
    atexit.register(resources.close)
    return resources.enter_context(deployed(resources.enter_context(idle_stack())))


def new_world() -> World:
    """Return a world with a Plaid of its own, which ends with the process."""
    resources = ExitStack()
    world = resources.enter_context(lasting_world(_deployment(), next(_SEEDS)))
    atexit.register(resources.close)
    return world
