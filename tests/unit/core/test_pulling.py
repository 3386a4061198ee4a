"""What a pull does while Plaid says that there were too many calls in this minute."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from plaid_sync.core.failures import PlaidError, RetryableError
from plaid_sync.core.sync.pages import Page, parse_page
from plaid_sync.core.sync.pulling import Puller, Update

from tests.unit.core.test_pages import answer, transaction

if TYPE_CHECKING:
    from plaid_sync.core.items import Cursor

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
THROTTLED = "TRANSACTIONS_SYNC_LIMIT"
PLENTY = 900.0


@dataclass(slots=True)
class Plaid:
    """Plaid's /transactions/sync with two pages, and its limit of calls by the minute.

    Attributes:
        lasts: seconds from the start until Plaid takes calls again.
        code: what it says until then.
        time_left: seconds that the worker has.
    """

    lasts: float
    code: str = THROTTLED
    time_left: float = PLENTY
    waited: list[float] = field(default_factory=list)
    calls: int = 0

    def sync_page(self, access_token: str, cursor: Cursor | None, days_requested: int | None) -> Page:  # noqa: ARG002 - the port's
        self.calls += 1
        if sum(self.waited) < self.lasts:
            raise PlaidError(self.code)
        if cursor is None:
            return parse_page(answer(added=[transaction("a")], next_cursor="one", has_more=True))
        return parse_page(answer(added=[transaction("b")]))

    def pull(self, jitter: float = 1.0) -> Update:
        def now() -> datetime:
            return NOON + timedelta(seconds=sum(self.waited))

        puller = Puller(self, now, self.waited.append, lambda: jitter)
        return puller.pull("token", None, 730, lambda: self.time_left - sum(self.waited))


def test_a_throttled_page_is_asked_for_again_a_minute_later_and_nothing_that_was_pulled_is_lost() -> None:
    plaid = Plaid(lasts=60.0)
    update = plaid.pull()
    assert [row.transaction_id for row in update.net.rows()] == ["a", "b"]
    assert (update.pages, update.restarts) == (2, 0)
    assert 60.0 <= sum(plaid.waited) <= 90.0
    assert update.began_at == NOON


def test_waits_grow_and_are_spread() -> None:
    plain, spread = Plaid(lasts=60.0), Plaid(lasts=60.0)
    plain.pull()
    spread.pull(jitter=1.2)
    assert plain.waited == sorted(plain.waited)
    assert spread.waited == [pytest.approx(wait * 1.2) for wait in plain.waited[: len(spread.waited)]]


def test_a_limit_that_does_not_pass_is_given_back_as_what_it_is() -> None:
    plaid = Plaid(lasts=3600.0)
    with pytest.raises(PlaidError, match=THROTTLED):
        plaid.pull()
    assert plaid.calls == len(plaid.waited) + 1
    assert 60.0 < sum(plaid.waited) < 120.0


def test_no_wait_outlasts_the_worker() -> None:
    """A page that hangs takes 70 seconds, and that must still be left."""
    plaid = Plaid(lasts=60.0, time_left=120.0)
    with pytest.raises(PlaidError, match=THROTTLED):
        plaid.pull()
    assert sum(plaid.waited) > 0
    assert plaid.time_left - sum(plaid.waited) >= 70.0


def test_waits_that_took_longer_than_they_were_to_leave_no_call_without_time() -> None:
    plaid = Plaid(lasts=60.0, time_left=100.0)
    with pytest.raises((PlaidError, RetryableError)):
        plaid.pull(jitter=5.0)
    assert plaid.calls == 1


@pytest.mark.parametrize(
    "code", ["INTERNAL_SERVER_ERROR", "INSTITUTION_DOWN", "ITEM_LOGIN_REQUIRED", "INVALID_API_KEYS"]
)
def test_only_a_throttle_is_waited_for_here(code: str) -> None:
    plaid = Plaid(lasts=1.0, code=code)
    with pytest.raises(PlaidError, match=code):
        plaid.pull()
    assert (plaid.calls, plaid.waited) == (1, [])
