"""The Links table: link sessions, and which Item holds which of a user's bank accounts. Its keys are digests.

Key: `link_key`. A session (`session#…`): `client_user_id` (S), `item_id` (S, in update mode), `days_requested` (N),
`link_id` (S, SHA-256 of the public token that it led to, where that was not sent: Hosted Link), `expires_at` (N, epoch
seconds, TTL). A claim (`login#…`): `item_id` and `link_id` (S); it is good while its Item lives. `void#<item_id>`: this
Item was not stored, and never will be; `expires_at`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.adapters.aws import aws_errors
from plaid_sync.adapters.dynamodb.atomic import TRIES, back_off
from plaid_sync.adapters.dynamodb.expressions import Expression, deserialize, serialize
from plaid_sync.core.failures import RetryableError
from plaid_sync.core.items import ItemId
from plaid_sync.core.linking.bank_logins import Claim
from plaid_sync.core.linking.link_sessions import LinkSession

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

_VOID_KEPT: Final = timedelta(days=1)
"""Much longer than a request can be under way: AWS refuses a signature after minutes."""


@dataclass(frozen=True, slots=True)
class LinksTable:
    """Reads and writes links; fulfils `Links` and `BankLogins`.

    Attributes:
        pause: waits so many seconds.
    """

    client: DynamoDBClient
    table: str
    pause: Callable[[float], None] = time.sleep

    def add_session(self, session: LinkSession) -> None:
        """See `ports.items_api.Links`."""
        values: dict[str, Any] = {
            "link_key": session.key,
            "client_user_id": session.client_user_id,
            "item_id": session.item_id,
            "days_requested": session.days_requested,
            "expires_at": int(session.expires_at.timestamp()),
            "link_id": session.link_id,
        }
        item = {name: serialize(value) for name, value in values.items() if value is not None}
        with aws_errors():
            self.client.put_item(TableName=self.table, Item=item)

    def session(self, key: str, now: datetime) -> LinkSession | None:
        """See `ports.items_api.Links`. DynamoDB deletes what has expired days later."""
        with aws_errors():
            answer = self.client.get_item(TableName=self.table, Key=_key(key), ConsistentRead=True)
        values = deserialize(dict(answer.get("Item", {})))
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

    def claims(self, keys: Collection[str]) -> Mapping[str, Claim]:
        """See `ports.items_api.Links`."""
        found: dict[str, Claim] = {}
        request: Any = {self.table: {"Keys": [_key(key) for key in keys], "ConsistentRead": True}} if keys else {}
        for attempt in range(TRIES):
            if not request:
                return found
            if attempt:
                back_off(self.pause, attempt)
            with aws_errors():
                answer = self.client.batch_get_item(RequestItems=request)
            for attributes in answer["Responses"].get(self.table, ()):
                claim = _to_claim(dict(attributes))
                found[claim.key] = claim
            request = answer.get("UnprocessedKeys")
        raise RetryableError("UnprocessedKeys")

    def release(self, item_id: ItemId, bank_login_ids: Collection[str]) -> None:
        """See `ports.lifecycle.BankLogins`. A claim that another Item has taken over stays that one's."""
        for key in sorted(bank_login_ids):
            expression = Expression()
            with aws_errors():
                try:
                    self.client.delete_item(
                        TableName=self.table,
                        Key=_key(key),
                        ConditionExpression=expression.equals("item_id", item_id),
                        **expression.arguments(),
                    )
                except self.client.exceptions.ConditionalCheckFailedException:
                    continue


def claim_puts(table: str, claims: Iterable[Claim], yielding: Collection[ItemId]) -> list[dict[str, Any]]:
    """Return the actions by which an Item takes its claims: free ones, its own, and those of Items that must yield."""
    puts = []
    for claim in claims:
        expression = Expression()
        holders = ", ".join(expression.value(holder) for holder in sorted({claim.item_id, *yielding}))
        free, held = f"attribute_not_exists({expression.name('link_key')})", f"{expression.name('item_id')}"
        put: dict[str, Any] = {
            "TableName": table,
            "Item": {
                "link_key": serialize(claim.key),
                "item_id": serialize(claim.item_id),
                "link_id": serialize(claim.link_id),
            },
            "ConditionExpression": f"{free} OR {held} IN ({holders})",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            **expression.arguments(),
        }
        puts.append({"Put": put})
    return puts


def void_key(item_id: ItemId) -> dict[str, str]:
    """Return the key of the row that says that an Item never will be stored."""
    return {"link_key": f"void#{item_id}"}


def void_put(table: str, item_id: ItemId, now: datetime) -> dict[str, Any]:
    """Return the action that writes that row."""
    values = void_key(item_id) | {"expires_at": int((now + _VOID_KEPT).timestamp())}
    return {"Put": {"TableName": table, "Item": {name: serialize(value) for name, value in values.items()}}}


def _key(key: str) -> dict[str, Any]:
    return {"link_key": serialize(key)}


def _to_claim(attributes: dict[str, Any]) -> Claim:
    values = deserialize(attributes)
    return Claim(values["link_key"], ItemId(values["item_id"]), values["link_id"])
