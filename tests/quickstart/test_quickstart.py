"""Plaid's quickstart flow against the local Plaid, with Plaid's own clients from PyPI and npm: the rows are Plaid's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import plaid
import pytest
from plaid.api.plaid_api import PlaidApi
from plaid.model.accounts_get_request import AccountsGetRequest
from plaid.model.country_code import CountryCode
from plaid.model.item_get_request import ItemGetRequest
from plaid.model.item_public_token_exchange_request import ItemPublicTokenExchangeRequest
from plaid.model.link_token_create_request import LinkTokenCreateRequest
from plaid.model.link_token_create_request_user import LinkTokenCreateRequestUser
from plaid.model.link_token_transactions import LinkTokenTransactions
from plaid.model.products import Products
from plaid.model.transactions_sync_request import TransactionsSyncRequest

from local.plaid import Behavior, PlaidServer, PlaidSimulator

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT: Final = Path(__file__).parents[2]
NODE_MODULES: Final = PROJECT / ".local" / "quickstart" / "node_modules"
ROUNDS: Final = 12
STEPS: Final = 30
NO_NODE: Final = "Plaid's Node client is not installed: it needs node and npm, and `make test-all` installs it"
Result = dict[str, Any]


@pytest.fixture
def server() -> Iterator[PlaidServer]:
    behavior = Behavior(rate_limits=False, initial_seconds=0.1, historical_seconds=0.3, history_transactions=150)
    with PlaidServer(PlaidSimulator(seed=3, behavior=behavior)) as server:
        yield server


def with_python(server: PlaidServer) -> Result:
    sim = server.sim
    configuration = plaid.Configuration(
        host=server.base_url, api_key={"clientId": sim.client_id, "secret": sim.secret, "plaidVersion": "2020-09-14"}
    )
    with plaid.ApiClient(configuration) as connection:
        client = PlaidApi(connection)
        created = client.link_token_create(
            LinkTokenCreateRequest(
                user=LinkTokenCreateRequestUser(client_user_id="user-1"),
                client_name="Quickstart",
                products=[Products("transactions")],
                country_codes=[CountryCode("US")],
                language="en",
                transactions=LinkTokenTransactions(days_requested=730),
            )
        )
        public_token = sim.complete_link(created.link_token)
        linked = client.item_public_token_exchange(ItemPublicTokenExchangeRequest(public_token=public_token))
        rows: dict[str, Any] = {}
        cursor, status = "", ""
        while status != "HISTORICAL_UPDATE_COMPLETE":
            cursor, status = sync(client, linked.access_token, cursor, rows)
            time.sleep(0.1)
        for number in range(1, ROUNDS + 1):
            sim.evolve(linked.item_id, number, STEPS)
            cursor, _ = sync(client, linked.access_token, cursor, rows)
        accounts = client.accounts_get(AccountsGetRequest(access_token=linked.access_token))
        item = client.item_get(ItemGetRequest(access_token=linked.access_token))
        return {"rows": list(rows.values()), "accounts": accounts.to_dict()["accounts"], "item": item.to_dict()["item"]}


def sync(client: PlaidApi, access_token: str, cursor: str, rows: dict[str, Any]) -> tuple[str, str]:
    """Pull all pages from a cursor, and apply them once all are here; return the next cursor and the status."""
    pages: list[Any] = []
    while not pages or pages[-1].has_more:
        start = {"cursor": cursor} if cursor else {}
        pages.append(client.transactions_sync(TransactionsSyncRequest(access_token=access_token, count=50, **start)))
        cursor = pages[-1].next_cursor
    for page in pages:
        rows |= {row.transaction_id: row.to_dict() for row in [*page.added, *page.modified]}
        for removed in page.removed:
            rows.pop(removed.transaction_id, None)
    return cursor, str(pages[-1].transactions_update_status)


def with_node(server: PlaidServer) -> Result:
    node = shutil.which("node")
    if node is None or not (NODE_MODULES / "plaid").exists():
        pytest.skip(NO_NODE)
    environment = {
        "NODE_PATH": str(NODE_MODULES),
        "PATH": os.environ["PATH"],
        "PLAID_BASE_URL": server.base_url,
        "PLAID_CLIENT_ID": server.sim.client_id,
        "PLAID_SECRET": server.sim.secret,
        "ROUNDS": str(ROUNDS),
        "STEPS": str(STEPS),
    }
    command = [node, str(Path(__file__).with_name("quickstart.cjs"))]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stderr
    result: Result = json.loads(ran.stdout)
    return result


@pytest.mark.parametrize("flow", [with_python, with_node])
def test_the_quickstart_flow_ends_up_with_plaids_rows(
    server: PlaidServer, flow: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    result = flow(server)
    (item_id,) = server.sim.item_ids()
    truth = server.sim.truth(item_id)
    assert {row["transaction_id"]: row["amount"] for row in result["rows"]} == {
        key: float(row["amount"]) for key, row in truth.items()
    }
    assert {row["transaction_id"]: row["name"] for row in result["rows"]} == {
        key: row["name"] for key, row in truth.items()
    }
    assert {account["account_id"]: account["balances"]["current"] for account in result["accounts"]} == {
        account["account_id"]: float(account["balances"]["current"]) for account in server.sim.account_rows(item_id)
    }
    assert (result["item"]["item_id"], result["item"]["error"]) == (item_id, None)
    with capsys.disabled():
        name = flow.__name__.removeprefix("with_")
        print(f"\nquickstart with {name}: {len(truth)} of {len(truth)} rows after {ROUNDS * STEPS} steps")  # noqa: T201 - the result
