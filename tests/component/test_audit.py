"""The audit against the emulator and the local Plaid: it finds what was done to the table, and nothing else."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import pytest
import simplejson
from boto3.dynamodb.types import TypeSerializer
from plaid_sync.core.audit.sampling import NotAuditedError
from plaid_sync.core.items import ItemId, ItemStatus

from local.lambda_runtime import FunctionError
from local.plaid import Phase
from tests.component.functions import wired
from tests.component.inside import reads_the_logs, wires_it

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from plaid_sync.core.items import Item
    from plaid_sync.core.sync.transactions import StoredRow, TransactionId
    from plaid_sync.ports.audit import AuditedItems, AuditedRows

    from tests.component.world import World

FOREIGN_CURSOR: Final = "Y3Vyc29yIG9mIGFub3RoZXIgSXRlbQ=="
Found = set[tuple[str, str, str]]
"""Transaction, kind and field of each difference."""


def change(world: World, item_id: str, transaction_id: str, expression: str, value: object = None) -> None:
    """Change a row behind the engine's back; names are marked with #, and `:v` is the value."""
    names = {word: word[1:] for word in expression.replace(",", " ").split() if word.startswith("#")}
    values = {":v": TypeSerializer().serialize(value)} if ":v" in expression else None
    world.stack.client("dynamodb").update_item(
        TableName=world.stack.transactions_table,
        Key={"item_id": {"S": item_id}, "transaction_id": {"S": transaction_id}},
        UpdateExpression=expression,
        ExpressionAttributeNames=names,
        **({} if values is None else {"ExpressionAttributeValues": values}),
    )


def repacked(row: dict[str, Any], **fields: Any) -> bytes:
    """The row's Plaid object with other fields."""
    document = simplejson.loads(zlib.decompress(row["plaid"]), use_decimal=True)
    return zlib.compress(simplejson.dumps(document | fields, use_decimal=True).encode())


def found(answer: dict[str, Any]) -> Found:
    return {(one["transaction_id"], one["kind"], one["field"]) for one in answer["differences"]}


SPOILED: Final = (
    # Other values.
    ("amount", "SET #amount = #amount + :v", Decimal("0.01")),
    ("merchant_name", "SET #merchant_name = :v", "Someone else"),
    ("payment_channel", "REMOVE #payment_channel", None),
    ("plaid", "SET #plaid = :v", b"no zlib"),
    ("plaid", "REMOVE #plaid", None),
    # Other types.
    ("amount", "SET #amount = :v", "12.50"),
    ("pending", "SET #pending = :v", Decimal(0)),
    # What makes a row visible and lasting, and what the engine goes by.
    ("date_id", "REMOVE #date_id", None),
    ("date_id", "SET #date_id = :v", "2020-01-01#elsewhere"),
    ("expires_at", "SET #expires_at = :v", Decimal(1_900_000_000)),
    ("generation", "REMOVE #generation", None),
    ("generation", "SET #generation = :v", "one"),
    ("generation", "SET #generation = :v", Decimal(99)),
    ("first_generation", "REMOVE #first_generation", None),
)
"""What can be done to a live row: the field that differs then, an update expression, and its value."""


def put(world: World, row: dict[str, Any]) -> None:
    """Write a row behind the engine's back."""
    item = {name: TypeSerializer().serialize(value) for name, value in row.items()}
    world.stack.client("dynamodb").put_item(TableName=world.stack.transactions_table, Item=item)


def corrupt(world: World, item_id: str) -> Found:
    """Do to one row each whatever can be done to a row; return what the audit has to say of it."""
    removed = str(world.plaid.remove(item_id))
    world.trigger(item_id)
    world.drain()
    rows = world.live(item_id)
    deleted, buried, other, *ids = sorted(rows)
    key = {"item_id": {"S": item_id}, "transaction_id": {"S": deleted}}
    world.stack.client("dynamodb").delete_item(TableName=world.stack.transactions_table, Key=key)
    change(world, item_id, buried, "SET #removed_at = :v REMOVE #date_id", "2026-01-01T00:00:00.000Z")
    change(world, item_id, removed, "SET #date_id = :v REMOVE #removed_at , #expires_at", f"2026-01-01#{removed}")
    invented = rows[other] | {"transaction_id": "invented", "date_id": f"{rows[other]['date']}#invented"}
    put(world, invented)
    unmarked = {name: value for name, value in invented.items() if "generation" not in name}
    put(world, unmarked | {"transaction_id": "unmarked"})
    tombstone_in_index = invented | {"transaction_id": "indexed", "removed_at": "2026-01-01T00:00:00.000Z"}
    put(world, tombstone_in_index)
    place = json_of(rows[other])["location"] | {"lat": Decimal("0.5")}
    change(world, item_id, other, "SET #plaid = :v", repacked(rows[other], location=place))
    for transaction_id, (_, expression, value) in zip(ids, SPOILED, strict=False):
        change(world, item_id, transaction_id, expression, value)
    return {
        (deleted, "missing", "(row)"),
        (buried, "missing", "(row)"),
        (removed, "extra", "(row)"),
        ("invented", "extra", "(row)"),
        ("unmarked", "extra", "(row)"),
        ("indexed", "extra", "(row)"),
        (other, "different", "plaid.location.lat"),
        *((transaction_id, "different", field) for transaction_id, (field, _, _) in zip(ids, SPOILED, strict=False)),
    }


def json_of(row: dict[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = simplejson.loads(zlib.decompress(row["plaid"]), use_decimal=True)
    return document


def test_whatever_was_done_to_a_row_is_found_exactly_and_repaired_by_a_resync(world: World) -> None:
    item_id, other = world.link(transactions=620), world.link(transactions=5)
    world.drain()
    assert world.audit({"item_id": item_id})["outcome"] == "clean"
    expected = corrupt(world, item_id)
    before = world.rows(item_id), world.item(item_id)

    answer = world.audit({"item_id": item_id})
    assert answer["outcome"] == "drifted"
    assert found(answer) == expected
    assert (answer["missing"], answer["extra"], answer["different"]) == (2, 4, len(SPOILED) + 1)
    assert (world.rows(item_id), world.item(item_id)) == before
    assert world.audit({"item_id": other})["outcome"] == "clean"

    assert world.request("POST", f"/items/{item_id}/resync")["statusCode"] == 202
    world.drain()
    again = world.audit({"item_id": item_id})
    assert (again["outcome"], again["differences"]) == ("clean", [])
    world.assert_exact(item_id)


@reads_the_logs
def test_values_are_bank_data_and_told_only_when_asked_for(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    item_id = world.link(transactions=5)
    world.drain()
    transaction_id, row = next(iter(world.live(item_id).items()))
    change(world, item_id, transaction_id, "SET #name = :v", "Marked")
    change(world, item_id, transaction_id, "SET #amount = :v", "71")
    silent = world.audit({"item_id": item_id})
    assert "Marked" not in json.dumps(silent)
    assert {tuple(sorted(one)) for one in silent["differences"]} == {("field", "kind", "transaction_id")}
    told = world.audit({"item_id": item_id, "values": True})
    assert {(one["field"], one["at_plaid"], one["in_table"]) for one in told["differences"]} == {
        ("name", json.dumps(row["name"], ensure_ascii=False), '"Marked"'),
        ("amount", str(row["amount"]), '"71"'),
    }
    logged = capsys.readouterr().out
    assert '"DriftFound":[1.0]' in logged.replace(" ", "")
    assert "Marked" not in logged


def test_a_restart_of_the_pagination_forgets_what_was_compared(world: World) -> None:
    item_id = world.link(transactions=1100)
    world.drain()
    world.plaid.force_mutation(item_id, 2)
    answer = world.audit({"item_id": item_id})
    assert (answer["outcome"], answer["at_plaid"], answer["pages"]) == ("clean", 1100, 3)


def test_an_item_that_has_news_is_behind_and_not_drifted(world: World) -> None:
    item_id = world.link(transactions=30)
    world.drain()
    world.plaid.evolve(item_id, steps=20)
    assert world.audit({"item_id": item_id})["outcome"] == "behind"
    world.trigger(item_id)
    world.drain()
    assert world.audit({"item_id": item_id})["outcome"] == "clean"
    world.set_attribute(item_id, "reconcile", {"BOOL": True})
    change(world, item_id, next(iter(world.live(item_id))), "REMOVE #date_id")
    assert world.audit({"item_id": item_id})["outcome"] == "behind"


@dataclass(slots=True)
class Meanwhile:
    """Rows that somebody changes while they are read, so many times: before a page of them, or after it."""

    rows: AuditedRows
    happens: Callable[[], None]
    times: int
    before: bool = False

    def attributes(self, item_id: ItemId, ids: Collection[TransactionId]) -> Any:
        now, self.times = self.times > 0, self.times - 1
        if now and self.before:
            self.happens()
        found = self.rows.attributes(item_id, ids)
        if now and not self.before:
            self.happens()
        return found

    def scan_item(self, item_id: ItemId, since: int = 0) -> Iterator[StoredRow]:
        return self.rows.scan_item(item_id, since)


@wires_it
@pytest.mark.parametrize(("times", "looks", "outcome"), [(1, 2, "clean"), (2, 3, "clean"), (9, 3, "unsettled")])
def test_an_item_that_is_synced_while_it_is_looked_at_gives_no_false_alarm(
    world: World, times: int, looks: int, outcome: str
) -> None:
    item_id = world.link(transactions=30)
    world.drain()

    def sync() -> None:
        world.plaid.evolve(item_id, steps=20)
        world.trigger(item_id)
        world.drain()

    auditor = wired(world, "audit").sampler.auditor
    held_up = replace(auditor, rows=Meanwhile(auditor.rows, sync, times))
    report = held_up.audit(ItemId(item_id), lambda: 900.0)
    assert (report.outcome, report.looks, report.drift) == (outcome, looks, 0)
    world.assert_exact(item_id)


@wires_it
def test_an_account_that_is_withdrawn_meanwhile_is_no_drift(world: World) -> None:
    item_id = world.link(transactions=30)
    world.drain()
    rows = world.live(item_id)
    account_id = min(row["account_id"] for row in rows.values())

    def withdraw() -> None:
        """A sync that had claimed the Item before: it records the account, then erases its rows."""
        world.set_attribute(item_id, "revoked_accounts", {"SS": [account_id]})
        for transaction_id, row in rows.items():
            if row["account_id"] == account_id:
                change(world, item_id, transaction_id, "SET #removed_at = :v REMOVE #date_id", "2026-01-01")

    auditor = wired(world, "audit").sampler.auditor
    report = replace(auditor, rows=Meanwhile(auditor.rows, withdraw, 1, before=True)).audit(
        ItemId(item_id), lambda: 900.0
    )
    assert (report.outcome, report.looks) == ("clean", 2)


@pytest.mark.parametrize(
    ("name", "value", "outcome"),
    [
        ("status", {"S": "needs_user"}, "needs_user"),
        ("status", {"S": "revoked"}, "revoked"),
        ("status", {"S": "removed"}, "removed"),
    ],
)
def test_what_plaid_does_not_serve_is_answered_as_such(
    world: World, name: str, value: dict[str, str], outcome: str
) -> None:
    item_id = world.link(transactions=5)
    world.drain()
    change(world, item_id, next(iter(world.live(item_id))), "REMOVE #date_id")
    world.set_attribute(item_id, name, value)
    calls = world.plaid.calls["/transactions/sync"]
    assert world.audit({"item_id": item_id})["outcome"] == outcome
    assert world.plaid.calls["/transactions/sync"] == calls


@pytest.mark.parametrize(
    ("code", "outcome"),
    [("ITEM_LOGIN_REQUIRED", "needs_user"), ("ITEM_NOT_FOUND", "revoked"), ("INTERNAL_SERVER_ERROR", "failed")],
)
def test_what_plaid_refuses_is_no_drift(world: World, code: str, outcome: str) -> None:
    item_id = world.link(transactions=5)
    world.drain()
    world.plaid.inject_fault("/transactions/sync", code)
    answer = world.audit({"item_id": item_id})
    assert (answer["outcome"], answer["code"]) == (outcome, code)


def test_items_that_were_never_synced_or_are_unknown(world: World) -> None:
    item_id = world.link(ready=False, transactions=5)
    assert world.audit({"item_id": item_id})["outcome"] == "not_ready"
    assert world.audit({"item_id": "nobody"})["outcome"] == "unregistered"


def test_before_the_history_is_complete_nothing_is_extra(world: World) -> None:
    item_id = world.link(ready=False, transactions=300)
    assert world.plaid.advance_phase(item_id) < Phase.HISTORICAL
    world.drain()
    template = next(iter(world.live(item_id).values()))
    put(world, template | {"transaction_id": "later", "date_id": f"{template['date']}#later"})
    answer = world.audit({"item_id": item_id})
    assert (answer["outcome"], answer["history_complete"]) == ("clean", False)


def test_rows_of_withdrawn_accounts_are_left_out(world: World) -> None:
    item_id = world.link(transactions=60)
    world.drain()
    account_id = min(row["account_id"] for row in world.live(item_id).values())
    world.stack.client("dynamodb").update_item(
        TableName=world.stack.items_table,
        Key={"item_id": {"S": item_id}},
        UpdateExpression="SET revoked_accounts = :v",
        ExpressionAttributeValues={":v": {"SS": [account_id]}},
    )
    kept = [row for row in world.live(item_id).values() if row["account_id"] != account_id]
    answer = world.audit({"item_id": item_id})
    assert (answer["outcome"], answer["at_plaid"]) == ("clean", len(kept))
    assert 0 < len(kept) < 60


@pytest.mark.parametrize("how", ["amount a text", "no transaction_id"])
def test_what_breaks_plaids_contract_is_counted_and_no_drift(world: World, how: str) -> None:
    item_id = world.link(transactions=30)
    world.drain()
    broken, spoiled, *_ = sorted(world.live(item_id))
    world.plaid.modify(item_id, broken, name="changed")
    world.plaid.corrupt_row(item_id, broken, how)
    world.trigger(item_id)
    world.drain()
    answer = world.audit({"item_id": item_id})
    assert (answer["outcome"], answer["quarantined"]) == ("clean", 1)
    change(world, item_id, spoiled, "REMOVE #date_id")
    assert found(world.audit({"item_id": item_id})) == {(spoiled, "different", "date_id")}


def test_a_sample_is_audited_until_the_time_is_short(world: World) -> None:
    for _ in range(3):
        world.link(transactions=3)
    world.drain()
    answer = world.audit({"source": "aws.events", "sample": 2})
    assert answer["audited"] == len(answer["reports"]) == 2
    assert "differences" not in answer["reports"][0]
    assert world.audit({}, time_left=100)["audited"] == 0


@dataclass(frozen=True, slots=True)
class Only:
    """Items, of which only some are listed: the tests share the table."""

    items: AuditedItems
    listed: list[ItemId]

    def load(self, item_id: ItemId) -> Item | None:
        return self.items.load(item_id)

    def ids(self, status: ItemStatus) -> Iterator[ItemId]:
        return iter(self.listed if status is ItemStatus.ACTIVE else ())


@wires_it
def test_an_item_that_can_not_be_read_hides_no_drift_of_others_and_is_named_in_the_end(world: World) -> None:
    broken, drifted = (ItemId(world.link(transactions=5)) for _ in range(2))
    world.drain()
    change(world, drifted, next(iter(world.live(drifted))), "SET #amount = #amount + :v", Decimal("0.01"))
    world.set_attribute(broken, "generation", {"S": "not a number"})
    sampler = wired(world, "audit").sampler
    auditor = replace(sampler.auditor, items=Only(sampler.auditor.items, [broken, drifted]))
    audits = replace(sampler, auditor=auditor).audits(2, lambda: 900.0)

    report = next(audits)
    assert (report.item_id, report.outcome, report.drift) == (drifted, "drifted", 1)
    with pytest.raises(NotAuditedError, match=broken):
        next(audits)
    world.set_attribute(broken, "generation", {"N": "1"})


def test_a_cursor_that_plaid_rejects_is_the_next_syncs_business(world: World) -> None:
    item_id = world.link(transactions=5)
    world.drain()
    world.set_attribute(item_id, "cursor", {"S": FOREIGN_CURSOR})
    change(world, item_id, next(iter(world.live(item_id))), "REMOVE #date_id")
    assert world.audit({"item_id": item_id})["outcome"] == "behind"
    world.trigger(item_id)
    world.drain()
    world.assert_exact(item_id)


@pytest.mark.parametrize(
    ("event", "error"),
    [
        ({"item_id": 7}, "item_id must be 1 to 128 printable ASCII characters"),
        ({"item_id": "an Item"}, "item_id must be 1 to 128 printable ASCII characters"),
        ({"sample": "5"}, "sample must be a whole number from 1 on"),
        ({"sample": 0}, "sample must be a whole number from 1 on"),
        ({"sample": True}, "sample must be a whole number from 1 on"),
    ],
)
@pytest.mark.filterwarnings("ignore:No application metrics")
def test_an_event_that_cannot_be_one_is_refused_by_its_field(world: World, event: dict[str, Any], error: str) -> None:
    with pytest.raises((ValueError, FunctionError), match=error):
        world.audit(event)
