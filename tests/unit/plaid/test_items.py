"""Plaid's endpoints about one Item."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from plaid_sync.domain.errors import PlaidError

if TYPE_CHECKING:
    from tests.fakes.localhost import Plaid


def test_removing_an_item_is_idempotent(plaid: Plaid) -> None:
    token = plaid.link.exchange(plaid.simulator.create_public_token()).access_token
    plaid.simulator.inject_fault("/item/remove", "INTERNAL_SERVER_ERROR")
    with pytest.raises(PlaidError):
        plaid.items.remove(token)
    for _ in range(2):
        plaid.items.remove(token)
    assert plaid.simulator.calls["/item/remove"] == 3


def test_a_token_of_another_environment_does_not_count_as_removed(plaid: Plaid) -> None:
    plaid.items.remove("access-sandbox-unknown")
    with pytest.raises(PlaidError, match="INVALID_ACCESS_TOKEN"):
        plaid.items.remove("access-production-unknown")
