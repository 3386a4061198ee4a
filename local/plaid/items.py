"""What Plaid knows about one Item, and the tokens that lead to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from local.plaid.log import UpdateLog

if TYPE_CHECKING:
    from datetime import datetime
    from random import Random

    from local.plaid.breakages import Breakage
    from local.plaid.generator import Generator
    from local.plaid.wire import JsonObject

DEFAULT_DAYS_REQUESTED = 90
INITIAL_DAYS = 30
DEFAULT_BANK = "ins_109508"


class Phase(IntEnum):
    """How much of an Item's history is ready."""

    UNINITIALISED = 0
    NOT_READY = 1
    INITIAL = 2
    HISTORICAL = 3

    @property
    def status(self) -> str:
        """The value of `transactions_update_status`."""
        if self is Phase.INITIAL:
            return "INITIAL_UPDATE_COMPLETE"
        return "HISTORICAL_UPDATE_COMPLETE" if self is Phase.HISTORICAL else "NOT_READY"


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """What an Item is linked with.

    Attributes:
        webhook_url: where its webhooks go, if anywhere.
        transactions: rows that the bank holds.
        days: days over which they are spread.
        days_requested: how far back Plaid looks; None is `days`.
        by_link: whether linking starts the history, rather than the first sync.
        institution_id: the bank.
        products: what the Item was created with.
        login: whose login at that bank: Items of one login have the same accounts there, under other ids;
            None is a login that nobody else uses.
    """

    webhook_url: str | None = None
    transactions: int = 400
    days: int = 730
    days_requested: int | None = None
    by_link: bool = True
    institution_id: str = DEFAULT_BANK
    products: tuple[str, ...] = ("transactions",)
    login: str | None = None


@dataclass(slots=True)
class Item:
    """An Item's whole state."""

    item_id: str
    access_token: str
    options: LinkOptions
    created_at: datetime
    rng: Random
    generator: Generator
    webhook_url: str | None
    phase: Phase = Phase.UNINITIALISED
    log: UpdateLog = field(default_factory=UpdateLog)
    # Rows that the bank holds and Plaid has not served yet.
    unreleased: list[JsonObject] = field(default_factory=list)
    armed: bool = False
    removed: bool = False
    error_code: str | None = None
    consent_expiration_time: datetime | None = None
    # Accounts that the user no longer shares, in the order of their revocation.
    revoked: list[str] = field(default_factory=list)
    forced_mutations: int = 0
    forced_anywhere: bool = False
    # What sync makes of the entries about a transaction.
    breakages: dict[str, Breakage] = field(default_factory=dict)
    final_cursors: dict[str, int] = field(default_factory=dict)
    last_success: datetime | None = None
    last_failure: datetime | None = None
    last_webhook: tuple[datetime, str] | None = None

    def accounts(self, account_id: str | None = None) -> list[JsonObject]:
        """Return the accounts that have transactions (or the one asked for)."""
        used = {change.account_id for change in self.log.changes}
        return [
            account
            for account in self.generator.accounts
            if account["account_id"] in used and account_id in (None, account["account_id"])
        ]


@dataclass(slots=True)
class PublicToken:
    """A token that is exchanged once, within half an hour."""

    item: Item
    expires_at: datetime
    used: bool = False


@dataclass(frozen=True, slots=True)
class LinkForm:
    """What Link is opened with, apart from what the Item is made of.

    Attributes:
        client_name: what Link calls the client's application.
        language: what Link speaks.
        country_codes: where the banks are.
        client_user_id: who the user is to the client.
        redirect_uri: where a bank sends the user back to.
        hosted: whether Plaid hosts the page that Link runs in.
        lifetime: seconds that the token is good for, if the client says so.
        account_selection: whether update mode lets the user add accounts.
    """

    client_name: str = "Local"
    language: str = "en"
    country_codes: tuple[str, ...] = ("US",)
    client_user_id: str | None = None
    redirect_uri: str | None = None
    hosted: bool = False
    lifetime: int | None = None
    account_selection: bool = False


@dataclass(slots=True)
class LinkSession:
    """One time that the user went into Link, and what came of it.

    Attributes:
        added: the new Item as the session's results tell of it; None after update mode.
        left: whether the user left without finishing.
        error_code: what made the user leave.
    """

    session_id: str
    started_at: datetime
    finished_at: datetime | None = None
    added: JsonObject | None = None
    left: bool = False
    error_code: str | None = None


@dataclass(slots=True)
class LinkToken:
    """A token that opens Link; with an Item, in update mode."""

    created_at: datetime
    expires_at: datetime
    options: LinkOptions
    form: LinkForm
    item_id: str | None = None
    hosted_url: str | None = None
    sessions: list[LinkSession] = field(default_factory=list)
