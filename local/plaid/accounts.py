"""The accounts that the user of an Item shares: listed, revoked one by one, offered and added."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local.plaid import rows
from local.plaid.core import SimulatorCore

if TYPE_CHECKING:
    from local.plaid.items import Item
    from local.plaid.wire import JsonObject


class AccountOperations(SimulatorCore):
    """What happens to the accounts of an Item."""

    def account_rows(self, item_id: str) -> list[JsonObject]:
        """Return all accounts of an Item, as /accounts/get lists them."""
        with self.lock:
            return [dict(account) for account in self.items[item_id].generator.accounts]

    def revoke_account(self, item_id: str, account_id: str | None = None, *, notify: bool = True) -> str:
        """End the sharing of an account (the first one, unless told); return its id.

        The account and its rows are gone at once. ITEM/USER_ACCOUNT_REVOKED alone tells of that: whether sync does
        as well, as `removed`, is the switch `revoked_rows_told`.
        """
        with self.lock:
            item = self.items[item_id]
            if account_id is None and not item.generator.accounts:
                raise ValueError("this Item has no account left")
            gone = account_id or str(item.generator.accounts[0]["account_id"])
            item.generator.close_account(gone)
            item.revoked.append(gone)
            self._forget_rows(item, gone)
            if notify:
                self.emit(item, "ITEM", "USER_ACCOUNT_REVOKED", account_id=gone)
            return gone

    def _forget_rows(self, item: Item, account_id: str) -> None:
        item.unreleased = [row for row in item.unreleased if row["account_id"] != account_id]
        if not self.behaviour.revoked_rows_told:
            item.log.mute(account_id)
            return
        for row in [row for row in item.log.live.values() if row["account_id"] == account_id]:
            rows.drop(item, row)

    def offer_accounts(self, item_id: str) -> bool:
        """Tell by NEW_ACCOUNTS_AVAILABLE that the bank has accounts that the user may add in update mode.

        False if the webhook has nowhere to go.
        """
        with self.lock:
            return self.emit(self.items[item_id], "ITEM", "NEW_ACCOUNTS_AVAILABLE")
