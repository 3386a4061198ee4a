"""Ordinary life of transactions: everything that Plaid does to them, to every Item."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING

from local.plaid import CustomTransaction, PlaidSimulator

if TYPE_CHECKING:
    from local.demo.world import World

_TELL_SHARE = 0.5
AMOUNTS = tuple(map(Decimal, ("0.1234567", "-98765432109.87", "0.00")))

Operation = Callable[[PlaidSimulator, str, bool], object]
OPERATIONS: dict[str, Operation] = {
    "added": lambda plaid, item, tell: plaid.add(item, 4, pending=False, notify=tell),
    "added pending": lambda plaid, item, tell: plaid.add(item, 6, pending=True, notify=tell),
    "pending posted on the same page": lambda plaid, item, tell: plaid.post_pending(
        item, link="same page", notify=tell
    ),
    "pending posted on another page": lambda plaid, item, tell: plaid.post_pending(
        item, link="other page", notify=tell
    ),
    "pending posted without a link": lambda plaid, item, tell: plaid.post_pending(item, link="unlinked", notify=tell),
    "modified": lambda plaid, item, tell: plaid.modify(item, notify=tell),
    "reported as modified, unchanged": lambda plaid, item, tell: plaid.touch(item, 5, notify=tell),
    "removed": lambda plaid, item, tell: plaid.remove(item, notify=tell),
    "removed, never seen": lambda plaid, item, tell: plaid.remove_unknown(item, notify=tell),
    "given a new id": lambda plaid, item, tell: plaid.churn(item, notify=tell),
    "added and removed at once": lambda plaid, item, tell: plaid.flash(item, notify=tell),
    "back under the old id": lambda plaid, item, tell: plaid.readd(item, notify=tell),
}

# The documentation does not say which of these it is: `spell_out` and `hide_reverts` of `Behavior`.
_WAYS = {
    "tells the net change": (False, False),
    "spells out every step": (True, False),
    "leaves out what is again as it was": (False, True),
}


def everything_happens(world: World) -> None:
    """Do everything to every Item, once for each way in which Plaid may tell of it."""
    for way, (spell_out, hide_reverts) in _WAYS.items():
        world.say(f"transactions come, post, change and go: Plaid {way}")
        world.plaid.configure(spell_out=spell_out, hide_reverts=hide_reverts)
        for item_id in world.items:
            _everything_once(world, item_id)
        world.settle()
        world.happened[f"Plaid {way}"] += 1


def _everything_once(world: World, item_id: str) -> None:
    for name, operation in OPERATIONS.items():
        tell = world.rng.random() < _TELL_SHARE
        world.happened[name] += bool(operation(world.plaid, item_id, tell))
    world.plaid.refresh(item_id)
    world.happened["refreshed"] += 1


def exact_amounts(world: World) -> None:
    """Add amounts that a float would spoil; the table shows them in the end."""
    item_id = world.items[0]
    world.say(f"{world.name(item_id)} gets transactions of {', '.join(map(str, AMOUNTS))}")
    today = world.plaid.clock().date()
    drafts = [CustomTransaction(today, amount=amount, name=f"Exactly {amount}") for amount in AMOUNTS]
    ids = world.plaid.add_custom_transactions(item_id, drafts)
    world.exhibits.extend((item_id, transaction_id) for transaction_id in ids)
    world.settle()
