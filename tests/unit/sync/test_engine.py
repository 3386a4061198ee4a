"""The sync of one Item: when it checks the Item's health, what it records, and what it leaves in the history."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from plaid_sync.domain.accounts import Account
from plaid_sync.domain.clock import MAX_CLOCK_SKEW
from plaid_sync.domain.errors import PlaidError, Remedy
from plaid_sync.domain.history import DetailType
from plaid_sync.domain.item import (
    Cursor,
    Expiry,
    Item,
    ItemFailure,
    ItemHealth,
    ItemId,
    ItemState,
    PendingCheck,
    StateName,
)
from plaid_sync.domain.requests import remedy_and_fix
from plaid_sync.domain.schedule import AttemptClass
from plaid_sync.domain.transaction import TransactionId
from plaid_sync.domain.transitions import EventType
from plaid_sync.sync.engine import MAX_UNFINISHED_ATTEMPTS, is_covered
from plaid_sync.sync.job import Outcome, SyncJob, SyncReport

from tests.fakes.clock import NOON, PLENTY
from tests.fakes.items import ACTIVE, FakeItems, new_item
from tests.fakes.plaid import FakePlaid, page, transaction
from tests.fakes.tables import Tables

if TYPE_CHECKING:
    from plaid_sync.domain.history import HistoryEntry
    from plaid_sync.pull.pages import Page
    from plaid_sync.sync.ports import Claim

ITEM = ItemId("item")
OLD, NEW = TransactionId("old"), TransactionId("new")
CHECKED = (
    EventType.ERROR,
    EventType.LOGIN_REPAIRED,
    EventType.PENDING_EXPIRATION,
    EventType.PENDING_DISCONNECT,
    EventType.USER_PERMISSION_REVOKED,
    EventType.USER_ACCOUNT_REVOKED,
    EventType.NEW_ACCOUNTS_AVAILABLE,
)
ABOUT_ACCOUNTS = (EventType.LOGIN_REPAIRED, EventType.USER_ACCOUNT_REVOKED, EventType.NEW_ACCOUNTS_AVAILABLE)
LOGIN_REQUIRED = ItemState(StateName.NEEDS_USER, "ITEM_LOGIN_REQUIRED", NOON)
IN_A_WEEK = NOON + timedelta(days=7)


ANOTHER = Account("another", "Savings")


@dataclass(slots=True)
class Plaid(FakePlaid):
    """Plaid with one transaction in each of two accounts: `old` in `account`, and since then `new` in `another`.

    Attributes:
        removals: what was removed since the stored cursor.
        order: the calls in order.
    """

    removals: list[dict[str, str]] = field(default_factory=list)
    listed: tuple[Account, ...] = (Account("account"), ANOTHER)
    order: list[str] = field(default_factory=list)

    def _call(self, name: str) -> str:
        self.order.append(name)
        return FakePlaid._call(self, name)  # noqa: SLF001 - its own, without super() of a class with slots

    def sync_page(self, access_token: str, cursor: Cursor | None, days_requested: int | None) -> Page:  # noqa: ARG002 - the port's
        self._call("sync")
        rows = [transaction("new") | {"account_id": "another"}]
        rows += [transaction("old")] if cursor is None else []
        accounts = [{"account_id": "another", "name": "Savings"}]
        return page(next_cursor="two", request_id="page", added=rows, removed=self.removals, accounts=accounts)


def refusing(refusal: str | PlaidError) -> Plaid:
    return Plaid(refusals={"sync": refusal})


@dataclass(slots=True)
class Sync:
    """A sync of one Item that has `old`.

    Attributes:
        state: of the Item before.
    """

    state: ItemState = ACTIVE
    plaid: Plaid = field(default_factory=Plaid)
    tables: Tables = field(init=False)

    def __post_init__(self) -> None:
        self.tables = Tables.of(new_item(ITEM))
        self.tables.engine(Plaid()).sync(self.job())
        del self.tables.transactions.rows_of[ITEM][NEW]
        self.tables.history.by_key.clear()
        self.tables.items.set(ITEM, state=self.state, cursor=Cursor("one"), accounts=Plaid().listed)

    def job(self, *checks: PendingCheck, **fields: Any) -> SyncJob:
        known: dict[str, Any] = {"newest_message_at": NOON, "deadline": PLENTY}
        return SyncJob(ITEM, checks=checks, causes=("request",), **(known | fields))

    def run(self, *checks: PendingCheck, **fields: Any) -> SyncReport:
        return self.tables.engine(self.plaid).sync(self.job(*checks, **fields))

    @property
    def item(self) -> Item:
        return self.tables.items.stored[ITEM]

    @property
    def live(self) -> set[TransactionId]:
        return self.tables.transactions.live(ITEM)

    @property
    def entry(self) -> HistoryEntry:
        (entry,) = self.tables.entries
        return entry


def hint(event: EventType, **fields: Any) -> PendingCheck:
    return PendingCheck(event.value, reported_at=NOON, **fields)


# ---- when /item/get is called


@pytest.mark.parametrize("event", [*CHECKED, None])
def test_a_hint_of_a_problem_or_a_repair_leads_to_a_health_check(event: EventType | None) -> None:
    sync = Sync()
    sync.run(*(() if event is None else (hint(event),)))
    accounts = ["accounts"] if event in ABOUT_ACCOUNTS else []
    assert sync.plaid.order == (["health", *accounts, "sync"] if event in CHECKED else ["sync"])


@pytest.mark.parametrize("name", [name for name in StateName if name not in {StateName.ACTIVE, StateName.REMOVED}])
def test_an_item_that_is_not_active_is_checked_each_time(name: StateName) -> None:
    """A sync that succeeds is no proof of health."""
    sync = Sync(ItemState(name, "A_CODE", NOON))
    report = sync.run()
    assert sync.plaid.order == ["health", "sync"]
    assert (report.outcome, sync.item.state.name) == (Outcome.COMMITTED, StateName.ACTIVE)


def test_a_hint_is_checked_although_a_committed_pull_covers_its_message() -> None:
    sync, long_ago = Sync(), NOON - timedelta(hours=1)
    assert sync.run(newest_message_at=long_ago).outcome is Outcome.COVERED
    assert sync.run(hint(EventType.ERROR), newest_message_at=long_ago).outcome is Outcome.COMMITTED
    assert sync.plaid.order == ["health", "sync"]


# ---- the state that follows


@pytest.mark.parametrize(
    ("code", "name", "published"),
    [
        ("ITEM_LOGIN_REQUIRED", StateName.NEEDS_USER, DetailType.NEEDS_USER),
        ("USER_PERMISSION_REVOKED", StateName.REVOKED, DetailType.REVOKED),
        ("INSTITUTION_DOWN", StateName.DEGRADED, DetailType.DEGRADED),
    ],
)
def test_a_reported_error_decides_the_state_although_the_sync_succeeds(
    code: str, name: StateName, published: DetailType
) -> None:
    sync = Sync(plaid=Plaid(report=ItemHealth(code)))
    report = sync.run(hint(EventType.ERROR))
    assert report.outcome is Outcome.COMMITTED
    assert sync.item.state == ItemState(name, code, NOON)
    assert sync.entry.published_events == (published,)
    assert sync.live == {OLD, NEW}


@pytest.mark.parametrize("code", ["PLANNED_MAINTENANCE", "ITEM_GET_LIMIT", "A_CODE_OF_NEXT_YEAR", "UNREADABLE_ERROR"])
def test_a_reported_failure_of_plaid_itself_does_not_change_the_state(code: str) -> None:
    sync = Sync(LOGIN_REQUIRED, Plaid(report=ItemHealth(code)))
    sync.run()
    assert sync.item.state == LOGIN_REQUIRED
    assert sync.entry.published_events == ()


@pytest.mark.parametrize(
    ("code", "name", "outcome"),
    [
        ("ITEM_LOGIN_REQUIRED", StateName.NEEDS_USER, Outcome.NEEDS_USER),
        ("ITEM_NOT_FOUND", StateName.REVOKED, Outcome.REVOKED),
    ],
)
def test_a_permanent_failure_is_recorded_as_the_items_state(code: str, name: StateName, outcome: Outcome) -> None:
    sync = Sync(plaid=refusing(code))
    report = sync.run(hint(EventType.PENDING_DISCONNECT, until=IN_A_WEEK))
    assert (report.outcome, report.code) == (outcome, code)
    assert (sync.item.state.name, sync.item.state.code) == (name, code)
    assert sync.item.state.expiry == Expiry("PENDING_DISCONNECT", IN_A_WEEK)
    assert (sync.entry.outcome, sync.entry.details["code"]) == (outcome.value, code)


@pytest.mark.parametrize("found_by", ["sync", "health"])
def test_an_unknown_error_of_the_item_is_recorded_published_and_tried_again_the_next_day(found_by: str) -> None:
    code, day = "A_CODE_OF_NEXT_YEAR", timedelta(days=1)
    if found_by == "sync":
        sync = Sync(plaid=refusing(PlaidError(code, error_type="ITEM_ERROR")))
    else:
        sync = Sync(plaid=Plaid(report=ItemHealth(code, error_type="ITEM_ERROR")))
    report = sync.run(hint(EventType.ERROR))
    assert report.outcome is (Outcome.NEEDS_USER if found_by == "sync" else Outcome.COMMITTED)
    assert (sync.item.state.name, sync.item.state.code, sync.item.failure) == (StateName.NEEDS_USER, code, None)
    assert sync.entry.published_events == (DetailType.NEEDS_USER,)
    assert remedy_and_fix(sync.item)[0] is Remedy.UPDATE_MODE
    assert sync.item.next_attempt_at is not None
    assert 0.9 * day <= sync.item.next_attempt_at - NOON <= 1.1 * day


@pytest.mark.parametrize("found_by", ["sync", "health"])
def test_the_reason_beside_a_code_is_recorded_and_changes_what_the_user_is_offered(found_by: str) -> None:
    code, reason = "ITEM_LOGIN_REQUIRED", "OAUTH_USER_REVOKED"
    if found_by == "sync":
        sync = Sync(plaid=refusing(PlaidError(code, code_reason=reason)))
    else:
        sync = Sync(plaid=Plaid(report=ItemHealth(code, code_reason=reason)))
    sync.run(hint(EventType.ERROR))
    assert (sync.item.state.code, sync.item.state.code_reason) == (code, reason)
    assert (sync.entry.details["code"], sync.entry.details["code_reason"]) == (code, reason)
    remedy, fix = remedy_and_fix(sync.item)
    assert remedy is Remedy.UPDATE_MODE
    assert "DELETE" in fix


def test_a_check_finds_the_warning_that_was_lost_and_the_renewal_that_ends_it() -> None:
    sync = Sync(plaid=Plaid(report=ItemHealth(consent_until=NOON + timedelta(days=3))))
    sync.run(hint(EventType.ERROR))
    assert sync.item.state.expiry == Expiry("PENDING_EXPIRATION", NOON + timedelta(days=3))
    assert sync.entry.published_events == (DetailType.EXPIRING,)
    sync.plaid.report = ItemHealth(consent_until=NOON + timedelta(days=90))
    sync.run()
    assert sync.item.state == ItemState(
        StateName.ACTIVE,
        since=NOON,
        warnings_resolved_until=NOON + timedelta(days=3),
        consent_until=NOON + timedelta(days=90),
    )


def test_a_bank_that_is_down_is_recorded_as_failure_although_plaid_serves_what_it_has() -> None:
    sync = Sync(plaid=Plaid(report=ItemHealth("INSTITUTION_DOWN")))
    report = sync.run(hint(EventType.ERROR))
    assert (report.outcome, sync.item.state.name) == (Outcome.COMMITTED, StateName.DEGRADED)
    assert sync.item.failure == ItemFailure("INSTITUTION_DOWN", "institution_down", NOON, NOON)
    assert sync.tables.items.classes[ITEM] is AttemptClass.BANK_DOWN
    assert sync.item.pending_checks == ()
    sync.plaid.report = ItemHealth()
    sync.run()
    assert sync.item == replace(sync.item, failure=None, state=ItemState(StateName.ACTIVE, since=NOON))


def test_what_plaid_reports_about_an_item_that_it_serves_is_retried_with_a_maximum_delay_of_an_hour() -> None:
    """An unknown code may stay for days."""
    clock = Sync(LOGIN_REQUIRED, Plaid(report=ItemHealth("A_CODE_OF_NEXT_YEAR")))
    clock.tables.items.set(
        ITEM, failure=ItemFailure("A_CODE_OF_NEXT_YEAR", "transient", NOON - timedelta(days=1), NOON)
    )
    clock.run()
    assert clock.item.failure is not None
    assert clock.item.next_attempt_at is not None
    assert clock.item.next_attempt_at - NOON > timedelta(minutes=50)


# ---- the claim


def test_an_attempt_by_a_slow_clock_still_has_a_greater_id_than_the_one_that_it_follows() -> None:
    sync = Sync()
    ahead = "2026-06-01T12:00:30.000Z#ffffffffffff"
    assert ahead > sync.item.attempt_id
    sync.tables.items.set(ITEM, attempt_id=ahead)
    assert sync.run().outcome is Outcome.COMMITTED
    assert sync.item.attempt_id.startswith("2026-06-01T12:00:30.001Z#")
    sync.tables.items.set(ITEM, attempt_id="f3a7c0de-of-an-older-version")
    assert sync.run().outcome is Outcome.COMMITTED


# ---- states of a newer version

FROZEN = ItemState("frozen", "A_CODE", NOON)


def test_an_item_in_an_unknown_state_is_not_synced_and_remembers_what_webhooks_request() -> None:
    sync, withdrawn = Sync(FROZEN), hint(EventType.USER_ACCOUNT_REVOKED, account_id="account")
    sync.plaid.listed = (ANOTHER,)
    report = sync.run()
    assert (report.outcome, report.state, sync.item.generation) == (Outcome.UNKNOWN_STATE, "frozen", 1)
    assert sync.item.next_attempt_at is not None
    assert sync.item.next_attempt_at - NOON > timedelta(hours=5)
    for _ in range(MAX_UNFINISHED_ATTEMPTS + 1):
        assert sync.run(withdrawn).outcome is Outcome.UNKNOWN_STATE
    assert (sync.item.pending_checks, sync.item.unfinished_attempts) == ((withdrawn,), 0)
    assert (sync.item.state, sync.tables.entries, sync.plaid.order, sync.live) == (FROZEN, [], [], {OLD})
    # The newer version knows the state.
    sync.tables.items.set(ITEM, state=ACTIVE)
    assert sync.run().outcome is Outcome.COMMITTED
    assert (sync.live, sync.item.pending_checks) == ({NEW}, ())


def test_an_item_that_a_newer_version_changes_before_the_claim_is_not_synced(monkeypatch: pytest.MonkeyPatch) -> None:
    sync = Sync()
    claim = FakeItems.claim

    def claim_later(items: FakeItems, item: Item, claimed: Claim) -> Item:
        items.set(item.item_id, state=FROZEN)
        return claim(items, item, claimed)

    monkeypatch.setattr(FakeItems, "claim", claim_later)
    assert sync.run(hint(EventType.ERROR)).outcome is Outcome.UNKNOWN_STATE
    assert (sync.item.state, sync.plaid.order, sync.live) == (FROZEN, [], {OLD})


# ---- the history


def test_an_entry_has_the_causes_and_the_counts_of_a_sync_and_accounts_are_stored_as_listed() -> None:
    sync = Sync()
    sync.run(hint(EventType.ERROR))
    counts = ("modified", "removed", "unchanged", "recovered", "erased", "gone", "restarts", "quarantined")
    omitted = (*counts, "full_resync", "cursor_reset", "reconcile_decided", "failing_since", "next_attempt_at")
    assert sync.entry.details == dict.fromkeys(omitted) | {
        "correlation_ids": None,
        "causes": ["request"],
        "generation": 2,
        "state_before": "active",
        "state": "active",
        "code": None,
        "code_reason": None,
        "until": None,
        "added": 1,
        "pages": 1,
        "milliseconds": 0,
        "plaid_request_ids": ["health", "page"],
    }
    assert [account.as_of for account in sync.item.accounts] == [None, NOON]


# ---- rows that are newer than their Item


@pytest.mark.parametrize("changed", [False, True])
@pytest.mark.parametrize("failing", [False, True])
def test_an_item_older_than_its_rows_raises_its_generation_above_them_and_resyncs(
    *, changed: bool, failing: bool
) -> None:
    sync = Sync()
    rows = sync.tables.transactions.rows_of[ITEM]
    rows[OLD] = replace(rows[OLD], generation=40, row=None if changed else rows[OLD].row)
    failure = ItemFailure("CODE", "transient", NOON, NOON)
    sync.tables.items.set(ITEM, reconcile=True, failure=failure if failing else None)
    report = sync.run()
    if failing:  # nothing is retried at once
        assert (report.outcome, report.code, sync.item.generation) == (Outcome.FAILED, "row_newer_than_item", 40)
        report = sync.run()
    assert (report.outcome, report.full_resync, report.generation) == (Outcome.COMMITTED, True, 41)
    assert (rows[OLD].row is not None, sync.item.failure) == (True, None)


# ---- messages that a committed pull covers


def pulled_at_noon(**fields: Any) -> Item:
    return replace(new_item(ITEM, cursor=Cursor("c"), pull_began_at=NOON), **fields)


def test_a_committed_pull_covers_the_messages_that_were_surely_sent_before_it() -> None:
    assert is_covered(pulled_at_noon(), NOON - MAX_CLOCK_SKEW - timedelta(seconds=1), NOON)
    assert not is_covered(pulled_at_noon(), NOON - MAX_CLOCK_SKEW, NOON)
    assert not is_covered(pulled_at_noon(), NOON + timedelta(seconds=1), NOON)
    # The queue's clock a minute slow, the worker's a minute fast: numbers of their own, which the constant cannot move.
    assert not is_covered(pulled_at_noon(), NOON - timedelta(seconds=119), NOON)
    assert is_covered(pulled_at_noon(), NOON - timedelta(minutes=5), NOON)


@pytest.mark.parametrize(
    "fields",
    [
        {"pull_began_at": None},
        *({"state": ItemState(name)} for name in (*StateName, "frozen") if name is not StateName.ACTIVE),
        {"reconcile": True},
        {"reconcile": True, "reconcile_after": NOON},
        {"writing_since": 1},
        {"failure": ItemFailure("CODE", "transient", NOON, NOON)},
        {"pending_checks": (PendingCheck("ERROR"),)},
    ],
    ids=str,
)
def test_an_item_that_is_not_active_or_has_something_pending_covers_no_message(fields: dict[str, Any]) -> None:
    assert not is_covered(pulled_at_noon(**fields), NOON - timedelta(days=1), NOON)


def test_a_resync_that_may_not_begin_yet_leaves_messages_covered() -> None:
    later = pulled_at_noon(reconcile=True, reconcile_after=NOON + timedelta(hours=1))
    assert is_covered(later, NOON - timedelta(days=1), NOON)
