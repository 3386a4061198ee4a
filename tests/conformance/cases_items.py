"""The Items table, through its adapter: who may claim, and what a claim shuts out."""

from __future__ import annotations

from dataclasses import replace

from plaid_sync.core.items import ItemId, ItemStatus
from plaid_sync.core.linking import NewItem

from tests.conformance.bench import ITEMS, NOON, Bench, commit, row
from tests.conformance.case import outcome, relies_on


@relies_on("retry: item_changed_while_claiming, nothing stored")
def claim_of_an_item_that_was_deleted_meanwhile(bench: Bench) -> str:
    item = bench.loaded(bench.registered())
    bench.items.forget(item.item_id, f"link of {item.item_id}")
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
    bench.items.register(NewItem(item_id, b"sealed again", "another link", 30, NOON))
    kept = bench.loaded(item_id) == replace(before, access_token=b"sealed again")
    return "the token is the new one, all else as before" if kept else "something else changed"


@relies_on("another's link: kept; claimed: kept; adopted: kept; its own and unused: gone; absent: gone")
def forgetting_an_item(bench: Bench) -> str:
    unused, claimed, adopted = bench.registered(), bench.registered(claims=1), bench.registered()
    bench.items.adopt(f"link of {adopted}")
    answers = []
    for case, item_id, link in (
        ("another's link", unused, "another"),
        ("claimed", claimed, f"link of {claimed}"),
        ("adopted", adopted, f"link of {adopted}"),
        ("its own and unused", unused, f"link of {unused}"),
        ("absent", ItemId(bench.fresh()), "any"),
    ):
        gone = bench.items.forget(item_id, link)
        assert gone is not bool(bench.item(item_id))
        answers.append(f"{case}: {'gone' if gone else 'kept'}")
    return "; ".join(answers)


@relies_on("holder: ok, needs_user; older: superseded; removed: superseded; absent: superseded, nothing stored")
def recording_trouble_under_the_fence(bench: Bench) -> str:
    item_id, absent, removed = bench.registered(claims=2), ItemId(bench.fresh()), bench.registered(claims=1)
    _remove(bench, removed)

    def record(one: ItemId, generation: int, status: ItemStatus) -> str:
        return outcome(lambda: bench.items.record_trouble(one, generation, status, "CODE"))

    holder, older = record(item_id, 2, ItemStatus.NEEDS_USER), record(item_id, 1, ItemStatus.TERMINAL)
    gone, nobody = record(removed, 1, ItemStatus.TERMINAL), record(absent, 1, ItemStatus.TERMINAL)
    stored = "stored" if bench.item(absent) else "nothing stored"
    status = bench.item(item_id)["status"]
    return f"holder: {holder}, {status}; older: {older}; removed: {gone}; absent: {nobody}, {stored}"


@relies_on("holder: ok, NOT_READY; older: superseded")
def recording_that_plaid_is_not_ready_under_the_fence(bench: Bench) -> str:
    item_id = bench.registered(claims=2)
    holder = outcome(lambda: bench.items.record_not_ready(item_id, 2, "NOT_READY"))
    older = outcome(lambda: bench.items.record_not_ready(item_id, 1, "LATE"))
    return f"holder: {holder}, {bench.item(item_id)['update_status']}; older: {older}"


@relies_on("found and marked; unknown: None; once forgotten: None")
def adopting_an_item_by_its_link(bench: Bench) -> str:
    item_id, other = bench.registered(), bench.registered()
    found = bench.items.adopt(f"link of {item_id}") == item_id and bench.item(item_id)["adopted"] is True
    unknown = bench.items.adopt("unknown")
    bench.items.forget(other, f"link of {other}")
    forgotten = bench.items.adopt(f"link of {other}")
    return f"{'found and marked' if found else 'not found'}; unknown: {unknown}; once forgotten: {forgotten}"


def _remove(bench: Bench, item_id: ItemId) -> None:
    bench.update(item_id, "SET #s = :s", ITEMS, names={"#s": "status"}, s=ItemStatus.REMOVED.value)
