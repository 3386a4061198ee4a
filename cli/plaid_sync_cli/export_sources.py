"""Where an export reads rows: the Transactions table, or a copy of a DynamoDB export to S3.

A source yields each row with its position, so that an export can continue after it.
"""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from plaid_sync.aws.dynamodb.expressions import Expression, deserialize
from plaid_sync.aws.dynamodb.transactions import ENGINE_ATTRIBUTES

from plaid_sync_cli.errors import CommandError, usage_error
from plaid_sync_cli.export_formats import parse_date

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from plaid_sync_cli.deployment import Deployment
    from plaid_sync_cli.export_formats import Row


class InvalidItemError(Exception):
    """A line of a data file is no item in DynamoDB JSON, or has not the keys of a row."""


Position = dict[str, Any]
_KEYS: Final = ("item_id", "transaction_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which rows are exported.

    Attributes:
        since: the first date; None for all.
        until: the last date; None for all.
        removed: whether removed transactions are, too.
    """

    since: date | None = None
    until: date | None = None
    removed: bool = False

    def has(self, row: Row) -> bool:
        """Return whether a row is selected.

        A row that only an application has written to is no transaction. A live row without a readable date is selected
        in any period: it is damaged, and an export names it.
        """
        removed = "removed_at" in row
        if row.keys().isdisjoint(ENGINE_ATTRIBUTES) or (removed and not self.removed):
            return False
        if self.since is None and self.until is None:
            return True
        day = parse_date(row.get("date"))
        if day is None:
            return not removed
        return (self.since is None or self.since <= day) and (self.until is None or day <= self.until)


class Source(Protocol):
    """Rows in an order that stays the same, each with its position."""

    @property
    def name(self) -> dict[str, str]:
        """What identifies the source, for the manifest."""

    def rows(self, after: Position | None) -> Iterator[tuple[Position, Row]]:
        """Iterate over the rows behind a position; None: over all."""


@dataclass(frozen=True, slots=True)
class TableSource:
    """The Transactions table, Item by Item, with consistent reads: by item_id and transaction_id.

    Attributes:
        item_ids: sorted.
    """

    deployment: Deployment
    item_ids: Sequence[str]

    @property
    def name(self) -> dict[str, str]:
        """See `Source`."""
        return {"table": self.deployment.output("TransactionsTable"), "region": self.deployment.region}

    def rows(self, after: Position | None) -> Iterator[tuple[Position, Row]]:
        """See `Source`."""
        reached = after["item_id"] if after else ""
        for item_id in self.item_ids:
            if item_id >= reached:
                for row in self._of_item(item_id, after["transaction_id"] if after and item_id == reached else None):
                    yield {name: row[name] for name in _KEYS}, row

    def _of_item(self, item_id: str, after: str | None) -> Iterator[Row]:
        expression = Expression()
        condition = expression.equals("item_id", item_id)
        if after is not None:
            condition += f" AND {expression.name('transaction_id')} > {expression.value(after)}"
        pages = (
            self.deployment.client("dynamodb")
            .get_paginator("query")
            .paginate(
                TableName=self.deployment.output("TransactionsTable"),
                ConsistentRead=True,
                KeyConditionExpression=condition,
                **expression.arguments(),
            )
        )
        for page in pages:
            yield from map(deserialize, page["Items"])


@dataclass(frozen=True, slots=True)
class DynamoDbExport:
    """A local copy of a full DynamoDB export to S3, in DynamoDB JSON, in the order of its files and lines.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/S3DataExport.Output.html

    Attributes:
        folder: has `manifest-files.json`.
        arn: the export's.
        files: its data files, and how many items each has.
        item_ids: only rows of these Items; empty: of all.
    """

    folder: Path
    arn: str
    files: tuple[tuple[str, int], ...]
    item_ids: frozenset[str] = frozenset()

    @classmethod
    def at(cls, folder: Path, item_ids: frozenset[str]) -> DynamoDbExport:
        """Read the manifests of an export.

        Raises:
            CommandError: it is none, not complete, or not of the kind that can be read.
        """
        fix = (
            "Give the folder of the export, with manifest-summary.json, manifest-files.json and data/: docs/exports.md."
        )
        try:
            summary = json.loads((folder / "manifest-summary.json").read_text("utf-8"))
            lines = (folder / "manifest-files.json").read_text("utf-8").splitlines()
            entries = [json.loads(line) for line in lines if line.strip()]
            # Only the name: the key is S3's, with the prefix of the bucket.
            files = tuple((Path(entry["dataFileS3Key"]).name, int(entry["itemCount"])) for entry in entries)
            arn, kind = str(summary["exportArn"]), (summary["outputFormat"], summary.get("exportType", "FULL_EXPORT"))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise usage_error(f"--from {folder}: no manifest of a DynamoDB export ({error})", fix) from error
        if kind != ("DYNAMODB_JSON", "FULL_EXPORT"):
            raise usage_error(
                f"--from {folder}: the export is {kind[0]}, {kind[1]}", "Export DYNAMODB_JSON with FULL_EXPORT."
            )
        for name, _ in files:
            if not (folder / "data" / name).is_file():
                raise usage_error(f"--from {folder}: data/{name} is missing", "Copy the whole export: docs/exports.md.")
        return cls(folder, arn, files, item_ids)

    @property
    def name(self) -> dict[str, str]:
        """See `Source`."""
        return {"export": self.arn}

    def rows(self, after: Position | None) -> Iterator[tuple[Position, Row]]:
        """See `Source`.

        Raises:
            CommandError: a file is damaged, or has another number of items than the manifest says.
        """
        reached = [name for name, _ in self.files].index(after["file"]) if after else 0
        for index, (name, count) in enumerate(self.files[reached:]):
            passed = after["line"] if after and index == 0 else 0
            for number, row in self._of_file(name, count):
                if number > passed and (not self.item_ids or row["item_id"] in self.item_ids):
                    yield {"file": name, "line": number, **{key: row[key] for key in _KEYS}}, row

    def _of_file(self, name: str, count: int) -> Iterator[tuple[int, Row]]:
        number = 0
        try:
            with gzip.open(self.folder / "data" / name, "rb") as lines:
                for number, line in enumerate(lines, 1):
                    yield number, _read_item(line)
        except InvalidItemError as error:
            raise _damaged(name, f"line {number} is no row") from error
        except (OSError, EOFError, zlib.error) as error:
            raise _damaged(name, f"it cannot be read after line {number}") from error
        if number != count:
            raise _damaged(name, f"it has {number:,} items, and {count:,} in the manifest")


def _damaged(name: str, finding: str) -> CommandError:
    return CommandError(f"data/{name}: {finding}", "Copy the export again: docs/exports.md.")


def _read_item(line: bytes) -> Row:
    """Parse a line of a data file.

    Raises:
        InvalidItemError: it has no item in DynamoDB JSON with the keys of a row.
    """
    try:
        item = deserialize({name: _binary(attribute) for name, attribute in json.loads(line)["Item"].items()})
    except (ValueError, ArithmeticError, LookupError, TypeError, AttributeError) as error:
        raise InvalidItemError from error
    if not all(isinstance(item.get(name), str) for name in _KEYS):
        raise InvalidItemError
    return item


def _binary(attribute: dict[str, Any]) -> dict[str, Any]:
    """Decode the bytes of an attribute, which DynamoDB JSON has in Base64."""
    ((kind, content),) = attribute.items()
    match kind:
        case "B":
            return {kind: base64.b64decode(content, validate=True)}
        case "BS":
            return {kind: [base64.b64decode(member, validate=True) for member in content]}
        case "M":
            return {kind: {name: _binary(member) for name, member in content.items()}}
        case "L":
            return {kind: [_binary(member) for member in content]}
    return attribute
