"""The Items table as the Items API reads it (see `item_format` for what a row holds)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plaid_sync.adapters.aws import aws_errors, from_text, to_text
from plaid_sync.adapters.dynamodb.expressions import deserialize, serialize
from plaid_sync.adapters.dynamodb.item_format import due_text, standing_attributes, to_accounts, to_standing
from plaid_sync.core.items import ItemId
from plaid_sync.core.items_api.item_record import BankContact, ItemRecord, RemovalRecord
from plaid_sync.core.lifecycle.cadence import UNFINISHED_REMOVAL

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_dynamodb import DynamoDBClient

    from plaid_sync.core.items import Standing


def read_record(client: DynamoDBClient, table: str, item_id: ItemId) -> ItemRecord | None:
    """Read an Item as it stands now; None where there is none."""
    with aws_errors():
        answer = client.get_item(TableName=table, Key={"item_id": serialize(item_id)}, ConsistentRead=True)
    return to_record(dict(answer["Item"])) if "Item" in answer else None


def to_record(attributes: dict[str, Any]) -> ItemRecord:
    """Read a row, or what an index has of it."""
    values = deserialize(attributes)
    if "expiry_until" in values:  # the indexes leave the code of a warning out: of an expiring Item it is its status's
        values.setdefault("expiry_code", values.get("status_code", ""))
    return ItemRecord(
        item_id=ItemId(values["item_id"]),
        standing=to_standing(values),
        access_token=values.get("access_token", b""),
        link_id=values.get("link_id", ""),
        linked_at=_moment(values, "linked_at"),
        client_user_id=values.get("client_user_id"),
        institution_id=values.get("institution_id"),
        update_status=values.get("update_status", ""),
        synced_at=_moment(values, "synced_at"),
        reconcile=bool(values.get("reconcile", False)),
        accounts=to_accounts(values),
        revoked_accounts=frozenset(values.get("revoked_accounts", ())),
        removal=_to_removal(values),
        bank=_to_bank_contact(values),
    )


def removal_attributes(item_id: ItemId, standing: Standing, now: datetime, *, erase: bool) -> dict[str, Any]:
    """Return the attributes by which an Item is removed (None: removes)."""
    due_at = due_text(item_id, UNFINISHED_REMOVAL, now)
    wish = {"removal_requested_at": to_text(now), "removal_erases": erase, "due_at": due_at}
    return standing_attributes(standing) | wish


def bank_attributes(contact: BankContact) -> dict[str, Any]:
    """Return the attributes that say when Plaid last reached the bank (None: removes)."""
    return {
        "bank_asked_at": to_text(contact.asked_at),
        "bank_success_at": None if contact.last_success_at is None else to_text(contact.last_success_at),
        "bank_failure_at": None if contact.last_failure_at is None else to_text(contact.last_failure_at),
        "bank_error_code": contact.error_code,
    }


def _to_bank_contact(values: dict[str, Any]) -> BankContact | None:
    asked_at = _moment(values, "bank_asked_at")
    if asked_at is None:
        return None
    success, failure = _moment(values, "bank_success_at"), _moment(values, "bank_failure_at")
    return BankContact(asked_at, success, failure, values.get("bank_error_code"))


def _to_removal(values: dict[str, Any]) -> RemovalRecord | None:
    requested_at = _moment(values, "removal_requested_at")
    if requested_at is None:
        return None
    rows = values.get("rows_to_erase")
    return RemovalRecord(
        requested_at=requested_at,
        erase=bool(values.get("removal_erases", False)),
        rows=None if rows is None else int(rows),
        plaid_removed_at=_moment(values, "plaid_removed_at"),
        completed_at=_moment(values, "removal_completed_at"),
    )


def _moment(values: dict[str, Any], name: str) -> datetime | None:
    return from_text(values[name]) if name in values else None
