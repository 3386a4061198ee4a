"""Items of another system move in and out under faults; and without its guard, something is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest.mock import patch

from plaid_sync.items_api.service import ItemOperations

from tests.simulation.faults.move_in import ITEMS_OF_A_WORLD, run_moves

if TYPE_CHECKING:
    from plaid_sync.domain.item import ItemId
    from plaid_sync.domain.requests import RequestContext


def _only_switch(self: ItemOperations, item_id: ItemId, context: RequestContext) -> None:
    item = self.items.load(item_id)
    assert item is not None
    self.plaid.set_webhook(self.tokens.decrypt(item_id, item.access_token), context.webhook_url)


def test_items_of_another_system_move_in_and_out_under_faults() -> None:
    counts = run_moves(3 * ITEMS_OF_A_WORLD, 1)
    moved = counts["moved in"], counts["moved out"], counts["relinked"], counts["tokens in plain text"]
    assert moved == (3 * ITEMS_OF_A_WORLD, 3 * ITEMS_OF_A_WORLD, 0, 0)
    assert counts["changes before the switch"] > ITEMS_OF_A_WORLD
    assert counts["bytes of logs"] > 1000, "what is searched must be there"


def test_without_a_pull_after_the_switch_changes_are_lost() -> None:
    """Of fifteen worlds one loses something at least."""
    with patch.object(ItemOperations, "set_webhook", _only_switch):
        assert run_moves(15 * ITEMS_OF_A_WORLD, 1)["worlds that diverged"] > 0
