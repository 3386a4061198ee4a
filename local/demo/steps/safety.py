"""The safety nets: what the schedules would start on AWS is started here, when it fits the story."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local.demo.world import World


def sweep(world: World) -> None:
    """Look for Items that are due; none is, for nothing here is older than a minute."""
    world.stack.invoke("sweep", {})


def audit(world: World) -> None:
    """Have the deployed system compare a sample of Items with Plaid by itself."""
    reports = world.stack.invoke("audit", {})["reports"]
    drifted = [report for report in reports if report["outcome"] == "drifted"]
    world.expect("the audit finds what Plaid has", kept=not drifted)
    world.say(f"the audit has compared {len(reports)} Items with Plaid: {len(drifted)} differ")
