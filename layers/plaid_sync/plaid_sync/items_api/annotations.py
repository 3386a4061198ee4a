"""The annotations of transactions: shown, changed with optimistic concurrency, and reviewed where they did not move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from plaid_sync.domain.annotations import patched
from plaid_sync.domain.errors import Refusal, RefusedError, TransientError
from plaid_sync.domain.requests import item_not_found_error, transaction_not_found_error
from plaid_sync.items_api.views import annotations_view, drop_none

if TYPE_CHECKING:
    from plaid_sync.domain.annotations import AnnotatedRow, Annotations
    from plaid_sync.domain.item import Item, ItemId
    from plaid_sync.domain.transaction import TransactionId
    from plaid_sync.items_api.ports import ApiItems, PageKey
    from plaid_sync.items_api.views import View

_MAX_TRIES: Final = 5
_CHANGED_DIRECTLY: Final = "annotations_busy"


class AnnotationStore(Protocol):
    """The annotations in the Transactions table. All raise `TransientError`."""

    def load(self, item_id: ItemId, transaction_id: TransactionId) -> AnnotatedRow | None:
        """Return a transaction's row, consistently; None where there is none, or it is only an application's."""
        ...

    def save(self, item_id: ItemId, row: AnnotatedRow, annotations: Annotations) -> bool:
        """Replace the annotations of a live row, empty ones by none; return False where it was changed since."""
        ...

    def drop(self, item_id: ItemId, row: AnnotatedRow, *, expires: bool) -> bool:
        """Delete the annotations of a row, live or not; return False where it was changed since.

        Args:
            item_id: the Item.
            row: as it was loaded.
            expires: it is removed, and expires from now on.
        """
        ...

    def unmoved(
        self, item_id: ItemId, limit: int, after: PageKey | None
    ) -> tuple[list[tuple[AnnotatedRow, list[AnnotatedRow]]], PageKey | None]:
        """Return up to `limit` removed rows with annotations, each with the posted ones that may be meant.

        Raises:
            InvalidRequestError: `after` is no key of this list.
        """
        ...


@dataclass(frozen=True, slots=True)
class TransactionAnnotations:
    """Shows and changes annotations. All raise `TransientError`, and `RefusedError` where there is no such row."""

    items: ApiItems
    store: AnnotationStore

    def show(self, item_id: ItemId, transaction_id: TransactionId) -> View:
        """Return a transaction's annotations, and their version."""
        self._load_item(item_id)
        return annotations_view(self._load(item_id, transaction_id))

    def patch(self, item_id: ItemId, transaction_id: TransactionId, expected: int | None, patch: object) -> View:
        """Apply a JSON merge patch, if the version is the expected one (None: any); return the result.

        Raises:
            InvalidRequestError: what the patch makes cannot be stored.
            RefusedError: the version is another one, or the transaction is removed.
        """
        self._load_item(item_id)
        for _ in range(_MAX_TRIES):
            row = self._load(item_id, transaction_id)
            if row.removed_at is not None:
                raise _removed_error(row)
            _require_version(row, expected)
            if row.annotations is None:
                raise _not_json_error()
            annotations = patched(row.annotations, patch)
            if self.store.save(item_id, row, annotations):
                return annotations_view(row, annotations)
        raise TransientError(_CHANGED_DIRECTLY)

    def delete(self, item_id: ItemId, transaction_id: TransactionId, expected: int | None) -> View:
        """Delete the annotations, if the version is the expected one (None: any); a removed row expires then.

        Raises:
            RefusedError: the version is another one.
        """
        item = self._load_item(item_id)
        for _ in range(_MAX_TRIES):
            row = self._load(item_id, transaction_id)
            _require_version(row, expected)
            expires = row.removed_at is not None and row.account_id not in item.account_states.gone
            if self.store.drop(item_id, row, expires=expires):
                return annotations_view(row, {})
        raise TransientError(_CHANGED_DIRECTLY)

    def review(self, item_id: ItemId, limit: int, after: PageKey | None) -> tuple[list[View], PageKey | None]:
        """Return the removed rows whose annotations did not move, and the posted rows that may be meant.

        Raises:
            InvalidRequestError: `after` is no key of this list.
        """
        self._load_item(item_id)
        found, last = self.store.unmoved(item_id, limit, after)
        return [_review_view(row, candidates) for row, candidates in found], last

    def _load_item(self, item_id: ItemId) -> Item:
        item = self.items.load(item_id)
        if item is None:
            raise item_not_found_error()
        return item

    def _load(self, item_id: ItemId, transaction_id: TransactionId) -> AnnotatedRow:
        row = self.store.load(item_id, transaction_id)
        if row is None:
            raise transaction_not_found_error()
        return row


def _review_view(row: AnnotatedRow, candidates: list[AnnotatedRow]) -> View:
    return annotations_view(row) | drop_none(
        account_id=row.account_id,
        date=row.date,
        amount=row.amount,
        candidates=[drop_none(transaction_id=each.transaction_id, date=each.date) for each in candidates],
    )


def _require_version(row: AnnotatedRow, expected: int | None) -> None:
    if expected is not None and expected != row.version:
        members = {"version": str(row.version), "fix": "GET them, decide again, and send its ETag in If-Match"}
        detail = "the annotations were changed since"
        raise RefusedError(Refusal.PRECONDITION_FAILED, "annotations_modified", detail, members)


def _removed_error(row: AnnotatedRow) -> RefusedError:
    posted = row.posted_transaction_id
    fix = "annotate the posted transaction" if posted else "annotate the transaction that replaced it, if one did"
    members = {"posted_transaction_id": posted or "", "fix": fix}
    return RefusedError(Refusal.CONFLICT, "transaction_removed", "Plaid has removed the transaction", members)


def _not_json_error() -> RefusedError:
    detail = "another program wrote annotations that JSON cannot show: a set, bytes, or no map at all"
    fix = {"fix": "change them in the table, or DELETE them"}
    return RefusedError(Refusal.CONFLICT, "annotations_not_json", detail, fix)
