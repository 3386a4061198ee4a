"""`plaid-sync` against the deployed stack: its output is correct, its actions take effect, and no message is lost."""

from __future__ import annotations

import csv
import json
import os
import threading
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import pyrage
import pytest
from plaid_sync.domain import exact_json
from plaid_sync.domain.claims import user_key
from plaid_sync_cli.bulk import RateLimiter
from plaid_sync_cli.command import Context
from plaid_sync_cli.commands.requests import resync_all
from plaid_sync_cli.dead_letters import DeadLetterQueue, replay
from plaid_sync_cli.deployment import Target
from plaid_sync_cli.output import Output
from pyrage import x25519

from local.plaid import Phase
from local.stack.deploy import STACK_NAME
from tests.deployment import NOWHERE
from tests.integration.command_line import CommandLine, syncing
from tests.integration.harness import LONG_AGO, http_event
from tests.integration.in_process import runs_in_the_emulator
from tests.integration.link_flows import link_rows, put_link
from tests.integration.module_harness import lasting_world

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.deployment import Deployment
    from tests.integration.harness import World

pytestmark = runs_in_the_emulator
OTHER_SYSTEM: Final = "https://other-system.invalid/plaid"


@pytest.fixture(scope="module")
def world(deployment: Deployment) -> Iterator[World]:
    """A world whose Plaid the deployed functions call too; only the tests run syncs."""
    with lasting_world(deployment, seed=31) as world:
        for function in ("items", "audit"):
            deployment.stack.set_environment(function, {"PLAID_BASE_URL": world.server.base_url})
        yield world
        for function in ("items", "audit"):
            deployment.stack.set_environment(function, {"PLAID_BASE_URL": NOWHERE})


@pytest.fixture
def cli(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """The command line, in its own folder, with empty queues."""
    monkeypatch.chdir(tmp_path)
    for url in (world.stack.sync_queue_url, world.stack.dead_letter_queue_url):
        world.stack.client("sqs").purge_queue(QueueUrl=url)
    return CommandLine.at(world, tmp_path)


@pytest.fixture(scope="module")
def synced(world: World) -> str:
    """An Item with its whole history in the table."""
    return world.synced()


def dead_letter(world: World, body: str, group: str, reason: str | None = None, **attributes: str) -> str:
    """Send a message to the dead-letter queue, as the sync function or SQS does; return its id."""
    values = attributes | ({} if reason is None else {"reason": reason})
    answer = world.stack.client("sqs").send_message(
        QueueUrl=world.stack.dead_letter_queue_url,
        MessageBody=body,
        MessageGroupId=group,
        MessageDeduplicationId=os.urandom(16).hex(),
        MessageAttributes={name: {"DataType": "String", "StringValue": value} for name, value in values.items()},
    )
    return str(answer["MessageId"])


def body(item_id: str) -> str:
    return json.dumps({"item_id": item_id, "cause": "request"})


def queued(world: World) -> list[dict[str, Any]]:
    """Receive and delete the messages of the sync queue."""
    return world.take(world.stack.sync_queue_url)


def test_status_has_a_summary_and_an_exit_code(cli: CommandLine, world: World, synced: str) -> None:
    dead_letter(world, body(synced), synced)
    found = cli.json("status", code=1)  # the tests' stack is paused
    assert (found["paused"], found["action_required"], found["fresh"]) == (True, True, False)
    assert found["summary"].startswith("Money data is NOT fresh")
    assert found["dead_letters"]["visible"] == 1
    assert "dead-letters" in found["recent_alarms"]
    assert {"syncing is paused", "1 dead-lettered message"} <= {
        finding["what"].split(" (")[0] for finding in found["findings"]
    }
    assert found["items"]["active"] >= 1
    assert cli.text("status", code=1).splitlines()[0] == found["summary"]


def test_watch_writes_a_line_per_update_without_a_terminal(cli: CommandLine) -> None:
    lines = cli.text("watch", "--times", "2", "--interval", "0.2").splitlines()
    assert len(lines) == 2
    assert all("NOT fresh" in line for line in lines)


def test_a_sandbox_item_is_linked_in_one_command_and_explained(cli: CommandLine, world: World) -> None:
    item_id = cli.json("link", "--institution", "ins_109509")["item_id"]
    fresh = cli.json("item", item_id)
    assert (fresh["item"]["state"], fresh["pending_messages"]) == ("active", 1)
    while world.plaid.advance_phase(item_id) < Phase.HISTORICAL:
        pass
    world.drain()
    explained = cli.json("item", item_id)
    assert explained["pending_messages"] == 0
    assert explained["item"]["transactions"]["live"] == len(world.live(item_id))
    assert [entry["kind"] for entry in explained["history"]] == ["sync", "request"]
    lines = cli.text("item", item_id).splitlines()
    assert lines[0].startswith(f"{item_id} is active, since")
    assert "For you: no action required" in lines[3]


def test_a_real_user_links_with_hosted_link_while_the_command_waits(cli: CommandLine, world: World) -> None:
    def go_through_link() -> None:
        while not world.plaid.link_tokens:
            time.sleep(0.1)
        world.plaid.complete_link(next(iter(world.plaid.link_tokens)))

    user = threading.Thread(target=go_through_link)
    user.start()
    item_id = cli.json("link", "--hosted", "--user", "user-of-the-page", "--timeout", "60")["item_id"]
    user.join()
    assert [item["item_id"] for item in cli.json("items", "--user", "user-of-the-page")["items"]] == [item_id]
    queued(world)


def test_a_sync_and_a_resync_are_requested(cli: CommandLine, world: World, synced: str) -> None:
    found = cli.json("sync", synced, "no-such-item", code=1)
    assert found["requested"] == [synced]
    assert "plaid-sync items lists" in found["refused"]["no-such-item"]
    assert [json.loads(message["Body"])["item_id"] for message in queued(world)] == [synced]
    assert cli.json("resync", synced)["requested"] == [synced]
    assert world.item(synced)["reconcile"] is True
    world.drain()


def test_a_resync_of_all_continues_where_it_stopped(cli: CommandLine, world: World, synced: str) -> None:
    items = cli.json("resync", "--all", "--dry-run")["would_resync"]
    assert synced in items
    assert items == sorted(items)
    assert "reconcile" not in world.item(synced)
    before = [item_id for item_id in items if item_id < synced][-1:] or [""]
    rest = cli.json("resync", "--all", "--dry-run", "--after", before[0])["would_resync"]
    assert rest[0] == synced
    found = cli.json("resync", "--all", "--yes", "--rate", "10/s", "--after", items[-2])
    assert found["requested"] == items[-1:]
    assert [json.loads(message["Body"])["item_id"] for message in queued(world)] == items[-1:]


def test_a_resync_that_is_interrupted_stops_between_two_items(cli: CommandLine, world: World, synced: str) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    context = Context(Target(local=True), Output(as_json=True))
    limiter = RateLimiter(1.0, sleep=interrupt)
    results = resync_all(context.api, context.output, [synced, "never-requested"], limiter)
    assert (results.requested, results.refused, results.stopped_at) == ([synced], {}, synced)
    assert cli.json("item", synced)["pending_messages"] == 1
    world.drain()


def test_dead_letters_are_listed_by_cause_and_not_changed(cli: CommandLine, world: World, synced: str) -> None:
    dead_letter(world, body(synced), synced, "unregistered")
    dead_letter(world, body(synced), synced)
    malformed = dead_letter(world, "{", "somewhere", "malformed: the body is not JSON")
    for _ in range(2):  # listing hides nothing
        found = cli.json("dlq", "list", code=1)
        assert {group["cause"]: group["count"] for group in found["groups"]} == {
            "unregistered": 1,
            "exceeded maxReceiveCount (1000)": 1,
            "malformed: the body is not JSON": 1,
        }
    assert malformed in cli.text("dlq", "list", code=1)
    assert cli.json("dlq", "list", synced, code=1)["total"] == 2
    assert cli.json("dlq", "list", "other")["total"] == 0


def test_a_replay_moves_the_selected_messages_and_keeps_malformed_ones(
    cli: CommandLine, world: World, synced: str
) -> None:
    dead_letter(world, body(synced), synced, "unregistered", correlation_id="c-1")
    dead_letter(world, body("other"), "other")
    malformed = dead_letter(world, "{", "somewhere", "malformed: the body is not JSON")
    assert len(cli.json("dlq", "replay", "--dry-run")["would_replay"]) == 2
    assert queued(world) == []
    some = cli.json("dlq", "replay", synced, "--yes", code=1)
    assert (some["replayed"], some["left"]) == (1, 2)
    (message,) = queued(world)
    assert message["Body"] == body(synced)
    assert {name: value["StringValue"] for name, value in message["MessageAttributes"].items()} == {
        "correlation_id": "c-1"
    }
    rest = cli.json("dlq", "replay", "--yes", code=1)
    assert rest == {"replayed": 1, "left": 1, "malformed": [malformed]}


class CrashingSqs:
    """SQS for a process that crashes before it deletes a message."""

    def __init__(self, sqs: Any) -> None:
        self._sqs = sqs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sqs, name)

    def delete_message(self, **_: object) -> None:
        raise KeyboardInterrupt


def test_a_replay_that_crashes_before_it_deletes_loses_nothing(cli: CommandLine, world: World, synced: str) -> None:
    for _ in range(12):  # more than one receive returns of an Item
        dead_letter(world, body(synced), synced)
    stack = world.stack
    queue = DeadLetterQueue(CrashingSqs(stack.client("sqs")), stack.dead_letter_queue_url, stack.sync_queue_url, 20)
    with pytest.raises(KeyboardInterrupt):
        replay(queue, lambda _: True, None, lambda _: None)
    assert cli.json("dlq", "list", code=1)["total"] == 12
    assert cli.json("dlq", "replay", "--yes") == {"replayed": 12, "left": 0, "malformed": []}
    bodies = []
    while messages := queued(world):
        bodies += [message["Body"] for message in messages]
    assert bodies == [body(synced)] * 12  # the message that was sent twice is deduplicated


def test_an_export_equals_the_table(cli: CommandLine, world: World, synced: str, tmp_path: Path) -> None:
    removed = min(world.live(synced))
    world.stack.client("dynamodb").update_item(
        TableName=world.stack.transactions_table,
        Key={"item_id": {"S": synced}, "transaction_id": {"S": removed}},
        UpdateExpression="SET removed_at = :at",
        ExpressionAttributeValues={":at": {"S": "2026-01-01T00:00:00.000Z"}},
    )
    lines = [exact_json.loads(line) for line in cli.text("export", synced).splitlines()]
    live = world.live(synced)
    assert {line["transaction_id"]: line["amount"] for line in lines} == {
        key: row["amount"] for key, row in live.items()
    }
    assert all(line["plaid"]["transaction_id"] == line["transaction_id"] for line in lines)
    file = tmp_path / "rows.csv"
    summary = cli.json("export", synced, "--removed", "--format", "csv", "--output", str(file))
    with file.open(newline="") as stream:
        cells = {row["transaction_id"]: row for row in csv.DictReader(stream)}
    assert summary["transactions"] == len(cells) == len(live) + 1
    assert cells[removed]["removed_at"]
    assert {key: Decimal(row["amount"]) for key, row in cells.items() if key != removed} == {
        key: row["amount"] for key, row in live.items()
    }
    assert file.stat().st_mode & 0o077 == 0


def test_an_export_of_the_table_in_parts_continues_behind_the_last_one(
    cli: CommandLine, world: World, synced: str, tmp_path: Path
) -> None:
    other = world.synced()
    folder = tmp_path / "parts"
    options = ("export", synced, other, "--format", "csv", "--directory", str(folder), "--part-rows", "7")
    summary = cli.json(*options)
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert summary["transactions"] == len(world.live(synced)) + len(world.live(other))
    assert summary["parts"] == -(-summary["transactions"] // 7) > 2
    for kept in (1, summary["parts"] - 1):
        for path in folder.glob("part-*"):
            if int(path.stem.removeprefix("part-")) > kept:
                path.unlink()
        written = json.loads((folder / "_manifest.json").read_text())
        written |= {"complete": False, "parts": written["parts"][:kept]}
        (folder / "_manifest.json").write_text(json.dumps(written))
        assert cli.json(*options) == summary
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole


def test_the_doctor_reports_failed_and_passed_checks(cli: CommandLine, synced: str) -> None:
    assert synced
    found = {check["check"]: check for check in cli.json("doctor", code=1)["checks"]}
    assert found["event source mapping"]["result"] == "failed"  # the tests' stack is paused
    assert found["event source mapping"]["fix"] == "plaid-sync resume"
    passed = [
        "Plaid's keys: secret",
        "Plaid's keys: accepted",
        "webhook URL",
        "clocks",
        "versions",
        "quotas",
        "tables",
        "token key",
    ]
    assert {name: found[name]["result"] for name in passed} == dict.fromkeys(passed, "ok")


def test_the_alarms_of_a_stack_with_a_longer_name_are_not_this_stacks(cli: CommandLine, world: World) -> None:
    """As those of `plaid-sync-dev` beside `plaid-sync`: the one name is a prefix of the other."""
    cloudwatch, name = world.stack.client("cloudwatch"), f"{STACK_NAME}-dev-sync-errors"
    own = len(cloudwatch.describe_alarms(AlarmNamePrefix=STACK_NAME, MaxRecords=100)["MetricAlarms"])
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        Namespace="AWS/Lambda",
        MetricName="Errors",
        Dimensions=[{"Name": "FunctionName", "Value": f"{STACK_NAME}-dev-sync"}],
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        AlarmActions=["arn:aws:sns:us-east-1:111122223333:other"],
    )
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="test")
    try:
        status = cli.json("status", code=1)
        assert "dev-sync-errors" not in str(status)
        checks = {check["check"]: check for check in cli.json("doctor", code=1)["checks"]}
        assert checks["alarms"]["result"] == "warning"  # no subscription of the topics is confirmed
        assert checks["alarms"]["what"].startswith(f"{own} alarms")
    finally:
        cloudwatch.delete_alarms(AlarmNames=[name])


def test_the_doctor_reports_a_change_that_has_not_reached_the_alias(cli: CommandLine, world: World) -> None:
    functions, name = world.stack.client("lambda"), world.stack.functions["changes"]
    before = functions.get_function_configuration(FunctionName=name)
    changed = before["Environment"]["Variables"] | {"POWERTOOLS_LOG_LEVEL": "ERROR"}
    functions.update_function_configuration(FunctionName=name, Timeout=61, Environment={"Variables": changed})
    versions = next(check for check in cli.json("doctor", code=1)["checks"] if check["check"] == "versions")
    assert versions["result"] == "warning"
    assert versions["what"] == f"live is not as $LATEST: {name} (Timeout, Environment (POWERTOOLS_LOG_LEVEL))"
    assert versions["fix"].startswith("Deploy again.")
    functions.update_function_configuration(
        FunctionName=name, Timeout=before["Timeout"], Environment=before["Environment"]
    )


def test_quotas_are_compared_with_the_parameters_of_the_deployment_to_come(cli: CommandLine) -> None:
    (found,) = cli.json("quotas")["quotas"]
    assert (found["result"], "26 needed, 0 of them reserved" in found["what"]) == ("ok", True)
    (refused,) = cli.json("quotas", "--parameters", "WebhookReservedConcurrency=1000", code=1)["quotas"]
    assert refused["result"] == "failed"
    assert "aws service-quotas request-service-quota-increase --service-code lambda" in refused["fix"]


def test_an_item_is_removed_only_after_confirmation(cli: CommandLine, world: World) -> None:
    item_id = world.synced()
    cli.text("remove", item_id, code=130)  # no answer
    assert world.item(item_id)["state"] == "active"
    linked = cli.json("retained", code=1)["linked_items"]
    cli.json("remove", item_id, "--transactions", "erase", "--yes")
    removing = cli.json("retained", code=1)["linked_items"]
    unfinished = linked.get("removed", 0)  # other tests' Items, on the same stack
    assert removing == linked | {"active": linked["active"] - 1, "removed": unfinished + 1}
    world.drain()
    assert cli.json("retained", code=1)["linked_items"].get("removed", 0) == unfinished
    assert world.item(item_id)["state"] == "removed"
    assert world.live(item_id) == {}


def test_a_user_is_erased_after_confirmation_and_every_table_is_searched(
    cli: CommandLine, world: World, user: str
) -> None:
    """The erasure is about to end; in the unit of its settling it would take ten minutes."""
    put_link(world, user_key(user), erasing_since=LONG_AGO, requested_at=LONG_AGO, settles_at=LONG_AGO)
    put_link(world, "session#a", client_user_id=user)
    cli.text("erase-user", user, code=130)  # no answer
    assert "session#a" in link_rows(world, "session#")
    receipt = cli.json("erase-user", user, "--search-all", "--yes")
    assert "session#a" not in link_rows(world, "session#")
    assert receipt["erased"] == {"items": 0, "rows": 0, "history": 0, "links": 1}
    assert set(receipt["found"].values()) == {0}
    row = {"item_id": {"S": "item"}, "transaction_id": {"S": "one"}, "note": {"L": [{"S": user}]}}
    world.stack.client("dynamodb").put_item(TableName=world.stack.transactions_table, Item=row)
    again = cli.json("erase-user", user, "--search-all", "--yes", code=1)
    assert again["found"].pop("TransactionsTable") == 1
    assert set(again["found"].values()) == {0}
    assert "nothing is stored of this user" in cli.run("erase-user", "unknown", "--yes").stderr


def test_accounts_are_shown_compared_erased_and_restored(cli: CommandLine, world: World) -> None:
    item_id = world.synced()
    closed, erased = (account["account_id"] for account in world.plaid.account_rows(item_id)[:2])
    world.plaid.close_account(item_id, closed)
    listed = cli.json("accounts", "compare", item_id)["accounts"]
    assert {account["account_id"] for account in listed} == {
        account["account_id"] for account in world.plaid.account_rows(item_id)
    }
    world.drain()
    cli.text("accounts", "erase", item_id, erased, code=130)  # no answer
    assert cli.json("accounts", "erase", item_id, erased, "--yes") == {"account_id": erased, "state": "erased"}
    world.drain()
    shown = {account["account_id"]: account for account in cli.json("item", item_id)["item"]["accounts"]}
    assert (shown[closed]["state"], shown[erased]["state"]) == ("gone", "erased")
    assert {row["account_id"] for row in world.live(item_id).values()}.isdisjoint({closed, erased})
    text = cli.text("item", item_id)
    assert f"{shown[closed]['balances']['current']}" in text
    assert f"gone accounts: {closed}" in text
    assert cli.json("accounts", "restore", item_id, erased)["state"] == "listed"
    world.drain()
    world.assert_exact(item_id)
    cli.text("accounts", "restore", item_id, "no-such-account", code=2)


def test_an_audit_shows_a_closed_account_that_plaid_serves(cli: CommandLine, world: World) -> None:
    item_id = world.synced()
    account_id = world.plaid.close_account(item_id)
    world.enqueue(item_id, "accounts")
    world.drain()
    world.plaid.regrant_account(item_id, account_id, notify=False)
    assert f"closed accounts of {item_id}: {account_id}." in cli.text("audit", item_id)
    assert cli.json("audit", item_id)["reports"][0]["served_accounts"] == [account_id]


def test_drift_is_shown_then_repaired_and_gone(cli: CommandLine, world: World) -> None:
    good, bad = world.link(transactions=20), world.link(transactions=30)
    world.drain()
    transaction_id = min(world.live(bad))
    key = {"item_id": {"S": bad}, "transaction_id": {"S": transaction_id}}
    world.stack.client("dynamodb").delete_item(TableName=world.stack.transactions_table, Key=key)

    assert "No drift: 1 Item, 20 transactions" in cli.text("audit", good)
    shown = cli.text("audit", good, bad, "--rate", "10/s", code=1)
    assert "1 row of 1 Item drifted: 2 Items, 50 transactions" in shown
    assert transaction_id in shown
    found = cli.json("audit", bad, "--values", code=1)
    (difference,) = found["reports"][0]["differences"]
    assert (difference["field"], difference["at_plaid"], difference["in_table"]) == ("(row)", "live", "(absent)")

    with syncing(world):
        assert "Repaired 1 Item. Nothing is left." in cli.text("audit", bad, "--repair", "--yes")
    assert transaction_id in world.live(bad)
    world.assert_exact(bad)
    cli.text("audit", code=2)
    cli.text("audit", good, "--all", code=2)
    assert cli.text("audit", "unknown", code=1).startswith("Nothing could be compared: 1 unregistered.")
    assert "1 Item, 20 transactions at Plaid compared. Not compared: 1 unregistered." in cli.text(
        "audit", good, "unknown", "--rate", "10/s", code=1
    )


@pytest.mark.parametrize(
    "damage", ["SET plaid = :damage", "REMOVE plaid", "REMOVE plaid, generation"], ids=["changed", "lost", "both lost"]
)
def test_a_damaged_row_is_named_by_list_and_export_found_by_the_audit_and_repaired(
    cli: CommandLine, world: World, damage: str
) -> None:
    item_id = world.synced()
    whole = cli.text("export", item_id)
    (damaged, *_) = sorted(world.live(item_id))
    values = {"ExpressionAttributeValues": {":damage": {"B": b"damaged"}}} if ":damage" in damage else {}
    world.stack.client("dynamodb").update_item(
        TableName=world.stack.transactions_table,
        Key={"item_id": {"S": item_id}, "transaction_id": {"S": damaged}},
        UpdateExpression=damage,
        **values,
    )
    listed = json.loads(world.request("GET", f"/items/{item_id}/transactions", query={"limit": "500"})["body"])
    assert listed["unreadable"] == [damaged]
    assert len(listed["transactions"]) == len(whole.splitlines()) - 1
    exported = [exact_json.loads(line) for line in cli.text("export", item_id, code=1).splitlines()]
    assert len(exported) == len(whole.splitlines())
    assert [line["transaction_id"] for line in exported if line.get("error") == "unreadable_row"] == [damaged]
    (report,) = cli.json("audit", item_id, code=1)["reports"]
    assert (report["outcome"], {each["transaction_id"] for each in report["differences"]}) == ("drifted", {damaged})
    cli.json("resync", item_id)
    world.drain()
    assert cli.text("export", item_id) == whole


def test_items_of_another_system_move_in_are_annotated_and_go_back(
    cli: CommandLine, world: World, tmp_path: Path
) -> None:
    moved = [world.plaid.link_item(OTHER_SYSTEM, 20, phase=Phase.HISTORICAL) for _ in range(3)]
    ids = {
        transaction_id: f"ledger {number}" for number, transaction_id in enumerate(world.plaid.truth(moved[0].item_id))
    }
    entries: list[dict[str, Any]] = [{"access_token": each.access_token, "client_user_id": "mover"} for each in moved]
    entries[0]["transaction_ids"] = ids | {"gone": "ledger of a row that Plaid no longer has"}
    unknown = {"access_token": "access-sandbox-unknown", "client_user_id": "mover"}
    file = tmp_path / "items.jsonl"
    file.write_text("\n".join(map(json.dumps, [*entries[:2], unknown, entries[2]])))
    tried = cli.json("import", str(file), "--dry-run", "--rate", "10/s", code=1)
    assert tried["counts"] == {"would_import": 3, "failed": 1}
    assert all(world.plaid.item(each.item_id).webhook_url == OTHER_SYSTEM for each in moved)
    found = cli.json("import", str(file), "--yes", "--rate", "10/s", code=1)
    assert found["counts"] == {"imported": 3, "failed": 1}
    assert [(each["line"], each["code"]) for each in found["failures"]] == [(3, "invalid_request")]
    assert {world.plaid.item(each.item_id).webhook_url for each in moved} == {world.stack.webhook_url}
    world.drain()
    for each in moved:
        assert {key: row["amount"] for key, row in world.live(each.item_id).items()} == {
            key: row["amount"] for key, row in world.plaid.truth(each.item_id).items()
        }
    file.write_text("\n".join(map(json.dumps, entries)))
    annotations = f"/items/{moved[0].item_id}/transactions/{min(ids)}/annotations"
    event = http_event("PATCH", annotations, json.dumps({"note": "lunch"}))
    event["headers"]["if-match"] = "*"
    assert world.call_items(event)["statusCode"] == 200
    for _ in range(2):
        again = cli.json("import", str(file), "--annotate", "--yes", "--rate", "10/s")
        assert (again["counts"], again["annotated"], again["not_stored"]) == ({"present": 3}, len(ids), ["gone"])
    rows = world.live(moved[0].item_id)
    assert {key: row["annotations"]["imported_id"] for key, row in rows.items()} == ids
    assert rows[min(ids)]["annotations"]["note"] == "lunch"
    assert "present  3" in cli.text("import", str(file), "--yes", "--rate", "10/s")
    back = cli.json("undo-import", *(each.item_id for each in moved), "--yes", "--rate", "10/s")
    assert back["restored"] == [each.item_id for each in moved]
    assert {world.plaid.item(each.item_id).webhook_url for each in moved} == {OTHER_SYSTEM}
    assert "Its webhooks go to the system" in cli.text("item", moved[0].item_id, code=1)
    assert cli.json("import", str(file), "--yes", "--rate", "10/s")["counts"] == {"imported": 3}
    assert "Its webhooks go to the system" not in cli.run("item", moved[0].item_id).output
    file.write_text("not a file of Items")
    assert "line 1" in cli.run("import", str(file), "--yes").output


def test_tokens_are_exported_once_each_into_files_that_only_the_key_decrypts(
    cli: CommandLine, world: World, synced: str, tmp_path: Path
) -> None:
    key, other = x25519.Identity.generate(), world.synced(transactions=1)
    words = ("tokens", "export", "--recipient", str(key.to_public()), "--output", "tokens", "--yes")
    assert cli.json(*words, synced) == {"exported": [synced], "kept": [], "refused": {}}
    # Items of other tests may have rows that no key decrypts.
    found = json.loads(cli.run(*words, "--all", "--rate", "10/s", "--json").stdout)
    assert (other in found["exported"], synced in found["kept"]) == (True, True)
    for item_id in (synced, other):
        (line,) = pyrage.decrypt((tmp_path / "tokens" / f"{item_id}.age").read_bytes(), [key]).splitlines()
        document = json.loads(line)
        item = world.plaid.item(item_id)
        assert (document["item_id"], document["access_token"]) == (item_id, item.access_token)
        assert document["cursor"] == world.item(item_id)["cursor"]
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "tokens").iterdir()} == {0o600}
    assert cli.text(*words, synced, other) == "Exported the access tokens of 0 Items to tokens; 2 files were there.\n"


def test_an_export_that_is_refused_is_named_and_the_others_go_on(cli: CommandLine, synced: str, tmp_path: Path) -> None:
    key = str(x25519.Identity.generate().to_public())
    words = ("tokens", "export", "--recipient", key, "--output", "tokens", "--yes")
    found = cli.json(*words, "unknown", synced, code=1)
    assert (found["exported"], found["refused"].keys()) == ([synced], {"unknown"})
    wrong = ("tokens", "export", synced, "--recipient", "age1wrong", "--output", "others", "--yes")
    assert "recipient" in cli.run(*wrong).stderr
    assert cli.run(*wrong[:-1]).exit_code == 130
    assert cli.run(*words).exit_code == cli.run(*words, "--all", synced).exit_code == 2
    assert cli.run(*wrong[:-3], "--output", "no/folder").exit_code == 2
    assert [path.name for path in (tmp_path / "others").iterdir()] == []


def test_an_item_is_kept_at_plaid_once_its_token_is_exported(cli: CommandLine, world: World) -> None:
    item_id, key = world.synced(transactions=1), str(x25519.Identity.generate().to_public())
    assert "tokens export" in cli.run("remove", item_id, "--keep-at-plaid", "--yes").stderr
    cli.text("tokens", "export", item_id, "--recipient", key, "--output", "tokens", "--yes")
    removal = cli.json("remove", item_id, "--keep-at-plaid", "--yes")["removal"]
    assert removal["at_plaid"] == "keep"
    world.drain()
    assert not world.plaid.item(item_id).removed
    assert "removal_completed_at" in world.item(item_id)
