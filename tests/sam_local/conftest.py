"""A container engine, the local stack with two synced Items, and `sam local` as the documents say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local.containers import ContainerEngine, NoContainerEngineError
from local.plaid import Behavior, PlaidServer, PlaidSimulator
from local.stack import LocalStack
from local.stack.dotenv import dotenv, published, variables_of
from local.stack.paths import Places, say
from local.stack.serving import only_one, open_to_containers
from tests.sam_local.sam import Sam
from tests.sam_local.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def engine() -> Iterator[ContainerEngine]:
    """The engine that runs here, or one of our own."""
    try:
        with ContainerEngine.running(Places(), say) as engine:
            yield engine
    except NoContainerEngineError as error:
        pytest.exit(f"sam local was not run: {error}", returncode=0)


@pytest.fixture(scope="session")
def scene(engine: ContainerEngine) -> Iterator[Scene]:
    """The stack as `make local ARGS=--containers` has it, but that no queue and no stream invokes a function."""
    places = Places()
    plaid = PlaidSimulator(behavior=Behavior(rate_limits=False, initial_seconds=0, historical_seconds=0))
    with (
        only_one(places),
        PlaidServer(plaid) as server,
        LocalStack.start(server.base_url, places=places, logs=places.logs) as stack,
        open_to_containers(stack, places, environment=engine.environment),
        published(places.env, dotenv(variables_of(stack))),
    ):
        yield Scene.set(plaid, stack)


@pytest.fixture(scope="session")
def sam(engine: ContainerEngine, scene: Scene) -> Sam:
    """`sam local`, while the stack is ready."""
    assert scene.stack.emulator.running
    return Sam(engine)
