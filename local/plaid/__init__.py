"""A Plaid on localhost: evolving Items, cursors, signed webhooks and every fault worth testing against.

It speaks Plaid's HTTP API, so that plaid-python and any other client talk to it unchanged. Run it with
`python -m local.plaid`, or hold it from Python:

    sim = PlaidSimulator(seed=7)
    with PlaidServer(sim) as server:
        linked = sim.link_item(webhook_url="http://127.0.0.1:9000/webhooks/plaid")
        ...  # point a Plaid client at server.base_url
"""

from local.plaid.behaviour import Behaviour
from local.plaid.breakages import BREAKAGES
from local.plaid.clock import OffsetClock, SimulatedClock, utc_now
from local.plaid.delivery import Attempt, Delivery
from local.plaid.errors import PlaidError
from local.plaid.faults import Fault
from local.plaid.generator import Draft
from local.plaid.items import LinkForm, LinkOptions, Phase
from local.plaid.linking import LinkedItem
from local.plaid.server import PlaidServer
from local.plaid.simulator import PlaidSimulator

__all__ = [
    "BREAKAGES",
    "Attempt",
    "Behaviour",
    "Delivery",
    "Draft",
    "Fault",
    "LinkForm",
    "LinkOptions",
    "LinkedItem",
    "OffsetClock",
    "Phase",
    "PlaidError",
    "PlaidServer",
    "PlaidSimulator",
    "SimulatedClock",
    "utc_now",
]
