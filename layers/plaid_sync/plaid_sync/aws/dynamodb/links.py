"""The Links table: link sessions, and which Item holds which of a user's bank accounts. Its keys are digests.

Key: `link_key`. A session (`session#…`): `client_user_id` (S), `item_id` (S, in update mode), `days_requested` (N),
`link_id` (S, SHA-256 of the public token that it led to, where the caller did not send one: Hosted Link), `expires_at`
(N, epoch seconds, TTL). An account claim (`login#…`): `item_id` and `link_id` (S); it holds while its Item lives.
`void#<item_id>`, with `expires_at`: a registration block: this Item was not stored, and never will be.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.aws.clients import aws_errors
from plaid_sync.aws.dynamodb.expressions import Expression, deserialize, serialize
from plaid_sync.aws.dynamodb.transact import MAX_TRIES, Action, back_off, put
from plaid_sync.domain.errors import TransientError
from plaid_sync.domain.item import Item, ItemId
from plaid_sync.linking.sessions import AccountClaim, LinkSession

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
        row: dict[str, Any] = {
            "link_key": session.key,
            "client_user_id": session.client_user_id,
            "item_id": session.item_id,
            "days_requested": session.days_requested,
            "expires_at": int(session.expires_at.timestamp()),
            "link_id": session.link_id,
        }
        with aws_errors():
            self.client.put_item(**put("session", self.table, row).request["Put"])

    def session(self, key: str, now: datetime) -> LinkSession | None:
        """See `Links`. DynamoDB deletes expired rows days later."""
        with aws_errors():
            response = self.client.get_item(TableName=self.table, Key=_key(key), ConsistentRead=True)
        values = deserialize(dict(response.get("Item", {})))
        if not values or (expires_at := datetime.fromtimestamp(int(values["expires_at"]), UTC)) <= now:
            return None
        item_id, days = values.get("item_id"), values.get("days_requested")
        return LinkSession(
            key=key,
            client_user_id=values["client_user_id"],
            item_id=None if item_id is None else ItemId(item_id),
            days_requested=None if days is None else int(days),
            expires_at=expires_at,
            link_id=values.get("link_id"),
        )

    def claims(self, keys: Collection[str]) -> Mapping[str, AccountClaim]:
        """See `Links`."""
        found: dict[str, AccountClaim] = {}
        if not keys:
            return found
        request: Any = {self.table: {"Keys": [_key(key) for key in keys], "ConsistentRead": True}}
        for attempt in range(MAX_TRIES):
            with aws_errors():
                response = self.client.batch_get_item(RequestItems=request)
            for attributes in response["Responses"].get(self.table, ()):
                claim = _claim_from_row(dict(attributes))
                found[claim.key] = claim
            request = response.get("UnprocessedKeys")
            if not request:
                return found
            back_off(self.clock, attempt)
        raise TransientError("UnprocessedKeys")


def claim_puts(table: str, item: Item, releasable_item_ids: Collection[ItemId]) -> list[Action]:
    """Return the actions by which an Item takes its claims: free ones, its own, and those of releasable Items."""
    puts = []
    for key in sorted(item.bank_login_ids):
        expression = Expression()
        holders = ", ".join(expression.value(holder) for holder in sorted({item.item_id, *releasable_item_ids}))
        free, held = f"attribute_not_exists({expression.name('link_key')})", f"{expression.name('item_id')}"
        action = put(key, table, {"link_key": key, "item_id": item.item_id, "link_id": item.link_id})
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


def block_put(table: str, item_id: ItemId, now: datetime) -> Action:
    """Return the action that blocks the registration of an Item."""
    return put("block", table, block_key(item_id) | {"expires_at": int((now + _BLOCK_TTL).timestamp())})


def _key(key: str) -> dict[str, Any]:
    return {"link_key": serialize(key)}


def _claim_from_row(attributes: dict[str, Any]) -> AccountClaim:
    values = deserialize(attributes)
    return AccountClaim(values["link_key"], ItemId(values["item_id"]), values["link_id"])
