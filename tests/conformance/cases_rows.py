"""The Transactions table, through its adapter: the run of fenced writes, and reading it back."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

from plaid_sync.core.items import ItemStatus
from plaid_sync.core.sync.plan import MAXIMUM_BYTES, MAXIMUM_ROWS
from plaid_sync.core.sync.transactions import Removal, TransactionId

from tests.conformance.bench import ITEMS, Bench, commit, row
from tests.conformance.case import compares, outcome, relies_on

if TYPE_CHECKING:
    from plaid_sync.core.items import ItemId
    from plaid_sync.core.sync.plan import Commit, RowWrite

_KINDS: dict[str, tuple[bool, Commit | None]] = {
    "begin": (True, None),
    "middle": (False, None),
    "commit": (False, commit()),
}


def _each_kind(bench: Bench, item_id: ItemId, generation: int) -> str:
    answers = {
        kind: outcome(partial(bench.write, item_id, generation, row(), begin=begin, commit=end))
        for kind, (begin, end) in _KINDS.items()
    }
    return "; ".join(f"{kind}: {answer}" for kind, answer in answers.items())


@relies_on("begin: superseded; middle: superseded; commit: superseded; 0 rows, Item untouched")
def a_superseded_attempt_writes(bench: Bench) -> str:
    item_id = bench.registered(claims=2)
    before = bench.item(item_id)
    answers = _each_kind(bench, item_id, 1)
    untouched = "untouched" if bench.item(item_id) == before else "changed"
    return f"{answers}; {len(bench.rows(item_id))} rows, Item {untouched}"


@relies_on("begin: superseded; middle: superseded; commit: superseded; 0 rows, no Item")
def an_attempt_writes_to_an_item_that_is_gone(bench: Bench) -> str:
    item_id = bench.registered(claims=1)
    bench.client.delete_item(TableName=ITEMS, Key={"item_id": {"S": item_id}})
    answers = _each_kind(bench, item_id, 1)
    return f"{answers}; {len(bench.rows(item_id))} rows, {'an' if bench.item(item_id) else 'no'} Item"


@relies_on("begin: superseded; middle: superseded; commit: superseded; 0 rows, generation 1")
def an_attempt_writes_to_an_item_that_was_removed(bench: Bench) -> str:
    item_id = bench.registered(claims=1)
    bench.update(item_id, "SET #s = :s", ITEMS, names={"#s": "status"}, s=ItemStatus.REMOVED.value)
    answers = _each_kind(bench, item_id, 1)
    return f"{answers}; {len(bench.rows(item_id))} rows, generation {bench.item(item_id)['generation']}"


@relies_on("first: ok; same start again: retry: cursor_changed; from there: ok; cursor two, 2 rows")
def a_commit_needs_the_cursor_that_it_started_from(bench: Bench) -> str:
    item_id = bench.registered(claims=1)
    first = outcome(lambda: bench.write(item_id, 1, row("a"), commit=commit()))
    bench.claim(item_id)
    again = outcome(lambda: bench.write(item_id, 2, row("b"), commit=commit()))
    onwards = outcome(lambda: bench.write(item_id, 2, row("c"), commit=commit("one", "two")))
    stored = f"cursor {bench.item(item_id)['cursor']}, {len(bench.rows(item_id))} rows"
    return f"first: {first}; same start again: {again}; from there: {onwards}; {stored}"


@relies_on("retry: row_newer_than_item; the other row: absent; no cursor, 0 entries")
def a_row_that_is_newer_than_its_item(bench: Bench) -> str:
    item_id = bench.registered(claims=1)
    bench.put(item_id=item_id, generation=9, first_generation=9)
    answer = outcome(lambda: bench.write(item_id, 1, row("other"), row(), commit=commit(item_id=item_id)))
    other = "stored" if bench.row(item_id, "other") else "absent"
    cursor = bench.item(item_id).get("cursor", "no cursor")
    return f"{answer}; the other row: {other}; {cursor}, {bench.syncs(item_id)} entries"


@relies_on("retry: row_newer_than_item")
def a_row_written_twice_in_one_generation(bench: Bench) -> str:
    item_id = bench.registered(claims=1)
    bench.write(item_id, 1, row(), begin=True)
    return outcome(lambda: bench.write(item_id, 1, row()))


@relies_on("begin 1, died; begin 2: since 1; middle: since 1; commit: since None, cursor one, 3 rows")
def the_mark_of_a_large_update(bench: Bench) -> str:
    item_id = bench.registered(claims=1)
    bench.write(item_id, 1, row("a"), begin=True)
    bench.claim(item_id)
    seen = []
    for name, (begin, end) in zip("abc", _KINDS.values(), strict=True):
        bench.write(item_id, 2, row(name), begin=begin, commit=end)
        seen.append(bench.item(item_id).get("writing_since"))
    cursor = bench.item(item_id)["cursor"]
    return (
        f"begin 1, died; begin 2: since {seen[0]}; middle: since {seen[1]}; commit: since {seen[2]}, "
        f"cursor {cursor}, {len(bench.rows(item_id))} rows"
    )


@relies_on("live, first 1, note kept; tombstone, first 1, note kept; live, first 1, note kept; content as written")
def a_row_lives_dies_and_comes_back_with_its_annotation(bench: Bench) -> str:
    item_id, seen = bench.registered(), []
    full = row(name="Café", merchant_name="", amount=Decimal("-0.10"), category="FOOD_AND_DRINK")
    life: list[RowWrite] = [full, Removal(full.transaction_id), full]
    for generation, write in enumerate(life, start=1):
        bench.claim(item_id)
        bench.write(item_id, generation, write)
        bench.update(item_id, "SET note = if_not_exists(note, :n)", n="the application's")
        (stored,) = bench.transactions.scan_item(item_id)
        note = "kept" if bench.row(item_id)["note"] == "the application's" else "lost"
        seen.append(f"{'live' if stored.live else 'tombstone'}, first {stored.first_generation}, note {note}")
    same = bench.transactions.rows(item_id, [full.transaction_id])[full.transaction_id].row == full
    return "; ".join([*seen, "content as written" if same else "content differs"])


@relies_on("before: not read, not scanned; written: live, first 1, note kept")
def an_annotation_of_a_row_that_is_not_there_yet(bench: Bench) -> str:
    item_id, one = bench.registered(claims=1), TransactionId("t")
    bench.update(item_id, "SET note = :n", n="the application's")
    read = "read" if bench.transactions.rows(item_id, [one]) else "not read"
    scanned = "scanned" if list(bench.transactions.scan_item(item_id)) else "not scanned"
    bench.write(item_id, 1, row(), commit=commit())
    (stored,) = bench.transactions.scan_item(item_id)
    note = "kept" if bench.row(item_id).get("note") else "lost"
    state = "live" if stored.live else "tombstone"
    return f"before: {read}, {scanned}; written: {state}, first {stored.first_generation}, note {note}"


@relies_on("ok, 98 rows, cursor one, 1 entry")
def a_full_transaction_of_98_rows_the_item_and_its_entry(bench: Bench) -> str:
    item_id = bench.registered(claims=1)
    rows = [row(f"t{number}") for number in range(MAXIMUM_ROWS)]
    answer = outcome(lambda: bench.write(item_id, 1, *rows, commit=commit(item_id=item_id)))
    cursor = bench.item(item_id).get("cursor")
    return f"{answer}, {len(bench.rows(item_id))} rows, cursor {cursor}, {bench.syncs(item_id)} entry"


@relies_on("ok, 98 rows", slow=True)
def a_transaction_of_as_many_bytes_as_the_engine_ever_sends(bench: Bench) -> str:
    item_id = bench.registered(claims=1)
    each = MAXIMUM_BYTES // MAXIMUM_ROWS - 500
    rows = [row(f"t{number}", plaid=b"p" * each) for number in range(MAXIMUM_ROWS)]
    answer = outcome(lambda: bench.write(item_id, 1, *rows, commit=commit()))
    return f"{answer}, {len(bench.rows(item_id))} rows"


@compares("retry: ValidationError; no cursor")
def a_row_of_more_than_400_kb(bench: Bench) -> str:
    item_id = bench.registered(claims=1)
    answer = outcome(lambda: bench.write(item_id, 1, row(plaid=b"p" * 420_000), commit=commit()))
    return f"{answer}; {bench.item(item_id).get('cursor', 'no cursor')}"


@compares("1,013 bytes: ok; 1,014 bytes: refused")
def the_longest_transaction_id_that_fits_into_the_index(bench: Bench) -> str:
    """The index's sort key has the date in front of the id, and no more than 1,024 bytes."""
    item_id = bench.registered(claims=1)
    return "; ".join(f"{n:,} bytes: {_accepted(bench, item_id, row('x' * n))}" for n in (1013, 1014))


@compares("2,048 bytes: ok; 2,049 bytes: refused")
def the_longest_account_id_that_fits_into_the_index(bench: Bench) -> str:
    item_id = bench.registered(claims=1)
    return "; ".join(f"{n:,} bytes: {_accepted(bench, item_id, row(f't{n}', 'x' * n))}" for n in (2048, 2049))


def _accepted(bench: Bench, item_id: ItemId, write: RowWrite) -> str:
    return "ok" if outcome(lambda: bench.write(item_id, 1, write)) == "ok" else "refused"


@relies_on("the name is gone, the account, the note and the generations are there; not in the index")
def a_row_of_an_account_that_the_user_has_withdrawn(bench: Bench) -> str:
    item_id = bench.registered(claims=1)
    bench.write(item_id, 1, row(name="Cafe"))
    bench.update(item_id, "SET note = :n", n="the application's")
    bench.claim(item_id)
    bench.write(item_id, 2, Removal(TransactionId("t"), "account", erase=True))
    stored = bench.row(item_id)
    left = {"item_id", "transaction_id", "account_id", "note", "generation", "first_generation"}
    if stored.keys() != left | {"removed_at", "expires_at"}:
        return ", ".join(sorted(stored))
    return "the name is gone, the account, the note and the generations are there; not in the index"


@relies_on("since 0: a b c; since 2: b c; since 4: none")
def scanning_an_item_from_a_generation(bench: Bench) -> str:
    item_id = bench.registered()
    for generation, name in enumerate("abc", start=1):
        bench.claim(item_id)
        bench.write(item_id, generation, row(name) if name != "b" else Removal(TransactionId(name)))
    found = {
        since: " ".join(sorted(stored.transaction_id for stored in bench.transactions.scan_item(item_id, since)))
        for since in (0, 2, 4)
    }
    return "; ".join(f"since {since}: {names or 'none'}" for since, names in found.items())


@relies_on("230 of 240, content as written")
def reading_240_rows_of_which_10_are_absent(bench: Bench) -> str:
    item_id = bench.registered(claims=1)
    rows = {f"t{number}": row(f"t{number}", name=f"row {number}") for number in range(230)}
    written = list(rows.values())
    for start in range(0, len(written), MAXIMUM_ROWS):
        bench.write(item_id, 1, *written[start : start + MAXIMUM_ROWS])
    found = bench.transactions.rows(item_id, [TransactionId(f"t{number}") for number in range(240)])
    same = all(stored.row == rows[stored.transaction_id] for stored in found.values())
    return f"{len(found)} of 240, content {'as written' if same else 'differs'}"


@relies_on("past its time: tombstone, as new: ConditionalCheckFailedException; revived: live, expires_at absent")
def a_tombstone_past_its_time_to_live(bench: Bench) -> str:
    """Until DynamoDB gets round to deleting it, it is a row like any other: to conditions, too."""
    item_id = bench.registered(claims=2)
    bench.put(item_id=item_id, generation=1, first_generation=1, removed_at="2020", expires_at=1_577_836_800)
    (before,) = bench.transactions.scan_item(item_id)
    new = outcome(lambda: bench.update(item_id, "SET note = :n", n="x", condition="attribute_not_exists(item_id)"))
    bench.write(item_id, 2, row())
    (after,) = bench.transactions.scan_item(item_id)
    states = ["live" if stored.live else "tombstone" for stored in (before, after)]
    expiry = "stored" if "expires_at" in bench.row(item_id) else "absent"
    return f"past its time: {states[0]}, as new: {new}; revived: {states[1]}, expires_at {expiry}"


@relies_on("a, b")
def accounts_of_one_transaction_id_under_two_items(bench: Bench) -> str:
    one, other = bench.registered(claims=1), bench.registered(claims=1)
    bench.write(one, 1, row(account_id="a"), commit=commit())
    bench.write(other, 1, row(account_id="b"), commit=commit())
    return ", ".join(bench.row(item_id)["account_id"] for item_id in (one, other))
