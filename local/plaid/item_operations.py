"""What happens to a linked Item: errors, consent, accounts, its webhook URL and access token, and its removal."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from local.plaid.core import SimulatorCore
from local.plaid.webhooks import PRODUCT_WEBHOOKS
from local.plaid.wire import timestamp

if TYPE_CHECKING:
    from local.plaid.items import Item

_CONSENT_PERIOD = timedelta(days=180)


class ItemOperations(SimulatorCore):
    """Changes to the state of an Item. Those that return a bool return False if the Item has no webhook URL."""

    def set_item_error(
        self, item_id: str, error_code: str | None, *, reason: str | None = None, notify: bool = True
    ) -> None:
        """Set an Item's error with its `error_code_reason` (one of `REASONS`, or none), or clear it with None.

        With `notify`, ITEM/ERROR fires (USER_PERMISSION_REVOKED for that error), or ITEM/LOGIN_REPAIRED.
        """
        with self.lock:
            item = self.items[item_id]
            item.error_code, item.error_reason = error_code, reason
            item.last_failure = self.clock() if error_code else item.last_failure
            if notify:
                codes = {None: "LOGIN_REPAIRED", "USER_PERMISSION_REVOKED": "USER_PERMISSION_REVOKED"}
                self.emit(item, "ITEM", codes.get(error_code, "ERROR"))

    def reset_login(self, item_id: str) -> None:
        """Set ITEM_LOGIN_REQUIRED, as /sandbox/item/reset_login does."""
        self.set_item_error(item_id, "ITEM_LOGIN_REQUIRED")

    def repair_login(self, item_id: str, *, notify: bool = True) -> None:
        """Clear an Item's error; with `notify`, as a repair outside the client's app (LOGIN_REPAIRED)."""
        self.set_item_error(item_id, None, notify=notify)

    def complete_update_mode(self, item: Item) -> None:
        """Clear an Item's error and extend a consent that can expire. Fires no webhook."""
        item.error_code = item.error_reason = None
        if item.consent_expiration_time is not None:
            item.consent_expiration_time = self.clock() + _CONSENT_PERIOD

    def warn_expiration(self, item_id: str, in_days: float = 7) -> bool:
        """Set the user's consent to expire in some days, and fire PENDING_EXPIRATION."""
        with self.lock:
            item = self.items[item_id]
            item.consent_expiration_time = self.clock() + timedelta(days=in_days)
            return self.emit(item, "ITEM", "PENDING_EXPIRATION")

    def warn_disconnect(self, item_id: str, in_days: float = 7) -> bool:
        """Fire PENDING_DISCONNECT: the institution will end the connection in some days."""
        with self.lock:
            moment = timestamp(self.clock() + timedelta(days=in_days))
            return self.emit(self.items[item_id], "ITEM", "PENDING_DISCONNECT", disconnect_time=moment)

    def depermission(self, item_id: str) -> None:
        """Remove the Item as its user does at my.plaid.com, and fire USER_PERMISSION_REVOKED."""
        with self.lock:
            self.remove_item(item_id)
            self.emit(self.items[item_id], "ITEM", "USER_PERMISSION_REVOKED")

    def remove_item(self, item_id: str) -> None:
        """Remove an Item as /item/remove does: its access token becomes invalid."""
        with self.lock:
            self.items[item_id].removed = True

    def update_webhook(self, item_id: str, webhook_url: str | None) -> None:
        """Set an Item's webhook URL, and fire WEBHOOK_UPDATE_ACKNOWLEDGED to the new one."""
        with self.lock:
            item = self.items[item_id]
            item.webhook_url = webhook_url
            self.emit(item, "ITEM", "WEBHOOK_UPDATE_ACKNOWLEDGED")

    def rotate_access_token(self, item_id: str) -> str:
        """Replace an Item's access token, as /item/access_token/invalidate does; return the new one."""
        with self.lock:
            item = self.items[item_id]
            del self.access_tokens[item.access_token]
            item.access_token = self.new_token("access")
            self.access_tokens[item.access_token] = item
            return item.access_token

    def change_product(self, item_id: str, product: str, *, notify: bool = True) -> None:
        """Draw the data of a product again (see `PRODUCT_WEBHOOKS`); with `notify`, fire its webhook.

        The streams of `recurring` are those of the transactions: of them only `updated_datetime` changes.
        """
        with self.lock:
            webhook, item = PRODUCT_WEBHOOKS[product], self.items[item_id]
            item.product_changes[product] += 1
            item.recurring_at = self.clock() if product == "recurring" else item.recurring_at
            if notify:
                self.emit(item, *webhook)

    def offer_accounts(self, item_id: str) -> bool:
        """Fire NEW_ACCOUNTS_AVAILABLE: the user can add accounts in update mode."""
        with self.lock:
            return self.emit(self.items[item_id], "ITEM", "NEW_ACCOUNTS_AVAILABLE")
