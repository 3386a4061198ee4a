"""An Item as the Items API knows it: how it stands, whose it is, what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from plaid_sync.core.error_codes import Remedy, remedy_of
from plaid_sync.core.items import ItemStatus
from plaid_sync.core.items_api.requests import RefusedError
from plaid_sync.core.lifecycle.states import TABLE, Action, Event

if TYPE_CHECKING:
    from datetime import datetime

    from plaid_sync.core.items import Account, ItemId, Standing


@dataclass(frozen=True, slots=True)
class RemovalRecord:
    """What became of the wish to remove an Item.

    Attributes:
        erase: whether its transactions are erased, too.
        rows: how many rows there are to erase, once that is known.
        plaid_removed_at: when Plaid let go of it: its billing has ended.
        completed_at: when nothing was left to do.
    """

    requested_at: datetime
    erase: bool
    rows: int | None = None
    plaid_removed_at: datetime | None = None
    completed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class BankContact:
    """What Plaid said of its contact with the bank.

    Attributes:
        asked_at: when it was asked.
        last_success_at: when it last got transactions from the bank.
        last_failure_at: when it last tried in vain.
        error_code: what it said was wrong with the Item.
    """

    asked_at: datetime
    last_success_at: datetime | None = None
    last_failure_at: datetime | None = None
    error_code: str | None = None


@dataclass(frozen=True, slots=True)
class ItemRecord:
    """An Item.

    Attributes:
        access_token: ciphertext; empty once Plaid has let go of the Item, and where it was not asked for (in lists).
        link_id: digest of the public token that it was linked with.
        client_user_id: the caller's reference of the user; None where it was linked without a session.
        update_status: Plaid's `transactions_update_status` when last asked; empty before.
        synced_at: when a sync last committed.
        reconcile: a full resync is owed.
        removal: set once it is removed.
        bank: what Plaid said of the bank when last asked by the API.
    """

    item_id: ItemId
    standing: Standing
    access_token: bytes = field(default=b"", repr=False)
    link_id: str = ""
    linked_at: datetime | None = None
    client_user_id: str | None = None
    institution_id: str | None = None
    update_status: str = ""
    synced_at: datetime | None = None
    reconcile: bool = False
    accounts: tuple[Account, ...] = ()
    revoked_accounts: frozenset[str] = frozenset()
    removal: RemovalRecord | None = None
    bank: BankContact | None = None

    @property
    def removed(self) -> bool:
        """Whether it was deleted through the API."""
        return self.standing.status is ItemStatus.REMOVED


_FIXES: Final = {
    Remedy.UPDATE_MODE: "let the user go through Link in update mode: POST /link-tokens with this item_id",
    Remedy.BANK_THEN_UPDATE_MODE: "let the user put things right at the bank, then go through Link in update mode",
    Remedy.RELINK: "let the user link the bank anew, with ?replace= and this item_id",
    Remedy.WAIT: "nothing: it passes by itself",
    Remedy.NONE: "nothing",
}


def what_to_do(record: ItemRecord) -> tuple[Remedy, str]:
    """Return what the user of an Item has to do, as a word and as a sentence."""
    if record.removed:
        return Remedy.NONE, "nothing: the Item is removed"
    remedy = remedy_of(record.standing.code)
    if record.standing.status is ItemStatus.REVOKED:
        remedy = Remedy.RELINK
    return remedy, _FIXES[remedy]


def fix_of(remedy: Remedy) -> str:
    """Return what has to be done, as a sentence."""
    return _FIXES[remedy]


def permit(record: ItemRecord, event: Event) -> None:
    """Refuse what the table of states refuses.

    Raises:
        RefusedError: 410 for an Item that is removed, 409 for one whose state does not allow it.
    """
    status = record.standing.status
    if TABLE[status, event].action is not Action.REFUSE:
        return
    if status is ItemStatus.REMOVED:
        raise removed_item(record.item_id)
    remedy, fix = what_to_do(record)
    code = record.standing.code
    detail = f"the Item can't do this while it is {status.value}{f' ({code})' if code else ''}"
    raise RefusedError(HTTPStatus.CONFLICT, f"item_{status.value}", detail, {"fix": fix, "remedy": remedy.value})


def removed_item(item_id: ItemId) -> RefusedError:
    """Return the refusal of an Item that is removed."""
    return RefusedError(
        HTTPStatus.GONE, "item_removed", "the Item is removed", {"fix": "link the bank anew", "item_id": item_id}
    )
