"""The stack that all component tests share, and a world for each."""

from __future__ import annotations

import os
import zlib
from typing import TYPE_CHECKING

import pytest

from local.plaid import Behaviour, PlaidServer, PlaidSimulator, SimulatedClock, utc_now
from local.stack import LocalStack
from tests.component.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """The deployed template, with its event source mapping off: the tests hand the batches out themselves."""
    with LocalStack.start("http://127.0.0.1:9") as stack:
        functions = stack.client("lambda")
        for mapping in functions.list_event_source_mappings()["EventSourceMappings"]:
            functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
        with pytest.MonkeyPatch.context() as patch:
            _enter(stack, patch)
            yield stack


def _enter(stack: LocalStack, patch: pytest.MonkeyPatch) -> None:
    """Give this process the environment of the functions, so that their modules can be imported."""
    for name in stack.functions:
        configuration = stack.client("lambda").get_function_configuration(FunctionName=stack.functions[name])
        for variable, value in configuration["Environment"]["Variables"].items():
            patch.setenv(variable, value or "http://127.0.0.1:9")
    patch.setenv("AWS_ENDPOINT_URL", stack.emulator.endpoint_url)
    patch.setenv("AWS_REGION", stack.emulator.region)
    patch.setenv("AWS_DEFAULT_REGION", stack.emulator.region)
    patch.setenv("AWS_ACCESS_KEY_ID", stack.emulator.access_key_id)
    patch.setenv("AWS_SECRET_ACCESS_KEY", stack.emulator.secret_access_key)
    os.environ.pop("AWS_SESSION_TOKEN", None)


@pytest.fixture
def behaviour() -> Behaviour:
    """How this test's Plaid behaves; tests override it. History is ready as soon as an Item is linked."""
    return Behaviour(rate_limits=False, initial_seconds=None, historical_seconds=None)


@pytest.fixture
def clock() -> Callable[[], object]:
    """The time of Plaid and of the handlers; tests that need to step it override it."""
    return utc_now


@pytest.fixture
def world(
    stack: LocalStack, behaviour: Behaviour, clock: SimulatedClock, request: pytest.FixtureRequest
) -> Iterator[World]:
    """A world of its own: Plaid is new, and the queues are empty."""
    seed = zlib.crc32(request.node.nodeid.encode())  # ids must differ between tests: they share the tables
    plaid = PlaidSimulator(seed=seed, clock=clock, behaviour=behaviour)
    for url in (stack.sync_queue_url, stack.dead_letter_queue_url):
        stack.client("sqs").purge_queue(QueueUrl=url)
    with PlaidServer(plaid) as server:
        world = World(stack, plaid, server, clock)
        world.restart_webhook_function()
        yield world
