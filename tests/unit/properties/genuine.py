"""Responses of the local Plaid."""

from __future__ import annotations

from functools import cache

from local.plaid import Behavior, Phase, PlaidSimulator
from local.plaid.sync import SyncRequest
from local.plaid.wire import encode_response
from tests.fakes.clock import NOON


@cache
def pages_of_an_item() -> tuple[bytes, bytes]:
    """Return the first page of an Item's history, with rows of every kind, and the one after its end."""
    plaid = PlaidSimulator(seed=7, clock=lambda: NOON, behavior=Behavior(initial_seconds=None))
    linked = plaid.link_item(transactions=3)
    item = plaid.item(linked.item_id)
    plaid.sync(item, SyncRequest())
    while plaid.advance_phase(linked.item_id) < Phase.HISTORICAL:
        pass
    first = plaid.sync(item, SyncRequest())
    second = plaid.sync(item, SyncRequest(cursor=first["next_cursor"]))
    return encode_response(first | {"request_id": "r"}), encode_response(second | {"request_id": "r"})
