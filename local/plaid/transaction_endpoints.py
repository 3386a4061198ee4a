"""The endpoints of Transactions: sync, the older get, recurring streams, refresh, and the sandbox's create."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any

from local.plaid import request_fields as fields
from local.plaid.balances import currency_of
from local.plaid.errors import PlaidError
from local.plaid.generator import CustomTransaction
from local.plaid.item_views import item_object
from local.plaid.items import Phase
from local.plaid.sync import SyncRequest
from local.plaid.transactions import format_row
from local.plaid.wire import JsonObject, entity_id, timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable

    from local.plaid.items import Item
    from local.plaid.request_fields import Call

_MAX_CREATED = 10
_MAX_CREATED_AGE = timedelta(days=730)
_MIN_STREAM = 3
_FREQUENCIES = {7: "WEEKLY", 14: "BIWEEKLY", 15: "SEMI_MONTHLY", 30: "MONTHLY", 31: "MONTHLY", 365: "ANNUALLY"}
_VERSIONS = ("v2", "v1")
_CREATED: fields.Fields = {
    "account_id": fields.optional_text,
    "amount": fields.anything,
    "date_posted": fields.day,
    "date_transacted": fields.day,
    "description": fields.text,
    "iso_currency_code": fields.optional_text,
}
_COMMON_OPTIONS: fields.Fields = {
    "days_requested": fields.between(1, 730),
    "include_logo_and_counterparty_beta": fields.flag,
    "include_original_description": fields.flag,
    "include_personal_finance_category": fields.flag,
    "personal_finance_category_version": fields.one_of(*_VERSIONS),
}
SYNC_FIELDS: fields.Fields = {
    "count": fields.between(1, 500),
    "cursor": fields.optional_text,
    "options": {**_COMMON_OPTIONS, "account_id": fields.optional_text},
}
GET_FIELDS: fields.Fields = {
    "end_date": fields.day,
    "options": {
        **_COMMON_OPTIONS,
        "account_ids": fields.optional_texts,
        "count": fields.between(1, 500),
        "include_personal_finance_category_beta": fields.flag,
        "offset": fields.between(0, 2**31),
    },
    "start_date": fields.day,
}
RECURRING_FIELDS: fields.Fields = {
    "account_ids": fields.optional_texts,
    "options": {
        "include_personal_finance_category": fields.flag,
        "personal_finance_category_version": fields.one_of(*_VERSIONS),
    },
}


def transactions_sync(call: Call) -> JsonObject:
    options = fields.mapping(call.body, "options", nullable=False)
    request = SyncRequest(
        cursor=fields.optional_text(call.body, "cursor") or "",
        count=fields.integer(call.body, "count", 1, 500) or 100,
        account_id=fields.optional_text(options, "account_id"),
        days_requested=fields.integer(options, "days_requested", 1, 730),
        original_description=fields.flag(options, "include_original_description"),
        category_version=fields.choice(options, "personal_finance_category_version", _VERSIONS),
    )
    return call.sim.sync(call.required_item, request)


def transactions_refresh(call: Call) -> JsonObject:
    if call.healthy_item.log.head:
        call.sim.refresh(call.required_item.item_id)
    return {}


def transactions_get(call: Call) -> JsonObject:
    """Return the transactions of a period, newest first."""
    fields.require(call.body, "start_date", "end_date")
    first, last = (fields.day(call.body, name).isoformat() for name in ("start_date", "end_date"))
    if first > last:
        raise PlaidError("INVALID_FIELD", detail="start_date must not be after end_date")
    options = fields.mapping(call.body, "options")
    item = _ready_item(call, fields.integer(options, "days_requested", 1, 730))
    accounts = accounts_of(item, fields.optional_texts(options, "account_ids"))
    listed = {account["account_id"] for account in accounts}
    rows = [row for row in item.log.live.values() if first <= row["date"] <= last and row["account_id"] in listed]
    rows.sort(key=lambda row: (row["date"], row["transaction_id"]), reverse=True)
    offset = fields.integer(options, "offset", 0, 2**31) or 0
    count = fields.integer(options, "count", 1, 500) or 100
    original = fields.flag(options, "include_original_description")
    version = fields.choice(options, "personal_finance_category_version", _VERSIONS)
    return {
        "accounts": accounts,
        "item": item_object(item),
        "total_transactions": len(rows),
        "transactions": [
            format_row(row, original=original, category_version=version) for row in rows[offset : offset + count]
        ],
    }


def _ready_item(call: Call, days_requested: int | None = None) -> Item:
    item = call.required_item
    call.sim.check_served(item)
    call.sim.initialize(item, days_requested)
    if item.phase < Phase.INITIAL:
        raise PlaidError("PRODUCT_NOT_READY")
    return item


def accounts_of(item: Item, requested: Iterable[str]) -> list[JsonObject]:
    """Return the requested accounts, or all."""
    accounts = item.all_accounts()
    wanted = set(requested)
    if not wanted <= {account["account_id"] for account in accounts}:
        raise PlaidError("INVALID_ACCOUNT_ID")
    return [account for account in accounts if not wanted or account["account_id"] in wanted]


def recurring_get(call: Call) -> JsonObject:
    """Return the streams of an Item: at least three transactions of one merchant in one account, one way."""
    item = _ready_item(call)
    listed = {account["account_id"] for account in accounts_of(item, fields.optional_texts(call.body, "account_ids"))}
    version = fields.choice(fields.mapping(call.body, "options"), "personal_finance_category_version", _VERSIONS)
    groups: dict[tuple[Any, ...], list[JsonObject]] = {}
    for row in sorted(item.log.live.values(), key=lambda row: (row["date"], row["transaction_id"])):
        if row["merchant_name"] and not row["pending"] and row["account_id"] in listed:
            key = row["account_id"], row["merchant_name"], row["amount"] > 0, currency_of(row)
            groups.setdefault(key, []).append(row)
    streams = {key: _stream(rows, version) for key, rows in groups.items() if len(rows) >= _MIN_STREAM}
    return {
        "inflow_streams": [stream for (_, _, is_outflow, _), stream in streams.items() if not is_outflow],
        "outflow_streams": [stream for (_, _, is_outflow, _), stream in streams.items() if is_outflow],
        "personal_finance_category_version": version,
        "updated_datetime": timestamp(item.recurring_at or item.last_success or item.created_at),
    }


def _stream(rows: list[JsonObject], category_version: str) -> JsonObject:
    first, last = rows[0], rows[-1]
    days = [date.fromisoformat(row["date"]) for row in rows]
    gap = round(sum((late - early).days for early, late in pairwise(days)) / (len(days) - 1))
    currencies = {name: last[name] for name in ("iso_currency_code", "unofficial_currency_code")}
    average = (sum((row["amount"] for row in rows), Decimal(0)) / len(rows)).quantize(Decimal("0.01"))
    identity = f"{last['account_id']} {last['merchant_name']} {last['amount'] > 0} {currencies}"
    return {
        "account_id": last["account_id"],
        "average_amount": {"amount": average, **currencies},
        "category": None,
        "category_id": None,
        "description": last["name"],
        "first_date": first["date"],
        "frequency": _FREQUENCIES.get(gap, "UNKNOWN"),
        "is_active": True,
        "is_user_modified": False,
        "last_amount": {"amount": last["amount"], **currencies},
        "last_date": last["date"],
        "merchant_name": last["merchant_name"],
        "personal_finance_category": {**last["personal_finance_category"], "version": category_version},
        "predicted_next_date": None,
        "status": "MATURE",
        "stream_id": entity_id(Random(identity)),  # noqa: S311 # nosec B311 - reproducible on purpose
        "transaction_ids": [row["transaction_id"] for row in rows],
    }


def transactions_create(call: Call) -> JsonObject:
    entries: Any = call.body.get("transactions")
    if not isinstance(entries, list) or not 1 <= len(entries) <= _MAX_CREATED:
        raise PlaidError("INVALID_FIELD", detail="transactions must be an array of 1 to 10 transactions")
    today = call.sim.clock().date()
    account_ids = call.required_item.generator.account_ids
    if not account_ids:
        raise PlaidError("NO_ACCOUNTS")
    transactions = [_custom_transaction(entry, today, account_ids) for entry in entries]
    call.sim.add_custom_transactions(call.required_item.item_id, transactions)
    return {}


def _custom_transaction(entry: object, today: date, account_ids: list[str]) -> CustomTransaction:
    if not isinstance(entry, dict):
        raise PlaidError("INVALID_FIELD", detail="transactions must be objects")
    fields.check(entry, _CREATED, "transactions.")
    fields.require(entry, "amount", "date_posted", "date_transacted", "description")
    transacted, posted = fields.day(entry, "date_transacted"), fields.day(entry, "date_posted")
    if posted < transacted or not today - _MAX_CREATED_AGE <= transacted <= today:
        raise PlaidError("INVALID_FIELD", detail="date_transacted must be within 730 days and not after date_posted")
    account_id = fields.optional_text(entry, "account_id") or account_ids[0]
    if account_id not in account_ids:
        raise PlaidError("INVALID_ACCOUNT_ID")
    amount = entry["amount"]
    if isinstance(amount, bool) or not isinstance(amount, int | Decimal):
        raise PlaidError("INVALID_FIELD", detail="amount must be a number")
    return CustomTransaction(
        transacted if posted > today else posted,
        pending=posted > today,
        account_id=account_id,
        name=fields.text(entry, "description"),
        amount=Decimal(amount),
        iso_currency_code=fields.optional_text(entry, "iso_currency_code"),
    )
