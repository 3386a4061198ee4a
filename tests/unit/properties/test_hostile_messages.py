"""Hostile queue messages: no batch raises, foreign messages are dead-lettered, and no Item waits for them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from hypothesis import given
from hypothesis import strategies as st
from plaid_sync.aws.sqs import SqsReceivedMessages
from plaid_sync.domain.accounts import Account
from plaid_sync.domain.errors import PlaidError, TransientError
from plaid_sync.domain.item import AccountList, ItemHealth, ItemId
from plaid_sync.domain.messages import Cause, SyncMessage
from plaid_sync.domain.transaction import StoredRow, TransactionId
from plaid_sync.plaid.responses import parse_page
from plaid_sync.sync.batch import BatchProcessor

from local.plaid.webhooks import ITEM_CODES
from tests.fakes.attempts import FakeAttempts
from tests.fakes.aws import MAX_MESSAGE_BYTES, Queue, is_deliverable
from tests.fakes.clock import NOON
from tests.fakes.functions import ENVIRONMENT, import_app, lambda_context
from tests.fakes.items import new_item
from tests.fakes.queue import no_timer
from tests.fakes.tables import Tables
from tests.unit.properties.genuine import pages_of_an_item
from tests.unit.properties.hostile_json import HOSTILE, TEXTS, is_deep, is_short_ascii, mutated, one_in, pick, read

if TYPE_CHECKING:
    from plaid_sync.domain.item import Cursor, RemovalReason
    from plaid_sync.pull.pages import Page

    from tests.unit.properties.hostile_json import Draw

Record = dict[str, Any]

HEALTHY, OTHER = "item-a", "item-b"
FAILING: Final = "item-whose-bank-is-down"
REFUSED: Final = "item-that-plaid-refuses"
ITEMS: Final = (HEALTHY, OTHER, FAILING, REFUSED)
UNREGISTERED: Final = "item-that-is-not-registered"
FOREIGN, OWN, EITHER = "foreign", "own", "either"
GROUPS: Final = ("foreign", *ITEMS, "!", "~" * 128)
TIMES: Final = (
    "2026-06-08T12:00:00Z", "2026-06-08T12:00:00.123456", "2026-06-08T12:00:00+14:00", "1970-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999-23:59", "0001-01-01T00:00:00+23:59", "2030-W10-7", "20300308T120000Z",
)  # fmt: skip
ATTRIBUTES: Final = ("correlation_id", "another")
PAGES: Final = tuple(parse_page(page) for page in pages_of_an_item())
ROWS: Final = [*PAGES[0].added, *PAGES[1].added]
ACCOUNTS: Final = sorted({row.account_id for row in ROWS})
OLDER: Final = [StoredRow(TransactionId(f"old-{account}"), account, True, 0, 0) for account in ACCOUNTS]  # noqa: FBT003
ACCOUNT_OF: Final = {
    **{row.transaction_id: row.account_id for row in ROWS},
    **{row.transaction_id: row.account_id for row in OLDER},
}


class Plaid:
    """Plaid for every Item, with the same two pages."""

    def sync_page(self, access_token: str, cursor: Cursor | None, _days_requested: int | None) -> Page:
        if access_token == f"access-{FAILING}":
            raise TransientError("made_to_fail")
        if access_token == f"access-{REFUSED}":
            raise PlaidError("INVALID_API_KEYS")
        return PAGES[0 if cursor is None else 1]

    def health(self, access_token: str) -> ItemHealth:  # noqa: ARG002 - the port's
        return ItemHealth()

    def accounts(self, access_token: str) -> AccountList:  # noqa: ARG002 - the port's
        """List the one account that has a row."""
        return AccountList((Account("account"),))

    def remove(self, access_token: str, reason: RemovalReason | None = None) -> None:
        raise NotImplementedError


def draw_message(draw: Draw) -> tuple[str, str]:
    """Draw a body and its message group."""
    item_id = pick(draw, *ITEMS, UNREGISTERED)
    kind = pick(draw, "own", "own", "item webhook", "item webhook", "near", "hostile", "foreign", "large")
    if kind == "own":
        webhook = {"webhook_type": "ITEM", "webhook_code": "ERROR", "\u00e9": [None, "\ud800"]}
        body = SyncMessage(ItemId(item_id), pick(draw, *Cause), webhook if one_in(draw, 2) else None).to_json()
        return body, pick(draw, item_id, item_id, item_id, *GROUPS)
    if kind == "item webhook":
        members = {
            "webhook_type": '"ITEM"',
            "webhook_code": json.dumps(pick(draw, *ITEM_CODES)),
            "account_id": json.dumps(pick(draw, *ACCOUNTS)),
            "consent_expiration_time": json.dumps(pick(draw, *TIMES)),
            "disconnect_time": json.dumps(pick(draw, *TIMES)),
        }
        if one_in(draw, 2):
            members[pick(draw, *members)] = draw(HOSTILE)
        webhook_text = ",".join(f'"{name}":{text}' for name, text in members.items())
        return f'{{"item_id":"{item_id}","cause":"webhook","webhook":{{{webhook_text}}}}}', item_id
    if kind == "near":
        document = {"item_id": item_id, "cause": "webhook", "webhook": {"webhook_type": "ITEM"}}
        return mutated(draw, document).decode("utf-8", "replace"), item_id
    if kind == "large":
        letter = pick(draw, "x", "\u00e9", "{", "\U0001f600", "\t")
        return letter * (pick(draw, 1, 262_144, MAX_MESSAGE_BYTES) // len(letter.encode())), pick(draw, *GROUPS)
    event = json.dumps({"Records": [{"s3": {}}], "detail-type": draw(TEXTS)})
    return (draw(HOSTILE) if kind == "hostile" else pick(draw, event, draw(TEXTS))), pick(draw, *GROUPS)


def draw_record(draw: Draw, number: int, message: tuple[str, str]) -> Record:
    """Draw a record with a message, as the event source mapping delivers it."""
    body, group = message
    attributes: Record = pick(
        draw,
        {},
        {name: {"stringValue": "2026-03-01T12:00:00.000Z", "dataType": "String"} for name in ATTRIBUTES},
        {name: {"stringValue": None} for name in ATTRIBUTES},
        dict.fromkeys(ATTRIBUTES, "text"),
        {name: {"stringValue": "half \ud800", "dataType": "String"} for name in ATTRIBUTES},
    )
    record_ = record(body if is_deliverable(body) else "x", group)
    sent_at = int(NOON.timestamp() * 1000) + pick(draw, 0, -1, -600_000, 60_000, -1_209_600_000)
    record_["messageId"] = f"00000000-0000-4000-8000-{number:012d}"
    record_["attributes"] |= {
        "SentTimestamp": str(sent_at),
        "ApproximateReceiveCount": str(pick(draw, 1, 2, 7, 8, 12, 1000)),
    }
    return record_ | {"messageAttributes": attributes}


def kind_of(body: str, group: str) -> str:
    if is_deep(body):
        return EITHER
    try:
        message = read(body)
    except ValueError:
        return FOREIGN
    own = (
        isinstance(message, dict)
        and is_short_ascii(message.get("item_id"), first="!")
        and message["item_id"] == group
        and is_short_ascii(message.get("cause"), first=" ")
        and isinstance(message.get("webhook", {}), dict | None)
        and (withdrawn_account(message) is None or is_short_ascii(withdrawn_account(message), first=" "))
    )
    return OWN if own else FOREIGN


def withdrawn_account(message: dict[str, Any]) -> object:
    """Return the account that a message withdraws; None where it withdraws none, 0 where it names none."""
    webhook = message.get("webhook") or {}
    withdraws = (webhook.get("webhook_type"), webhook.get("webhook_code")) == ("ITEM", "USER_ACCOUNT_REVOKED")
    return (webhook.get("account_id") or 0) if withdraws else None


def handle(records: list[Record], queue: Queue) -> tuple[Tables, list[str]]:
    """Hand a batch to the function; return the tables and the ids of the messages that stay in the queue."""
    app, tables = import_app("sync"), Tables.of(*map(new_item, ITEMS))
    tables.transactions.rows_of = {
        ItemId(name): {row.transaction_id: row for row in OLDER} for name in (HEALTHY, OTHER)
    }
    urls = ENVIRONMENT["SYNC_QUEUE_URL"], ENVIRONMENT["DEAD_LETTER_QUEUE_URL"]
    received = SqsReceivedMessages(queue, *urls)  # type: ignore[arg-type] # a fake
    app.processor = BatchProcessor(tables.engine(Plaid()), received, FakeAttempts(), no_timer)
    response = app.lambda_handler({"Records": records}, lambda_context())
    return tables, [failure["itemIdentifier"] for failure in response["batchItemFailures"]]


@given(st.data())
def test_no_batch_raises_and_foreign_messages_are_dead_lettered_and_block_no_item(data: st.DataObject) -> None:
    draw, queue = data.draw, Queue(failing=one_in(data.draw, 16))
    messages = [draw_message(draw) for _ in range(draw(st.integers(0, 9)))]
    own = SyncMessage(ItemId(HEALTHY), Cause.WEBHOOK).to_json(), HEALTHY
    messages.insert(draw(st.integers(0, len(messages))), own)
    records = [draw_record(draw, number, message) for number, message in enumerate(messages)]

    tables, failed = handle(records, queue)

    assert set(failed) <= {record["messageId"] for record in records}
    assert len(set(failed)) == len(failed)
    sent = {message["MessageDeduplicationId"]: message for message in queue.sent}
    # A deeply nested body may parse or not, and may thus be for its Item or not.
    uncertain = {group_of(record) for record in records if kind_of(record["body"], group_of(record)) == EITHER}
    for record in records:
        if group_of(record) not in uncertain:
            assert_result(record, sent.get(record["messageId"]), record["messageId"] in failed, queue)
    for name in {HEALTHY, OTHER} - uncertain:
        assert_synced(name, records, tables)
    for name in {FAILING, REFUSED} - uncertain:
        own_messages = [
            record for record in records if group_of(record) == name and kind_of(record["body"], name) == OWN
        ]
        assert (tables.items.stored[ItemId(name)].failure is not None) == bool(own_messages)


def group_of(record: Record) -> str:
    return str(record["attributes"]["MessageGroupId"])


def assert_result(record: Record, letter: Record | None, kept: bool, queue: Queue) -> None:  # noqa: FBT001
    """Assert the result of one message: kept in the queue, dead-lettered, or done."""
    body, group = record["body"], group_of(record)
    if kind_of(body, group) == FOREIGN:
        assert kept == queue.failing
        assert (letter is None) == queue.failing
        if letter is not None:
            reason = letter["MessageAttributes"]["reason"]["StringValue"]
            assert reason.startswith("malformed: ")
            assert body.startswith(letter["MessageBody"])
            assert (letter["MessageBody"] == body) != reason.endswith(" bytes)")
            assert letter["QueueUrl"] == ENVIRONMENT["DEAD_LETTER_QUEUE_URL"]
        return
    assert not kept
    assert letter is None


def assert_synced(name: str, records: list[Record], tables: Tables) -> None:
    """Assert that a healthy Item has all rows but those of the accounts that its messages withdraw."""
    bodies = [record["body"] for record in records if group_of(record) == name]
    own = [read(body) for body in bodies if kind_of(body, name) == OWN]
    withdrawn = {withdrawn_account(message) for message in own}
    if own:
        rows = {key for key, account_id in ACCOUNT_OF.items() if account_id not in withdrawn}
        assert tables.transactions.live(ItemId(name)) == rows


def record(body: str, group: str) -> dict[str, Any]:
    attributes = {"SentTimestamp": "1772366400123", "ApproximateReceiveCount": "1", "MessageGroupId": group}
    return {"messageId": "m", "receiptHandle": "r", "body": body, "attributes": attributes}
