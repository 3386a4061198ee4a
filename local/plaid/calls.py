"""One authenticated call to an endpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from local.plaid.errors import PlaidError

if TYPE_CHECKING:
    from local.plaid.items import Item
    from local.plaid.simulator import PlaidSimulator
    from local.plaid.wire import JsonObject


@dataclass(frozen=True, slots=True)
class Call:
    """The request's body, and the Item that its access token leads to."""

    sim: PlaidSimulator
    body: JsonObject
    item: Item | None = None

    @property
    def the_item(self) -> Item:
        """The Item of the access token, for endpoints that require one."""
        if self.item is None:
            raise PlaidError("MISSING_FIELDS", fields="access_token")
        return self.item

    @property
    def healthy_item(self) -> Item:
        """The Item, for endpoints that an Item in an error state does not serve."""
        if self.the_item.error_code:
            raise PlaidError(self.the_item.error_code)
        return self.the_item
