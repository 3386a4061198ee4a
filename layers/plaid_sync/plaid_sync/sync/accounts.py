"""The accounts of a claimed Item: compared with Plaid's list, and their rows brought to their states.

Each conclusion is recorded before a row is touched, with a pending check for its rows: a worker that dies in between
loses nothing, and no row of a closed account comes back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from plaid_sync.domain.accounts import compare_accounts
from plaid_sync.domain.claims import claim_keys
from plaid_sync.domain.errors import CallBudgetError, FailureClass, PlaidError, TransientError
from plaid_sync.domain.item import ACCOUNT_ROWS, PendingCheck
from plaid_sync.domain.schedule import ACCOUNTS_INTERVAL
from plaid_sync.domain.state_machine import ItemEvent, apply_event
from plaid_sync.domain.transitions import EventType
from plaid_sync.pull.puller import PAGE_SECONDS
from plaid_sync.sync.job import finding_of
from plaid_sync.sync.planner import PART_SECONDS, closing, split_writes
from plaid_sync.sync.ports import AccountsUpdate

if TYPE_CHECKING:
    from datetime import datetime

    from plaid_sync.domain.accounts import AccountComparison, AccountStates
    from plaid_sync.domain.history import DetailType, HistoryEntry
    from plaid_sync.domain.item import AccountList, Item
    from plaid_sync.pull.puller import Puller
    from plaid_sync.sync.job import Attempt
    from plaid_sync.sync.ports import AccountClaims, PlaidAccounts, SyncItems, TransactionsStore

_ACCOUNTS: Final = "accounts"
"""The outcome of the history entry of a comparison."""
_WRITE_SECONDS: Final = 40.0
_ABOUT_THE_ITEM: Final = frozenset({FailureClass.NEEDS_USER, FailureClass.TERMINAL, FailureClass.INSTITUTION_DOWN})


@dataclass(frozen=True, slots=True)
class AccountChecks:
    """Compares accounts, and closes them.

    Attributes:
        keeps_gone_rows: whether the rows of accounts that are gone stay live.
    """

    items: SyncItems
    transactions: TransactionsStore
    plaid: PlaidAccounts
    claims: AccountClaims
    puller: Puller
    keeps_gone_rows: bool = False

    def check(self, attempt: Attempt, token: str, finding: ItemEvent) -> ItemEvent:
        """Compare the accounts with /accounts/get, where that is requested or due; return the finding about the Item.

        A failure does not keep the transactions waiting: what was requested stays pending.

        Raises:
            CallBudgetError: the call budget allows no call now.
            SupersededError: a newer attempt holds the Item, or it is removed.
            TransientError: what was found cannot be recorded now.
        """
        requested, healthy = attempt.requests_accounts, finding.type is EventType.HEALTHY
        wanted = requested or self._is_due(attempt) if healthy else bool(attempt.reported_withdrawn)
        if not wanted:
            return finding
        try:
            listed = self.puller.within_limits(lambda: self.plaid.accounts(token), attempt.job.deadline)
        except CallBudgetError:
            raise
        except (PlaidError, TransientError) as error:
            return self._after_refusal(attempt, token, error, requested=requested) if healthy else finding
        self._compare(attempt, listed)
        self.close_rows(attempt)
        return finding_of(listed.health) if healthy and finding.until is None else finding

    def _after_refusal(
        self, attempt: Attempt, token: str, error: PlaidError | TransientError, *, requested: bool
    ) -> ItemEvent:
        """Return the finding after a refused list; only /item/get decides whether that is about the Item."""
        finding = ItemEvent(EventType.HEALTHY)
        if isinstance(error, PlaidError) and error.failure_class in _ABOUT_THE_ITEM:
            finding = finding_of(self.puller.within_limits(lambda: self.plaid.health(token), attempt.job.deadline))
        attempt.failed_check = error if requested and finding.type is EventType.HEALTHY else None
        return finding

    def _is_due(self, attempt: Attempt) -> bool:
        item, now = attempt.item, self.puller.clock.now()
        since = item.accounts_checked_at or item.linked_at
        if item.cursor is None or since is None or now - since < ACCOUNTS_INTERVAL:
            return False
        return attempt.job.deadline.allows(2 * PAGE_SECONDS + PART_SECONDS)

    def _compare(self, attempt: Attempt, listed: AccountList) -> None:
        item, now = attempt.item, self.puller.clock.now()
        found = compare_accounts(
            item.accounts,
            item.account_states,
            tuple(replace(account, as_of=now) for account in listed.accounts),
            attempt.reported_withdrawn,
            complete=listed.complete,
        )
        attempt.accounts_checked, attempt.unconfirmed = listed.complete, found.unconfirmed
        institution_id = item.institution_id or listed.health.institution_id
        attempt.item = replace(item, accounts=found.accounts, accounts_checked_at=now, institution_id=institution_id)
        held = self._take_claims(attempt.item, found.states)
        if found.changed or held != item.bank_login_ids or institution_id != item.institution_id:
            self._record(attempt, found, held, now, listed.request_id)

    def _take_claims(self, item: Item, states: AccountStates) -> frozenset[str]:
        """Let the account claims follow the listed accounts; return those that the Item holds now.

        Before the conclusions are recorded: an attempt that dies in between concludes the same again, and none is left
        behind. A claim that another Item holds is tried again with each comparison.
        """
        if item.client_user_id is None:
            return item.bank_login_ids
        listed = (account for account in item.accounts if account.account_id not in states.gone)
        keys = frozenset(claim_keys(item.client_user_id, item.institution_id, listed))
        if keys == item.bank_login_ids:
            return keys
        held = self.claims.take(item, keys)
        self.claims.release(item.item_id, item.bank_login_ids - held)
        return held

    def _record(
        self, attempt: Attempt, found: AccountComparison, held: frozenset[str], now: datetime, request_id: str
    ) -> None:
        item = attempt.item
        rows = (PendingCheck(ACCOUNT_ROWS, now, account_id=each) for each in sorted(found.gone | found.withdrawn))
        update = AccountsUpdate(
            states=found.states,
            pending_checks=(*item.pending_checks, *rows),
            claim_keys=held,
            # Updates of a closed account are filtered, and Plaid need not mention a row that moved into one: only the
            # whole history shows what is right.
            full_resync=bool(found.changed),
            entry=self._entry(attempt, found, now, request_id),
        )
        attempt.item = self.items.record_accounts(item, update)
        attempt.report = replace(
            attempt.report,
            accounts_gone=len(found.gone),
            accounts_withdrawn=len(found.withdrawn),
            accounts_returned=len(found.returned),
        )

    def _entry(self, attempt: Attempt, found: AccountComparison, now: datetime, request_id: str) -> HistoryEntry:
        changes = {
            EventType.ACCOUNT_GONE: found.gone,
            EventType.ACCOUNT_WITHDRAWN: found.withdrawn,
            EventType.ACCOUNT_RETURNED: found.returned,
        }
        published: list[DetailType] = []
        for event, accounts in changes.items():
            published += apply_event(attempt.item.state, ItemEvent(event), now).published_events if accounts else ()
        return attempt.accounts_entry(
            _ACCOUNTS,
            now,
            tuple(published),
            gone_accounts=sorted(found.gone) or None,
            withdrawn_accounts=sorted(found.withdrawn) or None,
            returned_accounts=sorted(found.returned) or None,
            plaid_request_ids=[request_id] if request_id else None,
        )

    # ---- rows

    def close_rows(self, attempt: Attempt) -> None:
        """Bring the rows of accounts to their states, where that is pending.

        Under the fence, so that no older attempt can restore one; read after the claim, so that none is missed.

        Raises:
            SupersededError: a newer attempt holds the Item, or it is removed.
            TransientError: DynamoDB cannot be used now, or time is running out; what is written stays written.
        """
        item, deadline = attempt.item, attempt.job.deadline
        pending = {check.account_id for check in item.pending_checks if check.code == ACCOUNT_ROWS}
        if not pending:
            return
        closed = pending & item.account_states.without_rows(keeps_gone=self.keeps_gone_rows)
        removals = [
            removal
            for row in (self.transactions.scan_item(item.item_id, deadline) if closed else ())
            if row.account_id in closed and (removal := closing(row, row.account_id, item.account_states)) is not None
        ]
        for batch in split_writes(removals) if removals else ():
            deadline.require(_WRITE_SECONDS)
            self.transactions.write(item.item_id, item.generation, batch, begin=False)
        left = tuple(check for check in item.pending_checks if check.code != ACCOUNT_ROWS)
        # From here on under a later generation: a row can be written once under each.
        attempt.item = self.items.complete_checks(item, left)
        erased = sum(removal.erase for removal in removals)
        report = attempt.report
        attempt.report = replace(report, erased=report.erased + erased, gone=report.gone + len(removals) - erased)
