"""What a sync asks Plaid about an Item, what it makes of the answer, and what it leaves in the Item's history."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from plaid_sync.core.failures import PlaidError, RetryableError
from plaid_sync.core.items import Cursor, Expiry, ItemId, ItemStatus, Standing
from plaid_sync.core.lifecycle.health import ItemHealth
from plaid_sync.core.lifecycle.standing import Occurrence
from plaid_sync.core.lifecycle.states import Announcement, Event
from plaid_sync.core.sync.pages import Page, parse_page
from plaid_sync.core.sync.sync_job import Outcome, SyncJob, SyncReport
from plaid_sync.core.sync.transactions import TransactionId

from tests.fuzz.signing import NOON
from tests.fuzz.tables import Tables, new_item
from tests.unit.core.test_pages import answer, transaction

if TYPE_CHECKING:
    from plaid_sync.core.history import HistoryEntry

ITEM = ItemId("item")
OLD, NEW = TransactionId("old"), TransactionId("new")
CHECKED = (
    Event.ERROR,
    Event.LOGIN_REPAIRED,
    Event.PENDING_EXPIRATION,
    Event.PENDING_DISCONNECT,
    Event.USER_PERMISSION_REVOKED,
)
UNCHECKED = (Event.USER_ACCOUNT_REVOKED, Event.NEW_ACCOUNTS_AVAILABLE)


@dataclass(slots=True)
class Plaid:
    """Plaid with one transaction in each of two accounts: `old` in `account`, and since then `new` in `another`.

    Attributes:
        says: what /item/get says of the Item.
        refuses: the code with which /transactions/sync is refused; "" for none.
        removes: what it has removed since the stored cursor.
        asked: the calls.
    """

    says: ItemHealth = field(default_factory=lambda: ItemHealth(request_id="health"))
    refuses: str = ""
    removes: list[dict[str, str]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def sync_page(self, access_token: str, cursor: Cursor | None, days_requested: int | None) -> Page:  # noqa: ARG002 - the port's
        self.asked.append("sync")
        if self.refuses:
            raise PlaidError(self.refuses, "refusal")
        rows = [transaction("new") | {"account_id": "another"}]
        rows += [transaction("old")] if cursor is None else []
        accounts = [{"account_id": "another", "name": "Savings"}]
        told = {"added": rows, "removed": self.removes, "accounts": accounts}
        return parse_page(answer(next_cursor="two", request_id="page", **told))

    def health(self, access_token: str) -> ItemHealth:  # noqa: ARG002 - the port's
        self.asked.append("health")
        return self.says

    def remove(self, access_token: str) -> None:
        raise NotImplementedError


@dataclass(slots=True)
class Sync:
    """A sync of one Item that has `old`, and its outcome.

    Attributes:
        standing: how the Item stands before.
    """

    standing: Standing = field(default_factory=lambda: Standing(ItemStatus.ACTIVE))
    plaid: Plaid = field(default_factory=Plaid)
    tables: Tables = field(init=False)

    def __post_init__(self) -> None:
        self.tables = Tables.of(new_item(ITEM))
        first = Plaid()
        self.tables.engine(first).sync(self.job())
        del self.tables.rows_of[ITEM][NEW]
        self.tables.entries.clear()
        self.tables.items[ITEM] = replace(self.tables.items[ITEM], standing=self.standing, cursor=Cursor("one"))

    def job(self, *hints: Occurrence, **fields: Any) -> SyncJob:
        known: dict[str, Any] = {"newest_trigger_at": NOON, "attempt": 1, "time_left": lambda: 900.0}
        return SyncJob(ITEM, hints=hints, causes=("request",), **(known | fields))

    def run(self, *hints: Occurrence, **fields: Any) -> SyncReport:
        return self.tables.engine(self.plaid).sync(self.job(*hints, **fields))

    @property
    def after(self) -> Standing:
        return self.tables.items[ITEM].standing

    @property
    def entry(self) -> HistoryEntry:
        (entry,) = self.tables.entries
        return entry


def hint(event: Event, **fields: Any) -> Occurrence:
    return Occurrence(event, told_at=NOON, **fields)


# ---- whether Plaid is asked how the Item is


@pytest.mark.parametrize("event", CHECKED)
def test_after_a_hint_that_something_may_be_wrong_or_repaired_plaid_is_asked_how_the_item_is(event: Event) -> None:
    sync = Sync()
    sync.run(hint(event))
    assert sync.plaid.asked == ["health", "sync"]


@pytest.mark.parametrize("hints", [(), *((hint(event),) for event in UNCHECKED)], ids=str)
def test_of_a_healthy_item_plaid_is_not_asked_without_such_a_hint(hints: tuple[Occurrence, ...]) -> None:
    sync = Sync()
    sync.run(*hints)
    assert sync.plaid.asked == ["sync"]


@pytest.mark.parametrize("status", [one for one in ItemStatus if one not in (ItemStatus.ACTIVE, ItemStatus.REMOVED)])
def test_of_an_item_that_is_not_active_plaid_is_asked_each_time(status: ItemStatus) -> None:
    """That a sync succeeds is no proof of health."""
    sync = Sync(Standing(status, "A_CODE", NOON))
    report = sync.run()
    assert sync.plaid.asked == ["health", "sync"]
    assert (report.outcome, sync.after.status) == (Outcome.COMMITTED, ItemStatus.ACTIVE)


def test_a_hint_is_looked_into_although_a_committed_pull_covers_its_trigger() -> None:
    sync = Sync()
    long_ago = NOON - timedelta(hours=1)
    assert sync.run(newest_trigger_at=long_ago).outcome is Outcome.COVERED
    assert sync.run(hint(Event.ERROR), newest_trigger_at=long_ago).outcome is Outcome.COMMITTED
    assert sync.plaid.asked == ["health", "sync"]


# ---- what is made of it


@pytest.mark.parametrize(
    ("code", "status", "announcement"),
    [
        ("ITEM_LOGIN_REQUIRED", ItemStatus.NEEDS_USER, Announcement.NEEDS_USER),
        ("USER_PERMISSION_REVOKED", ItemStatus.REVOKED, Announcement.REVOKED),
        ("INSTITUTION_DOWN", ItemStatus.DEGRADED, Announcement.DEGRADED),
    ],
)
def test_an_item_that_is_ill_by_plaids_account_is_said_to_be_although_plaid_still_serves_it(
    code: str, status: ItemStatus, announcement: Announcement
) -> None:
    sync = Sync(plaid=Plaid(ItemHealth(code)))
    report = sync.run(hint(Event.ERROR))
    assert report.outcome is Outcome.COMMITTED
    assert sync.after == Standing(status, code, NOON)
    assert sync.entry.announcements == (announcement,)
    assert sync.tables.live(ITEM) == {OLD, NEW}


@pytest.mark.parametrize("code", ["PLANNED_MAINTENANCE", "ITEM_GET_LIMIT", "A_CODE_OF_NEXT_YEAR", "UNREADABLE_ERROR"])
def test_what_plaid_says_of_itself_is_not_said_of_the_item(code: str) -> None:
    sync = Sync(Standing(ItemStatus.NEEDS_USER, "ITEM_LOGIN_REQUIRED", NOON), Plaid(ItemHealth(code)))
    sync.run()
    assert sync.after == sync.standing
    assert sync.entry.announcements == ()


@pytest.mark.parametrize(
    ("code", "status", "outcome"),
    [
        ("ITEM_LOGIN_REQUIRED", ItemStatus.NEEDS_USER, Outcome.NEEDS_USER),
        ("ITEM_NOT_FOUND", ItemStatus.REVOKED, Outcome.REVOKED),
    ],
)
def test_a_refusal_that_no_retry_changes_is_recorded_and_acknowledged(
    code: str, status: ItemStatus, outcome: Outcome
) -> None:
    sync = Sync(plaid=Plaid(refuses=code))
    warning = hint(Event.PENDING_DISCONNECT, until=NOON + timedelta(days=7))
    report = sync.run(warning)
    assert (report.outcome, report.code) == (outcome, code)
    assert (sync.after.status, sync.after.code) == (status, code)
    assert sync.after.expiry == Expiry("PENDING_DISCONNECT", NOON + timedelta(days=7))
    assert (sync.entry.outcome, sync.entry.details["code"]) == (outcome.value, code)


def test_a_bank_that_is_down_is_recorded_and_its_triggers_come_back() -> None:
    sync = Sync(plaid=Plaid(refuses="INSTITUTION_DOWN"))
    for _ in range(2):
        with pytest.raises(PlaidError, match="INSTITUTION_DOWN"):
            sync.run(hint(Event.NEW_ACCOUNTS_AVAILABLE))
    assert sync.after == Standing(ItemStatus.DEGRADED, "INSTITUTION_DOWN", NOON)
    assert sync.entry.announcements == (Announcement.DEGRADED,)


@pytest.mark.parametrize("code", ["TRANSACTIONS_SYNC_LIMIT", "INTERNAL_SERVER_ERROR", "INVALID_API_KEYS"])
@pytest.mark.parametrize("status", [ItemStatus.ACTIVE, ItemStatus.NEEDS_USER])
def test_what_passes_or_is_ours_leaves_the_item_as_it_was_and_its_hints_for_the_next_time(
    code: str, status: ItemStatus
) -> None:
    sync = Sync(
        Standing(status, None if status is ItemStatus.ACTIVE else "ITEM_LOGIN_REQUIRED", NOON), Plaid(refuses=code)
    )
    with pytest.raises(PlaidError, match=code):
        sync.run(hint(Event.PENDING_DISCONNECT, until=NOON + timedelta(days=7)))
    assert sync.after == sync.standing
    assert sync.tables.entries == []


# ---- accounts that the user has withdrawn

WITHDRAWN = hint(Event.USER_ACCOUNT_REVOKED, account_id="account")


def test_the_rows_of_a_withdrawn_account_are_erased_and_the_others_stay() -> None:
    sync = Sync()
    sync.run()
    sync.tables.entries.clear()
    report = sync.run(WITHDRAWN)
    assert sync.tables.live(ITEM) == {NEW}
    assert report.erased == sync.entry.details["erased"] == 1
    assert sync.tables.erased == {OLD}
    assert sync.tables.items[ITEM].revoked_accounts == {"account"}
    assert sync.entry.announcements == (Announcement.ACCOUNT_REVOKED,)


def test_no_row_of_a_withdrawn_account_comes_back_whatever_plaid_serves() -> None:
    sync = Sync()
    sync.run(WITHDRAWN)
    sync.tables.items[ITEM] = replace(sync.tables.items[ITEM], reconcile=True)
    report = sync.run(newest_trigger_at=NOON + timedelta(hours=1))
    assert report.full_resync
    assert sync.tables.live(ITEM) == {NEW}
    assert sync.tables.items[ITEM].revoked_accounts == {"account"}


def test_in_the_sync_that_learns_of_it_no_row_of_a_withdrawn_account_is_written() -> None:
    sync = Sync()
    sync.run(hint(Event.USER_ACCOUNT_REVOKED, account_id="another"))
    assert sync.tables.live(ITEM) == {OLD}


@pytest.mark.parametrize("code", ["ITEM_LOGIN_REQUIRED", "INSTITUTION_DOWN", "INTERNAL_SERVER_ERROR"])
def test_the_rows_of_a_withdrawn_account_are_erased_whatever_becomes_of_the_sync(code: str) -> None:
    sync = Sync(plaid=Plaid(refuses=code))
    if code == "ITEM_LOGIN_REQUIRED":
        sync.run(WITHDRAWN)
        assert sync.tables.items[ITEM].revoked_accounts == {"account"}
    else:
        with pytest.raises(PlaidError, match=code):
            sync.run(WITHDRAWN)
    assert sync.tables.live(ITEM) == set()


def test_plaid_may_remove_the_rows_of_a_withdrawn_account_as_well() -> None:
    """They are erased already in this attempt, which writes each row once."""
    sync = Sync(plaid=Plaid(removes=[{"transaction_id": OLD, "account_id": "account"}]))
    assert sync.run(WITHDRAWN).outcome is Outcome.COMMITTED
    assert sync.tables.live(ITEM) == {NEW}
    assert sync.tables.erased == {OLD}


def test_rows_of_a_withdrawn_account_are_not_taken_for_what_a_dead_attempt_has_left() -> None:
    """They have just been erased: nothing about them is in doubt, so that no full resync has to find out."""
    sync = Sync()
    sync.tables.items[ITEM] = replace(sync.tables.items[ITEM], generation=2, writing_since=2)
    report = sync.run(WITHDRAWN)
    assert (report.outcome, report.settled, report.full_resync) == (Outcome.COMMITTED, 0, False)
    assert sync.tables.live(ITEM) == {NEW}


# ---- the history


def test_an_entry_says_who_asked_for_a_sync_and_what_it_did() -> None:
    sync = Sync()
    sync.run(hint(Event.ERROR))
    assert sync.entry.details == {
        "correlation_ids": None,
        "causes": ["request"],
        "withdrawn_accounts": None,
        "generation": 2,
        "status_before": "active",
        "status": "active",
        "code": None,
        "until": None,
        "added": 1,
        "modified": None,
        "removed": None,
        "unchanged": None,
        "settled": None,
        "erased": None,
        "pages": 1,
        "restarts": None,
        "quarantined": None,
        "full_resync": None,
        "milliseconds": 0,
        "plaid_request_ids": ["health", "page"],
    }


def test_accounts_are_known_as_they_were_last_told() -> None:
    sync = Sync()
    sync.run()
    assert [(one.account_id, one.name) for one in sync.tables.items[ITEM].accounts] == [("another", "Savings")]


# ---- rows newer than their Item


@pytest.mark.parametrize("changed", [False, True])
def test_an_item_older_than_its_rows_raises_its_fence_above_them_and_pulls_everything(*, changed: bool) -> None:
    sync = Sync()
    rows = sync.tables.rows_of[ITEM]
    content = rows[OLD].row if not changed else None
    rows[OLD] = replace(rows[OLD], generation=40, row=content)
    sync.tables.items[ITEM] = replace(sync.tables.items[ITEM], reconcile=True)
    with pytest.raises(RetryableError, match="row_newer_than_item"):
        sync.run()
    assert (sync.tables.items[ITEM].generation, sync.tables.items[ITEM].reconcile) == (40, True)
    report = sync.run()
    assert (report.outcome, report.full_resync, report.generation) == (Outcome.COMMITTED, True, 41)
    assert sync.tables.rows_of[ITEM][OLD].row is not None
