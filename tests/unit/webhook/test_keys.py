"""Plaid's verification keys in memory: through an outage, and under a flood of invented ids."""

from __future__ import annotations

from datetime import timedelta

import pytest
from plaid_sync.domain.errors import TransientError
from plaid_sync.plaid.verification_keys import PlaidVerificationKeyApi
from plaid_sync.webhook.keys import FRESH, LOOKUPS_PER_MINUTE, MAX_KEYS, MAX_UNKNOWN, UNKNOWN_FOR, VerificationKeys
from plaid_sync.webhook.signature import RejectedError

from local.plaid import PlaidSimulator
from tests.fakes.aws import secret_of_plaid
from tests.fakes.clock import NOON
from tests.fakes.localhost import KEY_CALLS, Plaid
from tests.unit.properties.signing import KeyEndpoint


def test_a_known_key_costs_few_look_ups_while_plaid_is_unreachable(plaid: Plaid) -> None:
    keys, kid = VerificationKeys(plaid.key_api), plaid.simulator.keys.current.kid
    known = keys.get(kid, NOON)
    plaid.simulator.inject_fault(KEY_CALLS, "INTERNAL_SERVER_ERROR", times=1_000)
    for tenth in range(40):
        assert keys.get(kid, NOON + FRESH + timedelta(seconds=tenth / 10)) is known
    assert plaid.simulator.calls[KEY_CALLS] == 2
    keys.get(kid, NOON + FRESH + timedelta(seconds=30))
    assert plaid.simulator.calls[KEY_CALLS] == 3


def test_a_key_that_plaid_no_longer_knows_is_not_used_in_a_later_outage(plaid: Plaid) -> None:
    keys, kid = VerificationKeys(plaid.key_api), plaid.simulator.keys.current.kid
    keys.get(kid, NOON)
    plaid.simulator.inject_fault(KEY_CALLS, "INVALID_WEBHOOK_VERIFICATION_KEY_ID")
    with pytest.raises(RejectedError, match="unknown_key"):
        keys.get(kid, NOON + FRESH)
    plaid.simulator.inject_fault(KEY_CALLS, "INTERNAL_SERVER_ERROR")
    with pytest.raises(TransientError):
        keys.get(kid, NOON + FRESH + UNKNOWN_FOR)


def test_an_unknown_key_is_looked_up_once_and_again_after_minutes(plaid: Plaid) -> None:
    keys = VerificationKeys(plaid.key_api)
    for seconds in (*range(100), UNKNOWN_FOR.total_seconds()):
        with pytest.raises(RejectedError, match="unknown_key"):
            keys.get("invented", NOON + timedelta(seconds=seconds))
    assert plaid.simulator.calls[KEY_CALLS] == 2


def test_invented_key_ids_cost_a_bounded_number_of_look_ups_in_a_minute(plaid: Plaid) -> None:
    keys = VerificationKeys(plaid.key_api)
    for number in range(LOOKUPS_PER_MINUTE + 20):
        with pytest.raises(RejectedError, match="unknown_key" if number < LOOKUPS_PER_MINUTE else "too_many_lookups"):
            keys.get(f"invented-{number}", NOON)
    assert plaid.simulator.calls[KEY_CALLS] == LOOKUPS_PER_MINUTE
    kid = plaid.simulator.keys.current.kid
    assert keys.get(kid, NOON + timedelta(minutes=1)).key_id == kid


def test_the_memory_for_known_and_unknown_keys_is_bounded() -> None:
    """Days of a flood within its budget, and more keys than Plaid has ever had."""
    secret = secret_of_plaid()
    simulator = PlaidSimulator(seed=7)
    endpoint = KeyEndpoint(simulator.keys)
    api = PlaidVerificationKeyApi("http://plaid.invalid", secret, endpoint)  # type: ignore[arg-type] # a fake
    keys, now = VerificationKeys(api), NOON
    for number in range(MAX_UNKNOWN + 20):
        now += timedelta(seconds=7)
        with pytest.raises(RejectedError, match="unknown_key"):
            keys.get(f"invented-{number}", now)
    assert len(keys._unknown) == MAX_UNKNOWN  # noqa: SLF001 - memory is visible nowhere else
    for _ in range(MAX_KEYS + 8):
        now += timedelta(seconds=7)
        keys.get(simulator.keys.current.kid, now)
        simulator.rotate_keys(overlap=3_600)
    assert len(keys._known) == MAX_KEYS  # noqa: SLF001
