"""The simulator's records: Items, public tokens, link tokens and Link sessions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from local.plaid.balances import BalanceChanges, balance_changes, with_balances
from local.plaid.errors import PlaidError
from local.plaid.update_log import UpdateLog

if TYPE_CHECKING:
    from datetime import datetime
    from random import Random

    from local.plaid.faults import Corruption
    from local.plaid.generator import Generator
    from local.plaid.wire import JsonObject

DEFAULT_DAYS_REQUESTED = 90
INITIAL_DAYS = 30
DEFAULT_INSTITUTION_ID = "ins_109508"


class Phase(IntEnum):
    """How much of an Item's transaction history is ready."""

    UNINITIALIZED = 0
    NOT_READY = 1
    INITIAL = 2
    HISTORICAL = 3

    @property
    def update_status(self) -> str:
        if self is Phase.INITIAL:
            return "INITIAL_UPDATE_COMPLETE"
        return "HISTORICAL_UPDATE_COMPLETE" if self is Phase.HISTORICAL else "NOT_READY"


@dataclass(frozen=True, slots=True)
class ItemOptions:
    """How an Item is created.

    Attributes:
        days_requested: days of history that Plaid requests; None is `days`.
        initialize_at_link: whether linking initializes Transactions, rather than the first sync.
        login: name of the user's login at the institution: Items of one login have the same accounts there, under
            other ids; None is a login of this Item only.
    """

    webhook_url: str | None = None
    transactions: int = 400
    days: int = 730
    days_requested: int | None = None
    initialize_at_link: bool = True
    institution_id: str = DEFAULT_INSTITUTION_ID
    products: tuple[str, ...] = ("transactions",)
    login: str | None = None


@dataclass(frozen=True, slots=True)
class UnlistedAccount:
    """An account that Plaid no longer lists, and what it served of it; the institution can share it again.

    Attributes:
        unreleased: see `Item`.
    """

    account: JsonObject
    rows: list[JsonObject]
    unreleased: list[JsonObject]


@dataclass(slots=True)
class Item:
    """The state of one Item.

    Attributes:
        unreleased: transactions that the institution holds and Plaid does not serve yet.
        removal_reason: `reason_code` and `reason_note` of /item/remove.
        sync_called: whether /transactions/sync was called: only then does SYNC_UPDATES_AVAILABLE fire.
        unlisted: accounts that are closed or that the user no longer shares, by id, the latest last.
        forced_mutations: number of sync calls that will fail with a mutation error.
        forced_anywhere: whether those failures also hit the first page of an incremental update.
        corruptions: for each malformed transaction, how sync corrupts it.
        final_cursors: each cursor that ended a pagination loop, with its position in the log.
        recurring_at: when the recurring streams were last drawn again.
        product_changes: by product, how often its data was drawn again.
        balance_changes: by account, what its transactions come to at the position `balances_at` of the log.
    """

    item_id: str
    access_token: str
    options: ItemOptions
    created_at: datetime
    rng: Random
    generator: Generator
    webhook_url: str | None
    phase: Phase = Phase.UNINITIALIZED
    log: UpdateLog = field(default_factory=UpdateLog)
    unreleased: list[JsonObject] = field(default_factory=list)
    sync_called: bool = False
    removed: bool = False
    removal_reason: tuple[str | None, str | None] = (None, None)
    error_code: str | None = None
    error_reason: str | None = None
    consent_expiration_time: datetime | None = None
    unlisted: dict[str, UnlistedAccount] = field(default_factory=dict)
    forced_mutations: int = 0
    forced_anywhere: bool = False
    corruptions: dict[str, Corruption] = field(default_factory=dict)
    final_cursors: dict[str, int] = field(default_factory=dict)
    last_success: datetime | None = None
    last_failure: datetime | None = None
    recurring_at: datetime | None = None
    last_webhook: tuple[datetime, str] | None = None
    product_changes: Counter[str] = field(default_factory=Counter)
    balance_changes: BalanceChanges = field(default_factory=dict)
    balances_at: int = 0

    @property
    def error(self) -> PlaidError | None:
        return PlaidError(self.error_code, reason=self.error_reason) if self.error_code else None

    def accounts(self, account_id: str | None = None) -> list[JsonObject]:
        """Return the accounts that have transactions, or only the given one."""
        used = {change.account_id for change in self.log.changes}
        return [
            account
            for account in self.all_accounts()
            if account["account_id"] in used and account_id in (None, account["account_id"])
        ]

    def all_accounts(self) -> list[JsonObject]:
        """Return all accounts, their balances as of now."""
        if self.balances_at != self.log.head:
            self.balance_changes = balance_changes(self.log.live.values())
            self.balances_at = self.log.head
        return [with_balances(account, self.balance_changes) for account in self.generator.accounts]


@dataclass(frozen=True, slots=True)
class LinkedItem:
    item_id: str
    access_token: str


@dataclass(slots=True)
class PublicToken:
    """A token that can be exchanged once, within 30 minutes."""

    item: Item
    expires_at: datetime
    used: bool = False


@dataclass(frozen=True, slots=True)
class LinkTokenConfig:
    """The configuration of Link in a link token, apart from the Item's options.

    Attributes:
        lifetime: seconds until the token expires, if the client set it.
        account_selection: whether the user can add accounts in update mode.
        multi_item: whether the user can add several Items in one session.
        consented_products: products that the user consents to, beside those of the Item.
        account_filters: the subtypes of each account type that the user can share; None for all.
    """

    client_name: str = "Local"
    language: str = "en"
    country_codes: tuple[str, ...] = ("US",)
    client_user_id: str | None = None
    redirect_uri: str | None = None
    hosted: bool = False
    lifetime: int | None = None
    account_selection: bool = False
    multi_item: bool = False
    consented_products: tuple[str, ...] = ()
    account_filters: JsonObject | None = None
    user_id: str | None = None


@dataclass(slots=True)
class LinkSession:
    """One Link session.

    Attributes:
        added: the new Items in the format of `item_add_results`; none in update mode.
        exited: whether the user exited Link without finishing.
    """

    session_id: str
    started_at: datetime
    finished_at: datetime | None = None
    added: list[JsonObject] = field(default_factory=list)
    exited: bool = False
    error_code: str | None = None


@dataclass(slots=True)
class LinkToken:
    """A link token; with an `item_id`, for update mode.

    Attributes:
        request: the fields of the call that created it, without credentials and access token.
    """

    name: str
    created_at: datetime
    expires_at: datetime
    options: ItemOptions
    config: LinkTokenConfig
    item_id: str | None = None
    hosted_url: str | None = None
    request: JsonObject = field(default_factory=dict)
    sessions: list[LinkSession] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether Plaid gives complete results and webhooks for its sessions to all clients."""
        return self.config.hosted or self.config.multi_item
