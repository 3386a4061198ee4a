"""Accounts that are closed, renumbered, withdrawn and shared again: /accounts/get is the only reliable list of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from local.plaid.core import SimulatorCore
from local.plaid.items import Item, Phase, UnlistedAccount
from local.plaid.transactions import add_row, release_history, remove_account_rows
from local.plaid.wire import entity_id

if TYPE_CHECKING:
    from collections.abc import Collection

    from local.plaid.wire import JsonObject

RegrantCode = Literal["LOGIN_REPAIRED", "NEW_ACCOUNTS_AVAILABLE"]
REGRANT_CODES: tuple[RegrantCode, ...] = get_args(RegrantCode)


class AccountOperations(SimulatorCore):
    """Changes to the list of an Item's accounts.

    An account that is no longer listed is deleted with its transactions at once. The switch `revoked_rows_removed`
    decides whether sync returns them in `removed`, and no TRANSACTIONS webhook fires.
    """

    def account_rows(self, item_id: str) -> list[JsonObject]:
        with self.lock:
            return self.items[item_id].all_accounts()

    def close_account(self, item_id: str, account_id: str | None = None) -> str:
        """Close an account (by default the first) at the bank; return its id. No webhook exists for that."""
        with self.lock:
            item = self.items[item_id]
            closed = _listed(item, account_id)
            self._unlist(item, closed)
            return closed

    def revoke_account(self, item_id: str, account_id: str | None = None, *, notify: bool = True) -> str:
        """Revoke access to an account (by default the first), and fire USER_ACCOUNT_REVOKED; return its id."""
        with self.lock:
            revoked = self.close_account(item_id, account_id)
            if notify:
                self.emit(self.items[item_id], "ITEM", "USER_ACCOUNT_REVOKED", account_id=revoked)
            return revoked

    def deselect_accounts(self, item: Item, account_ids: Collection[str]) -> None:
        """End the sharing of accounts, as the user does in update mode. Fires no webhook."""
        if set(account_ids) >= set(item.generator.account_ids):
            raise ValueError("Link does not let the user deselect all accounts")
        for account_id in account_ids:
            self._unlist(item, _listed(item, account_id))

    def regrant_account(
        self, item_id: str, account_id: str, *, notify: bool = True, webhook_code: RegrantCode = "LOGIN_REPAIRED"
    ) -> None:
        """List a closed, revoked or deselected account again, under its old id.

        Sync returns its whole history again as `added`, under the old transaction ids. Plaid does not document which
        webhook fires, if any: with `notify`, it is the given one of type ITEM.
        """
        with self.lock:
            item = self.items[item_id]
            unlisted = item.unlisted.pop(account_id)
            item.generator.reopen_account(unlisted.account)
            item.log.restore(account_id, unlisted.rows)
            item.unreleased += unlisted.unreleased
            if item.phase >= Phase.INITIAL:
                release_history(item, self.clock().date())
            if notify:
                self.emit(item, "ITEM", webhook_code)

    def renumber_account(self, item_id: str, account_id: str | None = None) -> tuple[str, str]:
        """List an account (by default the first) under another id; return both ids. Fires no webhook.

        Name, mask and persistent id stay. Sync returns its transactions as `added`, under other ids.
        """
        with self.lock:
            item = self.items[item_id]
            old = _listed(item, account_id)
            rows = _rows_of(item, old)
            new = item.generator.renumber_account(old)
            self._delete_rows(item, old)
            for row in rows:
                add_row(item, {**row, "account_id": new, "transaction_id": entity_id(item.rng)})
            for row in item.unreleased:
                if row["account_id"] == old:
                    row["account_id"] = new
            return old, new

    def _unlist(self, item: Item, account_id: str) -> None:
        unreleased = [row for row in item.unreleased if row["account_id"] == account_id]
        account = item.generator.close_account(account_id)
        item.unlisted[account_id] = UnlistedAccount(account, _rows_of(item, account_id), unreleased)
        item.unreleased = [row for row in item.unreleased if row["account_id"] != account_id]
        self._delete_rows(item, account_id)

    def _delete_rows(self, item: Item, account_id: str) -> None:
        if self.behavior.revoked_rows_removed:
            remove_account_rows(item, account_id)
        else:
            item.log.mute(account_id)


def _listed(item: Item, account_id: str | None) -> str:
    """Return the id of a listed account, by default the first one's."""
    account_ids = item.generator.account_ids
    if account_id is None:
        if not account_ids:
            raise ValueError("this Item has no account left")
        return account_ids[0]
    if account_id not in account_ids:
        raise KeyError(account_id)
    return account_id


def _rows_of(item: Item, account_id: str) -> list[JsonObject]:
    return [row for row in item.log.live.values() if row["account_id"] == account_id]
