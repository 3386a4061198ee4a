"""The feed: an event for each real change of an Item, its accounts and its transactions, once it is committed.

The stream of the Items table says what an Item was and is. Its state and its accounts are compared; when a commit moved
`changes_at`, the changes since the commit before it are read from the change log, and put together: of what an attempt
wrote that never committed, only what the commit confirmed is left. docs/events/README.md describes the events.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final, Protocol

from plaid_sync.domain import exact_json
from plaid_sync.domain.accounts import Account, AccountState
from plaid_sync.domain.changes import Change, ChangeKind, then
from plaid_sync.domain.clock import format_optional_timestamp, format_timestamp
from plaid_sync.domain.errors import TransientError
from plaid_sync.domain.transaction import TransactionId
from plaid_sync.events import BusEvent, Publication, WriteEvents

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from plaid_sync.domain.clock import Deadline
    from plaid_sync.domain.item import Item, ItemId
    from plaid_sync.events import EventPublisher

MAX_EVENT_BYTES: Final = 200_000
"""Of an event's detail: EventBridge takes 256 KB in a call. The content of a larger one is omitted."""
SOURCE: Final = "plaid-sync-engine"
VERSION: Final = "v1"
TRANSACTION_ADDED: Final = "TransactionAdded"
TRANSACTION_MODIFIED: Final = "TransactionModified"
TRANSACTION_REMOVED: Final = "TransactionRemoved"
TRANSACTION_POSTED: Final = "TransactionPosted"
ACCOUNT_CHANGED: Final = "AccountChanged"
ITEM_STATE_CHANGED: Final = "ItemStateChanged"
SYNC_COMPLETED: Final = "SyncCompleted"
COUNTED: Final = {
    TRANSACTION_ADDED: "added",
    TRANSACTION_MODIFIED: "modified",
    TRANSACTION_REMOVED: "removed",
    TRANSACTION_POSTED: "posted",
    ACCOUNT_CHANGED: "accounts",
}
"""What `SyncCompleted` counts."""
PART_EVENTS: Final = 500
"""Events that are published together: a commit of more is published in parts."""
PART_SECONDS: Final = 30.0
"""What a part takes at most where the bus is slow: fifty calls."""
_LAST: Final = 9_999_999
"""The number of a commit's last event, `SyncCompleted`: so the next one can name it."""


@dataclass(frozen=True, slots=True)
class ChangeRecord:
    """What one transaction of the sync changed.

    Attributes:
        record_id: sorts the records of an Item by generation.
        expires: whether it is deleted after a while.
    """

    record_id: str
    changes: tuple[Change, ...]
    expires: bool = True


class ChangeLog(Protocol):
    """The change log of Items. All raise `TransientError`."""

    def records(self, item_id: ItemId, after: int, until: int, deadline: Deadline) -> Iterator[ChangeRecord]:
        """Iterate over the records of generations above `after` up to `until`, consistently and in order."""
        ...

    def expire(self, item_id: ItemId, record_id: str) -> None:
        """Let a record expire after a while, unless it is erased."""
        ...

    def progress(self, item_id: ItemId, changes_at: int) -> int:
        """Return how many events of a commit are published, as far as that was saved."""
        ...

    def save_progress(self, item_id: ItemId, changes_at: int, published: int) -> None:
        """Save how many events of a commit are published."""
        ...


@dataclass(frozen=True, slots=True)
class ItemWrite:
    """A write of an Item, as the table's stream has it.

    Attributes:
        before: the Item before; None where it was not registered.
        after: the Item as written.
        written_at: when; None where that is unknown.
    """

    before: Item | None
    after: Item
    written_at: datetime | None = None

    @property
    def committed(self) -> bool:
        """Whether it commits an update that the feed publishes."""
        return self.after.changes_at > (0 if self.before is None else self.before.changes_at)

    @property
    def raised(self) -> bool:
        """Whether it raises the generation: a generation is raised once, and has one outcome."""
        return self.before is None or self.after.generation > self.before.generation


@dataclass(slots=True)
class ItemEvents:
    """The events of one write of an Item, in order; a repeat yields the same, with the same ids.

    Attributes:
        lasting: after the iteration, the records of its commit that do not expire.
    """

    write: ItemWrite
    log: ChangeLog
    deadline: Deadline
    lasting: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[BusEvent]:
        """Iterate.

        Raises:
            TransientError: the log cannot be read now, or time is running out.
        """
        write, published = self.write, 0
        counts = dict.fromkeys(COUNTED.values(), 0)
        transactions = self._transactions() if write.committed else iter(())
        for detail_type, data in chain(_state_events(write), _account_events(write), transactions):
            published += 1
            if detail_type in COUNTED:
                counts[COUNTED[detail_type]] += 1
            yield _event(write, detail_type, published, data)
        if write.committed:
            yield _event(write, SYNC_COMPLETED, _LAST, _completed(write, counts, published))

    def _records(self) -> Iterator[ChangeRecord]:
        before, after = self.write.before, self.write.after
        since = 0 if before is None else before.changes_at
        return self.log.records(after.item_id, since, after.changes_at, self.deadline)

    def _transactions(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield what happened to transactions: those of one change as they come, then those that belong together.

        The log is read twice, so that a first sync of a long history needs little memory.
        """
        together = _belonging_together(self._records())
        folded: dict[TransactionId, Change | None] = {}
        for record in self._records():
            if not record.expires:
                self.lasting.append(record.record_id)
            for change in record.changes:
                if change.transaction_id in together:
                    folded[change.transaction_id] = then(folded.get(change.transaction_id), change)
                else:
                    yield from _transaction_events(change)
        yield from _folded_events({key: change for key, change in folded.items() if change is not None})


@dataclass(frozen=True, slots=True)
class FeedPublisher:
    """Publishes the events of writes of Items, those of an Item in order."""

    log: ChangeLog
    publisher: EventPublisher

    def publish(self, writes: Sequence[ItemWrite], deadline: Deadline) -> Publication:
        """Publish the events of writes, each at least once.

        A commit of many events goes alone, in parts; where time runs out, the next try continues with the part that is
        not published.
        """
        total, waiting = Publication(), _Waiting()
        for position, write in enumerate(writes):
            try:
                unfinished = self._publish_write(position, write, waiting, total, deadline)
            except TransientError as error:
                unfinished, total.code = position, error.code
            if unfinished is not None:
                first = self._flush(waiting, total, deadline)
                total.unfinished = unfinished if first is None else min(first, unfinished)
                return total
        total.unfinished = self._flush(waiting, total, deadline)
        return total

    def _publish_write(
        self, position: int, write: ItemWrite, waiting: _Waiting, total: Publication, deadline: Deadline
    ) -> int | None:
        """Publish a write, or let it wait for others; return the position of the first that is unfinished."""
        found = ItemEvents(write, self.log, deadline)
        events = iter(found)
        part = list(islice(events, PART_EVENTS))
        if len(part) < PART_EVENTS:
            if part:
                waiting.add(position, write, part, found.lasting)
            return None
        if (first := self._flush(waiting, total, deadline)) is not None:
            return first
        return None if self._publish_parts(write, chain(part, events), found, total, deadline) else position

    def _publish_parts(
        self, write: ItemWrite, events: Iterator[BusEvent], found: ItemEvents, total: Publication, deadline: Deadline
    ) -> bool:
        """Publish a write of many events; return False where it has to be continued."""
        item_id, changes_at = write.after.item_id, write.after.changes_at
        published = self.log.progress(item_id, changes_at)
        events = islice(events, published, None)
        while part := list(islice(events, PART_EVENTS)):
            ended = deadline.allows(PART_SECONDS)
            result = self.publisher.publish([WriteEvents(item_id, part, write.written_at)], deadline) if ended else None
            if result is None or result.unfinished is not None:
                self.log.save_progress(item_id, changes_at, published)
                total.code = "time_is_running_out" if result is None else result.code
                return False
            total.add(result)
            published += len(part)
        for record_id in found.lasting:
            self.log.expire(item_id, record_id)
        return True

    def _flush(self, waiting: _Waiting, total: Publication, deadline: Deadline) -> int | None:
        """Publish what waits, in few calls; return the position of the first write that is unfinished."""
        if not waiting.writes:
            return None
        result = self.publisher.publish(waiting.writes, deadline)
        total.add(result)
        total.code = result.code or total.code
        ended = len(waiting.writes) if result.unfinished is None else result.unfinished
        try:
            for item_id, record_id in chain.from_iterable(waiting.lasting[:ended]):
                self.log.expire(item_id, record_id)
        except TransientError as error:
            total.code, ended = error.code, 0
        first = waiting.positions[ended] if ended < len(waiting.writes) else None
        waiting.clear()
        return first


@dataclass(slots=True)
class _Waiting:
    """Writes of few events, which are published together.

    Attributes:
        positions: their positions in the batch.
        lasting: the records of each that do not expire.
    """

    positions: list[int] = field(default_factory=list)
    writes: list[WriteEvents] = field(default_factory=list)
    lasting: list[list[tuple[ItemId, str]]] = field(default_factory=list)

    def add(self, position: int, write: ItemWrite, events: list[BusEvent], lasting: list[str]) -> None:
        self.positions.append(position)
        self.writes.append(WriteEvents(write.after.item_id, events, write.written_at))
        self.lasting.append([(write.after.item_id, record_id) for record_id in lasting])

    def clear(self) -> None:
        self.positions.clear()
        self.writes.clear()
        self.lasting.clear()


def _belonging_together(records: Iterable[ChangeRecord]) -> set[TransactionId]:
    """Return the transactions that several changes are about, and those that name each other as pending and posted."""
    seen: set[TransactionId] = set()
    together: set[TransactionId] = set()
    removed: set[TransactionId] = set()
    posted: dict[TransactionId, TransactionId] = {}
    for change in (change for record in records for change in record.changes):
        if change.transaction_id in seen:
            together.add(change.transaction_id)
        seen.add(change.transaction_id)
        if change.kind is ChangeKind.REMOVED:
            removed.add(change.transaction_id)
        pending_id = (change.content or {}).get("pending_transaction_id")
        if change.kind is ChangeKind.ADDED and pending_id is not None:
            posted[change.transaction_id] = pending_id
    for transaction_id, pending_id in posted.items():
        if pending_id in removed:
            together |= {transaction_id, pending_id}
    return together


def _folded_events(left: dict[TransactionId, Change]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the events of changes that belong together; a pending transaction and its posted one have one event."""
    for posted in [change for change in left.values() if change.kind is ChangeKind.ADDED]:
        pending_id = (posted.content or {}).get("pending_transaction_id")
        pending = None if pending_id is None else left.get(TransactionId(pending_id))
        if pending is not None and pending.kind is ChangeKind.REMOVED:
            del left[pending.transaction_id], left[posted.transaction_id]
            data = _transaction_data(posted, transaction=posted.content)
            yield TRANSACTION_POSTED, {"pending_transaction_id": pending_id, **data}
    for change in left.values():
        yield from _transaction_events(change)


def _transaction_events(change: Change) -> Iterator[tuple[str, dict[str, Any]]]:
    match change.kind:
        case ChangeKind.ADDED:
            yield TRANSACTION_ADDED, _transaction_data(change, transaction=change.content)
        case ChangeKind.MODIFIED:
            yield TRANSACTION_MODIFIED, _transaction_data(change, fields=change.fields)
        case ChangeKind.REMOVED:
            yield TRANSACTION_REMOVED, _transaction_data(change)
        case ChangeKind.REPLACED:
            yield TRANSACTION_REMOVED, _transaction_data(change)
            yield TRANSACTION_ADDED, _transaction_data(change, transaction=change.content)


def _transaction_data(change: Change, **content: object) -> dict[str, Any]:
    shown = {name: value for name, value in content.items() if value is not None}
    omitted = {"content": "omitted"} if content and not shown else {}
    return {"transaction_id": change.transaction_id, "account_id": change.account_id, **shown, **omitted}


# ---- the Item and its accounts


def _state_events(write: ItemWrite) -> Iterator[tuple[str, dict[str, Any]]]:
    before, after = write.before, write.after
    shown = state_of(after)
    if before is not None and state_of(before) == shown:
        return
    yield ITEM_STATE_CHANGED, shown | {"state_before": None if before is None else str(before.state.name)}


def state_of(item: Item) -> dict[str, Any]:
    """Return the state of an Item as events show it."""
    state, removal = item.state, item.removal
    return {
        "state": str(state.name),
        "code": state.code,
        "code_reason": state.code_reason,
        "until": format_optional_timestamp(state.until),
        "erases": None if removal is None else removal.erase,
    }


def _account_events(write: ItemWrite) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what happened to accounts. Those of a removed Item end with it."""
    if write.after.removed:
        return
    before, after = accounts_of(write.before), accounts_of(write.after)
    for account_id in sorted(before.keys() | after.keys()):
        known, now = before.get(account_id), after.get(account_id)
        if now is None or known == now:
            continue
        state, account = now
        change = _account_change(None if known is None else known[0], state)
        yield ACCOUNT_CHANGED, {"account_id": account_id, "change": change, "account": account}


def accounts_of(item: Item | None) -> dict[str, tuple[AccountState, dict[str, Any] | None]]:
    """Return the state and Plaid's object of each account; when Plaid served it is no part of it."""
    if item is None:
        return {}
    states = item.account_states
    found = {each.account_id: (states.of(each.account_id), account_document(each)) for each in item.accounts}
    return found | {account_id: (states.of(account_id), None) for account_id in states.without_content}


def account_document(account: Account) -> dict[str, Any]:
    """Return Plaid's object of an account, or what is known of it."""
    known = {
        "account_id": account.account_id,
        "name": account.name,
        "mask": account.mask,
        "type": account.kind,
        "subtype": account.subtype,
    }
    return account.plaid_object | {name: value for name, value in known.items() if value is not None}


def _account_change(before: AccountState | None, after: AccountState) -> str:
    if before is None and after is AccountState.LISTED:
        return "added"
    if before == after:
        return "changed"
    return "returned" if after is AccountState.LISTED else after.value


def _completed(write: ItemWrite, counts: Mapping[str, int], published: int) -> dict[str, Any]:
    previous = 0 if write.before is None else write.before.changes_at
    return {
        "counts": dict(counts),
        "events": published,
        "previous_sequence": commit_sequence(previous) if previous else None,
        "lag_seconds": _lag(write),
    }


def _lag(write: ItemWrite) -> int | None:
    """Return the time from the newest webhook to the commit that followed it; None where none led to it."""
    webhook_at, synced_at = write.after.webhook_at, write.after.synced_at
    known = None if write.before is None else write.before.synced_at
    if webhook_at is None or synced_at is None or (known is not None and webhook_at <= known):
        return None
    return max(0, round((synced_at - webhook_at).total_seconds()))


# ---- the event around the data


def _event(write: ItemWrite, detail_type: str, number: int, data: Mapping[str, Any]) -> BusEvent:
    """Return an event whose detail is a CloudEvent (https://github.com/cloudevents/spec, JSON format)."""
    item = write.after
    sequence = _sequence(item.generation, number, raised=write.raised)
    user = {} if item.client_user_id is None else {"client_user_id": item.client_user_id}
    detail = {
        "specversion": "1.0",
        "id": f"{item.item_id}/{sequence}",
        "source": SOURCE,
        "type": f"{detail_type}.{VERSION}",
        "subject": item.item_id,
        "time": format_timestamp(write.written_at) if write.written_at else None,
        "datacontenttype": "application/json",
        "sequence": sequence,
        "data": {"item_id": item.item_id, **user, **_with_texts(data)},
    }
    event = BusEvent(detail_type, {name: value for name, value in detail.items() if value is not None})
    if len(exact_json.dumps(dict(event.detail)).encode()) <= MAX_EVENT_BYTES:
        return event
    kept = {name: value for name, value in event.detail["data"].items() if name not in _CONTENTS}
    return replace(event, detail={**event.detail, "data": kept | {"content": "omitted"}})


_CONTENTS: Final = frozenset({"transaction", "fields", "account"})


def _sequence(generation: int, number: int, *, raised: bool) -> str:
    """Return what orders the events of an Item, as texts are ordered."""
    return f"{generation:010d}-{0 if raised else 1}{number:07d}"


def commit_sequence(changes_at: int) -> str:
    """Return the sequence of the last event of a commit."""
    return _sequence(changes_at, _LAST, raised=False)


def _with_texts(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return data with Plaid's numbers as texts: many readers of JSON's numbers lose digits."""
    return {name: exact_texts(value) if name in _CONTENTS else value for name, value in data.items()}


def exact_texts(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a JSON value with each number as a decimal text."""
    match value:
        case bool():
            return value
        case int() | Decimal():
            return format(value, "f")
        case dict():
            return {name: exact_texts(each) for name, each in value.items()}
        case list():
            return [exact_texts(each) for each in value]
        case _:
            return value
