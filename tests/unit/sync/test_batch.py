"""Messages: deleted once the outcome is durable, returned where nothing was recorded, dead-lettered if they kill."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from plaid_sync.domain.budget import CallClass
from plaid_sync.domain.errors import CallBudgetError, PlaidError, TransientError
from plaid_sync.domain.item import ItemFailure, ItemId, ItemState, Removal, StateName
from plaid_sync.domain.messages import Cause, SyncMessage
from plaid_sync.domain.schedule import AttemptClass
from plaid_sync.sync.batch import DEAD_LETTER_AFTER, BatchProcessor
from plaid_sync.sync.engine import MAX_UNFINISHED_ATTEMPTS
from plaid_sync.sync.job import Outcome

from tests.fakes.attempts import FakeAttempts
from tests.fakes.clock import NOON, FakeClock
from tests.fakes.failing import Failing
from tests.fakes.items import new_item
from tests.fakes.plaid import FakePlaid, page
from tests.fakes.queue import FakeReceivedMessages, no_timer
from tests.fakes.tables import Tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plaid_sync.domain.item import Cursor, Item
    from plaid_sync.pull.pages import Page
    from plaid_sync.sync.batch import BatchResult
    from plaid_sync.sync.ports import ItemStateUpdate

    from tests.fakes.items import FakeItems

ITEM, OTHER = ItemId("item"), ItemId("other")
SECONDS = 300.0
"""How long the sync function lives (template.yaml)."""


NO_CALL = CallBudgetError("/transactions/sync", 4.0, waits=False)
HINT: dict[str, str] = {"webhook_type": "ITEM", "webhook_code": "ERROR"}


def record(  # noqa: PLR0913, PLR0917 - what a message consists of
    number: int,
    received: int = 1,
    item_id: ItemId = ITEM,
    cause: Cause = Cause.WEBHOOK,
    webhook: dict[str, str] | None = None,
    call_class: CallClass = CallClass.WEBHOOK,
) -> dict[str, Any]:
    sent_at = str(int(NOON.timestamp() * 1000))
    attributes = {"SentTimestamp": sent_at, "ApproximateReceiveCount": str(received), "MessageGroupId": item_id}
    body = SyncMessage(item_id, cause, {"number": number, **(webhook or {})}, call_class).to_json()
    return {"messageId": f"m{number}", "receiptHandle": f"r{number}", "body": body, "attributes": attributes}


@dataclass(slots=True)
class Plaid(FakePlaid):
    """Plaid for several Items.

    Attributes:
        errors: what /transactions/sync raises, by Item.
    """

    errors: dict[ItemId, Exception] = field(default_factory=dict)

    def sync_page(self, access_token: str, cursor: Cursor | None, days_requested: int | None) -> Page:  # noqa: ARG002 - the port's
        item_id = ItemId(access_token.removeprefix("access-"))
        if item_id in self.errors:
            raise self.errors[item_id]
        return page()


@dataclass(slots=True)
class Batch:
    """Two Items and their messages."""

    tables: Tables = field(default_factory=lambda: Tables.of(new_item(ITEM), new_item(OTHER)))
    messages: FakeReceivedMessages = field(default_factory=FakeReceivedMessages)
    attempts: Any = field(default_factory=FakeAttempts)
    plaid: Plaid = field(default_factory=Plaid)

    def process(self, *records: dict[str, Any]) -> BatchResult:
        processor = BatchProcessor(self.tables.engine(self.plaid), self.messages, self.attempts, no_timer)
        return processor.process(list(records), self.tables.clock.deadline(SECONDS))

    def lose(self, port: str, name: str) -> None:
        """Let a call fail for as long as the test takes."""
        ports = self if port == "attempts" else self.tables
        replaced: Any = Failing(getattr(ports, port), name, TransientError("unreachable"), times=99)
        setattr(ports, port, replaced)


def _committed(_: Batch) -> None:
    """Nothing is prepared."""


def _refused(code: str) -> Callable[[Batch], None]:
    return lambda batch: batch.plaid.errors.update({ITEM: PlaidError(code)})


def _superseded(batch: Batch) -> None:
    plaid: Any = Failing(batch.plaid, "sync_page", None, meanwhile=lambda: batch.tables.items.set(ITEM, generation=2))
    batch.plaid = plaid


def _item(**fields: Any) -> Callable[[Batch], None]:
    return lambda batch: batch.tables.items.set(ITEM, **fields)


OUTCOMES: dict[Outcome, Callable[[Batch], None]] = {
    Outcome.COMMITTED: _committed,
    Outcome.COVERED: _item(pull_began_at=NOON + timedelta(hours=1)),
    Outcome.NOT_READY: lambda batch: setattr(batch, "plaid", NotReady()),
    Outcome.SUPERSEDED: _superseded,
    Outcome.DEFERRED: lambda batch: batch.plaid.errors.update({ITEM: NO_CALL}),
    Outcome.FAILED: _refused("INSTITUTION_DOWN"),
    Outcome.NEEDS_USER: _refused("ITEM_LOGIN_REQUIRED"),
    Outcome.REVOKED: _refused("ITEM_NOT_FOUND"),
    Outcome.REMOVED: _item(state=ItemState(StateName.REMOVED), removal=Removal(NOON, erase=False)),
    Outcome.UNREGISTERED: lambda batch: batch.tables.items.stored.__delitem__(ITEM),
    Outcome.UNKNOWN_STATE: _item(state=ItemState("frozen")),
    Outcome.CONTINUES: lambda batch: setattr(batch, "plaid", Slow(batch.tables.clock)),
}


@dataclass(slots=True)
class NotReady(Plaid):
    """Plaid that has no history yet."""

    def sync_page(self, access_token: str, cursor: Cursor | None, days_requested: int | None) -> Page:  # noqa: ARG002 - the port's
        return page(next_cursor="", transactions_update_status="NOT_READY")


@dataclass(slots=True)
class WithoutTransactions:
    """An Items table that refuses transactions: an outcome with a history entry."""

    items: FakeItems

    def __getattr__(self, name: str) -> Any:
        return getattr(self.items, name)

    def record(self, item: Item, update: ItemStateUpdate) -> None:
        if update.entry is not None:
            raise TransientError("unreachable")
        self.items.record(item, update)


@dataclass(slots=True)
class Slow(Plaid):
    """Plaid with a history of very slow pages."""

    def __init__(self, clock: FakeClock) -> None:
        Plaid.__init__(self, clock)

    def sync_page(self, access_token: str, cursor: Cursor | None, days_requested: int | None) -> Page:  # noqa: ARG002 - the port's
        self.clock.sleep(80)
        return page(next_cursor=str(int(cursor or 0) + 1), has_more=True)


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_is_durable_and_its_messages_are_deleted(outcome: Outcome) -> None:
    batch = Batch()
    OUTCOMES[outcome](batch)
    result = batch.process(record(0), record(1, received=50), record(2, item_id=OTHER))
    assert {item_id: report.outcome for item_id, report in result.reports.items()}[ITEM] is outcome
    assert (result.failed_message_ids, result.returned, batch.messages.dead_lettered) == (
        ([], [], []) if outcome is not Outcome.CONTINUES else (["m2"], [], [])
    )
    assert result.jobs[ITEM].causes == ("webhook",)


@pytest.mark.parametrize(("name", "hint"), [("find", {}), ("load", HINT), ("claim", HINT), ("record", {})])
def test_messages_return_where_nothing_could_be_recorded_and_no_outage_dead_letters_one(
    name: str, hint: dict[str, str]
) -> None:
    batch = Batch()
    batch.plaid.errors[ITEM] = PlaidError("INSTITUTION_DOWN")
    batch.lose("items", name)
    result = batch.process(record(0, received=500, webhook=hint), record(1))
    assert sorted(result.failed_message_ids) == ["m0", "m1"]
    assert [(returned.item_id, returned.code) for returned in result.returned] == [(ITEM, "unreachable")]
    assert batch.messages.dead_lettered == []


def test_a_bug_in_an_attempt_shows_on_its_item_and_fails_no_other() -> None:
    batch = Batch()
    bug = batch.plaid.errors[ITEM] = ValueError("a bug")
    result = batch.process(record(0), record(1, item_id=OTHER))
    assert result.failed_message_ids == []
    assert (result.reports[ITEM].outcome, result.reports[ITEM].bug) == (Outcome.FAILED, bug)
    assert result.reports[OTHER].outcome is Outcome.COMMITTED
    failure = batch.tables.items.stored[ITEM].failure
    assert failure is not None
    assert (failure.code, failure.failure_class) == ("ValueError", "client_error")


def test_a_bug_before_the_claim_returns_the_messages_and_dead_letters_those_that_are_worn() -> None:
    batch = Batch()
    items: Any = Failing(batch.tables.items, "find", ValueError("a bug"))
    batch.tables.items = items
    result = batch.process(record(0, DEAD_LETTER_AFTER), record(1, DEAD_LETTER_AFTER - 1), record(2, 1, OTHER))
    assert (result.failed_message_ids, result.dead_lettered) == (["m1"], {"m0": "ValueError"})
    assert result.reports[OTHER].outcome is Outcome.COMMITTED


def test_a_message_whose_item_kills_its_workers_is_dead_lettered_and_the_item_is_retried() -> None:
    batch = Batch()
    results = []
    for _ in range(2):  # the first time, an outage of AWS may have kept the outcomes from being recorded
        batch.tables.items.set(ITEM, unfinished_attempts=MAX_UNFINISHED_ATTEMPTS)
        results.append(batch.process(record(0, DEAD_LETTER_AFTER), record(1)))
    assert [result.failed_message_ids for result in results] == [[], []]
    assert [result.dead_lettered for result in results] == [{}, {"m0": "worker_died"}]
    (letter,) = batch.messages.dead_lettered
    assert (letter.body, letter.group_id) == (record(0)["body"], ITEM)
    assert batch.process(record(2)).reports[ITEM].outcome is Outcome.COMMITTED


def test_an_outage_in_which_claims_succeed_and_transactions_are_refused_dead_letters_no_message() -> None:
    batch = Batch()
    batch.tables.items.set(ITEM, failure=ItemFailure("ValueError", "client_error", NOON, NOON))
    batch.lose("transactions", "write")
    items: Any = WithoutTransactions(batch.tables.items)
    batch.tables.items = items
    results = [batch.process(record(0, DEAD_LETTER_AFTER)) for _ in range(3 * MAX_UNFINISHED_ATTEMPTS)]
    assert [result.dead_lettered for result in results] == [{}] * len(results)
    assert {*map(tuple, (result.failed_message_ids for result in results))} == {("m0",)}


def test_a_message_that_the_dead_letter_queue_does_not_accept_stays() -> None:
    batch = Batch(messages=FakeReceivedMessages(failing=True))
    result = batch.process(record(0) | {"body": "foreign"})
    assert (result.failed_message_ids, result.dead_lettered) == (["m0"], {})


def test_one_sync_serves_all_messages_of_its_item() -> None:
    result = Batch().process(record(0), record(1), record(2, received=2))
    assert (result.failed_message_ids, result.coalesced) == ([], 2)
    assert (len(result.reports), len(result.waits)) == (1, 2)


# ---- visibility: time that beats


@dataclass(slots=True)
class BeatingClock(FakeClock):
    """A clock in whose every second the timer of a batch fires; implements `Timer`.

    Attributes:
        beat: what fires.
    """

    beat: Callable[[], None] = lambda: None

    def sleep(self, seconds: float) -> None:
        end = self.time + timedelta(seconds=seconds)
        while self.time < end:
            self.time = min(end, self.time + timedelta(seconds=1))
            self.beat()

    @contextmanager
    def timer(self, beat: Callable[[], None]) -> Iterator[None]:
        self.beat = beat
        yield
        self.beat = lambda: None


@dataclass(slots=True)
class Visible(FakeReceivedMessages):
    """Received messages that know until when they are hidden.

    Attributes:
        until: by receipt handle.
    """

    clock: FakeClock = field(default_factory=FakeClock)
    until: dict[str, Any] = field(default_factory=dict)

    def change_visibility(self, receipt_handles: Any, seconds: int) -> list[str]:
        failed = FakeReceivedMessages.change_visibility(self, receipt_handles, seconds)
        end = self.clock.now() + timedelta(seconds=seconds)
        self.until |= {handle: end for handle in receipt_handles if handle not in failed}
        return failed


@dataclass(slots=True)
class SlowItem(Plaid):
    """Plaid that takes minutes for one Item.

    Attributes:
        seconds: for that Item.
        meanwhile: runs after half of them.
    """

    seconds: float = 185.0
    meanwhile: Callable[[], None] = lambda: None

    def sync_page(self, access_token: str, cursor: Cursor | None, days_requested: int | None) -> Page:  # noqa: ARG002 - the port's
        slow = access_token == f"access-{ITEM}"
        self.clock.sleep(self.seconds / 2 if slow else 0.5)
        if slow:
            self.meanwhile()
            self.clock.sleep(self.seconds / 2)
        return page()


NAMES = [ItemId(f"fine{number}") for number in range(9)]


def process_slowly(messages: Visible, first: int, **plaid: Any) -> tuple[BatchResult, BeatingClock]:
    """Process ten Items, one of them slow, after so many others."""
    clock = BeatingClock()
    messages.clock = clock
    names = [*NAMES[:first], ITEM, *NAMES[first:]]
    tables = Tables.of(*map(new_item, names))
    tables.clock = clock
    processor = BatchProcessor(tables.engine(SlowItem(clock, **plaid)), messages, FakeAttempts(), clock.timer)
    records = [record(number, item_id=name) for number, name in enumerate(names)]
    return processor.process(records, clock.deadline(SECONDS)), clock


def test_a_slow_item_delays_no_other_item_of_its_batch() -> None:
    seen: dict[str, Any] = {}
    messages = Visible()

    def note() -> None:
        seen.update(deleted=list(messages.deleted), until=dict(messages.until), now=messages.clock.now())

    result, clock = process_slowly(messages, first=2, meanwhile=note)
    finished, slow, waiting = {"r0", "r1"}, "r2", {f"r{number}" for number in range(3, 10)}
    assert set(seen["deleted"]) == finished
    # Those that wait are visible after seconds; the slow one stays hidden, for a minute at most once its worker dies.
    assert all(seen["until"][handle] <= NOON + timedelta(seconds=7) for handle in waiting)
    assert timedelta(seconds=35) < seen["until"][slow] - seen["now"] <= timedelta(seconds=60)
    assert sorted(result.failed_message_ids) == sorted(handle.replace("r", "m") for handle in waiting)
    assert (result.returned, result.visibility_failures) == ([], 0)
    assert clock.now() - NOON < timedelta(seconds=190)


def test_a_visibility_that_could_not_be_changed_is_changed_with_the_next_beat() -> None:
    messages = Visible()
    messages.refused["r3"] = 3  # the first hiding, and two returns
    extended: list[Any] = []

    def refuse_extensions() -> None:
        extended.append(messages.until["r2"] - messages.clock.now())
        messages.refused["r2"] = 7

    result, _ = process_slowly(messages, first=2, meanwhile=refuse_extensions)
    assert messages.until["r3"] <= NOON + timedelta(seconds=9)
    assert messages.hidden["r3"] == 0
    assert messages.refused["r2"] == 0  # all seven within 20 seconds
    assert min(extended) > timedelta(seconds=20)
    assert result.visibility_failures == 10


def test_a_queue_that_changes_no_visibility_fails_no_sync() -> None:
    messages = Visible(failing=True)
    result, _ = process_slowly(messages, first=0)
    assert result.reports[ITEM].outcome is Outcome.COMMITTED
    assert len(result.failed_message_ids) == 9
    assert result.visibility_failures > 0


# ---- requests that refused webhooks left


def test_a_message_that_a_request_led_to_answers_it() -> None:
    batch = Batch()
    for item_id in (ITEM, OTHER):
        batch.attempts.request_attempt(item_id, NOON)
    batch.process(record(0, cause=Cause.REFUSED_WEBHOOK), record(1, item_id=OTHER, cause=Cause.SWEEP))
    assert batch.attempts.requests.keys() == {OTHER}


def test_a_request_that_cannot_be_answered_fails_no_sync() -> None:
    batch = Batch()
    batch.attempts.request_attempt(ITEM, NOON)
    batch.lose("attempts", "answer")
    result = batch.process(record(0, cause=Cause.REFUSED_WEBHOOK))
    assert (result.reports[ITEM].outcome, result.failed_message_ids) == (Outcome.COMMITTED, [])


# ---- the call budget


@dataclass(slots=True)
class Budget:
    """Implements `ClassifiedCalls`."""

    call_class: CallClass = CallClass.AUDIT


@dataclass(slots=True)
class Classified(Plaid):
    """Plaid, which remembers what each call is for."""

    budget: Budget = field(default_factory=Budget)
    classes: list[CallClass] = field(default_factory=list)

    def sync_page(self, access_token: str, cursor: Cursor | None, days_requested: int | None) -> Page:
        self.classes.append(self.budget.call_class)
        return Plaid.sync_page(self, access_token, cursor, days_requested)


def test_an_attempt_has_the_highest_priority_of_its_messages() -> None:
    batch, plaid = Batch(), Classified()
    processor = BatchProcessor(batch.tables.engine(plaid), batch.messages, batch.attempts, no_timer, plaid.budget)
    routine, retry = CallClass.ROUTINE, CallClass.RETRY
    processor.process(
        [
            record(0, cause=Cause.SWEEP, call_class=routine),
            record(1, cause=Cause.SWEEP, call_class=retry),
            record(2, item_id=OTHER, cause=Cause.SWEEP, call_class=routine),
            record(3, item_id=OTHER),
        ],
        batch.tables.clock.deadline(SECONDS),
    )
    assert plaid.classes == [retry, CallClass.WEBHOOK]


DOWN = ItemFailure("INSTITUTION_DOWN", "institution_down", NOON - timedelta(hours=3), NOON - timedelta(hours=1))
OUT = ItemFailure("INTERNAL_SERVER_ERROR", "transient", NOON - timedelta(hours=3), NOON - timedelta(hours=1))


@pytest.mark.parametrize(
    ("call_class", "failure", "attempt_class"),
    [
        (CallClass.WEBHOOK, None, AttemptClass.FIRST_SYNC),
        (CallClass.WEBHOOK, DOWN, AttemptClass.FIRST_SYNC),
        (CallClass.RETRY, DOWN, AttemptClass.BANK_DOWN),
        (CallClass.RETRY, OUT, AttemptClass.FAILING),
        (CallClass.RETRY, None, AttemptClass.FAILING),
        (CallClass.ROUTINE, None, AttemptClass.ROUTINE),
    ],
)
def test_an_attempt_that_the_call_budget_defers_is_repeated_in_a_minute_and_fails_nothing(
    call_class: CallClass, failure: ItemFailure | None, attempt_class: AttemptClass
) -> None:
    batch = Batch()
    batch.tables.items.set(ITEM, failure=failure)
    batch.plaid.errors[ITEM] = NO_CALL
    result = batch.process(record(0, webhook=HINT, call_class=call_class))
    assert result.reports[ITEM].outcome is Outcome.DEFERRED
    item = batch.tables.items.load(ITEM)
    assert item is not None
    assert item.next_attempt_at is not None
    assert timedelta(seconds=50) < item.next_attempt_at - NOON < timedelta(minutes=2)
    (due,) = batch.tables.items.due(attempt_class, NOON + timedelta(minutes=2))
    assert due.item_id == ITEM
    assert (item.failure, item.unfinished_attempts) == (failure, 0)
    assert [check.code for check in item.pending_checks] == ["ERROR"]
    assert batch.tables.entries == []
    assert batch.tables.tokens.forgotten == []

    batch.plaid.errors.clear()
    batch.process(record(1, cause=Cause.SWEEP))
    item = batch.tables.items.load(ITEM)
    assert item is not None
    assert (item.failure, item.pending_checks) == (None, ())


def test_a_deferred_attempt_that_a_request_led_to_is_in_the_history_because_the_sweep_does_not_know_the_cause() -> None:
    batch = Batch()
    batch.plaid.errors[ITEM] = NO_CALL
    batch.process(record(0, cause=Cause.REQUEST))
    (entry,) = batch.tables.entries
    (cause,) = entry.details["causes"]
    assert (entry.outcome, cause.partition(" ")[0]) == ("deferred", Cause.REQUEST)


def test_a_deferred_comparison_of_accounts_is_no_failure_of_the_item() -> None:
    batch = Batch()
    plaid: Any = Failing(batch.plaid, "accounts", NO_CALL)
    batch.plaid = plaid
    result = batch.process(record(0, webhook={"webhook_type": "ITEM", "webhook_code": "NEW_ACCOUNTS_AVAILABLE"}))
    assert result.reports[ITEM].outcome is Outcome.DEFERRED
    item = batch.tables.items.load(ITEM)
    assert item is not None
    assert (item.failure, len(item.pending_checks)) == (None, 1)
