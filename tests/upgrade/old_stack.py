"""A stack of an older version as it was left: its template, its tables, and the Plaid that it talked to."""

from __future__ import annotations

import base64
import json
import re
import shutil
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from local.plaid import Behavior, PlaidSimulator, utc_now
from local.plaid.generator import Generator
from local.plaid.items import Item, ItemOptions, Phase
from local.plaid.update_log import Change
from local.plaid.wire import decode
from local.stack.paths import PROJECT, Places

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local.stack.emulator import Emulator
    from local.stack.resources import Resources

_AGE: Final = timedelta(hours=1)
_IDLE: Final = "def lambda_handler(event, context):\n    return {}\n"
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@dataclass(frozen=True, slots=True)
class OldStack:
    """What a folder beside this file holds; its README says how it was made.

    Attributes:
        names: what the Items are to the tests, with their ids.
        tables: rows by the table's logical id, as of an hour ago; access tokens are open.
    """

    folder: Path
    names: Mapping[str, str]
    tables: Mapping[str, list[dict[str, Any]]]
    plaid: PlaidSimulator

    @classmethod
    def read(cls, name: str) -> OldStack:
        """Read the state of a version."""
        folder = Path(__file__).parent / name
        document: Any = decode((folder / "plaid.json").read_bytes())
        text = (folder / "tables.json").read_text()
        taken = max(map(datetime.fromisoformat, _MOMENT.findall(text)))
        tables = json.loads(text, object_hook=_binary)
        return cls(folder, document["names"], _later(tables, utc_now() - _AGE - taken), _plaid(document))

    def places(self, folder: Path) -> Places:
        """Write a project with the old template. Its functions do nothing: what they had done is in the tables."""
        shutil.copy(self.folder / "template.yaml", folder)
        (folder / "layers").symlink_to(PROJECT / "layers")
        for function in (PROJECT / "functions").iterdir():
            (folder / "functions" / function.name).mkdir(parents=True)
            (folder / "functions" / function.name / "app.py").write_text(_IDLE)
        return replace(Places(), project=folder)

    def load(self, emulator: Emulator, resources: Resources) -> None:
        """Put the rows into the stack's tables, with access tokens sealed by its key."""
        dynamodb, kms = emulator.client("dynamodb"), emulator.client("kms")
        for logical_id, rows in self.tables.items():
            for row in rows:
                if "access_token" in row:
                    item_id = row["item_id"]["S"]
                    sealed = kms.encrypt(
                        KeyId=resources.id("TokenKey"),
                        Plaintext=self.plaid.item(item_id).access_token.encode(),
                        EncryptionContext={"item_id": item_id},
                    )
                    row["access_token"] = {"B": sealed["CiphertextBlob"]}
                dynamodb.put_item(TableName=resources.id(logical_id), Item=row)


def _plaid(document: Any) -> PlaidSimulator:
    """Have Plaid know what it knew, cursors included."""
    plaid = PlaidSimulator(seed=73, clock=utc_now, behavior=Behavior(initial_seconds=0.1, historical_seconds=0.5))
    plaid.cursor_key = bytes.fromhex(document["cursor_key"])
    for item_id, known in document["items"].items():
        rng = plaid.random(item_id)
        item = Item(
            item_id=item_id,
            access_token=known["access_token"],
            options=ItemOptions(initialize_at_link=False),
            created_at=utc_now() - _AGE,
            rng=rng,
            generator=Generator(rng),
            webhook_url=None,
            phase=Phase.HISTORICAL,
            sync_called=True,
            removed=known["removed"],
            error_code=known["error_code"],
            final_cursors=known["final_cursors"],
        )
        item.generator.take_over(known["accounts"])
        for kind, transaction_id, account_id, row in known["changes"]:
            item.log.append(Change(kind, transaction_id, account_id, row))
        plaid.adopt(item)
    return plaid


def _binary(value: dict[str, Any]) -> Any:
    return base64.b64decode(value["base64"]) if value.keys() == {"base64"} else value


def _later(value: Any, shift: timedelta) -> Any:
    """Move every time in rows."""
    if isinstance(value, list):
        return [_later(one, shift) for one in value]
    if isinstance(value, dict):
        moved = {name: _later(one, shift) for name, one in value.items()}
        if "expires_at" in moved:
            moved["expires_at"] = {"N": str(int(moved["expires_at"]["N"]) + round(shift.total_seconds()))}
        return moved
    return _MOMENT.sub(lambda found: _moved(found[0], shift), value) if isinstance(value, str) else value


def _moved(moment: str, shift: timedelta) -> str:
    return f"{datetime.fromisoformat(moment) + shift:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"
