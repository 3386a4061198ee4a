"""Webhooks that come twice, late, in the wrong order, under a new key, or never."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from local.demo.outcome import LOST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local.demo.world import World


KEY_OVERLAP_SECONDS = 10
"""For what was signed with the old key and is still on its way."""
_NAMES = {
    "add": "added",
    "modify": "modified",
    "touch": "reported as modified, unchanged",
    "post": "pending posted",
    "remove": "removed",
    "churn": "given a new id",
    "flash": "added and removed at once",
    "remove unknown": "removed, never seen",
    "readd": "back under the old id",
}


def webhooks_go_astray(world: World) -> None:
    """Let random things happen to all Items while webhooks are disturbed, in a different way each time."""
    steps = max(1, world.options.steps // (len(_DISTURBANCES) + 1))
    for disturb in _DISTURBANCES:
        disturb(world, steps)
        world.settle()
        world.plaid.configure(spell_out=not world.plaid.behavior.spell_out)
    _lost(world, steps)


def _twice(world: World, steps: int) -> None:
    world.say("webhooks come twice")
    with _behaving(world, webhook_duplicates=0.7):
        world.plaid.duplicate_webhooks()
        _live_on(world, steps)
    world.happened["webhooks duplicated"] += 1


def _late_and_overtaken(world: World, steps: int) -> None:
    world.say("webhooks come late, and overtake each other")
    with _behaving(world, webhook_delay=0.3, webhook_reorder=0.5, webhook_reorder_seconds=0.7):
        _live_on(world, steps)
    world.happened["webhooks delayed"] += 1


def _backwards(world: World, steps: int) -> None:
    world.plaid.hold_webhooks()
    _live_on(world, steps)
    held = world.plaid.release_webhooks("lifo")
    world.say(f"{held} webhooks were held back, and now come all at once, the newest first")
    world.happened["webhooks reordered"] += held


def _under_a_new_key(world: World, steps: int) -> None:
    _live_on(world, steps // 2)
    world.plaid.rotate_keys(KEY_OVERLAP_SECONDS)
    world.say("in the midst of it, Plaid begins to sign with a new key")
    _live_on(world, steps - steps // 2)
    world.happened["keys rotated"] += 1


_DISTURBANCES: tuple[Callable[[World, int], None], ...] = (_twice, _late_and_overtaken, _backwards, _under_a_new_key)


def _lost(world: World, steps: int) -> None:
    """Lose every webhook for a while, then let the next one make up for them."""
    with _behaving(world, webhook_loss=1.0):
        _live_on(world, steps)
    lost = sum(delivery.state == "lost" for delivery in world.plaid.webhooks())
    unheard = sum(world.unheard_changes(item_id) for item_id in world.items)
    world.happened[LOST] += lost
    world.say(f"{lost} webhooks are lost: the table does not know of {unheard} changes")
    world.expect("changes whose webhooks are lost are not in the table yet", kept=unheard > 0)
    for item_id in world.items:
        world.plaid.add(item_id)
    world.settle()
    unheard = sum(world.unheard_changes(item_id) for item_id in world.items)
    world.say(f"each Item's next webhook makes up for all that were lost: {unheard} changes unknown")
    world.expect("the next webhook makes up for lost ones", kept=unheard == 0)


def _live_on(world: World, steps: int) -> None:
    """Let random things happen to every Item, in bursts, each told by webhooks, while earlier ones are synced."""
    while steps > 0:
        burst = min(steps, world.rng.randint(1, 8))
        for item_id in world.items:
            count = world.plaid.evolve(item_id, steps=burst)
            world.happened.update({_NAMES[name]: times for name, times in count.items()})
        steps -= burst


@contextmanager
def _behaving(world: World, **switches: Any) -> Iterator[None]:  # noqa: ANN401 - the fields of Behavior
    """Have Plaid behave so for the time of the `with` block, until its webhooks are on their way."""
    former = world.plaid.behavior
    world.plaid.configure(**switches)
    try:
        yield
    finally:
        world.plaid.configure(**{name: getattr(former, name) for name in switches})
