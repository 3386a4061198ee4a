"""What must hold in every schedule, watched while it runs and when it has come to rest.

It reads the tables as an administrator, and compares them with Plaid's truth by `local.comparison`, which knows nothing
of the engine. Time is counted in steps: every call of any worker is one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from local.comparison import PlaidItem, Tables, compare
from local.snapshot import plaid_item, plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from local.plaid import PlaidSimulator
    from tests.faults.bench import Bench
    from tests.faults.boundary import Call, Effect
    from tests.faults.world import Invocation

ANNOTATION = "ledger_account"
"""An attribute of the application's own."""


class DivergenceError(AssertionError):
    """Something that must hold does not."""


@dataclass(slots=True)
class Watched:
    """What is known about one Item.

    Attributes:
        pulled: the step at which the newest pull began whose outcome was recorded.
        webhooks: for each acknowledged webhook, by its token, the step at which its first delivery began.
        position: the position in Plaid's log that the stored cursor stands for.
        at_removal: all rows as they were when the Item was removed.
        lossy: whether a webhook was lost.
    """

    registered: bool = False
    pulled: int = -1
    webhooks: dict[str, int] = field(default_factory=dict)
    cursor: str = ""
    position: int = 0
    annotations: dict[str, str] = field(default_factory=dict)
    at_removal: dict[str, Any] | None = None
    lossy: bool = False


@dataclass(slots=True)
class Watch:
    """The watcher of one schedule.

    Attributes:
        steps: calls so far.
        commits: commits seen so far, each compared with Plaid's truth at its cursor.
    """

    bench: Bench
    plaid: PlaidSimulator
    steps: int = 0
    commits: int = 0
    known: dict[str, Watched] = field(default_factory=dict)

    def of(self, item_id: str) -> Watched:
        """Return what is known about an Item."""
        return self.known.setdefault(item_id, Watched())

    # ---- what the world tells

    def registered(self, item_id: str) -> None:
        """An Item was linked: whoever linked it was told so, and its first sync must follow."""
        self.of(item_id).registered = True

    def is_registered(self, item_id: str) -> bool:
        """Tell whether an Item is one that must be synced."""
        return self.of(item_id).registered

    def removed(self, item_id: str) -> None:
        """An Item was removed: from now on nothing of it may change, until it is erased."""
        if not self.is_removed(item_id):
            self.of(item_id).at_removal = self.rows(item_id)

    def is_removed(self, item_id: str) -> bool:
        """Tell whether the application removed it."""
        return self.of(item_id).at_removal is not None

    def lost(self, item_id: str) -> None:
        """Plaid sent a webhook that never came."""
        self.of(item_id).lossy = True

    def acknowledged(self, item_id: str, token: str, sent: int) -> None:
        """A webhook's delivery, which began at step `sent`, was answered with 200 `queued`."""
        self.of(item_id).webhooks.setdefault(token, sent)

    def annotate(self, item_id: str, transaction_id: str) -> None:
        """Write an application's attribute on a row."""
        watched = self.of(item_id)
        value = f"account {len(watched.annotations)} at {self.steps}"
        self.bench.client("dynamodb").update_item(
            TableName=self.bench.deployment.stack.transactions_table,
            Key={"item_id": {"S": item_id}, "transaction_id": {"S": transaction_id}},
            UpdateExpression="SET #name = :value",
            ExpressionAttributeNames={"#name": ANNOTATION},
            ExpressionAttributeValues={":value": {"S": value}},
        )
        watched.annotations[transaction_id] = value

    def about_to(self, invocation: Invocation, call: Call) -> None:
        """Note where a pull begins: at a page that is asked for with a cursor that ended a pull, or with none."""
        self.steps += 1
        if call.operation != "/transactions/sync":
            return
        item_id = self._item_of(call.body["access_token"])
        cursor = call.body.get("cursor") or ""
        if item_id and (not cursor or cursor in self.plaid.final_cursors(item_id)):
            invocation.pulls[item_id] = self.steps

    def _item_of(self, access_token: str) -> str | None:
        return next((item.item_id for item in self.plaid.items.values() if item.access_token == access_token), None)

    def took_effect(self, invocation: Invocation, effect: Effect) -> None:
        """Compare what a write has made of an Item."""
        if effect.status != 200:
            return
        operation, body = effect.call.operation, effect.call.body
        if operation != "DynamoDB.TransactWriteItems":
            return
        guard = next(iter(body["TransactItems"][0].values()))
        item_id, names = guard["Key"]["item_id"]["S"], guard["ExpressionAttributeNames"]
        if "#removal_requested_at" in names:
            self.removed(item_id)
        elif "#removal_completed_at" not in names:
            self._written(invocation, item_id, commit="#synced_at" in names)
            if "#synced_at" not in names and any("Put" in action for action in body["TransactItems"]):
                self._pulled(invocation, item_id)  # Plaid's refusal, or that it has nothing yet

    def _pulled(self, invocation: Invocation, item_id: str) -> None:
        if item_id in invocation.pulls:
            self.of(item_id).pulled = max(self.of(item_id).pulled, invocation.pulls[item_id])

    def _written(self, invocation: Invocation, item_id: str, *, commit: bool) -> None:
        watched, record = self.of(item_id), self.record(item_id)
        self._require(watched.at_removal is None, item_id, "a removed Item was written")
        cursor = record.get("cursor", "")
        if not commit:
            self._require(cursor == watched.cursor, item_id, "the cursor moved before all rows were written")
            return
        position = self.plaid.final_cursors(item_id).get(cursor)
        if position is None:
            raise DivergenceError(f"{item_id}: the cursor {cursor!r} is not one that ended a pull")
        self._require(position >= watched.position, item_id, "the cursor moved backwards")
        watched.cursor, watched.position = cursor, position
        self.commits += 1
        self._pulled(invocation, item_id)
        self._compare_commit(item_id, record, position)

    def _compare_commit(self, item_id: str, record: dict[str, Any], position: int) -> None:
        """Compare the rows with Plaid's at the stored cursor: not only the end must be right."""
        truth = self.plaid.truth_at(item_id, position)
        at_plaid = PlaidItem(item_id, truth, position, self.plaid.final_cursors(item_id))
        owed = record.pop("reconcile", False)
        record["status"] = "active"  # how it stands is judged at rest
        tables = Tables(items=[record], transactions=list(self.rows(item_id).values()))
        differences = compare([at_plaid], tables).differences
        if owed:  # rows that are gone at Plaid may still be live
            differences = [one for one in differences if one.transaction_id in truth]
        if differences:
            raise DivergenceError(f"after a commit: {differences[:3]} of {len(differences)}")

    # ---- at rest

    def check_acknowledged(self) -> None:
        """Each acknowledged webhook led to a pull that began after it."""
        for item_id, watched in self.known.items():
            if not watched.registered or watched.at_removal is not None:
                continue
            newest = max(watched.webhooks.values(), default=-1)
            self._require(
                watched.pulled > newest,
                item_id,
                f"a webhook acknowledged at step {newest} led to no pull: the last one began at step {watched.pulled}",
            )

    def check_items(self, *, swept: bool) -> None:
        """Live rows equal Plaid's truth; before a sweep only where no webhook was lost."""
        for item_id, watched in self.known.items():
            if watched.registered and watched.at_removal is None and (swept or not watched.lossy):
                rows = self.rows(item_id)
                tables = Tables(items=[self.record(item_id)], transactions=list(rows.values()))
                differences = compare([plaid_item(self.plaid, item_id)], tables).differences
                self._require(not differences, item_id, f"{differences[:3]} of {len(differences)} differences")
                self._check_annotations(item_id, rows)
            if watched.at_removal is not None:
                self._check_removed(item_id, watched.at_removal)

    def _check_removed(self, item_id: str, at_removal: dict[str, Any]) -> None:
        record, rows = self.record(item_id), self.rows(item_id)
        self._require("removal_completed_at" in record, item_id, "a removal was not completed")
        self._require("access_token" not in record, item_id, "the token of a removed Item is still there")
        self._require(self.plaid.item(item_id).removed, item_id, "a removed Item is still billed")
        if record["removal_erases"]:
            self._require(not rows, item_id, f"{len(rows)} rows of an erased Item are left")
            counted = int(record["rows_to_erase"])
            self._require(counted == len(at_removal), item_id, f"{counted} of {len(at_removal)} rows counted")
        else:
            self._require(rows == at_removal, item_id, "a removed Item's rows changed")

    def _check_annotations(self, item_id: str, rows: dict[str, Any]) -> None:
        for transaction_id, value in self.of(item_id).annotations.items():
            found = rows.get(transaction_id, {}).get(ANNOTATION)
            self._require(found == value, item_id, f"the annotation of {transaction_id} is {found!r}, not {value!r}")

    def _require(self, holds: bool, item_id: str, complaint: str) -> None:  # noqa: FBT001 - an assertion
        if not holds:
            raise DivergenceError(f"{item_id}: {complaint}")

    # ---- the tables

    def record(self, item_id: str) -> dict[str, Any]:
        """Return an Item's row."""
        answer = self.bench.client("dynamodb").get_item(
            TableName=self.bench.deployment.stack.items_table, Key={"item_id": {"S": item_id}}, ConsistentRead=True
        )
        return plain(answer.get("Item", {}))

    def rows(self, item_id: str) -> dict[str, dict[str, Any]]:
        """Return all rows of an Item, tombstones included."""
        answer = self.bench.client("dynamodb").query(
            TableName=self.bench.deployment.stack.transactions_table,
            ConsistentRead=True,
            KeyConditionExpression="item_id = :item_id",
            ExpressionAttributeValues={":item_id": {"S": item_id}},
        )
        assert "LastEvaluatedKey" not in answer, "histories here are small"
        return {row["transaction_id"]: row for row in map(plain, answer["Items"])}

    def expire(self, now: int) -> None:
        """Delete the tombstones whose time is over, as DynamoDB does."""
        for item_id, watched in self.known.items():
            rows = self.rows(item_id)
            gone = [key for key, row in rows.items() if row.get("expires_at", now) < now]
            self._delete(item_id, gone)
            for transaction_id in gone:
                watched.annotations.pop(transaction_id, None)
            if watched.at_removal is not None:
                watched.at_removal = {key: row for key, row in rows.items() if key not in gone}

    def wipe(self, item_ids: Iterable[str]) -> None:
        """Delete everything about these Items."""
        for item_id in item_ids:
            self._delete(item_id, self.rows(item_id))
            self.bench.client("dynamodb").delete_item(
                TableName=self.bench.deployment.stack.items_table, Key={"item_id": {"S": item_id}}
            )

    def _delete(self, item_id: str, transaction_ids: Iterable[str]) -> None:
        requests = [
            {"DeleteRequest": {"Key": {"item_id": {"S": item_id}, "transaction_id": {"S": one}}}}
            for one in transaction_ids
        ]
        for start in range(0, len(requests), 25):
            self.bench.client("dynamodb").batch_write_item(
                RequestItems={self.bench.deployment.stack.transactions_table: requests[start : start + 25]}
            )
