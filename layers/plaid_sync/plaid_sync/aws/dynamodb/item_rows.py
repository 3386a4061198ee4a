"""The rows of the Items table: the one parser, and the attributes of each change.

Key: `item_id`. Attributes: `access_token` (B, KMS ciphertext; absent once Plaid removed the Item), `generation` (N, the
fencing token), `attempt_id` (S, of the attempt that claimed it: `<began at>#<random>`), `state` (S) with `state_code`
(S) where something is wrong and `state_since` (S), `expiry_code` and `expiry_until` (S) while a warning is open,
`warnings_resolved_until` (S, the latest deadline that a repair resolved), `cursor` (S), `writing_since` (N),
`reconcile` (BOOL, only when true), `days_requested` (N), `update_status` (S), `pull_began_at`, `synced_at`,
`webhook_at`, `linked_at` (S, ISO 8601 in UTC), `fresh_at` (S: `synced_at`, or `linked_at` before the first sync; sort
key of the index `by_state`), `next_attempt_at` (S: when the sweep enqueues it, if nothing else has) and `attempt_shard`
(S: the class of that attempt and a shard, as `routine#3`), together the key of the index `by_next_attempt` and absent
where nothing is left to do, `unfinished_attempts` (N), `pending_checks` (L of M: `code`, `reported_at`, `until`,
`account_id`), while it is retried `failing_since`, `failed_at`, `failure_code` and `failure_class` (S), while a pull of
many pages goes on `pull_restarts` (N) and `checkpoint` (M: `cursor`, `stored_cursor`, `from_beginning`, `began_at`,
`written`, `removes_unknown`), `reconcile_after` (S), `inconclusive_pulls` (N), `history_complete` (BOOL, only when
true), `cursor_reset_at` (S), `link_id` (S, SHA-256 of the public token; key of the index `by_link`), `client_user_id`
(S, key of the index `by_user`), `institution_id` (S), `accounts` (B, those that are listed or gone: account_rows.py),
`gone_accounts`, `revoked_accounts` (those that the user withdrew) and `erased_accounts` (SS), `accounts_checked_at`
(S), `bank_login_ids` (SS, its account claims in the Links table), `refreshed_at` (S), Plaid's connection to the bank as
last fetched by the API: `bank_checked_at`, `bank_success_at`, `bank_failure_at` and `bank_error_code` (S), and once it
is removed `removal_requested_at` (S), `removal_erases` (BOOL), `rows_to_erase` (N), `removal_reason_code` and
`removal_reason_note` (S), `plaid_removed_at`, `removal_completed_at` and `replaced_by` (S, the Item that replaced it).
`pulled_with` (S) names the options of /transactions/sync that are not the defaults, and `pulled_with_cursor` (S) the
cursor for which they hold. Beside `state_code` Plaid's reason is `state_code_reason` (S), and the end of the user's
consent is `consent_until` (S). `token_rotation_began_at` (S): a rotation of the access token that is not completed.
`token_rotated_at` (S): when the stored one replaced another; for `plaid-sync restore`. `token_exported_at` (S): when it
was last exported. `removal_keeps_at_plaid` (BOOL, only when true): the Item is removed here, and lives on at Plaid. Of
an imported Item `link_id` is the SHA-256 of its access token, `previous_webhook` (S) the URL of its webhooks before,
empty for none, and `webhook_switched_at` (S) when they were switched to this stack, absent where they are not. With the
feed `changes_at` (N): the generation of the last commit whose changes are published.

An Item whose public token is exchanged, and which is not registered yet, is a row that no reader counts as an Item:
`state` (S: removed), `generation`, `access_token`, `unregistered_link` (S, SHA-256 of the public token),
`exchanged_at` (S), the key of `by_next_attempt`, and `rollback_began_at` (S) once it cannot be registered any more.

Unknown attributes are ignored and unknown words are kept: during a canary or after a rollback, two versions share a
table.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.aws.dynamodb.account_rows import accounts_attribute, accounts_from
from plaid_sync.aws.dynamodb.expressions import deserialize
from plaid_sync.domain.accounts import AccountStates
from plaid_sync.domain.clock import format_optional_timestamp, format_timestamp, read_timestamp
from plaid_sync.domain.errors import UnreadableItemError
from plaid_sync.domain.item import (
    BankStatus,
    Checkpoint,
    Cursor,
    Expiry,
    Imported,
    Item,
    ItemFailure,
    ItemId,
    ItemState,
    PendingCheck,
    Removal,
    RemovalReason,
    merge_checks,
)
from plaid_sync.domain.schedule import after_request

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from plaid_sync.domain.schedule import AttemptClass, NextAttempt
    from plaid_sync.items_api.ports import ItemChange
    from plaid_sync.sync.ports import AccountsUpdate, Commit, FollowUp, ItemStateUpdate

UNREADABLE_ROW: Final = "unreadable_row"
"""In place of Plaid's code, of an Item whose row is damaged."""
NEXT_ATTEMPT: Final = ("next_attempt_at", "attempt_shard")
FULL_RESYNC: Final[dict[str, Any]] = {"reconcile": True, "reconcile_after": None, "checkpoint": None}
"""Attributes, and fields of an Item, while a full resync is pending that begins at once."""
SHARDS: Final = 8
"""Partitions of the index `by_next_attempt` for each class: DynamoDB takes 1,000 writes a second for each."""


def item_from_row(attributes: dict[str, Any]) -> Item:
    """Parse a row, or the part of it that an index holds.

    Raises:
        UnreadableItemError: another program damaged it.
    """
    try:
        return _item(deserialize(attributes))
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise UnreadableItemError(ItemId(attributes["item_id"]["S"])) from error


def is_registered(attributes: dict[str, Any]) -> bool:
    """Return whether a row is an Item's: one that is exchanged and not registered yet is none."""
    return "unregistered_link" not in attributes


def listed_item(attributes: dict[str, Any]) -> Item:
    """Parse a row for a list, which a damaged one must not end: of that only state and `UNREADABLE_ROW` are shown."""
    try:
        return item_from_row(attributes)
    except UnreadableItemError as error:
        return Item(error.item_id, ItemState(str(deserialize(attributes).get("state", "")), UNREADABLE_ROW))


def _item(values: dict[str, Any]) -> Item:
    cursor = values.get("cursor")
    return Item(
        item_id=ItemId(values["item_id"]),
        state=_state_from_row(values),
        access_token=values.get("access_token", b""),
        generation=_optional_int(values, "generation") or 0,
        attempt_id=str(values.get("attempt_id", "")),
        cursor=None if cursor is None else Cursor(cursor),
        writing_since=_optional_int(values, "writing_since"),
        checkpoint=_checkpoint_from_row(values),
        pull_restarts=_optional_int(values, "pull_restarts") or 0,
        reconcile=bool(values.get("reconcile", False)),
        reconcile_after=_optional_time(values, "reconcile_after"),
        inconclusive_pulls=_optional_int(values, "inconclusive_pulls") or 0,
        history_complete=bool(values.get("history_complete", False)),
        cursor_reset_at=_optional_time(values, "cursor_reset_at"),
        days_requested=_optional_int(values, "days_requested"),
        # A commit of a version that does not know the options leaves another cursor than theirs.
        pulled_with=values.get("pulled_with", "") if values.get("pulled_with_cursor") == cursor else "",
        pull_began_at=_optional_time(values, "pull_began_at"),
        update_status=values.get("update_status", ""),
        synced_at=_optional_time(values, "synced_at"),
        webhook_at=_optional_time(values, "webhook_at"),
        linked_at=_optional_time(values, "linked_at"),
        link_id=values.get("link_id", ""),
        imported=_imported_from_row(values),
        client_user_id=values.get("client_user_id"),
        institution_id=values.get("institution_id"),
        accounts=accounts_from(values.get("accounts")),
        account_states=AccountStates(
            gone=frozenset(values.get("gone_accounts", ())),
            withdrawn=frozenset(values.get("revoked_accounts", ())),
            erased=frozenset(values.get("erased_accounts", ())),
        ),
        accounts_checked_at=_optional_time(values, "accounts_checked_at"),
        token_rotation_began_at=_optional_time(values, "token_rotation_began_at"),
        token_exported_at=_token_exported_at(values),
        bank_login_ids=frozenset(values.get("bank_login_ids", ())),
        removal=_removal_from_row(values),
        bank=_bank_status_from_row(values),
        next_attempt_at=_optional_time(values, "next_attempt_at"),
        failure=_failure_from_row(values),
        pending_checks=_checks_from_row(values),
        unfinished_attempts=_optional_int(values, "unfinished_attempts") or 0,
        changes_at=_optional_int(values, "changes_at") or 0,
        refreshed_at=_optional_time(values, "refreshed_at"),
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
        code_reason=values.get("state_code_reason") if "state_code" in values else None,
        consent_until=_optional_time(values, "consent_until"),
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
        reason=_reason_from_row(values),
        keeps_at_plaid=bool(values.get("removal_keeps_at_plaid", False)),
    )


def _token_exported_at(values: dict[str, Any]) -> datetime | None:
    """Parse the time of the last export; a version that knows none leaves the attribute where it rotates the token."""
    exported_at = _optional_time(values, "token_exported_at")
    rotations = (_optional_time(values, name) for name in ("token_rotated_at", "token_rotation_began_at"))
    if exported_at is None or any(rotation is not None and rotation >= exported_at for rotation in rotations):
        return None
    return exported_at


def _reason_from_row(values: dict[str, Any]) -> RemovalReason | None:
    code = values.get("removal_reason_code")
    return None if code is None else RemovalReason(code, values.get("removal_reason_note"))


def _imported_from_row(values: dict[str, Any]) -> Imported | None:
    if "previous_webhook" not in values:
        return None
    return Imported(values["previous_webhook"] or None, _optional_time(values, "webhook_switched_at"))


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


def _failure_from_row(values: dict[str, Any]) -> ItemFailure | None:
    since = _optional_time(values, "failing_since")
    if since is None:
        return None
    return ItemFailure(
        code=values.get("failure_code", ""),
        failure_class=values.get("failure_class", ""),
        since=since,
        last_at=_optional_time(values, "failed_at") or since,
    )


def _checks_from_row(values: dict[str, Any]) -> tuple[PendingCheck, ...]:
    return tuple(
        PendingCheck(
            code=row["code"],
            reported_at=_optional_time(row, "reported_at"),
            until=_optional_time(row, "until"),
            account_id=row.get("account_id"),
        )
        for row in values.get("pending_checks", ())
        if "code" in row
    )


def _checkpoint_from_row(values: dict[str, Any]) -> Checkpoint | None:
    """Parse a checkpoint; without one that this version can continue, the pull starts again from the stored cursor.

    A version that knows no checkpoints leaves the attribute where it commits: then the stored cursor is another one, or
    no rows are provisional any more.
    """
    row = values.get("checkpoint")
    if row is None or "writing_since" not in values:
        return None
    try:
        checkpoint = Checkpoint(
            cursor=Cursor(row["cursor"]),
            stored_cursor=row.get("stored_cursor"),
            from_beginning=bool(row["from_beginning"]),
            began_at=read_timestamp(row["began_at"]),
            written=tuple((int(first), int(last)) for first, last in row["written"]),
            removes_unknown=bool(row.get("removes_unknown", False)),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    return checkpoint if checkpoint.stored_cursor == values.get("cursor") else None


# ---- the attributes that a change sets (None: removes)


def next_attempt_attributes(item_id: ItemId, next_attempt: NextAttempt) -> dict[str, Any]:
    """Return the attributes of the next attempt, which are the key of the index `by_next_attempt`."""
    return {
        "next_attempt_at": format_timestamp(next_attempt.at),
        "attempt_shard": shard_of(item_id, next_attempt.attempt_class),
    }


def shard_of(item_id: ItemId, attempt_class: AttemptClass) -> str:
    """Return the key of an Item in the index `by_next_attempt`."""
    return f"{attempt_class.value}#{zlib.crc32(item_id.encode()) % SHARDS}"


def request_attributes(item_id: ItemId, now: datetime) -> dict[str, Any]:
    """Return the attributes of an Item for which a request is pending, whose message the queue may refuse."""
    return next_attempt_attributes(item_id, after_request(item_id, now))


def superseding_attributes(item_id: ItemId, now: datetime) -> dict[str, Any]:
    """Return the attributes of a request that supersedes an attempt: its worker did not die, and does not count."""
    return {"unfinished_attempts": None, **request_attributes(item_id, now)}


def check_attributes(checks: Iterable[PendingCheck]) -> list[dict[str, str]]:
    """Return the value of `pending_checks`."""
    rows = (
        {
            "code": check.code,
            "reported_at": format_optional_timestamp(check.reported_at),
            "until": format_optional_timestamp(check.until),
            "account_id": check.account_id,
        }
        for check in checks
    )
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


def checkpoint_attributes(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the value of `checkpoint`."""
    stored = {} if checkpoint.stored_cursor is None else {"stored_cursor": checkpoint.stored_cursor}
    return {
        "cursor": checkpoint.cursor,
        **stored,
        "from_beginning": checkpoint.from_beginning,
        "began_at": format_timestamp(checkpoint.began_at),
        "written": [list(generations) for generations in checkpoint.written],
        "removes_unknown": checkpoint.removes_unknown,
    }


def _follow_up_attributes(item_id: ItemId, follow_up: FollowUp) -> dict[str, Any]:
    """Return the attributes of what an Item remembers after an attempt with an outcome."""
    failure = follow_up.failure
    return {
        **next_attempt_attributes(item_id, follow_up.next_attempt),
        "unfinished_attempts": None,
        "pending_checks": check_attributes(follow_up.pending_checks) or None,
        "failing_since": None if failure is None else format_timestamp(failure.since),
        "failed_at": None if failure is None else format_timestamp(failure.last_at),
        "failure_code": None if failure is None else failure.code,
        "failure_class": None if failure is None else failure.failure_class,
    }


def state_attributes(state: ItemState) -> dict[str, Any]:
    """Return the attributes of a state."""
    expiry = state.expiry
    return {
        "state": str(state.name),
        "state_code": state.code,
        "state_since": format_optional_timestamp(state.since),
        "expiry_code": None if expiry is None else expiry.code,
        "expiry_until": None if expiry is None else format_timestamp(expiry.until),
        "warnings_resolved_until": format_optional_timestamp(state.warnings_resolved_until),
        "state_code_reason": state.code_reason,
        "consent_until": format_optional_timestamp(state.consent_until),
    }


def account_state_attributes(states: AccountStates) -> dict[str, Any]:
    """Return the attributes of the accounts that are not simply listed."""
    return {
        "gone_accounts": set(states.gone) or None,
        "revoked_accounts": set(states.withdrawn) or None,
        "erased_accounts": set(states.erased) or None,
    }


def accounts_update_attributes(item: Item, update: AccountsUpdate) -> dict[str, Any]:
    """Return the attributes of what an attempt concluded about accounts."""
    return {
        "generation": item.generation + 1,
        "accounts": accounts_attribute(item.accounts),
        "accounts_checked_at": format_optional_timestamp(item.accounts_checked_at),
        "institution_id": item.institution_id,
        "pending_checks": check_attributes(update.pending_checks) or None,
        "bank_login_ids": set(update.claim_keys) or None,
        **account_state_attributes(update.states),
        **(FULL_RESYNC if update.full_resync else {}),
    }


def commit_attributes(item_id: ItemId, commit: Commit) -> dict[str, Any]:
    """Return the attributes of a commit."""
    committed_at, reconciliation = format_timestamp(commit.committed_at), commit.reconciliation
    return {
        "cursor": commit.cursor,
        "writing_since": None,
        "checkpoint": None,
        "pull_restarts": None,
        "reconcile": True if reconciliation.pending else None,
        "reconcile_after": format_optional_timestamp(reconciliation.after),
        "inconclusive_pulls": reconciliation.inconclusive_pulls or None,
        "history_complete": True if reconciliation.history_complete else None,
        "update_status": commit.update_status,
        "pull_began_at": format_timestamp(commit.pull_began_at),
        "synced_at": committed_at,
        "fresh_at": committed_at,
        "accounts": accounts_attribute(commit.accounts),
        "accounts_checked_at": format_optional_timestamp(commit.accounts_checked_at),
        **pulled_with_attributes(commit.pulled_with, commit.cursor),
        **_follow_up_attributes(item_id, commit.follow_up),
        **state_attributes(commit.state),
    }


def pulled_with_attributes(pulled_with: str, cursor: Cursor | None) -> dict[str, Any]:
    """Return the attributes of the options that the rows up to a cursor are pulled with."""
    return {"pulled_with": pulled_with or None, "pulled_with_cursor": cursor if pulled_with else None}


def state_update_attributes(item_id: ItemId, update: ItemStateUpdate) -> dict[str, Any]:
    """Return the attributes of an attempt that does not complete an update."""
    update_status = {} if update.update_status is None else {"update_status": update.update_status}
    reconcile = {"reconcile": True, "reconcile_after": None} if update.reconcile else {}
    return {
        **update_status,
        **reconcile,
        **_follow_up_attributes(item_id, update.follow_up),
        **state_attributes(update.state),
    }


def change_attributes(item: Item, change: ItemChange) -> dict[str, Any]:
    """Return the attributes of a change that the API requests."""
    # A new start: full resyncs without a result, and pulls that had to start again, are not held against it.
    full_resync = FULL_RESYNC | {"inconclusive_pulls": None, "pull_restarts": None}
    states = {} if change.account_states is None else account_state_attributes(change.account_states)
    checks = (
        {"pending_checks": check_attributes(merge_checks(item.pending_checks, [change.check]))} if change.check else {}
    )
    return {
        **({} if change.state is None else state_attributes(change.state)),
        **states,
        **({} if change.accounts is None else {"accounts": accounts_attribute(change.accounts)}),
        **checks,
        **(full_resync if change.full_resync else {}),
    }


def removal_attributes(  # noqa: PLR0913 - what a removal consists of
    item_id: ItemId,
    state: ItemState,
    now: datetime,
    *,
    erase: bool,
    reason: RemovalReason | None = None,
    keeps_at_plaid: bool = False,
) -> dict[str, Any]:
    """Return the attributes of a requested removal.

    The access token of an Item that Plaid keeps is dropped at once: no worker, and none of an older version, can remove
    the Item at Plaid.
    """
    kept = {"removal_keeps_at_plaid": True, "access_token": None} if keeps_at_plaid else {}
    return {
        **kept,
        **state_attributes(state),
        "removal_reason_code": None if reason is None else reason.code,
        "removal_reason_note": None if reason is None else reason.note,
        "removal_requested_at": format_timestamp(now),
        "removal_erases": erase,
        **request_attributes(item_id, now),
    }


def bank_attributes(status: BankStatus) -> dict[str, Any]:
    """Return the attributes of Plaid's connection to the bank."""
    return {
        "bank_checked_at": format_timestamp(status.checked_at),
        "bank_success_at": format_optional_timestamp(status.last_success_at),
        "bank_failure_at": format_optional_timestamp(status.last_failure_at),
        "bank_error_code": status.error_code,
    }


def _optional_time(values: dict[str, Any], name: str) -> datetime | None:
    return read_timestamp(values[name]) if name in values else None


def _optional_int(values: dict[str, Any], name: str) -> int | None:
    return int(values[name]) if name in values else None
