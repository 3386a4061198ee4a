"""The life of an Item: linked, initialised, ready, removed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from local.plaid import identifiers
from local.plaid.core import SimulatorCore
from local.plaid.errors import PlaidError
from local.plaid.generator import Generator
from local.plaid.items import (
    DEFAULT_BANK,
    DEFAULT_DAYS_REQUESTED,
    INITIAL_DAYS,
    Item,
    LinkOptions,
    Phase,
    PublicToken,
)
from local.plaid.log import Change

PUBLIC_TOKEN_LIFE = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class LinkedItem:
    """What exchanging a public token returns."""

    item_id: str
    access_token: str


class LinkOperations(SimulatorCore):
    """Everything that happens to an Item as a whole."""

    def create_public_token(  # noqa: PLR0913 - an option each
        self,
        webhook_url: str | None = None,
        transactions: int = 400,
        days: int = DEFAULT_DAYS_REQUESTED,
        days_requested: int | None = None,
        *,
        by_link: bool = True,
        bank: str = DEFAULT_BANK,
        login: str | None = None,
    ) -> str:
        """Create the public token of a new Item whose bank holds `transactions` rows over `days` days.

        `by_link=False` leaves the start of its history to the first sync, which may then set days_requested. `bank` is
        its `institution_id`; Items of one `login` there have the same accounts under other ids (see `LinkOptions`).
        """
        options = LinkOptions(webhook_url, transactions, days, days_requested, by_link, bank, login=login)
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
        login = self.random(f"login {options.institution_id} {options.login}") if options.login else None
        return Item(
            item_id=identifiers.entity_id(rng),
            access_token=f"access-{self.behaviour.environment}-{identifiers.uuid4(rng)}",
            options=options,
            created_at=self.clock(),
            rng=rng,
            generator=Generator(rng, beta_fields=self.behaviour.beta_fields, login=login),
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

    def adopt(self, item: Item) -> None:
        """Go on with an Item as another simulator left it."""
        with self.lock:
            self.items[item.item_id] = item
            self._access[item.access_token] = item

    def _register(self, item: Item) -> None:
        self.adopt(item)
        if item.options.by_link:
            self.initialise(item, None)

    def link_item(  # noqa: PLR0913 - an option each
        self,
        webhook_url: str | None = None,
        transactions: int = 400,
        days: int = DEFAULT_DAYS_REQUESTED,
        phase: Phase | None = None,
        *,
        by_link: bool = True,
        bank: str = DEFAULT_BANK,
        login: str | None = None,
    ) -> LinkedItem:
        """Link an Item without HTTP; `phase` makes that much of its history ready at once, silently."""
        public_token = self.create_public_token(
            webhook_url, transactions, days, by_link=by_link, bank=bank, login=login
        )
        linked = self.exchange(public_token)
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
