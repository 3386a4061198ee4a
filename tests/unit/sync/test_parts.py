"""Pulls of many pages: written in parts, continued by other invocations, and equal to Plaid at the end.

The size of parts and of transactions is small here, so that a few rows take many of both.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plaid_sync.domain.accounts import Account
from plaid_sync.domain.errors import MUTATION_CODE, SCHEMA_VIOLATION, CallBudgetError, PlaidError, TransientError
from plaid_sync.domain.item import Cursor, Item, ItemId, PendingCheck
from plaid_sync.pull.puller import MUTATION_PERSISTS
from plaid_sync.sync import planner
from plaid_sync.sync.job import Outcome, SyncJob, SyncReport

from tests.fakes.clock import NOON, PLENTY
from tests.fakes.failing import Failing, KilledError
from tests.fakes.items import new_item
from tests.fakes.plaid import FakePlaid, page, transaction
from tests.fakes.tables import Tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plaid_sync.domain.clock import Deadline
    from plaid_sync.pull.pages import Page

ITEM = ItemId("item")
PART, ROWS = 4, 3
WRITES: Final = (
    *(("transactions", name) for name in ("write", "scan_item", "rows")),
    *(("items", name) for name in ("claim", "restart_pull", "record", "record_accounts", "complete_checks")),
)
"""Calls at which a worker can die between two effects."""


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    small()(monkeypatch)


def small() -> Callable[[pytest.MonkeyPatch], None]:
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(planner, "PART_ENTRIES", PART)
        monkeypatch.setattr(planner, "MAX_ROWS", ROWS)

    return patch


# ---- Plaid, whose cursors are positions in a log of changes

Change = tuple[str, int | None]
"""An id with its new amount; None: it is removed."""


@dataclass(slots=True)
class Plaid(FakePlaid):
    """Plaid with a log of changes, two to a page; a cursor is a position in the log.

    Attributes:
        log: all changes.
        nets: a page omits what later changes undo, as Plaid may: an id that the client never saw, and that is gone.
        strict: a change during a pagination is an error at its next page, as Plaid documents.
        invalid: ids whose entries are unreadable from the beginning of the history.
        dead: the codes with which Plaid refuses a cursor, one for each call.
        status: of the history.
        broken: what every page from the position `broken_from` raises.
        heals: a pagination from the beginning meets it nowhere.
        whole: such a pagination is running.
        paginating: the length of the log at the first page of the running pagination.
        pages: how many pages were served.
        seconds: that a page takes.
        omitted: the positions of changes that pages omitted.
    """

    log: list[Change] = field(default_factory=list)
    nets: bool = False
    strict: bool = True
    invalid: set[str] = field(default_factory=set)
    dead: dict[str, list[str]] = field(default_factory=dict)
    status: str = "HISTORICAL_UPDATE_COMPLETE"
    broken: PlaidError | TransientError | CallBudgetError | None = None
    broken_from: int = 0
    heals: bool = False
    whole: bool = False
    paginating: int | None = None
    pages: int = 0
    seconds: float = 0.0
    account_of: dict[str, str] = field(default_factory=dict)
    listed: tuple[Account, ...] = (Account("account"),)
    omitted: set[int] = field(default_factory=set)

    def sync_page(self, access_token: str, cursor: Cursor | None, days_requested: int | None) -> Page:  # noqa: ARG002 - the port's
        self.clock.sleep(self.seconds)
        self.pages += 1
        if self.dead.get(str(cursor)):
            raise PlaidError(self.dead[str(cursor)].pop())
        start = 0 if cursor is None else int(cursor)
        if self.broken is not None and self.broken_from <= start and not (cursor is None or self.whole):
            raise self.broken
        self.whole = cursor is None or (self.whole and self.heals)
        if self.paginating is not None and start and self.strict and self.paginating != len(self.log):
            self.paginating = None
            raise PlaidError(MUTATION_CODE)
        shown = [
            position for position in range(start, min(start + 2, len(self.log))) if not self._omits(position, start)
        ]
        changes = list(dict(self.log[position] for position in shown).items())  # of an id, the last change
        end = min(start + 2, len(self.log))
        more = end < len(self.log)
        self.paginating = len(self.log) if more else None
        return page(**self._lists(changes), next_cursor=str(end), has_more=more, transactions_update_status=self.status)

    def _omits(self, position: int, start: int) -> bool:
        """Return whether a page omits a change: the client does not have the id, and it is gone by now."""
        key, _ = self.log[position]
        before = max((number for number in range(position) if self.log[number][0] == key), default=None)
        unseen = before is None or before in self.omitted or self.log[before][1] is None
        omits = (start == 0 or self.nets) and unseen and dict(self.log)[key] is None
        (self.omitted.add if omits else self.omitted.discard)(position)
        return omits

    def _lists(self, changes: list[Change]) -> dict[str, list[Any]]:
        rows = [
            transaction(key, amount)
            | {"account_id": self.account_of.get(key, "account")}
            | ({"amount": "unreadable"} if key in self.invalid else {})
            for key, amount in changes
            if amount is not None
        ]
        gone = [{"transaction_id": key, "account_id": "account"} for key, amount in changes if amount is None]
        return {"added": rows, "removed": gone}

    @property
    def truth(self) -> dict[str, int]:
        return {key: amount for key, amount in dict(self.log).items() if amount is not None}


@dataclass(slots=True)
class Scene:
    """One Item at Plaid, and the sync of it."""

    plaid: Plaid = field(default_factory=Plaid)
    tables: Tables = field(default_factory=lambda: Tables.of(new_item(ITEM)))

    def __post_init__(self) -> None:
        self.plaid.clock = self.tables.clock

    def sync(self, *checks: PendingCheck, deadline: Deadline = PLENTY) -> SyncReport:
        now = self.tables.clock.now() + timedelta(hours=1)  # never covered
        return self.tables.engine(self.plaid).sync(SyncJob(ITEM, now, deadline, checks, causes=("webhook",)))

    def sync_in_parts(self, *checks: PendingCheck, most: int = 99) -> list[SyncReport]:
        """Sync with one part to each invocation, up to an outcome; return the reports."""
        reports: list[SyncReport] = []
        while len(reports) < most:
            reports.append(self.sync(*checks, deadline=self.one_part()))
            if reports[-1].outcome is not Outcome.CONTINUES:
                break
        return reports

    def one_part(self) -> Deadline:
        """Return the deadline of an invocation that has time for one part of a pull: each page takes time."""
        self.plaid.seconds = 20.0
        return self.tables.clock.deadline(190.0)

    @property
    def item(self) -> Item:
        return self.tables.items.stored[ITEM]

    @property
    def stored(self) -> dict[str, int]:
        rows = self.tables.transactions.rows_of.get(ITEM, {}).values()
        return {str(row.transaction_id): int(row.row.amount) for row in rows if row.live and row.row is not None}

    def assert_exact(self) -> None:
        assert self.stored == self.plaid.truth
        assert (self.item.checkpoint, self.item.writing_since, self.item.failure) == (None, None, None)
        assert not self.item.reconcile


def history(number: int, amount: int = 1, prefix: str = "t") -> list[Change]:
    return [(f"{prefix}{each:02}", amount) for each in range(number)]


def synced(*log: Change, **plaid: Any) -> Scene:
    """Return an Item that has this much of Plaid's log."""
    scene = Scene(Plaid(log=list(log), **plaid))
    assert scene.sync().outcome is Outcome.COMMITTED
    scene.assert_exact()
    scene.tables.history.by_key.clear()
    return scene


# ---- parts


def test_a_pull_in_parts_ends_with_one_commit_and_one_entry_that_has_all_counts() -> None:
    scene = Scene(Plaid(log=history(15)))
    report = scene.sync()
    assert (report.outcome, report.added, report.pages) == (Outcome.COMMITTED, 15, 8)
    (entry,) = scene.tables.entries
    assert (entry.outcome, entry.details["added"], entry.details["pages"]) == ("committed", 15, 8)
    scene.assert_exact()


def test_a_pull_continues_in_the_next_invocation_and_fetches_no_page_twice() -> None:
    scene = Scene(Plaid(log=history(15)))
    reports = scene.sync_in_parts()
    assert [report.outcome for report in reports] == [Outcome.CONTINUES] * (len(reports) - 1) + [Outcome.COMMITTED]
    assert len(reports) > 2
    assert (sum(report.added for report in reports), scene.plaid.pages) == (15, 8)
    scene.assert_exact()


def test_what_a_deferred_pull_has_written_is_in_the_history_and_so_is_the_commit_that_ends_it() -> None:
    scene = synced(*history(2), nets=True)
    scene.plaid.log += [*history(4, prefix="u"), ("netted", None)]
    scene.plaid.broken, scene.plaid.broken_from = CallBudgetError("/transactions/sync", 4.0, waits=False), 6
    assert scene.sync().outcome is Outcome.DEFERRED
    scene.plaid.broken = None
    assert (scene.sync().outcome, scene.item.unfinished_attempts) == (Outcome.COMMITTED, 0)
    scene.assert_exact()
    assert [(entry.outcome, entry.details["added"]) for entry in scene.tables.entries] == [
        ("deferred", 4),
        ("committed", None),
    ]


def test_an_unfinished_pull_is_provisional_continues_at_once_and_keeps_what_webhooks_request() -> None:
    scene = synced(*history(3))
    scene.plaid.log += history(15, prefix="u")
    check = PendingCheck("NEW_ACCOUNTS_AVAILABLE", NOON)
    (report,) = scene.sync_in_parts(check, most=1)
    item = scene.item
    assert (report.outcome, item.cursor, item.pending_checks) == (Outcome.CONTINUES, "3", (check,))
    assert item.writing_since is not None
    assert item.checkpoint is not None
    assert item.next_attempt_at == scene.tables.clock.now()
    assert (item.unfinished_attempts, item.failure) == (0, None)
    scene.sync_in_parts()
    scene.assert_exact()
    assert scene.item.pending_checks == ()


def test_a_row_that_several_parts_mention_has_its_last_content() -> None:
    log = [*history(9), *history(9, amount=2), ("t00", None), ("t01", None), ("t01", 3), ("t08", None)]
    scene = Scene(Plaid(log=log))
    scene.sync_in_parts()
    scene.assert_exact()
    scene = synced(*history(9))
    scene.plaid.log += log[9:] + log[9:]
    scene.sync()
    scene.assert_exact()


def test_a_complete_pull_that_has_no_time_to_commit_removes_no_row_that_is_stored_already() -> None:
    scene = synced(*history(2))
    scene.tables.items.set(ITEM, reconcile=True)
    scene.plaid.seconds = 95.0
    assert scene.sync(deadline=scene.tables.clock.deadline(150.0)).outcome is Outcome.CONTINUES
    scene.plaid.seconds = 0.0
    assert scene.sync().outcome is Outcome.COMMITTED
    scene.assert_exact()


def test_a_full_resync_in_parts_removes_what_plaid_does_not_mention_and_keeps_what_it_mentions_unreadably() -> None:
    scene = synced(*history(12))
    scene.plaid.log = [change for change in scene.plaid.log if change[0] not in {"t01", "t11"}]
    scene.plaid.invalid = {"t00", "t05", "t10"}
    scene.tables.items.set(ITEM, reconcile=True)
    reports = scene.sync_in_parts()
    assert reports[-1].outcome is Outcome.COMMITTED
    assert len(reports) > 1
    scene.assert_exact()
    assert len(scene.tables.quarantine.parts) == 3


def test_rows_of_a_withdrawn_account_are_neither_kept_nor_written_by_a_pull_in_parts() -> None:
    accounts = {f"t{number:02}": "gone" for number in range(0, 12, 2)}
    scene = synced(*history(5), account_of=accounts)
    scene.plaid.log += [*history(12)[5:], ("t00", None), ("t02", 7)]
    scene.sync_in_parts(PendingCheck("USER_ACCOUNT_REVOKED", NOON, account_id="gone"))
    assert scene.stored == {key: amount for key, amount in scene.plaid.truth.items() if key not in accounts}
    assert scene.item.account_states.withdrawn == {"gone"}
    scene.tables.items.set(ITEM, reconcile=True)
    scene.sync_in_parts()
    assert scene.stored == {key: amount for key, amount in scene.plaid.truth.items() if key not in accounts}


# ---- a pull that starts again


@pytest.mark.parametrize("reconcile", [False, True])
@pytest.mark.parametrize("nets", [False, True])
def test_a_change_after_a_part_restarts_the_pull_from_the_stored_cursor(*, reconcile: bool, nets: bool) -> None:
    scene = synced(*history(3), nets=nets)
    scene.plaid.log += history(15, prefix="u")
    scene.tables.items.set(ITEM, reconcile=reconcile)
    scene.sync_in_parts(most=2)
    scene.plaid.log += [("u00", None), ("u01", 5), ("t00", 6), ("v", 7)]
    reports = scene.sync_in_parts()
    assert sum(report.restarts for report in reports) >= 1
    scene.assert_exact()


@pytest.mark.parametrize(("code", "failures"), [("INVALID_FIELD", 0), ("A_CODE_OF_NEXT_YEAR", 1)])
def test_a_checkpoint_whose_cursor_is_dead_is_dropped(code: str, failures: int) -> None:
    scene = synced(*history(3))
    scene.plaid.log += history(15, prefix="u")
    scene.sync_in_parts(most=1)
    assert scene.item.checkpoint is not None
    scene.plaid.dead[scene.item.checkpoint.cursor] = [code] * (3 * failures + 1)  # each failure is tried three times
    assert [scene.sync().code for _ in range(failures)] == [code] * failures
    report = scene.sync()
    assert (report.outcome, report.restarts, report.cursor_reset) == (Outcome.COMMITTED, 1, False)
    scene.assert_exact()


def test_a_need_for_a_full_resync_is_remembered_before_it_is_pulled() -> None:
    scene = synced(*history(15))
    scene.plaid.dead["15"] = ["INVALID_FIELD"]
    scene.plaid.log[3] = ("t03", None)
    scene.tables.transactions = _dying(scene.tables.transactions, "write")
    with pytest.raises(KilledError):
        scene.sync()
    scene.tables.transactions = scene.tables.transactions.port  # type: ignore[attr-defined] # what died
    assert scene.item.reconcile
    assert scene.item.cursor_reset_at is not None
    assert not scene.sync().cursor_reset
    scene.assert_exact()


def _dying(port: Any, name: str, *, after: bool = False, survives: int = 0) -> Any:
    return Dying(port, name, KilledError(), after=after, survives=survives)


@dataclass(slots=True)
class Dying(Failing):
    """A port at which the worker is killed, at its call number `survives`."""

    survives: int = 0

    def _strike(self, *arguments: Any, **named: Any) -> Any:
        if self.survives > 0:
            self.survives -= 1
            return getattr(self.port, self.name)(*arguments, **named)
        return Failing._strike(self, *arguments, **named)  # noqa: SLF001 - its own, without super() of a class with slots

    def __getattr__(self, name: str) -> Any:
        return Failing.__getattr__(self, name)


# ---- large Items: an entry represents a page of 500


@dataclass(slots=True)
class SlowPages(Plaid):
    """Plaid with one entry to a page, and two seconds for each.

    Attributes:
        kills: the numbers of the pages at which the worker is killed.
    """

    kills: tuple[int, ...] = ()

    def sync_page(self, access_token: str, cursor: Cursor | None, days_requested: int | None) -> Page:  # noqa: ARG002 - the port's
        self.clock.sleep(2.0)
        self.pages += 1
        if self.pages in self.kills:
            raise KilledError
        end = int(cursor or 0) + 1
        return page(**self._lists(self.log[end - 1 : end]), next_cursor=str(end), has_more=end < len(self.log))


@pytest.mark.parametrize(("pages", "kills"), [(120, ()), (200, (58, 131, 199)), (200, (3, 4, 5))])
def test_a_large_item_is_complete_after_a_few_invocations_although_workers_are_killed(
    monkeypatch: pytest.MonkeyPatch, pages: int, kills: tuple[int, ...]
) -> None:
    monkeypatch.setattr(planner, "PART_ENTRIES", 10)
    scene = Scene(SlowPages(log=[(f"t{number:03}", 1) for number in range(pages)], kills=kills))
    plaid, invocations, outcome = scene.plaid, 0, Outcome.CONTINUES
    while outcome is Outcome.CONTINUES:
        assert scene.item.failure is None
        invocations += 1
        try:
            outcome = scene.sync(deadline=scene.tables.clock.deadline(300.0)).outcome
        except KilledError:
            continue
    assert outcome is Outcome.COMMITTED
    assert plaid.pages <= pages * 1.3
    assert invocations <= 2 * pages / 150 + 1 + len(kills)
    scene.assert_exact()


# ---- killed anywhere


def _killed(scene: Scene, port: str, name: str, number: int, *, after: bool) -> bool:
    """Sync with a worker that is killed at a call; return whether it was."""
    known = getattr(scene.tables, port)
    setattr(scene.tables, port, _dying(known, name, after=after, survives=number))
    try:
        scene.sync_in_parts(PendingCheck("ERROR", NOON))
    except KilledError:
        return True
    finally:
        setattr(scene.tables, port, known)
    return False


def _scenes() -> Iterator[Scene]:
    """Yield Items before a pull in parts: the first one, an update, a full resync, each with a change to come."""
    log = [*history(7), ("t00", None), ("t01", 2), *history(5, amount=3, prefix="u"), ("t01", None), ("u04", 4)]
    for nets in (False, True):
        yield Scene(Plaid(log=list(log), nets=nets))
        scene = synced(*log[:5], nets=nets)
        scene.plaid.log = list(log)
        yield scene
        scene = synced(*log[:5], ("gone", 1), nets=nets)
        scene.plaid.log = list(log)
        scene.tables.items.set(ITEM, reconcile=True)
        yield scene


@pytest.mark.parametrize(
    "change", [(), (("u00", None), ("t02", 9), ("x", 1), ("y", 1), ("y", None))], ids=["", "changes"]
)
@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("port", "name"), WRITES)
def test_a_worker_may_be_killed_at_any_call_and_the_rows_are_exact_in_the_end(
    port: str, name: str, *, after: bool, strict: bool, change: tuple[Change, ...]
) -> None:
    deaths = 0
    for index in range(6):
        number, killed = 0, True
        while killed:
            scene = list(_scenes())[index]
            scene.plaid.strict = strict
            killed = _killed(scene, port, name, number, after=after)
            deaths += killed
            scene.plaid.log += change
            scene.sync_in_parts()
            scene.assert_exact()
            number += 1
    rare = {("items", name) for name in ("record_accounts", "complete_checks", "restart_pull")}
    assert deaths or (port, name) in rare | {("transactions", "rows")}


@pytest.mark.parametrize("reconcile", [False, True])
def test_a_change_that_only_a_dead_attempt_got_restarts_a_pull_that_mentioned_its_row_before(
    *, reconcile: bool
) -> None:
    scene = synced(*history(8)) if reconcile else Scene(Plaid(log=history(8)))
    scene.tables.items.set(ITEM, reconcile=reconcile)
    scene.plaid.strict = False
    scene.plaid.log += [("t00", 2), *history(3, prefix="u")]
    scene.sync_in_parts(most=1)
    assert _killed(scene, "transactions", "write", 0, after=True)
    assert scene.stored["t00"] == 2
    del scene.plaid.log[8]  # undone at Plaid, which does not mention it any more
    reports = scene.sync_in_parts()
    assert sum(report.restarts for report in reports) == 1
    scene.assert_exact()


AMOUNTS = st.none() | st.integers(1, 3)
CHANGES = st.lists(st.tuples(st.sampled_from([key for key, _ in history(6)]), AMOUNTS), max_size=8)
STEPS = st.lists(
    st.tuples(
        CHANGES,
        st.sampled_from(["sync", "part", "parts", "killed"]),
        st.sampled_from(["write", "claim"]),
        st.integers(0, 6),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


@given(log=CHANGES, steps=STEPS, nets=st.booleans(), strict=st.booleans(), reconcile=st.booleans())
def test_any_sequence_of_changes_parts_and_deaths_ends_exactly(
    log: list[Change], steps: list[Any], *, nets: bool, strict: bool, reconcile: bool
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        small()(monkeypatch)
        scene = synced(*log, nets=nets, strict=strict)
        scene.tables.items.set(ITEM, reconcile=reconcile)
        for changes, step, name, number, after in steps:
            scene.plaid.log += changes
            if step == "killed":
                port = "transactions" if name == "write" else "items"
                _killed(scene, port, name, number, after=after)
            else:
                scene.sync_in_parts(most=1 if step == "part" else 99)
        scene.sync_in_parts()
        scene.assert_exact()


# ---- pulls that never end, and erasures that take long


def test_a_pull_whose_checkpoints_never_work_is_a_failure_that_shows_and_ends_when_they_do() -> None:
    scene = Scene(Plaid(log=history(30)))
    codes: dict[str, list[str]] = {str(cursor): ["INVALID_FIELD"] * 99 for cursor in range(2, 30, 2)}
    outcomes: list[Outcome] = []
    for _ in range(8):
        scene.plaid.dead = {}
        deadline = scene.one_part()
        checkpoint = scene.item.checkpoint
        scene.plaid.dead = {} if checkpoint is None else {str(checkpoint.cursor): codes[str(checkpoint.cursor)]}
        outcomes.append(scene.sync(deadline=deadline).outcome)
        scene.tables.clock.sleep(60)
    assert outcomes[0] is Outcome.CONTINUES
    assert outcomes[-1] is Outcome.FAILED
    assert scene.item.failure is not None
    assert scene.item.failure.since < scene.tables.clock.now() - timedelta(minutes=3)
    scene.plaid.dead = {}
    while scene.sync(deadline=scene.one_part()).outcome is not Outcome.COMMITTED:
        assert scene.plaid.pages < 500
    scene.assert_exact()
    assert scene.item.pull_restarts == 0


BROKEN: Final[dict[str, PlaidError | TransientError]] = {
    "mutation": PlaidError(MUTATION_CODE),
    "refused": PlaidError("INVALID_FIELD"),
    "unknown": PlaidError("A_CODE_OF_NEXT_YEAR"),
    "invalid page": TransientError(f"{SCHEMA_VIOLATION}_added"),
}


def broken(name: str, synced_before: int, *, heals: bool = False) -> Scene:
    """Return an Item whose pull fails in its third part, whenever that is."""
    scene = synced(*history(synced_before)) if synced_before else Scene()
    scene.plaid.log += history(16, prefix="u")
    scene.plaid.broken, scene.plaid.broken_from, scene.plaid.heals = BROKEN[name], synced_before + 9, heals
    return scene


def attempt_for(scene: Scene, hours: int) -> None:
    """Attempt the Item whenever it is due."""
    until = scene.tables.clock.now() + timedelta(hours=hours)
    while scene.tables.clock.now() < until:
        report = scene.sync()
        assert report.next_attempt_at is not None
        scene.tables.clock.sleep(max((report.next_attempt_at - scene.tables.clock.now()).total_seconds(), 1.0))


@pytest.mark.parametrize("name", BROKEN)
def test_a_later_part_that_fails_only_from_the_stored_cursor_leads_to_one_pull_from_the_beginning(name: str) -> None:
    scene = broken(name, 3, heals=True)
    reports = [scene.sync(), scene.sync()]
    assert sum(report.cursor_reset for report in reports) == 1
    assert scene.plaid.pages < 60
    scene.assert_exact()


@pytest.mark.parametrize("synced_before", [0, 3])
@pytest.mark.parametrize("name", BROKEN)
def test_a_later_part_that_always_fails_costs_few_pages_and_shows_its_own_code(name: str, synced_before: int) -> None:
    scene = broken(name, synced_before)
    attempt_for(scene, hours=12)
    pages = scene.plaid.pages
    attempt_for(scene, hours=12)
    repeated_pulls = 12 * (1 + (60 if name == "mutation" else 0))  # each hour one; after a mutation, each attempt
    assert scene.plaid.pages - pages < 12 * 60 * 2 + repeated_pulls * 10
    failure = scene.item.failure
    assert failure is not None
    assert failure.code == (MUTATION_PERSISTS if name == "mutation" else BROKEN[name].code)
    assert failure.last_at - failure.since > timedelta(hours=23)
    scene.plaid.broken = None
    scene.sync()
    scene.assert_exact()


def test_a_pull_that_started_again_often_goes_on_without_a_wait_and_shows_until_it_ends() -> None:
    scene = Scene(Plaid(log=history(12)))
    for number in range(planner.MAX_PULL_RESTARTS + 2):
        assert scene.sync(deadline=scene.one_part()).outcome is Outcome.CONTINUES
        assert scene.item.failure is None
        scene.plaid.log.append((f"u{number}", 1))  # the next page says that the data changed
        scene.sync(deadline=scene.one_part())
    report = scene.sync(deadline=scene.one_part())
    assert report.outcome is Outcome.CONTINUES
    assert report.next_attempt_at == scene.tables.clock.now()
    assert scene.item.failure is not None
    assert scene.item.failure.code == MUTATION_PERSISTS
    scene.sync_in_parts()
    scene.assert_exact()


def test_an_erasure_that_runs_out_of_time_continues_where_it_was() -> None:
    scene = synced(*history(12))
    withdrawn = PendingCheck("USER_ACCOUNT_REVOKED", NOON, account_id="account")
    scene.plaid.listed = ()
    writes: list[int] = []
    for _ in range(6):
        rows: Any = Failing(scene.tables.transactions, "write", KilledError(), after=True, times=1)
        scene.tables.transactions = rows
        try:
            scene.sync(withdrawn)
        except KilledError:
            scene.tables.transactions = rows.port
            writes.append(len(scene.tables.transactions.erased))
    assert writes[:4] == [3, 6, 9, 12]
    assert scene.stored == {}


def test_what_an_attempt_did_before_it_failed_is_reported_with_the_failure() -> None:
    scene = synced(*history(3))
    scene.plaid.dead = {"3": ["INVALID_FIELD"]}
    quarantine: Any = Failing(scene.tables.quarantine, "keep", ValueError("a bug"))
    scene.tables.quarantine = quarantine
    scene.plaid.log += history(2, prefix="u")
    scene.plaid.invalid = {"u00"}
    report = scene.sync()
    assert (report.outcome, report.code, report.cursor_reset) == (Outcome.FAILED, "ValueError", True)
