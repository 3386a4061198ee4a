"""The stack that all integration tests share, and a world for each."""

from __future__ import annotations

import io
import json
import zlib
from contextlib import contextmanager, nullcontext
from itertools import count
from typing import TYPE_CHECKING

import pytest
from botocore.session import get_session
from plaid_sync.aws import clients

from local.plaid import SimulatedClock, utc_now
from tests.deployment import deployed, idle_stack
from tests.integration.functions import InProcess
from tests.integration.in_process import function, reach
from tests.integration.module_harness import READY_AT_ONCE, lasting_world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from local.plaid import Behavior
    from local.stack import LocalStack
    from tests.deployment import Deployment
    from tests.integration.artifact import Artifact
    from tests.integration.functions import Functions
    from tests.integration.harness import World


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """The deployed template, idle."""
    with idle_stack() as stack:
        yield stack


@pytest.fixture(scope="session")
def deployment(stack: LocalStack) -> Iterator[Deployment]:
    """What the functions get from it."""
    with deployed(stack) as deployment:
        yield deployment


@pytest.fixture(scope="session")
def functions(artifact: Artifact | None) -> Functions:
    """How the functions are invoked: in this process, or with `--artifact` as they were built."""
    return artifact or InProcess()


@pytest.fixture(scope="module", autouse=True)
def default_session() -> Iterator[None]:
    """Each invocation sets the session of the engine's clients to that of its function's role."""
    yield
    clients.session = get_session()


@pytest.fixture
def behavior() -> Behavior:
    """How this test's Plaid behaves; tests override it."""
    return READY_AT_ONCE


@pytest.fixture
def user(request: pytest.FixtureRequest) -> str:
    """A user of this test alone: claims of accounts are a user's."""
    return f"user of {request.node.name}"


@pytest.fixture
def clock() -> Callable[[], datetime]:
    """The time of Plaid and of the handlers; tests that need to step it override it."""
    return utc_now


@pytest.fixture
def output(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, artifact: Artifact | None
) -> Callable[[], str]:
    """Read the logs and the metrics that the functions have written since the last call."""
    if artifact is not None:
        artifact.output()
        return artifact.output
    (handler,) = function("webhook").logger.handlers  # those of all functions
    logs = io.StringIO()
    monkeypatch.setattr(handler, "stream", logs)

    def read() -> str:
        text = capsys.readouterr().out + logs.getvalue()
        logs.truncate(logs.seek(0))
        return text

    return read


@pytest.fixture
def calls_to_die_at(request: pytest.FixtureRequest) -> Iterator[int]:
    """Count the calls at which a function is killed, without end: each seventh one, or with `--exhaustive` each."""
    return count(1, 1 if request.config.getoption("exhaustive") else 7)


@pytest.fixture
def world(
    deployment: Deployment,
    behavior: Behavior,
    clock: Callable[[], datetime],
    functions: Functions,
    request: pytest.FixtureRequest,
) -> Iterator[World]:
    """A Plaid of its own, and empty queues."""
    seed = zlib.crc32(request.node.nodeid.encode())
    with lasting_world(deployment, seed, functions, behavior, clock) as world:
        world.restart_webhook_function()
        with no_time_of_its_own(world) if functions.real_time else nullcontext():
            yield world


@contextmanager
def no_time_of_its_own(world: World) -> Iterator[None]:
    """Refuse a test that steps the world's clock, or waits in its own way: the artifact knows the real ones only."""
    clock, pause = world.clock, world.pause
    began = clock()
    yield
    if world.clock is not clock or (isinstance(clock, SimulatedClock) and clock() != began):
        reach("its clock")
    if world.pause is not pause:
        reach("its pause")


@pytest.fixture
def application(stack: LocalStack) -> Iterator[str]:
    """An application's queue, with a rule that puts everything there that the engine publishes."""
    sqs, events = stack.client("sqs"), stack.client("events")
    url = sqs.create_queue(QueueName="application")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    bus = stack.resources.id("EventBus")
    pattern = json.dumps({"source": ["plaid-sync-engine"]})
    events.put_rule(Name="all", EventBusName=bus, EventPattern=pattern, State="ENABLED")
    events.put_targets(Rule="all", EventBusName=bus, Targets=[{"Id": "queue", "Arn": arn}])
    yield url
    events.remove_targets(Rule="all", EventBusName=bus, Ids=["queue"])
    events.delete_rule(Name="all", EventBusName=bus)
    sqs.delete_queue(QueueUrl=url)
