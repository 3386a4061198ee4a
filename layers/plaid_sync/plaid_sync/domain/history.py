"""An Item's history: an entry for each notable sync, each request, and each webhook that is published or linked.

A sync's entry names the webhooks that led to it. Webhooks that are not about an Item have entries, too, because their
events are published from them.

The entry of a transition is written in the transaction that makes the transition, so that neither exists without the
other. `functions/changes` publishes the entry's events from the table's stream.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.domain.claims import digest
from plaid_sync.domain.item import ItemId

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

HISTORY_TTL: Final = timedelta(days=90)
"""How long DynamoDB keeps an entry."""
NO_ITEM: Final = "webhooks-without-item"
"""In place of the Item, of entries that are not about one; no Item of Plaid's has this id."""


def partition_without_item(client_user_id: str | None) -> ItemId:
    """Return the partition of such entries; those of a known user are together, so that they can be erased."""
    return ItemId(NO_ITEM if client_user_id is None else f"{NO_ITEM}#{digest(client_user_id)}")


def is_about_no_item(item_id: object) -> bool:
    """Return whether an entry with this `item_id` is about no Item."""
    return str(item_id).partition("#")[0] == NO_ITEM


class DetailType(StrEnum):
    """The detail-type of an event on the event bus."""

    LINKED = "ItemLinked"
    ACTIVE = "ItemActive"
    EXPIRING = "ItemExpiring"
    DEGRADED = "ItemDegraded"
    NEEDS_USER = "ItemNeedsUser"
    REVOKED = "ItemRevoked"
    REMOVED = "ItemRemoved"
    NEW_ACCOUNTS = "NewAccountsAvailable"
    ACCOUNT_GONE = "AccountGone"
    ACCOUNT_REVOKED = "AccountRevoked"
    ACCOUNT_RETURNED = "AccountReturned"
    TOKEN_EXPORTED = "AccessTokenExported"  # noqa: S105 - an event
    PLAID_WEBHOOK = "PlaidWebhook"


class EntryKind(StrEnum):
    """What an entry records."""

    WEBHOOK = "webhook"
    SYNC = "sync"
    REQUEST = "request"
    REMOVAL = "removal"


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One entry.

    Attributes:
        item_id: the Item, or `partition_without_item`.
        at: when it happened.
        entry_suffix: separates entries of the same millisecond; a repeat of the same event has the same suffix, so that
            writing it again is idempotent.
        kind: an `EntryKind`, or a word of a newer version.
        outcome: the result, in a word.
        details: further attributes (docs/data.md); those that are None are omitted.
        published_events: detail-types (`DetailType`, or a newer version's) that are published for it.
    """

    item_id: ItemId
    at: datetime
    entry_suffix: str
    kind: str
    outcome: str
    details: Mapping[str, Any] = field(default_factory=dict)
    published_events: tuple[str, ...] = ()
