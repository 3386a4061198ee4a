"""The life of an account: closed, withdrawn, renumbered, shared again, erased; with and without webhooks.

After any sequence of these, and wherever workers died, the live rows are those that Plaid has in the accounts that it
lists, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plaid_sync.domain.accounts import Account, AccountState, AccountStates
from plaid_sync.domain.claims import claim_keys
from plaid_sync.domain.history import DetailType, EntryKind, HistoryEntry
from plaid_sync.domain.item import ACCOUNT_ROWS, CHECK_ACCOUNTS, Cursor, Item, ItemHealth, ItemId, PendingCheck
from plaid_sync.domain.schedule import ACCOUNTS_INTERVAL
from plaid_sync.items_api.ports import ItemChange
from plaid_sync.linking.sessions import AccountClaim
from plaid_sync.sync import planner
from plaid_sync.sync.job import Outcome, SyncJob, SyncReport

from tests.fakes.clock import PLENTY
from tests.fakes.failing import Failing, KilledError
from tests.fakes.items import new_item
from tests.fakes.plaid import FakePlaid, page, transaction
from tests.fakes.tables import Tables

if TYPE_CHECKING:
    from plaid_sync.domain.item import AccountList
    from plaid_sync.pull.pages import Page

ITEM = ItemId("item")
USER, BANK = "user", "ins_1"
ACCOUNTS: Final = ("a", "b", "c")
IDS: Final = ("t0", "t1", "t2", "t3")
Row = tuple[str, int]
"""The account and the amount of a transaction."""


@dataclass(slots=True)
class Bank(FakePlaid):
    """Plaid with one Item. A cursor is a position in the log of changes.

    Attributes:
        open: the accounts that Plaid lists.
        rows: the transactions, those of unlisted accounts included.
        log: what changed, with the content of that time; None: removed.
        removes: an account that is not listed any more has its transactions in `removed`.
        serves_unlisted: sync serves the transactions of unlisted accounts all the same.
        names: of renamed accounts.
        complete_list: every account of the list is readable.
    """

    open: set[str] = field(default_factory=lambda: {"a", "b"})
    rows: dict[str, Row] = field(default_factory=dict)
    log: list[tuple[str, Row | None]] = field(default_factory=list)
    removes: bool = False
    serves_unlisted: bool = False
    names: dict[str, str] = field(default_factory=dict)
    complete_list: bool = True

    def put(self, key: str, account_id: str, amount: int) -> None:
        self.rows[key] = (account_id, amount)
        self.log.append((key, self.rows[key]))

    def remove_row(self, key: str) -> None:
        if self.rows.pop(key, None):
            self.log.append((key, None))

    def close(self, account_id: str) -> None:
        self.open.discard(account_id)
        if self.removes:
            self.log += [(key, None) for key, (account, _) in self.rows.items() if account == account_id]

    def reopen(self, account_id: str) -> None:
        if self.removes and account_id not in self.open:
            self.log += [(key, row) for key, row in self.rows.items() if row[0] == account_id]
        self.open.add(account_id)

    def sync_page(self, access_token: str, cursor: Cursor | None, days_requested: int | None) -> Page:  # noqa: ARG002 - the port's
        self._call("sync")
        changes: dict[str, Row | None] = dict(self.rows) if cursor is None else dict(self.log[int(cursor) :])
        served = ACCOUNTS if self.serves_unlisted else self.open
        shown = {key: row for key, row in changes.items() if row is None or row[0] in served}
        return page(
            added=[transaction(key, row[1]) | {"account_id": row[0]} for key, row in shown.items() if row],
            removed=[{"transaction_id": key} for key, row in shown.items() if row is None],
            accounts=[_document(each) for each in sorted({row[0] for row in shown.values() if row})],
            next_cursor=str(len(self.log)),
        )

    def accounts(self, access_token: str) -> AccountList:
        self.listed = tuple(replace(_account(each), name=self._name(each)) for each in sorted(self.open))
        return replace(FakePlaid.accounts(self, access_token), complete=self.complete_list)

    def _name(self, account_id: str) -> str | None:
        return self.names.get(account_id, _account(account_id).name)

    @property
    def truth(self) -> dict[str, Row]:
        return {key: row for key, row in self.rows.items() if row[0] in self.open}


def _document(account_id: str) -> dict[str, str]:
    return {"account_id": account_id, "name": f"{account_id} account", "mask": f"000{account_id}"}


def _account(account_id: str) -> Account:
    return Account(account_id, f"{account_id} account", f"000{account_id}")


@dataclass(slots=True)
class Scene:
    """One Item with its first history, and the sync of it."""

    plaid: Bank = field(default_factory=Bank)
    keeps_gone_rows: bool = False
    tables: Tables = field(init=False)

    def __post_init__(self) -> None:
        for number, key in enumerate(IDS):
            self.plaid.put(key, "ab"[number % 2], number)
        item = new_item(ITEM, client_user_id=USER, institution_id=BANK, accounts=(_account("a"), _account("b")))
        self.tables = Tables.of(item)
        self.plaid.clock = self.tables.clock
        self.tables.items.set(ITEM, linked_at=self.tables.clock.now())
        assert self.sync().outcome is Outcome.COMMITTED
        self.tables.history.by_key.clear()
        self.plaid.calls.clear()

    def sync(self, *checks: PendingCheck) -> SyncReport:
        now = self.tables.clock.now() + timedelta(hours=1)  # never covered
        kept = self.keeps_gone_rows
        engine = self.tables.engine(self.plaid, keeps_gone_rows=kept, pulled_with="kept" if kept else "")
        return engine.sync(SyncJob(ITEM, now, PLENTY, checks, causes=("webhook",)))

    def withdrawn(self, account_id: str) -> PendingCheck:
        return PendingCheck("USER_ACCOUNT_REVOKED", self.tables.clock.now(), account_id=account_id)

    def check(self) -> PendingCheck:
        return PendingCheck(CHECK_ACCOUNTS, self.tables.clock.now())

    def a_day_later(self) -> SyncReport:
        self.tables.clock.time += ACCOUNTS_INTERVAL
        return self.sync()

    def erase(self, account_id: str) -> None:
        states = self.item.account_states
        self.change(
            account_states=AccountStates(states.gone, states.withdrawn, states.erased | {account_id}),
            check=PendingCheck(ACCOUNT_ROWS, self.tables.clock.now(), account_id=account_id),
        )

    def restore(self, account_id: str) -> None:
        states = self.item.account_states
        self.change(
            account_states=AccountStates(states.gone, states.withdrawn, states.erased - {account_id}),
            check=self.check(),
            full_resync=True,
        )

    def change(self, **fields: Any) -> None:
        entry = HistoryEntry(ITEM, self.tables.clock.now(), str(self.item.generation), EntryKind.REQUEST, "requested")
        assert self.tables.items.change(self.item, ItemChange(**fields), entry)

    @property
    def item(self) -> Item:
        return self.tables.items.stored[ITEM]

    @property
    def stored(self) -> dict[str, Row]:
        rows = self.tables.transactions.rows_of[ITEM].values()
        return {str(row.transaction_id): (row.row.account_id, int(row.row.amount)) for row in rows if row.row}

    @property
    def events(self) -> list[str]:
        return [event for entry in self.tables.entries for event in entry.published_events]

    def state_of(self, account_id: str) -> AccountState:
        return self.item.account_states.of(account_id)

    def assert_exact(self) -> None:
        states = self.item.account_states
        kept = states.gone if self.keeps_gone_rows else frozenset()
        expected = {key: row for key, row in self.plaid.truth.items() if row[0] not in states.erased}
        assert {key: row for key, row in self.stored.items() if row[0] not in kept} == expected
        assert states.gone | states.withdrawn <= set(ACCOUNTS) - self.plaid.open | states.erased
        assert (self.item.pending_checks, self.item.failure, self.item.reconcile) == ((), None, False)
        # One that a dead attempt left behind holds no account (`linking.eligibility`).
        assert self.tables.links.claims_of(ITEM) >= self.item.bank_login_ids
        for row in self.tables.transactions.rows_of[ITEM].values():
            assert row.erased or row.account_id not in states.without_content


# ---- accounts that Plaid no longer lists


def test_the_rows_of_a_closed_account_leave_the_live_rows_as_tombstones_with_content_that_do_not_expire() -> None:
    scene = Scene()
    scene.plaid.close("a")
    report = scene.sync(scene.check())
    assert (report.outcome, report.gone, report.erased) == (Outcome.COMMITTED, 2, 0)
    assert (report.accounts_gone, report.accounts_withdrawn, report.accounts_returned) == (1, 0, 0)
    assert scene.events == [DetailType.ACCOUNT_GONE]
    assert scene.tables.entries[0].details["gone_accounts"] == ["a"]
    rows = scene.tables.transactions.rows_of[ITEM]
    assert [(row.erased, row.kept) for row in rows.values() if row.account_id == "a"] == [(False, True)] * 2
    assert scene.state_of("a") is AccountState.GONE
    scene.assert_exact()


def test_without_any_webhook_a_closed_account_is_found_within_a_day_by_one_call() -> None:
    scene = Scene()
    scene.plaid.close("a")
    scene.sync()
    assert (scene.state_of("a"), scene.plaid.calls["accounts"]) == (AccountState.LISTED, 0)
    scene.a_day_later()
    assert (scene.state_of("a"), scene.plaid.calls["accounts"]) == (AccountState.GONE, 1)
    scene.sync()
    assert scene.plaid.calls["accounts"] == 1
    scene.assert_exact()


def test_a_renumbered_account_is_found_by_the_next_sync_that_lists_the_new_one() -> None:
    scene = Scene()
    scene.tables.clock.time += timedelta(hours=2)
    scene.plaid.close("a")
    scene.plaid.open.add("c")
    scene.plaid.put("new", "c", 7)
    assert scene.sync().next_attempt_at == scene.tables.clock.now()
    scene.sync()
    assert (scene.state_of("a"), scene.state_of("c")) == (AccountState.GONE, AccountState.LISTED)
    scene.assert_exact()


def test_rows_of_gone_accounts_stay_live_where_the_stack_keeps_them_even_after_a_full_resync() -> None:
    scene = Scene(keeps_gone_rows=True)
    before = scene.stored
    scene.plaid.close("a")
    scene.sync(scene.check())
    scene.change(full_resync=True)
    assert scene.sync().full_resync
    assert (scene.stored, scene.events) == (before, [DetailType.ACCOUNT_GONE])
    scene.plaid.remove_row("t0")
    scene.plaid.reopen("a")
    scene.sync(scene.check())
    scene.assert_exact()
    assert "t0" not in scene.stored


@pytest.mark.parametrize("removes", [False, True])
@pytest.mark.parametrize("webhook", [False, True])
def test_an_account_that_is_listed_again_returns_with_everything_that_plaid_has(
    *, removes: bool, webhook: bool
) -> None:
    scene = Scene(Bank(removes=removes))
    scene.plaid.close("a")
    scene.sync(scene.withdrawn("a") if webhook else scene.check())
    scene.plaid.put("t0", "a", 9)
    scene.plaid.remove_row("t2")
    scene.plaid.reopen("a")
    report = scene.sync(PendingCheck("LOGIN_REPAIRED", scene.tables.clock.now()))
    assert (report.full_resync, report.accounts_returned) == (True, 1)
    assert scene.events[-1] == DetailType.ACCOUNT_RETURNED
    assert not any(row.kept for row in scene.tables.transactions.rows_of[ITEM].values())
    scene.assert_exact()
    assert scene.stored["t0"] == ("a", 9)


# ---- accounts that the user withdrew


def test_a_withdrawn_account_is_erased_once_plaid_no_longer_lists_it() -> None:
    scene = Scene()
    scene.plaid.close("a")
    report = scene.sync(scene.withdrawn("a"))
    assert (report.erased, report.gone, report.accounts_withdrawn) == (2, 0, 1)
    assert scene.events == [DetailType.ACCOUNT_REVOKED]
    assert [account.account_id for account in scene.item.accounts] == ["b"]
    assert scene.state_of("a") is AccountState.WITHDRAWN
    scene.assert_exact()


def test_an_old_revocation_of_an_account_that_plaid_lists_erases_nothing_and_is_forgotten_after_a_day() -> None:
    scene = Scene()
    before, check = scene.stored, scene.withdrawn("a")
    for hour in range(30):
        scene.tables.clock.time += timedelta(hours=1)
        report = scene.sync(*([check] if hour == 0 else []))
        assert report.outcome is Outcome.COMMITTED
        assert report.next_attempt_at is not None
        soon = report.next_attempt_at <= scene.tables.clock.now() + timedelta(hours=1)
        assert soon == bool(scene.item.pending_checks) == (hour < 23)
    assert (scene.stored, scene.events) == (before, [])
    assert scene.plaid.calls["accounts"] <= 26
    scene.assert_exact()


def test_a_revocation_is_looked_at_again_until_plaid_no_longer_lists_the_account() -> None:
    scene = Scene()
    scene.sync(scene.withdrawn("a"))
    scene.plaid.close("a")
    scene.tables.clock.time += timedelta(hours=1)
    scene.sync()
    assert scene.state_of("a") is AccountState.WITHDRAWN
    scene.assert_exact()


def test_a_gone_account_that_turns_out_to_be_withdrawn_is_erased() -> None:
    scene = Scene()
    scene.plaid.close("a")
    scene.sync(scene.check())
    report = scene.sync(scene.withdrawn("a"))
    assert (scene.state_of("a"), report.erased) == (AccountState.WITHDRAWN, 2)
    scene.assert_exact()


@pytest.mark.parametrize("closed_first", [False, True])
@pytest.mark.parametrize("check", ["withdrawn", "check"])
def test_a_transaction_that_moves_into_a_closed_account_is_not_live_and_one_that_moves_out_of_it_is(
    check: str, *, closed_first: bool
) -> None:
    scene = Scene(Bank(serves_unlisted=True))
    for closed in (closed_first, not closed_first):
        if closed:
            scene.plaid.close("a")
            scene.sync(scene.withdrawn("a") if check == "withdrawn" else scene.check())
        else:
            scene.plaid.put("t0", "b", 5)
            scene.plaid.put("t1", "a", 6)
            scene.sync()
    scene.sync()
    scene.assert_exact()
    assert scene.stored == {"t0": ("b", 5), "t3": ("b", 3)}


def test_a_row_that_a_dead_attempt_moved_into_an_account_that_closes_since_is_live_where_plaid_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Plaid nets out the move and its reversal: no later update mentions the row."""
    monkeypatch.setattr(planner, "MAX_ROWS", 1)
    scene = Scene()
    position = len(scene.plaid.log)
    scene.plaid.put("t1", "a", 6)
    scene.plaid.put("new", "b", 1)
    known, dying = scene.tables.transactions, Failing(scene.tables.transactions, "write", KilledError(), after=True)
    scene.tables.transactions = dying  # type: ignore[assignment] # a port of it
    with pytest.raises(KilledError):
        scene.sync()
    scene.tables.transactions = known
    assert scene.stored["t1"] == ("a", 6)
    scene.plaid.rows["t1"] = ("b", 1)
    del scene.plaid.log[position]
    scene.plaid.close("a")
    scene.sync(scene.check())
    scene.assert_exact()
    assert scene.stored["t1"] == ("b", 1)


@pytest.mark.parametrize("check", ["withdrawn", "check"])
def test_a_transaction_that_plaid_serves_in_a_closed_account_is_not_live(check: str) -> None:
    scene = Scene(Bank(serves_unlisted=True))
    scene.plaid.close("a")
    scene.sync(scene.withdrawn("a") if check == "withdrawn" else scene.check())
    scene.plaid.put("new", "a", 1)
    for _ in range(2):
        scene.sync()
        assert "new" not in scene.stored
    scene.assert_exact()


def test_an_account_that_plaid_serves_although_it_is_closed_is_looked_at_and_returns() -> None:
    scene = Scene(Bank(serves_unlisted=True))
    scene.plaid.close("a")
    scene.sync(scene.withdrawn("a"))
    scene.plaid.reopen("a")
    scene.tables.clock.time += timedelta(hours=1)
    scene.plaid.put("new", "a", 1)
    assert scene.sync().next_attempt_at == scene.tables.clock.now()
    scene.sync()
    scene.assert_exact()
    assert "new" in scene.stored


# ---- failures of Plaid


@pytest.mark.parametrize("code", ["INTERNAL_SERVER_ERROR", "ACCOUNTS_LIMIT", "INVALID_FIELD"])
def test_a_failure_of_accounts_get_keeps_no_transaction_waiting_and_the_check_stays_pending(code: str) -> None:
    scene = Scene()
    scene.plaid.refusals["accounts"] = code
    scene.plaid.close("a")
    scene.plaid.put("t1", "b", 8)
    report = scene.sync(scene.withdrawn("a"))
    assert (report.outcome, scene.stored["t1"]) == (Outcome.COMMITTED, ("b", 8))
    assert (scene.item.failure is not None, report.failure is not None) == (True, True)
    assert {check.code for check in scene.item.pending_checks} == {"USER_ACCOUNT_REVOKED", CHECK_ACCOUNTS}
    del scene.plaid.refusals["accounts"]
    scene.sync()
    assert scene.state_of("a") is AccountState.WITHDRAWN
    scene.assert_exact()


def test_a_failure_of_a_routine_comparison_is_no_failure_of_the_item() -> None:
    scene = Scene()
    scene.plaid.refusals["accounts"] = "INTERNAL_SERVER_ERROR"
    assert scene.a_day_later().failure is None
    scene.assert_exact()


def test_while_the_user_is_needed_nothing_is_concluded_and_the_withdrawal_stays_pending() -> None:
    scene = Scene()
    scene.plaid.close("a")
    scene.plaid.report = ItemHealth(error_code="ITEM_LOGIN_REQUIRED")
    scene.plaid.refusals |= dict.fromkeys(("sync", "accounts"), "ITEM_LOGIN_REQUIRED")
    assert scene.sync(scene.withdrawn("a")).outcome is Outcome.NEEDS_USER
    assert scene.state_of("a") is AccountState.LISTED
    scene.plaid.report, scene.plaid.refusals = ItemHealth(), {}
    scene.tables.clock.time += timedelta(days=9)
    scene.sync(PendingCheck("LOGIN_REPAIRED", scene.tables.clock.now()))
    assert scene.state_of("a") is AccountState.WITHDRAWN
    scene.assert_exact()


def test_a_withdrawal_is_confirmed_by_a_list_that_plaid_serves_although_the_user_is_needed() -> None:
    scene = Scene()
    scene.plaid.close("a")
    scene.plaid.report = ItemHealth(error_code="ITEM_LOGIN_REQUIRED")
    assert scene.sync(scene.withdrawn("a")).state == "needs_user"
    assert scene.state_of("a") is AccountState.WITHDRAWN


@pytest.mark.parametrize("code", ["PRODUCTS_NOT_SUPPORTED", "NO_ACCOUNTS", "ITEM_LOGIN_REQUIRED"])
def test_a_refused_list_says_nothing_about_an_item_that_is_healthy_by_item_get(code: str) -> None:
    scene = Scene()
    scene.plaid.refusals["accounts"] = code
    report = scene.a_day_later()
    assert (report.outcome, report.state, report.failure) == (Outcome.COMMITTED, "active", None)
    assert scene.sync(scene.check()).failure is not None
    scene.plaid.report = ItemHealth(error_code="ITEM_LOGIN_REQUIRED")
    assert scene.sync(scene.check()).state == "needs_user"


def test_a_withdrawal_stays_pending_while_the_list_is_not_readable_as_a_whole() -> None:
    scene = Scene()
    scene.plaid.close("a")
    scene.plaid.complete_list = False
    scene.sync(scene.withdrawn("a"))
    scene.tables.clock.time += timedelta(days=3)
    scene.sync()
    assert (scene.state_of("a"), scene.events) == (AccountState.LISTED, [])
    scene.plaid.complete_list = True
    scene.sync()
    assert scene.state_of("a") is AccountState.WITHDRAWN
    scene.assert_exact()


# ---- the stack's setting


def test_rows_of_accounts_that_are_gone_leave_once_the_stack_no_longer_keeps_them() -> None:
    scene = Scene(keeps_gone_rows=True)
    scene.plaid.close("a")
    scene.sync(scene.check())
    assert {row[0] for row in scene.stored.values()} == {"a", "b"}
    scene.keeps_gone_rows = False
    assert scene.sync().full_resync
    scene.assert_exact()
    assert [row.kept for row in scene.tables.transactions.rows_of[ITEM].values() if row.account_id == "a"] == [True] * 2


def test_content_that_moved_into_an_account_goes_with_it_when_the_account_is_withdrawn() -> None:
    scene = Scene(Bank(serves_unlisted=True))
    scene.plaid.close("a")
    scene.sync(scene.check())
    scene.plaid.put("t1", "a", 6)
    scene.sync()
    scene.sync(scene.withdrawn("a"))
    rows = scene.tables.transactions.rows_of[ITEM]
    assert {str(key): rows[key].erased for key in rows} == {"t0": True, "t1": True, "t2": True, "t3": False}


# ---- balances, claims


def test_balances_are_those_of_the_last_response_that_lists_the_account() -> None:
    scene = Scene()
    scene.tables.clock.time += timedelta(minutes=5)
    scene.plaid.put("t0", "a", 9)
    scene.sync()
    as_of = {account.account_id: account.as_of for account in scene.item.accounts}
    assert as_of["a"] == scene.tables.clock.now()
    assert as_of["b"] == scene.tables.clock.now() - timedelta(minutes=5)


def test_claims_follow_the_accounts() -> None:
    scene = Scene()
    keys = {each: claim_keys(USER, BANK, [_account(each)])[0] for each in ACCOUNTS}
    scene.tables.links.held[keys["c"]] = AccountClaim(keys["c"], ItemId("another"), "link")
    scene.plaid.open = {"b", "c", "d"}
    scene.sync(scene.check())
    added = claim_keys(USER, BANK, [_account("d")])[0]
    assert scene.item.bank_login_ids == scene.tables.links.claims_of(ITEM) == {keys["b"], added}
    scene.plaid.open = {"a", "b"}
    scene.sync(scene.check())
    assert scene.item.bank_login_ids == scene.tables.links.claims_of(ITEM) == {keys["a"], keys["b"]}


def test_claims_follow_an_account_that_a_sync_showed_first_one_that_is_renamed_and_one_that_is_erased() -> None:
    scene = Scene()
    keys = {each: claim_keys(USER, BANK, [_account(each)])[0] for each in ACCOUNTS}
    scene.plaid.open.add("c")
    scene.plaid.put("new", "c", 1)
    scene.sync()
    scene.a_day_later()
    assert scene.tables.links.claims_of(ITEM) == set(keys.values())
    scene.plaid.names["b"] = "renamed"
    renamed = claim_keys(USER, BANK, [replace(_account("b"), name="renamed")])[0]
    scene.a_day_later()
    assert scene.tables.links.claims_of(ITEM) == {keys["a"], renamed, keys["c"]}
    scene.erase("a")
    scene.a_day_later()
    assert scene.tables.links.claims_of(ITEM) == {renamed, keys["c"]}
    scene.restore("a")
    scene.sync()
    assert scene.tables.links.claims_of(ITEM) == scene.item.bank_login_ids == {keys["a"], renamed, keys["c"]}


def test_a_claim_that_another_item_holds_costs_no_record_a_day() -> None:
    scene = Scene()
    (key,) = claim_keys(USER, BANK, [_account("a")])
    scene.tables.links.held[key] = AccountClaim(key, ItemId("another"), "link")
    scene.a_day_later()
    scene.tables.history.by_key.clear()
    scene.a_day_later()
    assert scene.tables.entries == []


# ---- anything, killed anywhere

_OPERATIONS = st.sampled_from(
    ["put", "put", "remove", "close", "reopen", "close", "reopen", "erase", "restore", "sync", "day"]
)
_WRITES: Final = (
    *(("transactions", name) for name in ("write", "scan_item", "rows")),
    *(("items", name) for name in ("find", "claim", "restart_pull", "record", "record_accounts", "complete_checks")),
    *(("links", name) for name in ("take", "release")),
)


@settings(max_examples=150, deadline=None)
@given(st.data(), st.booleans(), st.booleans(), st.booleans())
def test_after_any_life_of_accounts_the_table_equals_plaid(
    data: st.DataObject,
    keeps_gone_rows: bool,  # noqa: FBT001
    removes: bool,  # noqa: FBT001
    serves_unlisted: bool,  # noqa: FBT001
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planner, "MAX_ROWS", 1)
        scene = Scene(Bank(removes=removes, serves_unlisted=serves_unlisted), keeps_gone_rows)
        for _ in range(data.draw(st.integers(0, 4)) * 8):
            _act(scene, data)
        for account_id in sorted(scene.item.account_states.erased):
            scene.restore(account_id)
        for _ in range(4):
            scene.a_day_later()
            while scene.item.pending_checks:
                scene.tables.clock.time += timedelta(hours=1)
                scene.sync()
        scene.assert_exact()


def _act(scene: Scene, data: st.DataObject) -> None:
    plaid, account_id = scene.plaid, data.draw(st.sampled_from(("a", "b", "a", "c")))
    key = data.draw(st.sampled_from(("t0", "t1", "new")))
    operation = data.draw(_OPERATIONS)
    checks: list[PendingCheck] = []
    match operation:
        case "put" if account_id in plaid.open or plaid.serves_unlisted:
            plaid.put(key, account_id, data.draw(st.integers(1, 9)))
        case "remove":
            plaid.remove_row(key)
        case "close":
            plaid.close(account_id)
            checks = [scene.withdrawn(account_id)] if data.draw(st.booleans()) else []
        case "reopen":
            plaid.reopen(account_id)
        case "erase":
            scene.erase(account_id)
        case "restore":
            scene.restore(account_id)
    if operation == "day":
        scene.tables.clock.time += ACCOUNTS_INTERVAL
    if operation == "reopen" and data.draw(st.booleans()):
        checks = [scene.check()]
    if checks or operation in {"sync", "day"}:
        _sync_perhaps_killed(scene, data, checks)


def _sync_perhaps_killed(scene: Scene, data: st.DataObject, checks: list[PendingCheck]) -> None:
    port, name = data.draw(st.sampled_from(_WRITES))
    known = getattr(scene.tables, port)
    if data.draw(st.booleans()):
        setattr(scene.tables, port, Failing(known, name, KilledError(), after=data.draw(st.booleans())))
    try:
        scene.sync(*checks)
    except KilledError:
        pass  # what it knew of its messages is on the Item, or is delivered again
    finally:
        setattr(scene.tables, port, known)
