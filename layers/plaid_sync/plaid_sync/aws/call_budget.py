"""The call budget of a function (`domain.budget`)."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from plaid_sync.aws.clients import RECORD_CONFIG, client
from plaid_sync.aws.dynamodb.call_counts import SharedCalls
from plaid_sync.aws.telemetry import logger
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
    limits = limits_of(settings.plaid_env, settings.plaid_calls_per_minute)
    return CallBudget(counts, limits, clock, call_class, _report_uncounted)


def _report_uncounted(endpoint: str, code: str) -> None:
    logger.warning("calls not counted", endpoint=endpoint, code=code)
