"""A user's row in the Links table, and everything that is stored of a user, in every table.

Key: `link_key`, `user#<digest of the reference>`. `item_ids` (SS): the Items that were ever linked for the user. While
the user is being erased `erasing_since` (S): no link of the user is stored. `requested_at`, `settles_at`, `erased_at`
(S), `erased_items`, `erased_rows`, `erased_history` and `erased_links` (N): the receipt, which
`expires_at` (N, epoch seconds, TTL) ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from plaid_sync.aws.clients import aws_errors
from plaid_sync.aws.dynamodb import transact
from plaid_sync.aws.dynamodb.change_log import partition_of
from plaid_sync.aws.dynamodb.expressions import Expression, deserialize, number_of, serialize
from plaid_sync.aws.dynamodb.shared_rows import INVALIDATION, RECURRING, epoch_seconds, shared_key
from plaid_sync.aws.dynamodb.transact import Action, ConditionFailedError, query_pages, write_together
from plaid_sync.domain.claims import user_key
from plaid_sync.domain.clock import format_timestamp, parse_timestamp
from plaid_sync.domain.errors import TransientError
from plaid_sync.domain.history import partition_without_item
from plaid_sync.domain.item import ItemId
from plaid_sync.items_api.ports import ERASED_KINDS, Erasure

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from datetime import datetime

    from mypy_boto3_dynamodb import DynamoDBClient

    from plaid_sync.domain.clock import Clock, Deadline
    from plaid_sync.domain.item import Item

_Key: TypeAlias = dict[str, Any]
_RECEIPT_TTL: Final = timedelta(days=90)
"""Longer than the backups from which the user could come back, and as long as the history."""
_DELETES_PER_TRANSACTION: Final = 10
"""A transaction has four megabytes, and an entry with a webhook's body can have some 300 kilobytes."""
_SECONDS_FOR_A_CALL: Final = 10.0
_USER: Final = "user"
_RECEIPT: Final = ("settles_at", "erased_at", "expires_at", *(f"erased_{kind}" for kind in ERASED_KINDS))


def not_erasing(links_table: str, client_user_id: str) -> Action:
    """Return the check that a user is not being erased."""
    expression = Expression()
    condition = expression.equals("erasing_since", None)
    return transact.check(_USER, links_table, {"link_key": user_key(client_user_id)}, expression, condition)


def add_item(label: str, links_table: str, client_user_id: str, item_id: ItemId) -> Action:
    """Return the action that adds an Item to its user, unless the user is being erased."""
    expression = Expression()
    ids, expiry = expression.name("item_ids"), expression.name("expires_at")
    update = f"ADD {ids} {expression.value({item_id})} REMOVE {expiry}"
    condition = expression.equals("erasing_since", None)
    return transact.update(label, links_table, {"link_key": user_key(client_user_id)}, expression, update, condition)


def history_partitions(item_id: ItemId) -> tuple[str, ...]:
    """Return the partitions of the History table that belong to an Item."""
    return item_id, partition_of(item_id)


@dataclass(frozen=True, slots=True)
class UserTables:
    """Finds and erases what is stored of a user; implements `UserRecords`.

    Rows and their count in the receipt are one transaction, so that each counts once, however often a request dies.
    """

    client: DynamoDBClient
    items_table: str
    transactions_table: str
    quarantine_table: str
    history_table: str
    links_table: str
    shared_table: str
    clock: Clock

    # ---- the user's row

    def load(self, client_user_id: str) -> Erasure | None:
        """See `UserRecords`."""
        with aws_errors():
            response = self.client.get_item(
                TableName=self.links_table, Key=_user_row(client_user_id), ConsistentRead=True
            )
        values = deserialize(response.get("Item", {}))
        return _erasure_from(values) if values else None

    def begin(self, client_user_id: str) -> None:
        """See `UserRecords`."""
        now, expression = format_timestamp(self.clock.now()), Expression()
        sets = dict.fromkeys(_RECEIPT) | {"erasing_since": now, "requested_at": now}
        self._update(client_user_id, expression, expression.update(sets), expression.equals("erasing_since", None))

    def add_items(self, client_user_id: str, item_ids: Collection[ItemId]) -> None:
        """See `UserRecords`."""
        expression = Expression()
        update = f"ADD {expression.name('item_ids')} {expression.value(set(item_ids))}"
        self._update(client_user_id, expression, update, _is_erasing(expression))

    def settle(self, client_user_id: str, until: datetime) -> None:
        """See `UserRecords`."""
        expression = Expression()
        update = expression.update({}, {"settles_at": format_timestamp(until)})
        self._update(client_user_id, expression, update, _is_erasing(expression))

    def complete(self, client_user_id: str) -> None:
        """See `UserRecords`."""
        now, expression = self.clock.now(), Expression()
        ended = dict.fromkeys(("erasing_since", "settles_at", "item_ids"))
        sets = ended | {"erased_at": format_timestamp(now), "expires_at": epoch_seconds(now + _RECEIPT_TTL)}
        self._update(client_user_id, expression, expression.update(sets), _is_erasing(expression))

    def _update(self, client_user_id: str, expression: Expression, update: str, condition: str) -> None:
        """Change the user's row; where the condition fails, a concurrent request was faster."""
        key = {"link_key": user_key(client_user_id)}
        action = transact.update(_USER, self.links_table, key, expression, update, condition)
        try:
            write_together(self.client, [action], self.clock)
        except ConditionFailedError as error:
            raise TransientError("erasure_modified_concurrently") from error

    # ---- what there is

    def item_ids(self, client_user_id: str) -> frozenset[ItemId]:
        """See `UserRecords`. A session can name an Item that has no user."""
        found = {row["item_id"]["S"] for row in self._of_user(self.items_table, client_user_id)}
        for row in self._of_user(self.links_table, client_user_id):
            kind, _, name = row["link_key"]["S"].partition("#")
            if kind == "void":
                found.add(name)
            elif kind != "session" and "item_id" in row:
                found.add(row["item_id"]["S"])
        return frozenset(map(ItemId, found))

    def exists(self, client_user_id: str) -> bool:
        """See `UserRecords`."""
        partition = self._history(partition_without_item(client_user_id))
        rows = (self._of_user(self.items_table, client_user_id), self._links(client_user_id), partition)
        return any(any(True for _ in found) for found in rows)

    def is_exchanged(self, item_id: ItemId) -> bool:
        """See `UserRecords`."""
        values = self._item_row(item_id)
        return "unregistered_link" in values and "access_token" in values

    def rows_left(self, item_id: ItemId) -> int:
        """See `UserRecords`."""
        in_quarantine = self._keys(self.quarantine_table, ("item_id", "entry_part"), item_id, index="by_item")
        of_item = self._keys(self.transactions_table, ("item_id", "transaction_id"), item_id)
        return sum(1 for rows in (of_item, in_quarantine) for _ in rows)

    # ---- erasing

    def erase_links(self, client_user_id: str, item_ids: Collection[ItemId], deadline: Deadline) -> int:
        """See `UserRecords`."""
        blocks = [{"link_key": serialize(f"void#{item_id}")} for item_id in item_ids]
        known = [key for key in blocks if self._get(self.links_table, key)]
        keys = {key["link_key"]["S"]: key for key in (*self._links(client_user_id), *known)}
        return self._erase(client_user_id, "links", self.links_table, list(keys.values()), deadline)

    def erase_history(self, client_user_id: str, item_ids: Collection[ItemId], deadline: Deadline) -> int:
        """See `UserRecords`."""
        partitions = [partition_without_item(client_user_id)]
        partitions += [ItemId(name) for item_id in item_ids for name in history_partitions(item_id)]
        erased = 0
        for partition in partitions:
            for page in _chunks(self._history(partition)):
                erased += self._erase(client_user_id, "history", self.history_table, page, deadline)
        return erased

    def erase_shared(self, item_ids: Collection[ItemId], deadline: Deadline) -> int:
        """See `UserRecords`."""
        kinds = ("request", RECURRING, INVALIDATION)
        named = [(kind, str(item_id)) for kind in kinds for item_id in item_ids]
        named += [("once", f"stale#{item_id}") for item_id in item_ids]
        keys = [shared_key(kind, name) for kind, name in named]
        keys = [key for key in keys if self._get(self.shared_table, key)]
        expression = Expression()
        request = {
            "TableName": self.shared_table,
            "KeyConditionExpression": expression.equals("kind", "lease"),
            "ProjectionExpression": f"{expression.name('kind')}, {expression.name('name')}",
            **expression.arguments(),
        }
        for page in query_pages(self.client, request) if item_ids else ():
            keys += [row for row in page["Items"] if row["name"]["S"].rpartition(" ")[2] in item_ids]
        for key in keys:
            deadline.require(_SECONDS_FOR_A_CALL)
            with aws_errors():
                self.client.delete_item(TableName=self.shared_table, Key=key)
        return len(keys)

    def erase_item(self, client_user_id: str, item_id: ItemId, item: Item | None) -> int:
        """See `UserRecords`."""
        values = self._item_row(item_id)
        if not values:
            return 0
        rows = 0 if item is None or item.removal is None else item.removal.rows_to_erase or 0
        expression, key = Expression(), {"item_id": serialize(item_id)}
        over = f"attribute_exists({expression.name('removal_completed_at')})"
        unregistered = f"attribute_exists({expression.name('unregistered_link')})"
        no_token = expression.equals("access_token", None)
        delete = {
            "TableName": self.items_table,
            "Key": key,
            "ConditionExpression": f"{no_token} AND ({over} OR {unregistered})",
            **expression.arguments(),
        }
        try:
            self._delete(client_user_id, [Action(item_id, {"Delete": delete})], {"items": 1, "rows": rows})
        except ConditionFailedError as error:
            raise TransientError("erasure_modified_concurrently") from error
        return 1

    def _erase(self, client_user_id: str, kind: str, table: str, keys: Sequence[_Key], deadline: Deadline) -> int:
        """Delete rows, and count those that there were."""
        erased = 0
        for start in range(0, len(keys), _DELETES_PER_TRANSACTION):
            deadline.require(_SECONDS_FOR_A_CALL)
            deletes = {str(number): key for number, key in enumerate(keys[start : start + _DELETES_PER_TRANSACTION])}
            while deletes:
                try:
                    actions = [_delete_action(label, table, key) for label, key in deletes.items()]
                    self._delete(client_user_id, actions, {kind: len(actions)})
                except ConditionFailedError as error:
                    if _USER in error.found:
                        raise TransientError("erasure_modified_concurrently") from error
                    # An index is late, or the TTL was faster.
                    deletes = {label: key for label, key in deletes.items() if label not in error.found}
                else:
                    erased += len(deletes)
                    break
        return erased

    def _delete(self, client_user_id: str, deletes: list[Action], counts: dict[str, int]) -> None:
        expression = Expression()
        update = expression.update({}, adds={f"erased_{kind}": count for kind, count in counts.items()})
        key = {"link_key": user_key(client_user_id)}
        counted = transact.update(_USER, self.links_table, key, expression, update, _is_erasing(expression))
        write_together(self.client, [counted, *deletes], self.clock)

    # ---- reading

    def _of_user(self, table: str, client_user_id: str) -> Iterator[dict[str, Any]]:
        """Yield what an index `by_user` has of a user."""
        expression = Expression()
        condition = expression.equals("client_user_id", client_user_id)
        request = {"TableName": table, "IndexName": "by_user", "KeyConditionExpression": condition}
        for page in query_pages(self.client, request | expression.arguments()):
            yield from page["Items"]

    def _links(self, client_user_id: str) -> Iterator[_Key]:
        return ({"link_key": row["link_key"]} for row in self._of_user(self.links_table, client_user_id))

    def _history(self, partition: str) -> Iterator[_Key]:
        return self._keys(self.history_table, ("item_id", "entry_id"), partition)

    def _keys(self, table: str, names: tuple[str, str], partition: str, index: str | None = None) -> Iterator[_Key]:
        """Yield the keys of a partition; of a table consistently."""
        expression = Expression()
        projection = ", ".join(map(expression.name, names))
        where = {"ConsistentRead": True} if index is None else {"IndexName": index}
        condition = expression.equals(names[0], partition)
        request = {"TableName": table, "KeyConditionExpression": condition, "ProjectionExpression": projection, **where}
        for page in query_pages(self.client, request | expression.arguments()):
            yield from page["Items"]

    def _item_row(self, item_id: ItemId) -> dict[str, Any]:
        return deserialize(self._get(self.items_table, {"item_id": serialize(item_id)}))

    def _get(self, table: str, key: _Key) -> dict[str, Any]:
        with aws_errors():
            response = self.client.get_item(TableName=table, Key=key, ConsistentRead=True)
        return dict(response.get("Item", {}))


def _user_row(client_user_id: str) -> _Key:
    return {"link_key": serialize(user_key(client_user_id))}


def _is_erasing(expression: Expression) -> str:
    return f"attribute_exists({expression.name('erasing_since')})"


def _delete_action(label: str, table: str, key: _Key) -> Action:
    expression = Expression()
    exists = f"attribute_exists({expression.name(next(iter(key)))})"
    request = {"TableName": table, "Key": key, "ConditionExpression": exists, **expression.arguments()}
    return Action(label, {"Delete": request})


def _chunks(keys: Iterable[_Key]) -> Iterator[list[_Key]]:
    chunk: list[_Key] = []
    for key in keys:
        chunk.append(key)
        if len(chunk) == _DELETES_PER_TRANSACTION:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _erasure_from(values: dict[str, Any]) -> Erasure:
    return Erasure(
        in_progress="erasing_since" in values,
        item_ids=frozenset(map(ItemId, values.get("item_ids", ()))),
        requested_at=parse_timestamp(values.get("requested_at")),
        settles_at=parse_timestamp(values.get("settles_at")),
        erased_at=parse_timestamp(values.get("erased_at")),
        counts={kind: number_of(values, f"erased_{kind}") for kind in ERASED_KINDS},
    )
