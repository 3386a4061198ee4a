"""What a transaction of the sync does with the annotations of its rows: they follow their transaction.

A tombstone with annotations does not expire. Where its posted row is known, they move there in one transaction: both
rows must still be as they were read, so that no concurrent change of an application is lost. A row is read only where
a condition shows that it has annotations: a write that meets none costs no read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.aws.dynamodb.expressions import deserialize, number_of, serialize
from plaid_sync.aws.dynamodb.transact import Action
from plaid_sync.domain.pendings import posted_rows
from plaid_sync.domain.transaction import PendingLink, RowRemoval, TransactionId, TransactionRow

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from plaid_sync.domain.transaction import RowWrite

ANNOTATIONS: Final = "annotations"
VERSION: Final = "annotations_version"
POSTED: Final = "posted_transaction_id"
_MAX_MOVED_BYTES: Final = 40_000
"""A posted row of the largest size has room for that; PATCH allows less."""
_ABSENT: Final = f"attribute_not_exists(#{ANNOTATIONS})"

WireRow = dict[str, Any]
"""A row in DynamoDB's form."""


@dataclass(slots=True)
class RowExtra:
    """What annotations add to the write of a row.

    Attributes:
        attributes: those that the write sets beside its own, or removes (None).
        moved: the annotations that it gets, in DynamoDB's form.
        condition: that the row has no other annotations than expected.
        names: the attributes in the condition.
        values: the values in it.
    """

    attributes: dict[str, Any] = field(default_factory=dict)
    moved: WireRow | None = None
    condition: str = ""
    names: tuple[str, ...] = ()
    values: WireRow = field(default_factory=dict)

    def expect(self, row: Mapping[str, Any], *names: str) -> None:
        """Require that attributes are those of a row as it was read."""
        conditions = []
        for name in names:
            if name in row:
                self.values[f":seen_{name}"] = row[name]
            conditions.append(f"#{name} = :seen_{name}" if name in row else f"attribute_not_exists(#{name})")
        self.condition, self.names = " AND ".join(conditions), names


@dataclass(slots=True)
class AnnotationMoves:
    """Plans one transaction's annotations.

    Attributes:
        table: the Transactions table.
        item_id: the Item, in DynamoDB's form.
        writes: the transaction's rows.
        seen: rows that a failed condition has shown, by their ids; empty where there is no such row.
        expires_at: when a tombstone expires that has no annotations any more.
        extras: by row, what is added to its write.
        actions: those on rows that are not written otherwise.
    """

    table: str
    item_id: WireRow
    writes: Collection[RowWrite]
    seen: Mapping[str, WireRow]
    expires_at: int
    extras: dict[TransactionId, RowExtra] = field(default_factory=dict)
    actions: list[Action] = field(default_factory=list)
    _posted: dict[TransactionId, TransactionRow] = field(default_factory=dict)
    _targets: set[str] = field(default_factory=set)

    def plan(self) -> AnnotationMoves:
        """Decide what to add, and return itself."""
        self._posted = posted_rows(self.writes)
        for write in self.writes:
            if isinstance(write, PendingLink):
                self._link(write)
            elif (row := self._posted.get(write.transaction_id)) is not None and not _erases(write):
                self._extra(write.transaction_id).attributes[POSTED] = row.transaction_id
            if isinstance(write, RowRemoval) and not write.erase and not write.kept:
                self._remove(write.transaction_id)
        return self

    def _extra(self, transaction_id: TransactionId) -> RowExtra:
        return self.extras.setdefault(transaction_id, RowExtra())

    def _remove(self, pending_id: TransactionId) -> None:
        """Let a tombstone expire only if it has no annotations, or they move with this transaction."""
        extra, row = self._extra(pending_id), self.seen.get(pending_id, {})
        if ANNOTATIONS not in row:
            extra.condition, extra.names = _ABSENT, (ANNOTATIONS,)
        elif self._move(pending_id, row):
            extra.attributes |= _emptied(row)
            extra.expect(row, ANNOTATIONS, VERSION)
        else:
            # With a version, the row is known to be kept for its annotations; one written directly may have none.
            extra.attributes |= {"expires_at": None, VERSION: number_of(deserialize(row), VERSION)}
            extra.expect(row, VERSION)
            extra.condition += f" AND attribute_exists(#{ANNOTATIONS})"
            extra.names += (ANNOTATIONS,)

    def _link(self, link: PendingLink) -> None:
        """Set a stored row's posted one; the annotations of a tombstone move there."""
        row = self.seen.get(link.transaction_id)
        if row is not None and "generation" not in row:
            return
        extra = RowExtra({POSTED: link.posted_transaction_id})
        if row is None or "removed_at" not in row or ANNOTATIONS not in row:
            live = f"(attribute_not_exists(#removed_at) OR {_ABSENT})"
            extra.condition = f"attribute_exists(#generation) AND {live}"
            extra.names = ("generation", "removed_at", ANNOTATIONS)
        elif self._move(link.transaction_id, row):
            extra.attributes |= _emptied(row) | {"expires_at": self.expires_at}
            extra.expect(row, ANNOTATIONS, VERSION)
            extra.condition += " AND attribute_exists(#removed_at)"
            extra.names += ("removed_at",)
        else:
            extra.condition, extra.names = "attribute_exists(#generation)", ("generation",)
        self.actions.append(self._update("pending", link.transaction_id, extra))

    def _move(self, pending_id: TransactionId, pending: WireRow) -> bool:
        """Plan that the posted row gets the annotations; return False where that is unknown or impossible."""
        written = self._posted.get(pending_id)
        posted_id = pending.get(POSTED, {}).get("S") if written is None else written.transaction_id
        if posted_id is None or posted_id in self._targets:
            return False
        posted = self.seen.get(posted_id, {})
        merged = _merged(pending[ANNOTATIONS], posted.get(ANNOTATIONS))
        if merged is None or stored_bytes(merged) > _MAX_MOVED_BYTES:
            return False
        if written is None and not self._is_posted_row(posted_id, pending_id):
            return False
        extra = RowExtra() if written is None else self._extra(written.transaction_id)
        versions = (number_of(deserialize(row), VERSION) for row in (pending, posted))
        extra.attributes[VERSION], extra.moved = max(versions) + 1, merged
        extra.expect(posted, ANNOTATIONS, VERSION)
        self._targets.add(posted_id)
        if written is None:
            extra.condition += " AND #pending_transaction_id = :pending_id AND attribute_not_exists(#removed_at)"
            extra.names += ("pending_transaction_id", "removed_at")
            extra.values[":pending_id"] = serialize(pending_id)
            self.actions.append(self._update("posted", posted_id, extra))
        return True

    def _is_posted_row(self, posted_id: str, pending_id: TransactionId) -> bool:
        """Return whether a stored row that this transaction does not write may be live and name the pending one."""
        if any(write.transaction_id == posted_id for write in self.writes):
            return False
        row = self.seen.get(posted_id)
        if row is None:
            return True
        return "removed_at" not in row and row.get("pending_transaction_id") == serialize(pending_id)

    def _update(self, label: str, transaction_id: str, extra: RowExtra) -> Action:
        values = {f":{name}": serialize(value) for name, value in extra.attributes.items() if value is not None}
        if extra.moved is not None:
            values[f":{ANNOTATIONS}"] = extra.moved
        removed = [name for name, value in extra.attributes.items() if value is None]
        update = f"SET {', '.join(f'#{name[1:]} = {name}' for name in values)}"
        update += f" REMOVE {', '.join(f'#{name}' for name in removed)}" if removed else ""
        names = (*extra.names, *(name[1:] for name in values), *removed)
        request = {
            "TableName": self.table,
            "Key": {"item_id": self.item_id, "transaction_id": serialize(transaction_id)},
            "UpdateExpression": update,
            "ConditionExpression": extra.condition,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            "ExpressionAttributeNames": {f"#{name}": name for name in names},
            "ExpressionAttributeValues": values | extra.values,
        }
        return Action(f"{label} {transaction_id}", {"Update": request})


def _erases(write: RowWrite) -> bool:
    return isinstance(write, RowRemoval) and write.erase


def _emptied(row: WireRow) -> dict[str, Any]:
    """Return the attributes of a row after its annotations have moved; its version never returns to an older one."""
    return {ANNOTATIONS: None, VERSION: number_of(deserialize(row), VERSION) + 1}


def _merged(pending: WireRow, posted: WireRow | None) -> WireRow | None:
    """Return what both rows' annotations are together; None where they contradict each other."""
    if posted is None or posted == pending:
        return pending
    ours, theirs = pending.get("M"), posted.get("M")
    if ours is None or theirs is None or any(theirs[name] != ours[name] for name in ours.keys() & theirs.keys()):
        return None
    return {"M": ours | theirs}


def stored_bytes(value: WireRow) -> int:
    """Return about how many bytes DynamoDB counts for a value, rounded up."""
    ((kind, content),) = value.items()
    match kind:
        case "M":
            return 3 + sum(len(name.encode()) + 1 + stored_bytes(member) for name, member in content.items())
        case "L":
            return 3 + sum(1 + stored_bytes(member) for member in content)
        case "SS" | "NS" | "BS":
            return 3 + sum(1 + len(member if isinstance(member, bytes) else member.encode()) for member in content)
        case "B":
            return len(content)
    return 1 + len(str(content).encode())
