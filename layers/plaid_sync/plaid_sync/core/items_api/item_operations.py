"""What the Items API does to an Item: each change with its entry in the Item's history, and safe to be asked for again.

Whatever needs the Item's worker is queued last: if that fails, the same request, sent again, completes it.
"""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, TypeVar

from plaid_sync.core.failures import PlaidError, RetryableError
from plaid_sync.core.items_api.asked import request_ids
from plaid_sync.core.items_api.item_record import permit
from plaid_sync.core.items_api.item_view import accounts, removal
from plaid_sync.core.items_api.removal_request import requested_removal
from plaid_sync.core.items_api.requests import RefusedError, item_not_found
from plaid_sync.core.lifecycle.standing import NOTICE_OF_THE_END, Change, Occurrence, apply
from plaid_sync.core.lifecycle.states import Event
from plaid_sync.core.triggers import Cause, SyncTrigger

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from plaid_sync.core.items import ItemId, Standing
    from plaid_sync.core.items_api.asked import Asked
    from plaid_sync.core.items_api.item_record import ItemRecord
    from plaid_sync.core.items_api.item_view import View
    from plaid_sync.core.linking.session_reader import SessionReader
    from plaid_sync.ports.common import Clock, SyncQueue, TokenDecryptor
    from plaid_sync.ports.items_api import ApiItems, HistoryPages, PlaidItemCalls

_T = TypeVar("_T")

_TRIES: Final = 3
REFRESH_PAUSE: Final = timedelta(seconds=30)
"""Plaid allows two refreshes a minute and Item (https://plaid.com/docs/errors/rate-limit-exceeded/)."""
_LATE: Final = timedelta(hours=1)
"""How long after it was sent a warning may have been queued, without being taken for one of after the repair."""


@dataclass(frozen=True, slots=True)
class ItemOperations:
    """Changes Items.

    All raise `RefusedError` where there is no such Item, or its state does not allow it, `PlaidError` where Plaid
    refused, and `RetryableError` where something could not be reached: send the same request again.
    """

    items: ApiItems
    history: HistoryPages
    sessions: SessionReader
    tokens: TokenDecryptor
    plaid: PlaidItemCalls
    queue: SyncQueue
    clock: Clock

    def remove(self, item_id: ItemId, asked: Asked, *, erase: bool) -> View:
        """Answer `DELETE /items/{item_id}`: from now on nothing is written, and the Item's worker does the rest."""
        for _ in range(_TRIES):
            record = self._load(item_id, Event.REMOVE)
            if self._let_remove(record, asked, erase=erase):
                break
        else:
            raise RetryableError("item_changes")
        record = self._load(item_id, Event.REMOVE)
        if record.removal is None or record.removal.completed_at is None:
            self._trigger(item_id)
        shown = {} if record.removal is None else {"removal": removal(record.removal)}
        return {"item_id": item_id, "state": record.standing.status.value, **shown}

    def _let_remove(self, record: ItemRecord, asked: Asked, *, erase: bool) -> bool:
        """Record the wish, if it is news; False where the Item has changed meanwhile."""
        now = self.clock()
        if not record.removed:
            standing, entry = requested_removal(record, asked, now, erase=erase)
            return self.items.remove(record, standing, entry, erase=erase)
        if erase and record.removal is not None and not record.removal.erase:
            entry = asked.entry(record.item_id, now, "erasure_requested", transactions="erase")
            return self.items.erase_too(record, entry)
        return True

    def sync(self, item_id: ItemId, asked: Asked) -> View:
        """Answer `POST /items/{item_id}/sync`."""
        self._load(item_id, Event.SYNC)
        self.history.add(asked.entry(item_id, self.clock(), "queued"))
        self._trigger(item_id)
        return {"queued": True}

    def finish_update_mode(self, item_id: ItemId, link_token: str, asked: Asked) -> View:
        """Answer `POST /items/{item_id}/sync` after the user has gone through update mode."""
        self._load(item_id, Event.UPDATE_MODE_FINISHED)
        if self.sessions.find(link_token).item_id != item_id:
            raise RefusedError(
                HTTPStatus.FORBIDDEN,
                "link_session_of_another_item",
                "the link token was not made for this Item's update mode",
                {"fix": "send the one that POST /link-tokens gave for this item_id", "field": "link_token"},
            )
        results = self.sessions.require_finished(link_token)
        for _ in range(_TRIES):
            record, now = self._load(item_id, Event.UPDATE_MODE_FINISHED), self.clock()
            change = _repaired(record.standing, results.finished_at, now)
            entry = asked.entry(
                item_id,
                now,
                "update_mode_finished",
                *([change.announcement] if change.announcement else []),
                status_before=record.standing.status.value,
                status=change.standing.status.value,
                plaid_request_ids=request_ids(results.request_id),
            )
            if self.items.stand(record, change.standing, entry):
                self._trigger(item_id)
                return {"queued": True}
        raise RetryableError("item_changes")

    def resync(self, item_id: ItemId, asked: Asked) -> View:
        """Answer `POST /items/{item_id}/resync`."""
        self._load(item_id, Event.RESYNC)
        if not self.items.owe_reconciliation(item_id, asked.entry(item_id, self.clock(), "queued")):
            self._load(item_id, Event.RESYNC)
            raise RetryableError("item_changes")
        self._trigger(item_id)
        return {"queued": True}

    def refresh(self, item_id: ItemId, asked: Asked) -> View:
        """Answer `POST /items/{item_id}/refresh`. A webhook of Plaid's tells what came of it."""
        record, now = self._load(item_id, Event.REFRESH), self.clock()
        access_token = self._open(record)
        last = self.items.begin_refresh(item_id, now, REFRESH_PAUSE)
        if last is not None:
            wait = max(1, math.ceil((last + REFRESH_PAUSE - now).total_seconds()))
            raise RefusedError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "refreshed_recently",
                "an Item is refreshed once in 30 seconds at most",
                {"fix": "wait as long as Retry-After says"},
                wait,
            )
        request_id = self._ask(item_id, asked, lambda: self.plaid.refresh(access_token))
        self.history.add(asked.entry(item_id, self.clock(), "requested", plaid_request_ids=request_ids(request_id)))
        return {"requested": True}

    def set_webhook(self, item_id: ItemId, asked: Asked) -> View:
        """Answer `POST /items/{item_id}/webhook`."""
        access_token = self._open(self._load(item_id, Event.SET_WEBHOOK))
        request_id = self._ask(item_id, asked, lambda: self.plaid.set_webhook(access_token, asked.webhook_url))
        self.history.add(asked.entry(item_id, self.clock(), "done", plaid_request_ids=request_ids(request_id)))
        return {"webhook": asked.webhook_url}

    def fetch_accounts(self, item_id: ItemId, asked: Asked) -> View:
        """Answer `POST /items/{item_id}/accounts`."""
        access_token = self._open(self._load(item_id, Event.ACCOUNTS))
        found = self._ask(item_id, asked, lambda: self.plaid.accounts(access_token))
        entry = asked.entry(item_id, self.clock(), "done", plaid_request_ids=request_ids(found.request_id))
        if not self.items.keep_accounts(item_id, found.accounts, entry):
            self._load(item_id, Event.ACCOUNTS)
            raise RetryableError("item_changes")
        return {"accounts": accounts(found.accounts)}

    def _load(self, item_id: ItemId, event: Event) -> ItemRecord:
        record = self.items.load(item_id)
        if record is None:
            raise item_not_found()
        permit(record, event)
        return record

    def _open(self, record: ItemRecord) -> str:
        return self.tokens.decrypt(record.item_id, record.access_token)

    def _ask(self, item_id: ItemId, asked: Asked, call: Callable[[], _T]) -> _T:
        """Make a call to Plaid; a refusal is recorded, too."""
        try:
            return call()
        except PlaidError as error:
            ids = request_ids(error.request_id)
            self.history.add(asked.entry(item_id, self.clock(), "refused", code=error.code, plaid_request_ids=ids))
            raise

    def _trigger(self, item_id: ItemId) -> None:
        self.queue.send(SyncTrigger(item_id, Cause.REQUEST), str(uuid.uuid4()))


def _repaired(standing: Standing, finished_at: datetime | None, now: datetime) -> Change:
    """Return what a finished update mode makes of how an Item stands.

    A link token can be sent again hours later: it does not answer a warning that came after the user had finished.
    """
    told_at = now if finished_at is None else min(finished_at, now)
    expiry = standing.expiry
    if expiry is not None and expiry.until > told_at + NOTICE_OF_THE_END + _LATE:
        return Change(standing)
    return apply(standing, Occurrence(Event.UPDATE_MODE_FINISHED, told_at=told_at), now)
