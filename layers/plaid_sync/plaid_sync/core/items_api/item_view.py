"""What the Items API shows of an Item and of its history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from plaid_sync.core import plain_text
from plaid_sync.core.items_api.item_record import what_to_do

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from plaid_sync.core.history import HistoryEntry
    from plaid_sync.core.items import Account
    from plaid_sync.core.items_api.item_record import BankContact, ItemRecord, RemovalRecord

View = dict[str, Any]

_PHASES: Final = {
    "NOT_READY": "not_ready",
    "INITIAL_UPDATE_COMPLETE": "initial",
    "HISTORICAL_UPDATE_COMPLETE": "historical",
}


def moment_text(moment: datetime | None) -> str | None:
    """Write a time the way the tables do, if there is one."""
    return None if moment is None else plain_text.moment_text(moment)


def summary(record: ItemRecord) -> View:
    """Return what a list shows of an Item; what is unknown is absent."""
    remedy, sentence = what_to_do(record)
    standing = record.standing
    return known(
        item_id=record.item_id,
        state=standing.status.value,
        code=standing.code,
        since=moment_text(standing.since or record.linked_at),
        until=None if standing.expiry is None else moment_text(standing.expiry.until),
        remedy=remedy.value,
        what_to_do=sentence,
        client_user_id=record.client_user_id,
        institution_id=record.institution_id,
        linked_at=moment_text(record.linked_at),
        pulled_at=moment_text(record.synced_at),
        history_phase=_PHASES.get(record.update_status, "unknown"),
    )


def whole(record: ItemRecord, bank: View | None, transactions: tuple[int, bool]) -> View:
    """Return everything that is known of an Item.

    Args:
        record: the Item.
        bank: what Plaid says of its contact with the bank; None of a removed Item.
        transactions: how many live ones there are, and whether that is all of them.
    """
    live, exact = transactions
    shown = {name: value for name, value in summary(record).items() if name != "pulled_at"}
    return shown | known(
        accounts=accounts(record.accounts),
        revoked_accounts=sorted(record.revoked_accounts),
        freshness=known(pulled_at=moment_text(record.synced_at), bank=bank),
        transactions={"live": live, "exact": exact},
        reconcile_owed=record.reconcile,
        removal=None if record.removal is None else removal(record.removal),
    )


def accounts(listed: Iterable[Account]) -> list[View]:
    """Return accounts as the API shows them."""
    return [
        known(
            account_id=account.account_id,
            name=account.name,
            mask=account.mask,
            type=account.kind,
            subtype=account.subtype,
        )
        for account in listed
    ]


def bank_of(contact: BankContact) -> View:
    """Return what Plaid said of its contact with the bank."""
    return {
        "asked_at": moment_text(contact.asked_at),
        "last_success_at": moment_text(contact.last_success_at),
        "last_failure_at": moment_text(contact.last_failure_at),
        **known(error_code=contact.error_code),
    }


def removal(record: RemovalRecord) -> View:
    """Return how far the removal of an Item is."""
    erased = record.rows if record.erase and record.completed_at is not None else None
    return known(
        requested_at=moment_text(record.requested_at),
        transactions="erase" if record.erase else "keep",
        plaid_removed_at=moment_text(record.plaid_removed_at),
        rows_erased=erased,
        completed_at=moment_text(record.completed_at),
    )


def entry(recorded: HistoryEntry) -> View:
    """Return an entry of an Item's history."""
    return {
        **recorded.details,
        **known(
            at=moment_text(recorded.at),
            kind=recorded.kind.value,
            outcome=recorded.outcome,
            announcements=[announcement.value for announcement in recorded.announcements] or None,
        ),
    }


def known(**members: object) -> View:
    """Return the members that are not None."""
    return {name: value for name, value in members.items() if value is not None}
