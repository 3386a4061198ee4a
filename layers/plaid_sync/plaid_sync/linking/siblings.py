"""Items of one user that may be the same bank login under another institution id: banks migrate between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from plaid_sync.domain.errors import TransientError, UnreadableItemError

if TYPE_CHECKING:
    from plaid_sync.domain.item import Item, ItemId
    from plaid_sync.linking.ports import LinkItems, UserItems

_MAX_ITEMS: Final = 50
"""Of a user."""


@dataclass(frozen=True, slots=True)
class Siblings:
    """Finds siblings. They are no proof of a duplicate: a user can have equal accounts at two banks."""

    items: LinkItems
    users: UserItems

    def of(self, item_id: ItemId) -> tuple[ItemId, ...]:
        """Return the user's other Items that have an account with equal name, mask and subtype at another institution.

        A failure is no reason to fail the link: then there are none.
        """
        try:
            item = self.items.load(item_id)
            if item is None or item.client_user_id is None or item.institution_id is None:
                return ()
            listed, _ = self.users.page(item.client_user_id, None, _MAX_ITEMS, None)
            others = [self.items.load(other.item_id) for other in listed if other.item_id != item_id]
        except (TransientError, UnreadableItemError):
            return ()
        return tuple(other.item_id for other in others if other is not None and _is_sibling(item, other))


def _is_sibling(item: Item, other: Item) -> bool:
    if other.removed or other.institution_id in {None, item.institution_id}:
        return False
    return not _marks(item).isdisjoint(_marks(other))


def _marks(item: Item) -> set[tuple[str, str, str]]:
    """Return name, mask and subtype of the accounts that have both of the former."""
    return {
        (account.name, account.mask, account.subtype or "")
        for account in item.accounts
        if account.name and account.mask
    }
