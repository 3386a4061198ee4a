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
from plaid_sync.audit.auditor import NotAuditedError
from plaid_sync.domain.clock import Deadline
from plaid_sync.domain.item import ItemId, StateName
from plaid_sync.domain.transaction import plaid_object

from local.lambda_runtime import FunctionError
from tests.integration.functions import wired
from tests.integration.in_process import reads_the_logs, wires_it
from tests.integration.test_sync import FOREIGN_CURSOR

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from plaid_sync.audit.compare import AuditedRows
    from plaid_sync.domain.transaction import StoredRow, TransactionId

    from tests.integration.harness import World

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
    return zlib.compress(simplejson.dumps(json_of(row) | fields, use_decimal=True).encode())


def found(answer: dict[str, Any]) -> Found:
    return {
        (difference["transaction_id"], difference["kind"], difference["field"]) for difference in answer["differences"]
    }


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
    """Change one row each in every way; return the differences that the audit must report."""
    removed = str(world.plaid.remove(item_id))
    world.sync(item_id)
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
    document = plaid_object(row)
    assert document is not None
    return document


def test_every_change_of_a_row_is_found_exactly_and_repaired_by_a_resync(world: World) -> None:
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
def test_values_are_bank_data_and_returned_only_on_request(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    item_id = world.synced(transactions=5)
    transaction_id, row = next(iter(world.live(item_id).items()))
    change(world, item_id, transaction_id, "SET #name = :v", "Marked")
    change(world, item_id, transaction_id, "SET #amount = :v", "71")
    counted = world.audit({"item_id": item_id})
    assert "Marked" not in json.dumps(counted)
    assert {tuple(sorted(difference)) for difference in counted["differences"]} == {("field", "kind", "transaction_id")}
    quoted = world.audit({"item_id": item_id, "values": True})
    assert {
        (difference["field"], difference["at_plaid"], difference["in_table"]) for difference in quoted["differences"]
    } == {
        ("name", json.dumps(row["name"], ensure_ascii=False), '"Marked"'),
        ("amount", str(row["amount"]), '"71"'),
    }
    logged = capsys.readouterr().out
    assert '"DriftFound":[1.0]' in logged.replace(" ", "")
    assert "Marked" not in logged


def test_a_restart_of_the_pagination_forgets_what_was_compared(world: World) -> None:
    item_id = world.synced(transactions=1100)
    world.plaid.force_mutation(item_id, 2)
    answer = world.audit({"item_id": item_id})
    assert (answer["outcome"], answer["at_plaid"], answer["pages"]) == ("clean", 1100, 3)


@dataclass(slots=True)
class Meanwhile:
    """Rows that change while they are read, so many times: before they are read, or after."""

    rows: AuditedRows
    happens: Callable[[], None]
    times: int
    before: bool = False

    def live_rows(self, item_id: ItemId, deadline: Deadline) -> Iterator[StoredRow]:
        now, self.times = self.times > 0, self.times - 1
        if now and self.before:
            self.happens()
        found = list(self.rows.live_rows(item_id, deadline))
        if now and not self.before:
            self.happens()
        return iter(found)

    def attributes(self, item_id: ItemId, ids: Collection[TransactionId], deadline: Deadline) -> Any:
        return self.rows.attributes(item_id, ids, deadline)


@wires_it
@pytest.mark.parametrize(("times", "attempts", "outcome"), [(1, 2, "clean"), (2, 3, "clean"), (9, 3, "inconclusive")])
def test_an_item_that_is_synced_while_it_is_looked_at_gives_no_false_alarm(
    world: World, times: int, attempts: int, outcome: str
) -> None:
    item_id = world.synced(transactions=30)

    def sync() -> None:
        world.plaid.evolve(item_id, steps=20)
        world.sync(item_id)

    auditor = wired(world, "audit").sampler.auditor
    held_up = replace(auditor, rows=Meanwhile(auditor.rows, sync, times))
    report = held_up.audit(ItemId(item_id), Deadline(lambda: 900.0))
    assert (report.outcome, report.attempts, report.drift) == (outcome, attempts, 0)
    world.assert_exact(item_id)


@wires_it
def test_an_account_that_is_withdrawn_meanwhile_is_no_drift(world: World) -> None:
    item_id = world.synced(transactions=30)
    rows = world.live(item_id)
    account_id = min(row["account_id"] for row in rows.values())

    def withdraw() -> None:
        """A sync that had claimed the Item before: it records the account, erases its rows, and goes on."""
        world.set_attribute(item_id, "revoked_accounts", {"SS": [account_id]})
        for transaction_id, row in rows.items():
            if row["account_id"] == account_id:
                change(world, item_id, transaction_id, "SET #removed_at = :v REMOVE #date_id", "2026-01-01")
        world.set_attribute(item_id, "generation", {"N": str(world.item(item_id)["generation"] + 1)})

    auditor = wired(world, "audit").sampler.auditor
    report = replace(auditor, rows=Meanwhile(auditor.rows, withdraw, 1, before=True)).audit(
        ItemId(item_id), Deadline(lambda: 900.0)
    )
    assert (report.outcome, report.attempts) == ("clean", 2)


@pytest.mark.parametrize("how", ["amount a text", "no transaction_id"])
def test_an_entry_that_violates_plaids_schema_is_counted_and_is_no_drift(world: World, how: str) -> None:
    item_id = world.synced(transactions=30)
    broken, spoiled, *_ = sorted(world.live(item_id))
    world.plaid.modify(item_id, broken, name="changed")
    world.plaid.corrupt_row(item_id, broken, how)
    world.sync(item_id)
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

    listed: list[ItemId]

    def ids(self, state: StateName) -> Iterator[ItemId]:
        return iter(self.listed if state is StateName.ACTIVE else ())


@wires_it
def test_an_item_that_can_not_be_read_hides_no_drift_of_others_and_is_named_in_the_end(world: World) -> None:
    broken, drifted = (ItemId(world.link(transactions=5)) for _ in range(2))
    world.drain()
    change(world, drifted, next(iter(world.live(drifted))), "SET #amount = #amount + :v", Decimal("0.01"))
    world.set_attribute(broken, "generation", {"S": "not a number"})
    sampler = wired(world, "audit").sampler
    audits = replace(sampler, items=Only([broken, drifted])).audits(2, Deadline(lambda: 900.0))

    report = next(audits)
    assert (report.item_id, report.outcome, report.drift) == (drifted, "drifted", 1)
    with pytest.raises(NotAuditedError, match=broken):
        next(audits)
    world.set_attribute(broken, "generation", {"N": "1"})


def test_a_cursor_that_plaid_rejects_is_the_next_syncs_business(world: World) -> None:
    item_id = world.synced(transactions=5)
    world.set_attribute(item_id, "cursor", {"S": FOREIGN_CURSOR})
    change(world, item_id, next(iter(world.live(item_id))), "REMOVE #date_id")
    assert world.audit({"item_id": item_id})["outcome"] == "behind"
    world.sync(item_id)
    world.assert_exact(item_id)


@pytest.mark.parametrize(
    ("event", "error"),
    [
        ({"item_id": 7}, "item_id must be 1 to 128 printable ASCII characters"),
        ({"item_id": "an Item"}, "item_id must be 1 to 128 printable ASCII characters"),
        ({"sample": "5"}, "sample must be a positive integer"),
        ({"sample": 0}, "sample must be a positive integer"),
        ({"sample": True}, "sample must be a positive integer"),
    ],
)
@pytest.mark.filterwarnings("ignore:No application metrics")
def test_an_event_that_cannot_be_one_is_refused_by_its_field(world: World, event: dict[str, Any], error: str) -> None:
    with pytest.raises((ValueError, FunctionError), match=error):
        world.audit(event)
