"""The chapters of the demo, in their order, and the comparison that they lead to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from local.comparison import compare
from local.demo.board import board_of
from local.demo.outcome import Outcome
from local.demo.steps.deliveries import webhooks_go_astray
from local.demo.steps.history import histories_arrive
from local.demo.steps.lifecycle import an_item_lives_and_ends
from local.demo.steps.linking import link_items
from local.demo.steps.living import AMOUNTS, everything_happens, exact_amounts
from local.demo.steps.safety import audit, sweep
from local.demo.steps.security import forged_webhooks, repeated_webhooks
from local.demo.steps.trouble import plaid_has_bad_moments
from local.snapshot import tables_of, tamper, truth_of
from local.stack.deploy import STACK_NAME

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from local.comparison import Tables
    from local.dashboard.render import Rendered
    from local.demo.view import View
    from local.demo.world import World


@dataclass(frozen=True, slots=True)
class Chapter:
    """A part of the demo."""

    title: str
    play: Callable[[World], None]


CHAPTERS = (
    Chapter("People link their banks", link_items),
    Chapter("Their histories arrive, in two parts", histories_arrive),
    Chapter("Transactions live", everything_happens),
    Chapter("Webhooks go astray", webhooks_go_astray),
    Chapter("Plaid has bad moments", plaid_has_bad_moments),
    Chapter("The whole life of an Item", an_item_lives_and_ends),
    Chapter("Amounts that a float would spoil", exact_amounts),
    Chapter("Webhooks are repeated", repeated_webhooks),
    Chapter("Webhooks are forged", forged_webhooks),
)


def play(world: World, view: View) -> Outcome:
    """Play all chapters, let the system settle, and compare.

    Raises:
        DemoError: something that must happen does not, or the system does not settle.
    """
    view.watch(lambda: board_of(world))
    for chapter in CHAPTERS:
        view.chapter(chapter.title)
        chapter.play(world)
        sweep(world)
    view.chapter("Table and Plaid are compared")
    progress = world.settle()
    audit(world)
    if world.options.corrupt:
        world.say(f"tampered with, as asked for: {tamper(world.stack, world.rng)}")
    tables = tables_of(world.stack)
    exhibits = _exhibits(world, tables)
    dashboard = _dashboard(world)
    world.expect("every amount is in the table to the digit", kept=sorted(exhibits) == sorted(AMOUNTS))
    return Outcome(
        verdict=compare(truth_of(world.plaid), tables),
        progress=progress,
        happened=dict(world.happened),
        problems=tuple(world.problems),
        exhibits=exhibits,
        seed=world.options.seed,
        seconds=world.seconds,
        dashboard=dashboard,
    )


def _dashboard(world: World) -> Rendered | None:
    """Draw the dashboard, if the user wants it: every widget must show what has happened."""
    if world.options.dashboard is None:
        return None
    # Loads the library that draws, which nobody else waits for.
    from local.dashboard.render import render  # noqa: PLC0415

    rendered = render(world.stack.client("cloudwatch"), STACK_NAME, world.options.dashboard)
    world.say(f"the dashboard is drawn: {rendered.page} and {rendered.picture}")
    for widget in rendered.readings.empty():
        world.expect(f"the dashboard shows data: {widget}", kept=False)
    return rendered


def _exhibits(world: World, tables: Tables) -> tuple[Decimal, ...]:
    amounts = {(row["item_id"], row["transaction_id"]): row.get("amount") for row in tables.transactions}
    return tuple(amount for exhibit in world.exhibits if (amount := amounts.get(exhibit)) is not None)
