"""Plaid in memory, as the engine's ports show it; and its documents."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from plaid_sync.domain import exact_json
from plaid_sync.domain.accounts import Account
from plaid_sync.domain.errors import CallBudgetError, PlaidError
from plaid_sync.domain.item import AccountList, ItemHealth, ItemId
from plaid_sync.items_api.ports import PlaidResponse, RotatedToken
from plaid_sync.linking.ports import DescribedItem
from plaid_sync.linking.sessions import AddedItem, ExchangedItem, LinkResults, LinkToken, ListedResults
from plaid_sync.plaid.responses import parse_page

from tests.fakes.clock import FakeClock

if TYPE_CHECKING:
    from plaid_sync.domain.item import Cursor, RemovalReason
    from plaid_sync.linking.requests import LinkTokenParameters
    from plaid_sync.pull.pages import Page


def transaction(transaction_id: str, amount: int = 1) -> dict[str, Any]:
    """Return a transaction as Plaid sends it, in as few fields as a row needs."""
    return {
        "transaction_id": transaction_id,
        "account_id": "account",
        "amount": amount,
        "date": "2026-01-01",
        "pending": False,
    }


def page_body(**fields: Any) -> bytes:
    document = {
        "added": [],
        "modified": [],
        "removed": [],
        "next_cursor": "final",
        "has_more": False,
        "transactions_update_status": "HISTORICAL_UPDATE_COMPLETE",
        "request_id": "r1",
    }
    return exact_json.dumps(document | fields, ascii_only=True).encode()


def page(**fields: Any) -> Page:
    return parse_page(page_body(**fields))


def login(name: str = "login") -> tuple[Account, ...]:
    return tuple(
        Account(f"{name}-{mask}", f"{name} {mask}", mask, "depository", "checking") for mask in ("0000", "1111")
    )


@dataclass(slots=True)
class FakePlaid:
    """Implements every port of Plaid's endpoints.

    Attributes:
        calls: how often each call was made.
        refusals: the code or the error with which a call is refused, for as long as it is set.
        report: Plaid's report about the Item.
        listed: what /accounts/get lists; where that is nothing, what the user connected in Link.
        link_results_listed: what /link/token/get lists of sessions that are not hosted.
        connected: what the user connected, by access token.
        webhooks: the URL that each access token's webhooks go to.
        removed: the access tokens of removed Items.
        reasons: why each was removed.
        replaced_tokens: the access tokens that were replaced.
        responses: the next responses of other products' endpoints.
        requests: the access token and the fields of each call of theirs.
        created: the parameters of each link token.
        results: the results of each link token.
        exchangeable: the Items that unused public tokens lead to.
        item_of: the Item that each public token leads to, used or not.
    """

    clock: FakeClock = field(default_factory=FakeClock)
    calls: Counter[str] = field(default_factory=Counter)
    refusals: dict[str, str | PlaidError | CallBudgetError] = field(default_factory=dict)
    report: ItemHealth = field(default_factory=lambda: ItemHealth(request_id="health"))
    listed: tuple[Account, ...] = ()
    link_results_listed: ListedResults = ListedResults.FULL
    connected: dict[str, AddedItem] = field(default_factory=dict)
    webhooks: dict[str, str | None] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    reasons: list[RemovalReason | None] = field(default_factory=list)
    replaced_tokens: set[str] = field(default_factory=set)
    responses: list[PlaidResponse] = field(default_factory=list)
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    created: dict[str, LinkTokenParameters] = field(default_factory=dict)
    results: dict[str, LinkResults] = field(default_factory=dict)
    exchangeable: dict[str, ExchangedItem] = field(default_factory=dict)
    item_of: dict[str, ItemId] = field(default_factory=dict)

    def _call(self, name: str) -> str:
        self.calls[name] += 1
        if name in self.refusals:
            refusal = self.refusals[name]
            raise PlaidError(refusal, "refusal") if isinstance(refusal, str) else refusal
        return f"{name}-{self.calls[name]}"

    # ---- one Item

    def sync_page(self, access_token: str, cursor: Cursor | None, days_requested: int | None) -> Page:  # noqa: ARG002 - the port's
        """See `PlaidTransactions`: no changes."""
        self._call("sync")
        return page()

    def health(self, access_token: str, seconds: float = 0.0) -> ItemHealth:  # noqa: ARG002 - the port's
        self._call("health")
        if access_token in self.replaced_tokens:
            raise PlaidError("INVALID_ACCESS_TOKEN", "refusal")
        return self.report

    def remove(self, access_token: str, reason: RemovalReason | None = None) -> None:
        self._call("remove")
        self.removed.append(access_token)
        self.reasons.append(reason)

    def accounts(self, access_token: str) -> AccountList:
        request_id = self._call("accounts")
        added = self.connected.get(access_token)
        if self.listed or added is None:
            return AccountList(self.listed, request_id)
        return AccountList(added.accounts, request_id, ItemHealth(institution_id=added.institution_id))

    def refresh(self, access_token: str) -> str:  # noqa: ARG002 - the port's
        return self._call("refresh")

    def invalidate_access_token(self, access_token: str) -> RotatedToken:
        """See `PlaidItemCalls`: the old token is dead at once."""
        request_id = self._call("invalidate")
        if access_token in self.replaced_tokens:
            raise PlaidError("INVALID_ACCESS_TOKEN", "refusal")
        self.replaced_tokens.add(access_token)
        return RotatedToken(f"{access_token.partition('+')[0]}+{request_id}", request_id)

    def describe(self, access_token: str) -> DescribedItem:
        """See `PlaidImports`: of an Item that another system linked, or this stack."""
        request_id = self._call("describe")
        if access_token in self.replaced_tokens or access_token in self.removed:
            raise PlaidError("INVALID_ACCESS_TOKEN", "refusal")
        item_id = ItemId(access_token.partition("access-sandbox-")[2] or access_token.partition("access-")[2])
        webhook, report = self.webhooks.get(access_token), self.report
        return DescribedItem(item_id, report.institution_id, webhook, report.error_code, request_id)

    def set_webhook(self, access_token: str, url: str | None) -> str:
        self.webhooks[access_token] = url
        return self._call("webhook")

    def call(self, endpoint: str, access_token: str, request: dict[str, Any]) -> PlaidResponse:
        """See `PlaidEndpoints`: the next of `responses`, or one that repeats the request."""
        self._call(endpoint)
        self.requests.append((access_token, request))
        if self.responses:
            return self.responses.pop(0)
        request_id = f"call-{self.calls[endpoint]}"
        document = exact_json.dumps({"endpoint": endpoint, "request": request, "request_id": request_id})
        return PlaidResponse(200, document.encode(), "application/json", request_id)

    # ---- Link

    def create_link_token(self, parameters: LinkTokenParameters) -> LinkToken:
        request_id = self._call("create_link_token")
        token = f"link-{request_id}"
        self.created[token], self.results[token] = parameters, LinkResults(request_id="results")
        url = f"https://hosted.invalid/{token}" if parameters.request.hosted else None
        return LinkToken(token, self.clock.now() + timedelta(hours=4), url, request_id)

    def complete(
        self, link_token: str, accounts: tuple[Account, ...] = (), institution_id: str | None = "ins_1"
    ) -> str:
        """Let the user finish Link; return the public token."""
        known = self.results[link_token]
        public_token = f"public-{link_token}-{len(known.added)}"
        added = AddedItem(public_token, institution_id, accounts or login())
        self.results[link_token] = LinkResults(
            (*known.added, added),
            finished=True,
            request_id="results",
            finished_at=self.clock.now(),
        )
        item_id = self.add_public_token(public_token)
        self.connected[f"access-{item_id}"] = added
        return public_token

    def leave(self, link_token: str) -> None:
        """Let the user leave Link."""
        known = self.results[link_token]
        self.results[link_token] = replace(known, left=not known.finished)

    def add_public_token(self, public_token: str) -> ItemId:
        """Let a public token be exchangeable; return the Item that it leads to."""
        item_id = self.item_of.setdefault(public_token, ItemId(f"item-{len(self.item_of) + 1}"))
        self.exchangeable[public_token] = ExchangedItem(item_id, f"access-{item_id}", "exchanged")
        return item_id

    def link_results(self, link_token: str) -> LinkResults:
        self._call("link_results")
        if link_token not in self.results:
            raise PlaidError("INVALID_LINK_TOKEN", "refusal")
        results = self.results[link_token]
        if self.created[link_token].request.hosted or self.link_results_listed is ListedResults.FULL:
            return results
        if self.link_results_listed is ListedResults.ABSENT:
            return LinkResults(request_id="results")
        return replace(results, added=())

    def exchange(self, public_token: str) -> ExchangedItem:
        """See `PlaidLink`: a public token works once."""
        self._call("exchange")
        if public_token not in self.exchangeable:
            raise PlaidError("INVALID_PUBLIC_TOKEN", "refusal")
        return self.exchangeable.pop(public_token)
