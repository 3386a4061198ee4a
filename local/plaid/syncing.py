"""/transactions/sync: pagination loops over an Item's log."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from local.plaid import cursors, rows
from local.plaid.cursors import Cursor
from local.plaid.errors import PlaidError
from local.plaid.items import Phase
from local.plaid.linking import LinkOperations
from local.plaid.log import Change, Span, page_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from local.plaid.items import Item
    from local.plaid.wire import JsonObject


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """One call, validated."""

    cursor: str = ""
    count: int = 100
    account_id: str | None = None
    days_requested: int | None = None
    original_description: bool = False
    category_version: str = "v2"


class SyncOperations(LinkOperations):
    """Answers sync calls."""

    def sync(self, item: Item, request: SyncRequest) -> JsonObject:
        """Return one page.

        Raises:
            PlaidError: whatever Plaid would refuse the call with.
        """
        with self.lock:
            self._begin(item, request)
            if item.phase < Phase.INITIAL:
                return self._not_ready(item)
            if request.cursor == "now":
                return self._answer(item, request, self._now(item, request), [], len(item.log.changes))
            cursor = self._resume(item, request)
            changes = item.log.between(cursor.span)
            page, offset = page_of(changes, cursor.offset, request.count)
            # A loop that began before an account was muted goes on, but no longer tells of it.
            page = [change for change in page if change.account_id not in item.log.muted]
            return self._answer(item, request, replace(cursor, offset=offset), page, len(changes))

    def _begin(self, item: Item, request: SyncRequest) -> None:
        served = self.behaviour.sync_while_login_required and item.error_code != "USER_PERMISSION_REVOKED"
        if item.error_code and not served:
            raise PlaidError(item.error_code)
        known = {account["account_id"] for account in item.generator.accounts}
        if request.account_id is not None and request.account_id not in known:
            raise PlaidError("INVALID_ACCOUNT_ID")
        first = not item.armed
        self.initialise(item, request.days_requested)
        item.armed = True
        if first and item.phase is Phase.HISTORICAL and self.behaviour.retroactive_sync_webhook:
            self.emit(item, "TRANSACTIONS", "SYNC_UPDATES_AVAILABLE")

    def _not_ready(self, item: Item) -> JsonObject:
        return {
            "accounts": [],
            "added": [],
            "has_more": False,
            "modified": [],
            "next_cursor": None if self.behaviour.not_ready_cursor_null else "",
            "removed": [],
            "transactions_update_status": item.phase.status,
        }

    def _now(self, item: Item, request: SyncRequest) -> Cursor:
        head = item.log.head
        return Cursor(Span(head, head, head, request.account_id), offset=head)

    def _resume(self, item: Item, request: SyncRequest) -> Cursor:
        head = item.log.head
        behaviour = self.behaviour
        opening = Cursor(Span(0, head, 0, request.account_id, behaviour.spell_out, behaviour.hide_reverts), final=False)
        if request.cursor:
            cursor = cursors.decode(request.cursor, item.item_id, self.cursor_key)
            if cursor.span.account_id != request.account_id:
                raise PlaidError("INVALID_FIELD", detail="cursor not associated with the given account_id")
            if not cursor.final:
                self._check_mutation(item, cursor)
                return cursor
            span = replace(opening.span, start=cursor.span.start, origin=cursor.span.origin)
            opening = Cursor(span, final=False)
            self._strike(item, cursor, anywhere=True)
        return opening

    def _check_mutation(self, item: Item, cursor: Cursor) -> None:
        self._strike(item, cursor, anywhere=False)
        if self.behaviour.detect_mutation and cursor.span.head != item.log.head:
            raise PlaidError("TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION")

    def _strike(self, item: Item, cursor: Cursor, *, anywhere: bool) -> None:
        aimed = cursor.span.start > 0 if item.forced_anywhere else not anywhere
        if item.forced_mutations > 0 and aimed:
            item.forced_mutations -= 1
            raise PlaidError("TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION")

    def _answer(
        self, item: Item, request: SyncRequest, position: Cursor, page: Sequence[Change], total: int
    ) -> JsonObject:
        has_more = position.offset < total
        following = position if has_more else cursors.after(position.span)
        text = cursors.encode(following, item.item_id, self.cursor_key)
        if following.final and following.span.account_id is None and following.span.origin == 0:
            item.final_cursors[text] = following.span.start

        def told(transaction_id: str, entry: JsonObject) -> object:
            breakage = item.breakages.get(transaction_id)
            return breakage(entry) if breakage else entry

        def shown(kind: str) -> list[object]:
            return [
                told(
                    change.transaction_id,
                    rows.shown(
                        change.row, original=request.original_description, category_version=request.category_version
                    ),
                )
                for change in page
                if change.kind == kind and change.row
            ]

        return {
            "accounts": item.accounts(request.account_id),
            "added": shown("added"),
            "has_more": has_more,
            "modified": shown("modified"),
            "next_cursor": text,
            "removed": [
                told(change.transaction_id, {"account_id": change.account_id, "transaction_id": change.transaction_id})
                for change in page
                if change.kind == "removed"
            ],
            "transactions_update_status": item.phase.status,
        }
