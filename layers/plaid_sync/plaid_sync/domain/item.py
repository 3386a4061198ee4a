"""An Item: one bank connection, as the Items table stores it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NewType

from plaid_sync.domain.accounts import NO_ACCOUNT_STATES, Account, AccountStates

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

ItemId = NewType("ItemId", str)
Cursor = NewType("Cursor", str)
MAX_HISTORY_DAYS: Final = 730
"""The longest history that Plaid serves (https://plaid.com/docs/api/products/transactions/)."""
HISTORY_NOT_READY: Final = "NOT_READY"
HISTORY_INITIAL: Final = "INITIAL_UPDATE_COMPLETE"
HISTORY_COMPLETE: Final = "HISTORICAL_UPDATE_COMPLETE"
"""Values of Plaid's `transactions_update_status` (https://plaid.com/docs/api/products/transactions/)."""


class StateName(StrEnum):
    """Whether an Item is synced, and if not, who can change that (docs/items.md)."""

    ACTIVE = "active"
    """Nothing is wrong."""
    EXPIRING = "expiring"
    """It works until a known time: the user has to renew the connection before."""
    DEGRADED = "degraded"
    """The bank is down: retried automatically."""
    NEEDS_USER = "needs_user"
    """Only the user can repair it."""
    REVOKED = "revoked"
    """It ended at Plaid or at the bank; its rows stay as they are."""
    REMOVED = "removed"
    """It was removed through the API: nothing writes its rows any more."""


_KNOWN_STATES: Final = frozenset(StateName)


@dataclass(frozen=True, slots=True)
class Expiry:
    """Plaid's warning that an Item stops working unless the user renews it.

    Attributes:
        code: the webhook's code: `PENDING_EXPIRATION` or `PENDING_DISCONNECT`.
        until: when it stops.
    """

    code: str
    until: datetime


@dataclass(frozen=True, slots=True)
class ItemState:
    """The state of an Item.

    Attributes:
        name: a `StateName`, or the word of a newer version: such an Item is shown as it is, and never synced.
        code: what is wrong: Plaid's error code, or the warning's.
        code_reason: Plaid's `error_code_reason` beside the code.
        since: since when name, code and reason are what they are.
        expiry: the open warning, kept while the bank is down or the user is needed.
        warnings_resolved_until: the latest deadline that a repair resolved: a late copy of its warning is outdated.
        consent_until: when the user's consent ends, as Plaid last reported it.
    """

    name: str
    code: str | None = None
    since: datetime | None = None
    expiry: Expiry | None = None
    warnings_resolved_until: datetime | None = None
    code_reason: str | None = None
    consent_until: datetime | None = None

    @property
    def is_known(self) -> bool:
        """Whether this version knows the state."""
        return self.name in _KNOWN_STATES

    @property
    def until(self) -> datetime | None:
        """When it stops working, if it is expiring."""
        return self.expiry.until if self.name == StateName.EXPIRING and self.expiry is not None else None


@dataclass(frozen=True, slots=True)
class ItemHealth:
    """Plaid's report about an Item (https://plaid.com/docs/api/items/#itemget).

    Attributes:
        error_code: what is wrong with it; None when nothing is.
        consent_until: when the user's consent ends, where Plaid knows that.
        last_success_at: when Plaid last got transactions from the bank.
        last_failure_at: when it last failed to.
        request_id: Plaid's id of the call; empty where there was none.
        institution_id: the bank, where Plaid names one.
        error_type: the error's type; empty where there is none.
        code_reason: Plaid's `error_code_reason` beside the error code.
    """

    error_code: str | None = None
    consent_until: datetime | None = None
    last_success_at: datetime | None = None
    last_failure_at: datetime | None = None
    request_id: str = ""
    institution_id: str | None = None
    error_type: str = ""
    code_reason: str | None = None


@dataclass(frozen=True, slots=True)
class AccountList:
    """The accounts of an Item, as /accounts/get lists them.

    Attributes:
        request_id: Plaid's id of the call; empty where there was none.
        health: Plaid's report about the Item, which comes with them.
        complete: whether every account was readable: else absence proves nothing.
    """

    accounts: tuple[Account, ...]
    request_id: str = ""
    health: ItemHealth = ItemHealth()
    complete: bool = True


@dataclass(frozen=True, slots=True)
class BankStatus:
    """Plaid's report about its connection to the bank, as the API last fetched it.

    Attributes:
        checked_at: when it was fetched.
        last_success_at: when Plaid last got transactions from the bank.
        last_failure_at: when it last failed to.
        error_code: what was wrong with the Item.
    """

    checked_at: datetime
    last_success_at: datetime | None = None
    last_failure_at: datetime | None = None
    error_code: str | None = None


REMOVAL_REASONS: Final = (
    "FRAUD_FIRST_PARTY",
    "FRAUD_FALSE_IDENTITY",
    "FRAUD_ABUSE",
    "FRAUD_OTHER",
    "CONNECTION_IS_NON_FUNCTIONAL",
    "OTHER",
)
"""Why an Item can be removed (https://plaid.com/docs/api/items/#itemremove)."""
MAX_REASON_NOTE_LENGTH: Final = 512


@dataclass(frozen=True, slots=True)
class RemovalReason:
    """Why an Item is removed, for Plaid.

    Attributes:
        code: one of `REMOVAL_REASONS`, or the word of a newer version.
        note: the caller's text; it must hold no personal data.
    """

    code: str
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Removal:
    """The removal of an Item.

    Attributes:
        erase: whether its transactions are erased, too.
        rows_to_erase: how many rows there were when nothing could be written any more; None before they are counted.
        plaid_removed_at: when Plaid removed it: its billing ended, and its access token is gone.
        completed_at: when nothing was left to do.
        reason: why, for Plaid; None where the caller gave none.
        keeps_at_plaid: whether another system goes on with the Item at Plaid, by the access token that was exported.
    """

    requested_at: datetime
    erase: bool
    rows_to_erase: int | None = None
    plaid_removed_at: datetime | None = None
    completed_at: datetime | None = None
    reason: RemovalReason | None = None
    keeps_at_plaid: bool = False


@dataclass(frozen=True, slots=True)
class ItemFailure:
    """Why an Item is retried: its last attempts failed. Its state stays what Plaid says.

    Attributes:
        code: Plaid's error code, or our reason, of the last failure.
        failure_class: a `FailureClass`, or the word of a newer version.
        since: when the first attempt after the last success failed.
        last_at: when the last attempt failed.
    """

    code: str
    failure_class: str
    since: datetime
    last_at: datetime


CHECK_ACCOUNTS: Final = "check_accounts"
"""A pending check: compare the accounts with /accounts/get."""
ACCOUNT_ROWS: Final = "account_rows"
"""A pending check: bring the rows of an account to the account's state."""


@dataclass(frozen=True, slots=True)
class PendingCheck:
    """What an Item needs beyond a sync, until an attempt has processed it.

    Attributes:
        code: of an ITEM webhook, `CHECK_ACCOUNTS` or `ACCOUNT_ROWS`; that of a newer version is kept.
        reported_at: when it was requested: of a webhook, when it was queued.
        until: the deadline of a warning.
        account_id: the account that the check is about.
    """

    code: str
    reported_at: datetime | None = None
    until: datetime | None = None
    account_id: str | None = None


MAX_CHECKS: Final = 500
"""Pending checks of an Item: one per kind of webhook, deadline and withdrawn account. They take 100 KB at most."""


def merge_checks(known: Iterable[PendingCheck], requested: Iterable[PendingCheck]) -> tuple[PendingCheck, ...]:
    """Return the checks that are pending: of the same kind, account and deadline one, at most `MAX_CHECKS`.

    The last one, in its place; but a late copy of a warning stays where the warning was, before its repair.
    """
    merged: dict[tuple[str, str | None, datetime | None], PendingCheck] = {}
    for check in (*known, *requested):
        key = check.code, check.account_id, check.until
        if key in merged and check.until is not None:
            continue
        merged.pop(key, None)
        merged[key] = check
    return tuple(merged.values())[-MAX_CHECKS:]


GenerationRanges = tuple[tuple[int, int], ...]


def in_ranges(generation: int, ranges: GenerationRanges) -> bool:
    """Return whether a generation is in one of the ranges."""
    return any(first <= generation <= last for first, last in ranges)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far an unfinished pull of many pages is. The rows up to here are written, and provisional.

    Attributes:
        cursor: where the pull continues.
        stored_cursor: the Item's while the pull goes on: a commit of a version that knows no checkpoints changes it.
        from_beginning: whether it began at the beginning of the history, not at the stored cursor.
        began_at: when it began, by the worker's clock.
        written: the generations under which its parts were written, as ranges (first, last). A row of another
            generation is not mentioned by the parts up to here; one of a generation in between is a dead attempt's.
        removes_unknown: whether it mentioned a removal without a readable id.
    """

    cursor: Cursor
    stored_cursor: Cursor | None
    from_beginning: bool
    began_at: datetime
    written: GenerationRanges
    removes_unknown: bool = False


@dataclass(frozen=True, slots=True)
class Imported:
    """Where an Item came from: another system, which linked it.

    Attributes:
        webhook: where Plaid sent its webhooks before; None for nowhere.
        switched_at: when Plaid began to send them to this stack; None before, and after the old URL is restored.
    """

    webhook: str | None = field(default=None, repr=False)
    switched_at: datetime | None = None


_ROTATION_TAKES: Final = timedelta(minutes=5)
"""Longer than the request that replaces an access token can run."""


@dataclass(frozen=True, slots=True)
class Item:
    """One Item.

    Attributes:
        access_token: ciphertext under the token key, with the item_id as encryption context; empty once Plaid has
            removed the Item, or it is removed here and kept at Plaid, and in lists.
        generation: the fencing token. Every claim raises it; only the holder of the newest may write.
        attempt_id: of the attempt that claimed it last, as `<began at>#<random>`; empty before the first.
        cursor: Plaid's cursor at the end of the last complete update; None before the first.
        writing_since: generation of the first attempt that may have died between its transactions.
        checkpoint: how far an unfinished pull of many pages is.
        pull_restarts: how often pulls of many pages had to start again since the last commit or requested full resync.
        reconcile: a full resync is pending: pull from the beginning and tombstone what Plaid no longer has.
        reconcile_after: when it may begin; None: with the next attempt.
        inconclusive_pulls: how many full resyncs ended without a complete history since it is pending.
        history_complete: whether Plaid has reported the history as complete once.
        cursor_reset_at: when a stored cursor was last replaced by a pull from the beginning, because Plaid refused it.
        days_requested: days of history to request when the first sync initializes Transactions at Plaid.
        pulled_with: the stack's options of /transactions/sync that its rows are pulled with; empty for Plaid's
            defaults. While a full resync is pending, some are of other options.
        pull_began_at: when the pull behind the stored cursor began, by the worker's clock.
        update_status: Plaid's `transactions_update_status` in the last response; empty before the first.
        synced_at: when a sync last committed.
        webhook_at: when the newest webhook that led to an attempt was accepted.
        link_id: digest of the public token that it was linked with, or of the access token that it was imported with.
        imported: where it came from; None where it was linked here.
        client_user_id: the caller's reference of the user; None where it was linked without a session.
        accounts: those of its accounts that are listed or gone, as last seen.
        account_states: the accounts that are not simply listed.
        accounts_checked_at: when its accounts were last compared with /accounts/get.
        token_rotation_began_at: when a rotation of its access token began that is not completed: the stored token may
            be dead, and the new one lost.
        token_exported_at: when its access token was last exported; None where no rotation has left that one valid.
        bank_login_ids: keys of its account claims (`domain.claims.claim_keys`).
        removal: set once it is removed.
        bank: Plaid's connection to the bank, as the API last fetched it.
        next_attempt_at: when the sweep enqueues it; None where nothing is left to do.
        failure: why it is retried; None where nothing failed.
        pending_checks: what webhooks and requests need beyond a sync, until an attempt has processed it.
        refreshed_at: when a refresh was last requested.
        changes_at: generation of the last commit that the feed publishes; 0 before the first.
        unfinished_attempts: attempts since the last outcome, whose workers died or still run; 0 after a request of
            the API that supersedes them.
    """

    item_id: ItemId
    state: ItemState
    access_token: bytes = field(default=b"", repr=False)
    generation: int = 0
    attempt_id: str = ""
    cursor: Cursor | None = None
    writing_since: int | None = None
    checkpoint: Checkpoint | None = None
    pull_restarts: int = 0
    reconcile: bool = False
    reconcile_after: datetime | None = None
    inconclusive_pulls: int = 0
    history_complete: bool = False
    cursor_reset_at: datetime | None = None
    days_requested: int | None = None
    pulled_with: str = ""
    pull_began_at: datetime | None = None
    update_status: str = ""
    synced_at: datetime | None = None
    webhook_at: datetime | None = None
    linked_at: datetime | None = None
    link_id: str = ""
    imported: Imported | None = None
    client_user_id: str | None = None
    institution_id: str | None = None
    accounts: tuple[Account, ...] = ()
    account_states: AccountStates = NO_ACCOUNT_STATES
    accounts_checked_at: datetime | None = None
    token_rotation_began_at: datetime | None = None
    token_exported_at: datetime | None = None
    bank_login_ids: frozenset[str] = frozenset()
    removal: Removal | None = None
    bank: BankStatus | None = None
    next_attempt_at: datetime | None = None
    failure: ItemFailure | None = None
    pending_checks: tuple[PendingCheck, ...] = ()
    unfinished_attempts: int = 0
    changes_at: int = 0
    refreshed_at: datetime | None = None

    @property
    def known_account_ids(self) -> frozenset[str]:
        """The ids of all accounts that it has or had."""
        return self.account_states.all.union(account.account_id for account in self.accounts)

    def token_is_rotating(self, now: datetime) -> bool:
        """Return whether a request may be replacing its access token right now."""
        began_at = self.token_rotation_began_at
        return began_at is not None and now - began_at < _ROTATION_TAKES

    def reconcile_is_due(self, now: datetime) -> bool:
        """Return whether a full resync is pending, and may begin."""
        return self.reconcile and (self.reconcile_after is None or self.reconcile_after <= now)

    @property
    def removed(self) -> bool:
        """Whether it was removed through the API."""
        return self.state.name == StateName.REMOVED
