"""One Item in plain words, from what the Item API says of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from plaid_sync.core.items import ItemStatus
from plaid_sync.core.plain_text import moment_or_none

from plaid_sync_cli.output import age, duration, plural
from plaid_sync_cli.verdict import STALE_AFTER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from plaid_sync_cli.deployment import Deployment

Document = dict[str, Any]

_MEANING: Final = {
    ItemStatus.ACTIVE: "Nothing is wrong with the connection.",
    ItemStatus.EXPIRING: "It still works, and stops at the time above unless its user renews it.",
    ItemStatus.DEGRADED: "The bank is down. It is tried again by itself within the hour; the rows stay as they were.",
    ItemStatus.NEEDS_USER: "Plaid can't get in until the user has repaired the login; the rows stay as they were.",
    ItemStatus.REVOKED: "The connection has ended for good; its rows stay as they were.",
    ItemStatus.REMOVED: "It was deleted through the API: nothing is written for it any more.",
}
_VERB: Final = {"needs_user": "needs its user"}
_CALM: Final = frozenset({ItemStatus.REMOVED, ItemStatus.REVOKED, ItemStatus.NEEDS_USER})
"""The states in which nobody expects fresh rows."""
_TRIGGERS: Final = frozenset({"queued", "linked", "erasure_requested"})
"""The outcomes of webhooks and requests that put a message into the queue."""
_SOON: Final = timedelta(hours=1)
_QUARANTINE: Final = "Read them in the table QuarantineTable; runbook: rows-quarantined"
QUERY: Final = """\
fields @timestamp, level, message, outcome, code, correlation_id, correlation_ids
| filter item_id = "{}"
| sort @timestamp desc
| limit 100"""


@dataclass(frozen=True, slots=True)
class Explained:
    """What there is to say of an Item.

    Attributes:
        item: `GET /items/{item_id}`.
        history: its last entries, newest first.
        dead_letters: the causes of the messages of it that lie in the dead-letter queue.
        quarantined: what is kept of entries that no row could be made of: the field that broke, and since when.
    """

    item: Document
    history: Sequence[Document]
    dead_letters: Sequence[str]
    quarantined: Sequence[Document]

    @property
    def state(self) -> ItemStatus:
        """How it stands."""
        return ItemStatus(self.item["state"])

    def pulled_at(self) -> datetime | None:
        """When the table was last brought up to what Plaid has."""
        return moment_or_none(self.item["freshness"].get("pulled_at"))

    def owed(self) -> list[Document]:
        """What has asked for a sync since the last one: it waits in the queue, or is worked on."""
        asked: list[Document] = []
        for entry in self.history:
            if entry["kind"] in {"sync", "removal"}:
                break
            if entry["outcome"] in _TRIGGERS:
                asked.append(entry)
        return asked

    def problems(self, now: datetime) -> list[tuple[str, str]]:
        """What an operator has to see to, each with what to do."""
        return list(self._problems(now, str(self.item["item_id"])))

    def _problems(self, now: datetime, item_id: str) -> Iterator[tuple[str, str]]:
        pulled = self.pulled_at() or moment_or_none(self.item.get("linked_at"))
        if self.state not in _CALM and (pulled is None or now - pulled > STALE_AFTER):
            yield f"It was last brought up to date {age(self.pulled_at(), now)}.", f"plaid-sync sync {item_id}"
        if self.dead_letters:
            what = f"{plural(len(self.dead_letters), 'message')} of it in the dead-letter queue: "
            yield what + ", ".join(sorted(set(self.dead_letters))), f"plaid-sync dlq replay --item {item_id}"
        if self.quarantined:
            fields = ", ".join(sorted({str(entry["field"]) for entry in self.quarantined}))
            yield f"{plural(len(self.quarantined), 'entry', 'entries')} in quarantine ({fields}).", _QUARANTINE
        removal = self.item.get("removal", {})
        asked = moment_or_none(removal.get("requested_at"))
        if "completed_at" not in removal and asked is not None and now - asked > _SOON:
            yield "Its removal is not finished.", f"plaid-sync remove {item_id} asks for it again."


def headline(item: Document, now: datetime) -> str:
    """Return the state, why and since when."""
    state, code, since = str(item["state"]), item.get("code"), moment_or_none(item.get("since"))
    words = [f"{item['item_id']} {_VERB.get(state, f'is {state}')}"]
    words += [f"because of {code}"] if code else []
    words += [f"since {duration(now - since)} ({item['since']})"] if since else []
    words += [f"until {item['until']}"] if "until" in item else []
    return ", ".join(words)


def meaning(item: Document) -> str:
    """Return what the state means."""
    return _MEANING[ItemStatus(item["state"])]


def freshness(item: Document, now: datetime) -> str:
    """Say how fresh the rows are, and how fresh what Plaid has."""
    fresh, bank = item["freshness"], item["freshness"].get("bank") or {}
    words = [f"our rows are Plaid's as of {age(moment_or_none(fresh.get('pulled_at')), now, 'never: no sync yet')}"]
    if "unknown_because" in bank:
        words.append(f"Plaid could not be asked about the bank ({bank['unknown_because']})")
    elif bank:
        words.append(f"Plaid last reached the bank {age(moment_or_none(bank.get('last_success_at')), now)}")
        failed = moment_or_none(bank.get("last_failure_at"))
        words += [f"and last failed to reach it {age(failed, now)}"] if failed else []
    return "; ".join(words)


def amounts(explained: Explained) -> str:
    """Say how many rows and accounts there are."""
    counted = explained.item["transactions"]
    more = "" if counted["exact"] else "more than "
    history = {"historical": "whole history", "initial": "first 30 days", "not_ready": "not ready yet"}
    phase = history.get(str(explained.item.get("history_phase")), "unknown")
    accounts = explained.item["accounts"]
    named = ", ".join(
        f"{account.get('subtype') or account.get('type')} ..{account.get('mask', '?')}" for account in accounts
    )
    quarantined = len(explained.quarantined)
    return (
        f"{more}{plural(counted['live'], 'transaction')} ({phase}), {quarantined:,} in quarantine, "
        f"{plural(len(accounts), 'account')}{f' ({named})' if named else ''}"
    )


def waiting(explained: Explained, now: datetime) -> str:
    """Say whether something has asked for a sync that has not been seen to end."""
    owed = explained.owed()
    if not owed:
        return "nothing has asked for a sync since the last one"
    oldest = age(moment_or_none(owed[-1]["at"]), now)
    return f"{plural(len(owed), 'trigger')} since the last sync, the oldest {oldest}: queued, or being worked on"


def history_row(entry: Document, now: datetime) -> tuple[str, str, str, str]:
    """Return an entry as when, what, outcome and details."""
    what = {
        "webhook": f"webhook {entry.get('webhook_type')} {entry.get('webhook_code')}",
        "request": f"request {entry.get('request')}",
        "sync": f"sync ({', '.join(entry.get('causes', [])) or 'no cause'})",
    }.get(str(entry["kind"]), str(entry["kind"]))
    return age(moment_or_none(entry["at"]), now), what, str(entry["outcome"]), "; ".join(_details(entry))


def _details(entry: Document) -> Iterator[str]:
    before, after = entry.get("status_before"), entry.get("status")
    if before and after and before != after:
        yield f"{before} -> {after}"
    if entry.get("code"):
        yield str(entry["code"])
        if entry.get("plaid_request_ids"):
            yield f"Plaid's request_id {entry['plaid_request_ids'][-1]}"
    for name in ("added", "modified", "removed", "unchanged", "erased", "settled", "quarantined"):
        if entry.get(name):
            yield f"{entry[name]:,} {name}"
    if entry.get("full_resync"):
        yield "full resync"
    if "milliseconds" in entry:
        yield f"{entry['milliseconds']:,} ms"
    if entry.get("announcements"):
        yield "told " + ", ".join(entry["announcements"])


def log_links(deployment: Deployment, item_id: str) -> Mapping[str, str]:
    """Return where to read on: the logs of the sync function about this Item."""
    query = QUERY.format(item_id)
    group = f"/aws/lambda/{deployment.output('SyncFunctionName')}"
    if deployment.local:
        return {"logs": f"grep {item_id} .local/logs/sync.log"}
    source, text = (quote(part, safe="").replace("%", "*") for part in (group, query))
    detail = f"~(end~0~start~-86400~timeType~'RELATIVE~unit~'seconds~editorString~'{text}~source~(~'{source}))"
    dashboard = deployment.output("DashboardUrl")
    console, _, _ = dashboard.partition("#")  # its host differs between AWS's partitions: the template knows
    return {"logs": f"{console}#logsV2:logs-insights$3FqueryDetail$3D{detail}", "dashboard": dashboard}
