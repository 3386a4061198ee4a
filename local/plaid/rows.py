"""The elementary changes to an Item's rows, each one entry (or pair of entries) in its log."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from local.plaid import identifiers
from local.plaid.items import Item, Phase
from local.plaid.log import Change

if TYPE_CHECKING:
    from random import Random

    from local.plaid.wire import JsonObject

Link = Literal["same page", "other page", "unlinked"]
_LINKS: tuple[Link, ...] = ("same page", "same page", "other page", "unlinked")
_TIP = Decimal("1.18")
_CENT = Decimal("0.01")


def shown(row: JsonObject, *, original: bool = False, category_version: str = "v2") -> JsonObject:
    """Return a row as the API shows it."""
    copy = dict(row)
    if not original:
        del copy["original_description"]
    copy["personal_finance_category"] = {**row["personal_finance_category"], "version": category_version}
    return copy


def pick(item: Item, transaction_id: str | None) -> JsonObject | None:
    """Return the row with this id, or any live one."""
    if transaction_id is not None:
        return item.log.live[transaction_id]
    ids = list(item.log.live)
    return item.log.live[item.rng.choice(ids)] if ids else None


def pick_pending(item: Item, transaction_id: str | None) -> JsonObject | None:
    """Return the row with this id, or any pending one."""
    if transaction_id is not None:
        return item.log.live[transaction_id]
    pending = [row for row in item.log.live.values() if row["pending"]]
    return item.rng.choice(pending) if pending else None


def pick_removed(item: Item, transaction_id: str | None) -> JsonObject | None:
    """Return the removed row with this id, or any removed one."""
    gone = {
        change.transaction_id: change.row
        for change in item.log.changes
        if change.kind == "removed"
        and change.row
        and change.transaction_id not in item.log.live
        and change.account_id not in item.revoked
    }
    if transaction_id is not None:
        return gone[transaction_id]
    return gone[item.rng.choice(list(gone))] if gone else None


def add(item: Item, row: JsonObject) -> str:
    """Add a row (to what is still to come, if the history is not ready); return its id."""
    transaction_id = str(row["transaction_id"])
    if item.phase < Phase.INITIAL:
        item.unreleased.append(row)
    else:
        item.log.append(Change("added", transaction_id, row["account_id"], row))
    return transaction_id


def change(item: Item, row: JsonObject) -> str:
    """Report a row as modified; return its id."""
    transaction_id = str(row["transaction_id"])
    item.log.append(Change("modified", transaction_id, row["account_id"], row))
    return transaction_id


def drop(item: Item, row: JsonObject) -> str:
    """Remove a row; return its id."""
    transaction_id = str(row["transaction_id"])
    item.log.append(Change("removed", transaction_id, row["account_id"], row))
    return transaction_id


def drop_unknown(item: Item) -> str:
    """Report the removal of a row that never existed; return its id."""
    ghost = identifiers.entity_id(item.rng)
    account_id = item.rng.choice(item.generator.accounts)["account_id"]
    item.log.append(Change("removed", ghost, account_id, phantom=True))
    return ghost


def post(item: Item, row: JsonObject, link: Link) -> str:
    """Replace a pending row by its posted form; return the new id."""
    new_id = identifiers.entity_id(item.rng)
    posted = {
        **row,
        "amount": (row["amount"] * _TIP).quantize(_CENT) if item.rng.random() < 1 / 4 else row["amount"],
        "date": (date.fromisoformat(row["date"]) + timedelta(days=item.rng.randrange(3))).isoformat(),
        "pending": False,
        "pending_transaction_id": None if link == "unlinked" else row["transaction_id"],
        "transaction_id": new_id,
    }
    drop(item, row)
    item.log.append(Change("added", new_id, row["account_id"], posted, new_page=link == "other page"))
    return new_id


def any_link(item: Item) -> Link:
    """Choose how a posted row is linked to its pending one."""
    return item.rng.choice(_LINKS)


def plausible_edit(row: JsonObject, rng: Random) -> JsonObject:
    """Return fields with which a bank or Plaid's enrichment might correct a row."""
    day = date.fromisoformat(row["date"])
    edits: tuple[JsonObject, ...] = (
        {"amount": row["amount"] + Decimal(rng.randint(-500, 500)) * _CENT},
        {"date": (day - timedelta(days=rng.randint(1, 3))).isoformat()},
        {"name": f"{row['name'][:60]} ✓ {rng.randrange(1000)}"},
        {"merchant_name": rng.choice(("Renamed Merchant", "مطعم", None)), "website": None, "logo_url": None},
        {
            "personal_finance_category": {
                "confidence_level": "HIGH",
                "detailed": "GENERAL_SERVICES_OTHER_GENERAL_SERVICES",
                "primary": "GENERAL_SERVICES",
                "version": "v2",
            }
        },
    )
    return rng.choice(edits)
