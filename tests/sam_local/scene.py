"""What the tests drive and look at: Plaid, the stack, its queue and an application that hears the bus."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from local.comparison import compare
from local.events.running import RunningSubject
from local.events.samples import Samples
from local.plaid import Phase
from local.snapshot import tables_of, truth_of
from local.stack.dotenv import variables_of
from local.stack.paths import say
from local.stack.running import RunningStack

if TYPE_CHECKING:
    from local.plaid import PlaidSimulator
    from local.stack import LocalStack

PATIENCE_SECONDS: Final = 60
MOST_MESSAGES: Final = 10
LONG_AGO: Final = "2020-01-01T00:00:00.000Z"


@dataclass(frozen=True)
class Scene:
    """Two linked and synced Items, of which nobody is told any more but by the tests.

    Attributes:
        heard: the queue of an application that hears all that is announced.
    """

    plaid: PlaidSimulator
    stack: LocalStack
    subject: RunningSubject
    heard: str

    @classmethod
    def set(cls, plaid: PlaidSimulator, stack: LocalStack) -> Scene:
        """Link the Items, then let neither queue, stream nor Plaid invoke a function."""
        subject = RunningSubject(RunningStack(variables_of(stack)), say)
        assert subject.item_id != subject.other_item_id
        scene = cls(plaid, stack, subject, _listener(stack))
        scene.wait_for_the_whole_history()
        plaid.hold_webhooks()
        functions = stack.client("lambda")
        for mapping in functions.list_event_source_mappings()["EventSourceMappings"]:
            functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
        scene.queued()
        return scene

    def wait_for_the_whole_history(self) -> None:
        """Wait until the deployed functions have synced all that Plaid has of both Items."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while any(self.plaid.item(item_id).phase < Phase.HISTORICAL for item_id in self.items) or self.differences():
            assert time.monotonic() < deadline, self.differences()
            time.sleep(0.2)

    @property
    def items(self) -> tuple[str, str]:
        """The Items."""
        return self.subject.item_id, self.subject.other_item_id

    def event(self, name: str) -> dict[str, Any]:
        """Make a sample event."""
        return Samples(self.subject).event(name)

    def received(self, queue_url: str, wait_seconds: int = 0) -> list[dict[str, Any]]:
        """Take everything out of a queue, waiting so long for more; return the messages' documents."""
        sqs, found = self.stack.client("sqs"), list[dict[str, Any]]()
        while messages := sqs.receive_message(
            QueueUrl=queue_url, MaxNumberOfMessages=MOST_MESSAGES, WaitTimeSeconds=wait_seconds
        ).get("Messages"):
            for message in messages:
                sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
                found.append(json.loads(message["Body"]))
        return found

    def queued(self) -> list[dict[str, Any]]:
        """Take all triggers out of the FIFO queue: what a function has sent is there when it answers."""
        return self.received(self.stack.sync_queue_url)

    def differences(self) -> list[object]:
        """Compare the tables with Plaid."""
        items = [item for item in truth_of(self.plaid) if item.item_id in self.items]
        tables = tables_of(self.stack)
        known = set(self.items)
        return [one for one in compare(items, tables).differences if one.item_id in known]

    def let_things_happen(self) -> None:
        """Change both Items at Plaid; the tables differ from then on."""
        for item_id in self.items:
            self.plaid.evolve(item_id, steps=30)
        assert self.differences()

    def make_due(self) -> None:
        """Let the sweep find both Items."""
        for item_id in self.items:
            self.stack.client("dynamodb").update_item(
                TableName=self.stack.items_table,
                Key={"item_id": {"S": item_id}},
                UpdateExpression="SET due_at = :then",
                ExpressionAttributeValues={":then": {"S": LONG_AGO}},
            )


def _listener(stack: LocalStack) -> str:
    """Create an application's queue, with a rule that puts everything there that is announced."""
    sqs, events = stack.client("sqs"), stack.client("events")
    url = str(sqs.create_queue(QueueName="application")["QueueUrl"])
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    bus, pattern = stack.resources.id("EventBus"), json.dumps({"source": ["plaid-sync-engine"]})
    events.put_rule(Name="all", EventBusName=bus, EventPattern=pattern, State="ENABLED")
    events.put_targets(Rule="all", EventBusName=bus, Targets=[{"Id": "queue", "Arn": arn}])
    return url
