"""Hostile messages and webhooks through the queues as they are deployed: none of them holds up an Item."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.harness import World

FOREIGN = [
    json.dumps({"source": "aws.s3", "detail-type": "Object Created"}),
    "not json",
    '{"item_id":"item","cause":"request","webhook":{"a":1e9999999999999999999}}',
    "[" * 100_000,
    "x" * 262_144,
    bytes(range(0xA0, 0x100)).decode("latin-1") + "\ufffd\u0085",
    json.dumps({"item_id": "no-item", "cause": "request"}),
]


@pytest.mark.parametrize("in_the_items_group", [True, False])
def test_foreign_messages_are_dead_lettered_at_once_and_the_messages_behind_them_are_processed(
    world: World, *, in_the_items_group: bool
) -> None:
    items = [world.link(transactions=4) for _ in range(2)]
    world.drain()
    for number, body in enumerate(FOREIGN):
        world.stack.client("sqs").send_message(
            QueueUrl=world.stack.sync_queue_url,
            MessageBody=body,
            MessageGroupId=items[number % 2] if in_the_items_group else "strangers",
            MessageDeduplicationId=os.urandom(16).hex(),
        )
    for item_id in items:
        world.plaid.add(item_id)
        world.enqueue(item_id)

    records = world.receive()
    assert len(records) == len(FOREIGN) + len(items)
    assert world.handle(records) == set()

    assert world.waiting() == 0
    for item_id in items:
        world.assert_exact(item_id)
    letters = world.dead_letters()
    assert sorted(letter["Body"] for letter in letters) == sorted(FOREIGN)
    for letter in letters:
        assert letter["MessageAttributes"]["reason"]["StringValue"].startswith("malformed: ")


def test_a_header_that_names_an_unrequestable_key_is_401(world: World) -> None:
    header = base64.urlsafe_b64encode(rb'{"alg":"ES256","kid":"\ud800"}').rstrip(b"=").decode()
    answer = world.post_webhook(b"{}", f"{header}.e30.{'A' * 86}")
    assert answer["statusCode"] == 401


def test_a_verified_webhook_is_queued_with_any_other_content(world: World) -> None:
    item_id = world.link(transactions=4)
    world.drain()
    codes = f'"webhook_type": "TRANSACTIONS", "webhook_code": "SYNC_UPDATES_AVAILABLE", "item_id": "{item_id}"'
    for text in (r'"\ud800"', r'"\ufffe"', '"\uffff"', "[" * 900 + "]" * 900):
        world.plaid.add(item_id)
        body = f'{{{codes}, "extra": {text}}}'.encode()
        assert world.post_webhook(body, world.plaid.sign(body))["statusCode"] == 200
        assert world.drain() == 1
        world.assert_exact(item_id)
    assert world.dead_letters() == []
