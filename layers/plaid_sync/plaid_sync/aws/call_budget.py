"""The call budget of a function (`domain.budget`)."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from plaid_sync.aws.clients import RECORD_CONFIG, client
from plaid_sync.aws.dynamodb.call_counts import SharedCalls
from plaid_sync.domain.budget import CallBudget, limits_of

if TYPE_CHECKING:
    from plaid_sync.config import BudgetSettings
    from plaid_sync.domain.budget import CallClass
    from plaid_sync.domain.clock import Clock


def call_budget(settings: BudgetSettings, clock: Clock, call_class: CallClass) -> CallBudget:
    """Return the budget.

    Its client gives up after a second: without the table, calls are made all the same. It is created with the first
    count, which a process with few calls does not make.
    """
    counts = SharedCalls(cache(lambda: client("dynamodb", RECORD_CONFIG)), settings.shared_table)
    return CallBudget(counts, limits_of(settings.plaid_env, settings.plaid_calls_per_minute), clock, call_class)
