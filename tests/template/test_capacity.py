"""What docs/capacity.toml says of the template is true."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from local.capacity.figures import read

if TYPE_CHECKING:
    from tests.template.cloudformation import Template

LIMITS: Final = read()["limits"]


def test_the_limits_of_the_capacity_model_are_the_templates(template: Template) -> None:
    parameters, plaid = template.document["Parameters"], template.document["Mappings"]["PlaidLimits"]["production"]
    assert LIMITS["api_per_second"] == parameters["WebhookRateLimit"]["Default"]
    assert LIMITS["api_burst"] == parameters["WebhookBurstLimit"]["Default"]
    assert LIMITS["max_workers"] == parameters["SyncMaximumConcurrency"]["MaxValue"]
    assert LIMITS["workers"] == plaid["SyncMaximumConcurrency"]
    assert LIMITS["calls_per_minute"] == int(plaid["SyncCallsPerMinute"])
    assert LIMITS["sweep_seconds"] == template.functions["SweepFunction"]["Timeout"]
