"""Cursors, pages and what sync tells between them."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.plaid import Behavior, Phase, PlaidError, PlaidSimulator, SimulatedClock
from local.plaid.sync import SyncRequest

from .conftest import MANUAL, fold, ids, loop

if TYPE_CHECKING:
    from local.plaid.items import Item


def ready(sim: PlaidSimulator, transactions: int = 40) -> Item:
    return sim.item(sim.link_item(transactions=transactions, phase=Phase.HISTORICAL).item_id)


def code_of(sim: PlaidSimulator, item: Item, request: SyncRequest) -> str:
    with pytest.raises(PlaidError) as caught:
        sim.sync(item, request)
    return caught.value.code


def test_the_empty_cursor_gives_the_whole_history_as_added(sim: PlaidSimulator) -> None:
    item = ready(sim)
    sim.evolve(item.item_id, 1, 60)
    pages = loop(sim, item.item_id, count=7)
    assert fold({}, pages) == sim.truth(item.item_id)
    assert [page["modified"] + page["removed"] for page in pages] == [[]] * len(pages)
    assert max(len(page["added"]) for page in pages) == 7


def test_a_final_cursor_answers_identically_until_something_changes(sim: PlaidSimulator) -> None:
    item = ready(sim)
    start = loop(sim, item.item_id)[-1]["next_cursor"]
    sim.evolve(item.item_id, 2, 30)
    assert loop(sim, item.item_id, start, 6) == loop(sim, item.item_id, start, 6)
    sim.add(item.item_id)
    assert fold(sim.truth_at(item.item_id, 40), loop(sim, item.item_id, start, 6)) == sim.truth(item.item_id)


def test_nothing_new_returns_the_same_cursor(sim: PlaidSimulator) -> None:
    item = ready(sim)
    cursor = loop(sim, item.item_id)[-1]["next_cursor"]
    (page,) = loop(sim, item.item_id, cursor)
    assert (page["next_cursor"], page["has_more"]) == (cursor, False)
    assert page["added"] + page["modified"] + page["removed"] == []


def test_a_cursor_of_another_item_or_a_made_up_one_is_refused(sim: PlaidSimulator) -> None:
    one, other = ready(sim), ready(sim)
    cursor = loop(sim, one.item_id)[-1]["next_cursor"]
    for wrong in (cursor, "AAAA", "not base64!", "A" * 257, cursor[:-4]):
        assert code_of(sim, other, SyncRequest(wrong)) == "INVALID_FIELD"


def test_a_change_between_two_pages_fails_the_loop_but_not_its_restart(sim: PlaidSimulator) -> None:
    item = ready(sim)
    first = sim.sync(item, SyncRequest(count=10))
    sim.add(item.item_id)
    again = SyncRequest(first["next_cursor"], count=10)
    assert code_of(sim, item, again) == "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"
    assert code_of(sim, item, again) == "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"
    assert fold({}, loop(sim, item.item_id, count=10)) == sim.truth(item.item_id)


def test_without_detection_a_loop_ends_where_it_began_and_loses_nothing(sim: PlaidSimulator) -> None:
    sim.configure(detect_mutation=False)
    item = ready(sim)
    first = sim.sync(item, SyncRequest(count=10))
    before = sim.truth(item.item_id)
    sim.evolve(item.item_id, 3, 20)
    rest = loop(sim, item.item_id, first["next_cursor"], 10)
    assert fold({}, [first, *rest]) == before
    assert fold(before, loop(sim, item.item_id, rest[-1]["next_cursor"])) == sim.truth(item.item_id)


def test_forced_mutations_strike_the_second_page_as_often_as_told(sim: PlaidSimulator) -> None:
    item = ready(sim)
    sim.force_mutation(item.item_id, 2)
    for _ in range(2):
        page = sim.sync(item, SyncRequest(count=10))
        request = SyncRequest(page["next_cursor"], count=10)
        assert code_of(sim, item, request) == "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"
    assert len(loop(sim, item.item_id, count=10)) == 4


def test_a_mutation_that_lasts_is_passed_only_by_a_full_resync(sim: PlaidSimulator) -> None:
    item = ready(sim)
    stored = loop(sim, item.item_id)[-1]["next_cursor"]
    sim.force_mutation(item.item_id, 1000, anywhere=True)
    assert code_of(sim, item, SyncRequest(stored)) == "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"
    assert fold({}, loop(sim, item.item_id, count=10)) == sim.truth(item.item_id)


def test_a_pending_row_posts_under_a_new_id_on_the_same_page(sim: PlaidSimulator) -> None:
    item = ready(sim)
    (pending,) = sim.add(item.item_id, pending=True)
    cursor = loop(sim, item.item_id)[-1]["next_cursor"]
    posted = sim.post_pending(item.item_id, pending, "same page")
    (page,) = loop(sim, item.item_id, cursor)
    assert ids([page], "removed") == [pending]
    assert [(row["transaction_id"], row["pending_transaction_id"]) for row in page["added"]] == [(posted, pending)]


def test_a_pending_row_posts_on_another_page(sim: PlaidSimulator) -> None:
    item = ready(sim)
    (pending,) = sim.add(item.item_id, pending=True)
    cursor = loop(sim, item.item_id)[-1]["next_cursor"]
    posted = sim.post_pending(item.item_id, pending, "other page")
    first, second = loop(sim, item.item_id, cursor)
    assert (ids([first], "removed"), ids([first], "added")) == ([pending], [])
    assert (ids([second], "removed"), ids([second], "added")) == ([], [posted])


def test_rows_for_a_later_page_cost_one_page_however_many(sim: PlaidSimulator) -> None:
    item = ready(sim)
    pending = sim.add(item.item_id, 9, pending=True)
    cursor = loop(sim, item.item_id)[-1]["next_cursor"]
    for transaction_id in pending:
        sim.post_pending(item.item_id, transaction_id, "other page")
    assert len(loop(sim, item.item_id, cursor)) == 2
    assert len(loop(sim, item.item_id)) == 1


def test_a_pending_row_posts_unlinked(sim: PlaidSimulator) -> None:
    item = ready(sim)
    (pending,) = sim.add(item.item_id, pending=True)
    posted = sim.post_pending(item.item_id, pending, "unlinked")
    assert posted is not None
    assert sim.truth(item.item_id)[posted]["pending_transaction_id"] is None


def test_a_row_that_came_and_went_is_netted_out_or_spelled_out(sim: PlaidSimulator) -> None:
    item = ready(sim)
    cursor = loop(sim, item.item_id)[-1]["next_cursor"]
    flash = sim.flash(item.item_id)
    netted = loop(sim, item.item_id, cursor)
    assert ids(netted, "added") + ids(netted, "removed") == []
    sim.configure(spell_out=True)
    spelled = loop(sim, item.item_id, cursor)
    assert (ids(spelled, "added"), ids(spelled, "removed")) == ([flash], [flash])


def test_a_row_that_left_and_came_back_survives_in_both_tellings(sim: PlaidSimulator) -> None:
    item = ready(sim)
    cursor = loop(sim, item.item_id)[-1]["next_cursor"]
    before = sim.truth(item.item_id)
    gone = sim.remove(item.item_id)
    assert sim.readd(item.item_id, gone) == gone
    assert ids(loop(sim, item.item_id, cursor), "modified") == [gone]
    assert fold(before, loop(sim, item.item_id, cursor)) == before
    sim.configure(spell_out=True)
    spelled = loop(sim, item.item_id, cursor)
    assert [ids(spelled, kind) for kind in ("added", "modified", "removed")] == [[gone], [], [gone]]
    assert len(spelled) == 2
    assert fold(before, spelled) == before


def test_an_unknown_row_is_removed_and_an_unchanged_one_modified(sim: PlaidSimulator) -> None:
    item = ready(sim)
    before = sim.truth(item.item_id)
    cursor = loop(sim, item.item_id)[-1]["next_cursor"]
    ghost = sim.remove_unknown(item.item_id)
    (touched,) = sim.touch(item.item_id)
    (page,) = loop(sim, item.item_id, cursor)
    assert ids([page], "removed") == [ghost]
    assert page["modified"] == [before[touched]]


def test_a_churned_row_is_removed_and_added_with_the_same_content(sim: PlaidSimulator) -> None:
    item = ready(sim)
    before = sim.truth(item.item_id)
    cursor = loop(sim, item.item_id)[-1]["next_cursor"]
    new_id = sim.churn(item.item_id)
    (page,) = loop(sim, item.item_id, cursor)
    (old_id,) = ids([page], "removed")
    assert page["added"] == [{**before[old_id], "transaction_id": new_id}]


def test_now_skips_the_past_and_shows_its_changes_as_added(sim: PlaidSimulator) -> None:
    item = ready(sim)
    (page,) = loop(sim, item.item_id, "now")
    assert (page["added"], page["has_more"]) == ([], False)
    old = next(iter(sim.truth(item.item_id)))
    sim.modify(item.item_id, old, amount=Decimal("1.00"))
    (page,) = loop(sim, item.item_id, page["next_cursor"])
    assert (ids([page], "added"), ids([page], "modified")) == ([old], [])
    sim.modify(item.item_id, old, amount=Decimal("2.00"))
    (page,) = loop(sim, item.item_id, page["next_cursor"])
    assert (ids([page], "added"), ids([page], "modified")) == ([], [old])
    sim.remove(item.item_id)
    assert len(ids(loop(sim, item.item_id, page["next_cursor"]), "removed")) == 1


def test_an_account_has_a_stream_of_its_own(sim: PlaidSimulator) -> None:
    item = ready(sim, 80)
    account_id = item.generator.accounts[0]["account_id"]
    whole = loop(sim, item.item_id)[-1]["next_cursor"]
    pages = loop(sim, item.item_id, count=10, account_id=account_id)
    mine = {key: row for key, row in sim.truth(item.item_id).items() if row["account_id"] == account_id}
    assert fold({}, pages) == mine
    assert code_of(sim, item, SyncRequest(whole, account_id=account_id)) == "INVALID_FIELD"
    assert code_of(sim, item, SyncRequest(pages[-1]["next_cursor"])) == "INVALID_FIELD"
    assert code_of(sim, item, SyncRequest(account_id="nobody's")) == "INVALID_ACCOUNT_ID"


def test_phases_release_the_last_month_first(sim: PlaidSimulator, clock: SimulatedClock) -> None:
    item = sim.item(sim.link_item(transactions=60, days=180).item_id)
    (page,) = loop(sim, item.item_id)
    assert (page["next_cursor"], page["transactions_update_status"], page["accounts"]) == ("", "NOT_READY", [])
    sim.configure(not_ready_cursor_null=True)
    assert sim.sync(item, SyncRequest())["next_cursor"] is None
    assert sim.advance_phase(item.item_id) is Phase.INITIAL
    (recent,) = loop(sim, item.item_id)
    assert recent["transactions_update_status"] == "INITIAL_UPDATE_COMPLETE"
    assert all((clock().date().toordinal() - _ordinal(row["date"])) <= 30 for row in recent["added"])
    assert sim.advance_phase(item.item_id) is Phase.HISTORICAL
    (rest,) = loop(sim, item.item_id, recent["next_cursor"])
    assert rest["transactions_update_status"] == "HISTORICAL_UPDATE_COMPLETE"
    assert len(recent["added"]) + len(rest["added"]) == 60


def _ordinal(day: str) -> int:
    return date.fromisoformat(day).toordinal()


def test_the_first_sync_decides_how_far_back_unless_link_did(sim: PlaidSimulator, clock: SimulatedClock) -> None:
    def oldest(days_requested: int, *, initialize_at_link: bool) -> int:
        item = sim.item(sim.link_item(transactions=300, days=600, initialize_at_link=initialize_at_link).item_id)
        sim.sync(item, SyncRequest(days_requested=days_requested))
        sim.advance_phase(item.item_id)
        sim.advance_phase(item.item_id)
        rows = sim.truth(item.item_id).values()
        return clock().date().toordinal() - min(_ordinal(row["date"]) for row in rows)

    assert oldest(45, initialize_at_link=False) < 45
    assert 45 < oldest(200, initialize_at_link=False) < 200
    assert oldest(45, initialize_at_link=True) > 500


operations = st.lists(
    st.sampled_from(
        ["add", "modify", "touch", "remove", "remove_unknown", "post_pending", "churn", "flash", "readd", "sync"]
    ),
    max_size=40,
)


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    steps=operations,
    count=st.integers(1, 12),
    telling=st.sampled_from(["", "spell_out", "hide_reverts"]),
)
def test_from_any_final_cursor_the_pages_fold_to_the_truth(
    *, seed: int, steps: list[str], count: int, telling: str
) -> None:
    sim = PlaidSimulator(seed, SimulatedClock(), behavior=Behavior(legacy_webhooks=False))
    if telling:
        sim.configure(**{telling: True})
    item = ready(sim, 8)
    for step in steps:
        if step == "sync":
            loop(sim, item.item_id, count=count)
        else:
            getattr(sim, step)(item.item_id, notify=False)
    loop(sim, item.item_id)
    truth = sim.truth(item.item_id)
    assert fold({}, loop(sim, item.item_id, count=count)) == truth
    for cursor, position in sim.final_cursors(item.item_id).items():
        pages = loop(sim, item.item_id, cursor, count)
        assert fold(sim.truth_at(item.item_id, position), pages) == truth


def test_a_row_that_is_again_what_the_client_has_can_be_left_out() -> None:
    sim = PlaidSimulator(3, SimulatedClock(), behavior=replace(MANUAL, hide_reverts=True))
    item = ready(sim, 8)
    loop(sim, item.item_id)
    final = max(sim.final_cursors(item.item_id), key=sim.final_cursors(item.item_id).__getitem__)
    removed = sim.remove(item.item_id)
    assert sim.readd(item.item_id, removed) == removed
    assert fold({}, loop(sim, item.item_id, final)) == {}
    sim.configure(hide_reverts=False)
    assert fold({}, loop(sim, item.item_id, final)).keys() == {removed}


def test_the_same_seed_gives_the_same_world() -> None:
    def world(seed: int) -> object:
        sim = PlaidSimulator(seed, SimulatedClock(), behavior=MANUAL)
        item = ready(sim)
        done = sim.evolve(item.item_id, steps=100)
        return item.item_id, item.access_token, done, sim.truth(item.item_id), sim.keys.current.kid

    assert world(1) == world(1)
    assert world(1) != world(2)
