"""People link their banks; one Item's webhook arrives before the Item does."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local.demo.world import World

_LARGE_HISTORY = 900
_HISTORY = (380, 520)
_DAYS = 120


def link_items(world: World) -> None:
    """Link all Items through `POST /items`, as an application would after Plaid Link."""
    status = world.application.link_unsigned("public-sandbox-nobody")
    world.say(f"an unsigned POST /items is answered {status}: only callers that IAM allows can link")
    world.expect("an unsigned POST /items is refused with 403", kept=status == HTTPStatus.FORBIDDEN)
    for number in range(world.options.items - 1):
        _link(world, _public_token(world, number))
    world.say(f"{len(world.items)} Items linked with signed POST /items; their histories are not ready at Plaid yet")
    _outrun_by_webhook(world)


def _outrun_by_webhook(world: World) -> None:
    token = _public_token(world, world.options.items - 1)
    world.say("a webhook arrives for an Item that is linked only a moment later")
    unlinked = world.plaid.public_tokens[token].item
    world.plaid.emit(unlinked, "TRANSACTIONS", "SYNC_UPDATES_AVAILABLE")
    world.wait_until(lambda progress: progress.failures["unregistered"] > 0, "the early webhook to be put off")
    _link(world, token)
    world.happened["webhook before its Item was linked"] += 1
    world.say(f"now it is linked, as {world.name(unlinked.item_id)}: the webhook is still there, and nothing is lost")


def _public_token(world: World, number: int) -> str:
    """Do what a person does in Link. The first history is large enough for several pages."""
    transactions = world.rng.randint(*_HISTORY) if number else _LARGE_HISTORY
    by_link = number % 2 == 0  # otherwise the history starts with our first sync
    return world.plaid.create_public_token(world.stack.webhook_url, transactions, _DAYS, initialize_at_link=by_link)


def _link(world: World, public_token: str) -> None:
    world.items.append(world.application.link(public_token))
    world.happened["linked"] += 1
