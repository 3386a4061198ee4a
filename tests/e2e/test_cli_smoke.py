"""`plaid-sync smoke`, `keys`, `about` and `whoami` against a stack that syncs."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import urllib3
from plaid_sync_cli import deployment
from plaid_sync_cli.api import ItemApi
from plaid_sync_cli.commands.smoke import SANDBOX_STEPS, SmokeTest, run_steps
from plaid_sync_cli.deployment import Target
from plaid_sync_cli.plaid import Plaid

from local.stack import LocalStack
from local.stack.deploy import deploy
from local.stack.paths import Places, silent
from local.stack.resources import ACCOUNT_ID
from local.stack.stack import CLIENT_ID, SECRET
from tests.e2e.running_stack import Running, running_stack
from tests.integration.command_line import CommandLine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STEPS = ["forged webhook", "unsigned call", "link results", "link", "rows", "audit", "webhook", "erase"]


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with running_stack(seed=71) as running:
        yield running


@pytest.fixture
def cli(running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    for name in ("PLAID_CLIENT_ID", "PLAID_SECRET"):
        monkeypatch.delenv(name, raising=False)
    return CommandLine.at(running, tmp_path)


def rows(running: Running) -> int:
    tables = (running.stack.transactions_table, running.stack.quarantine_table)
    return sum(int(running.stack.client("dynamodb").scan(TableName=name, Select="COUNT")["Count"]) for name in tables)


def left_at_plaid(running: Running) -> list[str]:
    return [item_id for item_id, item in running.plaid.items.items() if not item.removed]


def names(document: Any) -> list[str]:
    return [step["step"] for step in document["steps"]]


def test_a_working_deployment_passes_and_nothing_is_left(cli: CommandLine, running: Running) -> None:
    document = cli.json("smoke", "--timeout", "60")
    assert (document["passed"], document["left_item_id"]) == (True, None)
    assert names(document) == STEPS
    assert "0 differences" in document["steps"][5]["what"]
    assert (rows(running), left_at_plaid(running)) == (0, [])
    assert len(running.plaid.items) > 0


class LosesAResponse(urllib3.PoolManager):
    """A network that loses the response to the request that links an Item."""

    lost = False

    def request(self, method: str, url: str, *args: Any, **options: Any) -> urllib3.BaseHTTPResponse:
        response = super().request(method, url, *args, **options)
        if method == "POST" and url.endswith("/items") and not self.lost:
            self.lost = True
            raise urllib3.exceptions.ProtocolError("lost")
        return response


@pytest.mark.usefixtures("cli")
def test_an_item_is_erased_even_if_the_response_to_its_link_is_lost(running: Running) -> None:
    found = deployment.find(Target(local=True))
    api = replace(ItemApi.of(found), http=LosesAResponse(retries=False))
    test, before = SmokeTest(found, api, Plaid.of(found), 60.0), len(running.plaid.items)
    done = run_steps(test, SANDBOX_STEPS, lambda _step: None)
    assert [(step.name, step.passed) for step in done[3:]] == [("link", False), ("clean up", True)]
    assert len(running.plaid.items) == before + 1
    assert (rows(running), left_at_plaid(running), test.item_id) == (0, [], "")


def test_a_paused_deployment_fails_at_the_rows_and_leaves_no_item_at_plaid(cli: CommandLine, running: Running) -> None:
    cli.json("pause", "--yes")
    try:
        document = cli.json("smoke", "--timeout", "3", code=1)
    finally:
        cli.json("resume")
    assert names(document) == [*STEPS[:5], "clean up"]
    assert document["steps"][4]["what"] == "no rows arrived within 3 s"
    # Nothing is erased while syncing is paused: the command reports the Item, which is erased after the resume.
    left = document["left_item_id"]
    while "completed_at" not in cli.json("item", left)["item"]["removal"]:
        time.sleep(0.2)
    assert (rows(running), left_at_plaid(running)) == (0, [])


def test_keys_in_the_environment_replace_those_of_the_stack(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAID_CLIENT_ID", CLIENT_ID)
    monkeypatch.setenv("PLAID_SECRET", "another-secret")
    document = cli.json("smoke", code=1)
    assert names(document) == STEPS[:4]
    assert "INVALID_API_KEYS" in document["steps"][3]["what"]


def test_about_and_whoami_show_the_addresses_the_next_step_and_the_account(cli: CommandLine, running: Running) -> None:
    document = cli.json("about")
    assert document["addresses"]["webhook URL"] == running.stack.webhook_url
    assert document["next"].startswith("plaid-sync smoke --local")
    assert running.stack.resources.outputs["PlaidSecretId"] in cli.text("about")  # its `:secret:` is no emoji
    caller = cli.json("whoami")
    assert (caller["account"], caller["region"]) == (ACCOUNT_ID, "us-east-1")


# -- keys --------------------------------------------------------------------------------------------------------------


def stored(running: Running) -> Any:
    secret = running.stack.client("secretsmanager").get_secret_value(SecretId=running.stack.resources.id("PlaidSecret"))
    return json.loads(secret["SecretString"])


GOOD = {"client_id": CLIENT_ID, "secret": SECRET}


def test_keys_that_plaid_rejects_are_stored_only_with_no_verify(cli: CommandLine, running: Running) -> None:
    wrong = json.dumps({**GOOD, "secret": "not-this-one"})
    assert cli.text("keys", "set", stdin=wrong, code=1) == ""
    assert stored(running) == GOOD
    assert cli.json("keys", "set", "--no-verify", stdin=wrong) == {"set": True, "verified": False}
    cli.json("keys", "set", stdin=json.dumps(GOOD))


@pytest.mark.parametrize(
    "given",
    [
        "no JSON",
        json.dumps({"client_id": CLIENT_ID}),
        json.dumps({**GOOD, "extra": "1"}),
        json.dumps({**GOOD, "secret": "two words"}),
        json.dumps({**GOOD, "secret": 12345678}),
        json.dumps({"client_id": CLIENT_ID, "secret": CLIENT_ID}),
    ],
)
def test_malformed_keys_are_rejected_and_nothing_is_changed(cli: CommandLine, running: Running, given: str) -> None:
    assert cli.text("keys", "set", stdin=given, code=2) == ""
    assert stored(running) == GOOD


def test_existing_keys_are_kept_with_if_missing(cli: CommandLine, running: Running) -> None:
    assert cli.json("keys", "set", "--if-missing") == {"set": False, "verified": False}
    secret = running.stack.resources.id("PlaidSecret")
    running.stack.client("secretsmanager").put_secret_value(SecretId=secret, SecretString="{}")
    assert cli.json("about")["next"].startswith("plaid-sync keys set --local")
    without = cli.json("smoke", code=1)
    assert (names(without), without["left_item_id"]) == (STEPS[:4], None)
    assert cli.json("keys", "set", "--if-missing", stdin=json.dumps(GOOD)) == {"set": True, "verified": True}
    assert stored(running) == GOOD


@pytest.mark.usefixtures("cli")
def test_on_a_terminal_keys_are_typed_without_echo(running: Running, tmp_path: Path) -> None:
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "plaid_sync_cli", "keys", "set", "--local"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True
    ) as process:
        os.close(terminal)
        shown = b""
        for field in ("client_id", "secret"):
            while f"{field} (not shown): ".encode() not in shown:
                shown += os.read(controller, 1024)
            os.write(controller, f"{GOOD[field]}\n".encode())
        while b"are stored" not in shown:
            shown += os.read(controller, 1024)
        assert process.wait(60) == 0
    os.close(controller)
    assert CLIENT_ID.encode() not in shown
    assert SECRET.encode() not in shown
    assert stored(running) == GOOD


# -- production: last, because it changes the stack --------------------------------------------------------------------


def test_in_production_nothing_is_created(cli: CommandLine, running: Running) -> None:
    stack, items = running.stack, len(running.plaid.items)
    parameters = {"Stage": "local", "PlaidBaseUrl": running.server.base_url, "PlaidEnvironment": "production"}
    resources = deploy(stack.emulator, Places(), parameters, silent, update=True)
    LocalStack.of(stack.emulator, resources, running.server.base_url)
    events = stack.client("events")
    for rule in stack.resources.of("AWS::Events::Rule"):
        events.enable_rule(Name=rule)
    document = cli.json("smoke")
    assert (names(document), document["passed"]) == ([*STEPS[:3], "doctor"], True)
    assert len(running.plaid.items) == items
    assert cli.json("about")["next"].startswith("plaid-sync link --hosted --local")
    for rule in stack.resources.of("AWS::Events::Rule"):
        events.disable_rule(Name=rule)
    found = cli.json("smoke", code=1)
    assert found["steps"][-1]["what"].startswith("schedules: disabled:")
