"""Plaid on localhost: Items whose transactions change, cursors, signed webhooks and injected faults.

It implements Plaid's HTTP API, so that plaid-python and any other client work with it unchanged. Run it with
`python -m local.plaid`, or from Python:

    sim = PlaidSimulator(seed=7)
    with PlaidServer(sim) as server:
        linked = sim.link_item(webhook_url="http://127.0.0.1:9000/webhooks/plaid")
        ...  # point a Plaid client at server.base_url
"""

from local.plaid.behavior import Behavior
from local.plaid.clock import OffsetClock, SimulatedClock, utc_now
from local.plaid.delivery import Attempt, Delivery
from local.plaid.errors import REASONS, PlaidError
from local.plaid.faults import CORRUPTIONS, Fault
from local.plaid.generator import CustomTransaction
from local.plaid.items import ItemOptions, LinkedItem, LinkTokenConfig, Phase
from local.plaid.server import PlaidServer
from local.plaid.simulator import PlaidSimulator

__all__ = [
    "CORRUPTIONS",
    "REASONS",
    "Attempt",
    "Behavior",
    "CustomTransaction",
    "Delivery",
    "Fault",
    "ItemOptions",
    "LinkTokenConfig",
    "LinkedItem",
    "OffsetClock",
    "Phase",
    "PlaidError",
    "PlaidServer",
    "PlaidSimulator",
    "SimulatedClock",
    "utc_now",
]
