"""The Items table as linking uses it: an Item is stored with its claims, or never."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.adapters.aws import aws_errors, to_text
from plaid_sync.adapters.dynamodb.atomic import ConditionFailedError, action, write_together
from plaid_sync.adapters.dynamodb.expressions import Expression, deserialize, serialize
from plaid_sync.adapters.dynamodb.history_table import entry_put
from plaid_sync.adapters.dynamodb.item_format import account_attributes, due_text
from plaid_sync.adapters.dynamodb.links_table import claim_puts, void_key, void_put
from plaid_sync.adapters.dynamodb.record_format import read_record, removal_attributes
from plaid_sync.core.failures import RetryableError
from plaid_sync.core.items import ItemId, ItemStatus
from plaid_sync.core.lifecycle.cadence import FIRST_SYNC
from plaid_sync.core.linking.bank_logins import Claim
from plaid_sync.core.linking.registration import ClaimHeldError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb import DynamoDBClient

    from plaid_sync.core.items_api.item_record import ItemRecord
    from plaid_sync.core.linking.registration import NewItem, Registration, Replacement
    from plaid_sync.ports.common import Clock

_REMOVED: Final = ItemStatus.REMOVED.value
_FIRST_CLAIM: Final = 2
"""Before the claims a registration has the Item's action, and the one that makes sure that it was not renounced."""


@dataclass(frozen=True, slots=True)
class ItemRegistry:
    """Finds and stores linked Items; fulfils `LinkItems`.

    Attributes:
        pause: waits so many seconds.
    """

    client: DynamoDBClient
    table: str
    links_table: str
    history_table: str
    clock: Clock
    pause: Callable[[float], None]

    def load(self, item_id: ItemId) -> ItemRecord | None:
        """See `ports.items_api.LinkItems`."""
        return read_record(self.client, self.table, item_id)

    def find_by_link(self, link_id: str) -> ItemRecord | None:
        """See `ports.items_api.LinkItems`. The index is eventually consistent; what it leads to is not."""
        expression = Expression()
        with aws_errors():
            answer = self.client.query(
                TableName=self.table,
                IndexName="by_link",
                KeyConditionExpression=expression.equals("link_id", link_id),
                Limit=1,
                **expression.arguments(),
            )
        found = answer["Items"]
        record = self.load(ItemId(str(found[0]["item_id"]["S"]))) if found else None
        return record if record is not None and record.link_id == link_id else None

    def register(self, registration: Registration) -> None:
        """See `ports.items_api.LinkItems`."""
        try:
            self._write(registration, registration.replacement)
        except ConditionFailedError as error:
            replaced = _position_of_replacement(registration)
            if set(error.found) != {replaced} or not _is_removed(error.found[replaced]):
                raise _refusal(error, registration) from error
        else:
            return
        # Somebody else has removed the Item that was to be replaced: that leaves nothing to do about it.
        try:
            self._write(registration, None)
        except ConditionFailedError as error:
            raise _refusal(error, registration) from error

    def _write(self, registration: Registration, replacement: Replacement | None) -> None:
        item = registration.item
        unvoided = Expression()
        claims = [Claim(key, item.item_id, item.link_id) for key in item.claims]
        actions = [
            self._upsert(item),
            action(
                "ConditionCheck", self.links_table, void_key(item.item_id), unvoided, unvoided.equals("link_key", None)
            ),
            *claim_puts(self.links_table, claims, registration.yielding),
        ]
        if replacement is not None:
            actions += [
                self._replace(replacement, item),
                entry_put(self.history_table, replacement.entry),
            ]
        actions.append(entry_put(self.history_table, registration.entry))
        write_together(self.client, actions, self.pause)

    def _upsert(self, item: NewItem) -> dict[str, Any]:
        expression, linked_at = Expression(), to_text(item.linked_at)
        told: dict[str, Any] = {
            "client_user_id": item.client_user_id,
            "institution_id": item.institution_id,
            "accounts": account_attributes(item.accounts) or None,
            "bank_login_ids": set(item.claims) or None,
        }
        update = expression.update(
            {"access_token": item.access_token, "link_id": item.link_id}
            | {name: value for name, value in told.items() if value is not None},
            {
                "generation": 0,
                "status": ItemStatus.ACTIVE.value,
                "days_requested": item.days_requested,
                "linked_at": linked_at,
                "fresh_at": linked_at,
                "due_at": due_text(item.item_id, FIRST_SYNC, item.linked_at),
            },
        )
        condition = (
            f"{expression.equals('item_id', None)} OR {expression.name('status')} <> {expression.value(_REMOVED)}"
        )
        return action("Update", self.table, {"item_id": item.item_id}, expression, condition, update)

    def _replace(self, replacement: Replacement, item: NewItem) -> dict[str, Any]:
        expression = Expression()
        sets = removal_attributes(replacement.item_id, replacement.standing, item.linked_at, erase=replacement.erase)
        update = expression.update(sets | {"replaced_by": item.item_id})
        lives = f"{expression.name('status')} <> {expression.value(_REMOVED)}"
        condition = f"{lives} AND {expression.equals('client_user_id', item.client_user_id)}"
        return action("Update", self.table, {"item_id": replacement.item_id}, expression, condition, update)

    def renounce(self, item_id: ItemId) -> bool:
        """See `ports.items_api.LinkItems`.

        A registration that is still under way finds the Item void when it arrives.
        """
        expression = Expression()
        absent = expression.equals("item_id", None)
        actions = [
            action("ConditionCheck", self.table, {"item_id": item_id}, expression, absent),
            void_put(self.links_table, item_id, self.clock()),
        ]
        try:
            write_together(self.client, actions, self.pause)
        except ConditionFailedError as error:
            return not _is_removed(error.found.get(0, {}))
        return False


def _position_of_replacement(registration: Registration) -> int:
    return _FIRST_CLAIM + len(registration.item.claims)


def _is_removed(attributes: dict[str, Any]) -> bool:
    return attributes.get("status") == serialize(_REMOVED)


def _refusal(error: ConditionFailedError, registration: Registration) -> ClaimHeldError | RetryableError:
    """Return what a registration failed of."""
    first = min(error.found)
    if first < _FIRST_CLAIM or first >= _position_of_replacement(registration):
        return RetryableError("item_not_as_before")
    holder = deserialize(error.found[first]).get("item_id")
    return ClaimHeldError(None if holder is None else ItemId(str(holder)))
