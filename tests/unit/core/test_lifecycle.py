"""The life of an Item: every cell of the table, and the rules about warnings, repairs, order and copies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plaid_sync.core.error_codes import FailureClass
from plaid_sync.core.items import Expiry, ItemStatus, Standing
from plaid_sync.core.lifecycle.standing import Change, Occurrence, apply, found, judge
from plaid_sync.core.lifecycle.states import ENTERED, LIVE, TABLE, Action, Announcement, Event

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LONG_AGO = NOON - timedelta(days=30)
DAY, WEEK = timedelta(days=1), timedelta(days=7)
WARNINGS = (Event.PENDING_EXPIRATION, Event.PENDING_DISCONNECT)
REPAIRS = (Event.LOGIN_REPAIRED, Event.UPDATE_MODE_FINISHED)
HEALTHY = Occurrence(Event.HEALTHY)
LOGIN_REQUIRED = Occurrence(Event.FOUND_NEEDS_USER, "ITEM_LOGIN_REQUIRED")
INSTITUTION_DOWN = Occurrence(Event.FOUND_INSTITUTION_DOWN, "INSTITUTION_DOWN")
GONE = Occurrence(Event.FOUND_TERMINAL, "ITEM_NOT_FOUND")
FINDINGS = (HEALTHY, LOGIN_REQUIRED, INSTITUTION_DOWN, GONE, Occurrence(Event.FOUND_RETRY, "PLANNED_MAINTENANCE"))

STATES = {status.value[0]: status for status in (ItemStatus.ACTIVE, ItemStatus.EXPIRING, ItemStatus.DEGRADED)} | {
    "u": ItemStatus.NEEDS_USER,
    "r": ItemStatus.REVOKED,
    "x": ItemStatus.REMOVED,
}
CELLS = {
    # Of an Item that is:                 active      expiring    degraded    needs_user  revoked     removed
    Event.ERROR:                       "a check     e check     d check     u check     r check     x none",
    Event.LOGIN_REPAIRED:              "a check     a check     d check     u check     r check     x none",
    Event.PENDING_EXPIRATION:          "e check     e check     d check     u check     r check     x none",
    Event.PENDING_DISCONNECT:          "e check     e check     d check     u check     r check     x none",
    Event.USER_PERMISSION_REVOKED:     "a check     e check     d check     u check     r check     x none",
    Event.USER_ACCOUNT_REVOKED:        "a erase_account e erase_account d erase_account u erase_account "
                                       "r erase_account x none",
    Event.NEW_ACCOUNTS_AVAILABLE:      "a none      e none      d none      u none      r none      x none",
    Event.WEBHOOK_UPDATE_ACKNOWLEDGED: "a none      e none      d none      u none      r none      x none",
    Event.HEALTHY:                     "a none      e none      a none      a none      a none      x none",
    Event.FOUND_INSTITUTION_DOWN:      "d retry     d retry     d retry     u retry     r retry     x none",
    Event.FOUND_NEEDS_USER:            "u none      u none      u none      u none      u none      x none",
    Event.FOUND_TERMINAL:              "r none      r none      r none      r none      r none      x none",
    Event.FOUND_RETRY:                 "a retry     e retry     d retry     u retry     r retry     x none",
    Event.FOUND_THROTTLED:             "a retry     e retry     d retry     u retry     r retry     x none",
    Event.FOUND_OURS:                  "a retry     e retry     d retry     u retry     r retry     x none",
    Event.LINK:                        "a register  e register  d register  u register  r register  x refuse",
    Event.SYNC:                        "a sync      e sync      d sync      u sync      r sync      x refuse",
    Event.UPDATE_MODE_FINISHED:        "a sync      a sync      d sync      u sync      r sync      x refuse",
    Event.REFRESH:                     "a call_plaid e call_plaid d call_plaid u refuse  r refuse    x refuse",
    Event.RESYNC:                      "a sync      e sync      d sync      u sync      r refuse    x refuse",
    Event.SET_WEBHOOK:                 "a call_plaid e call_plaid d call_plaid u call_plaid r refuse x refuse",
    Event.ACCOUNTS:                    "a call_plaid e call_plaid d call_plaid u call_plaid r refuse x refuse",
    Event.UPDATE_MODE:                 "a call_plaid e call_plaid d call_plaid u call_plaid r call_plaid x refuse",
    Event.REMOVE:                      "x finish_removal x finish_removal x finish_removal x finish_removal "
                                       "x finish_removal x finish_removal",
}  # fmt: skip
"""The table once more, as somebody reads it: for each event what an Item becomes, and what is done."""
ALL_CELLS = [
    (before, event, STATES[words[2 * column]], Action(words[2 * column + 1]))
    for event, row in CELLS.items()
    for column, before in enumerate(STATES.values())
    for words in [row.split()]
]


def standing(status: ItemStatus) -> Standing:
    """Return how an Item in this state stands, since long ago."""
    expiry = Expiry(Event.PENDING_DISCONNECT.value, NOON + 3 * DAY) if status is ItemStatus.EXPIRING else None
    codes = {
        ItemStatus.EXPIRING: "PENDING_DISCONNECT",
        ItemStatus.DEGRADED: "INSTITUTION_DOWN",
        ItemStatus.NEEDS_USER: "ITEM_LOGIN_REQUIRED",
        ItemStatus.REVOKED: "ITEM_NOT_FOUND",
    }
    return Standing(status, codes.get(status), LONG_AGO, expiry)


def occurrence(event: Event) -> Occurrence:
    codes = {
        Event.FOUND_INSTITUTION_DOWN: "INSTITUTION_DOWN",
        Event.FOUND_NEEDS_USER: "ITEM_LOGIN_REQUIRED",
        Event.FOUND_TERMINAL: "ITEM_NOT_FOUND",
    }
    return Occurrence(event, codes.get(event), told_at=NOON)


def warned(until: datetime | None, told_at: datetime = NOON, event: Event = Event.PENDING_DISCONNECT) -> Occurrence:
    return Occurrence(event, until=until, told_at=told_at)


# ---- the table


def test_the_table_has_a_cell_for_every_state_and_every_event() -> None:
    assert set(TABLE) == set(product(ItemStatus, Event))
    assert len(ALL_CELLS) == len(TABLE)


@pytest.mark.parametrize(("before", "event", "after", "action"), ALL_CELLS, ids=str)
def test_each_cell_says_what_an_item_becomes_and_what_is_done(
    before: ItemStatus, event: Event, after: ItemStatus, action: Action
) -> None:
    step = TABLE[before, event]
    assert (step.state, step.action) == (after, action)
    assert apply(standing(before), occurrence(event), NOON).standing.status is after


@pytest.mark.parametrize(("before", "event", "after", "action"), ALL_CELLS, ids=str)
def test_a_state_is_announced_when_it_is_entered_and_two_webhooks_about_accounts_always(
    before: ItemStatus, event: Event, after: ItemStatus, action: Action
) -> None:
    about_accounts = {
        Event.NEW_ACCOUNTS_AVAILABLE: Announcement.NEW_ACCOUNTS,
        Event.USER_ACCOUNT_REVOKED: Announcement.ACCOUNT_REVOKED,
    }
    change = apply(standing(before), occurrence(event), NOON)
    if after is not before:
        expected: Announcement | None = ENTERED[after]
        assert TABLE[before, event].announcement is expected
    else:
        expected = None if before is ItemStatus.REMOVED else about_accounts.get(event)
    assert change.announcement is expected
    assert change.standing.since == (NOON if after is not before else LONG_AGO)
    assert not (action is Action.REFUSE and change.announcement)


def test_nothing_brings_a_removed_item_back() -> None:
    gone = standing(ItemStatus.REMOVED)
    for event in Event:
        change = apply(gone, occurrence(event), NOON)
        assert (change.standing.status, change.standing.code, change.standing.expiry) == (
            ItemStatus.REMOVED,
            None,
            None,
        )
        assert change.announcement is None


@pytest.mark.parametrize(
    ("failure", "event"),
    [
        (FailureClass.NEEDS_USER, Event.FOUND_NEEDS_USER),
        (FailureClass.TERMINAL, Event.FOUND_TERMINAL),
        (FailureClass.INSTITUTION_DOWN, Event.FOUND_INSTITUTION_DOWN),
        (FailureClass.THROTTLED, Event.FOUND_THROTTLED),
        (FailureClass.OURS, Event.FOUND_OURS),
        (FailureClass.RETRY, Event.FOUND_RETRY),
        (FailureClass.RESTART, Event.FOUND_RETRY),
    ],
)
def test_every_class_of_failure_is_an_event(failure: FailureClass, event: Event) -> None:
    assert found(failure) is event


@pytest.mark.parametrize("finding", [LOGIN_REQUIRED, INSTITUTION_DOWN, GONE], ids=lambda one: one.event.name)
def test_what_is_found_says_why_and_health_takes_that_back(finding: Occurrence) -> None:
    ill = apply(standing(ItemStatus.ACTIVE), finding, NOON).standing
    assert (ill.code, ill.since) == (finding.code, NOON)
    well = apply(ill, HEALTHY, NOON + DAY)
    assert well == Change(Standing(ItemStatus.ACTIVE, since=NOON + DAY), Announcement.ACTIVE)


@pytest.mark.parametrize("event", [Event.FOUND_RETRY, Event.FOUND_THROTTLED, Event.FOUND_OURS])
@pytest.mark.parametrize("status", LIVE)
def test_what_passes_or_is_ours_says_nothing_about_the_item(event: Event, status: ItemStatus) -> None:
    assert apply(standing(status), Occurrence(event, "A_CODE"), NOON) == Change(standing(status))


@pytest.mark.parametrize("status", [ItemStatus.NEEDS_USER, ItemStatus.REVOKED])
def test_a_bank_that_is_down_does_not_hide_that_the_user_is_needed(status: ItemStatus) -> None:
    assert apply(standing(status), INSTITUTION_DOWN, NOON) == Change(standing(status))


def test_another_reason_in_the_same_state_is_news() -> None:
    locked = Occurrence(Event.FOUND_NEEDS_USER, "ITEM_LOCKED")
    change = apply(standing(ItemStatus.NEEDS_USER), locked, NOON)
    assert (change.standing.code, change.standing.since) == ("ITEM_LOCKED", NOON)
    assert change.announcement is Announcement.NEEDS_USER


@pytest.mark.parametrize(
    "hint", [Event.ERROR, Event.USER_PERMISSION_REVOKED, Event.LOGIN_REPAIRED], ids=lambda event: event.name
)
@pytest.mark.parametrize("status", LIVE)
def test_a_hint_alone_breaks_nothing_and_repairs_nothing(hint: Event, status: ItemStatus) -> None:
    after = apply(standing(status), occurrence(hint), NOON).standing
    expiring = status is ItemStatus.EXPIRING and hint is Event.LOGIN_REPAIRED
    assert after.status is (ItemStatus.ACTIVE if expiring else status)


# ---- warnings and their deadlines


def test_a_warning_says_until_when_an_item_works() -> None:
    change = apply(standing(ItemStatus.ACTIVE), warned(NOON + 5 * DAY), NOON)
    expiry = Expiry("PENDING_DISCONNECT", NOON + 5 * DAY)
    assert change.standing == Standing(ItemStatus.EXPIRING, "PENDING_DISCONNECT", NOON, expiry)
    assert change.announcement is Announcement.EXPIRING


def test_a_warning_that_names_no_time_means_a_week_from_when_it_was_sent() -> None:
    change = apply(standing(ItemStatus.ACTIVE), warned(None, told_at=NOON - DAY), NOON)
    assert change.standing.expiry == Expiry("PENDING_DISCONNECT", NOON - DAY + WEEK)


@pytest.mark.parametrize("until", [NOON + DAY, None], ids=["with a time", "without a time"])
def test_a_warning_that_comes_twice_is_told_once(until: datetime | None) -> None:
    once = apply(standing(ItemStatus.ACTIVE), warned(until, told_at=NOON - timedelta(hours=2)), NOON).standing
    assert apply(once, warned(until), NOON) == Change(once)


def test_another_deadline_is_news_and_the_item_expires_since_the_first_warning() -> None:
    before = standing(ItemStatus.EXPIRING)
    change = apply(before, warned(NOON + 6 * DAY), NOON)
    assert change.standing.expiry == Expiry("PENDING_DISCONNECT", NOON + 6 * DAY)
    assert (change.standing.since, change.announcement) == (LONG_AGO, Announcement.EXPIRING)


@pytest.mark.parametrize("event", WARNINGS)
@pytest.mark.parametrize("status", LIVE)
def test_a_warning_whose_time_has_come_is_no_news(event: Event, status: ItemStatus) -> None:
    for until, told_at in ((NOON, NOON), (NOON - DAY, NOON - 8 * DAY), (None, NOON - WEEK)):
        assert apply(standing(status), warned(until, told_at, event), NOON) == Change(standing(status))


@pytest.mark.parametrize(
    "status", [ItemStatus.DEGRADED, ItemStatus.NEEDS_USER, ItemStatus.REVOKED], ids=lambda status: status.value
)
def test_a_warning_is_kept_while_something_worse_is_wrong(status: ItemStatus) -> None:
    change = apply(standing(status), warned(NOON + DAY), NOON)
    assert (change.standing.status, change.standing.code) == (status, standing(status).code)
    assert change.standing.expiry == Expiry("PENDING_DISCONNECT", NOON + DAY)
    assert change.announcement is None


def test_an_item_whose_bank_comes_back_still_expires() -> None:
    down = apply(standing(ItemStatus.EXPIRING), INSTITUTION_DOWN, NOON).standing
    assert down.status is ItemStatus.DEGRADED
    change = apply(down, HEALTHY, NOON + DAY)
    assert (change.standing.status, change.standing.code) == (ItemStatus.EXPIRING, "PENDING_DISCONNECT")
    assert change.announcement is Announcement.EXPIRING


def test_health_alone_does_not_answer_a_warning() -> None:
    assert apply(standing(ItemStatus.EXPIRING), HEALTHY, NOON) == Change(standing(ItemStatus.EXPIRING))


def test_a_healthy_item_that_has_outlived_its_warning_is_active() -> None:
    change = apply(standing(ItemStatus.EXPIRING), HEALTHY, NOON + 3 * DAY)
    assert (change.standing.status, change.standing.code, change.standing.expiry) == (ItemStatus.ACTIVE, None, None)
    assert change.announcement is Announcement.ACTIVE
    assert apply(change.standing, warned(NOON + 3 * DAY), NOON) == Change(change.standing)


@pytest.mark.parametrize("event", REPAIRS)
def test_a_repair_answers_a_warning(event: Event) -> None:
    change = apply(standing(ItemStatus.EXPIRING), Occurrence(event, told_at=NOON), NOON)
    assert (change.standing.status, change.standing.expiry) == (ItemStatus.ACTIVE, None)
    assert change.announcement is Announcement.ACTIVE


@pytest.mark.parametrize("status", [ItemStatus.NEEDS_USER, ItemStatus.REVOKED])
def test_who_repairs_a_connection_renews_it(status: ItemStatus) -> None:
    ill = apply(standing(status), warned(NOON + DAY), NOON).standing
    well = apply(ill, HEALTHY, NOON).standing
    assert (well.status, well.expiry, well.answered_until) == (ItemStatus.ACTIVE, None, NOON + DAY)


@pytest.mark.parametrize("event", REPAIRS)
@pytest.mark.parametrize("until", [NOON + 6 * DAY, None], ids=["with a time", "without a time"])
def test_a_late_copy_of_a_warning_that_was_answered_is_old_news(event: Event, until: datetime | None) -> None:
    repaired = apply(standing(ItemStatus.EXPIRING), Occurrence(event, told_at=NOON), NOON).standing
    assert apply(repaired, warned(until, told_at=NOON + timedelta(hours=23)), NOON + DAY) == Change(repaired)


def test_a_warning_of_after_the_repair_is_news() -> None:
    repaired = apply(standing(ItemStatus.EXPIRING), Occurrence(Event.LOGIN_REPAIRED, told_at=NOON), NOON).standing
    for until, told_at in ((NOON + 8 * DAY, NOON + DAY), (None, NOON + 2 * DAY)):
        assert apply(repaired, warned(until, told_at), told_at).announcement is Announcement.EXPIRING


def test_a_consent_that_was_renewed_answers_the_warning_of_its_end_and_no_other() -> None:
    renewed = Occurrence(Event.HEALTHY, until=NOON + 90 * DAY)
    of_consent = apply(
        standing(ItemStatus.ACTIVE), warned(NOON + 5 * DAY, event=Event.PENDING_EXPIRATION), NOON
    ).standing
    assert apply(of_consent, renewed, NOON).standing.status is ItemStatus.ACTIVE
    assert apply(of_consent, Occurrence(Event.HEALTHY, until=NOON + 5 * DAY), NOON) == Change(of_consent)
    assert apply(standing(ItemStatus.EXPIRING), renewed, NOON) == Change(standing(ItemStatus.EXPIRING))


def test_a_warning_that_its_own_check_disproves_is_not_announced() -> None:
    hints = warned(NOON + 5 * DAY, event=Event.PENDING_EXPIRATION), Occurrence(Event.HEALTHY, until=NOON + 90 * DAY)
    judged = judge(standing(ItemStatus.ACTIVE), hints, NOON)
    assert (judged.standing, judged.announcements) == (standing(ItemStatus.ACTIVE), ())


# ---- order and copies

HINTS = st.builds(
    Occurrence,
    st.sampled_from([event for event in CELLS if event.name == event.value]),
    told_at=st.integers(0, 23).map(lambda hours: NOON - timedelta(hours=hours)),
    account_id=st.none() | st.just("account"),
)
SENT_BEFORE = st.integers(1, 24).map(lambda hours: NOON - timedelta(hours=hours))
STANDINGS = st.sampled_from([standing(status) for status in ItemStatus])


def judged_status(before: Standing, *events: Occurrence) -> ItemStatus:
    return judge(before, events, NOON).standing.status


@settings(deadline=None)
@given(STANDINGS, st.lists(HINTS, max_size=6), st.sampled_from(FINDINGS), st.data())
def test_hints_in_any_order_and_number_come_to_what_was_found_and_the_warnings_that_stand(
    before: Standing, hints: list[Occurrence], finding: Occurrence, data: st.DataObject
) -> None:
    hints = [hint for hint in hints if hint.event not in (*WARNINGS, *REPAIRS)]
    copies = data.draw(st.permutations([*hints, *hints]))
    assert judged_status(before, *copies, finding) is judged_status(before, finding)
    assert judge(before, (*copies, finding), NOON).standing == judge(before, (*hints, finding), NOON).standing


@settings(deadline=None)
@given(STANDINGS, st.lists(HINTS, max_size=4), st.sampled_from(FINDINGS), st.data())
def test_whatever_order_warnings_and_a_later_repair_come_in_the_warnings_are_answered(
    before: Standing, hints: list[Occurrence], finding: Occurrence, data: st.DataObject
) -> None:
    """All of them have been sent before the repair, some of them are late, and each may come twice."""
    repair = Occurrence(data.draw(st.sampled_from(REPAIRS)), told_at=NOON)
    sent = data.draw(st.lists(SENT_BEFORE, max_size=2))
    warnings = [warned(data.draw(st.sampled_from([None, at + WEEK])), NOON) for at in sent]
    others = [hint for hint in hints if hint.event not in WARNINGS]
    events = data.draw(st.permutations([*others, *warnings, *warnings, repair]))
    judged = judge(before, (*events, finding), NOON).standing
    assert judged.expiry is None
    assert judged.status is judged_status(before, repair, finding)


@settings(deadline=None)
@given(STANDINGS, st.lists(HINTS, max_size=4), st.sampled_from(FINDINGS), st.integers(1, 6), st.data())
def test_a_warning_stands_whatever_else_is_told_in_whatever_order(
    before: Standing, hints: list[Occurrence], finding: Occurrence, days: int, data: st.DataObject
) -> None:
    warning = warned(NOON + days * DAY)
    others = [hint for hint in hints if hint.event not in (*WARNINGS, *REPAIRS)]
    events = data.draw(st.permutations([*others, warning, warning]))
    judged = judge(before, (*events, finding), NOON).standing
    if before.status is ItemStatus.REMOVED:
        assert judged.expiry is None
        return
    known = [] if before.expiry is None else [before.expiry.until]
    recovered = finding is HEALTHY and before.status in {ItemStatus.NEEDS_USER, ItemStatus.REVOKED}
    if recovered and known and known[0] >= NOON + days * DAY:
        assert judged.expiry is None, "it was known before, and whoever repaired the connection has renewed it"
        return
    assert judged.expiry == Expiry("PENDING_DISCONNECT", max([*known, NOON + days * DAY]))
    if finding is HEALTHY:
        assert judged.status is ItemStatus.EXPIRING


def test_a_warning_that_comes_with_the_news_of_a_repair_is_not_answered_by_it() -> None:
    """The user has logged in again, of which nobody has told; then Plaid warns, and the sync finds the Item well."""
    broken = Standing(ItemStatus.NEEDS_USER, "ITEM_LOGIN_REQUIRED")
    for event, consent_until in (
        (Event.PENDING_EXPIRATION, NOON + 7 * DAY),
        (Event.PENDING_EXPIRATION, None),
        (Event.PENDING_DISCONNECT, None),
    ):
        healthy = Occurrence(Event.HEALTHY, until=consent_until)
        judged = judge(broken, [warned(NOON + 7 * DAY, event=event), healthy], NOON)
        assert (judged.standing.status, judged.standing.code) == (ItemStatus.EXPIRING, event.value)
        assert judged.announcements == (Announcement.EXPIRING,)


def test_what_is_only_passed_through_is_not_announced() -> None:
    expiring = Standing(ItemStatus.EXPIRING, "PENDING_DISCONNECT", NOON, Expiry("PENDING_DISCONNECT", NOON + 3 * DAY))
    repair = Occurrence(Event.LOGIN_REPAIRED, told_at=NOON)
    assert judge(expiring, [repair, LOGIN_REQUIRED], NOON).announcements == (Announcement.NEEDS_USER,)
    active = Standing(ItemStatus.ACTIVE)
    assert judge(active, [warned(NOON + 3 * DAY), repair, HEALTHY], NOON).announcements == ()


@settings(deadline=None)
@given(STANDINGS, HINTS | st.sampled_from(FINDINGS), st.integers(0, 9))
def test_an_event_that_comes_twice_changes_nothing_more(before: Standing, event: Occurrence, days: int) -> None:
    once = apply(before, event, NOON).standing
    again = apply(once, event, NOON + days * DAY if event.event not in WARNINGS else NOON)
    about_accounts = event.event in (Event.NEW_ACCOUNTS_AVAILABLE, Event.USER_ACCOUNT_REVOKED)
    outlived = once.expiry is not None and once.expiry.until <= NOON + days * DAY
    if not (event is HEALTHY and outlived):
        assert again.standing == once
        assert again.announcement is None or about_accounts


def test_what_is_announced_of_one_sync_is_announced_once() -> None:
    revoked = Occurrence(Event.USER_ACCOUNT_REVOKED, told_at=NOON, account_id="account")
    new = Occurrence(Event.NEW_ACCOUNTS_AVAILABLE, told_at=NOON)
    for hints in permutations([revoked, revoked, new, new]):
        judged = judge(standing(ItemStatus.ACTIVE), (*hints, HEALTHY), NOON)
        assert sorted(judged.announcements) == [Announcement.ACCOUNT_REVOKED, Announcement.NEW_ACCOUNTS]


def test_an_old_error_after_a_repair_does_not_break_a_healthy_item() -> None:
    old = Occurrence(Event.ERROR, told_at=NOON - DAY)
    judged = judge(standing(ItemStatus.ACTIVE), (old, old, HEALTHY), NOON)
    assert (judged.standing, judged.announcements) == (standing(ItemStatus.ACTIVE), ())


def test_of_two_warnings_the_one_that_ends_first_is_told_and_a_repair_answers_both() -> None:
    later = warned(NOON + 5 * DAY)
    earlier = warned(NOON + 2 * DAY, event=Event.PENDING_EXPIRATION)
    for hints in ((later, earlier), (earlier, later)):
        known = judge(Standing(ItemStatus.ACTIVE), hints, NOON).standing
        assert known.expiry == Expiry("PENDING_EXPIRATION", NOON + 2 * DAY)
        repaired = judge(known, [Occurrence(Event.LOGIN_REPAIRED, told_at=NOON), HEALTHY], NOON).standing
        assert repaired.status is ItemStatus.ACTIVE
        assert judge(repaired, hints, NOON).standing.status is ItemStatus.ACTIVE
