"""A DynamoDB export to S3, as AWS documents its files, in a local folder.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/S3DataExport.Output.html
"""

from __future__ import annotations

import base64
import gzip
import json
from datetime import date, timedelta
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.aws.dynamodb.expressions import serialize
from plaid_sync.domain.transaction import parse_transaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

FIRST_DAY: Final = date(2025, 1, 1)
TABLE_ARN: Final = "arn:aws:dynamodb:us-east-1:123456789012:table/plaid-sync-Transactions"
EXPORT_ARN: Final = f"{TABLE_ARN}/export/0169-2d87"
_PREFIX: Final = "AWSDynamoDB/0169-2d87"
_LIKE_ALL: Final = parse_transaction(
    {
        "transaction_id": "transaction",
        "account_id": "account",
        "date": "2025-01-01",
        "amount": Decimal("0.01"),
        "pending": False,
        "name": "Café",
        "location": {"city": None, "lat": Decimal("40.740352"), "address": "300 Post St"},
        "personal_finance_category": {"primary": "FOOD_AND_DRINK", "detailed": "FOOD_AND_DRINK_COFFEE"},
    }
)
_STORED: Final = _LIKE_ALL.attributes | {"plaid": _LIKE_ALL.plaid, "generation": 1, "first_generation": 1}


def stored_row(number: int, **changes: Any) -> dict[str, Any]:
    """Return a row of the Transactions table, with another amount, date, name and Item for each number."""
    transaction_id, day = f"transaction-{number:06}", str(FIRST_DAY + timedelta(number % 365))
    return {
        "item_id": f"item-{number % 2}",
        "transaction_id": transaction_id,
        **_STORED,
        "account_id": f"account-{number % 3}",
        "date": day,
        "date_id": f"{day}#{transaction_id}",
        "amount": Decimal(number) / 100,
        "pending": number % 10 == 0,
        "name": f"Café {number}",
        **changes,
    }


def write_export(folder: Path, rows: Iterable[dict[str, Any]], rows_of_a_file: int = 1_000) -> Path:
    """Write the files of a full export; return its folder."""
    data = folder / "data"
    data.mkdir(parents=True)
    entries: list[dict[str, Any]] = []
    iterator = iter(rows)
    while chunk := list(islice(iterator, rows_of_a_file)):
        name = f"{len(entries):04}nfwkqg4zm.json.gz"
        with gzip.open(data / name, "wt", encoding="utf-8", compresslevel=1) as stream:
            stream.writelines(_lines(chunk))
        entries.append(
            {"itemCount": len(chunk), "md5Checksum": "", "etag": "", "dataFileS3Key": f"{_PREFIX}/data/{name}"}
        )
    (folder / "manifest-files.json").write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))
    summary = {
        "version": "2020-06-30",
        "exportArn": EXPORT_ARN,
        "tableArn": TABLE_ARN,
        "manifestFilesS3Key": f"{_PREFIX}/manifest-files.json",
        "itemCount": sum(entry["itemCount"] for entry in entries),
        "outputFormat": "DYNAMODB_JSON",
        "exportType": "FULL_EXPORT",
    }
    (folder / "manifest-summary.json").write_text(json.dumps(summary))
    return folder


def _lines(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        item = {name: serialize(value) for name, value in row.items()}
        yield json.dumps({"Item": item}, default=lambda value: base64.b64encode(value).decode()) + "\n"
