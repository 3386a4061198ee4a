"""The Items table: what a row of it holds.

Key: `item_id`. Attributes: `access_token` (B, KMS ciphertext; absent once Plaid has let go of the Item), `generation`
(N), `attempt_id` (S, of the attempt that claimed it), `status` (S) with `status_code` (S) where something is wrong and
`status_at` (S), `expiry_code` and `expiry_until` (S) while a warning stands, `answered_until` (S, the latest deadline
that a repair has answered), `cursor` (S), `writing_since` (N), `reconcile` (BOOL, only when true), `days_requested`
(N), `update_status` (S), `pull_began_at`, `synced_at`, `linked_at` (S, ISO 8601 in UTC), `fresh_at` (S: `synced_at`, or
`linked_at` before the first sync; sort key of the index `by_status`), `due_at` (S: when the sweep looks at it, if
nobody else has; sort key of the index `by_due`; absent where nothing is to be done any more), `link_id` (S, SHA-256 of
the public token; key of the index `by_link`), `client_user_id` (S, key of the index `by_user`), `institution_id` (S),
`accounts` (L of M), `revoked_accounts` (SS), `bank_login_ids` (SS, the claims in the Links table), `refreshed_at` (S),
what Plaid said of the bank when the API last asked: `bank_asked_at`, `bank_success_at`, `bank_failure_at` and
`bank_error_code` (S), and once it is removed `removal_requested_at` (S), `removal_erases` (BOOL), `rows_to_erase` (N),
`plaid_removed_at`, `removal_completed_at` and `replaced_by` (S, the Item that took its place).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from plaid_sync.adapters.aws import from_text, to_text
from plaid_sync.adapters.dynamodb.expressions import deserialize
from plaid_sync.core.items import Account, Cursor, Expiry, Item, ItemId, ItemRemoval, ItemStatus, Standing
from plaid_sync.core.lifecycle.cadence import CADENCES, NOT_READY, due_after

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime, timedelta

    from plaid_sync.core.history import HistoryEntry
    from plaid_sync.core.sync.plan import Commit, Verdict

_ACCOUNT: Final = ("account_id", "name", "mask", "kind", "subtype")


def to_item(attributes: dict[str, Any]) -> Item:
    """Read a row."""
    values = deserialize(attributes)
    cursor = values.get("cursor")
    return Item(
        item_id=ItemId(values["item_id"]),
        access_token=values.get("access_token", b""),
        generation=int(values["generation"]),
        standing=to_standing(values),
        cursor=None if cursor is None else Cursor(cursor),
        writing_since=_whole(values, "writing_since"),
        reconcile=bool(values.get("reconcile", False)),
        days_requested=_whole(values, "days_requested"),
        pull_began_at=_moment(values, "pull_began_at"),
        accounts=to_accounts(values),
        revoked_accounts=frozenset(values.get("revoked_accounts", ())),
        bank_login_ids=frozenset(values.get("bank_login_ids", ())),
        removal=to_removal(values),
    )


def to_standing(values: dict[str, Any]) -> Standing:
    """Read how an Item stands from a row's values."""
    until = _moment(values, "expiry_until")
    return Standing(
        status=ItemStatus(values["status"]),
        code=values.get("status_code"),
        since=_moment(values, "status_at"),
        expiry=None if until is None else Expiry(values["expiry_code"], until),
        answered_until=_moment(values, "answered_until"),
    )


def to_accounts(values: dict[str, Any]) -> tuple[Account, ...]:
    """Read an Item's accounts from a row's values."""
    return tuple(Account(**account) for account in values.get("accounts", ()))


def to_removal(values: dict[str, Any]) -> ItemRemoval | None:
    """Read what became of the wish to remove an Item from a row's values."""
    if "removal_requested_at" not in values:
        return None
    return ItemRemoval(
        erase=bool(values.get("removal_erases", False)),
        rows_to_erase=_whole(values, "rows_to_erase"),
        plaid_removed="plaid_removed_at" in values,
        completed="removal_completed_at" in values,
    )


def standing_attributes(standing: Standing) -> dict[str, Any]:
    """Return the attributes that say how an Item stands (None: removes)."""
    expiry = standing.expiry
    return {
        "status": standing.status.value,
        "status_code": standing.code,
        "status_at": _text(standing.since),
        "expiry_code": None if expiry is None else expiry.code,
        "expiry_until": None if expiry is None else to_text(expiry.until),
        "answered_until": _text(standing.answered_until),
    }


def account_attributes(accounts: Iterable[Account]) -> list[dict[str, str]]:
    """Return the value of `accounts`."""
    return [{name: value for name in _ACCOUNT if (value := getattr(account, name)) is not None} for account in accounts]


def committed(commit: Commit) -> dict[str, Any]:
    """Return the attributes that a commit sets (None: removes)."""
    committed_at = to_text(commit.committed_at)
    return {
        "cursor": commit.cursor,
        "writing_since": None,
        "reconcile": True if commit.reconcile else None,
        "update_status": commit.update_status,
        "pull_began_at": to_text(commit.pull_began_at),
        "synced_at": committed_at,
        "fresh_at": committed_at,
        "due_at": _due_text(commit.entry, CADENCES[commit.standing.status]),
        "revoked_accounts": set(commit.revoked_accounts) or None,
        "accounts": account_attributes(commit.accounts) or None,
        **standing_attributes(commit.standing),
    }


def found(verdict: Verdict) -> dict[str, Any]:
    """Return the attributes that an attempt sets which writes no rows (None: removes)."""
    told = {} if verdict.update_status is None else {"update_status": verdict.update_status}
    works = verdict.standing.status in {ItemStatus.ACTIVE, ItemStatus.EXPIRING}
    return {
        "due_at": _due_text(verdict.entry, NOT_READY if works else CADENCES[verdict.standing.status]),
        "revoked_accounts": set(verdict.revoked_accounts) or None,
        **told,
        **standing_attributes(verdict.standing),
    }


def due_text(item_id: ItemId, wait: timedelta, now: datetime) -> str:
    """Return the value of `due_at`: after so long, about."""
    return to_text(due_after(item_id, wait, now))


def _due_text(entry: HistoryEntry, wait: timedelta) -> str:
    return due_text(entry.item_id, wait, entry.at)


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else to_text(moment)


def _moment(values: dict[str, Any], name: str) -> datetime | None:
    return from_text(values[name]) if name in values else None


def _whole(values: dict[str, Any], name: str) -> int | None:
    return int(values[name]) if name in values else None
