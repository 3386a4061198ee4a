"""Every id that the tables can hold can be requested: by signed HTTP, and by the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from plaid_sync.aws.dynamodb.account_rows import accounts_attribute
from plaid_sync.domain.accounts import Account, AccountState
from plaid_sync.domain.messages import is_item_id
from plaid_sync_cli.api import account_path, item_path
from plaid_sync_cli.app import app
from typer.testing import CliRunner

from local.demo.application import Application
from tests.integration.command_line import CommandLine
from tests.integration.in_process import runs_in_the_emulator
from tests.integration.module_harness import lasting_world

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.deployment import Deployment
    from tests.integration.harness import World

pytestmark = runs_in_the_emulator

PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
IDS = [
    "plain-Id_1.2",
    *(
        "-dash",
        "a/b",
        "a%2Fb",
        "a%252Fb",
        "a%b",
        "a+b",
        "a?b#c",
        "a:b@c=&;,",
        "\"quoted'\\",
        "/",
        "//",
        "%",
        ".",
        "..",
        "~",
        "~YQ",
    ),
    *(PRINTABLE, "/" * 128),
]


@pytest.fixture(scope="module")
def world(deployment: Deployment) -> Iterator[World]:
    with lasting_world(deployment, seed=61) as world:
        yield world


@pytest.fixture(scope="module")
def application(world: World) -> Application:
    emulator = world.stack.emulator
    return Application(world.stack, Credentials(emulator.access_key_id, emulator.secret_access_key))


def store(world: World, item_id: str, account_id: str = "account") -> None:
    """Store an Item with an account."""
    row: dict[str, Any] = {
        "item_id": {"S": item_id},
        "state": {"S": "active"},
        "generation": {"N": "1"},
        "fresh_at": {"S": "2026-01-01T00:00:00.000Z"},
        "linked_at": {"S": "2026-01-01T00:00:00.000Z"},
        "access_token": {"B": b"unreadable"},
        "accounts": {"B": accounts_attribute([Account(account_id)])},
    }
    world.stack.client("dynamodb").put_item(TableName=world.stack.items_table, Item=row)


@pytest.mark.parametrize("item_id", IDS)
def test_an_item_with_any_id_is_served(world: World, application: Application, item_id: str) -> None:
    assert is_item_id(item_id)
    store(world, item_id)
    for path in (item_path(item_id), item_path(item_id, "history"), item_path(item_id, "transactions")):
        status, shown = application.request("GET", path)
        assert status == 200, (path, shown)
    assert application.call("GET", item_path(item_id))["item_id"] == item_id
    assert application.request("POST", item_path(item_id, "sync"))[0] == 202
    assert [json.loads(message["Body"])["item_id"] for message in world.take(world.stack.sync_queue_url)] == [item_id]
    listed = {item["item_id"] for item in application.call("GET", "/items?limit=100")["items"]}
    assert item_id in listed


@pytest.mark.parametrize("account_id", ["plain", "a b", "a/b", "%2F", "..", "~", "~YQ", "?"])
def test_an_account_with_any_id_is_erased(world: World, application: Application, account_id: str) -> None:
    store(world, "item-of-accounts", account_id)
    status, shown = application.request("DELETE", account_path("item-of-accounts", account_id))
    assert (status, shown) == (202, {"account_id": account_id, "state": AccountState.ERASED})


@pytest.mark.parametrize("path", ["/items/~!", "/items/~gIA", "/items/a b", "/items/~YSBi"])
def test_what_can_be_no_id_is_not_found(application: Application, path: str) -> None:
    """Unreadable, not text, or a text that no Item can have."""
    status, shown = application.request("GET", path.replace(" ", "%20"))
    assert (status, shown.get("code")) == (404, "item_not_found")


def test_the_command_line_requests_any_id(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cli = CommandLine.at(world, tmp_path)
    for item_id in (each for each in IDS if not each.startswith("-")):
        store(world, item_id)
        assert cli.json("sync", item_id)["requested"] == [item_id]
        assert cli.json("item", item_id, code=1)["item"]["item_id"] == item_id
    store(world, "-dashed")
    result = CliRunner().invoke(app, ["sync", "--local", "--json", "--", "-dashed"])
    assert json.loads(result.stdout)["requested"] == ["-dashed"]


def test_a_percent_encoded_id_is_decoded_as_api_gateway_does(world: World, application: Application) -> None:
    """Except for a slash, which separates then, and a question mark, which ends the path."""
    store(world, "a+b:c")
    url = f"{world.stack.api_url}/items/a%2Bb%3Ac"
    request = AWSRequest("GET", url)
    SigV4Auth(application.credentials, "execute-api", world.stack.emulator.region).add_auth(request)
    response = urllib3.request("GET", url, headers=dict(request.headers.items()), retries=False)
    assert (response.status, response.json()["item_id"]) == (200, "a+b:c")
