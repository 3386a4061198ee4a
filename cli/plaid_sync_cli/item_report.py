"""Explains one Item in plain language, from the Items API, the dead-letter queue and the quarantine."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from plaid_sync.domain.clock import parse_timestamp
from plaid_sync.domain.item import StateName
from plaid_sync.domain.schedule import retried_as

from plaid_sync_cli.health import FAILURE_ALARMS, MAX_FAILURE_AGES, STALE_AFTER
from plaid_sync_cli.output import age, duration, plural, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from plaid_sync.domain.item import ItemFailure
    from rich.table import Table

    from plaid_sync_cli.deployment import Deployment

Document = dict[str, Any]

_MEANING: Final[dict[str, str]] = {
    StateName.ACTIVE: "The connection works.",
    StateName.EXPIRING: "The connection works until the time above, unless the user renews it.",
    StateName.DEGRADED: "The bank is down; retried automatically, at least every hour. The rows are unchanged.",
    StateName.NEEDS_USER: "The user has to log in again at the bank. The rows are unchanged until then.",
    StateName.REVOKED: "The connection has ended permanently; the rows are kept.",
    StateName.REMOVED: "The Item was removed through the API; nothing is written for it any more.",
}
_UNKNOWN: Final = "This version does not know the state."
_VERB: Final = {"needs_user": "needs its user"}
_NOT_SYNCED: Final = frozenset({StateName.REMOVED, StateName.REVOKED, StateName.NEEDS_USER})
"""The states in which rows are not kept fresh."""
_QUEUED_OUTCOMES: Final = frozenset(
    {"queued", "linked", "erasure_requested", "account_erasure_requested", "account_restored"}
)
"""The outcomes of requests, and of webhooks with an entry, that sent a message to the sync queue."""
_MAX_REMOVAL_TIME: Final = timedelta(hours=1)
_QUARANTINE: Final = "See the table QuarantineTable. Runbook: rows-quarantined"
QUERY: Final = """\
fields @timestamp, level, message, outcome, code, correlation_id, correlation_ids
| filter item_id = "{}"
| sort @timestamp desc
| limit 100"""


@dataclass(frozen=True, slots=True)
class ItemReport:
    """What is known about an Item.

    Attributes:
        item: `GET /items/{item_id}`.
        history: its last entries, newest first.
        dead_letters: the causes of its messages in the dead-letter queue.
        quarantined: its invalid entries: the field that is invalid, and since when.
    """

    item: Document
    history: Sequence[Document]
    dead_letters: Sequence[str]
    quarantined: Sequence[Document]

    @property
    def state(self) -> str:
        """Its state: a `StateName`, or the word of a newer version."""
        return str(self.item["state"])

    def pulled_at(self) -> datetime | None:
        """When the last successful sync was."""
        return parse_timestamp(self.item["freshness"].get("pulled_at"))

    def pending(self) -> list[Document]:
        """The requests since the last sync, queued or in progress; of a webhook its sync has the entry."""
        pending: list[Document] = []
        for entry in self.history:
            if entry["kind"] in {"sync", "removal"}:
                break
            if entry["outcome"] in _QUEUED_OUTCOMES:
                pending.append(entry)
        return pending

    def problems(self, now: datetime) -> list[tuple[str, str]]:
        """What requires the operator's action, each with what to do."""
        return list(self._problems(now, str(self.item["item_id"])))

    def _problems(self, now: datetime, item_id: str) -> Iterator[tuple[str, str]]:
        if self.state not in _MEANING:
            yield f"{_UNKNOWN} It is not synced.", "Deploy the newer version again. Runbook: unknown-states"
        failure = self.item.get("failing", {})
        attempt_class, since = retried_as(failure.get("class", "")), parse_timestamp(failure.get("since"))
        if since is not None and now - since > MAX_FAILURE_AGES[attempt_class]:
            fix = f"Runbook: {FAILURE_ALARMS[attempt_class]}"
            yield f"It has failed for {duration(now - since)}: {failure['code']}.", fix
        pulled = self.pulled_at() or parse_timestamp(self.item.get("linked_at"))
        if self.state not in _NOT_SYNCED and (pulled is None or now - pulled > STALE_AFTER):
            yield f"Last successful sync: {age(self.pulled_at(), now)}.", f"plaid-sync sync {item_id}"
        if self.dead_letters:
            what = f"{plural(len(self.dead_letters), 'message')} in the dead-letter queue: "
            yield what + ", ".join(sorted(set(self.dead_letters))), f"plaid-sync dlq replay {item_id}"
        if self.quarantined:
            fields = ", ".join(sorted({str(entry["field"]) for entry in self.quarantined}))
            yield f"{plural(len(self.quarantined), 'entry', 'entries')} in quarantine ({fields}).", _QUARANTINE
        imported = self.item.get("imported")
        if imported is not None and imported["webhook_switched_at"] is None:
            what = "Its webhooks go to the system that it was imported from: it is synced by routine only."
            yield what, "Run plaid-sync import again; or end it here: docs/leaving.md"
        removal = self.item.get("removal", {})
        requested = parse_timestamp(removal.get("requested_at"))
        if "completed_at" not in removal and requested is not None and now - requested > _MAX_REMOVAL_TIME:
            yield "The removal is not completed.", f"plaid-sync remove {item_id} retries it."


def headline(item: Document, now: datetime) -> str:
    """Return the state, why and since when."""
    state, code, since = str(item["state"]), item.get("code"), parse_timestamp(item.get("since"))
    parts = [f"{item['item_id']} {_VERB.get(state, f'is {state}')}"]
    reason = f" ({item['code_reason']})" if "code_reason" in item else ""
    parts += [f"because of {code}{reason}"] if code else []
    parts += [f"since {duration(now - since)} ({item['since']})"] if since else []
    parts += [f"until {item['until']}"] if "until" in item else []
    return ", ".join(parts)


def meaning(item: Document) -> str:
    """Return what the state means."""
    return _MEANING.get(str(item["state"]), _UNKNOWN)


def freshness(item: Document, now: datetime) -> str:
    """Return when the table, and when Plaid, was last updated."""
    fresh, bank = item["freshness"], item["freshness"].get("bank") or {}
    parts = [f"table last synced with Plaid {age(parse_timestamp(fresh.get('pulled_at')), now, 'never')}"]
    webhook_at = parse_timestamp(fresh.get("webhook_at"))
    parts += [f"last webhook {age(webhook_at, now)}"] if webhook_at else []
    if "unknown_because" in bank:
        parts.append(f"Plaid's contact with the bank is unknown ({bank['unknown_because']})")
    elif bank:
        parts.append(f"Plaid last reached the bank {age(parse_timestamp(bank.get('last_success_at')), now)}")
        failed = parse_timestamp(bank.get("last_failure_at"))
        parts += [f"last failure {age(failed, now)}"] if failed else []
    return "; ".join(parts)


def failure_document(failure: ItemFailure) -> Document:
    """Return a failure as the index has it."""
    return {"since": failure.since, "code": failure.code, "class": failure.failure_class}


def failing(item: Document, now: datetime) -> str:
    """Return since when and why it fails, and when it was last tried; empty where it does not."""
    failure = item.get("failing")
    if failure is None:
        return ""
    since, last = (parse_timestamp(failure.get(name)) for name in ("since", "last_failed_at"))
    classified = f" ({failure['class']})" if "class" in failure else ""
    return f"{failure['code']}{classified}, since {age(since, now)}, last tried {age(last, now)}"


def until(moment: datetime | None, now: datetime) -> str:
    """Return how long it is until a time."""
    if moment is None:
        return "-"
    return f"in {duration(moment - now)}" if moment > now else "due"


def counts(report: ItemReport) -> str:
    """Return the numbers of rows."""
    counted = report.item["transactions"]
    more = "" if counted["exact"] else "more than "
    history = {"historical": "whole history", "initial": "first 30 days", "not_ready": "not ready yet"}
    phase = history.get(str(report.item.get("history_phase")), "unknown")
    return f"{more}{plural(counted['live'], 'transaction')} ({phase}), {len(report.quarantined):,} in quarantine"


def account_table(accounts: Sequence[Document], now: datetime) -> Table:
    """Return the accounts with their states and balances."""
    return table(
        *("account", "", "state", "current", "available", "currency", "balances as of"),
        right=("current", "available"),
        rows=[_account_row(account, now) for account in accounts],
    )


def _account_row(account: Document, now: datetime) -> tuple[object, ...]:
    kind, balances = account.get("subtype") or account.get("type"), account.get("balances") or {}
    return (
        account["account_id"],
        f"{kind} ..{account.get('mask') or '?'}" if kind else None,
        account["state"],
        balances.get("current"),
        balances.get("available"),
        balances.get("iso_currency_code") or balances.get("unofficial_currency_code"),
        age(parse_timestamp(balances["as_of"]), now) if "as_of" in balances else None,
    )


def pending_messages(report: ItemReport, now: datetime) -> str:
    """Return the number of messages that requests sent since the last sync."""
    pending = report.pending()
    if not pending:
        return "none since the last sync"
    oldest = age(parse_timestamp(pending[-1]["at"]), now)
    return f"{plural(len(pending), 'message')} since the last sync, the oldest {oldest}: queued, or in progress"


def history_row(entry: Document, now: datetime) -> tuple[str, str, str, str]:
    """Return time, event, outcome and details of an entry."""
    what = {
        "webhook": f"webhook {entry.get('webhook_type')} {entry.get('webhook_code')}",
        "request": f"request {entry.get('request')}",
        "sync": f"sync ({', '.join(entry.get('causes', [])) or 'no cause'})",
    }.get(str(entry["kind"]), str(entry["kind"]))
    return age(parse_timestamp(entry["at"]), now), what, str(entry["outcome"]), "; ".join(_details(entry))


def _details(entry: Document) -> Iterator[str]:
    before, after = entry.get("state_before"), entry.get("state")
    if before and after and before != after:
        yield f"{before} -> {after}"
    if entry.get("code"):
        yield " ".join(str(entry[name]) for name in ("code", "code_reason") if name in entry)
        if entry.get("plaid_request_ids"):
            yield f"Plaid's request_id {entry['plaid_request_ids'][-1]}"
    yield from _counts(entry)
    for name in ("gone_accounts", "withdrawn_accounts", "returned_accounts"):
        if entry.get(name):
            yield f"{name.replace('_', ' ')}: {', '.join(entry[name])}"
    if entry.get("failing_since"):
        yield f"failing since {entry['failing_since']}, next attempt {entry.get('next_attempt_at')}"
    if "milliseconds" in entry:
        yield f"{entry['milliseconds']:,} ms"
    if entry.get("published_events"):
        yield "published " + ", ".join(entry["published_events"])


def _counts(entry: Document) -> Iterator[str]:
    for name in ("added", "modified", "removed", "unchanged", "erased", "gone", "recovered", "quarantined"):
        if entry.get(name):
            yield f"{entry[name]:,} {name}"
    for name in ("full_resync", "cursor_reset", "reconcile_decided"):
        if entry.get(name):
            yield name.replace("_", " ")


def log_links(deployment: Deployment, item_id: str) -> Mapping[str, str]:
    """Return where the logs of the sync function about this Item are."""
    query = QUERY.format(item_id)
    group = f"/aws/lambda/{deployment.output('SyncFunctionName')}"
    if deployment.local:
        return {"logs": f"grep {item_id} .local/logs/sync.log"}
    dashboard = deployment.outputs.get("DashboardUrl")
    if dashboard is None:
        return {"logs": f"aws logs filter-log-events --log-group-name {group} --filter-pattern '\"{item_id}\"'"}
    source, text = (quote(part, safe="").replace("%", "*") for part in (group, query))
    detail = f"~(end~0~start~-86400~timeType~'RELATIVE~unit~'seconds~editorString~'{text}~source~(~'{source}))"
    console, _, _ = dashboard.partition("#")  # the host depends on AWS's partition
    return {"logs": f"{console}#logsV2:logs-insights$3FqueryDetail$3D{detail}", "dashboard": dashboard}
