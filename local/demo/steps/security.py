"""Webhooks that are repeated, and webhooks that are forged."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING

from local.demo.forgeries import forgeries_of, invented_keys

if TYPE_CHECKING:
    from local.demo.world import World
    from local.plaid import Delivery

_INVENTED = 150
_LOOKUPS_PER_PROCESS = 10
_APART_SECONDS = 90
_KEY_LOOKUP = "/webhook_verification_key/get"


def repeated_webhooks(world: World) -> None:
    """Show that the same delivery counts once, and that another delivery with an equal body does not."""
    world.settle()
    genuine = _latest(world)
    before = world.observer.look().triggers
    answer = world.application.post_webhook(genuine.body, genuine.attempts[-1].token)
    triggers = world.settle().triggers - before
    world.say(f"a genuine webhook delivered again, byte for byte: answered {answer.status}, {triggers} new syncs")
    world.expect("an exact duplicate is accepted and leads to no sync", kept=(answer.status, triggers) == (200, 0))
    world.happened["exact duplicate"] += 1
    _equal_bodies(world, genuine)


def _equal_bodies(world: World, genuine: Delivery) -> None:
    """Deliver equal bodies, signed 90 seconds apart: SQS alone would take the second for a duplicate."""
    item_id, now = str(genuine.payload["item_id"]), time.time()
    before = world.observer.progress().triggers
    for signed_at in (now - _APART_SECONDS, now):
        world.plaid.add(item_id, 2, notify=False)
        world.application.post_webhook(genuine.body, world.plaid.sign(genuine.body, signed_at))
        world.settle()
    triggers, unheard = world.observer.look().triggers - before, world.unheard_changes(item_id)
    world.say(f"two webhooks with equal bodies, signed 90 s apart: {triggers} syncs, {unheard} changes missed")
    world.expect("equal bodies 90 seconds apart both lead to a sync", kept=(triggers, unheard) == (2, 0))
    world.happened["equal bodies apart"] += 1


def forged_webhooks(world: World) -> None:
    """Post webhooks that are not Plaid's; each must be refused for its reason, and none may reach the queue."""
    genuine, before = _latest(world), world.settle()
    for forgery in forgeries_of(world.plaid, genuine):
        answer = world.application.post_webhook(forgery.body, forgery.token)
        world.say(f"  webhook {forgery.name}: {answer.status} {answer.text}")
        refused = (answer.status, answer.text) == (HTTPStatus.UNAUTHORIZED, forgery.reason)
        world.expect(f"a webhook {forgery.name} is answered 401 {forgery.reason}", kept=refused)
        world.happened["forged"] += 1
    _invent_keys(world, genuine)
    after = world.settle()
    reached = after.triggers - before.triggers
    world.say(
        f"{after.webhooks['rejected'] - before.webhooks['rejected']} forged webhooks: {reached} reached the queue"
    )
    world.expect("no forged webhook reaches the queue", kept=reached == 0 and after.queue == 0)


def _invent_keys(world: World, genuine: Delivery) -> None:
    before = world.plaid.calls[_KEY_LOOKUP]
    for forgery in invented_keys(world.plaid, genuine, _INVENTED):
        answer = world.application.post_webhook(forgery.body, forgery.token)
        world.expect("an invented key is answered 401", kept=answer.status == HTTPStatus.UNAUTHORIZED)
        world.happened["forged"] += 1
    asked, processes = world.plaid.calls[_KEY_LOOKUP] - before, world.observer.look().processes
    world.say(
        f"  {_INVENTED} webhooks with invented key ids: all 401, and only {asked} questions to Plaid "
        f"(each of the {processes} processes asks at most {_LOOKUPS_PER_PROCESS} times a minute)"
    )
    world.expect("invented keys lead to few questions to Plaid", kept=asked <= processes * _LOOKUPS_PER_PROCESS)


def _latest(world: World) -> Delivery:
    """Return the latest webhook that led to a sync."""
    return next(
        delivery
        for delivery in reversed(world.plaid.webhooks())
        if delivery.state == "delivered" and delivery.payload["webhook_code"] == "SYNC_UPDATES_AVAILABLE"
    )
