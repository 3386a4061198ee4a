"""AWS in this process (moto), Plaid on localhost, and the Items API on fakes."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
import pytest
from plaid_sync.aws import clients

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plaid_sync.domain.item import ItemId

    from tests.fakes.api import Api
    from tests.fakes.localhost import Plaid


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from moto import mock_aws  # noqa: PLC0415 - takes a second, and few tests need it

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "none")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        monkeypatch.setattr(clients, "session", _session())
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", boto3.Session(botocore_session=_session()))
        yield


@pytest.fixture
def dynamodb(aws: None) -> Any:  # noqa: ARG001 - the mock has to be up first
    """The tables, without their indexes."""
    from tests.unit.aws.dynamodb.samples import HISTORY, ITEMS, LINKS, QUARANTINE, SHARED, TRANSACTIONS  # noqa: PLC0415

    client = boto3.client("dynamodb")
    schemas = {
        ITEMS: ["item_id"],
        TRANSACTIONS: ["item_id", "transaction_id"],
        QUARANTINE: ["item_id", "entry_part"],
        HISTORY: ["item_id", "entry_id"],
        LINKS: ["link_key"],
        SHARED: ["kind", "name"],
    }
    for table, keys in schemas.items():
        client.create_table(
            TableName=table,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
            KeySchema=[
                {"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"), strict=False)
            ],
        )
    return client


@pytest.fixture
def plaid() -> Iterator[Plaid]:
    from tests.fakes.localhost import plaid_on_localhost  # noqa: PLC0415 - imports plaid-python, and few tests need it

    with plaid_on_localhost() as plaid:
        yield plaid


@pytest.fixture
def api() -> Api:
    from tests.fakes.api import Api  # noqa: PLC0415 - imports the whole Items API, and few tests need it

    return Api()


@pytest.fixture
def item_id(api: Api) -> ItemId:
    """A linked Item, whose message is taken from the queue."""
    item_id = api.linked()
    api.queue.take()
    return item_id


@cache
def _session() -> botocore.session.Session:
    """Return the session of all these tests: a new one reads AWS's service models from disk again."""
    session = botocore.session.get_session()
    session.set_config_variable("region", "us-east-1")
    return session
