"""Histories become ready at Plaid, first thirty days, then the rest; each step is told by webhook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local.plaid import Fault, Phase

if TYPE_CHECKING:
    from local.demo.world import World

_PAGE_DELAY_SECONDS = 0.5


def histories_arrive(world: World) -> None:
    """Take every Item from NOT_READY over INITIAL to HISTORICAL."""
    early = world.items[:-1]  # the last one still waits for its first sync
    world.wait_for_plaid(lambda: all(world.plaid.item(item).sync_called for item in early), "every Item's first sync")
    world.say("the first 30 days are ready: Plaid's webhooks tell the stack")
    for item_id in world.items:
        world.plaid.advance_phase(item_id)
    world.wait_until(
        lambda progress: all(progress.item(item).syncs for item in early), "the first 30 days to be in the table"
    )
    world.say("the whole histories are ready; that of Item 1 changes while it is being pulled")
    _change_between_pages(world, world.items[0])
    world.plaid.force_mutation(world.items[1], anywhere=True)
    for item_id in world.items[1:]:
        world.plaid.advance_phase(item_id)
    progress = world.settle()
    world.happened["change during a pull"] += progress.restarts
    world.expect("a pull whose data changes starts again", kept=progress.restarts > 1)
    ready = all(world.phase(item_id) is Phase.HISTORICAL for item_id in world.items)
    world.expect("every history is ready", kept=ready)


def _change_between_pages(world: World, item_id: str) -> None:
    """Have Plaid be slow with the second page, and rows appear meanwhile."""
    slow = Fault("/transactions/sync", skip=1, delay=_PAGE_DELAY_SECONDS, item_id=item_id)
    with world.plaid.lock:
        world.plaid.faults.add(slow)
    world.plaid.advance_phase(item_id)
    world.wait_for_plaid(lambda: slow.times == 0, "the second page of Item 1 to be asked for")
    world.plaid.add(item_id, 3)
