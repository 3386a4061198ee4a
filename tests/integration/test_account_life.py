"""The life of an account on the whole stack: closed, renumbered, deselected, withdrawn, shared again, erased.

With a webhook or without one: at the end the table equals Plaid's, nothing is erased that Plaid lists, the audit is
clean, and each conclusion is published once.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import pytest
from plaid_sync.domain.claims import claim_keys
from plaid_sync.domain.history import DetailType
from plaid_sync.domain.schedule import MAX_UNCONFIRMED
from plaid_sync.plaid.responses import parse_accounts

from local.plaid import Behavior, Phase
from tests.integration.crashes import Crash, killed_at
from tests.integration.harness import LONG_AGO
from tests.integration.in_process import steps_the_clock, strikes_a_call
from tests.integration.link_flows import claims_of, content, history, link_token, linked
from tests.integration.test_publishing import publishing, received

if TYPE_CHECKING:
    from tests.integration.harness import World

ACCOUNT_EVENTS: Final = {DetailType.ACCOUNT_GONE, DetailType.ACCOUNT_REVOKED, DetailType.ACCOUNT_RETURNED}
WITHOUT_WEBHOOK: Final = ("close", "renumber", "revoke")
"""What the bank does, and Plaid sends no webhook about; it should about a withdrawn account, and need not."""


@pytest.fixture(params=[True, False], ids=["rows-in-removed", "rows-not-mentioned"])
def behavior(request: pytest.FixtureRequest) -> Behavior:
    """Whether sync returns the transactions of an account that is no longer listed in `removed` is not documented."""
    return Behavior(
        rate_limits=False,
        legacy_webhooks=False,
        initial_seconds=None,
        historical_seconds=None,
        history_transactions=24,
        revoked_rows_removed=request.param,
    )


@pytest.fixture
def user(request: pytest.FixtureRequest) -> str:
    """A user of this test alone, whose name is short enough for Plaid."""
    return f"user {zlib.crc32(request.node.nodeid.encode())}"


@dataclass(frozen=True, slots=True)
class Life:
    """A linked Item with its whole history."""

    world: World
    user: str
    item_id: str

    @classmethod
    def begin(cls, world: World, user: str, **settings: str) -> Life:
        world.settings = settings
        world.plaid.hold_webhooks()
        item_id = linked(world, user, "a login")
        while world.plaid.advance_phase(item_id) < Phase.HISTORICAL:
            pass
        life = cls(world, user, item_id)
        world.deliver_webhooks(item_id)
        life.assert_right()
        return life

    # ---- what happens

    def close(self, how: str) -> str:
        """Let Plaid stop to list an account, and the stack find out; return the account."""
        plaid, account_id = self.world.plaid, self.account_ids[0]
        match how:
            case "close":
                plaid.close_account(self.item_id, account_id)
            case "renumber":
                plaid.renumber_account(self.item_id, account_id)
            case "deselect":
                self.update_mode(deselect=[account_id])
            case _:
                plaid.revoke_account(self.item_id, account_id, notify=how == "revoke with webhook")
        self.look(a_day_later=how in WITHOUT_WEBHOOK)
        return account_id

    def update_mode(self, **choices: Any) -> None:
        """Let the user choose accounts in an update mode, and the application report that it is finished."""
        token = link_token(self.world, self.user, item_id=self.item_id, account_selection=True)
        self.world.plaid.complete_link(token, **choices)
        content(self.call("POST", "/sync", {"link_token": token}), 202)

    def look(self, *, a_day_later: bool = False) -> None:
        """Let webhooks arrive, or the routine attempt of the next day come."""
        if a_day_later:
            self.world.set_attribute(self.item_id, "accounts_checked_at", {"S": LONG_AGO})
            self.world.attempt_due(self.item_id)
        self.world.deliver_webhooks(self.item_id)

    def call(self, method: str, path: str = "", body: object = None) -> dict[str, Any]:
        return self.world.request(method, f"/items/{self.item_id}{path}", body)

    # ---- what is found

    @property
    def account_ids(self) -> list[str]:
        """The accounts that Plaid lists."""
        return [str(account["account_id"]) for account in self.world.plaid.account_rows(self.item_id)]

    @property
    def shown(self) -> dict[str, dict[str, Any]]:
        """The accounts that the API shows, with exact numbers."""
        item = json.loads(self.call("GET")["body"], parse_float=Decimal)
        return {account["account_id"]: account for account in item["accounts"]}

    @property
    def states(self) -> dict[str, str]:
        return {account_id: account["state"] for account_id, account in self.shown.items()}

    @property
    def events(self) -> list[str]:
        """The events about accounts, in the order of the history."""
        entries = history(self.world, self.item_id)
        return [name for entry in entries for name in entry.get("published_events", ()) if name in ACCOUNT_EVENTS]

    def rows_of(self, account_id: str) -> dict[str, dict[str, Any]]:
        """Return the live rows of an account."""
        live = self.world.live(self.item_id)
        return {key: row for key, row in live.items() if row["account_id"] == account_id}

    def assert_right(self, *kept: str, erased: str = "") -> None:
        """Assert that table, accounts and claims equal Plaid's, and that the audit finds nothing.

        Args:
            kept: gone accounts whose rows stay live.
            erased: an account that was erased, although Plaid serves it.
        """
        rows, truth = self.world.rows(self.item_id), self.world.plaid.truth(self.item_id)
        of_kept = {key for key, row in rows.items() if row.get("account_id") in kept}
        of_erased = {key for key, row in truth.items() if row["account_id"] == erased}
        self.world.assert_exact(self.item_id, of_kept | of_erased)
        assert not of_erased & self.world.live(self.item_id).keys()
        report = self.world.audit({"item_id": self.item_id})
        assert (report["outcome"], report["served_accounts"]) == ("clean", []), report
        listed = {account_id for account_id, state in self.states.items() if state == "listed"}
        assert listed == set(self.account_ids) - {erased}
        accounts = parse_accounts(
            [row for row in self.world.plaid.account_rows(self.item_id) if row["account_id"] != erased]
        )
        claims = set(claim_keys(self.user, self.world.item(self.item_id)["institution_id"], accounts))
        assert claims_of(self.world, self.item_id) == self.world.item(self.item_id)["bank_login_ids"]
        assert claims == claims_of(self.world, self.item_id) or (
            erased and claims < claims_of(self.world, self.item_id)
        )


# ---- accounts that Plaid no longer lists


@pytest.mark.parametrize("rows", ["remove", "keep"])
@pytest.mark.parametrize("how", ["close", "renumber", "deselect", "revoke"])
def test_the_rows_of_an_account_that_is_gone_leave_the_live_rows_or_stay(
    world: World, user: str, how: str, rows: str
) -> None:
    life = Life.begin(world, user, GONE_ACCOUNT_ROWS=rows)
    before = {account_id: life.rows_of(account_id) for account_id in life.account_ids}
    closed = life.close(how)
    assert life.states[closed] == "gone"
    assert life.rows_of(closed) == (before[closed] if rows == "keep" else {})
    assert life.events == ["AccountGone"]
    life.assert_right(*([closed] if rows == "keep" else []))


def test_the_rows_of_an_account_that_the_user_withdrew_are_erased_once_plaid_no_longer_lists_it(
    world: World, user: str
) -> None:
    life = Life.begin(world, user, GONE_ACCOUNT_ROWS="keep")
    closed = life.close("revoke with webhook")
    assert life.shown[closed] == {"account_id": closed, "state": "withdrawn"}
    assert life.events == ["AccountRevoked"]
    rows = world.rows(life.item_id).values()
    assert not [row for row in rows if row.get("account_id") == closed and ("plaid" in row or "amount" in row)]
    life.assert_right()


@steps_the_clock
def test_a_repeated_webhook_of_an_old_revocation_erases_nothing(world: World, user: str) -> None:
    """Plaid lists the account: since then, the user has shared it again."""
    life = Life.begin(world, user)
    before = world.rows(life.item_id)
    world.plaid.fire_webhook(life.item_id, "ITEM", "USER_ACCOUNT_REVOKED", account_id=life.account_ids[0])
    world.plaid.reset_calls()
    life.look()
    assert world.plaid.calls["/accounts/get"] == 1
    assert world.rows(life.item_id) == before
    now = world.clock
    world.clock = lambda: now() + MAX_UNCONFIRMED
    life.look(a_day_later=True)
    assert "pending_checks" not in world.item(life.item_id)
    assert (world.rows(life.item_id), life.events) == (before, [])
    life.assert_right()


# ---- accounts that are listed again


@pytest.mark.parametrize("code", ["LOGIN_REPAIRED", "NEW_ACCOUNTS_AVAILABLE", ""])
@pytest.mark.parametrize("how", ["close", "deselect", "revoke with webhook"])
def test_an_account_that_is_shared_again_returns_with_its_transactions(
    world: World, user: str, how: str, code: Any
) -> None:
    life = Life.begin(world, user)
    closed = life.close(how)
    if code:
        world.plaid.regrant_account(life.item_id, closed, webhook_code=code)
    else:
        world.plaid.regrant_account(life.item_id, closed, notify=False)
    life.look(a_day_later=not code)
    assert life.states[closed] == "listed"
    assert life.rows_of(closed)
    assert life.events[1:] == ["AccountReturned"]
    life.assert_right()


def test_the_audit_reports_a_withdrawn_account_that_plaid_serves(world: World, user: str) -> None:
    life = Life.begin(world, user)
    closed = life.close("revoke with webhook")
    world.plaid.regrant_account(life.item_id, closed, notify=False)
    report = world.audit({"item_id": life.item_id})
    assert (report["outcome"], report["served_accounts"]) == ("clean", [closed])
    content(life.call("POST", "/accounts"))
    world.drain()
    life.assert_right()


# ---- accounts that are added, moved, erased


@pytest.mark.parametrize("behavior", [True], indirect=True, ids=[""])
def test_an_account_that_the_user_adds_in_update_mode_is_shown_and_claimed(world: World, user: str) -> None:
    life = Life.begin(world, user)
    before = set(life.account_ids)
    life.update_mode(new_account=True)
    world.drain()
    (added,) = set(life.account_ids) - before
    assert life.states[added] == "listed"
    assert life.events == []
    life.assert_right()


def test_a_transaction_that_moves_away_from_a_closed_account_stays_and_one_that_moves_into_it_does_not(
    world: World, user: str
) -> None:
    life = Life.begin(world, user)
    closed, other = life.account_ids[:2]
    leaves, arrives = min(life.rows_of(closed)), min(life.rows_of(other))
    world.plaid.move_transaction(life.item_id, leaves, other, notify=False)
    world.plaid.move_transaction(life.item_id, arrives, closed, notify=False)
    life.close("revoke with webhook")
    assert world.live(life.item_id).keys() & {leaves, arrives} == {leaves}
    life.assert_right()


@pytest.mark.parametrize("behavior", [True], indirect=True, ids=[""])
def test_an_erased_account_stays_erased_until_it_is_restored(world: World, user: str) -> None:
    life = Life.begin(world, user)
    account_id = life.account_ids[0]
    for _ in range(2):
        content(life.call("DELETE", f"/accounts/{account_id}"), 202)
        world.drain()
        world.plaid.evolve(life.item_id, steps=10)
        life.look()
        assert life.shown[account_id] == {"account_id": account_id, "state": "erased"}
    content(life.call("POST", "/resync"), 202)
    world.drain()
    life.assert_right(erased=account_id)
    for _ in range(2):
        content(life.call("POST", f"/accounts/{account_id}/restore"), 202)
        world.drain()
    assert life.rows_of(account_id)
    assert life.events == []
    life.assert_right()


# ---- what is shown, and what is published


@pytest.mark.parametrize("behavior", [True], indirect=True, ids=[""])
def test_accounts_are_shown_as_plaid_serves_them_with_exact_balances_and_their_time(world: World, user: str) -> None:
    life = Life.begin(world, user)
    world.plaid.add(life.item_id, 3, notify=False)
    content(life.call("POST", "/accounts"))
    world.drain()
    for account in world.plaid.account_rows(life.item_id):
        shown = life.shown[account["account_id"]]
        as_of = datetime.fromisoformat(shown["balances"].pop("as_of"))
        assert timedelta(0) <= world.clock() - as_of < timedelta(minutes=1)
        assert shown.pop("state") == "listed"
        expected = {name: value for name, value in account.items() if name not in shown or shown[name] != value}
        assert {name: value for name, value in expected.items() if value is not None} == {}
        assert shown["balances"] == account["balances"]
    as_text = life.call("GET")["body"]
    assert any(str(account["balances"]["current"]) in as_text for account in life.shown.values())


@pytest.mark.parametrize("behavior", [True], indirect=True, ids=[""])
def test_each_conclusion_is_published_on_the_bus_with_its_accounts(world: World, user: str, application: str) -> None:
    with publishing(world.stack):
        life = Life.begin(world, user)
        gone, withdrawn = life.account_ids[:2]
        world.plaid.close_account(life.item_id, gone)
        assert life.close("revoke with webhook") == withdrawn
        world.plaid.regrant_account(life.item_id, gone)
        life.look()
        events = received(world.stack, application, life.item_id, "AccountReturned")
    found = {event["detail-type"]: event["detail"] for event in events if event["detail-type"] in ACCOUNT_EVENTS}
    assert found["AccountGone"]["gone_accounts"] == [gone]
    assert found["AccountRevoked"]["withdrawn_accounts"] == [withdrawn]
    assert found["AccountReturned"]["returned_accounts"] == [gone]


# ---- workers that die


@strikes_a_call
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("how", ["close", "revoke", "regrant"])
def test_a_conclusion_survives_a_worker_that_is_killed_at_any_call(
    world: World, user: str, how: str, calls_to_die_at: Any, *, before: bool
) -> None:
    for number in calls_to_die_at:
        life = Life.begin(world, f"{user} {number}")
        account_id = life.account_ids[0]
        if how == "close":
            world.plaid.close_account(life.item_id, account_id)
        else:
            world.plaid.revoke_account(life.item_id, account_id)
        if how == "regrant":
            life.look()
            world.plaid.regrant_account(life.item_id, account_id)
        world.enqueue(life.item_id, "accounts")
        records, crash = world.receive(), Crash(number, before=before)
        with killed_at(crash):
            world.handle(records)
        world.redeliver(records)
        life.look()
        assert Counter(life.events).most_common(1)[0][1] == 1
        life.assert_right()
        if not crash.struck:
            return
