"""The rows of the Items table: the one parser, and the attributes of each change.

Key: `item_id`. Attributes: `access_token` (B, KMS ciphertext; absent once Plaid removed the Item), `generation` (N, the
fencing token), `attempt_id` (S, of the attempt that claimed it), `state` (S) with `state_code` (S) where something is
wrong and `state_since` (S), `expiry_code` and `expiry_until` (S) while a warning is open, `warnings_resolved_until` (S,
the latest deadline that a repair resolved), `cursor` (S), `writing_since` (N), `reconcile` (BOOL, only when true),
`days_requested` (N), `update_status` (S), `pull_began_at`, `synced_at`, `linked_at` (S, ISO 8601 in UTC), `fresh_at`
(S: `synced_at`, or `linked_at` before the first sync; sort key of the index `by_state`), `due_at` (S: when the sweep
syncs it if nothing else has; sort key of the index `by_due`; absent where nothing is left to do), `link_id` (S, SHA-256
of the public token; key of the index `by_link`), `client_user_id` (S, key of the index `by_user`),
`institution_id` (S), `accounts` (L of M), `revoked_accounts` (SS), `bank_login_ids` (SS, its account claims in the
Links table), `refreshed_at` (S), Plaid's connection to the bank as last fetched by the API: `bank_checked_at`,
`bank_success_at`, `bank_failure_at` and `bank_error_code` (S), and once it is removed `removal_requested_at` (S),
`removal_erases` (BOOL), `rows_to_erase` (N), `plaid_removed_at`, `removal_completed_at` and `replaced_by` (S, the Item
that replaced it).

Unknown attributes are ignored and unknown words are kept: during a canary or after a rollback, two versions share a
table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from plaid_sync.aws.dynamodb.expressions import deserialize
from plaid_sync.domain.clock import format_timestamp, read_timestamp
from plaid_sync.domain.item import Account, BankStatus, Cursor, Expiry, Item, ItemId, ItemState, Removal, StateName
from plaid_sync.domain.schedule import INCOMPLETE_REMOVAL, NOT_READY, SWEEP_INTERVALS, due_after

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime, timedelta

    from plaid_sync.sync.ports import Commit, ItemStateUpdate

_ACCOUNT: Final = ("account_id", "name", "mask", "kind", "subtype")


def item_from_row(attributes: dict[str, Any]) -> Item:
    """Parse a row, or the part of it that an index holds."""
    values = deserialize(attributes)
    cursor = values.get("cursor")
    return Item(
        item_id=ItemId(values["item_id"]),
        state=_state_from_row(values),
        access_token=values.get("access_token", b""),
        generation=_optional_int(values, "generation") or 0,
        cursor=None if cursor is None else Cursor(cursor),
        writing_since=_optional_int(values, "writing_since"),
        reconcile=bool(values.get("reconcile", False)),
        days_requested=_optional_int(values, "days_requested"),
        pull_began_at=_optional_time(values, "pull_began_at"),
        update_status=values.get("update_status", ""),
        synced_at=_optional_time(values, "synced_at"),
        linked_at=_optional_time(values, "linked_at"),
        link_id=values.get("link_id", ""),
        client_user_id=values.get("client_user_id"),
        institution_id=values.get("institution_id"),
        accounts=_accounts_from_row(values),
        revoked_accounts=frozenset(values.get("revoked_accounts", ())),
        bank_login_ids=frozenset(values.get("bank_login_ids", ())),
        removal=_removal_from_row(values),
        bank=_bank_status_from_row(values),
    )


def _state_from_row(values: dict[str, Any]) -> ItemState:
    until = _optional_time(values, "expiry_until")
    # The indexes omit the warning's code: of an expiring Item it is the state's.
    code = values.get("expiry_code", values.get("state_code", ""))
    return ItemState(
        name=str(values.get("state", "")),
        code=values.get("state_code"),
        since=_optional_time(values, "state_since"),
        expiry=None if until is None else Expiry(code, until),
        warnings_resolved_until=_optional_time(values, "warnings_resolved_until"),
    )


def _accounts_from_row(values: dict[str, Any]) -> tuple[Account, ...]:
    rows = values.get("accounts", ())
    return tuple(
        Account(**{name: row[name] for name in _ACCOUNT if name in row}) for row in rows if "account_id" in row
    )


def _removal_from_row(values: dict[str, Any]) -> Removal | None:
    requested_at = _optional_time(values, "removal_requested_at")
    if requested_at is None:
        return None
    return Removal(
        requested_at=requested_at,
        erase=bool(values.get("removal_erases", False)),
        rows_to_erase=_optional_int(values, "rows_to_erase"),
        plaid_removed_at=_optional_time(values, "plaid_removed_at"),
        completed_at=_optional_time(values, "removal_completed_at"),
    )


def _bank_status_from_row(values: dict[str, Any]) -> BankStatus | None:
    checked_at = _optional_time(values, "bank_checked_at")
    if checked_at is None:
        return None
    return BankStatus(
        checked_at=checked_at,
        last_success_at=_optional_time(values, "bank_success_at"),
        last_failure_at=_optional_time(values, "bank_failure_at"),
        error_code=values.get("bank_error_code"),
    )


# ---- the attributes that a change sets (None: removes)


def state_attributes(state: ItemState) -> dict[str, Any]:
    """Return the attributes of a state."""
    expiry = state.expiry
    return {
        "state": str(state.name),
        "state_code": state.code,
        "state_since": _format_optional(state.since),
        "expiry_code": None if expiry is None else expiry.code,
        "expiry_until": None if expiry is None else format_timestamp(expiry.until),
        "warnings_resolved_until": _format_optional(state.warnings_resolved_until),
    }


def account_attributes(accounts: Iterable[Account]) -> list[dict[str, str]]:
    """Return the value of `accounts`."""
    return [{name: value for name in _ACCOUNT if (value := getattr(account, name)) is not None} for account in accounts]


def commit_attributes(commit: Commit) -> dict[str, Any]:
    """Return the attributes of a commit."""
    committed_at = format_timestamp(commit.committed_at)
    return {
        "cursor": commit.cursor,
        "writing_since": None,
        "reconcile": True if commit.reconcile else None,
        "update_status": commit.update_status,
        "pull_began_at": format_timestamp(commit.pull_began_at),
        "synced_at": committed_at,
        "fresh_at": committed_at,
        "due_at": due_text(commit.entry.item_id, SWEEP_INTERVALS[StateName(commit.state.name)], commit.entry.at),
        "revoked_accounts": set(commit.revoked_accounts) or None,
        "accounts": account_attributes(commit.accounts) or None,
        **state_attributes(commit.state),
    }


def state_update_attributes(update: ItemStateUpdate) -> dict[str, Any]:
    """Return the attributes of an attempt that writes no rows."""
    update_status = {} if update.update_status is None else {"update_status": update.update_status}
    works = update.state.name in {StateName.ACTIVE, StateName.EXPIRING}
    interval = NOT_READY if works else SWEEP_INTERVALS[StateName(update.state.name)]
    return {
        "due_at": due_text(update.entry.item_id, interval, update.entry.at),
        "revoked_accounts": set(update.revoked_accounts) or None,
        **update_status,
        **state_attributes(update.state),
    }


def removal_attributes(item_id: ItemId, state: ItemState, now: datetime, *, erase: bool) -> dict[str, Any]:
    """Return the attributes of a requested removal."""
    due_at = due_text(item_id, INCOMPLETE_REMOVAL, now)
    return {
        **state_attributes(state),
        "removal_requested_at": format_timestamp(now),
        "removal_erases": erase,
        "due_at": due_at,
    }


def bank_attributes(status: BankStatus) -> dict[str, Any]:
    """Return the attributes of Plaid's connection to the bank."""
    return {
        "bank_checked_at": format_timestamp(status.checked_at),
        "bank_success_at": _format_optional(status.last_success_at),
        "bank_failure_at": _format_optional(status.last_failure_at),
        "bank_error_code": status.error_code,
    }


def due_text(item_id: ItemId, interval: timedelta, now: datetime) -> str:
    """Return the value of `due_at`: about an interval from now."""
    return format_timestamp(due_after(item_id, interval, now))


def _format_optional(moment: datetime | None) -> str | None:
    return None if moment is None else format_timestamp(moment)


def _optional_time(values: dict[str, Any], name: str) -> datetime | None:
    return read_timestamp(values[name]) if name in values else None


def _optional_int(values: dict[str, Any], name: str) -> int | None:
    return int(values[name]) if name in values else None
