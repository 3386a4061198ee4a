"""Every reader ignores keys that it does not know, and keeps words that it does not know.

During a canary or after a rollback two versions of the engine share tables and queues, and Plaid adds fields and words
without notice. The one exception is a request of a client, whose unknown fields are rejected so that a misspelled one
is not ignored.
"""

from __future__ import annotations

import dataclasses
import io
import json
import zlib
from contextlib import redirect_stdout
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plaid_sync.aws.dynamodb import item_rows
from plaid_sync.aws.dynamodb.account_rows import accounts_attribute
from plaid_sync.aws.dynamodb.expressions import serialize
from plaid_sync.aws.dynamodb.history import entry_from_row, entry_put
from plaid_sync.aws.dynamodb.links import LinksTable
from plaid_sync.aws.dynamodb.quarantine import QuarantineTable
from plaid_sync.aws.dynamodb.shared import SharedTable
from plaid_sync.aws.dynamodb.transactions import row_attributes, stored_row_from
from plaid_sync.aws.sync_telemetry import emit_batch_telemetry
from plaid_sync.aws.telemetry import metrics
from plaid_sync.domain import exact_json
from plaid_sync.domain.accounts import Account
from plaid_sync.domain.clock import format_timestamp
from plaid_sync.domain.compression import decompress
from plaid_sync.domain.history import HistoryEntry
from plaid_sync.domain.item import (
    BankStatus,
    Checkpoint,
    Cursor,
    Expiry,
    ItemFailure,
    ItemId,
    ItemState,
    PendingCheck,
)
from plaid_sync.domain.messages import parse_message, parse_record
from plaid_sync.domain.transaction import parse_transaction
from plaid_sync.events import events_of_entry
from plaid_sync.linking.sessions import AccountClaim, LinkSession
from plaid_sync.plaid.link import parse_exchange, parse_link_results, parse_link_token
from plaid_sync.plaid.responses import parse_account_list, parse_health, parse_page
from plaid_sync.pull.pages import InvalidEntry
from plaid_sync.sync.batch import BatchResult
from plaid_sync.sync.job import Outcome, SyncJob, SyncReport
from plaid_sync.sync.quarantine import split_entry
from plaid_sync.webhook.es256 import encode_key
from plaid_sync.webhook.ports import KeyRecord
from plaid_sync.webhook.receiver import parse_webhook

from tests.fakes.clock import NOON, PLENTY, FakeClock
from tests.fakes.plaid import page_body, transaction
from tests.unit.webhook.test_signature import KEY

if TYPE_CHECKING:
    from collections.abc import Mapping

ITEM = ItemId("item")
NOON_TEXT = format_timestamp(NOON)
PREFIX = "unknown_"
"""No reader knows a key that begins so."""
WORDS = st.from_regex("[A-Za-z][A-Za-z_]{0,30}", fullmatch=True)
KEYS = st.text("abc_-é.", max_size=8).map(lambda text: PREFIX + text)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.decimals(-999, 999, places=3)
    | st.text("aé ", max_size=9),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=2),
    max_leaves=3,
)
EXTRAS = st.dictionaries(KEYS, VALUES, max_size=2)


def wire(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: serialize(value) for name, value in values.items() if value is not None}


def document(values: Mapping[str, Any]) -> bytes:
    return exact_json.dumps(dict(values), ascii_only=True).encode()


# ---- what the tables hold


CHECKPOINT = Checkpoint(Cursor("page"), Cursor("c"), from_beginning=True, began_at=NOON, written=((2, 4), (6, 6)))


@pytest.mark.parametrize("value", [None, "x", Decimal(7), {"a": "b"}, [["a"]]], ids=str)
@pytest.mark.parametrize("name", ["cursor", "from_beginning", "began_at", "written", "stored_cursor"])
def test_a_checkpoint_that_another_version_cannot_continue_is_none_and_never_an_error(name: str, value: Any) -> None:
    row = item_row("active")
    row["checkpoint"][name] = value
    if value is None:
        del row["checkpoint"][name]
    item = item_rows.item_from_row(wire(row))
    assert item.cursor == "c"
    assert name in {"cursor", "from_beginning"} or item.checkpoint is None


@pytest.mark.parametrize("committed", [{"cursor": "newer"}, {"writing_since": None}], ids=str)
def test_a_commit_of_a_version_that_knows_no_checkpoints_voids_one(committed: dict[str, Any]) -> None:
    row = {name: value for name, value in (item_row("active") | committed).items() if value is not None}
    assert item_rows.item_from_row(wire(row)).checkpoint is None


def item_row(word: str) -> dict[str, Any]:
    """Return the row of an Item whose state, code and update status are a word."""
    state = ItemState(word, word, NOON, Expiry(word, NOON + timedelta(days=1)), NOON)
    return {
        "item_id": ITEM,
        "access_token": b"ciphertext",
        "generation": 7,
        "cursor": "c",
        "writing_since": 2,
        "update_status": word,
        "linked_at": "2026-06-01T12:00:00.000Z",
        "accounts": accounts_attribute([Account("a", "Checking")]),
        "revoked_accounts": {"b"},
        "pending_checks": item_rows.check_attributes([PendingCheck(word, NOON, NOON, "b")]),
        "checkpoint": item_rows.checkpoint_attributes(CHECKPOINT),
        "failing_since": "2026-06-01T12:00:00.000Z",
        "failure_code": word,
        "failure_class": word,
        **item_rows.state_attributes(state),
        **item_rows.bank_attributes(BankStatus(NOON, error_code=word)),
        **item_rows.removal_attributes(ITEM, state, NOON, erase=True),
    }


@given(WORDS, EXTRAS, EXTRAS)
def test_an_item(word: str, extras: dict[str, Any], of_account: dict[str, Any]) -> None:
    row = item_row(word)
    unknown = {name: str(value) for name, value in of_account.items()}
    (account,) = json.loads(decompress(row["accounts"]) or b"")
    strange = row | extras | {"accounts": zlib.compress(json.dumps([account | unknown, unknown]).encode())}
    strange |= {"pending_checks": [row["pending_checks"][0] | of_account, of_account]}
    strange |= {"checkpoint": row["checkpoint"] | of_account}
    item = item_rows.item_from_row(wire(strange))
    assert item == item_rows.item_from_row(wire(row))
    assert (item.state.name, item.state.code, item.update_status) == (word, word, word)
    assert (item.cursor, item.accounts) == (Cursor("c"), (Account("a", "Checking"),))
    assert (item.failure, item.checkpoint) == (ItemFailure(word, word, NOON, NOON), CHECKPOINT)
    assert item.pending_checks == (PendingCheck(word, NOON, NOON, "b"),)
    assert item.bank is not None
    assert (item.bank.error_code, item.removal is not None) == (word, True)
    # The part of the row that an index holds parses, too.
    assert item_rows.item_from_row(wire({"item_id": ITEM, "state": word} | extras)).state.name == word


@given(WORDS, WORDS, EXTRAS)
def test_a_history_entry_and_its_events(kind: str, detail_type: str, extras: dict[str, Any]) -> None:
    entry = HistoryEntry(ITEM, NOON, "s", kind, kind, {"state": kind, "code": kind}, (detail_type,))
    row = entry_put("history", entry).request["Put"]["Item"] | wire(extras)
    parsed = entry_from_row(row)
    assert dataclasses.replace(parsed, details=entry.details) == entry
    assert parsed.details.items() >= entry.details.items()
    plain = {"item_id": ITEM, "kind": kind, "state": kind, "published_events": detail_type}
    (event,) = events_of_entry(plain | extras)
    assert (event.detail_type, event.detail) == (detail_type, {"item_id": ITEM, "kind": kind, "state": kind})


@given(EXTRAS)
def test_a_transaction_row(extras: dict[str, Any]) -> None:
    content = parse_transaction(transaction("t"))
    row = row_attributes(content, NOON) | {"transaction_id": "t", "generation": 3, "first_generation": 1}
    stored = stored_row_from(wire(row | extras))
    assert stored == stored_row_from(wire(row))
    assert (stored.row, stored.live, stored.generation) == (content, True, 3)


def test_a_transaction_row_whose_amount_boto3_refuses_to_read() -> None:
    """Written as 1E+40, and written out by DynamoDB."""
    content = dataclasses.replace(parse_transaction(transaction("t")), amount=Decimal("1E+40"))
    row = wire(row_attributes(content, NOON) | {"transaction_id": "t", "generation": 3, "first_generation": 1})
    assert stored_row_from(row | {"amount": {"N": f"1{'0' * 40}"}}).row == content


@dataclasses.dataclass(frozen=True)
class Client:
    """A DynamoDB client that holds one row."""

    row: dict[str, Any]

    def query(self, **_: Any) -> dict[str, Any]:
        return {"Items": [self.row]}

    def get_item(self, **_: Any) -> dict[str, Any]:
        return {"Item": self.row}

    def batch_get_item(self, **_: Any) -> dict[str, Any]:
        return {"Responses": {"links": [self.row]}}


@given(WORDS, EXTRAS)
def test_a_quarantined_entry(word: str, extras: dict[str, Any]) -> None:
    (part,) = split_entry(InvalidEntry.of("added", word, transaction("t")))
    row = {
        "item_id": ITEM,
        "entry_part": f"{part.entry_id}#000000",
        "raw": part.content,
        "parts": 1,
        "source": word,
        "field": word,
        "quarantined_at": "2026-06-01T12:00:00.000Z",
        "generation": 3,
    }
    table = QuarantineTable(Client(wire(row | extras)), "items", "quarantine", FakeClock())  # type: ignore[arg-type] # a fake
    (entry,) = table.entries(ITEM)
    assert (entry.entry.source, entry.entry.field, entry.generation) == (word, word, 3)
    assert entry.entry.raw == part.entry.raw


@given(EXTRAS)
def test_a_link_session_and_an_account_claim(extras: dict[str, Any]) -> None:
    session = LinkSession("session#1", "user", ITEM, 90, NOON + timedelta(days=1), "link")
    values = {"client_user_id": "user", "item_id": ITEM, "days_requested": 90, "link_id": "link"}
    row = values | {"link_key": session.key, "expires_at": int(session.expires_at.timestamp())}
    table = LinksTable(Client(wire(row | extras)), "links", FakeClock())  # type: ignore[arg-type] # a fake
    assert table.session(session.key, NOON) == session
    row = {"link_key": "login#1", "item_id": ITEM, "link_id": "link"}
    table = LinksTable(Client(wire(row | extras)), "links", FakeClock())  # type: ignore[arg-type] # a fake
    assert table.claims(["login#1"]) == {"login#1": AccountClaim("login#1", ITEM, "link")}


@given(EXTRAS)
def test_a_verification_key_of_the_shared_table(extras: dict[str, Any]) -> None:
    key, row = encode_key(KEY.public_key), {"fetched_at": NOON_TEXT}
    for values, record in (
        (row | {"public_key": key}, KeyRecord(KEY, NOON)),
        (row, KeyRecord(None, NOON)),
        (row | {"public_key": key[:-1]}, None),
        (row | {"public_key": key[:-1] + bytes([key[-1] ^ 1])}, None),
        (row | {"public_key": 7}, None),
        (row | {"public_key": "another kind"}, None),
        (row | {"public_key": key, "expired_at": 10**20}, None),
        ({"public_key": key}, None),
    ):
        table = SharedTable(Client(wire(values | extras)), "shared")  # type: ignore[arg-type] # a fake
        assert table.key_record(KEY.key_id) == record


# ---- what the queue delivers


@given(WORDS, EXTRAS, EXTRAS, EXTRAS)
def test_a_message(cause: str, extras: dict[str, Any], of_webhook: dict[str, Any], of_record: dict[str, Any]) -> None:
    webhook = {"webhook_type": cause, "webhook_code": cause} | of_webhook
    body = document({"item_id": ITEM, "cause": cause, "webhook": webhook} | extras).decode()
    message = parse_message(body)
    assert (message.item_id, message.cause) == (ITEM, cause)
    assert message.webhook == exact_json.loads(document(webhook))
    attributes = {"SentTimestamp": "1780315200000", "ApproximateReceiveCount": "1", "MessageGroupId": ITEM}
    record = {"messageId": "m", "receiptHandle": "r", "body": body, "messageAttributes": of_record} | of_record
    assert parse_record(record | {"attributes": attributes | of_record}).message == message


@given(WORDS, EXTRAS)
def test_a_webhook(word: str, extras: dict[str, Any]) -> None:
    webhook = parse_webhook(document({"webhook_type": word, "webhook_code": word, "item_id": ITEM} | extras))
    assert (webhook.webhook_type, webhook.webhook_code, webhook.item_id) == (word, word, ITEM)
    assert webhook.is_queued is False


# ---- what Plaid responds

CODES = st.from_regex("[A-Z][A-Z0-9_]{0,30}", fullmatch=True)
ACCOUNT = {
    "account_id": "a",
    "id": "a",
    "name": "Checking",
    "mask": "0000",
    "type": "depository",
    "subtype": "checking",
}


@given(WORDS, EXTRAS, EXTRAS, EXTRAS)
def test_a_page(word: str, extras: dict[str, Any], of_entry: dict[str, Any], of_account: dict[str, Any]) -> None:
    words = {"payment_channel": word, "personal_finance_category": {"primary": word}}
    entry = transaction("t") | words | of_entry
    account = ACCOUNT | {"type": word, "subtype": word} | of_account
    removal = {"transaction_id": "u", "account_id": "a"} | of_entry
    body = page_body(added=[entry], removed=[removal], accounts=[account], transactions_update_status=word, **extras)
    parsed = parse_page(body)
    (row,), (removed,) = parsed.added, parsed.removed
    assert (parsed.invalid, parsed.update_status) == ((), word)
    assert (row.transaction_id, row.payment_channel, row.category) == ("t", word, word)
    assert (removed.transaction_id, removed.account_id) == ("u", "a")
    assert parsed.accounts == (Account("a", "Checking", "0000", word, word, exact_json.dumps_for_storage(account)),)


@given(CODES, EXTRAS, EXTRAS, EXTRAS)
def test_a_report_about_an_item(
    code: str, extras: dict[str, Any], of_item: dict[str, Any], of_error: dict[str, Any]
) -> None:
    item = {"item_id": ITEM, "error": {"error_code": code, "error_type": code} | of_error} | of_item
    parsed = parse_health(document({"item": item, "status": of_item, "request_id": "r"} | extras))
    assert (parsed.error_code, parsed.request_id) == (code, "r")


@given(WORDS, EXTRAS, EXTRAS)
def test_a_list_of_accounts(word: str, extras: dict[str, Any], of_account: dict[str, Any]) -> None:
    account = ACCOUNT | {"type": word} | of_account
    parsed = parse_account_list(document({"accounts": [account], "request_id": "r"} | extras))
    assert parsed.accounts == (
        Account("a", "Checking", "0000", word, "checking", exact_json.dumps_for_storage(account)),
    )


@given(EXTRAS, EXTRAS)
def test_the_results_of_a_link_session(extras: dict[str, Any], of_result: dict[str, Any]) -> None:
    institution = {"institution_id": "ins_1"} | of_result
    result = {"public_token": "public-1", "accounts": [ACCOUNT], "institution": institution} | of_result
    session = {"finished_at": "2026-06-01T12:00:00Z", "results": {"item_add_results": [result]} | of_result} | extras
    parsed = parse_link_results(document({"link_sessions": [session], "request_id": "r"} | extras))
    (added,) = parsed.added
    assert (added.public_token, added.institution_id, parsed.finished_at) == ("public-1", "ins_1", NOON)
    assert added.accounts == (Account("a", "Checking", "0000", "depository", "checking"),)


@given(EXTRAS)
def test_an_exchange_and_a_link_token(extras: dict[str, Any]) -> None:
    exchanged = parse_exchange(document({"item_id": ITEM, "access_token": "access-1", "request_id": "r"} | extras))
    assert (exchanged.item_id, exchanged.access_token, exchanged.request_id) == (ITEM, "access-1", "r")
    token = {"link_token": "link-1", "expiration": "2026-06-01T12:00:00Z", "hosted_link_url": "https://hosted.invalid"}
    created = parse_link_token(document(token | extras))
    assert (created.link_token, created.expiration) == ("link-1", NOON)


# ---- an Item in an unknown state (see also the tests of the routes, the engine and the auditor)


def test_a_sync_of_an_item_in_an_unknown_state_is_counted() -> None:
    job = SyncJob(ITEM, NOON, PLENTY)
    result = BatchResult(jobs={ITEM: job}, reports={ITEM: SyncReport(Outcome.UNKNOWN_STATE, state="frozen")})
    output = io.StringIO()
    with redirect_stdout(output):
        emit_batch_telemetry(result)
        emitted: Any = metrics.serialize_metric_set()
    metrics.clear_metrics()
    assert emitted["UnknownStates"] == [1.0]
    assert "SyncCommitted" not in emitted
