"""The figures that are shown while the demo runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from local.plaid import Phase

if TYPE_CHECKING:
    from local.demo.progress import Progress
    from local.demo.world import World

_HISTORY = {
    Phase.UNINITIALISED: "not asked for",
    Phase.NOT_READY: "not ready",
    Phase.INITIAL: "30 days",
    Phase.HISTORICAL: "whole",
}


@dataclass(frozen=True, slots=True)
class BoardLine:
    """One Item.

    Attributes:
        history: how much of it is ready at Plaid.
        state: how its last sync ended.
    """

    name: str
    history: str
    in_table: int
    at_plaid: int
    webhooks: int
    syncs: int
    state: str


@dataclass(frozen=True, slots=True)
class Board:
    """All Items, and what the functions have done."""

    lines: tuple[BoardLine, ...]
    progress: Progress

    def summary(self) -> str:
        """Return the figures in one line."""
        in_table, at_plaid = (sum(getattr(line, name) for line in self.lines) for name in ("in_table", "at_plaid"))
        progress = self.progress
        return (
            f"{in_table:,} rows in the table, {at_plaid:,} at Plaid | "
            f"webhooks: {progress.accepted} accepted, {progress.webhooks['rejected']} rejected | "
            f"{sum(progress.outcomes.values())} syncs | queue: {progress.queue}"
        )


def board_of(world: World) -> Board:
    """Return the figures as they are now."""
    progress = world.observer.progress()
    return Board(tuple(_line(world, item_id, progress) for item_id in list(world.items)), progress)


def _line(world: World, item_id: str, progress: Progress) -> BoardLine:
    item = progress.item(item_id)
    return BoardLine(
        name=f"{world.name(item_id)} ({item_id[:6]})",
        history=_HISTORY[world.phase(item_id)],
        in_table=item.rows,
        at_plaid=world.rows_at_plaid(item_id),
        webhooks=item.webhooks,
        syncs=item.syncs,
        state=item.state,
    )
