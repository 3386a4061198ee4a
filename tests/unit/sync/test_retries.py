"""Pending work lives on the Item, not in the queue: claims, failures, retries, and what webhooks request."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from plaid_sync.domain.errors import PlaidError, RowNewerThanItemError, SupersededError, TransientError
from plaid_sync.domain.history import DetailType, EntryKind, HistoryEntry
from plaid_sync.domain.item import MAX_CHECKS, ItemState, PendingCheck, Removal, StateName, merge_checks
from plaid_sync.domain.schedule import AttemptClass
from plaid_sync.items_api.ports import ItemChange
from plaid_sync.sync.engine import MAX_UNFINISHED_ATTEMPTS
from plaid_sync.sync.job import Outcome

from tests.fakes.clock import NOON, FakeClock
from tests.fakes.failing import Failing, KilledError
from tests.fakes.items import ACTIVE
from tests.fakes.plaid import page
from tests.unit.sync.test_engine import ANOTHER, ITEM, LOGIN_REQUIRED, NEW, OLD, Plaid, Sync, refusing

if TYPE_CHECKING:
    from plaid_sync.domain.item import Item
    from plaid_sync.sync.job import SyncReport

MINUTE = timedelta(minutes=1)
ERROR = PendingCheck("ERROR", NOON)
NEW_ACCOUNTS = PendingCheck("NEW_ACCOUNTS_AVAILABLE", NOON)
WITHDRAWN = PendingCheck("USER_ACCOUNT_REVOKED", NOON, account_id="account")
OF_NEXT_YEAR = PendingCheck("A_WEBHOOK_OF_NEXT_YEAR", NOON)


@dataclass(slots=True)
class Flaky(Plaid):
    """Plaid that refuses its first calls.

    Attributes:
        errors: what its first calls of /transactions/sync raise.
    """

    errors: list[BaseException] = field(default_factory=list)

    def sync_page(self, access_token: str, cursor: Any, days_requested: int | None) -> Any:
        if self.errors:
            self.order.append("refused")
            raise self.errors.pop(0)
        return Plaid.sync_page(self, access_token, cursor, days_requested)


@dataclass(slots=True)
class NotReady(Plaid):
    """Plaid that has no update ready."""

    def sync_page(self, access_token: str, cursor: Any, days_requested: int | None) -> Any:  # noqa: ARG002 - the port's
        return page(next_cursor="", transactions_update_status="NOT_READY")


def clock_of(sync: Sync) -> FakeClock:
    return sync.tables.clock


def wait_of(item: Item, sync: Sync) -> timedelta:
    assert item.next_attempt_at is not None
    return item.next_attempt_at - clock_of(sync).now()


def failing(sync: Sync, port: str, name: str, error: Exception, times: int = 1) -> None:
    """Let calls of a table fail."""
    replaced: Any = Failing(getattr(sync.tables, port), name, error, times=times)
    setattr(sync.tables, port, replaced)


# ---- the claim


def test_a_worker_that_dies_leaves_work_that_the_item_remembers() -> None:
    sync = Sync(plaid=Flaky(errors=[KilledError()]))
    with pytest.raises(KilledError):
        sync.run(ERROR)
    assert (sync.item.unfinished_attempts, sync.item.pending_checks) == (1, (ERROR,))
    assert 5 * MINUTE < wait_of(sync.item, sync) < 7 * MINUTE
    assert sync.tables.items.classes[ITEM] is AttemptClass.FAILING
    sync.plaid = Plaid()
    assert sync.run().outcome is Outcome.COMMITTED
    assert (sync.item.unfinished_attempts, sync.item.pending_checks, sync.item.failure) == (0, (), None)
    assert sync.plaid.order == ["health", "sync"]


def test_an_item_that_kills_its_workers_is_a_failure_that_is_retried_with_a_fresh_count() -> None:
    sync = Sync()
    sync.tables.items.set(ITEM, unfinished_attempts=MAX_UNFINISHED_ATTEMPTS)
    report = sync.run(ERROR)
    assert (report.outcome, report.code, sync.plaid.order) == (Outcome.FAILED, "worker_died", [])
    item = sync.item
    assert item.failure is not None
    assert (item.failure.failure_class, item.unfinished_attempts, item.pending_checks) == ("client_error", 0, (ERROR,))
    assert sync.entry.details["failing_since"] == NOON
    assert sync.run().outcome is Outcome.COMMITTED
    assert sync.item.failure is None


# ---- a failure is recorded on the Item


def test_the_token_of_a_failed_attempt_is_decrypted_again() -> None:
    sync = Sync()
    assert (sync.run().outcome, sync.tables.tokens.forgotten) == (Outcome.COMMITTED, [])
    sync.plaid = refusing("INVALID_ACCESS_TOKEN")
    sync.run()
    assert sync.tables.tokens.forgotten == [ITEM]


@pytest.mark.parametrize("state", [ItemState(StateName.ACTIVE), LOGIN_REQUIRED], ids=lambda state: state.name)
@pytest.mark.parametrize(
    ("error", "failure_class", "first"),
    [
        (PlaidError("TRANSACTIONS_SYNC_LIMIT"), "throttled", 45),
        (PlaidError("INTERNAL_SERVER_ERROR"), "transient", 15),
        (PlaidError("A_CODE_OF_NEXT_YEAR"), "transient", 15),
        (PlaidError("INVALID_API_KEYS"), "client_error", 60),
        (TransientError("ReadTimeout"), "transient", 15),
        (ValueError("a bug"), "client_error", 60),
    ],
    ids=str,
)
def test_a_failure_leaves_the_state_and_says_on_the_item_why_and_when_it_is_retried(
    state: ItemState, error: Exception, failure_class: str, first: int
) -> None:
    sync = Sync(state, Flaky(errors=[error] * 9))
    report = sync.run(ERROR, NEW_ACCOUNTS)
    item, now = sync.item, clock_of(sync).now()
    assert report.outcome is Outcome.FAILED
    assert item.failure is not None
    assert (item.failure.code, item.failure.failure_class) == (report.code, failure_class)
    assert (item.failure.since, item.failure.last_at, report.failure) == (now, now, item.failure)
    assert first * 0.9 <= wait_of(item, sync).total_seconds() <= first * 1.1
    assert (item.state, item.pending_checks, item.unfinished_attempts) == (state, (ERROR, NEW_ACCOUNTS), 0)
    assert (sync.entry.outcome, sync.entry.published_events) == ("failed", ())
    assert sync.entry.details["next_attempt_at"] == report.next_attempt_at
    assert (report.bug is error) == isinstance(error, ValueError)


def test_a_success_clears_the_failure_and_publishes_once_what_webhooks_requested() -> None:
    sync = Sync(plaid=refusing("RATE_LIMIT_EXCEEDED"))
    for _ in range(3):
        sync.run(NEW_ACCOUNTS)
    sync.plaid = Plaid()
    assert sync.run().outcome is Outcome.COMMITTED
    assert (sync.item.failure, sync.item.pending_checks) == (None, ())
    sync.run(newest_message_at=clock_of(sync).now())
    published = [entry.published_events for entry in sync.tables.entries]
    assert sorted(published) == [(), (), (DetailType.NEW_ACCOUNTS,)]


def test_a_bank_that_is_down_degrades_the_item_and_publishes_that_once() -> None:
    sync = Sync(plaid=refusing("INSTITUTION_DOWN"))
    for _ in range(3):
        assert sync.run(NEW_ACCOUNTS).outcome is Outcome.FAILED
    assert sync.item.state == ItemState(StateName.DEGRADED, "INSTITUTION_DOWN", NOON)
    assert sync.entry.published_events == (DetailType.DEGRADED,)
    assert sync.tables.items.classes[ITEM] is AttemptClass.BANK_DOWN
    assert sync.item.pending_checks == (NEW_ACCOUNTS,)


def test_the_history_of_a_failing_item_is_sparse() -> None:
    sync = Sync(plaid=refusing("INVALID_API_KEYS"))
    minutes = 0.0
    while minutes < 180:
        sync.run()
        minutes += wait_of(sync.item, sync) / MINUTE
        clock_of(sync).sleep(wait_of(sync.item, sync).total_seconds())
    assert len(sync.tables.entries) == 3  # at once, after an hour, after two
    sync.plaid = refusing("RATE_LIMIT_EXCEEDED")
    sync.run()
    assert len(sync.tables.entries) == 4


def test_what_a_newer_version_requests_stays_pending() -> None:
    sync = Sync()
    sync.tables.items.set(ITEM, pending_checks=(OF_NEXT_YEAR, ERROR))
    sync.run()
    assert sync.item.pending_checks == (OF_NEXT_YEAR,)
    sync.plaid = refusing("ITEM_LOGIN_REQUIRED")
    sync.run(ERROR)
    assert sync.item.pending_checks == (OF_NEXT_YEAR,)


def test_a_superseded_attempt_leaves_what_its_messages_request_to_the_newer_one() -> None:
    sync = Sync()
    sync.plaid = Flaky(errors=[SupersededError()])
    sync.plaid.listed = (ANOTHER,)
    assert sync.run(WITHDRAWN).outcome is Outcome.SUPERSEDED
    sync.plaid = Plaid(listed=(ANOTHER,))
    assert sync.run().outcome is Outcome.COMMITTED
    assert sync.live == {NEW}


def test_pending_checks_are_merged_without_losing_an_account_or_a_warning() -> None:
    until = NOON + timedelta(days=7)
    warning, repair = PendingCheck("PENDING_DISCONNECT", NOON, until), PendingCheck("LOGIN_REPAIRED", NOON)
    later = PendingCheck("PENDING_DISCONNECT", NOON + MINUTE, until + MINUTE)
    repeated = PendingCheck("ERROR", NOON + MINUTE)
    accounts = [PendingCheck("USER_ACCOUNT_REVOKED", NOON, account_id=str(number)) for number in range(100)]
    assert merge_checks([ERROR, *accounts], [repeated, *accounts]) == (repeated, *accounts)
    # A late copy of a warning does not come after its repair; another deadline is another warning.
    assert merge_checks([warning, repair], [warning, later]) == (warning, repair, later)
    many = [PendingCheck("USER_ACCOUNT_REVOKED", NOON, account_id=str(number)) for number in range(MAX_CHECKS + 9)]
    assert len(merge_checks([], many)) == MAX_CHECKS


# ---- what passes in seconds


@pytest.mark.parametrize(
    "error",
    [
        PlaidError("INTERNAL_SERVER_ERROR"),
        TransientError("item_modified_concurrently"),
        TransientError("cursor_changed"),
        RowNewerThanItemError(40),
    ],
    ids=str,
)
def test_what_passes_in_seconds_is_retried_at_once_unless_the_item_failed_before(error: Exception) -> None:
    sync = Sync(plaid=Flaky(errors=[error, error]))
    assert sync.run().outcome is Outcome.COMMITTED
    assert (len(sync.tables.entries), sum(clock_of(sync).pauses) < 5) == (1, True)
    sync.plaid = Flaky(errors=[error] * 3)
    assert sync.run().outcome is Outcome.FAILED
    sync.plaid = Flaky(errors=[error])
    assert sync.run().outcome is Outcome.FAILED
    assert sync.plaid.order == ["refused"]


def test_retries_within_an_invocation_are_one_unfinished_attempt_and_need_time() -> None:
    error = PlaidError("INTERNAL_SERVER_ERROR")
    sync = Sync(plaid=Flaky(errors=[error]))
    assert sync.run(deadline=clock_of(sync).deadline(120)).outcome is Outcome.FAILED
    sync = Sync(plaid=Flaky(errors=[error, error, error]))
    failing(sync, "items", "record", TransientError("unreachable"))
    with pytest.raises(TransientError, match="unreachable"):
        sync.run()
    assert sync.item.unfinished_attempts == 1


def test_a_claim_that_another_one_precedes_is_repeated_and_then_returned_to_the_queue() -> None:
    modified = TransientError("item_modified_concurrently")
    sync = Sync()
    failing(sync, "items", "claim", modified, times=2)
    assert sync.run(ERROR).outcome is Outcome.COMMITTED
    sync = Sync()
    failing(sync, "items", "claim", modified, times=3)
    with pytest.raises(TransientError, match="item_modified_concurrently"):
        sync.run(ERROR)


@pytest.mark.parametrize(("port", "name"), [("items", "load"), ("items", "claim"), ("items", "record")])
def test_what_cannot_be_recorded_is_raised(port: str, name: str) -> None:
    sync = Sync(plaid=refusing("INVALID_API_KEYS"))
    failing(sync, port, name, TransientError("ThrottlingException"), times=9)
    with pytest.raises(TransientError, match="ThrottlingException"):
        sync.run(WITHDRAWN)


@pytest.mark.parametrize("name", ["rows", "scan_item", "write"])
def test_a_table_that_is_unavailable_or_too_slow_is_a_failure_of_the_item(name: str) -> None:
    sync = Sync()
    if name == "rows":
        sync.tables.items.set(ITEM, writing_since=1)
    failing(sync, "transactions", name, TransientError("out_of_time"))
    sync.plaid.listed = (ANOTHER,)
    report = sync.run(WITHDRAWN)
    assert (report.outcome, report.code) == (Outcome.FAILED, "out_of_time")
    assert WITHDRAWN in sync.item.pending_checks
    assert sync.run().outcome is Outcome.COMMITTED
    assert sync.live == {NEW}


# ---- removals


@pytest.mark.parametrize(
    "error", [PlaidError("INTERNAL_SERVER_ERROR"), PlaidError("ITEM_LOGIN_REQUIRED"), ValueError()]
)
def test_the_failure_of_a_removal_is_recorded_on_the_removed_item_and_retried(error: Exception) -> None:
    sync = Sync()
    sync.tables.items.set(ITEM, state=ItemState(StateName.REMOVED, since=NOON), removal=Removal(NOON, erase=True))
    failing_plaid: Any = Failing(sync.plaid, "remove", error)
    report: SyncReport = sync.tables.engine(failing_plaid).sync(sync.job())
    assert (report.outcome, report.state) == (Outcome.FAILED, "removed")
    assert sync.item.failure is not None
    assert timedelta(0) < wait_of(sync.item, sync) < 2 * MINUTE
    assert sync.item.state == ItemState(StateName.REMOVED, since=NOON)
    assert sync.run().outcome is Outcome.REMOVED
    assert sync.live == set()
    assert sync.item == replace(sync.item, next_attempt_at=None, failure=None)


def test_an_item_that_is_not_registered_has_an_outcome() -> None:
    sync = Sync()
    del sync.tables.items.stored[ITEM]
    assert sync.run(ERROR).outcome is Outcome.UNREGISTERED
    assert (sync.plaid.order, sync.live) == ([], {OLD})


@pytest.mark.parametrize("change", [ItemChange(full_resync=True), ItemChange(state=ACTIVE)], ids=["resync", "state"])
def test_attempts_that_requests_of_the_api_supersede_are_no_workers_that_died(change: ItemChange) -> None:
    sync = Sync()
    items, written = sync.tables.items, sync.tables.transactions

    def request() -> None:
        entry = HistoryEntry(ITEM, NOON, f"{sync.item.generation}", EntryKind.REQUEST, "queued", {})
        assert items.change(sync.item, change, entry)

    for _ in range(MAX_UNFINISHED_ATTEMPTS):
        rows: Any = Failing(written, "write", error=None, meanwhile=request)
        sync.tables.transactions = rows
        assert sync.run().outcome is Outcome.SUPERSEDED
    sync.tables.transactions = written
    assert sync.run().outcome is Outcome.COMMITTED


def test_a_requested_full_resync_forgives_pulls_that_had_to_start_again() -> None:
    sync = Sync()
    sync.tables.items.set(ITEM, pull_restarts=3)
    entry = HistoryEntry(ITEM, NOON, "r", EntryKind.REQUEST, "queued", {})
    assert sync.tables.items.change(sync.item, ItemChange(full_resync=True), entry)
    assert sync.item.pull_restarts == 0
