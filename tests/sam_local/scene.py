"""What the tests use: `sam local`, the local stack with two synced Items, and a queue that receives its events."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest
import urllib3

from local.comparison import compare
from local.events import RunningSubject, Samples
from local.plaid import Phase
from local.snapshot import tables_of, truth_of
from local.stack.dotenv import variables_of
from local.stack.emulator import claim_port
from local.stack.paths import Places, say
from local.stack.running import RunningStack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.plaid import PlaidSimulator
    from local.sam.containers import Engine
    from local.stack import LocalStack

SAM: Final = Places().cache / "tools" / "sam" / "bin" / "sam"
SAM_SECONDS: Final = 240
SYNC_SECONDS: Final = 60
MAX_MESSAGES: Final = 10


@dataclass(frozen=True)
class Sam:
    """`sam local`, as the documents say, from the project's folder.

    LAMBDA_BASE_IMAGE names an image to use instead of AWS's own, which it does not pull.
    """

    engine: Engine

    def invoke(self, function: str, event: object) -> Any:
        done = subprocess.run(
            self._command("invoke", function, "--event", "-"),
            input=json.dumps(event),
            capture_output=True,
            text=True,
            check=False,
            timeout=SAM_SECONDS,
            **self._options,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        answer = json.loads(done.stdout)
        assert "errorType" not in answer, f"{answer}\n{done.stderr[-3000:]}"  # SAM exits with 0 all the same
        return answer

    @contextmanager
    def serving(self, service: str) -> Iterator[str]:
        """Run `sam local start-api` or `start-lambda`; yield its address."""
        port, log = claim_port(), Places().logs / f"sam-{service}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                self._command(service, "--port", str(port)), stdout=output, stderr=output, **self._options
            )
        try:
            _wait_until_served(process, f"http://127.0.0.1:{port}")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)

    def _command(self, command: str, *arguments: str) -> list[str]:
        image = os.environ.get("LAMBDA_BASE_IMAGE")
        options = ("--skip-pull-image", "--invoke-image", image) if image else ()
        return [str(SAM), "local", command, *arguments, "--config-env", "local", *options]

    @property
    def _options(self) -> dict[str, Any]:
        environment = {**os.environ, **self.engine.environment, "SAM_CLI_TELEMETRY": "0"}
        return {"cwd": Places().project, "env": environment}


def _wait_until_served(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + SAM_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib3.request("GET", url, retries=False, timeout=5)
        except urllib3.exceptions.HTTPError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"sam does not serve {url}: see .local/logs")


@dataclass(frozen=True)
class Scene:
    """Two linked and synced Items, and no webhook, queue or stream that invokes a function.

    Attributes:
        application_queue_url: A queue that receives every event on the bus.
    """

    plaid: PlaidSimulator
    stack: LocalStack
    subject: RunningSubject
    application_queue_url: str

    @classmethod
    def set(cls, plaid: PlaidSimulator, stack: LocalStack) -> Scene:
        """Link and sync the Items, then disable all event sources."""
        subject = RunningSubject(RunningStack(variables_of(stack)), say)
        assert subject.item_id != subject.other_item_id
        scene = cls(plaid, stack, subject, _application_queue(stack))
        deadline = time.monotonic() + SYNC_SECONDS
        while any(plaid.item(item_id).phase < Phase.HISTORICAL for item_id in scene.items) or scene.differences():
            assert time.monotonic() < deadline, scene.differences()
            time.sleep(0.2)
        plaid.hold_webhooks()
        functions = stack.client("lambda")
        for mapping in functions.list_event_source_mappings()["EventSourceMappings"]:
            functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
        scene.queued()
        return scene

    @property
    def items(self) -> tuple[str, str]:
        return self.subject.item_id, self.subject.other_item_id

    def event(self, name: str) -> dict[str, Any]:
        return Samples(self.subject).event(name)

    def received(self, queue_url: str, wait_seconds: int = 0) -> list[dict[str, Any]]:
        sqs, found = self.stack.client("sqs"), list[dict[str, Any]]()
        while messages := sqs.receive_message(
            QueueUrl=queue_url, MaxNumberOfMessages=MAX_MESSAGES, WaitTimeSeconds=wait_seconds
        ).get("Messages"):
            for message in messages:
                sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
                found.append(json.loads(message["Body"]))
        return found

    def queued(self) -> list[dict[str, Any]]:
        """Receive all messages of the sync queue: what a function sent is there when it answers."""
        return self.received(self.stack.sync_queue_url)

    def differences(self) -> list[object]:
        items = [item for item in truth_of(self.plaid) if item.item_id in self.items]
        found = compare(items, tables_of(self.stack)).differences
        return [difference for difference in found if difference.item_id in self.items]


def _application_queue(stack: LocalStack) -> str:
    sqs, events = stack.client("sqs"), stack.client("events")
    url = str(sqs.create_queue(QueueName="application")["QueueUrl"])
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    bus, pattern = stack.resources.id("EventBus"), json.dumps({"source": ["plaid-sync-engine"]})
    events.put_rule(Name="all", EventBusName=bus, EventPattern=pattern, State="ENABLED")
    events.put_targets(Rule="all", EventBusName=bus, Targets=[{"Id": "queue", "Arn": arn}])
    return url
