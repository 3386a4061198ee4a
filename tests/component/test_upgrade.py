"""A stack of an older version, with its data, is updated to this template, and goes on as if it had always been it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from local.comparison import compare
from local.plaid import PlaidServer
from local.snapshot import tables_of, truth_of
from local.stack import LocalStack
from local.stack.deploy import deploy
from local.stack.emulator import Emulator
from local.stack.gaps import switch_off_schedules
from local.stack.paths import Places, silent
from tests.component.cli_runs import CommandLine
from tests.upgrade.old_stack import OldStack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from local.plaid import PlaidSimulator
    from local.stack.resources import Resources

KEPT = ("ItemsTable", "TransactionsTable", "QuarantineTable", "HistoryTable", "LinksTable", "TokenKey", "PlaidSecret")


@dataclass(frozen=True, slots=True)
class Upgraded:
    """What became of it.

    Attributes:
        old: what there was before.
        before: the old stack's resources.
        counts: rows by table, when it was updated.
    """

    old: OldStack
    before: Resources
    counts: Mapping[str, int]
    stack: LocalStack
    server: PlaidServer

    @property
    def plaid(self) -> PlaidSimulator:
        return self.old.plaid


def rows_in(emulator: Emulator, resources: Resources) -> dict[str, int]:
    dynamodb = emulator.client("dynamodb")
    return {name: int(dynamodb.scan(TableName=resources.id(name))["Count"]) for name in KEPT if name.endswith("Table")}


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgraded]:
    old = OldStack.read("before_sweep")
    with PlaidServer(old.plaid) as server, Emulator.start(Places(), progress=silent) as emulator:
        parameters = {"Stage": "local", "PlaidBaseUrl": server.base_url}
        before = deploy(emulator, old.places(tmp_path_factory.mktemp("old")), parameters, silent)
        old.load(emulator, before)
        counts = rows_in(emulator, before)
        resources = deploy(emulator, Places(), parameters, silent, update=True)
        switch_off_schedules(emulator, resources)
        stack = LocalStack.of(emulator, resources, server.base_url)
        for item in old.plaid.items.values():
            item.webhook_url = stack.webhook_url
        yield Upgraded(old, before, counts, stack, server)


@pytest.fixture
def cli(upgraded: Upgraded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    return CommandLine.at(upgraded, tmp_path)


def await_that(look: Callable[[], object]) -> None:
    while not look():
        time.sleep(0.1)


def swept(upgraded: Upgraded) -> set[str]:
    """The Items that the sweep knows."""
    answer = upgraded.stack.client("dynamodb").scan(TableName=upgraded.stack.items_table, IndexName="by_due")
    return {row["item_id"]["S"] for row in answer["Items"]}


def differences(upgraded: Upgraded, *names: str) -> Any:
    """How some Items' rows differ from what Plaid has."""
    ids = {upgraded.old.names[name] for name in names}
    found = compare(truth_of(upgraded.plaid), tables_of(upgraded.stack))
    return [one for one in found.differences if one.item_id in ids]


def test_tables_tokens_and_key_are_those_of_before(upgraded: Upgraded) -> None:
    after = upgraded.stack.resources
    assert {name: after.id(name) for name in KEPT} == {name: upgraded.before.id(name) for name in KEPT}
    assert rows_in(upgraded.stack.emulator, after) == upgraded.counts
    assert upgraded.counts["ItemsTable"] == len(upgraded.old.names)
    # It really was older: there was neither sweep nor audit, and nobody had said when an Item is due.
    assert {"sweep", "audit"} <= upgraded.stack.functions.keys()
    assert not {"SweepFunction", "AuditFunction"} & upgraded.before.ids.keys()


def test_the_api_reads_the_old_items(cli: CommandLine, upgraded: Upgraded) -> None:
    names = upgraded.old.names
    listed = {one["item_id"]: one["state"] for one in cli.json("items")["items"]}
    assert listed == {names["fresh"]: "active", names["behind"]: "active", names["waiting"]: "needs_user"}
    shown = cli.json("item", names["fresh"])
    assert shown["item"]["transactions"]["live"] == len(upgraded.plaid.truth(names["fresh"]))
    assert shown["history"]
    assert cli.json("item", names["waiting"])["item"]["code"] == "ITEM_LOGIN_REQUIRED"
    assert "completed_at" in cli.json("item", names["removed"])["item"]["removal"]


def test_after_the_upgrade_the_sweep_knows_all_items_and_the_rows_are_plaids(
    cli: CommandLine, upgraded: Upgraded
) -> None:
    names, stack = upgraded.old.names, upgraded.stack
    assert swept(upgraded) == set()
    assert stack.invoke("sweep", {})["enqueued"] == 0  # which is why an upgrade is needed
    assert differences(upgraded, "fresh") == []
    assert differences(upgraded, "behind") != []  # its webhooks were lost

    asked = cli.json("upgrade", "--rate", "10/s")
    assert set(asked["requested"]) == {names[name] for name in ("fresh", "behind", "waiting", "going")}
    assert (asked["unswept"], asked["refused"]) == (4, {})
    await_that(lambda: swept(upgraded) == {names[name] for name in ("fresh", "behind", "waiting")})
    assert differences(upgraded, "fresh", "behind") == []
    assert upgraded.plaid.item(names["going"]).removed

    assert cli.json("upgrade") == {"unswept": 0, "requested": [], "refused": {}}
    assert "the sweep knows all Items" in cli.text("upgrade")


def test_the_old_items_are_audited_and_go_on(cli: CommandLine, upgraded: Upgraded) -> None:
    names = upgraded.old.names
    cli.json("upgrade", "--rate", "10/s")
    await_that(lambda: {names["fresh"], names["behind"]} <= swept(upgraded))
    upgraded.plaid.evolve(names["fresh"], steps=5)
    upgraded.plaid.evolve(names["behind"], steps=5)
    await_that(lambda: differences(upgraded, "fresh", "behind") == [])
    audited = cli.json("audit", "--all", "--rate", "10/s")
    assert audited["drifted_rows"] == 0
    assert {one["item_id"] for one in audited["reports"]} >= {names["fresh"], names["behind"]}
    # The user logs in again, and an Item of this version is linked beside the old ones.
    upgraded.plaid.repair_login(names["waiting"])
    await_that(lambda: cli.json("item", names["waiting"])["item"]["state"] == "active")
    assert cli.json("smoke", "--wait", "60")["passed"] is True
