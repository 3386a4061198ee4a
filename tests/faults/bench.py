"""What all schedules of a process share: the deployed stack, a Plaid server's port, the handlers' modules, and time."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import struct
import tempfile
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.retries.quota import RetryQuota
from plaid_sync.adapters.plaid import transactions as plaid_transactions
from plaid_sync.core.sync import plan

from local.plaid import PlaidServer, PlaidSimulator, SimulatedClock
from local.stack.paths import Places
from tests.deployment import Deployment, deployed, idle_stack
from tests.faults.boundary import held_at_the_boundary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

START = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
CLIENT_ID = "local-client-id"


class Time(SimulatedClock):
    """The time of a schedule, which the emulator's queues follow, off by their own error.

    Attributes:
        queues_ahead: how far the queues' clock is ahead of the right time.
    """

    def __init__(self, file: Path) -> None:
        super().__init__(START)
        self._file = file.open("r+b", buffering=0)
        self.queues_ahead = timedelta(0)
        self._tell()

    def advance(self, seconds: float | timedelta) -> datetime:
        """Let time pass, for the queues too."""
        now = super().advance(seconds)
        self._tell()
        return now

    def _tell(self) -> None:
        self._file.seek(0)
        self._file.write(struct.pack("d", (self() + self.queues_ahead).timestamp()))

    def close(self) -> None:
        """Leave the file."""
        self._file.close()


class OneOfEach(boto3.Session):
    """A role's session that makes each client once: they would be most of the cost of a schedule.

    So they outlive the processes that die in a schedule, and the SDK's budget of retries must not: it is made endless.
    """

    def __init__(self, session: boto3.Session) -> None:
        super().__init__(botocore_session=session._session)  # noqa: SLF001 - boto3 has no other way to share its loader
        self._made: dict[tuple[str, int], Any] = {}

    def client(self, service_name: str, *args: Any, **named: Any) -> Any:
        """Return the client for a service and a configuration."""
        key = (service_name, id(named.get("config")))
        if key not in self._made:
            self._made[key] = super().client(service_name, *args, **named)
        return self._made[key]


@dataclass(slots=True)
class Bench:
    """The shared part."""

    deployment: Deployment
    server: PlaidServer
    clock_file: Path
    clients: dict[str, Any] = field(default_factory=dict)
    sessions: dict[str, OneOfEach] = field(default_factory=dict)
    stored_secret: str = ""

    def session(self, function: str) -> OneOfEach:
        """Return the session of a function's role."""
        if function not in self.sessions:
            self.sessions[function] = OneOfEach(self.deployment.sessions[function])
        return self.sessions[function]

    def store_secret(self, secret: str) -> None:
        """Store Plaid's secret for the functions, unless it is stored."""
        if secret != self.stored_secret:
            value = json.dumps({"client_id": CLIENT_ID, "secret": secret})
            secret_id = self.deployment.environments["sync"]["PLAID_SECRET_ID"]
            self.client("secretsmanager").put_secret_value(SecretId=secret_id, SecretString=value)
            self.stored_secret = secret

    def client(self, service: str) -> Any:
        """Return an administrator's client, for the schedule itself."""
        if service not in self.clients:
            self.clients[service] = self.deployment.stack.client(service)
        return self.clients[service]

    def environment(self, function: str) -> dict[str, str]:
        """Return a function's environment, with this bench's Plaid."""
        return self.deployment.environments[function] | {"PLAID_BASE_URL": self.server.base_url}


@contextmanager
def bench() -> Iterator[Bench]:
    """Deploy once, and hold every call of an actor at the boundary."""
    temporary = Places().temporary
    temporary.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.NamedTemporaryFile(dir=temporary, prefix="queue-clock-") as file,
        _quiet(),
        _endless_retries(),
        _limits_restored(),
    ):
        file.write(struct.pack("d", START.timestamp()))
        file.flush()
        with idle_stack({"queue_clock": Path(file.name)}) as stack, deployed(stack) as deployment:
            server = PlaidServer(PlaidSimulator(), background=False)
            with server, held_at_the_boundary():
                yield Bench(deployment, server, Path(file.name))


@contextmanager
def _limits_restored() -> Iterator[None]:
    """Leave the limits as they were: schedules make them small."""
    limits = plaid_transactions.PAGE_SIZE, plan.MAXIMUM_ROWS
    try:
        yield
    finally:
        plaid_transactions.PAGE_SIZE, plan.MAXIMUM_ROWS = limits  # type: ignore[misc] # as they were


@contextmanager
def _endless_retries() -> Iterator[None]:
    """Let no schedule use up what the next one needs: a client gives up retrying after enough failures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RetryQuota.__init__, "__defaults__", (10**9, None))
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the handlers' logs and metrics to themselves: thousands of failures are the point."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POWERTOOLS_METRICS_DISABLED", "true")
        logging.disable(logging.CRITICAL)
        try:
            with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
                yield
        finally:
            logging.disable(logging.NOTSET)


@cache
def own_module(function: str, number: int) -> ModuleType:
    """Return a function's module, loaded anew for one execution environment: each has globals of its own."""
    source = Path(__file__).parents[2] / "functions" / function / "app.py"
    spec = importlib.util.spec_from_file_location(f"{function}_environment_{number}", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
