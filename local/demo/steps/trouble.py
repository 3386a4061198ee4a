"""Plaid has bad moments: errors that pass, a login that does not, a key that cannot be looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local.demo.steps.deliveries import KEY_OVERLAP_SECONDS

if TYPE_CHECKING:
    from local.demo.world import World

_SYNC = "/transactions/sync"
_FAULTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("an internal error (500)", {"error_code": "INTERNAL_SERVER_ERROR"}),
    ("too many requests (429)", {"error_code": "TRANSACTIONS_SYNC_LIMIT"}),
    ("a dropped connection", {"drop": "before"}),
    ("an answer lost on the way", {"drop": "after"}),
)


def plaid_has_bad_moments(world: World) -> None:
    """Have different things go wrong for different Items at once, and let them all recover."""
    world.settle()
    for item_id, (name, fault) in zip(world.items, _FAULTS, strict=False):
        world.say(f"{world.name(item_id)} meets {name}")
        world.plaid.inject_fault(_SYNC, item_id=item_id, **fault)
        world.plaid.evolve(item_id, steps=5)
        world.happened[name] += 1
    _login_is_lost(world, world.items[len(_FAULTS)])
    _keys_cannot_be_looked_up(world, world.items[len(_FAULTS)])
    before = world.observer.progress()
    progress = world.settle()
    failed = sum(progress.failures.values()) - before.failures["unregistered"]
    waited_for = 1  # too many requests: the worker waits for the next minute itself
    world.expect("every error of Plaid's was met and survived", kept=failed >= len(_FAULTS) - waited_for)
    world.say("all of them have recovered")


def _login_is_lost(world: World, item_id: str) -> None:
    before = world.observer.progress().outcomes["needs_user"]
    world.plaid.reset_login(item_id)
    world.wait_until(lambda progress: progress.outcomes["needs_user"] > before, "the lost login to be noted")
    world.plaid.evolve(item_id, steps=5)
    world.plaid.repair_login(item_id)
    world.say(f"{world.name(item_id)}: its user has logged in again")
    world.happened["login lost and repaired"] += 1


def _keys_cannot_be_looked_up(world: World, item_id: str) -> None:
    """Refuse the look-up of a new key: the webhook is answered 503, and Plaid comes again."""
    world.wait_for_plaid(lambda: world.plaid.wait_idle(0.1), "Plaid's webhooks to be delivered")
    before = world.observer.look().webhooks["failed"]
    world.say("Plaid has a new key, but for a moment nobody can look it up")
    world.plaid.rotate_keys(KEY_OVERLAP_SECONDS)
    world.plaid.inject_fault("/webhook_verification_key/get", "INTERNAL_SERVER_ERROR", times=2)
    world.plaid.add(item_id, 2)
    world.wait_until(lambda progress: progress.webhooks["failed"] >= before + 2, "webhooks to be answered 503")
    world.happened["webhooks refused with 503 and sent again"] += 2
