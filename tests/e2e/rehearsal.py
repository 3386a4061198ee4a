"""A stack of its own for rehearsing the runbook: faults are provoked, alarms are watched, and an operator acts."""

from __future__ import annotations

import json
import struct
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from local.comparison import compare
from local.demo.application import Application
from local.plaid import Behavior, PlaidServer, PlaidSimulator, utc_now
from local.snapshot import tables_of, truth_of
from local.stack import LocalStack
from local.stack.paths import Places
from tests.e2e.running_stack import Running
from tests.integration.command_line import CommandLine
from tests.integration.harness import overdue_time
from tests.integration.metrics import put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_PATIENCE = 60.0
_GLANCE = 0.05
A_PERIOD = 310.0
"""Seconds after which what was counted in the last five minutes is over."""


@dataclass(slots=True)
class QueueClock:
    """The time of the queues: the real one, and as many seconds ahead as a test says."""

    path: Path
    ahead: float = 0.0
    _stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        with self.path.open("r+b") as file:
            while not self._stopped.wait(0.01):
                file.seek(0)
                file.write(struct.pack("d", time.time() + self.ahead))
                file.flush()

    @contextmanager
    def at(self, ahead: float) -> Iterator[None]:
        """Put the queues' clock so many seconds ahead (below zero: behind) for the time of the `with` block."""
        before, self.ahead = self.ahead, ahead
        time.sleep(0.1)  # until it is written
        yield
        self.ahead = before
        time.sleep(0.1)

    def stop(self) -> None:
        self._stopped.set()


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a fault is provoked on.

    Attributes:
        rung: alarms that were seen to ring.
        cleared: alarms that were seen to be quiet again.
    """

    stack: LocalStack
    plaid: PlaidSimulator
    cli: CommandLine
    queue_clock: QueueClock
    application: Application
    rung: set[str] = field(default_factory=set)
    cleared: set[str] = field(default_factory=set)

    def link(self) -> str:
        """Link an Item with the command line; its history is there when this returns."""
        item_id = str(self.cli.json("link")["item_id"])
        self.wait_until(lambda: self.exact(item_id))
        return item_id

    def exact(self, item_id: str) -> bool:
        truth = [item for item in truth_of(self.plaid) if item.item_id == item_id]
        verdict = compare(truth, tables_of(self.stack))
        return not verdict.items[0].differences

    def wait_until(self, happened: Callable[[], object]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not happened():
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(_GLANCE)

    def let_time_pass_until(self, happened: Callable[[], object]) -> None:
        """Let the next attempts of all Items come, and the sweep run, until something has happened."""
        deadline = time.monotonic() + _PATIENCE
        while not happened():
            assert time.monotonic() < deadline, "it did not happen"
            for row in self.stack.client("dynamodb").scan(TableName=self.stack.items_table)["Items"]:
                if "next_attempt_at" in row:
                    self.store(row["item_id"]["S"], next_attempt_at={"S": overdue_time()})
            self.stack.invoke("sweep", {})
            time.sleep(1)

    def store(self, item_id: str, **attributes: Any) -> None:
        """Set attributes of an Item as they are stored: what would be there by then, or what an operator wrote."""
        self.stack.client("dynamodb").update_item(
            TableName=self.stack.items_table,
            Key={"item_id": {"S": item_id}},
            UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in attributes),
            ConditionExpression="attribute_exists(item_id)",
            ExpressionAttributeNames={f"#{name}": name for name in attributes},
            ExpressionAttributeValues={f":{name}": value for name, value in attributes.items()},
        )

    def rings(self, alarm: str) -> bool:
        rings = self.stack.alarms()[alarm] == "ALARM"
        self.rung.update([alarm] if rings else [])
        return rings

    def await_alarm(self, alarm: str) -> None:
        self.wait_until(lambda: self.rings(alarm))

    def clears(self, alarm: str, after: float = A_PERIOD) -> bool:
        """Return whether an alarm is quiet after so many seconds without another fault."""
        with self.stack.alarms_later(after):
            quiet = self.stack.alarms()[alarm] == "OK"
        self.cleared.update([alarm] if quiet and alarm in self.rung else [])
        return quiet

    def clears_with_the_next_sweep(self, alarm: str) -> bool:
        """Return whether an alarm is quiet when its period has only the measurements of a sweep that runs now."""
        time.sleep(1)
        before = time.monotonic()
        self.sweep()
        time.sleep(1)
        return self.clears(alarm, after=A_PERIOD - 10 - (time.monotonic() - before))

    def sweep(self) -> None:
        """Run the sweep in a new process, whose first run measures the gauges."""
        self.stack.set_environment("sweep", {})
        self.stack.invoke("sweep", {})

    def sync(self, item_id: str) -> None:
        self.stack.client("sqs").send_message(
            QueueUrl=self.stack.sync_queue_url,
            MessageBody=json.dumps({"item_id": item_id, "cause": "request"}),
            MessageGroupId=item_id,
            MessageDeduplicationId=f"{time.time_ns()}",
        )

    def measured(self, name: str, *, at_least: float) -> list[float]:
        """Return the values of a metric that the sync function has emitted, from a minimum on."""
        lines = (json.loads(line) for line in self.stack.logs("sync").splitlines() if line.startswith("{"))
        return [value for line in lines if "_aws" in line for value in line.get(name, []) if value >= at_least]

    def depth(self, url: str) -> int:
        """Return how many messages are in a queue, hidden ones included."""
        attributes = self.stack.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        return sum(int(attributes[name]) for name in names)

    def put(self, name: str, value: float, *, ago: float, **dimensions: str) -> None:
        """Record a value of a metric as of some time ago: what would have been measured if the fault were that old."""
        put(self.stack, name, value, ago=ago, **dimensions)

    @contextmanager
    def denied(self, function: str, *actions: str) -> Iterator[None]:
        iam, functions = self.stack.client("iam"), self.stack.client("lambda")
        arn = functions.get_function_configuration(FunctionName=self.stack.functions[function])["Role"]
        statement = {"Effect": "Deny", "Action": list(actions), "Resource": "*"}
        named = {"RoleName": arn.rpartition("/")[2], "PolicyName": "outage"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_role_policy(**named, PolicyDocument=document)
        yield
        iam.delete_role_policy(**named)


@contextmanager
def rehearsal(folder: Path) -> Iterator[Rehearsal]:
    """Deploy, with the queue's event source mapping on and a queue clock that can be put forward."""
    Places().temporary.mkdir(parents=True, exist_ok=True)
    clock = QueueClock(folder / "queue-clock")
    clock.path.write_bytes(struct.pack("d", time.time()))
    thread = threading.Thread(target=clock.run, daemon=True)
    thread.start()
    behavior = Behavior(rate_limits=False, initial_seconds=0.0, historical_seconds=0.0, history_transactions=25)
    plaid = PlaidSimulator(seed=47, clock=utc_now, behavior=behavior)
    with (
        PlaidServer(plaid) as server,
        LocalStack.start(server.base_url, queue_clock=clock.path) as stack,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.chdir(folder)
        cli = CommandLine.at(Running(stack, server, plaid), folder)
        yield Rehearsal(stack, plaid, cli, clock, Application.create(stack))
    clock.stop()
    thread.join()
