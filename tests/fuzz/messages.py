"""Batches of queue messages, ours and foreign ones, as Lambda hands them to the sync function."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.adapters.queues import SqsReceivedMessages
from plaid_sync.core.batch import BatchProcessor
from plaid_sync.core.failures import RetryableError
from plaid_sync.core.items import Cursor, Item, ItemId, ItemStatus
from plaid_sync.core.pages import Page, parse_page
from plaid_sync.core.pulling import Puller
from plaid_sync.core.syncing import SyncEngine
from plaid_sync.core.triggers import Cause, SyncTrigger

from tests.fuzz.choices import Choices
from tests.fuzz.documents import CERTAIN_DEPTH, depth_of, hostile, mutated, read
from tests.fuzz.edges import LARGEST_MESSAGE, Queue, deliverable
from tests.fuzz.genuine import pages_of_an_item
from tests.fuzz.signing import NOON
from tests.fuzz.tally import RUNS, require
from tests.fuzz.webhook import ENVIRONMENT, import_app, is_short_ascii, lambda_context

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from plaid_sync.core.plan import Commit, RowWrite
    from plaid_sync.core.quarantine import Part
    from plaid_sync.core.transactions import StoredRow, TransactionId

Record = dict[str, Any]

HEALTHY: Final = ("item-a", "item-b")
FAILING: Final = "item-whose-bank-is-down"
UNREGISTERED_RECEIVES: Final = 8
"""From so many receives on, a message for an Item that nobody has linked is given up."""
LARGEST_FOREIGN: Final = LARGEST_MESSAGE
"""Bytes. Beside a body of this size there is no room for the reason."""
FOREIGN, OURS, EITHER = "foreign", "ours", "either"
_GROUPS: Final = ("strangers", HEALTHY[0], HEALTHY[1], FAILING, "!", "~" * 128)


@dataclass(slots=True)
class _Tables:
    """The engine's ports with everything in memory: one attempt at a time, nothing goes wrong."""

    items: dict[ItemId, Item]
    rows_of: dict[ItemId, set[TransactionId]] = field(default_factory=dict)

    def load(self, item_id: ItemId) -> Item | None:
        return self.items.get(item_id)

    def claim(self, item: Item, attempt_id: str) -> Item:  # noqa: ARG002 - the port's
        self.items[item.item_id] = replace(item, generation=item.generation + 1)
        return self.items[item.item_id]

    def record_trouble(self, item_id: ItemId, generation: int, status: ItemStatus, code: str) -> None:
        raise NotImplementedError

    def record_not_ready(self, item_id: ItemId, generation: int, update_status: str) -> None:
        raise NotImplementedError

    def rows(self, item_id: ItemId, ids: Collection[TransactionId]) -> Mapping[TransactionId, StoredRow]:
        raise NotImplementedError

    def scan_item(self, item_id: ItemId, since: int = 0) -> Iterator[StoredRow]:
        raise NotImplementedError

    def write(
        self, item_id: ItemId, generation: int, writes: Collection[RowWrite], *, begin: bool, commit: Commit | None
    ) -> None:
        item = self.items[item_id]
        require(holds=generation == item.generation and not begin and commit is not None, what="written", shown=writes)
        self.rows_of.setdefault(item_id, set()).update(write.transaction_id for write in writes)
        if commit is not None:
            self.items[item_id] = replace(item, cursor=commit.cursor)

    def keep(self, item_id: ItemId, generation: int, parts: Collection[Part]) -> None:
        raise NotImplementedError

    def decrypt(self, item_id: ItemId, ciphertext: bytes) -> str:  # noqa: ARG002 - the port's
        return item_id


@dataclass(frozen=True, slots=True)
class _Plaid:
    """Plaid's /transactions/sync for every Item, with the same two pages."""

    first: Page
    second: Page

    def sync_page(self, access_token: str, cursor: Cursor | None, days_requested: int | None) -> Page:  # noqa: ARG002 - the port's
        if access_token == FAILING:
            raise RetryableError("made_to_fail")
        return self.first if cursor is None else self.second


class MessagesTarget:
    """The sync function with tables, queues and Plaid replaced; see `tally.Target`."""

    def __init__(self) -> None:
        self.tally: Counter[str] = Counter()
        self._app = import_app("sync")
        self._context = lambda_context()
        first, second = (parse_page(page) for page in pages_of_an_item())
        self._plaid = _Plaid(first, second)
        self._expected = {row.transaction_id for row in (*first.added, *second.added)}

    def seeds(self) -> list[bytes]:
        """See `tally.Target`."""
        return [bytes([0, 9, *([kind, value] * 10)]) for kind in range(8) for value in range(0, 48, 3)]

    def run(self, case: bytes) -> None:
        """See `tally.Target`."""
        choices = Choices(case)
        queue = Queue(out_of_order=choices.one_in(16))
        tables = _Tables({ItemId(name): _item(name) for name in (*HEALTHY, FAILING)})
        self._app.processor = BatchProcessor(_engine(tables, self._plaid), _received(queue), lambda: 1.0)
        records = [_record(choices, number) for number in range(1 + choices.below(10))]
        records.insert(choices.below(len(records) + 1), _healthy(choices, len(records)))
        answer = self._app.lambda_handler({"Records": records}, self._context)
        failed = [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]
        self._judge(records, failed, queue, tables)

    def _judge(self, records: list[Record], failed: list[str], queue: Queue, tables: _Tables) -> None:
        ids = {record["messageId"] for record in records}
        require(holds=set(failed) <= ids and len(set(failed)) == len(failed), what="failed ids", shown=(ids, failed))
        parked = {message["MessageDeduplicationId"]: message for message in queue.sent}
        for record in records:
            kept, letter = record["messageId"] in failed, parked.get(record["messageId"])
            self._judge_one(record, letter, kept=kept, may_park=not queue.out_of_order)
        synced = {record["body"]: record for record in records if kind_of(record) == OURS}
        for item_id in {read(body)["item_id"] for body in synced} & set(HEALTHY):
            rows = tables.rows_of.get(ItemId(item_id))
            require(holds=rows == self._expected, what=f"{item_id} is not synced", shown=records)

    def _judge_one(self, record: Record, letter: dict[str, Any] | None, *, kept: bool, may_park: bool) -> None:
        kind = kind_of(record)
        self.tally[RUNS] += 1
        item_id = read(record["body"])["item_id"] if kind == OURS else ""
        received = int(record["attributes"]["ApproximateReceiveCount"])
        reason = letter["MessageAttributes"]["reason"]["StringValue"] if letter else ""
        given_up = item_id not in (*HEALTHY, FAILING, "") and received >= UNREGISTERED_RECEIVES
        why = "" if may_park or kind != FOREIGN else " as the queue was made to fail"
        fate = f"kept{why}" if kept else f"parked: {reason}" if letter else "done"
        self.tally[f"{kind}, {fate}"] += 1
        if kind == FOREIGN or given_up:
            wanted = "malformed: " if kind == FOREIGN else "unregistered"
            require(holds=kept != may_park, what=f"{kind}, but {fate}", shown=record)
            require(holds=not may_park or reason.startswith(wanted), what=f"reason {reason!r}", shown=record)
            same = letter is None or is_body_of(letter, record["body"])
            require(holds=same, what="parked with another body", shown=(record, letter))
        elif kind == OURS:
            require(holds=letter is None, what=f"ours, but {fate}", shown=record)
            require(holds=kept == (item_id not in HEALTHY), what=f"of {item_id}, but {fate}", shown=record)


def is_body_of(letter: Record, body: str) -> bool:
    """Tell whether the letter holds a body: whole, or as much as there is room for, and the reason says so."""
    kept, reason = letter["MessageBody"], letter["MessageAttributes"]["reason"]["StringValue"]
    if kept == body:
        return not reason.endswith(" bytes)")
    size = len(kept.encode())
    note = f" (body cut to {size} bytes)"
    beside = len("reason" + "String" + reason)
    fits = len(body.encode()) + beside - len(note) <= LARGEST_MESSAGE
    # A character has four bytes at most, and is not divided.
    full = size + beside > LARGEST_MESSAGE - 4
    return body.startswith(kept) and reason.endswith(note) and full and not fits


def kind_of(record: Record) -> str:
    """Tell whether the message can be one that this application has sent."""
    body, group = record["body"], record["attributes"]["MessageGroupId"]
    if depth_of(body) > CERTAIN_DEPTH:
        return EITHER
    try:
        message = read(body)
    except ValueError:
        return FOREIGN
    ours = (
        isinstance(message, dict)
        and is_short_ascii(message.get("item_id"), first="!")
        and message["item_id"] == group
        and message.get("cause") in [cause.value for cause in Cause]
        and isinstance(message.get("webhook", {}), dict | None)
    )
    return OURS if ours else FOREIGN


def _item(name: str) -> Item:
    return Item(ItemId(name), access_token=b"", generation=0, status=ItemStatus.ACTIVE)


def _engine(tables: _Tables, plaid: _Plaid) -> SyncEngine:
    clock, pause = (lambda: NOON), (lambda _: None)
    return SyncEngine(
        items=tables,
        transactions=tables,
        quarantine=tables,
        tokens=tables,
        puller=Puller(plaid, clock, pause),
        clock=clock,
    )


def _received(queue: Queue) -> SqsReceivedMessages:
    urls = ENVIRONMENT["SYNC_QUEUE_URL"], ENVIRONMENT["DEAD_LETTER_QUEUE_URL"]
    return SqsReceivedMessages(queue, *urls)  # type: ignore[arg-type] # an edge


def _healthy(choices: Choices, number: int) -> Record:
    return _as_record(SyncTrigger(ItemId(HEALTHY[0]), Cause.WEBHOOK).to_json(), HEALTHY[0], choices, number)


def _record(choices: Choices, number: int) -> Record:
    make: Callable[[Choices], tuple[str, str]] = choices.pick((_trigger, _near_trigger, _anything))
    body, group = make(choices)
    return _as_record(body if deliverable(body) else "not ours", group, choices, number)


def _trigger(choices: Choices) -> tuple[str, str]:
    """Return a trigger of ours for an Item in any state, perhaps in the wrong message group."""
    name = choices.pick((*HEALTHY, FAILING, "nobody", "no-one"))
    webhook = {"webhook_type": "ITEM", "webhook_code": "ERROR", "é": [None, "\ud800"]} if choices.one_in(2) else None
    body = SyncTrigger(ItemId(name), choices.pick(list(Cause)), webhook).to_json()
    return body, choices.pick(_GROUPS) if choices.one_in(4) else name


def _near_trigger(choices: Choices) -> tuple[str, str]:
    name = choices.pick((*HEALTHY, "nobody"))
    document = {"item_id": name, "cause": "webhook", "webhook": {"webhook_type": "ITEM"}}
    return mutated(document, choices).decode("utf-8", "replace"), name


def _anything(choices: Choices) -> tuple[str, str]:
    kind = choices.below(8)
    group = choices.pick(_GROUPS)
    if kind < 4:
        return hostile(choices), group
    if kind == 4:
        return json.dumps({"Records": [{"s3": {}}], "detail-type": choices.text()}), group
    if kind == 5:
        letter = choices.pick(("x", "\u00e9", "{", "\U0001f600", "\t"))
        return letter * (choices.pick((1, 262_144, LARGEST_FOREIGN)) // len(letter.encode())), group
    return choices.take(choices.below(64)).decode("latin-1"), group


def _as_record(body: str, group: str, choices: Choices, number: int) -> Record:
    """Return a record as the event source mapping gives it."""
    sent = int(NOON.timestamp() * 1000) + choices.pick((0, -1, -600_000, 60_000, -1_209_600_000))
    return {
        "messageId": f"00000000-0000-4000-8000-{number:012d}",
        "receiptHandle": f"receipt-{number}",
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": str(choices.pick((1, 2, 7, 8, 20, 1000))),
            "SentTimestamp": str(sent),
            "SequenceNumber": f"{number:020}",
            "MessageGroupId": group,
            "MessageDeduplicationId": f"deduplication-{number}",
            "SenderId": "AROAEXAMPLE:sender",
            "ApproximateFirstReceiveTimestamp": str(sent + 20),
        },
        "messageAttributes": {},
        "md5OfBody": "",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:sync.fifo",
        "awsRegion": "us-east-1",
    }
