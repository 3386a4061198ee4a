"""Another system goes on with an Item: its token is exported, and it is removed here while Plaid keeps it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pyrage
import pytest
import urllib3
from plaid_sync.domain.history import DetailType
from pyrage import x25519

from tests.integration.crashes import Crash, killed_at, unreachable
from tests.integration.harness import CALLER
from tests.integration.in_process import strikes_a_call
from tests.integration.link_flows import content, history, refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.harness import World

KEY: Final = x25519.Identity.generate()
RECIPIENT: Final = str(KEY.to_public())
KEEP: Final = {"at_plaid": "keep"}


def export(world: World, item_id: str) -> dict[str, Any]:
    """Request an export; return the answer of the function."""
    return world.request("POST", f"/access-tokens/{item_id}/export", {"recipient": RECIPIENT})


def decrypted(answer: dict[str, Any]) -> dict[str, Any]:
    """Return what the holder of the key reads in an answer."""
    document: dict[str, Any] = json.loads(pyrage.decrypt(content(answer)["encrypted"].encode(), [KEY]))
    return document


def exports(world: World, item_id: str) -> list[dict[str, Any]]:
    return [entry for entry in history(world, item_id) if entry["outcome"] == "token_exported"]


def pulled(world: World, document: dict[str, Any]) -> dict[str, Any]:
    """Pull from Plaid as the other system does."""
    keys = {"client_id": world.plaid.client_id, "secret": world.plaid.secret}
    body = keys | {name: document[name] for name in ("access_token", "cursor") if name in document}
    answer = urllib3.request("POST", f"{world.server.base_url}/transactions/sync", json=body, retries=False)
    page: dict[str, Any] = json.loads(answer.data)
    return page


def test_another_system_continues_from_the_cursor_and_the_item_ends_here_alone(world: World) -> None:
    item_id = world.synced(transactions=12)
    answer = export(world, item_id)
    document = decrypted(answer)
    token = world.plaid.item(item_id).access_token
    assert (document["access_token"], document["item_id"]) == (token, item_id)
    assert (document["environment"], document["cursor"]) == ("sandbox", world.item(item_id)["cursor"])
    assert document["webhook"].endswith("/webhooks/plaid")
    assert token not in answer["body"] + str(history(world, item_id)) + str(world.item(item_id))
    (entry,) = exports(world, item_id)
    assert (entry["caller"], entry["recipient"]) == (CALLER, RECIPIENT)
    assert entry["published_events"] == [DetailType.TOKEN_EXPORTED]
    new = world.plaid.add(item_id, 2, notify=False)
    assert {row["transaction_id"] for row in pulled(world, document)["added"]} == set(new)
    world.sync(item_id)
    world.assert_exact(item_id)
    rows = world.rows(item_id)
    shown = content(world.request("DELETE", f"/items/{item_id}", query=KEEP), 202)
    assert shown["removal"]["at_plaid"] == "keep"
    assert "access_token" not in world.item(item_id)
    world.drain()
    assert "removal_completed_at" in world.item(item_id)
    assert not world.plaid.item(item_id).removed
    assert "error_code" not in pulled(world, document)
    assert world.rows(item_id) == rows
    world.plaid.add(item_id, 1)
    world.deliver_webhooks(item_id)
    assert world.rows(item_id) == rows
    assert world.dead_letters() == []


def test_the_rows_of_an_item_that_is_kept_at_plaid_are_erased_on_request(world: World) -> None:
    item_id = world.synced(transactions=3)
    content(export(world, item_id))
    content(world.request("DELETE", f"/items/{item_id}", query=KEEP | {"transactions": "erase"}), 202)
    world.drain()
    shown = content(world.request("GET", f"/items/{item_id}"))
    assert (shown["removal"]["rows_erased"], shown["removal"]["at_plaid"]) == (3, "keep")
    assert (world.rows(item_id), world.plaid.item(item_id).removed) == ({}, False)


def test_a_full_resync_that_is_pending_leaves_no_cursor_to_trust(world: World) -> None:
    item_id = world.synced(transactions=3)
    content(world.request("POST", f"/items/{item_id}/resync"), 202)
    document = decrypted(export(world, item_id))
    assert "cursor" not in document
    assert len(pulled(world, document)["added"]) == 3


def test_without_an_export_or_after_a_rotation_an_item_is_not_kept(world: World) -> None:
    item_id = world.synced(transactions=1)
    refused(world.request("DELETE", f"/items/{item_id}", query=KEEP), 409, "token_not_exported")
    content(export(world, item_id))
    content(world.request("POST", f"/items/{item_id}/access-token/rotate"))
    refused(world.request("DELETE", f"/items/{item_id}", query=KEEP), 409, "token_not_exported")
    assert world.item(item_id)["state"] == "active"


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_what_cannot_be_recorded_is_not_given_out(world: World, *, before: bool) -> None:
    item_id = world.synced(transactions=1)
    with unreachable("TransactWriteItems", before=before):
        answer = export(world, item_id)
    assert answer["statusCode"] == 503
    assert "encrypted" not in answer["body"]
    assert len(exports(world, item_id)) == (0 if before else 1)


@strikes_a_call
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_an_export_killed_at_any_call_gives_nothing_out_and_the_next_one_does(world: World, *, before: bool) -> None:
    item_id, at = world.synced(transactions=1), 0
    while True:
        at += 1
        answers, crash = list[dict[str, Any]](), Crash(at, before)
        with killed_at(crash):
            answers.append(export(world, item_id))
        assert bool(answers) != crash.struck
        if not crash.struck:
            break
        assert len(exports(world, item_id)) == int(not before and at == len(crash.calls) and _is_record(crash))
        assert decrypted(export(world, item_id))["access_token"] == world.plaid.item(item_id).access_token
        _forget_history(world, item_id)
    assert at > 3


def _is_record(crash: Crash) -> bool:
    return "TransactWriteItems" in crash.calls[-1]


def _forget_history(world: World, item_id: str) -> None:
    """Delete the entries of exports, so that the next one's are counted by themselves."""
    dynamodb, table = world.stack.client("dynamodb"), world.stack.resources.outputs["HistoryTable"]
    rows = dynamodb.query(
        TableName=table,
        KeyConditionExpression="item_id = :item_id",
        ExpressionAttributeValues={":item_id": {"S": item_id}},
    )["Items"]
    for row in rows:
        if row["outcome"] == {"S": "token_exported"}:
            dynamodb.delete_item(TableName=table, Key={name: row[name] for name in ("item_id", "entry_id")})


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("transactions", ["erase", "keep"])
def test_a_removal_killed_at_any_call_never_removes_at_plaid_an_item_that_it_keeps(
    world: World, transactions: str, calls_to_die_at: Iterator[int], *, before: bool
) -> None:
    for at in calls_to_die_at:
        item_id = world.synced(transactions=20)
        content(export(world, item_id))
        content(world.request("DELETE", f"/items/{item_id}", query=KEEP | {"transactions": transactions}), 202)
        rows, records, crash = world.rows(item_id), world.receive(), Crash(at, before)
        with killed_at(crash):
            world.handle(records)
        world.retry(records)
        item = world.item(item_id)
        assert not world.plaid.item(item_id).removed
        assert ("access_token" in item, "plaid_removed_at" in item) == (False, False)
        assert "removal_completed_at" in item
        assert world.rows(item_id) == ({} if transactions == "erase" else rows)
        if not crash.struck:
            break
    assert at > 3
    assert world.plaid.calls["/item/remove"] == 0
