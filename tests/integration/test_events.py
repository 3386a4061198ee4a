"""Each sample event gets the answer that its name says."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from local.events import FOLDER, SEED, WRITTEN_AT, FixedSubject, Samples
from local.plaid import PlaidServer, PlaidSimulator, SimulatedClock
from tests.integration.in_process import steps_the_clock
from tests.template.cloudformation import PROJECT, Template

if TYPE_CHECKING:
    from tests.integration.harness import World

EVENTS = {path.stem: json.loads(path.read_text()) for path in FOLDER.glob("*.json")}
TEMPLATE = Template.parse((PROJECT / "template.yaml").read_text())
QUEUED = {
    "webhook_sync_updates_available",
    "webhook_base64",
    "webhook_item_error",
}
REFUSED = {
    "webhook_forged_body": "body_mismatch",
    "webhook_forged_signature": "bad_signature",
    "webhook_unsigned": "missing_header",
}


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(WRITTEN_AT)


def test_the_files_are_up_to_date() -> None:
    def without_signature(event: dict[str, Any]) -> dict[str, Any]:
        headers = {name: value for name, value in event.get("headers", {}).items() if name != "plaid-verification"}
        return event | {"headers": headers}

    samples = Samples(FixedSubject(WRITTEN_AT))
    assert samples.names == sorted(EVENTS)
    assert all(without_signature(samples.event(name)) == without_signature(EVENTS[name]) for name in EVENTS)


@steps_the_clock
@pytest.mark.parametrize("name", sorted(name for name in EVENTS if name.startswith("webhook_")))
def test_a_sample_webhook_gets_the_answer_of_its_name(world: World, name: str) -> None:
    with PlaidServer(PlaidSimulator(seed=SEED, clock=world.clock)) as world.server:
        world.restart_webhook_function()
        event = EVENTS[name]
        answer = world.post_webhook(b"", None, event)
    body = event["body"]
    sent = base64.b64decode(body) if event["isBase64Encoded"] else body.encode()
    if name in REFUSED:
        assert (answer["statusCode"], json.loads(answer["body"])) == (401, {"error": REFUSED[name]})
    else:
        result = "queued" if name in QUEUED else "published"
        assert (answer["statusCode"], json.loads(answer["body"])) == (200, {"result": result})
    queued = [json.loads(record["body"])["webhook"] for record in world.receive()]
    assert queued == ([json.loads(sent)] if name in QUEUED else [])


def test_the_sample_requests_are_valid_and_there_is_one_for_every_route(world: World) -> None:
    answers = {
        "items_link_token": (201, None),
        "items_link": (400, "INVALID_PUBLIC_TOKEN"),
        "items_link_session": (404, "link_session_unknown"),
        "items_import": (400, "invalid_request"),  # Plaid did not issue its access token
        "items_list": (200, None),
        "items_erase_user": (202, None),  # a link token of the user is stored
    }
    for name in sorted(filter(lambda name: name.startswith("items_"), EVENTS), key="items_erase_user".__eq__):
        answer = world.call_items(EVENTS[name])
        code = json.loads(answer["body"]).get("code")
        # All others are for an Item that is not linked.
        assert (answer["statusCode"], code) == answers.get(name, (404, "item_not_found")), name
    routes = {f"{event['Method']} {event['Path']}" for _, event in TEMPLATE.events("HttpApi")}
    assert {event["routeKey"] for event in EVENTS.values() if "routeKey" in event} == routes


def test_the_other_functions_accept_their_sample_events(world: World) -> None:
    records = EVENTS["sync_batch_of_two_items"]["Records"]
    assert world.handle(records) == set()  # neither Item is linked: a link enqueues its own first sync
    assert world.audit(EVENTS["audit_item"])["outcome"] == "unregistered"
    assert world.audit(EVENTS["audit_sample"])["audited"] <= 5
    assert world.invoke("changes", EVENTS["changes_item_needs_user"]) == {"batchItemFailures": []}
    # Without an endpoint, there is nothing to post to.
    assert world.invoke("outbound", EVENTS["outbound_item_needs_user"]) == {"batchItemFailures": []}
    world.sweep()
    assert world.invoke("sweep", EVENTS["sweep_scheduled"])["enqueued"] == 0
