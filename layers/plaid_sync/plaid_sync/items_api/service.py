"""The operations of the Items API: each change is written with its history entry, and is idempotent.

The message for the Item's worker is sent last: if that fails, the same request, sent again, completes it.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from plaid_sync.domain.accounts import Account, AccountState, merge_accounts
from plaid_sync.domain.errors import ITEM_MODIFIED, CallBudgetError, PlaidError, Refusal, RefusedError, TransientError
from plaid_sync.domain.item import ACCOUNT_ROWS, CHECK_ACCOUNTS, PendingCheck
from plaid_sync.domain.messages import Cause, SyncMessage
from plaid_sync.domain.requests import (
    account_not_found_error,
    item_removed_error,
    known_request_ids,
    request_removal,
    require_allowed,
    token_not_exported_error,
)
from plaid_sync.domain.state_machine import WARNING_PERIOD, ItemEvent, TransitionResult, apply_event
from plaid_sync.domain.transitions import EventType
from plaid_sync.items_api.ports import ItemChange
from plaid_sync.items_api.views import listed_views, removal_view
from plaid_sync.items_api.waiting import POLL_SECONDS, PullWatch

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from plaid_sync.domain.clock import Clock
    from plaid_sync.domain.history import HistoryEntry
    from plaid_sync.domain.item import Item, ItemId, ItemState, RemovalReason
    from plaid_sync.domain.ports import SyncQueue, TokenDecryptor
    from plaid_sync.domain.requests import RequestContext
    from plaid_sync.items_api.ports import ApiItems, HistoryStore, PlaidItemCalls, UpdateMode, UpdateModeSessions
    from plaid_sync.items_api.views import View

_T = TypeVar("_T")
_MAX_TRIES: Final = 3
_RESPONSE_SECONDS: Final = 8.0
"""What the response after a wait can take: it shows the Item with Plaid's report."""
MIN_REFRESH_INTERVAL: Final = timedelta(seconds=30)
"""Plaid allows two refreshes per minute and Item (https://plaid.com/docs/errors/rate-limit-exceeded/)."""
_MAX_QUEUE_DELAY: Final = timedelta(hours=1)
"""How long a warning may be queued without being taken for one that was sent after the repair."""


@dataclass(frozen=True, slots=True)
class ItemOperations:
    """Changes Items.

    All raise `RefusedError` where there is no such Item, or its state does not allow it, `PlaidError` where Plaid
    refused, and `TransientError` where the same request can succeed later.
    """

    items: ApiItems
    history: HistoryStore
    sessions: UpdateModeSessions
    tokens: TokenDecryptor
    plaid: PlaidItemCalls
    queue: SyncQueue
    clock: Clock

    def remove(
        self, item_id: ItemId, context: RequestContext, *, erase: bool, reason: RemovalReason | None = None
    ) -> View:
        """Remove an Item: nothing is written for it any more, and its worker does the rest."""
        return self._remove(item_id, lambda item: self._record_removal(item, context, reason, erase=erase))

    def remove_here(self, item_id: ItemId, context: RequestContext, *, erase: bool) -> View:
        """Remove an Item here alone: another system goes on with it, by the access token that was exported."""
        return self._remove(item_id, lambda item: self._record_removal_here(item, context, erase=erase))

    def _remove(self, item_id: ItemId, record: Callable[[Item], bool]) -> View:
        for _ in range(_MAX_TRIES):
            if record(self._load(item_id, EventType.REMOVE)):
                break
        else:
            raise TransientError(ITEM_MODIFIED)
        item = self._load(item_id, EventType.REMOVE)
        if item.removal is None or item.removal.completed_at is None:
            self.queue.send(SyncMessage(item_id, Cause.REQUEST))
        removal = {} if item.removal is None else {"removal": removal_view(item.removal)}
        return {"item_id": item_id, "state": str(item.state.name), **removal}

    def _record_removal(
        self, item: Item, context: RequestContext, reason: RemovalReason | None, *, erase: bool
    ) -> bool:
        """Record the request, unless it changes nothing; return False where the Item was modified concurrently."""
        now = self.clock.now()
        if not item.removed:
            code = None if reason is None else reason.code
            state, entry = request_removal(item, context, now, erase=erase, reason_code=code)
            return self.items.remove(item, state, entry, erase=erase, reason=reason)
        return self._also_erase(item, context) if erase else True

    def _record_removal_here(self, item: Item, context: RequestContext, *, erase: bool) -> bool:
        """Record the request, as `_record_removal` does; refuse it where no other system has the token."""
        if item.removal is not None and item.removal.keeps_at_plaid:
            return self._also_erase(item, context) if erase else True
        if item.removed:
            raise item_removed_error(item.item_id)
        if item.token_exported_at is None:
            raise token_not_exported_error(item.item_id)
        state, entry = request_removal(item, context, self.clock.now(), erase=erase, keeps_at_plaid=True)
        return self.items.remove_here(item, state, entry, erase=erase)

    def _also_erase(self, item: Item, context: RequestContext) -> bool:
        """Erase the rows of a removed Item, too; return False where the Item was modified concurrently."""
        if item.removal is None or item.removal.erase:
            return True
        entry = context.entry(item.item_id, self.clock.now(), "erasure_requested", transactions="erase")
        return self.items.also_erase_transactions(item, entry)

    def sync(self, item_id: ItemId, context: RequestContext) -> View:
        """Request a sync."""
        self._load(item_id, EventType.SYNC)
        self.history.add(context.entry(item_id, self.clock.now(), "queued"))
        self.queue.send(SyncMessage(item_id, Cause.REQUEST))
        return {"queued": True}

    def before_sync(self, item_id: ItemId) -> Item:
        """Return the Item as it is before a sync is requested, for `wait_for_pull`."""
        return self._load(item_id, EventType.SYNC)

    def wait_for_pull(self, before: Item, seconds: int, context: RequestContext) -> bool:
        """Wait up to so many seconds; return whether a pull that began after `before` was loaded has committed."""
        watch = PullWatch(before)
        for _ in range(int(seconds / POLL_SECONDS)):
            if not context.deadline.allows(_RESPONSE_SECONDS):
                break
            self.clock.sleep(POLL_SECONDS)
            # The sync is requested anyway: a failed read does not make that a failure.
            with suppress(TransientError):
                item = self.items.load(before.item_id)
                if item is not None and watch.is_committed(item):
                    return True
        return False

    def finish_update_mode(self, item_id: ItemId, link_token: str, context: RequestContext) -> View:
        """Record that the user finished update mode, and request a sync."""
        self._load(item_id, EventType.UPDATE_MODE_FINISHED)
        mode = self.sessions.update_mode(link_token, item_id)

        def repaired(item: Item, now: datetime) -> tuple[ItemChange, HistoryEntry]:
            result = _repair(item.state, mode, now)
            entry = context.entry(
                item_id,
                now,
                "update_mode_finished",
                *result.published_events,
                state_before=str(item.state.name),
                state=str(result.state.name),
                plaid_request_ids=known_request_ids(mode.request_id),
            )
            # The user may have added accounts, or deselected some: no webhook says so.
            return ItemChange(state=result.state, check=PendingCheck(CHECK_ACCOUNTS, now)), entry

        self._change(item_id, EventType.UPDATE_MODE_FINISHED, repaired)
        return {"queued": True}

    def resync(self, item_id: ItemId, context: RequestContext) -> View:
        """Request a full resync."""
        self._change(
            item_id,
            EventType.RESYNC,
            lambda _item, now: (ItemChange(full_resync=True), context.entry(item_id, now, "queued")),
        )
        return {"queued": True}

    def _change(
        self, item_id: ItemId, event: EventType, plan: Callable[[Item, datetime], tuple[ItemChange, HistoryEntry]]
    ) -> Item:
        """Change an Item as `plan` says, and request a sync; return the Item as it was."""
        for _ in range(_MAX_TRIES):
            item = self._load(item_id, event)
            if self.items.change(item, *plan(item, self.clock.now())):
                self.queue.send(SyncMessage(item_id, Cause.REQUEST))
                return item
        raise TransientError(ITEM_MODIFIED)

    def refresh(self, item_id: ItemId, context: RequestContext) -> View:
        """Request that Plaid fetches new transactions from the bank; a webhook reports the result."""
        item, now = self._load(item_id, EventType.REFRESH), self.clock.now()
        access_token = self._access_token(item)
        last = self.items.start_refresh(item_id, now, MIN_REFRESH_INTERVAL)
        if last is not None:
            raise RefusedError(
                Refusal.RATE_LIMITED,
                "refreshed_recently",
                f"limited to one refresh per {MIN_REFRESH_INTERVAL.seconds} s",
                {"fix": "wait as long as Retry-After says"},
                retry_after=max(1, math.ceil((last + MIN_REFRESH_INTERVAL - now).total_seconds())),
            )
        try:
            request_id = self._call(item_id, context, lambda: self.plaid.refresh(access_token))
        except CallBudgetError:
            # No call was made: the next request need not wait for half a minute.
            self.items.withdraw_refresh(item, now)
            raise
        request_ids = known_request_ids(request_id)
        self.history.add(context.entry(item_id, self.clock.now(), "requested", plaid_request_ids=request_ids))
        return {"requested": True}

    def set_webhook(self, item_id: ItemId, context: RequestContext) -> View:
        """Make Plaid send the Item's webhooks to this stack, and sync what those to another URL reported before."""
        for _ in range(_MAX_TRIES):
            item = self._load(item_id, EventType.SET_WEBHOOK)
            entry = self._change_webhook(item, context.webhook_url, context, "done")
            # Only while the Item is as it was loaded: the URL may have been restored meanwhile.
            if self.items.record_webhook(item, entry, here=True):
                self.queue.send(SyncMessage(item_id, Cause.REQUEST))
                return {"webhook": context.webhook_url}
        raise TransientError(ITEM_MODIFIED)

    def restore_webhook(self, item_id: ItemId, context: RequestContext) -> View:
        """Make Plaid send the Item's webhooks where it did before the Item was imported.

        That they no longer come here is recorded first: also if the response is lost, an import switches them again.
        """
        item = self._load_imported(item_id)
        for _ in range(_MAX_TRIES):
            entry = context.entry(item_id, self.clock.now(), "webhook_restore_began")
            if self.items.record_webhook(item, entry, here=False):
                url = None if item.imported is None else item.imported.webhook
                self.history.add(self._change_webhook(item, url, context, "webhook_restored"))
            item = self._load_imported(item_id)
            # Unless a request that switches them here came in between.
            if item.imported is not None and item.imported.switched_at is None:
                return {"webhook": item.imported.webhook}
        raise TransientError(ITEM_MODIFIED)

    def _load_imported(self, item_id: ItemId) -> Item:
        item = self.items.load(item_id)
        if item is not None and not item.removed and item.imported is None:
            raise _not_imported_error()
        return require_allowed(item, EventType.SET_WEBHOOK)

    def _change_webhook(self, item: Item, url: str | None, context: RequestContext, outcome: str) -> HistoryEntry:
        """Change the URL at Plaid; return the entry that records it."""
        item_id, access_token = item.item_id, self._access_token(item)
        request_ids = known_request_ids(self._call(item_id, context, lambda: self.plaid.set_webhook(access_token, url)))
        return context.entry(item_id, self.clock.now(), outcome, plaid_request_ids=request_ids)

    def check(self, item_id: ItemId, context: RequestContext) -> None:
        """Request a check of an Item and its accounts, because something may have ended its connection."""
        check = PendingCheck(CHECK_ACCOUNTS, self.clock.now())
        entry = context.entry(item_id, self.clock.now(), "check_requested")
        self._change(item_id, EventType.SYNC, lambda _item, _now: (ItemChange(check=check), entry))

    def fetch_accounts(self, item_id: ItemId, context: RequestContext) -> View:
        """Return the Item's accounts as Plaid lists them now, and request a comparison with the known ones."""
        item = self._load(item_id, EventType.FETCH_ACCOUNTS)
        access_token = self._access_token(item)
        listed = self._call(item_id, context, lambda: self.plaid.accounts(access_token))
        request_ids, now = known_request_ids(listed.request_id), self.clock.now()
        self.history.add(context.entry(item_id, now, "done", plaid_request_ids=request_ids))
        self.queue.send(SyncMessage(item_id, Cause.ACCOUNTS))
        accounts = (replace(account, as_of=now) for account in listed.accounts)
        return {"accounts": listed_views(accounts, item.account_states)}

    def erase_account(self, item_id: ItemId, account_id: str, context: RequestContext) -> View:
        """Erase one account: its rows are erased, and none is accepted until it is restored."""

        def erase(item: Item, now: datetime) -> tuple[ItemChange, HistoryEntry]:
            states = item.account_states
            change = ItemChange(
                accounts=tuple(account for account in item.accounts if account.account_id != account_id),
                account_states=replace(states, erased=states.erased | {account_id}),
                check=PendingCheck(ACCOUNT_ROWS, now, account_id=account_id),
            )
            return change, context.entry(item_id, now, "account_erasure_requested", account_id=account_id)

        _require_account(self._load(item_id, EventType.ERASE_ACCOUNT), account_id)
        self._change(item_id, EventType.ERASE_ACCOUNT, erase)
        return {"account_id": account_id, "state": AccountState.ERASED.value}

    def restore_account(self, item_id: ItemId, account_id: str, context: RequestContext) -> View:
        """Accept the rows of an erased account again; a full resync brings those that Plaid serves."""

        def restore(item: Item, now: datetime) -> tuple[ItemChange, HistoryEntry]:
            states = item.account_states
            change = ItemChange(
                accounts=merge_accounts((Account(account_id),), item.accounts),
                account_states=replace(states, erased=states.erased - {account_id}),
                check=PendingCheck(CHECK_ACCOUNTS, now),
                full_resync=True,
            )
            return change, context.entry(item_id, now, "account_restored", account_id=account_id)

        item = self._load(item_id, EventType.RESTORE_ACCOUNT)
        _require_account(item, account_id)
        if account_id in item.account_states.erased:
            item = self._change(item_id, EventType.RESTORE_ACCOUNT, restore)
        states = replace(item.account_states, erased=item.account_states.erased - {account_id})
        return {"account_id": account_id, "state": states.of(account_id).value}

    def _load(self, item_id: ItemId, event: EventType) -> Item:
        return require_allowed(self.items.load(item_id), event)

    def _access_token(self, item: Item) -> str:
        return self.tokens.decrypt(item.item_id, item.access_token)

    def _call(self, item_id: ItemId, context: RequestContext, call: Callable[[], _T]) -> _T:
        """Call Plaid; a refusal is recorded in the history."""
        try:
            return call()
        except PlaidError as error:
            request_ids, now = known_request_ids(error.request_id), self.clock.now()
            details = {"code": error.code, "code_reason": error.code_reason, "plaid_request_ids": request_ids}
            self.history.add(context.entry(item_id, now, "refused", **details))
            raise


def _not_imported_error() -> RefusedError:
    """Return the refusal to restore a webhook URL that the Item never had."""
    fix = {"fix": "remove the Item to end its webhooks", "field": "item_id"}
    return RefusedError(Refusal.CONFLICT, "item_not_imported", "the Item was not imported: it had no other URL", fix)


def _require_account(item: Item, account_id: str) -> None:
    if account_id not in item.known_account_ids:
        raise account_not_found_error()


def _repair(state: ItemState, mode: UpdateMode, now: datetime) -> TransitionResult:
    """Apply a finished update mode.

    A link token can be sent again hours later: it does not resolve a warning that came after the user had finished.
    Where that time is unknown, it resolves only a warning that is older than the link token; of any other, Plaid's
    report about the Item decides.
    """
    expiry, since = state.expiry, state.since or now
    if mode.finished_at is None and (mode.began_after is None or (expiry is not None and since > mode.began_after)):
        return TransitionResult(state)
    reported_at = min(mode.finished_at or mode.began_after or now, now)
    if expiry is not None and expiry.until > reported_at + WARNING_PERIOD + _MAX_QUEUE_DELAY:
        return TransitionResult(state)
    return apply_event(state, ItemEvent(EventType.UPDATE_MODE_FINISHED, reported_at=reported_at), now)
