"""What all schedules of a process share: the deployed stack, a Plaid server, and execution environments."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import struct
import sys
import tempfile
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

import boto3
import pytest
from botocore.retries.quota import RetryQuota
from plaid_sync.aws import clients
from plaid_sync.aws.dynamodb import item_indexes, item_rows
from plaid_sync.aws.dynamodb.change_log import ChangeLogTable
from plaid_sync.aws.dynamodb.items import ItemsTable
from plaid_sync.aws.dynamodb.transactions import TransactionRows
from plaid_sync.domain.clock import SystemClock
from plaid_sync.plaid import items as plaid_items
from plaid_sync.sync import planner
from plaid_sync_cli.snapshots import Snapshots

from local.plaid import PlaidServer, PlaidSimulator, SimulatedClock
from local.stack.paths import Places
from tests.deployment import deployed, idle_stack
from tests.simulation.faults.boundary import intercepted_calls, unobserved

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from botocore.config import Config

    from local.stack import LocalStack

START: Final = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
CLIENT_ID: Final = "local-client-id"
ENVIRONMENTS: Final = 3
"""Execution environments of each function."""
_NO_GAUGES: Final = timedelta(days=10_000)
"""Gauges are not what schedules check."""
_BUILDERS: Final = {
    "sync": ("processor", "build_processor"),
    "webhook": ("receiver", "build_receiver"),
    "items": ("api", "build_api"),
    "sweep": ("sweep", "build_sweep"),
    "changes": ("publishers", "build_publishers"),
}


class SimulationClock(SimulatedClock):
    """The true time of a schedule. The emulator's queues follow it, ahead by their own error."""

    def __init__(self, file: Path, queue_error: timedelta) -> None:
        super().__init__(START)
        self._file = file.open("r+b", buffering=0)
        self._queue_error = queue_error
        self.advance(0)

    def advance(self, seconds: float | timedelta) -> datetime:
        """Let time pass, for the queues too."""
        now = super().advance(seconds)
        self._file.seek(0)
        self._file.write(struct.pack("d", (now + self._queue_error).timestamp()))
        return now

    def close(self) -> None:
        self._file.close()


class CachingSession(boto3.Session):
    """A role's session that creates each client once: they would be most of the cost of a schedule.

    So clients outlive the processes that die in a schedule, but the SDK's retry quota must not: it is unlimited.
    """

    def __init__(self, session: boto3.Session) -> None:
        super().__init__(botocore_session=session._session)  # noqa: SLF001 - boto3 has no other way to share its loader
        self._clients: dict[tuple[str, str], Any] = {}

    def create_client(self, service: str, config: Config) -> Any:
        key = service, str(vars(config))
        if key not in self._clients:
            self._clients[key] = self.client(service, config=config)
        return self._clients[key]


@dataclass(slots=True)
class Harness:
    """What all schedules of a process share.

    Attributes:
        variables: each function's environment variables.
        sessions: the session of each function's role.
    """

    stack: LocalStack
    variables: dict[str, dict[str, str]]
    sessions: dict[str, CachingSession]
    server: PlaidServer
    clock_file: Path
    stored_secret: str = ""
    snapshots: Snapshots = field(init=False)
    _key_names: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make what reads snapshots, as an operator does."""
        stack, clock = self.stack, SystemClock()
        dynamodb = stack.client("dynamodb")
        self.snapshots = Snapshots(
            ItemsTable(dynamodb, stack.items_table, stack.history_table, clock),
            TransactionRows(dynamodb, stack.transactions_table, clock),
            ChangeLogTable(dynamodb, stack.history_table, clock),
            clock,
        )

    def store_secret(self, secret: str) -> None:
        """Store Plaid's secret for the functions, unless it is stored."""
        if secret != self.stored_secret:
            value = json.dumps({"client_id": CLIENT_ID, "secret": secret})
            secret_id = self.variables["sync"]["PLAID_SECRET_ID"]
            self.stack.client("secretsmanager").put_secret_value(SecretId=secret_id, SecretString=value)
            self.stored_secret = secret

    def clear_tables(self) -> None:
        """Delete everything that is stored: the ids of the next schedule are the same."""
        stack, dynamodb = self.stack, self.stack.client("dynamodb")
        for table in (
            stack.items_table,
            stack.transactions_table,
            stack.quarantine_table,
            stack.history_table,
            stack.links_table,
            stack.shared_table,
        ):
            if table not in self._key_names:
                schema = dynamodb.describe_table(TableName=table)["Table"]["KeySchema"]
                self._key_names[table] = [key["AttributeName"] for key in schema]
            found = dynamodb.scan(TableName=table, ConsistentRead=True)
            assert "LastEvaluatedKey" not in found, "histories here are small"
            deletes = [
                {"DeleteRequest": {"Key": {name: row[name] for name in self._key_names[table]}}}
                for row in found["Items"]
            ]
            for start in range(0, len(deletes), 25):
                dynamodb.batch_write_item(RequestItems={table: deletes[start : start + 25]})


@dataclass(slots=True)
class Environment:
    """One execution environment of a function: its module is its memory. It is the engine's clock, too.

    Attributes:
        changes: environment variables that differ from the deployed ones.
        clock_error: how far its clock is ahead of the true time.
        busy: whether an invocation runs in it.
        warm: whether its process lives.
        beat: the heartbeat of the batch that it processes.
    """

    function: str
    number: int
    harness: Harness
    clock: SimulationClock
    wait: Callable[[float], None]
    changes: dict[str, str]
    clock_error: timedelta = timedelta(0)
    busy: bool = False
    warm: bool = False
    beat: Callable[[], None] | None = None

    def now(self) -> datetime:
        return self.clock() + self.clock_error

    def sleep(self, seconds: float) -> None:
        with unobserved():
            self.wait(seconds)

    @contextmanager
    def timer(self, beat: Callable[[], None]) -> Iterator[None]:
        """Implement `Timer`: the world calls `beat` while time passes."""
        self.beat = beat
        try:
            yield
        finally:
            self.beat = None

    def act(self) -> None:
        """Let the clients that are made from now on have the function's role: some are made late."""
        clients.session = self.harness.sessions[self.function]

    def handler(self) -> Callable[[dict[str, Any], Any], Any]:
        """Return the handler; a cold environment starts."""
        module = _module(self.function, self.number)
        if not self.warm:
            attribute, builder = _BUILDERS[self.function]
            self.act()
            deployed = self.harness.variables[self.function]
            environment = deployed | {"PLAID_BASE_URL": self.harness.server.base_url} | self.changes
            options = {"spread": lambda: 1.0, "timer": self.timer} if self.function == "sync" else {}
            setattr(module, attribute, getattr(module, builder)(environment, self, **options))
            if self.function == "sweep":
                module.sweep.gauges_at = self.now() + _NO_GAUGES
            self.warm = True
        handler: Callable[[dict[str, Any], Any], Any] = module.lambda_handler
        return handler


@cache
def _module(function: str, number: int) -> ModuleType:
    """Return a function's module, loaded once for each execution environment: each has its own globals."""
    source = Path(__file__).parents[3] / "functions" / function / "app.py"
    spec = importlib.util.spec_from_file_location(f"{function}_environment_{number}", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look it up
    spec.loader.exec_module(module)
    return module


@contextmanager
def harness(log: TextIO | None = None) -> Iterator[Harness]:
    """Deploy once, and intercept every call of a handler.

    Args:
        log: takes all logs and metrics of the functions; None drops them.
    """
    temporary = Places().temporary
    temporary.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=temporary, prefix="queue-clock-") as file, _patched(log):
        file.write(struct.pack("d", START.timestamp()))
        file.flush()
        with idle_stack({"queue_clock": Path(file.name)}) as stack, deployed(stack) as deployment:
            sessions = {name: CachingSession(deployment.sessions[name]) for name in _BUILDERS}
            with PlaidServer(PlaidSimulator(), background=False) as server, intercepted_calls():
                yield Harness(stack, deployment.environments, sessions, server, Path(file.name))


@contextmanager
def _patched(log: TextIO | None) -> Iterator[None]:
    """Restore the limits at the end, redirect logs and metrics, and let no schedule use up the SDK's retries.

    Thousands of failures are the point: an SDK client stops retrying after enough of them.
    """
    with pytest.MonkeyPatch.context() as patch, Path(os.devnull).open("w") as null, redirect_stdout(log or null):
        for module, limit in ((plaid_items, "PAGE_SIZE"), (planner, "MAX_ROWS"), (planner, "PART_ENTRIES")):
            patch.setattr(module, limit, getattr(module, limit))
        for module in (item_rows, item_indexes):
            patch.setattr(module, "SHARDS", 2)
        patch.setattr(RetryQuota.__init__, "__defaults__", (10**9, None))
        if log is None:
            patch.setenv("POWERTOOLS_METRICS_DISABLED", "true")
            logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def set_limits(page_size: int, transaction_size: int, part_size: int) -> None:
    """Make the limits small, so that small histories need several pages and several transactions."""
    plaid_items.PAGE_SIZE = page_size  # type: ignore[misc] # a constant of the engine
    planner.MAX_ROWS = transaction_size  # type: ignore[misc] # likewise
    planner.PART_ENTRIES = part_size  # type: ignore[misc] # likewise
