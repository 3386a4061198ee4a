"""Accounts that are closed, renumbered, revoked, deselected and shared again, and rows that move between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.plaid import ItemOptions, LinkedItem, LinkTokenConfig, Phase, PlaidSimulator, SimulatedClock
from local.plaid.sync import SyncRequest

from .conftest import MANUAL, NO_RECEIVER, error_code, fold, ids, loop, payloads

if TYPE_CHECKING:
    from .conftest import Http

IDENTITY = ("name", "mask", "persistent_account_id", "type", "subtype")


def listed(sim: PlaidSimulator, item_id: str) -> list[str]:
    return [account["account_id"] for account in sim.account_rows(item_id)]


def of_account(rows: dict[str, Any], account_id: str) -> dict[str, Any]:
    return {key: row for key, row in rows.items() if row["account_id"] == account_id}


def selection_token(sim: PlaidSimulator, item_id: str) -> str:
    return sim.create_link_token(ItemOptions(), item_id, LinkTokenConfig(account_selection=True))[0]


def test_a_revoked_account_is_deleted_with_its_transactions(
    http: Http, sim: PlaidSimulator, linked: LinkedItem
) -> None:
    stored = loop(sim, linked.item_id)
    kept = stored[0]["accounts"][1]["account_id"]
    revoked = sim.revoke_account(linked.item_id)
    (payload,) = payloads(sim)
    assert (payload["webhook_code"], payload["account_id"]) == ("USER_ACCOUNT_REVOKED", revoked)
    _, answer = http("/accounts/get", access_token=linked.access_token)
    assert len(answer["accounts"]) == 4
    assert revoked not in {account["account_id"] for account in answer["accounts"]}
    for path, options in (
        ("/accounts/get", {"account_ids": [revoked]}),
        ("/transactions/sync", {"account_id": revoked}),
    ):
        assert http.error(path, access_token=linked.access_token, options=options) == "INVALID_ACCOUNT_ID"
    truth = sim.truth(linked.item_id)
    accounts = {row["account_id"] for row in truth.values()}
    assert (kept in accounts, revoked in accounts) == (True, False)
    page = loop(sim, linked.item_id, stored[-1]["next_cursor"])[-1]
    assert {row["account_id"] for row in page["removed"]} == {revoked}
    assert revoked not in {account["account_id"] for account in page["accounts"]}
    assert fold(fold({}, stored), [page]) == truth


@pytest.mark.parametrize("in_removed", [True, False])
def test_a_closed_account_is_not_listed_and_no_webhook_fires(
    sim: PlaidSimulator, linked: LinkedItem, *, in_removed: bool
) -> None:
    sim.configure(revoked_rows_removed=in_removed)
    cursor = loop(sim, linked.item_id)[-1]["next_cursor"]
    second = listed(sim, linked.item_id)[1]
    rows = of_account(sim.truth(linked.item_id), second)
    assert sim.close_account(linked.item_id, second) == second
    assert second not in listed(sim, linked.item_id)
    assert payloads(sim) == []
    assert set(ids(loop(sim, linked.item_id, cursor), "removed")) == (rows.keys() if in_removed else set())
    assert not of_account(sim.truth(linked.item_id), second)
    with pytest.raises(KeyError):
        sim.close_account(linked.item_id, second)


@pytest.mark.parametrize("in_removed", [True, False])
def test_a_renumbered_account_has_the_same_identity_and_content_under_other_ids(
    sim: PlaidSimulator, linked: LinkedItem, *, in_removed: bool
) -> None:
    sim.configure(revoked_rows_removed=in_removed)
    cursor = loop(sim, linked.item_id)[-1]["next_cursor"]
    before, account = sim.truth(linked.item_id), sim.account_rows(linked.item_id)[0]
    old, new = sim.renumber_account(linked.item_id)
    after = sim.account_rows(linked.item_id)[0]
    assert (account["account_id"], after["account_id"]) == (old, new)
    assert [account[field] for field in IDENTITY] == [after[field] for field in IDENTITY]
    pages = loop(sim, linked.item_id, cursor)
    assert set(ids(pages, "removed")) == (of_account(before, old).keys() if in_removed else set())
    assert set(ids(pages, "added")) == of_account(sim.truth(linked.item_id), new).keys()
    content = [
        sorted((row["date"], row["name"], row["amount"]) for row in of_account(rows, account_id).values())
        for rows, account_id in ((before, old), (sim.truth(linked.item_id), new))
    ]
    assert content[0] == content[1] != []
    assert not before.keys() & set(ids(pages, "added"))
    assert payloads(sim) == []
    with pytest.raises(KeyError):
        sim.regrant_account(linked.item_id, old)


def test_accounts_are_deselected_only_in_update_mode_with_account_selection_and_never_all(
    sim: PlaidSimulator, linked: LinkedItem
) -> None:
    accounts = listed(sim, linked.item_id)
    plain, _ = sim.create_link_token(ItemOptions(), linked.item_id)
    with pytest.raises(ValueError, match="account_selection_enabled"):
        sim.complete_link(plain, deselect=accounts[:1])
    with pytest.raises(ValueError, match="all accounts"):
        sim.complete_link(selection_token(sim, linked.item_id), deselect=accounts)
    assert sim.complete_link(selection_token(sim, linked.item_id), deselect=accounts[1:3]) is None
    assert listed(sim, linked.item_id) == [accounts[0], *accounts[3:]]
    assert payloads(sim) == []


def test_an_item_without_accounts_can_go_through_update_mode(sim: PlaidSimulator, linked: LinkedItem) -> None:
    for account_id in listed(sim, linked.item_id):
        sim.close_account(linked.item_id, account_id)
    plain, _ = sim.create_link_token(ItemOptions(), linked.item_id)
    assert sim.complete_link(plain) is None
    assert listed(sim, linked.item_id) == []


@pytest.mark.parametrize("in_removed", [True, False])
@pytest.mark.parametrize("hide_reverts", [True, False])
@pytest.mark.parametrize("seen", [True, False])
def test_a_regranted_account_is_served_again_as_added(
    sim: PlaidSimulator, linked: LinkedItem, *, in_removed: bool, hide_reverts: bool, seen: bool
) -> None:
    sim.configure(revoked_rows_removed=in_removed, hide_reverts=hide_reverts)
    before = sim.truth(linked.item_id)
    cursor = loop(sim, linked.item_id)[-1]["next_cursor"]
    account_id = sim.close_account(linked.item_id)
    if seen:
        cursor = loop(sim, linked.item_id, cursor)[-1]["next_cursor"]
    sim.regrant_account(linked.item_id, account_id)
    pages = loop(sim, linked.item_id, cursor)
    assert set(ids(pages, "added")) == of_account(before, account_id).keys()
    assert (ids(pages, "modified"), ids(pages, "removed")) == ([], [])
    assert sim.truth(linked.item_id) == before
    assert account_id in listed(sim, linked.item_id)


def test_regranting_fires_the_given_webhook_or_none(sim: PlaidSimulator, linked: LinkedItem) -> None:
    account_id = sim.close_account(linked.item_id)
    sim.regrant_account(linked.item_id, account_id)
    sim.revoke_account(linked.item_id, account_id, notify=False)
    sim.regrant_account(linked.item_id, account_id, webhook_code="NEW_ACCOUNTS_AVAILABLE")
    sim.close_account(linked.item_id, account_id)
    sim.regrant_account(linked.item_id, account_id, notify=False)
    assert [payload["webhook_code"] for payload in payloads(sim)] == ["LOGIN_REPAIRED", "NEW_ACCOUNTS_AVAILABLE"]
    with pytest.raises(KeyError):
        sim.regrant_account(linked.item_id, account_id)


@pytest.mark.parametrize("in_removed", [False, True])
def test_accounts_can_change_before_their_transactions_are_ready(sim: PlaidSimulator, *, in_removed: bool) -> None:
    sim.configure(revoked_rows_removed=in_removed)
    item_id = sim.link_item(transactions=80).item_id
    closed, revoked = sim.close_account(item_id), sim.revoke_account(item_id)
    sim.advance_phase(item_id)
    _, new = sim.renumber_account(item_id)
    sim.regrant_account(item_id, closed)
    sim.advance_phase(item_id)
    accounts = {row["account_id"] for row in sim.truth(item_id).values()}
    assert {closed, new} <= accounts == accounts & set(listed(sim, item_id))
    assert revoked not in accounts
    assert fold({}, loop(sim, item_id)) == sim.truth(item_id)
    sim.regrant_account(item_id, revoked)
    assert len(sim.truth(item_id)) == 80


def test_a_moved_transaction_is_modified_with_another_account(sim: PlaidSimulator, linked: LinkedItem) -> None:
    cursor = loop(sim, linked.item_id)[-1]["next_cursor"]
    transaction_id, row = next(iter(sim.truth(linked.item_id).items()))
    target = next(account for account in listed(sim, linked.item_id) if account != row["account_id"])
    sim.move_transaction(linked.item_id, transaction_id, target, notify=False)
    (page,) = loop(sim, linked.item_id, cursor)
    assert page["modified"] == [{**row, "account_id": target}] == [sim.truth(linked.item_id)[transaction_id]]
    with pytest.raises(KeyError):
        sim.move_transaction(linked.item_id, transaction_id, "unknown")


CHANGES = ("evolve", "close", "revoke", "renumber", "deselect", "regrant", "move", "add account", "observe")


def change_accounts(sim: PlaidSimulator, item_id: str, change: str, number: int) -> None:
    """Apply one change, if the Item's state allows it; `number` chooses the account."""
    accounts, unlisted = listed(sim, item_id), list(sim.item(item_id).unlisted)
    rows = list(sim.truth(item_id))
    if change == "evolve":
        sim.evolve(item_id, number, 4)
    elif change == "regrant" and unlisted:
        sim.regrant_account(item_id, unlisted[number % len(unlisted)])
    elif change == "add account":
        sim.complete_link(selection_token(sim, item_id), new_account=True)
    elif not accounts:
        return
    elif change == "deselect" and len(accounts) > 1:
        sim.complete_link(selection_token(sim, item_id), deselect=[accounts[number % len(accounts)]])
    elif change == "move" and rows:
        sim.move_transaction(item_id, rows[number % len(rows)], accounts[number % len(accounts)])
    elif change in ("close", "revoke", "renumber"):
        getattr(sim, f"{change}_account")(item_id, accounts[number % len(accounts)])


@given(
    seed=st.integers(0, 2**32),
    steps=st.lists(st.tuples(st.sampled_from(CHANGES), st.integers(0, 50)), max_size=25),
    switches=st.sets(st.sampled_from(["revoked_rows_removed", "spell_out", "hide_reverts"])),
    count=st.integers(1, 40),
    late=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_a_client_that_erases_unlisted_accounts_ends_up_with_the_truth(
    *, seed: int, steps: list[tuple[str, int]], switches: set[str], count: int, late: bool
) -> None:
    sim = PlaidSimulator(seed=seed, clock=SimulatedClock(), behavior=MANUAL)
    sim.configure(**{name: name in switches for name in ("revoked_rows_removed", "spell_out", "hide_reverts")})
    item_id = sim.link_item(NO_RECEIVER, transactions=25, phase=Phase.INITIAL if late else Phase.HISTORICAL).item_id
    rows: dict[str, Any] = {}
    cursor = ""
    for change, number in [*steps, ("observe", 0)]:
        if change != "observe":
            change_accounts(sim, item_id, change, number)
            continue
        sim.advance_phase(item_id)
        pages = loop(sim, item_id, cursor, count)
        cursor = pages[-1]["next_cursor"]
        accounts = set(listed(sim, item_id))
        rows = {key: row for key, row in fold(rows, pages).items() if row["account_id"] in accounts}
        assert rows == sim.truth(item_id) == fold({}, loop(sim, item_id, count=count))
    final = sim.final_cursors(item_id)
    assert final[cursor] == sim.item(item_id).log.head
    assert sim.truth_at(item_id, final[cursor]) == sim.truth(item_id)


def test_a_change_of_accounts_fails_a_running_pagination(sim: PlaidSimulator, linked: LinkedItem) -> None:
    sim.configure(revoked_rows_removed=False)
    item = sim.item(linked.item_id)
    first = sim.sync(item, SyncRequest(count=10))
    sim.close_account(linked.item_id)
    second = SyncRequest(first["next_cursor"], count=10)
    assert error_code(lambda: sim.sync(item, second)) == "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"


def test_the_control_api_changes_accounts(http: Http, sim: PlaidSimulator, linked: LinkedItem) -> None:
    path = f"/items/{linked.item_id}"
    first, second, third, *_ = listed(sim, linked.item_id)
    assert http.control(f"{path}/accounts/close") == {"account_id": first}
    assert http.control(f"{path}/accounts/revoke", account_id=second, notify=False) == {"account_id": second}
    renumbered = http.control(f"{path}/accounts/renumber")
    assert renumbered["old_account_id"] == third
    http.control(f"{path}/accounts/regrant", account_id=first, webhook_code="NEW_ACCOUNTS_AVAILABLE")
    assert [payload["webhook_code"] for payload in payloads(sim)] == ["NEW_ACCOUNTS_AVAILABLE"]
    transaction_id = next(iter(of_account(sim.truth(linked.item_id), first)))
    target = renumbered["account_id"]
    http.control(f"{path}/transactions/move", transaction_id=transaction_id, account_id=target)
    assert sim.truth(linked.item_id)[transaction_id]["account_id"] == target
    http.control("/link", link_token=selection_token(sim, linked.item_id), deselect=[first])
    assert set(listed(sim, linked.item_id)) & {first, second, target} == {target}
