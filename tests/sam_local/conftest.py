"""`make sam-local`: a container engine, the local stack, and `sam local`. Skips where no engine runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local.plaid import Behavior, PlaidServer, PlaidSimulator
from local.sam.containers import Engine
from local.stack import LocalStack
from local.stack.dotenv import dotenv, published, variables_of
from local.stack.errors import LocalStackError
from local.stack.paths import Places
from local.stack.serving import only_one, open_to_containers
from tests.sam_local.scene import SAM, Sam, Scene

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def sam() -> Sam:
    """`sam local`, on the engine that runs."""
    try:
        engine = Engine.find()
    except LocalStackError as error:
        pytest.skip(f"sam local: {error}")
    if not SAM.exists():
        pytest.skip("sam local: the SAM CLI is not installed: make sam-local")
    return Sam(engine)


@pytest.fixture(scope="session")
def scene(sam: Sam) -> Iterator[Scene]:  # noqa: ARG001 - skips without an engine
    """The stack as `make local ARGS=--containers` runs it, without event sources."""
    places = Places()
    plaid = PlaidSimulator(behavior=Behavior(rate_limits=False, initial_seconds=0, historical_seconds=0))
    with (
        only_one(places),
        PlaidServer(plaid) as server,
        LocalStack.start(server.base_url, places=places, logs=places.logs) as stack,
        open_to_containers(stack, places),
        published(places.env, dotenv(variables_of(stack))),
    ):
        yield Scene.set(plaid, stack)
