"""/transactions/sync: cursors, pages and the changes between two cursors."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.plaid import Behavior, Phase, PlaidSimulator, SimulatedClock
from local.plaid.sync import SyncRequest

from .conftest import MANUAL, error_code, fold, ids, loop

if TYPE_CHECKING:
    from local.plaid.items import Item

MUTATION = "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"


def ready(sim: PlaidSimulator, transactions: int = 40) -> Item:
    return sim.item(sim.link_item(transactions=transactions, phase=Phase.HISTORICAL).item_id)


def final_cursor(sim: PlaidSimulator, item: Item) -> str:
    return str(loop(sim, item.item_id)[-1]["next_cursor"])


@pytest.fixture
def item(sim: PlaidSimulator) -> Item:
    return ready(sim)


@pytest.fixture
def cursor(sim: PlaidSimulator, item: Item) -> str:
    return final_cursor(sim, item)


def arrays(page: dict[str, list[dict[str, str]]]) -> list[list[str]]:
    """Return the ids in `added`, `modified` and `removed`."""
    return [ids([page], kind) for kind in ("added", "modified", "removed")]


def test_a_final_cursor_returns_the_same_pages_until_something_changes(sim: PlaidSimulator, item: Item) -> None:
    (page,) = loop(sim, item.item_id)
    (again,) = loop(sim, item.item_id, page["next_cursor"])
    assert (again["next_cursor"], again["has_more"], arrays(again)) == (page["next_cursor"], False, [[], [], []])
    sim.evolve(item.item_id, 2, 30)
    start = page["next_cursor"]
    assert loop(sim, item.item_id, start, 6) == loop(sim, item.item_id, start, 6)
    sim.add(item.item_id)
    assert fold(sim.truth_at(item.item_id, 40), loop(sim, item.item_id, start, 6)) == sim.truth(item.item_id)


def test_a_cursor_of_another_item_or_a_forged_one_is_rejected(sim: PlaidSimulator, cursor: str) -> None:
    other = ready(sim)
    for wrong in (cursor, "AAAA", "not base64!", "A" * 257, cursor[:-4]):
        assert error_code(lambda wrong=wrong: sim.sync(other, SyncRequest(wrong))) == "INVALID_FIELD"  # type: ignore[misc] # bound now


def test_a_mutation_fails_the_pagination_but_not_its_restart(sim: PlaidSimulator, item: Item) -> None:
    first = sim.sync(item, SyncRequest(count=10))
    sim.add(item.item_id)
    second = SyncRequest(first["next_cursor"], count=10)
    assert [error_code(lambda: sim.sync(item, second)) for _ in range(2)] == [MUTATION] * 2
    assert fold({}, loop(sim, item.item_id, count=10)) == sim.truth(item.item_id)


def test_a_forced_mutation_fails_the_second_page_so_many_times(sim: PlaidSimulator, item: Item) -> None:
    sim.force_mutation(item.item_id, 2)
    for _ in range(2):
        second = SyncRequest(sim.sync(item, SyncRequest(count=10))["next_cursor"], count=10)
        assert error_code(lambda second=second: sim.sync(item, second)) == MUTATION  # type: ignore[misc] # bound now
    assert len(loop(sim, item.item_id, count=10)) == 4


def test_only_a_full_resync_ends_a_persistent_mutation(sim: PlaidSimulator, item: Item, cursor: str) -> None:
    sim.force_mutation(item.item_id, 1000, anywhere=True)
    assert error_code(lambda: sim.sync(item, SyncRequest(cursor))) == MUTATION
    assert fold({}, loop(sim, item.item_id, count=10)) == sim.truth(item.item_id)


@pytest.mark.parametrize(("link", "pages"), [("same page", 1), ("other page", 2), ("unlinked", 1)])
def test_a_pending_transaction_posts_under_a_new_id(sim: PlaidSimulator, item: Item, link: Any, pages: int) -> None:
    (pending,) = sim.add(item.item_id, pending=True)
    cursor = final_cursor(sim, item)
    posted = sim.post_pending(item.item_id, pending, link)
    found = loop(sim, item.item_id, cursor)
    assert (len(found), ids(found, "added"), ids(found[:1], "removed")) == (pages, [posted], [pending])
    assert found[-1]["added"][0]["pending_transaction_id"] == (None if link == "unlinked" else pending)


def test_an_added_and_removed_transaction_is_netted_out_or_spelled_out(
    sim: PlaidSimulator, item: Item, cursor: str
) -> None:
    transaction_id = sim.flash(item.item_id)
    assert [arrays(page) for page in loop(sim, item.item_id, cursor)] == [[[], [], []]]
    sim.configure(spell_out=True)
    spelled = loop(sim, item.item_id, cursor)
    assert (ids(spelled, "added"), ids(spelled, "removed")) == ([transaction_id], [transaction_id])


def test_a_removed_and_re_added_transaction_survives_netted_or_spelled_out(
    sim: PlaidSimulator, item: Item, cursor: str
) -> None:
    before = sim.truth(item.item_id)
    removed = sim.remove(item.item_id)
    assert sim.readd(item.item_id, removed) == removed
    netted = loop(sim, item.item_id, cursor)
    assert ids(netted, "modified") == [removed]
    sim.configure(spell_out=True)
    spelled = loop(sim, item.item_id, cursor)
    assert [arrays(page) for page in spelled] == [[[], [], [removed]], [[removed], [], []]]
    assert fold(before, netted) == fold(before, spelled) == before


def test_sync_can_leave_out_a_reverted_transaction() -> None:
    sim = PlaidSimulator(3, SimulatedClock(), behavior=replace(MANUAL, hide_reverts=True))
    item = ready(sim, 8)
    cursor = final_cursor(sim, item)
    removed = sim.remove(item.item_id)
    assert sim.readd(item.item_id, removed) == removed
    assert fold({}, loop(sim, item.item_id, cursor)) == {}
    sim.configure(hide_reverts=False)
    assert fold({}, loop(sim, item.item_id, cursor)).keys() == {removed}


def test_an_unknown_transaction_is_removed_and_an_unchanged_one_modified(
    sim: PlaidSimulator, item: Item, cursor: str
) -> None:
    before = sim.truth(item.item_id)
    unknown = sim.remove_unknown(item.item_id)
    (touched,) = sim.touch(item.item_id)
    (page,) = loop(sim, item.item_id, cursor)
    assert (ids([page], "removed"), page["modified"]) == ([unknown], [before[touched]])


def test_a_churned_transaction_has_the_same_content_under_a_new_id(
    sim: PlaidSimulator, item: Item, cursor: str
) -> None:
    before = sim.truth(item.item_id)
    new_id = sim.churn(item.item_id)
    (page,) = loop(sim, item.item_id, cursor)
    (old_id,) = ids([page], "removed")
    assert page["added"] == [{**before[old_id], "transaction_id": new_id}]


def test_an_account_has_its_own_cursors(sim: PlaidSimulator) -> None:
    item = ready(sim, 80)
    account_id = item.generator.accounts[0]["account_id"]
    pages = loop(sim, item.item_id, count=10, account_id=account_id)
    expected = {key: row for key, row in sim.truth(item.item_id).items() if row["account_id"] == account_id}
    assert fold({}, pages) == expected
    invalid = (
        (SyncRequest(final_cursor(sim, item), account_id=account_id), "INVALID_FIELD"),
        (SyncRequest(pages[-1]["next_cursor"]), "INVALID_FIELD"),
        (SyncRequest(account_id="unknown"), "INVALID_ACCOUNT_ID"),
    )
    for request, code in invalid:
        assert error_code(lambda request=request: sim.sync(item, request)) == code  # type: ignore[misc] # bound now


def age(sim: PlaidSimulator, row: dict[str, str]) -> int:
    return (sim.clock().date() - date.fromisoformat(row["date"])).days


def test_the_initial_phase_releases_the_last_30_days(sim: PlaidSimulator) -> None:
    item = sim.item(sim.link_item(transactions=60, days=180).item_id)
    (page,) = loop(sim, item.item_id)
    assert (page["next_cursor"], page["transactions_update_status"], page["accounts"]) == ("", "NOT_READY", [])
    sim.configure(not_ready_cursor_null=True)
    assert sim.sync(item, SyncRequest())["next_cursor"] is None
    assert sim.advance_phase(item.item_id) is Phase.INITIAL
    (recent,) = loop(sim, item.item_id)
    assert recent["transactions_update_status"] == "INITIAL_UPDATE_COMPLETE"
    assert all(age(sim, row) <= 30 for row in recent["added"])
    assert sim.advance_phase(item.item_id) is Phase.HISTORICAL
    (rest,) = loop(sim, item.item_id, recent["next_cursor"])
    assert rest["transactions_update_status"] == "HISTORICAL_UPDATE_COMPLETE"
    assert len(recent["added"]) + len(rest["added"]) == 60


@pytest.mark.parametrize(
    ("days_requested", "at_link", "low", "high"), [(45, False, 0, 45), (200, False, 45, 200), (45, True, 500, 601)]
)
def test_the_first_sync_sets_days_requested_unless_link_did(
    sim: PlaidSimulator, days_requested: int, low: int, high: int, *, at_link: bool
) -> None:
    item = sim.item(sim.link_item(transactions=300, days=600, initialize_at_link=at_link).item_id)
    sim.sync(item, SyncRequest(days_requested=days_requested))
    for _ in range(2):
        sim.advance_phase(item.item_id)
    assert low < max(age(sim, row) for row in sim.truth(item.item_id).values()) < high


OPERATIONS = ("add", "modify", "touch", "remove", "remove_unknown", "post_pending", "churn", "flash", "readd", "sync")


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    steps=st.lists(st.sampled_from(OPERATIONS), max_size=40),
    count=st.integers(1, 12),
    switch=st.sampled_from(["", "spell_out", "hide_reverts"]),
)
def test_pages_from_any_final_cursor_add_up_to_the_truth(
    *, seed: int, steps: list[str], count: int, switch: str
) -> None:
    sim = PlaidSimulator(seed, SimulatedClock(), behavior=Behavior(legacy_webhooks=False))
    if switch:
        sim.configure(**{switch: True})
    item = ready(sim, 8)
    for step in steps:
        if step == "sync":
            loop(sim, item.item_id, count=count)
        else:
            getattr(sim, step)(item.item_id, notify=False)
    loop(sim, item.item_id)
    truth = sim.truth(item.item_id)
    pages = loop(sim, item.item_id, count=count)
    assert fold({}, pages) == truth
    assert [page["modified"] + page["removed"] for page in pages] == [[]] * len(pages)
    assert max(len(page["added"]) for page in pages) <= count
    for final, position in sim.final_cursors(item.item_id).items():
        assert fold(sim.truth_at(item.item_id, position), loop(sim, item.item_id, final, count)) == truth


def test_the_same_seed_gives_the_same_data() -> None:
    def data(seed: int) -> object:
        sim = PlaidSimulator(seed, SimulatedClock(), behavior=MANUAL)
        item = ready(sim)
        done = sim.evolve(item.item_id, steps=100)
        return item.item_id, item.access_token, done, sim.truth(item.item_id), sim.keys.current.kid

    assert data(1) == data(1)
    assert data(1) != data(2)
