"""What the bank does to an Item's rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.plaid import PlaidSimulator


def _remove_newest(plaid: PlaidSimulator, item_id: str) -> None:
    """Remove the newest row: if it was never pulled, Plaid does not report it."""
    live = plaid.item(item_id).log.live
    if live:
        plaid.remove(item_id, list(live)[-1], notify=False)


def _readd(plaid: PlaidSimulator, item_id: str) -> None:
    """Add the row again that was removed last; not one of an account that Plaid no longer lists."""
    log, listed = plaid.item(item_id).log, {account["account_id"] for account in plaid.account_rows(item_id)}
    removed = [change for change in log.changes if change.kind == "removed" and change.row]
    gone = [change.transaction_id for change in removed if change.account_id in listed]
    gone = [transaction_id for transaction_id in gone if transaction_id not in log.live]
    if gone:
        plaid.readd(item_id, gone[-1], notify=False)


def _revert(plaid: PlaidSimulator, item_id: str) -> None:
    """Give the row that was modified last its previous content; modify one first where none was."""
    log = plaid.item(item_id).log
    modified = [change.transaction_id for change in log.changes if change.kind == "modified"]
    modified = [transaction_id for transaction_id in modified if transaction_id in log.live]
    if not modified:
        plaid.modify(item_id, notify=False)
        return
    rows = [change.row for change in log.changes if change.transaction_id == modified[-1] and change.row]
    before = {name: value for name, value in rows[-2].items() if name != "transaction_id"}
    if before["account_id"] not in {account["account_id"] for account in plaid.account_rows(item_id)}:
        before["account_id"] = rows[-1]["account_id"]  # no row returns to an account that is closed since
    plaid.modify(item_id, modified[-1], notify=False, **before)


def _move(plaid: PlaidSimulator, item_id: str) -> None:
    """Move the newest row to another account, as a bank does that splits or merges accounts."""
    live = list(plaid.item(item_id).log.live.values())
    accounts = [row["account_id"] for row in plaid.account_rows(item_id)]
    others = [account_id for account_id in accounts if live and account_id != live[-1]["account_id"]]
    if others:
        plaid.move_transaction(item_id, live[-1]["transaction_id"], others[-1], notify=False)


ROW_CHANGES: Final[dict[str, tuple[int, Callable[[PlaidSimulator, str], object]]]] = {
    "add": (6, lambda plaid, item_id: plaid.add(item_id, notify=False)),
    "add pending": (3, lambda plaid, item_id: plaid.add(item_id, pending=True, notify=False)),
    "modify": (5, lambda plaid, item_id: plaid.modify(item_id, notify=False)),
    "touch": (2, lambda plaid, item_id: plaid.touch(item_id, 2, notify=False)),
    "remove": (4, lambda plaid, item_id: plaid.remove(item_id, notify=False)),
    "post": (4, lambda plaid, item_id: plaid.post_pending(item_id, notify=False)),
    "churn": (2, lambda plaid, item_id: plaid.churn(item_id, notify=False)),
    "flash": (2, lambda plaid, item_id: plaid.flash(item_id, notify=False)),
    "remove unknown": (1, lambda plaid, item_id: plaid.remove_unknown(item_id, notify=False)),
    "remove newest": (8, _remove_newest),
    "add again": (6, _readd),
    "revert": (5, _revert),
    "move": (2, _move),
}
"""Each change, with its weight in a schedule."""
GROWTH: Final = ("add", "add pending", "modify", "remove", "add again")
REVERSAL: Final = ("remove newest", "remove", "revert", "post")
"""What one worker pulls, and what reverses it before the next one pulls."""
