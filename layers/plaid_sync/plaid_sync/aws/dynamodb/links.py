"""The Links table: link sessions, and which Item holds which of a user's bank accounts. Its keys are digests.

Key: `link_key`. A session (`session#…`): `client_user_id` (S), `item_id` (S, in update mode), `days_requested` (N),
`link_id` (S, SHA-256 of the public token that it took), `created_at` (S), `hosted` and `multi_item` (BOOL, only when
true), `replaces` (S, the Item that the new one replaces) and `erases` (BOOL, only when true: its transactions),
`expires_at` (N, epoch seconds, TTL). The progress of a link (`public#<link_id>`): `session_key` (S), once the
public token is exchanged `item_id` and `request_id` (S), `duplicate_of` (S), `expires_at`. An account claim
(`login#…`): `item_id` and `link_id` (S); it holds while its Item lives. `void#<item_id>`, with `expires_at`: a
registration block: this Item was not stored, and never will be. All of these have `client_user_id` where the user is
known: the index `by_user` finds them. `user#<digest of the reference>`: the user's row (see `users`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.aws.clients import aws_errors
from plaid_sync.aws.dynamodb import users
from plaid_sync.aws.dynamodb.expressions import Expression, deserialize, serialize
from plaid_sync.aws.dynamodb.transact import Action, ConditionFailedError, batch_get, put, write_together
from plaid_sync.domain.clock import format_optional_timestamp, parse_timestamp
from plaid_sync.domain.errors import TransientError
from plaid_sync.domain.item import Item, ItemId
from plaid_sync.domain.requests import user_being_erased_error
from plaid_sync.linking.sessions import AccountClaim, LinkProgress, LinkSession

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

    from plaid_sync.domain.clock import Clock

_BLOCK_TTL: Final = timedelta(days=1)
"""Much longer than a request can be in flight: AWS rejects a signature after minutes."""


@dataclass(frozen=True, slots=True)
class LinksTable:
    """Reads and writes links; implements `Links`."""

    client: DynamoDBClient
    table: str
    clock: Clock

    def add_session(self, session: LinkSession) -> None:
        """See `Links`."""
        not_erasing = users.not_erasing(self.table, session.client_user_id)
        try:
            write_together(self.client, [not_erasing, put("session", self.table, _session_row(session))], self.clock)
        except ConditionFailedError as error:
            raise user_being_erased_error() from error

    def session(self, key: str, now: datetime) -> LinkSession | None:
        """See `Links`. DynamoDB deletes expired rows days later."""
        values = self._read(key)
        if not values or (expires_at := datetime.fromtimestamp(int(values["expires_at"]), UTC)) <= now:
            return None
        item_id, days, replaced = (values.get(name) for name in ("item_id", "days_requested", "replaces"))
        return LinkSession(
            key=key,
            client_user_id=values["client_user_id"],
            item_id=None if item_id is None else ItemId(item_id),
            days_requested=None if days is None else int(days),
            expires_at=expires_at,
            link_id=values.get("link_id"),
            created_at=parse_timestamp(values.get("created_at")),
            hosted=bool(values.get("hosted", False)),
            multi_item=bool(values.get("multi_item", False)),
            replace=None if replaced is None else ItemId(replaced),
            erase=bool(values.get("erases", False)),
        )

    def begin(self, progress: LinkProgress, session: LinkSession | None) -> LinkProgress:
        """See `Links`. When the response of a write is lost, the SDK's repeat finds its own row."""
        if session is not None:
            found = self._put_new(_session_row(replace(session, link_id=progress.link_id)), "link_id")
            if found.get("link_id", progress.link_id) != progress.link_id:
                raise TransientError("link_session_modified")
        found = self._put_new(progress_row(progress), "link_key")
        return _progress_from_row(progress.link_id, found) if found else progress

    def _put_new(self, row: dict[str, Any], absent: str) -> dict[str, Any]:
        """Store a row, unless there is one with this attribute; return that one."""
        expression = Expression()
        condition = expression.equals(absent, None)
        with aws_errors():
            try:
                self.client.put_item(
                    **put("row", self.table, row).request["Put"],
                    ConditionExpression=condition,
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                    **expression.arguments(),
                )
            except self.client.exceptions.ConditionalCheckFailedException as error:
                failed: Any = error.response
                return deserialize(failed.get("Item", {}))
        return {}

    def save_progress(self, progress: LinkProgress) -> None:
        """See `Links`."""
        with aws_errors():
            self.client.put_item(**put("progress", self.table, progress_row(progress)).request["Put"])

    def _read(self, key: str) -> dict[str, Any]:
        with aws_errors():
            response = self.client.get_item(TableName=self.table, Key=_key(key), ConsistentRead=True)
        return deserialize(response.get("Item", {}))

    def claims(self, keys: Collection[str]) -> Mapping[str, AccountClaim]:
        """See `Links`."""
        if not keys:
            return {}
        read = {"Keys": [_key(key) for key in keys], "ConsistentRead": True}
        claims = map(_claim_from_row, batch_get(self.client, self.table, read, self.clock))
        return {claim.key: claim for claim in claims}


def claim_puts(table: str, item: Item, releasable_item_ids: Collection[ItemId]) -> list[Action]:
    """Return the actions by which an Item takes its claims: free ones, its own, and those of releasable Items."""
    puts = []
    for key in sorted(item.bank_login_ids):
        expression = Expression()
        holders = ", ".join(expression.value(holder) for holder in sorted({item.item_id, *releasable_item_ids}))
        free, held = f"attribute_not_exists({expression.name('link_key')})", f"{expression.name('item_id')}"
        claim = {"link_key": key, "item_id": item.item_id, "link_id": item.link_id}
        action = put(key, table, {**claim, "client_user_id": item.client_user_id})
        action.request["Put"] |= {
            "ConditionExpression": f"{free} OR {held} IN ({holders})",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            **expression.arguments(),
        }
        puts.append(action)
    return puts


def block_key(item_id: ItemId) -> dict[str, str]:
    """Return the key of an Item's registration block."""
    return {"link_key": f"void#{item_id}"}


def block_put(table: str, item_id: ItemId, client_user_id: str | None, now: datetime) -> Action:
    """Return the action that blocks the registration of an Item of a user."""
    expires_at = int((now + _BLOCK_TTL).timestamp())
    return put("block", table, {**block_key(item_id), "client_user_id": client_user_id, "expires_at": expires_at})


def progress_row(progress: LinkProgress) -> dict[str, Any]:
    """Return the row of a link's progress."""
    return {
        "link_key": f"public#{progress.link_id}",
        "session_key": progress.session_key,
        "expires_at": int(progress.expires_at.timestamp()),
        "item_id": progress.item_id,
        "duplicate_of": progress.duplicate_of,
        "request_id": progress.request_id or None,
        "client_user_id": progress.client_user_id,
    }


def _progress_from_row(link_id: str, values: dict[str, Any]) -> LinkProgress:
    item_id, duplicate_of = values.get("item_id"), values.get("duplicate_of")
    return LinkProgress(
        link_id=link_id,
        session_key=values.get("session_key"),
        expires_at=datetime.fromtimestamp(int(values["expires_at"]), UTC),
        item_id=None if item_id is None else ItemId(item_id),
        duplicate_of=None if duplicate_of is None else ItemId(duplicate_of),
        request_id=values.get("request_id", ""),
        client_user_id=values.get("client_user_id"),
    )


def _session_row(session: LinkSession) -> dict[str, Any]:
    return {
        "link_key": session.key,
        "client_user_id": session.client_user_id,
        "item_id": session.item_id,
        "days_requested": session.days_requested,
        "expires_at": int(session.expires_at.timestamp()),
        "link_id": session.link_id,
        "created_at": format_optional_timestamp(session.created_at),
        "hosted": session.hosted or None,
        "multi_item": session.multi_item or None,
        "replaces": session.replace,
        "erases": session.erase or None,
    }


def _key(key: str) -> dict[str, Any]:
    return {"link_key": serialize(key)}


def _claim_from_row(attributes: dict[str, Any]) -> AccountClaim:
    values = deserialize(attributes)
    taken_at = parse_timestamp(values.get("taken_at"))
    return AccountClaim(values["link_key"], ItemId(values["item_id"]), values["link_id"], taken_at)
