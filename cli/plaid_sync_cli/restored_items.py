"""What an Item's row becomes when it is restored: the history says what happened since.

Items that were linked and removed, accounts that were erased or withdrawn, access tokens that were replaced.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.aws.dynamodb import item_rows
from plaid_sync.aws.dynamodb.account_rows import accounts_attribute
from plaid_sync.aws.dynamodb.expressions import deserialize, number_of
from plaid_sync.domain.accounts import AccountStates
from plaid_sync.domain.clock import format_timestamp, utc_now
from plaid_sync.domain.item import (
    ACCOUNT_ROWS,
    CHECK_ACCOUNTS,
    ItemId,
    ItemState,
    PendingCheck,
    StateName,
    merge_checks,
)

if TYPE_CHECKING:
    from datetime import datetime

    from plaid_sync.domain.history import HistoryEntry

Row = dict[str, Any]
GENERATION_STEP: Final = 1_000_000
"""Added to the generation of a restored Item, so that no row is newer than its Item: in 35 days, the longest time that
a table can be restored over, an Item has far fewer attempts."""
_ATTEMPT: Final = (
    *("attempt_id", "checkpoint", "pull_restarts", "reconcile_after", "inconclusive_pulls"),
    *("unfinished_attempts", "writing_since", "token_exported_at"),
)
"""Attributes of an attempt that ended long ago. Without `writing_since`, absence counts in a complete history only, and
without `token_exported_at` an Item is not left to a system whose access token may be dead."""
_ACCOUNT_CHANGES: Final = {"withdrawn_accounts": True, "returned_accounts": False}


@dataclass(slots=True)
class Facts:
    """What the history knows of an Item.

    Attributes:
        removal_requested: the request that removed it.
        erase: whether its transactions have to be erased.
        kept_at_plaid: whether another system goes on with it at Plaid.
        removed_at: when its removal was complete: its access token is dead.
        erased: accounts that were erased; False for those that were restored after that.
        withdrawn: accounts that the user withdrew; False for those that Plaid listed again after that.
        token_replaced_at: when its access token was last replaced.
        rotation_began_at: when a replacement began that has no end: its access token may be dead.
    """

    linked: bool = False
    imported: bool = False
    removal_requested: HistoryEntry | None = None
    erase: bool = False
    kept_at_plaid: bool = False
    removed_at: datetime | None = None
    erased: dict[str, bool] = field(default_factory=dict)
    withdrawn: dict[str, bool] = field(default_factory=dict)
    token_replaced_at: datetime | None = None
    rotation_began_at: datetime | None = None

    def add(self, entry: HistoryEntry) -> None:
        """Learn from an entry; they come in their order."""
        outcome, details = entry.outcome, entry.details
        match outcome:
            case "linked":
                self.linked = True
            case "imported":
                self.imported = True
            case "removal_requested" | "erasure_requested":
                self.removal_requested = self.removal_requested or entry
                self.erase = self.erase or details.get("transactions") == "erase"
                self.kept_at_plaid = self.kept_at_plaid or details.get("at_plaid") == "keep"
            case "account_erasure_requested" | "account_restored":
                self.erased[details["account_id"]] = outcome == "account_erasure_requested"
            case "token_rotation_began":
                self.rotation_began_at = entry.at
            case "token_rotation_failed":
                self.rotation_began_at = None
            case "token_rotated":
                self.token_replaced_at, self.rotation_began_at = entry.at, None
            case "erased" | "kept" if self.removal_requested and self.removal_requested.outcome == "removal_requested":
                self.removed_at = entry.at  # else it was the removal of a lost Item, which Plaid still has
        for name, withdrawn in _ACCOUNT_CHANGES.items():
            self.withdrawn |= dict.fromkeys(details.get(name, ()), withdrawn)

    def account_states(self, known: AccountStates) -> AccountStates:
        """Return the states of accounts as of now: those of a row, changed by what the history knows."""
        withdrawn, erased = _changed(known.withdrawn, self.withdrawn), _changed(known.erased, self.erased)
        return AccountStates(known.gone - withdrawn, withdrawn, erased)

    def has_newest_token(self, row: Row) -> bool:
        """Return whether the row's access token is the last one: it was stored, or it worked, after the replacement."""
        known_at = max(str(row.get(name, {}).get("S", "")) for name in ("fresh_at", "token_rotated_at"))
        return self.token_replaced_at is None or format_timestamp(self.token_replaced_at) <= known_at

    def removal(self, item_id: ItemId) -> Row:
        """Return the attributes of its removal, as far as it is done."""
        entry, now = self.removal_requested, utc_now()
        requested_at = now if entry is None else entry.at
        state, kept = ItemState(StateName.REMOVED), self.kept_at_plaid
        sets = item_rows.removal_attributes(item_id, state, requested_at, erase=self.erase, keeps_at_plaid=kept)
        sets |= {"removal_completed_at": None, "rows_to_erase": None, **item_rows.request_attributes(item_id, now)}
        if entry is not None:
            sets["replaced_by"] = entry.details.get("replaced_by")
        if self.removed_at is not None and not kept:
            sets |= {"access_token": None, "plaid_removed_at": format_timestamp(self.removed_at)}
        return sets


def _changed(known: frozenset[str], changes: dict[str, bool]) -> frozenset[str]:
    return frozenset(each for each in {*known, *changes} if changes.get(each, True))


def restored_item(row: Row, stored: Row, facts: Facts) -> Row:
    """Return the row of a restored Item: removed again where it was, else with a full resync pending.

    One that was registered since is removed, too: its row has nothing but an access token.

    Args:
        row: as restored, in DynamoDB's form.
        stored: the row that it replaces; empty if there is none.
        facts: what the history knows of the Item.
    """
    values, item, now = deserialize(row), item_rows.item_from_row(row), utc_now()
    generation = GENERATION_STEP + max(number_of(each, "generation") for each in (values, deserialize(stored)))
    known = {"generation": generation, **_token(row, stored, facts)}
    if "unregistered_link" in values and facts.linked:
        return lost_item(item.item_id, facts, known)
    due = {} if values.get("removal_completed_at") else item_rows.request_attributes(item.item_id, now)
    restored = values | dict.fromkeys(_ATTEMPT) | known | due
    if "unregistered_link" in values:
        return restored
    if item.removed:
        again = facts.erase and (item.removal is None or not item.removal.erase)
        return restored | (facts.removal(item.item_id) if again else {})
    if facts.removal_requested is not None:
        return restored | facts.removal(item.item_id)
    states = facts.account_states(item.account_states)
    closed = states.without_content
    accounts = (account for account in item.accounts if account.account_id not in closed)
    checks = [PendingCheck(CHECK_ACCOUNTS, now)]
    checks += [PendingCheck(ACCOUNT_ROWS, now, account_id=each) for each in sorted(closed)]
    return restored | {
        **item_rows.FULL_RESYNC,
        **item_rows.account_state_attributes(states),
        "accounts": accounts_attribute(accounts),
        "pending_checks": item_rows.check_attributes(merge_checks(item.pending_checks, checks)),
    }


def _token(row: Row, stored: Row, facts: Facts) -> Row:
    """Return the newest access token that there is.

    Where it may be dead, its rotation counts as begun: so the removal asks Plaid, and reports an Item that it keeps.
    """
    candidates = [each for each in (row, stored) if "B" in each.get("access_token", {})]
    if "access_token" not in row or not candidates:
        return {}
    newest = next(filter(facts.has_newest_token, candidates), None)
    began_at = facts.rotation_began_at or (facts.token_replaced_at if newest is None else None)
    chosen = deserialize(newest or candidates[-1])
    token = {name: chosen.get(name) for name in ("access_token", "token_rotated_at", "token_rotation_began_at")}
    return token | ({} if began_at is None else {"token_rotation_began_at": format_timestamp(began_at)})


def lost_item(item_id: ItemId, facts: Facts, known: Row | None = None) -> Row:
    """Return the row of an Item of which the history is left, and what else is known: a removed one.

    So its rows have an owner that can erase them, and its user can link the bank again. Its removal reports it as
    orphaned where its access token is lost, unless Plaid removed it before.
    """
    fresh_at = format_timestamp(utc_now())  # without it no list has the Item
    unknown = {"item_id": item_id, "generation": GENERATION_STEP, "fresh_at": fresh_at}
    return unknown | (known or {}) | facts.removal(item_id)
