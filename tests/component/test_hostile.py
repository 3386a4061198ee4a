"""Hostile messages and webhooks through the queues as they are deployed: none of them holds up an Item."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.component.world import World

STRANGERS = "strangers"
FOREIGN = {
    "another service's event": json.dumps({"source": "aws.s3", "detail-type": "Object Created"}),
    "no JSON": "not json",
    "a number that no decimal can be": '{"item_id":"item","cause":"request","webhook":{"a":1e9999999999999999999}}',
    "nested without end": "[" * 100_000,
    "a quarter of a megabyte of garbage": "x" * 262_144,
    "bytes that are no UTF-8": bytes(range(0xA0, 0x100)).decode("latin-1") + "\ufffd\u0085",
    "a trigger for an Item that nobody has linked": json.dumps({"item_id": "nobody", "cause": "request"}),
}


def send(world: World, body: str, group: str) -> None:
    world.stack.client("sqs").send_message(
        QueueUrl=world.stack.sync_queue_url,
        MessageBody=body,
        MessageGroupId=group,
        MessageDeduplicationId=os.urandom(16).hex(),
    )


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("in_the_items_group", [True, False])
def test_a_foreign_message_is_parked_at_once_with_its_reason_and_the_trigger_behind_it_is_worked_on(
    world: World, name: str, *, in_the_items_group: bool
) -> None:
    item_id = world.link(transactions=4)
    world.drain()
    world.plaid.add(item_id)
    send(world, FOREIGN[name], item_id if in_the_items_group else STRANGERS)
    world.trigger(item_id)

    records = world.receive()
    assert records[0]["body"] == FOREIGN[name]
    assert world.handle(records) == set()

    assert world.waiting() == 0
    world.assert_exact(item_id)
    (letter,) = world.dead_letters()
    assert letter["Body"] == FOREIGN[name]
    assert letter["MessageAttributes"]["reason"]["StringValue"].startswith("malformed: ")


def test_foreign_messages_between_the_triggers_of_several_items_cost_none_of_them_a_retry(world: World) -> None:
    items = [world.link(transactions=4) for _ in range(3)]
    world.drain()
    for item_id, body in zip(items, FOREIGN.values(), strict=False):
        world.plaid.add(item_id)
        send(world, body, item_id)
        world.trigger(item_id)

    assert world.handle(world.receive()) == set()

    for item_id in items:
        world.assert_exact(item_id)
    assert len(world.dead_letters()) == len(items)


def test_a_header_that_names_a_key_which_no_request_can_ask_for_is_401(world: World) -> None:
    header = base64.urlsafe_b64encode(rb'{"alg":"ES256","kid":"\ud800"}').rstrip(b"=").decode()
    answer = world.post_webhook(b"{}", f"{header}.e30.{'A' * 86}")
    assert answer["statusCode"] == 401


@pytest.mark.parametrize("text", [r'"\ud800"', r'"\ufffe"', '"\uffff"', "[" * 900 + "]" * 900])
def test_a_proven_webhook_is_queued_whatever_else_it_holds(world: World, text: str) -> None:
    item_id = world.link(transactions=4)
    world.drain()
    world.plaid.add(item_id)
    codes = f'"webhook_type": "TRANSACTIONS", "webhook_code": "SYNC_UPDATES_AVAILABLE", "item_id": "{item_id}"'
    body = f'{{{codes}, "extra": {text}}}'.encode()

    assert world.post_webhook(body, world.plaid.sign(body))["statusCode"] == 200

    assert world.drain() == 1
    world.assert_exact(item_id)
    assert world.dead_letters() == []
