"""The Items table: what a row of it holds.

Key: `item_id`. Attributes: `access_token` (B, KMS ciphertext), `generation` (N), `attempt_id` (S, of the attempt that
claimed it), `status` (S) with `status_code` and `status_at` (S) where something is wrong, `cursor` (S),
`writing_since` (N), `reconcile` (BOOL, only when true), `days_requested` (N), `update_status` (S), `pull_began_at`,
`synced_at`, `linked_at` (S, ISO 8601 in UTC), `link_id` (S, SHA-256 of the public token; key of the index `by_link`),
`adopted` (BOOL, only when a second request to link relies on it).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plaid_sync.adapters.aws import from_text, to_text
from plaid_sync.adapters.expressions import deserialize
from plaid_sync.core.items import Cursor, Item, ItemId, ItemStatus

if TYPE_CHECKING:
    from plaid_sync.core.plan import Commit


def to_item(attributes: dict[str, Any]) -> Item:
    """Read a row."""
    values = deserialize(attributes)
    writing_since, pull_began_at = values.get("writing_since"), values.get("pull_began_at")
    days_requested, cursor = values.get("days_requested"), values.get("cursor")
    return Item(
        item_id=ItemId(values["item_id"]),
        access_token=values["access_token"],
        generation=int(values["generation"]),
        status=ItemStatus(values["status"]),
        cursor=None if cursor is None else Cursor(cursor),
        writing_since=None if writing_since is None else int(writing_since),
        reconcile=bool(values.get("reconcile", False)),
        days_requested=None if days_requested is None else int(days_requested),
        pull_began_at=None if pull_began_at is None else from_text(pull_began_at),
    )


def committed(commit: Commit) -> dict[str, Any]:
    """Return the attributes that a commit sets (None: removes)."""
    return {
        "cursor": commit.cursor,
        "writing_since": None,
        "reconcile": True if commit.reconcile else None,
        "update_status": commit.update_status,
        "pull_began_at": to_text(commit.pull_began_at),
        "synced_at": to_text(commit.committed_at),
        "status": ItemStatus.ACTIVE.value,
        "status_code": None,
        "status_at": None,
    }
