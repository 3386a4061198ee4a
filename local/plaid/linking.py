"""The life of an Item: linked, initialised, ready, in error, repaired, removed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from local.plaid import identifiers
from local.plaid.core import SimulatorCore
from local.plaid.errors import PlaidError
from local.plaid.generator import Generator
from local.plaid.items import DEFAULT_DAYS_REQUESTED, INITIAL_DAYS, Item, LinkOptions, LinkToken, Phase, PublicToken
from local.plaid.log import Change

if TYPE_CHECKING:
    from local.plaid.wire import JsonObject

PUBLIC_TOKEN_LIFE = timedelta(minutes=30)
LINK_TOKEN_LIFE = timedelta(hours=4)


@dataclass(frozen=True, slots=True)
class LinkedItem:
    """What exchanging a public token returns."""

    item_id: str
    access_token: str


class LinkOperations(SimulatorCore):
    """Everything that happens to an Item as a whole."""

    def create_link_token(self, options: LinkOptions, item_id: str | None = None) -> tuple[str, LinkToken]:
        """Create a link token; with an Item, one for update mode."""
        with self.lock:
            name = f"link-{self.behaviour.environment}-{identifiers.uuid4(self._ids)}"
            token = LinkToken(self.clock() + LINK_TOKEN_LIFE, options, item_id)
            self.link_tokens[name] = token
            return name, token

    def complete_link(self, link_token: str) -> str | None:
        """Do what the user does in Link; return a public token, or None after update mode.

        Raises:
            PlaidError: the link token is unknown or has expired.
        """
        with self.lock:
            token = self.link_tokens.get(link_token)
            if token is None or token.expires_at <= self.clock():
                raise PlaidError("INVALID_LINK_TOKEN")
            if token.item_id is not None:
                # Update mode inside the client's own app: no LOGIN_REPAIRED for that.
                self.items[token.item_id].error_code = None
                return None
            return self._public_token(token.options)

    def create_public_token(
        self,
        webhook_url: str | None = None,
        transactions: int = 400,
        days: int = DEFAULT_DAYS_REQUESTED,
        days_requested: int | None = None,
        *,
        by_link: bool = True,
    ) -> str:
        """Create the public token of a new Item whose bank holds `transactions` rows over `days` days.

        `by_link=False` leaves the start of its history to the first sync, which may then set days_requested.
        """
        options = LinkOptions(webhook_url, transactions, days, days_requested, by_link)
        return self.create_public_token_with(options)

    def create_public_token_with(self, options: LinkOptions) -> str:
        """Create the public token of a new Item with the given options."""
        with self.lock:
            return self._public_token(options)

    def _public_token(self, options: LinkOptions) -> str:
        item = self._create_item(options)
        token = f"public-{self.behaviour.environment}-{identifiers.uuid4(self._ids)}"
        self.public_tokens[token] = PublicToken(item, self.clock() + PUBLIC_TOKEN_LIFE)
        return token

    def _create_item(self, options: LinkOptions) -> Item:
        rng = self.random(f"item {len(self.public_tokens)}")
        return Item(
            item_id=identifiers.entity_id(rng),
            access_token=f"access-{self.behaviour.environment}-{identifiers.uuid4(rng)}",
            options=options,
            created_at=self.clock(),
            rng=rng,
            generator=Generator(rng, beta_fields=self.behaviour.beta_fields),
            webhook_url=options.webhook_url,
        )

    def exchange(self, public_token: str) -> LinkedItem:
        """Exchange a public token, once.

        Raises:
            PlaidError: it is unknown, used or expired.
        """
        with self.lock:
            token = self.public_tokens.get(public_token)
            if token is None or token.used:
                raise PlaidError("INVALID_PUBLIC_TOKEN", message=self._token_complaint(public_token, "public"))
            if token.expires_at <= self.clock():
                raise PlaidError(
                    "INVALID_PUBLIC_TOKEN",
                    message="provided public token is expired. Public tokens expire 30 minutes after creation "
                    "at which point they can no longer be exchanged",
                )
            token.used = True
            self._register(token.item)
            return LinkedItem(token.item.item_id, token.item.access_token)

    def _register(self, item: Item) -> None:
        self.items[item.item_id] = item
        self._access[item.access_token] = item
        if item.options.by_link:
            self.initialise(item, None)

    def link_item(
        self,
        webhook_url: str | None = None,
        transactions: int = 400,
        days: int = DEFAULT_DAYS_REQUESTED,
        phase: Phase | None = None,
        *,
        by_link: bool = True,
    ) -> LinkedItem:
        """Link an Item without HTTP; `phase` makes that much of its history ready at once, silently."""
        linked = self.exchange(self.create_public_token(webhook_url, transactions, days, by_link=by_link))
        if phase is not None:
            with self.lock:
                item = self.items[linked.item_id]
                self.initialise(item, None)
                self._reach(item, phase, silent=True)
        return linked

    def initialise(self, item: Item, days_requested: int | None) -> None:
        """Start an Item's history, if nothing has: Plaid asks the bank for the last so many days."""
        if item.phase is not Phase.UNINITIALISED:
            return
        options = item.options
        default = options.days if options.by_link else DEFAULT_DAYS_REQUESTED
        days = options.days_requested or days_requested or default
        today = self.clock().date()
        oldest = (today - timedelta(days=days)).isoformat()
        rows = item.generator.history(options.transactions, options.days, today)
        item.unreleased = [row for row in rows if row["date"] > oldest]
        item.phase = Phase.NOT_READY
        timers = (
            (self.behaviour.initial_seconds, Phase.INITIAL),
            (self.behaviour.historical_seconds, Phase.HISTORICAL),
        )
        for seconds, phase in timers:
            if seconds is not None:
                self.scheduler.after(seconds, lambda phase=phase: self._reach_later(item, phase))  # type: ignore[misc] # a default binds the loop variable

    def _reach_later(self, item: Item, phase: Phase) -> None:
        with self.lock:
            if not item.removed:
                self._reach(item, phase)

    def advance_phase(self, item_id: str) -> Phase:
        """Make the next part of an Item's history ready, with its webhooks; return the phase reached."""
        with self.lock:
            item = self.items[item_id]
            self.initialise(item, None)
            self._reach(item, Phase(min(item.phase + 1, Phase.HISTORICAL)))
            return item.phase

    def _reach(self, item: Item, phase: Phase, *, silent: bool = False) -> None:
        while item.phase < phase:
            item.phase = Phase(item.phase + 1)
            count = self._release(item)
            item.last_success = self.clock()
            if silent:
                continue
            if self.behaviour.legacy_webhooks:
                code = "INITIAL_UPDATE" if item.phase is Phase.INITIAL else "HISTORICAL_UPDATE"
                self.emit(item, "TRANSACTIONS", code, new_transactions=count)
            if item.armed:
                self.emit(item, "TRANSACTIONS", "SYNC_UPDATES_AVAILABLE")

    def _release(self, item: Item) -> int:
        oldest = ""
        if item.phase is Phase.INITIAL:
            oldest = (self.clock().date() - timedelta(days=INITIAL_DAYS)).isoformat()
        ready = [row for row in item.unreleased if row["date"] >= oldest]
        item.unreleased = [row for row in item.unreleased if row["date"] < oldest]
        for row in ready:
            item.log.append(Change("added", row["transaction_id"], row["account_id"], row))
        return len(ready)

    def remove_item(self, item_id: str) -> None:
        """Remove an Item as /item/remove does: its token leads nowhere from now on."""
        with self.lock:
            self.items[item_id].removed = True

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

    def update_webhook(self, item_id: str, webhook_url: str | None) -> None:
        """Change where an Item's webhooks go; the new URL gets WEBHOOK_UPDATE_ACKNOWLEDGED."""
        with self.lock:
            item = self.items[item_id]
            item.webhook_url = webhook_url
            self.emit(item, "ITEM", "WEBHOOK_UPDATE_ACKNOWLEDGED")

    def rotate_access_token(self, item_id: str) -> str:
        """Give an Item a new access token, as /item/access_token/invalidate does."""
        with self.lock:
            item = self.items[item_id]
            del self._access[item.access_token]
            item.access_token = f"access-{self.behaviour.environment}-{identifiers.uuid4(self._ids)}"
            self._access[item.access_token] = item
            return item.access_token

    def account_rows(self, item_id: str) -> list[JsonObject]:
        """Return all accounts of an Item, as /accounts/get lists them."""
        with self.lock:
            return [dict(account) for account in self.items[item_id].generator.accounts]


def with_webhook(options: LinkOptions, webhook_url: str | None) -> LinkOptions:
    """Return link options with another webhook URL."""
    return replace(options, webhook_url=webhook_url)
