"""The response to the exchange of a public token."""

from __future__ import annotations

import pytest
from plaid_sync.domain.errors import SchemaViolationError
from plaid_sync.plaid.link import parse_exchange


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"[]", "body"),
        (b'{"item_id": "i"}', "access_token"),
        (b'{"item_id": "i", "access_token": ""}', "access_token"),
        (b'{"item_id": "i", "access_token": 7}', "access_token"),
    ],
)
def test_an_exchange_without_an_access_token_is_rejected(body: bytes, field: str) -> None:
    with pytest.raises(SchemaViolationError) as rejected:
        parse_exchange(body)
    assert rejected.value.field == field


@pytest.mark.parametrize(
    "item_id", ["", '"item_id": null,', '"item_id": "a b",', rf'"item_id": "{"i" * 129}",', r'"item_id": "\ud800",']
)
def test_an_exchange_without_a_usable_item_id_returns_the_token_for_the_rollback(item_id: str) -> None:
    exchanged = parse_exchange(f'{{{item_id} "access_token": "a"}}'.encode())
    assert (exchanged.item_id, exchanged.access_token) == (None, "a")
