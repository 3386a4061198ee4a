"""A pull while Plaid throttles, or its data changes during the pagination."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from plaid_sync.domain.errors import MUTATION_CODE, CallBudgetError, PlaidError, TransientError
from plaid_sync.domain.item import Cursor
from plaid_sync.pull.pages import NetChanges
from plaid_sync.pull.puller import MAX_RESTARTS, MUTATION_PERSISTS, Puller, Update

from tests.fakes.clock import NOON, FakeClock
from tests.fakes.plaid import page, transaction

if TYPE_CHECKING:
    from plaid_sync.pull.pages import Page

THROTTLED = "TRANSACTIONS_SYNC_LIMIT"


@dataclass(slots=True)
class Plaid:
    """Plaid's /transactions/sync with two pages, which refuses calls for some time.

    Attributes:
        seconds: until it accepts calls.
        code: of the refusals until then.
        remaining_seconds: until the invocation ends.
        mutations: how often the data changes between the pages.
        budget: what the call budget raises instead of Plaid.
        only_second: only the second page is refused.
    """

    seconds: float = 0.0
    code: str = THROTTLED
    remaining_seconds: float = 900.0
    mutations: int = 0
    budget: CallBudgetError | None = None
    only_second: bool = False
    clock: FakeClock = field(default_factory=FakeClock)
    calls: int = 0

    def sync_page(self, access_token: str, cursor: Cursor | None, days_requested: int | None) -> Page:  # noqa: ARG002 - the port's
        self.calls += 1
        if sum(self.clock.pauses) < self.seconds and (cursor == "one" or not self.only_second):
            raise self.budget or PlaidError(self.code)
        if cursor == "stored":
            return page(added=[transaction("a")], next_cursor="one", has_more=True)
        if self.mutations:
            self.mutations -= 1
            raise PlaidError(MUTATION_CODE)
        return page(added=[transaction("b")])

    def pull(self, jitter: float = 1.0) -> Update:
        puller = Puller(self, self.clock, lambda: jitter)
        return puller.pull_into(NetChanges, "token", Cursor("stored"), 730, self.clock.deadline(self.remaining_seconds))


def test_a_throttled_page_is_retried_within_the_invocation_and_no_page_is_lost() -> None:
    plaid = Plaid(60.0)
    update = plaid.pull()
    assert [row.transaction_id for row in update.net.rows()] == ["a", "b"]
    assert (update.pages, update.restarts) == (2, 0)
    assert 60.0 <= sum(plaid.clock.pauses) <= 90.0
    assert update.began_at == NOON


def test_pauses_grow_and_have_jitter() -> None:
    plain, spread = Plaid(60.0), Plaid(60.0)
    plain.pull()
    spread.pull(jitter=1.2)
    pauses = plain.clock.pauses
    assert pauses == sorted(pauses)
    assert spread.clock.pauses == [pytest.approx(wait * 1.2) for wait in pauses[: len(spread.clock.pauses)]]


def test_a_throttle_that_lasts_is_raised() -> None:
    plaid = Plaid(3600.0)
    with pytest.raises(PlaidError, match=THROTTLED):
        plaid.pull()
    assert plaid.calls == len(plaid.clock.pauses) + 1
    assert 60.0 < sum(plaid.clock.pauses) < 120.0


def test_a_pause_leaves_the_time_that_a_hanging_page_takes() -> None:
    """A page that hangs takes 70 seconds."""
    plaid = Plaid(60.0, remaining_seconds=120.0)
    with pytest.raises(PlaidError, match=THROTTLED):
        plaid.pull()
    assert 0 < sum(plaid.clock.pauses) <= 50.0


def test_a_pause_that_takes_too_long_leaves_no_call() -> None:
    plaid = Plaid(60.0, remaining_seconds=100.0)
    with pytest.raises((PlaidError, TransientError)):
        plaid.pull(jitter=5.0)
    assert plaid.calls == 1


@pytest.mark.parametrize(
    "code", ["INTERNAL_SERVER_ERROR", "INSTITUTION_DOWN", "ITEM_LOGIN_REQUIRED", "INVALID_API_KEYS"]
)
def test_only_a_throttle_is_retried_within_the_invocation(code: str) -> None:
    plaid = Plaid(1.0, code)
    with pytest.raises(PlaidError, match=code):
        plaid.pull()
    assert (plaid.calls, plaid.clock.pauses) == (1, [])


def test_a_mutation_restarts_the_whole_pagination_from_the_stored_cursor() -> None:
    plaid = Plaid(mutations=2)
    update = plaid.pull()
    assert [row.transaction_id for row in update.net.rows()] == ["a", "b"]
    assert (update.pages, update.restarts, plaid.calls) == (2, 2, 6)
    with pytest.raises(TransientError, match=MUTATION_PERSISTS):
        Plaid(mutations=MAX_RESTARTS + 1).pull()


def exhausted(*, waits: bool) -> CallBudgetError:
    return CallBudgetError("/transactions/sync", 4.0, waits=waits)


def test_a_webhook_and_an_audit_wait_for_the_call_budget() -> None:
    plaid = Plaid(8.0, budget=exhausted(waits=True))
    plaid.pull(jitter=0.8)
    assert plaid.clock.pauses == [4.0, 4.0], "no wait ends before the slice does"


def test_a_retry_and_a_routine_attempt_wait_only_with_pages_that_they_would_have_to_fetch_again() -> None:
    first = Plaid(8.0, budget=exhausted(waits=False))
    with pytest.raises(CallBudgetError):
        first.pull()
    assert (first.calls, first.clock.pauses) == (1, [])
    second = Plaid(8.0, budget=exhausted(waits=False), only_second=True)
    assert second.pull().pages == 2
    assert second.clock.pauses == [5.0, 5.0]


def test_a_call_budget_that_stays_used_up_is_raised() -> None:
    plaid = Plaid(3600.0, budget=exhausted(waits=True))
    with pytest.raises(CallBudgetError):
        plaid.pull()
    assert len(plaid.clock.pauses) == 4
