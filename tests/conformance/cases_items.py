"""The Items table, through its adapter: who may claim, and what a claim shuts out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from plaid_sync.core.items import ItemId, ItemRemoval, ItemStatus
from plaid_sync.core.linking.registration import ClaimHeldError

from tests.conformance.bench import ITEMS, Bench, commit, entry, row, verdict
from tests.conformance.case import outcome, relies_on

if TYPE_CHECKING:
    from collections.abc import Collection

    from plaid_sync.core.items import Item


@relies_on("retry: item_changed_while_claiming, nothing stored")
def claim_of_an_item_that_was_deleted_meanwhile(bench: Bench) -> str:
    item = bench.loaded(bench.registered())
    bench.client.delete_item(TableName=ITEMS, Key={"item_id": {"S": item.item_id}})
    answer = outcome(lambda: bench.items.claim(item, "attempt"))
    return f"{answer}, {'stored' if bench.item(item.item_id) else 'nothing stored'}"


@relies_on("retry: item_changed_while_claiming, generation 1")
def claim_of_an_item_that_was_removed_meanwhile(bench: Bench) -> str:
    item = bench.loaded(bench.registered(claims=1))
    _remove(bench, item.item_id)
    answer = outcome(lambda: bench.items.claim(item, "attempt"))
    return f"{answer}, generation {bench.item(item.item_id)['generation']}"


@relies_on("generations 1, 2, 3; the last claim's answer is what is stored")
def claims_one_after_the_other(bench: Bench) -> str:
    item_id = bench.registered()
    claims = [bench.claim(item_id) for _ in range(3)]
    generations = ", ".join(str(claim.generation) for claim in claims)
    same = "is" if bench.loaded(item_id) == claims[-1] else "is not"
    return f"generations {generations}; the last claim's answer {same} what is stored"


@relies_on("repeated: generation 1, as at first; by another: retry: item_changed_while_claiming; generation 1")
def a_claim_that_arrives_twice(bench: Bench) -> str:
    """The SDK's repeat after a lost answer finds its own attempt in the Item that comes with the refusal."""
    item = bench.loaded(bench.registered())
    first, again = (bench.items.claim(item, "attempt") for _ in range(2))
    other = outcome(lambda: bench.items.claim(item, "another"))
    same = "as at first" if again == first else "otherwise"
    stored = bench.item(item.item_id)["generation"]
    return f"repeated: generation {again.generation}, {same}; by another: {other}; generation {stored}"


@relies_on("generation 0, active, 730 days")
def first_registration_fills_in_the_defaults(bench: Bench) -> str:
    stored = bench.item(bench.registered())
    return f"generation {stored['generation']}, {stored['status']}, {stored['days_requested']} days"


@relies_on("the token is the new one, all else as before")
def second_registration_keeps_what_a_sync_has_written(bench: Bench) -> str:
    item_id = bench.registered(claims=1)
    bench.write(item_id, 1, row(), commit=commit())
    before = bench.loaded(item_id)
    bench.register(item_id, access_token=b"sealed again", link_id="another link", days_requested=30)
    kept = bench.loaded(item_id) == replace(before, access_token=b"sealed again")
    return "the token is the new one, all else as before" if kept else "something else changed"


@relies_on("retry: item_not_as_before, removed, the token as before")
def registration_of_an_item_that_is_removed(bench: Bench) -> str:
    item_id = bench.registered()
    _remove(bench, item_id)
    answer = outcome(lambda: bench.register(item_id, access_token=b"another"))
    stored = bench.item(item_id)
    token = "as before" if bench.loaded(item_id).access_token == b"sealed" else "another"
    return f"{answer}, {stored['status']}, the token {token}"


@relies_on("stored: yes, still there; not stored: no, then registering: retry: item_not_as_before, nothing stored")
def renouncing_an_item(bench: Bench) -> str:
    """A registration whose answer was lost either is there, or never will be."""
    stored, late = bench.registered(), ItemId(bench.fresh())
    there = "yes" if bench.registry.renounce(stored) else "no"
    kept = "still there" if bench.item(stored) else "gone"
    absent = "yes" if bench.registry.renounce(late) else "no"
    answer = outcome(lambda: bench.register(late))
    after = "stored" if bench.item(late) else "nothing stored"
    return f"stored: {there}, {kept}; not stored: {absent}, then registering: {answer}, {after}"


@relies_on(
    "free: ok; its own: ok; another's: held by the first, nothing stored; one that yields: ok; released by: last"
)
def claims_of_a_users_bank_accounts(bench: Bench) -> str:
    """One transaction takes all claims of an Item, or none, and says who holds one."""
    first, second, keys = ItemId(bench.fresh()), ItemId(bench.fresh()), (bench.fresh(), bench.fresh())
    seen = [f"free: {_link(bench, first, keys[:1])}", f"its own: {_link(bench, first, keys[:1])}"]
    refused = _link(bench, second, keys)
    holder = "held by the first" if refused == f"held by {first}" else refused
    left = "nothing stored" if not bench.item(second) and not bench.links.claims(keys[1:]) else "something stored"
    seen.append(f"another's: {holder}, {left}")
    seen.append(f"one that yields: {_link(bench, second, keys, yielding=[first])}")
    bench.links.release(first, keys)
    kept = bench.links.claims(keys)
    bench.links.release(second, keys)
    last = len(kept) == 2 and not bench.links.claims(keys)
    return "; ".join([*seen, f"released by: {'last' if last else 'first'}"])


@relies_on(
    "holder: ok, needs_user, 1 entry; older: superseded; removed: superseded; absent: superseded, nothing stored"
)
def recording_trouble_under_the_fence(bench: Bench) -> str:
    item_id, absent, removed = bench.registered(claims=2), ItemId(bench.fresh()), bench.registered(claims=1)
    _remove(bench, removed)

    def record(item: Item, status: ItemStatus) -> str:
        return outcome(lambda: bench.items.record(item, verdict(item.item_id, status)))

    newest = bench.loaded(item_id)
    holder = record(newest, ItemStatus.NEEDS_USER)
    older = record(replace(newest, generation=1), ItemStatus.REVOKED)
    gone = record(bench.loaded(removed), ItemStatus.REVOKED)
    nobody = record(replace(newest, item_id=absent), ItemStatus.REVOKED)
    stored = "stored" if bench.item(absent) or bench.syncs(absent) or bench.syncs(removed) else "nothing stored"
    told = f"{bench.item(item_id)['status']}, {bench.syncs(item_id)} entry"
    return f"holder: {holder}, {told}; older: {older}; removed: {gone}; absent: {nobody}, {stored}"


@relies_on("holder: ok, NOT_READY; older: superseded")
def recording_that_plaid_is_not_ready_under_the_fence(bench: Bench) -> str:
    newest = bench.loaded(bench.registered(claims=2))
    told, late = (verdict(newest.item_id, update_status=status) for status in ("NOT_READY", "LATE"))
    holder = outcome(lambda: bench.items.record(newest, told))
    older = outcome(lambda: bench.items.record(replace(newest, generation=1), late))
    return f"holder: {holder}, {bench.item(newest.item_id)['update_status']}; older: {older}"


@relies_on("living: refused three times; removed: 3 rows, 3 again; completed: ok, again: ok; 1 entry, no token")
def the_end_of_an_item(bench: Bench) -> str:
    living, item_id = bench.registered(), bench.registered()
    alive = [
        outcome(lambda: bench.items.record_plaid_removed(living)),
        outcome(lambda: bench.items.record_rows_to_erase(living, 1)),
        outcome(lambda: bench.items.record_removal_completed(bench.loaded(living), entry(living))),
    ]
    refusals = "refused three times" if "ok" not in alive else ", ".join(alive)
    _remove(bench, item_id)
    bench.items.record_plaid_removed(item_id)
    rows = [bench.items.record_rows_to_erase(item_id, count) for count in (3, 1)]
    item = bench.loaded(item_id)
    assert item.removal == ItemRemoval(erase=True, rows_to_erase=3, plaid_removed=True)
    ends = [outcome(lambda: bench.items.record_removal_completed(item, entry(item_id))) for _ in range(2)]
    token = "no token" if "access_token" not in bench.item(item_id) else "a token"
    return (
        f"living: {refusals}; removed: {rows[0]} rows, {rows[1]} again; completed: {ends[0]}, again: {ends[1]}; "
        f"{bench.syncs(item_id)} entry, {token}"
    )


@relies_on("found by its link; unknown: None")
def finding_an_item_by_its_link(bench: Bench) -> str:
    item_id = bench.registered()
    record = bench.registry.find_by_link(f"link of {item_id}")
    found = record is not None and record.item_id == item_id
    return f"{'found' if found else 'not found'} by its link; unknown: {bench.registry.find_by_link('unknown')}"


@relies_on("newest first: e d, then c b, then a; the end")
def the_history_of_an_item_in_pages_of_two(bench: Bench) -> str:
    item_id, seen, after = ItemId(bench.fresh()), [], None
    for name in "cabed":
        bench.history.add(replace(entry(item_id), mark=name))
    bench.history.add(replace(entry(item_id), mark="c"))
    while True:
        entries, after = bench.history.page(item_id, 2, after)
        seen += [" ".join(one.mark for one in entries)] if entries else []
        if after is None:
            return f"newest first: {', then '.join(seen)}; the end"


def _link(bench: Bench, item_id: ItemId, keys: tuple[str, ...], yielding: Collection[ItemId] = ()) -> str:
    try:
        bench.register(item_id, yielding, claims=keys)
    except ClaimHeldError as error:
        return f"held by {error.holder}"
    return "ok"


def _remove(bench: Bench, item_id: ItemId) -> None:
    bench.update(
        item_id,
        "SET #s = :s, removal_requested_at = :t, removal_erases = :e",
        ITEMS,
        names={"#s": "status"},
        s=ItemStatus.REMOVED.value,
        t="2026-03-01T12:00:00.000Z",
        e=True,
    )
