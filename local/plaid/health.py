"""Whether an Item still works: errors, repairs, consent that runs out, warnings, the end of it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from local.plaid.core import SimulatorCore
from local.plaid.webhooks import OMITTED
from local.plaid.wire import timestamp

if TYPE_CHECKING:
    from datetime import datetime

    from local.plaid.items import Item

_CONSENT = timedelta(days=180)  # what a renewed consent is good for


class HealthOperations(SimulatorCore):
    """What makes an Item sick or well."""

    def set_item_error(self, item_id: str, error_code: str | None, *, notify: bool = True) -> None:
        """Put an Item into an error state, or out of it.

        With `notify`, ITEM/ERROR tells of it (USER_PERMISSION_REVOKED of that error), or ITEM/LOGIN_REPAIRED.
        """
        with self.lock:
            item = self.items[item_id]
            item.error_code = error_code
            item.last_failure = self.clock() if error_code else item.last_failure
            if notify:
                own_code = {None: "LOGIN_REPAIRED", "USER_PERMISSION_REVOKED": "USER_PERMISSION_REVOKED"}
                self.emit(item, "ITEM", own_code.get(error_code, "ERROR"))

    def reset_login(self, item_id: str) -> None:
        """Make the user's login invalid, as /sandbox/item/reset_login does."""
        self.set_item_error(item_id, "ITEM_LOGIN_REQUIRED")

    def repair_login(self, item_id: str, *, notify: bool = True) -> None:
        """Make the login valid again; `notify` is a repair outside the client's app (LOGIN_REPAIRED)."""
        self.set_item_error(item_id, None, notify=notify)

    def set_consent_expiration(self, item_id: str, moment: datetime | None) -> None:
        """Set when the user's consent runs out, without a word; None is never."""
        with self.lock:
            self.items[item_id].consent_expiration_time = moment

    def warn_expiration(self, item_id: str, in_days: float = 7) -> bool:
        """Let the user's consent run out in so many days, and tell by PENDING_EXPIRATION.

        False if the webhook has nowhere to go.
        """
        with self.lock:
            item = self.items[item_id]
            item.consent_expiration_time = self.clock() + timedelta(days=in_days)
            return self.emit(item, "ITEM", "PENDING_EXPIRATION")

    def warn_disconnect(self, item_id: str, in_days: float = 7, *, with_time: bool = True) -> bool:
        """Tell by PENDING_DISCONNECT that the bank will end the connection in so many days.

        `with_time=False` leaves `disconnect_time` out, as older deliveries do. False if the webhook has nowhere to go.
        """
        with self.lock:
            moment = timestamp(self.clock() + timedelta(days=in_days)) if with_time else OMITTED
            return self.emit(self.items[item_id], "ITEM", "PENDING_DISCONNECT", disconnect_time=moment)

    def depermission(self, item_id: str) -> None:
        """End the Item as a user does at my.plaid.com: USER_PERMISSION_REVOKED, and the token leads nowhere."""
        with self.lock:
            item = self.items[item_id]
            item.removed = True
            self.emit(item, "ITEM", "USER_PERMISSION_REVOKED")

    def renew(self, item: Item) -> None:
        """Do to an Item what its user's way through update mode does. No LOGIN_REPAIRED tells of that."""
        item.error_code = None
        if item.consent_expiration_time is not None:
            item.consent_expiration_time = self.clock() + _CONSENT
