"""Batches of queue messages, ours and foreign ones, as Lambda hands them to the sync function."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.adapters.queues import SqsReceivedMessages
from plaid_sync.core.exact_json import InvalidJsonError
from plaid_sync.core.failures import ContractBrokenError, PlaidError, RetryableError
from plaid_sync.core.items import Cursor, ItemId
from plaid_sync.core.lifecycle.health import ItemHealth, parse_health
from plaid_sync.core.sync.batch import BatchProcessor
from plaid_sync.core.sync.pages import Page, parse_page
from plaid_sync.core.sync.transactions import StoredRow, TransactionId, TransactionRow
from plaid_sync.core.triggers import Cause, SyncTrigger

from local.plaid.webhooks import ITEM_CODES
from tests.fuzz.choices import Choices
from tests.fuzz.documents import CERTAIN_DEPTH, depth_of, hostile, mutated, read
from tests.fuzz.edges import LARGEST_MESSAGE, Queue, deliverable
from tests.fuzz.genuine import pages_of_an_item
from tests.fuzz.signing import NOON
from tests.fuzz.tables import Tables, new_item
from tests.fuzz.tally import RUNS, require
from tests.fuzz.webhook import ENVIRONMENT, import_app, is_short_ascii, lambda_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Record = dict[str, Any]

HEALTHY: Final = ("item-a", "item-b")
FAILING: Final = "item-whose-bank-is-down"
THROTTLED: Final = "item-that-plaid-has-no-time-for"
CHECKED: Final = frozenset(ITEM_CODES) - {
    "USER_ACCOUNT_REVOKED",
    "NEW_ACCOUNTS_AVAILABLE",
    "WEBHOOK_UPDATE_ACKNOWLEDGED",
}
"""Codes of ITEM webhooks after which Plaid is asked how the Item is."""
WARNINGS: Final = frozenset({"PENDING_EXPIRATION", "PENDING_DISCONNECT"})
UNREGISTERED_RECEIVES: Final = 8
"""From so many receives on, a message for an Item that nobody has linked is given up."""
RENEWED_RECEIVES: Final = 12
"""From so many receives on, a message that Plaid's limits hold up is put into the queue anew."""
LARGEST_FOREIGN: Final = LARGEST_MESSAGE
"""Bytes. Beside a body of this size there is no room for the reason."""
FOREIGN, OURS, EITHER = "foreign", "ours", "either"
_GROUPS: Final = ("strangers", HEALTHY[0], HEALTHY[1], FAILING, "!", "~" * 128)
_ANY: Final = frozenset({"active", "expiring", "degraded", "needs_user", "revoked"})
_STATUS_OF: Final = {
    "ITEM_LOGIN_REQUIRED": "needs_user",
    "INSTITUTION_DOWN": "degraded",
    "USER_PERMISSION_REVOKED": "revoked",
}
_WEEK: Final = (NOON + timedelta(days=7)).replace(tzinfo=None).isoformat()
_TIMES: Final = (
    f"{_WEEK}Z",
    f"{NOON.replace(tzinfo=None).isoformat()}Z",
    f"{_WEEK}.123456",
    f"{_WEEK}+14:00",
    "1970-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999-23:59",
    "0001-01-01T00:00:00+23:59",
    "2030-W10-7",
    "20300308T120000Z",
)


@dataclass(frozen=True, slots=True)
class _Plaid:
    """Plaid for every Item, with the same two pages.

    Attributes:
        health_body: what /item/get answers.
    """

    first: Page
    second: Page
    health_body: bytes

    def sync_page(self, access_token: str, cursor: Cursor | None, days_requested: int | None) -> Page:  # noqa: ARG002 - the port's
        if access_token == FAILING:
            raise RetryableError("made_to_fail")
        if access_token == THROTTLED:
            raise PlaidError("TRANSACTIONS_SYNC_LIMIT")
        return self.first if cursor is None else self.second

    def health(self, access_token: str) -> ItemHealth:  # noqa: ARG002 - the port's
        try:
            return parse_health(self.health_body)
        except (InvalidJsonError, ContractBrokenError) as error:
            raise RetryableError("plaid_answer") from error

    def remove(self, access_token: str) -> None:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class _Health:
    """What /item/get answers, and what is to be made of it.

    Attributes:
        readable: it shows an Item.
        again: it says that something is wrong that may pass, so that the triggers come back.
        down: that the bank is down, for which they come back for ever.
        statuses: how an Item can stand afterwards.
    """

    body: bytes
    readable: bool
    again: bool
    down: bool
    statuses: frozenset[str]


class MessagesTarget:
    """The sync function with tables, queues and Plaid replaced; see `tally.Target`."""

    def __init__(self) -> None:
        self.tally: Counter[str] = Counter()
        self._app = import_app("sync")
        self._context = lambda_context()
        first, second = (parse_page(page) for page in pages_of_an_item())
        self._pages = first, second
        rows: list[TransactionRow] = [*first.added, *second.added]
        self._accounts = sorted({row.account_id for row in rows})
        older = [StoredRow(TransactionId(f"old-{one}"), one, True, 0, 0) for one in self._accounts]  # noqa: FBT003
        self._older = {row.transaction_id: row for row in older}
        self._account_of = {row.transaction_id: row.account_id for row in rows}
        self._account_of |= {row.transaction_id: str(row.account_id) for row in older}

    def seeds(self) -> list[bytes]:
        """See `tally.Target`."""
        well, one = [0, 0, 0], [0]
        plain = [bytes([0, *well, 9, *([kind, value] * 10)]) for kind in range(8) for value in range(0, 48, 3)]
        health = [[kind, code, 0] for kind, code in ((0, 0), (1, 0), (1, 1), (1, 2), (1, 4), (3, 0), (4, 0))]
        told = [bytes([0, *how, *one, 3, 0, code]) for how in health for code in range(len(ITEM_CODES))]
        worn = [bytes([0, *well, *one, 3, 3, 0, 0, 0, 0, 0, 0, received]) for received in range(6)]
        return [*plain, *told, *worn]

    def run(self, case: bytes) -> None:
        """See `tally.Target`."""
        choices = Choices(case)
        queue = Queue(out_of_order=choices.one_in(16))
        health = _health(choices)
        tables = Tables.of(*map(new_item, (*HEALTHY, FAILING, THROTTLED)))
        tables.rows_of = {ItemId(name): dict(self._older) for name in HEALTHY}
        engine = tables.engine(_Plaid(*self._pages, health.body))
        self._app.processor = BatchProcessor(engine, _received(queue), lambda: 1.0)
        records = [_record(choices, number, self._accounts) for number in range(1 + choices.below(10))]
        records.insert(choices.below(len(records) + 1), _healthy(choices, len(records)))
        answer = self._app.lambda_handler({"Records": records}, self._context)
        failed = [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]
        self._judge(records, failed, queue, tables, health)

    def _judge(self, records: list[Record], failed: list[str], queue: Queue, tables: Tables, health: _Health) -> None:
        ids = {record["messageId"] for record in records}
        require(holds=set(failed) <= ids and len(set(failed)) == len(failed), what="failed ids", shown=(ids, failed))
        ours = [read(record["body"]) for record in records if kind_of(record) == OURS]
        told = {name: [told_by(body) for body in ours if body["item_id"] == name] for name in (*HEALTHY, THROTTLED)}
        looked = {name for name in told if any(one in CHECKED for one, _ in told[name])}
        unread = looked if not health.readable else set()
        again = looked if health.again else set()
        # An answer that can't be read comes before Plaid's limits, and isn't waited for.
        waiting = ({THROTTLED} | (again if health.down else set())) - unread
        # What nests so deeply that it may be read or not may tell of its Item, too, or may not.
        uncertain = {record["attributes"]["MessageGroupId"] for record in records if kind_of(record) == EITHER}
        sent = {message["MessageDeduplicationId"]: message for message in queue.sent}
        for record in records:
            kept, letter = record["messageId"] in failed, sent.get(record["messageId"])
            self._judge_one(
                record,
                letter,
                unread | again,
                waiting,
                uncertain,
                kept=kept,
                may_park=not queue.out_of_order,
            )
        for name in HEALTHY:
            if told[name] and name not in unread | uncertain:
                self._judge_item(ItemId(name), told[name], tables, health)

    def _judge_item(self, item_id: ItemId, told: Iterable[tuple[str, object]], tables: Tables, health: _Health) -> None:
        withdrawn = {account_id for code, account_id in told if code == "USER_ACCOUNT_REVOKED"}
        rows = {one for one, account_id in self._account_of.items() if account_id not in withdrawn}
        require(holds=tables.live(item_id) == rows, what=f"{item_id} is not synced", shown=(told, tables))
        codes = {code for code, _ in told}
        statuses = health.statuses if codes & CHECKED else frozenset({"active"})
        if not codes & WARNINGS:
            statuses -= {"expiring"}
        status = tables.items[item_id].status.value
        require(holds=status in statuses, what=f"{item_id} is {status}", shown=(told, health))
        self.tally[f"an Item is {status}"] += 1
        self.tally["a withdrawn account"] += bool(withdrawn & set(self._accounts))

    def _judge_one(  # noqa: PLR0913 - what is known of the Items
        self,
        record: Record,
        letter: dict[str, Any] | None,
        not_well: set[str],
        waiting: set[str],
        uncertain: set[str],
        *,
        kept: bool,
        may_park: bool,
    ) -> None:
        kind = kind_of(record)
        self.tally[RUNS] += 1
        item_id = read(record["body"])["item_id"] if kind == OURS else ""
        received = int(record["attributes"]["ApproximateReceiveCount"])
        renewed = letter is not None and letter["QueueUrl"] == ENVIRONMENT["SYNC_QUEUE_URL"]
        reason = letter["MessageAttributes"]["reason"]["StringValue"] if letter and not renewed else ""
        given_up = item_id not in (*HEALTHY, FAILING, THROTTLED, "") and received >= UNREGISTERED_RECEIVES
        why = "" if may_park or kind != FOREIGN else " as the queue was made to fail"
        fate = f"kept{why}" if kept else "renewed" if renewed else f"parked: {reason}" if letter else "done"
        self.tally[f"{kind}, {fate}"] += 1
        if kind == FOREIGN or given_up:
            wanted = "malformed: " if kind == FOREIGN else "unregistered"
            require(holds=kept != may_park, what=f"{kind}, but {fate}", shown=record)
            require(holds=not may_park or reason.startswith(wanted), what=f"reason {reason!r}", shown=record)
            same = letter is None or is_body_of(letter, record["body"])
            require(holds=same, what="parked with another body", shown=(record, letter))
        elif kind == OURS and item_id not in uncertain:
            worn = item_id in waiting and received >= RENEWED_RECEIVES and may_park
            require(holds=renewed == worn == (letter is not None), what=f"ours, but {fate}", shown=record)
            same = letter is None or (letter["MessageBody"], letter["MessageGroupId"]) == (record["body"], item_id)
            require(holds=same, what="renewed with another body or group", shown=(record, letter))
            done = (item_id in HEALTHY and item_id not in not_well) or worn
            require(holds=kept != done, what=f"of {item_id}, but {fate}", shown=record)


def is_body_of(letter: Record, body: str) -> bool:
    """Tell whether the letter holds a body: whole, or as much as there is room for, and the reason says so."""
    kept, reason = letter["MessageBody"], letter["MessageAttributes"]["reason"]["StringValue"]
    if kept == body:
        return not reason.endswith(" bytes)")
    size = len(kept.encode())
    note = f" (body cut to {size} bytes)"
    attributes = {name: attribute["StringValue"] for name, attribute in letter["MessageAttributes"].items()}
    beside = sum(len((name + "String" + value).encode()) for name, value in attributes.items())
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
    return OURS if ours and not _names_no_account(message.get("webhook") or {}) else FOREIGN


def _names_no_account(webhook: dict[str, Any]) -> bool:
    withdrawn = (webhook.get("webhook_type"), webhook.get("webhook_code")) == ("ITEM", "USER_ACCOUNT_REVOKED")
    return withdrawn and not is_short_ascii(webhook.get("account_id"), first=" ")


def told_by(message: dict[str, Any]) -> tuple[str, object]:
    """Return the code of the ITEM webhook that a trigger of ours holds ("" for none), and its account's id."""
    webhook = message.get("webhook") or {}
    code = webhook.get("webhook_code")
    if webhook.get("webhook_type") != "ITEM" or not isinstance(code, str) or code not in ITEM_CODES:
        return "", None
    account_id = webhook.get("account_id")
    return code, account_id if is_short_ascii(account_id, first=" ") else None


def _health(choices: Choices) -> _Health:
    """Return an answer of /item/get: mostly a healthy Item's."""
    kind = choices.below(8)
    code = choices.pick((*_STATUS_OF, "INTERNAL_SERVER_ERROR", "A_CODE_OF_NEXT_YEAR", ""))
    well = {"item_id": "item", "error": None, "consent_expiration_time": choices.pick((None, *_TIMES))}
    item = well | ({"error": {"error_code": code, "error_type": "ITEM_ERROR"}} if kind in {1, 2} else {})
    body = json.dumps({"item": item, "status": None, "request_id": "r"}).encode()
    if kind == 3:
        body = b'{"item":' + mutated(item, choices) + b"}"
    elif kind in {4, 5}:
        body = hostile(choices).encode("utf-8", "surrogatepass")
    if depth_of(body) > CERTAIN_DEPTH:
        body = b"[]"
    shown = _code(body)
    ill = shown is not None and _STATUS_OF.get(shown) not in {"needs_user", "revoked"}
    return _Health(body, is_health(body), ill, shown == "INSTITUTION_DOWN", _statuses(body))


def is_health(body: bytes) -> bool:
    """Tell whether a body shows an Item."""
    try:
        document = read(body)
    except ValueError:
        return False
    return isinstance(document, dict) and isinstance(document.get("item"), dict)


def _code(body: bytes) -> str | None:
    """Return the code of the error that an answer shows; None where it shows none, "" where it can't be read."""
    error = read(body)["item"].get("error") if is_health(body) else None
    if error is None or error == {}:
        return None
    code = error.get("error_code") if isinstance(error, dict) else None
    return code if isinstance(code, str) else ""


def _statuses(body: bytes) -> frozenset[str]:
    code = _code(body)
    if not is_health(body):
        return _ANY
    if code is None:
        return frozenset({"active", "expiring"})
    known = _STATUS_OF.get(code)
    return _ANY if known is None else frozenset({known})


def _received(queue: Queue) -> SqsReceivedMessages:
    urls = ENVIRONMENT["SYNC_QUEUE_URL"], ENVIRONMENT["DEAD_LETTER_QUEUE_URL"]
    return SqsReceivedMessages(queue, *urls)  # type: ignore[arg-type] # an edge


def _healthy(choices: Choices, number: int) -> Record:
    return _as_record(SyncTrigger(ItemId(HEALTHY[0]), Cause.WEBHOOK).to_json(), HEALTHY[0], choices, number)


def _record(choices: Choices, number: int, accounts: list[str]) -> Record:
    def webhook(choices: Choices) -> tuple[str, str]:
        return _item_webhook(choices, accounts)

    make: Callable[[Choices], tuple[str, str]] = choices.pick((_trigger, _near_trigger, _anything, webhook))
    body, group = make(choices)
    return _as_record(body if deliverable(body) else "not ours", group, choices, number)


def _trigger(choices: Choices) -> tuple[str, str]:
    """Return a trigger of ours for an Item in any state, perhaps in the wrong message group."""
    name = choices.pick((*HEALTHY, FAILING, "nobody", "no-one", THROTTLED))
    webhook = {"webhook_type": "ITEM", "webhook_code": "ERROR", "é": [None, "\ud800"]} if choices.one_in(2) else None
    body = SyncTrigger(ItemId(name), choices.pick(list(Cause)), webhook).to_json()
    return body, choices.pick(_GROUPS) if choices.one_in(4) else name


def _item_webhook(choices: Choices, accounts: list[str]) -> tuple[str, str]:
    """Return a trigger with an ITEM webhook of any code, whose deadline and account may be anything."""
    name = choices.pick((*HEALTHY, FAILING, THROTTLED))
    code = choices.pick(ITEM_CODES)
    members = {
        "webhook_type": '"ITEM"',
        "webhook_code": json.dumps(code),
        "account_id": json.dumps(choices.pick(accounts)),
        "consent_expiration_time": json.dumps(choices.pick(_TIMES)),
        "disconnect_time": json.dumps(choices.pick(_TIMES)),
    }
    if choices.one_in(2):
        members[choices.pick(list(members))] = hostile(choices)
    webhook = ",".join(f'"{member}":{text}' for member, text in members.items())
    return f'{{"item_id":"{name}","cause":"webhook","webhook":{{{webhook}}}}}', name


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
        "messageAttributes": _attributes(number),
        "md5OfBody": "",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:sync.fifo",
        "awsRegion": "us-east-1",
    }


def _attributes(number: int) -> dict[str, Any]:
    """Return attributes as our own senders set them, or nobody's: by the record's number, which costs no choice."""
    known = {"correlation_id": "JKJaXmPLvHcESHA=", "since": "2026-03-01T12:00:00.000Z"}
    attributes: tuple[Any, ...] = (
        {},
        {name: {"stringValue": value, "dataType": "String"} for name, value in known.items()},
        {name: {"stringValue": None} for name in known},
        dict.fromkeys(known, "text"),
        {name: {"stringValue": "half \ud800", "dataType": "String"} for name in known},
    )
    return attributes[number % len(attributes)]  # type: ignore[no-any-return] # foreign JSON
