"""The JSON views of the Items API; an absent field is unknown."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.domain.accounts import AccountState
from plaid_sync.domain.clock import format_optional_timestamp, format_timestamp
from plaid_sync.domain.item import HISTORY_COMPLETE, HISTORY_INITIAL, HISTORY_NOT_READY
from plaid_sync.domain.requests import remedy_and_fix
from plaid_sync.items_api.repairs import repair_view

if TYPE_CHECKING:
    from collections.abc import Iterable

    from plaid_sync.domain.accounts import Account, AccountStates
    from plaid_sync.domain.annotations import AnnotatedRow, Annotations
    from plaid_sync.domain.history import HistoryEntry
    from plaid_sync.domain.item import BankStatus, Imported, Item, ItemFailure, Removal
    from plaid_sync.items_api.ports import ListedRow

View = dict[str, Any]
_PHASES: Final = {
    HISTORY_NOT_READY: "not_ready",
    HISTORY_INITIAL: "initial",
    HISTORY_COMPLETE: "historical",
}


def item_summary(item: Item) -> View:
    """Return what a list shows of an Item."""
    remedy, what_to_do = remedy_and_fix(item)
    state = item.state
    return drop_none(
        item_id=item.item_id,
        state=str(state.name),
        code=state.code,
        code_reason=state.code_reason,
        since=format_optional_timestamp(state.since or item.linked_at),
        until=None if state.expiry is None else format_timestamp(state.expiry.until),
        remedy=remedy.value,
        what_to_do=what_to_do,
        client_user_id=item.client_user_id,
        institution_id=item.institution_id,
        linked_at=format_optional_timestamp(item.linked_at),
        pulled_at=format_optional_timestamp(item.synced_at),
        history_phase=_PHASES.get(item.update_status, "unknown"),
        failing=None if item.failure is None else _failure_summary(item.failure),
    )


def item_detail(item: Item, bank: View | None, transactions: tuple[int, bool]) -> View:
    """Return everything that the API shows of an Item.

    Args:
        item: the Item.
        bank: Plaid's connection to the bank; None for a removed Item.
        transactions: the number of live transactions, and whether all were counted.
    """
    live, exact = transactions
    summary = {name: value for name, value in item_summary(item).items() if name != "pulled_at"}
    return summary | drop_none(
        accounts=account_views(item.accounts, item.account_states),
        accounts_checked_at=format_optional_timestamp(item.accounts_checked_at),
        freshness=drop_none(
            pulled_at=format_optional_timestamp(item.synced_at),
            webhook_at=format_optional_timestamp(item.webhook_at),
            bank=bank,
        ),
        transactions={"live": live, "exact": exact},
        reconcile_pending=item.reconcile,
        next_attempt_at=format_optional_timestamp(item.next_attempt_at),
        failing=None if item.failure is None else failure_view(item.failure),
        removal=None if item.removal is None else removal_view(item.removal),
        imported=None if item.imported is None else _imported_view(item.imported),
        repair=repair_view(item),
        token_rotation_began_at=format_optional_timestamp(item.token_rotation_began_at),
        token_exported_at=format_optional_timestamp(item.token_exported_at),
    )


def account_views(accounts: Iterable[Account], states: AccountStates) -> list[View]:
    """Return every account that is known, with its state; of those without content the id alone."""
    shown = [_account_view(account, states.of(account.account_id)) for account in accounts]
    without_content = sorted(states.without_content)
    return shown + [{"account_id": each, "state": states.of(each).value} for each in without_content]


def listed_views(accounts: Iterable[Account], states: AccountStates) -> list[View]:
    """Return accounts as Plaid lists them now; of those that are erased the id alone."""
    return [
        {"account_id": account.account_id, "state": AccountState.ERASED.value}
        if account.account_id in states.erased
        else _account_view(account, AccountState.LISTED)
        for account in accounts
    ]


def _account_view(account: Account, state: AccountState) -> View:
    """Return an account: Plaid's whole object, with its state and the time of its balances."""
    known = drop_none(
        account_id=account.account_id,
        name=account.name,
        mask=account.mask,
        type=account.kind,
        subtype=account.subtype,
    )
    document = account.plaid_object
    balances = document.get("balances")
    if isinstance(balances, dict):
        document["balances"] = balances | drop_none(as_of=format_optional_timestamp(account.as_of))
    return document | known | {"state": state.value}


def _imported_view(imported: Imported) -> View:
    """Return where an Item came from; here null is "nowhere", and "not here"."""
    return {
        "previous_webhook": imported.webhook,
        "webhook_switched_at": format_optional_timestamp(imported.switched_at),
    }


def annotations_view(row: AnnotatedRow, changed: Annotations | None = None) -> View:
    """Return a transaction's annotations, after a change where there was one.

    `annotations` is absent where JSON cannot show them.
    """
    return drop_none(
        transaction_id=row.transaction_id,
        annotations=row.annotations if changed is None else changed,
        version=row.version + (changed is not None),
        removed_at=row.removed_at,
        posted_transaction_id=row.posted_transaction_id,
    )


def bank_view(status: BankStatus) -> View:
    """Return Plaid's connection to the bank; here null is "never"."""
    return {
        "checked_at": format_timestamp(status.checked_at),
        "last_success_at": format_optional_timestamp(status.last_success_at),
        "last_failure_at": format_optional_timestamp(status.last_failure_at),
        **drop_none(error_code=status.error_code),
    }


def failure_view(failure: ItemFailure) -> View:
    """Return why an Item is retried, and since when."""
    classified = {"class": failure.failure_class} if failure.failure_class else {}
    return _failure_summary(failure) | classified | {"last_failed_at": format_timestamp(failure.last_at)}


def _failure_summary(failure: ItemFailure) -> View:
    return {"since": format_timestamp(failure.since), "code": failure.code}


def sibling_warning(item_id: str) -> View:
    """Return the warning about an Item that may be the same bank login."""
    return {
        "code": "possible_duplicate",
        "item_id": item_id,
        "detail": "another Item of the user has an equal account at another institution",
        "fix": "if the bank moved to another institution id, remove the older Item; else there is nothing to do",
    }


def removal_view(removal: Removal) -> View:
    """Return the progress of a removal."""
    completed = removal.completed_at is not None
    return drop_none(
        requested_at=format_timestamp(removal.requested_at),
        reason_code=None if removal.reason is None else removal.reason.code,
        transactions="erase" if removal.erase else "keep",
        at_plaid="keep" if removal.keeps_at_plaid else None,
        plaid_removed_at=format_optional_timestamp(removal.plaid_removed_at),
        rows_erased=removal.rows_to_erase if removal.erase and completed else None,
        completed_at=format_optional_timestamp(removal.completed_at),
    )


def transaction_view(transaction_id: str, row: ListedRow | None) -> View:
    """Return a transaction; without a row, its id, and that it is not stored."""
    if row is None:
        return {"transaction_id": transaction_id, "state": "not_stored"}
    amount = None if row.document is None else format(Decimal(row.document["amount"]), "f")
    return drop_none(
        transaction_id=transaction_id,
        state="live" if row.removed_at is None else "removed",
        removed_at=row.removed_at,
        amount=amount,
        transaction=row.document,
        unreadable=row.damaged or None,
    )


def history_view(entry: HistoryEntry) -> View:
    """Return a history entry."""
    return {
        **entry.details,
        **drop_none(
            at=format_timestamp(entry.at),
            kind=str(entry.kind),
            outcome=entry.outcome,
            published_events=[str(event) for event in entry.published_events] or None,
        ),
    }


def drop_none(**members: object) -> View:
    """Return the members that are not None."""
    return {name: value for name, value in members.items() if value is not None}
