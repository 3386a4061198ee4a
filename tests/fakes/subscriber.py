"""A consumer of the feed: it rebuilds rows, accounts and states from events alone, in any order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

_END: Final = "~"
"""After every sequence."""


@dataclass(slots=True)
class Copy:
    """What a consumer knows of an Item.

    Attributes:
        rows: live transactions, Plaid's objects with numbers as texts.
        accounts: Plaid's objects likewise, with the change that was last reported; None where it has no content.
    """

    state: str = ""
    erased: bool = False
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    accounts: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Subscriber:
    """Keeps events by their ids, so that repeats do no harm, and applies them in the order of their sequences.

    Attributes:
        snapshots: what it began with: for each Item its copy, and the sequence up to which that is right.
        repeats: how many events arrived more than once.
    """

    events: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    snapshots: dict[str, tuple[str, Copy]] = field(default_factory=dict)
    repeats: int = 0

    def begin(self, snapshot: dict[str, Any]) -> None:
        """Begin with a line of `plaid-sync feed snapshot`."""
        rows = {row["transaction_id"]: row for row in snapshot["transactions"]}
        accounts = {each["account_id"]: each["account"] for each in snapshot["accounts"]}
        copy = Copy(snapshot["state"], bool(snapshot["erases"]), rows, accounts)
        self.snapshots[snapshot["item_id"]] = snapshot["sequence"], copy

    def receive(self, detail: dict[str, Any]) -> None:
        """Take the detail of an event, or the body of a webhook."""
        assert detail["specversion"] == "1.0"
        of_item = self.events.setdefault(detail["subject"], {})
        known = of_item.setdefault(detail["sequence"], detail)
        assert known["data"] == detail["data"], f"two events have the id {detail['id']}"
        self.repeats += known is not detail

    def copy(self, item_id: str, until: str = _END) -> Copy:
        """Rebuild an Item from its events up to a sequence."""
        since, start = self.snapshots.get(item_id, ("", Copy()))
        copy = Copy(start.state, start.erased, dict(start.rows), dict(start.accounts))
        for sequence, detail in sorted(self.events.get(item_id, {}).items()):
            if since < sequence <= until:
                _apply(copy, detail["type"].partition(".")[0], detail["data"])
        return copy

    def check_complete(self, item_id: str) -> None:
        """Check that no commit is missing: each names the one before it, and how many events it has."""
        since, _ = self.snapshots.get(item_id, ("", None))
        of_item = {key: each for key, each in self.events.get(item_id, {}).items() if key > since}
        previous = since
        for sequence, detail in sorted(of_item.items()):
            if detail["type"].startswith("SyncCompleted"):
                named = detail["data"]["previous_sequence"]
                assert named is None or named <= previous or not previous, f"{item_id}: no {named} before {sequence}"
                commit = sequence.partition("-")[0]
                found = sum(key.startswith(f"{commit}-1") for key in of_item) - 1
                assert found == detail["data"]["events"], f"{item_id}: {found} events of {sequence}"
                previous = sequence


def _apply(copy: Copy, kind: str, data: dict[str, Any]) -> None:
    match kind:
        case "TransactionAdded":
            copy.rows[data["transaction_id"]] = data["transaction"]
        case "TransactionModified":
            row = copy.rows[data["transaction_id"]]
            for name, sides in data["fields"].items():
                assert sides.get("old") == row.get(name), f"{name} of {data['transaction_id']}: {row.get(name)}"
            kept = {name: value for name, value in row.items() if name not in data["fields"]}
            new = {name: sides["new"] for name, sides in data["fields"].items() if "new" in sides}
            copy.rows[data["transaction_id"]] = kept | new
        case "TransactionRemoved":
            copy.rows.pop(data["transaction_id"], None)  # after a snapshot, one whose content was erased
        case "TransactionPosted":
            copy.rows.pop(data["pending_transaction_id"], None)
            copy.rows[data["transaction_id"]] = data["transaction"]
        case "AccountChanged":
            copy.accounts[data["account_id"]] = data["account"]
        case "ItemStateChanged":
            copy.state, copy.erased = data["state"], bool(data["erases"])
