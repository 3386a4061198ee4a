"""The adapters of the tables in moto."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.aws.dynamodb.samples import register, transactions_table

if TYPE_CHECKING:
    from plaid_sync.aws.dynamodb.items import ItemsTable
    from plaid_sync.aws.dynamodb.transactions import TransactionsTable


@pytest.fixture
def items(dynamodb: Any) -> ItemsTable:
    """The Items table, with one Item."""
    return register(dynamodb)


@pytest.fixture
def transactions(dynamodb: Any) -> TransactionsTable:
    return transactions_table(dynamodb)
