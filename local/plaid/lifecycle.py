"""The lifecycle of an Item: created with a public token, linked, initialized, and its history made ready."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from local.plaid.core import SimulatorCore
from local.plaid.errors import PlaidError
from local.plaid.generator import Generator
from local.plaid.items import (
    DEFAULT_DAYS_REQUESTED,
    Item,
    ItemOptions,
    LinkedItem,
    Phase,
    PublicToken,
)
from local.plaid.transactions import copied_rows, release_history
from local.plaid.webhooks import ENVIRONMENT
from local.plaid.wire import entity_id, uuid4

_PUBLIC_TOKEN_LIFETIME = timedelta(minutes=30)


class LifecycleOperations(SimulatorCore):
    def create_public_token(
        self,
        webhook_url: str | None = None,
        transactions: int = 400,
        days: int = DEFAULT_DAYS_REQUESTED,
        **options: Any,  # noqa: ANN401 - the other options of `ItemOptions`
    ) -> str:
        """Create the public token of a new Item (see `ItemOptions`).

        `initialize_at_link=False` leaves initialization to the first sync, which may then set `days_requested`.
        """
        return self.create_public_token_with(ItemOptions(webhook_url, transactions, days, **options))

    def create_public_token_with(self, options: ItemOptions) -> str:
        with self.lock:
            item = self._create_item(options)
            token = self.new_token("public")
            self.public_tokens[token] = PublicToken(item, self.clock() + _PUBLIC_TOKEN_LIFETIME)
            return token

    def _create_item(self, options: ItemOptions) -> Item:
        rng = self.random(f"item {len(self.public_tokens)}")
        login = self.random(f"login {options.institution_id} {options.login}") if options.login else None
        return Item(
            item_id=entity_id(rng),
            access_token=f"access-{ENVIRONMENT}-{uuid4(rng)}",
            options=options,
            created_at=self.clock(),
            rng=rng,
            generator=Generator(rng, beta_fields=self.behavior.beta_fields, login=login),
            webhook_url=options.webhook_url,
        )

    def exchange(self, public_token: str) -> LinkedItem:
        with self.lock:
            token = self.public_tokens.get(public_token)
            if token is None or token.used:
                raise PlaidError("INVALID_PUBLIC_TOKEN", message=self._token_error(public_token, "public"))
            if token.expires_at <= self.clock():
                raise PlaidError(
                    "INVALID_PUBLIC_TOKEN",
                    message="provided public token is expired. Public tokens expire 30 minutes after creation "
                    "at which point they can no longer be exchanged",
                )
            token.used = True
            item = token.item
            self.items[item.item_id] = self.access_tokens[item.access_token] = item
            if item.options.initialize_at_link:
                self.initialize(item, None)
            return LinkedItem(item.item_id, item.access_token)

    def link_item(
        self,
        webhook_url: str | None = None,
        transactions: int = 400,
        days: int = DEFAULT_DAYS_REQUESTED,
        phase: Phase | None = None,
        **options: Any,  # noqa: ANN401 - the other options of `ItemOptions`
    ) -> LinkedItem:
        """Create and exchange a public token; advance the history to `phase` at once, without webhooks."""
        linked = self.exchange(self.create_public_token(webhook_url, transactions, days, **options))
        if phase is not None:
            with self.lock:
                item = self.items[linked.item_id]
                self.initialize(item, None)
                self._advance_to(item, phase, notify=False)
        return linked

    def initialize(self, item: Item, days_requested: int | None) -> None:
        """Request an Item's history from the institution, unless that has happened."""
        if item.phase is not Phase.UNINITIALIZED:
            return
        options = item.options
        default = options.days if options.initialize_at_link else DEFAULT_DAYS_REQUESTED
        days = options.days_requested or days_requested or default
        today = self.clock().date()
        oldest = (today - timedelta(days=days)).isoformat()
        twin = self._twin(item)
        history = copied_rows(twin, item) if twin else item.generator.history(options.transactions, options.days, today)
        item.unreleased = [row for row in history if row["date"] > oldest]
        item.phase = Phase.NOT_READY
        timers = (
            (self.behavior.initial_seconds, Phase.INITIAL),
            (self.behavior.historical_seconds, Phase.HISTORICAL),
        )
        for seconds, phase in timers:
            if seconds is not None:
                self.scheduler.after(seconds, lambda phase=phase: self._advance_by_timer(item, phase))  # type: ignore[misc] # a default binds the loop variable

    def _twin(self, item: Item) -> Item | None:
        """Return the latest Item of the same login that has a history: the bank has the same transactions for both."""
        login = (item.options.institution_id, item.options.login)
        twins = [
            other
            for other in self.items.values()
            if other is not item
            and other.options.login is not None
            and (other.options.institution_id, other.options.login) == login
            and other.phase > Phase.UNINITIALIZED
        ]
        return twins[-1] if twins else None

    def _advance_by_timer(self, item: Item, phase: Phase) -> None:
        with self.lock:
            if not item.removed:
                self._advance_to(item, phase)

    def advance_phase(self, item_id: str) -> Phase:
        """Advance an Item's history to the next phase, with its webhooks; return that phase."""
        with self.lock:
            item = self.items[item_id]
            self.initialize(item, None)
            self._advance_to(item, Phase(min(item.phase + 1, Phase.HISTORICAL)))
            return item.phase

    def _advance_to(self, item: Item, phase: Phase, *, notify: bool = True) -> None:
        while item.phase < phase:
            item.phase = Phase(item.phase + 1)
            count = release_history(item, self.clock().date())
            item.last_success = self.clock()
            if not notify:
                continue
            if self.behavior.legacy_webhooks:
                code = "INITIAL_UPDATE" if item.phase is Phase.INITIAL else "HISTORICAL_UPDATE"
                self.emit(item, "TRANSACTIONS", code, new_transactions=count)
            if item.sync_called:
                self.emit(item, "TRANSACTIONS", "SYNC_UPDATES_AVAILABLE")
