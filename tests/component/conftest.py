"""The stack that all component tests share, and a world for each."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import boto3
import pytest

from local.plaid import Behaviour, PlaidServer, PlaidSimulator, utc_now
from local.stack import LocalStack
from tests.component.world import Deployment, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """The deployed template, with its event source mapping off: the tests hand the batches out themselves."""
    with LocalStack.start(NOWHERE) as stack:
        functions = stack.client("lambda")
        for mapping in functions.list_event_source_mappings()["EventSourceMappings"]:
            functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
        yield stack


@pytest.fixture(scope="session")
def deployment(stack: LocalStack) -> Iterator[Deployment]:
    """What the functions get from the template. This process has all their variables, so that they can be imported."""
    functions, sts = stack.client("lambda"), stack.client("sts")
    environments, sessions = {}, {}
    for name, full_name in stack.functions.items():
        configuration = functions.get_function_configuration(FunctionName=full_name)
        issued = sts.assume_role(RoleArn=configuration["Role"], RoleSessionName="test", DurationSeconds=43200)
        environments[name] = configuration["Environment"]["Variables"]
        sessions[name] = boto3.Session(
            aws_access_key_id=issued["Credentials"]["AccessKeyId"],
            aws_secret_access_key=issued["Credentials"]["SecretAccessKey"],
            aws_session_token=issued["Credentials"]["SessionToken"],
            region_name=stack.emulator.region,
        )
    sdk = {
        "AWS_ENDPOINT_URL": stack.emulator.endpoint_url,
        "AWS_REGION": stack.emulator.region,
        "AWS_DEFAULT_REGION": stack.emulator.region,
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("AWS_SESSION_TOKEN", raising=False)
        for variables in (*environments.values(), sdk):
            for variable, value in variables.items():
                patch.setenv(variable, value)
        yield Deployment(stack, environments, sessions)


@pytest.fixture
def behaviour() -> Behaviour:
    """How this test's Plaid behaves; tests override it. History is ready as soon as an Item is linked."""
    return Behaviour(rate_limits=False, initial_seconds=None, historical_seconds=None)


@pytest.fixture
def clock() -> Callable[[], datetime]:
    """The time of Plaid and of the handlers; tests that need to step it override it."""
    return utc_now


@pytest.fixture
def world(
    deployment: Deployment,
    behaviour: Behaviour,
    clock: Callable[[], datetime],
    request: pytest.FixtureRequest,
) -> Iterator[World]:
    """A world of its own: Plaid is new, and the queues are empty."""
    seed = zlib.crc32(request.node.nodeid.encode())  # ids must differ between tests: they share the tables
    plaid = PlaidSimulator(seed=seed, clock=clock, behaviour=behaviour)
    stack = deployment.stack
    for url in (stack.sync_queue_url, stack.dead_letter_queue_url):
        stack.client("sqs").purge_queue(QueueUrl=url)
    with PlaidServer(plaid) as server:
        world = World(deployment, plaid, server, clock)
        world.restart_webhook_function()
        yield world
