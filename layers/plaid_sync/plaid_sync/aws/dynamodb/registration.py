"""The transaction that registers a linked Item: its row and its account claims, all or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.aws.dynamodb import item_rows, links, transact, users
from plaid_sync.aws.dynamodb.account_rows import accounts_attribute
from plaid_sync.aws.dynamodb.expressions import Expression, deserialize, serialize
from plaid_sync.aws.dynamodb.history import entry_put
from plaid_sync.aws.dynamodb.items import item_action, lives
from plaid_sync.aws.dynamodb.transact import ITEM, Action, ConditionFailedError, write_together
from plaid_sync.domain.clock import format_optional_timestamp, format_timestamp
from plaid_sync.domain.errors import ITEM_MODIFIED, TransientError
from plaid_sync.domain.item import Item, ItemId, StateName
from plaid_sync.domain.requests import USER_BEING_ERASED
from plaid_sync.domain.schedule import ROLLBACK_AFTER, after_request
from plaid_sync.linking.sessions import ClaimHeldError, LinkProgress, Registration, Replacement

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from mypy_boto3_dynamodb import DynamoDBClient

    from plaid_sync.domain.clock import Clock

_REPLACED: Final = "replaced item"
_BLOCK: Final = "registration block"
_USER: Final = "user"


@dataclass(frozen=True, slots=True)
class Registrations:
    """Registers Items; implements `Registrations` of linking."""

    client: DynamoDBClient
    items_table: str
    links_table: str
    history_table: str
    clock: Clock

    def record_exchange(self, progress: LinkProgress, item_id: ItemId, access_token: bytes, now: datetime) -> None:
        """See `Registrations`. To versions that know no unregistered Items, it is a removed one without a removal."""
        sets = {
            "state": StateName.REMOVED.value,
            "generation": 0,
            "access_token": access_token,
            "unregistered_link": progress.link_id,
            "exchanged_at": format_timestamp(now),
            **item_rows.next_attempt_attributes(item_id, after_request(item_id, now, ROLLBACK_AFTER)),
        }
        stored = transact.put("progress", self.links_table, links.progress_row(progress))

        def absent(expression: Expression) -> str:
            return expression.equals("item_id", None)

        try:
            exchanged = item_action(self.items_table, ITEM, item_id, sets, absent)
            write_together(self.client, [exchanged, stored], self.clock)
        except ConditionFailedError:
            write_together(self.client, [stored], self.clock)

    def register(self, registration: Registration) -> None:
        """See `Registrations`."""
        replacement, store = registration.replacement, _register_exchanged
        while True:
            try:
                self._register(registration, replacement, store)
            except ConditionFailedError as error:
                if ITEM in error.found and store is _register_exchanged:
                    store = _upsert  # registered before
                elif (
                    replacement is not None and set(error.found) == {_REPLACED} and _is_removed(error.found[_REPLACED])
                ):
                    replacement = None  # removed concurrently: nothing is left to do about it
                else:
                    raise _registration_failure(error) from error
            else:
                return

    def register_imported(self, registration: Registration) -> None:
        """See `Registrations`. Nothing is rolled back if it fails: the other system has the Item."""
        try:
            self._register(registration, None, _insert)
        except ConditionFailedError as error:
            raise _registration_failure(error) from error

    def _register(
        self, registration: Registration, replacement: Replacement | None, store: Callable[[str, Item], Action]
    ) -> None:
        item, expression = registration.item, Expression()
        unblocked = expression.equals("link_key", None)
        actions = [
            store(self.items_table, item),
            transact.check(_BLOCK, self.links_table, links.block_key(item.item_id), expression, unblocked),
            *links.claim_puts(self.links_table, item, registration.releasable_item_ids),
        ]
        if registration.progress is not None:
            row = links.progress_row(registration.progress)
            actions.append(transact.put("progress", self.links_table, row))
        if item.client_user_id is not None:
            actions.append(users.add_item(_USER, self.links_table, item.client_user_id, item.item_id))
        if replacement is not None:
            actions += [_replace(self.items_table, replacement, item), entry_put(self.history_table, replacement.entry)]
        actions.append(entry_put(self.history_table, registration.entry))
        write_together(self.client, actions, self.clock)

    def block_registration(self, item_id: ItemId, client_user_id: str | None) -> bool:
        """See `Registrations`. A registration that is still in flight fails when it arrives."""
        expression = Expression()
        unregistered = f"attribute_exists({expression.name('unregistered_link')})"
        condition = f"{expression.equals('item_id', None)} OR {unregistered}"
        actions = [
            transact.check(ITEM, self.items_table, {"item_id": item_id}, expression, condition),
            links.block_put(self.links_table, item_id, client_user_id, self.clock.now()),
        ]
        try:
            write_together(self.client, actions, self.clock)
        except ConditionFailedError as error:
            return not _is_removed(error.found.get(ITEM, {}))
        return False


def _register_exchanged(items_table: str, item: Item) -> Action:
    """Return the action that registers an exchanged Item, unless its rollback began."""
    sets, defaults = _attributes(item)
    dropped = dict.fromkeys(("unregistered_link", "exchanged_at"))

    def waits(expression: Expression) -> str:
        of_link = expression.equals("unregistered_link", item.link_id)
        return f"{of_link} AND {expression.equals('rollback_began_at', None)}"

    return item_action(items_table, ITEM, item.item_id, sets | defaults | dropped, waits)


def _insert(items_table: str, item: Item) -> Action:
    """Return the action that stores an Item of which nothing is stored."""
    sets, defaults = _attributes(item)
    imported = {} if item.imported is None else {"previous_webhook": item.imported.webhook or ""}
    cursor = {} if item.cursor is None else {"cursor": item.cursor}

    def absent(expression: Expression) -> str:
        return expression.equals("item_id", None)

    return item_action(items_table, ITEM, item.item_id, sets | defaults | imported | cursor, absent)


def _upsert(items_table: str, item: Item) -> Action:
    """Return the action that stores an Item that is not stored, or stores it again: a sync's writes stay."""
    sets, defaults = _attributes(item)

    def absent_or_lives(expression: Expression) -> str:
        of_same_user = expression.equals("client_user_id", item.client_user_id)
        return f"{expression.equals('item_id', None)} OR ({lives(expression)} AND {of_same_user})"

    return item_action(items_table, ITEM, item.item_id, sets, absent_or_lives, defaults=defaults)


def _attributes(item: Item) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the attributes that a registration sets, and those that it sets where they are absent."""
    linked_at = format_optional_timestamp(item.linked_at)
    known: dict[str, Any] = {
        "client_user_id": item.client_user_id,
        "institution_id": item.institution_id,
        "bank_login_ids": set(item.bank_login_ids) or None,
    }
    sets = {"access_token": item.access_token, "link_id": item.link_id}
    sets |= {name: value for name, value in known.items() if value is not None}
    defaults: dict[str, Any] = {
        "generation": 0,
        "state": str(item.state.name),
        "days_requested": item.days_requested,
        "linked_at": linked_at,
        "fresh_at": linked_at,
    }
    accounts: dict[str, Any] = {
        "accounts": accounts_attribute(item.accounts),
        "accounts_checked_at": format_optional_timestamp(item.accounts_checked_at),
    }
    defaults |= {name: value for name, value in accounts.items() if value is not None}
    if item.pending_checks:
        defaults["pending_checks"] = item_rows.check_attributes(item.pending_checks)
    if item.linked_at is not None:
        defaults |= item_rows.request_attributes(item.item_id, item.linked_at)
    return sets, defaults


def _replace(items_table: str, replacement: Replacement, item: Item) -> Action:
    removed_at = replacement.entry.at
    sets = item_rows.removal_attributes(replacement.item_id, replacement.state, removed_at, erase=replacement.erase)

    def of_same_user(expression: Expression) -> str:
        return f"{lives(expression)} AND {expression.equals('client_user_id', item.client_user_id)}"

    return item_action(items_table, _REPLACED, replacement.item_id, sets | {"replaced_by": item.item_id}, of_same_user)


def _registration_failure(error: ConditionFailedError) -> ClaimHeldError | TransientError:
    """Return why a registration failed: an account that another Item holds, or a concurrent change."""
    if _USER in error.found:
        return TransientError(USER_BEING_ERASED)
    if ITEM in error.found or _BLOCK in error.found:
        return TransientError(ITEM_MODIFIED)
    claims = sorted(label for label in error.found if label != _REPLACED)
    if not claims:
        return TransientError(ITEM_MODIFIED)
    holder = deserialize(error.found[claims[0]]).get("item_id")
    return ClaimHeldError(None if holder is None else ItemId(str(holder)))


def _is_removed(row: dict[str, Any]) -> bool:
    return row.get("state") == serialize(StateName.REMOVED.value)
