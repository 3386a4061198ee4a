"""Evaluates the health of a deployment: is money data fresh, which Items are not, why, and what to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from plaid_sync.domain.item import StateName
from plaid_sync.domain.schedule import MAX_ITEM_AGE, AttemptClass

from plaid_sync_cli.output import duration, plural

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from plaid_sync.domain.item import Item
    from plaid_sync.domain.schedule import Failures

    from plaid_sync_cli.monitoring import Alarm, QueueDepth

STALE_AFTER: Final = MAX_ITEM_AGE
"""The threshold of the alarm items-stale."""
UNSYNCED_AFTER: Final = timedelta(hours=1)
"""A first sync takes seconds, and is requested again after two minutes."""
MAX_MESSAGE_AGE: Final = timedelta(minutes=15)
"""The threshold of the alarm message-too-old."""
MAX_FAILURE_AGES: Final = {
    AttemptClass.FAILING: timedelta(hours=2),
    AttemptClass.BANK_DOWN: timedelta(hours=24),
}
"""The thresholds of these alarms."""
FAILURE_ALARMS: Final = {AttemptClass.FAILING: "items-failing", AttemptClass.BANK_DOWN: "banks-failing"}
RECENT: Final = timedelta(hours=12)
"""How far back cleared alarms are reported: a night."""
ENABLED: Final = "Enabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The observed state of a deployment.

    Attributes:
        mapping: the state of the event source mapping, as Lambda names it.
        items: the number of Items by state; a state can be one of a newer version.
        failing: the Items whose last attempts failed: those whose bank is down, and the others.
        stale: the number of synced Items whose last success is older than `STALE_AFTER`.
        stalest: the least fresh of the synced Items.
        unsynced: the number of Items linked more than `UNSYNCED_AFTER` ago that have never been synced.
        swept_at: the last run of the sweep; None if CloudWatch has no data.
        alarmed: alarms that went to ALARM within `RECENT`, each with the last time.
    """

    read_at: datetime
    queue: QueueDepth
    dead_letters: QueueDepth
    mapping: str
    alarms: tuple[Alarm, ...]
    items: Mapping[str, int]
    stale: int
    stalest: tuple[Item, ...]
    failing: Mapping[AttemptClass, Failures] = field(default_factory=dict)
    unsynced: int = 0
    swept_at: datetime | None = None
    alarmed: Mapping[str, datetime] = field(default_factory=dict)

    @property
    def cleared(self) -> Mapping[str, datetime]:
        """Recent alarms that are not in ALARM now: event alarms clear by themselves."""
        current = {alarm.slug for alarm in self.in_alarm}
        return {slug: at for slug, at in self.alarmed.items() if slug not in current}

    @property
    def in_alarm(self) -> tuple[Alarm, ...]:
        """The alarms in ALARM."""
        return tuple(alarm for alarm in self.alarms if alarm.state == "ALARM")


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem.

    Attributes:
        what: the problem and its reason.
        fix: what to do.
        action_required: the operator has to act, not the engine or the Item's user.
    """

    what: str
    fix: str
    action_required: bool = True


@dataclass(frozen=True, slots=True)
class Health:
    """The health of a deployment.

    Attributes:
        fresh: every Item that can be synced is up to date, and syncing is on.
        summary: one line.
        findings: problems, the most urgent first.
    """

    fresh: bool
    summary: str
    findings: tuple[Finding, ...] = field(default=())

    @property
    def action_required(self) -> bool:
        """Whether the operator has to act."""
        return any(finding.action_required for finding in self.findings)


def evaluate(snapshot: Snapshot) -> Health:
    """Evaluate a snapshot."""
    findings = tuple(_findings(snapshot))
    total = sum(snapshot.items.values()) - snapshot.items.get(StateName.REMOVED, 0)
    if not total:
        return Health(not any(finding.action_required for finding in findings), _nothing_linked(findings), findings)
    behind = (
        snapshot.stale
        + snapshot.unsynced
        + sum(snapshot.items.get(state, 0) for state in (StateName.DEGRADED, StateName.NEEDS_USER, StateName.REVOKED))
    )
    fresh = not snapshot.stale and not snapshot.unsynced and snapshot.mapping == ENABLED
    return Health(fresh, _summary(snapshot, total, behind, findings), findings)


def _nothing_linked(findings: tuple[Finding, ...]) -> str:
    if findings and findings[0].action_required:
        return f"Nothing is linked yet, but action is required: {findings[0].what}"
    return "Nothing is linked yet: there are no Items."


def _summary(snapshot: Snapshot, total: int, behind: int, findings: tuple[Finding, ...]) -> str:
    urgent = next((finding for finding in findings if finding.action_required), None)
    if urgent is not None and (snapshot.stale or snapshot.unsynced or snapshot.mapping != ENABLED):
        so_far = "" if snapshot.mapping == ENABLED else " so far"
        return f"Money data is NOT fresh ({behind:,} of {plural(total, 'Item')} behind{so_far}): {urgent.what}"
    state = f"Money data is fresh for {total - behind:,} of {plural(total, 'Item')}"
    if urgent is not None:
        return f"{state}, but action is required: {urgent.what}"
    others = "; the others wait for their banks or users" if behind else ""
    if snapshot.cleared:
        return f"{state}{others}. No alarm is active; recently cleared: {', '.join(sorted(snapshot.cleared))}."
    return f"{state}{others}, no action required."


def _findings(snapshot: Snapshot) -> Iterator[Finding]:
    yield from _stopped(snapshot)
    yield from _broken(snapshot)
    yield from _failing(snapshot, long=True)
    yield from _unknown(snapshot)
    yield from _cleared(snapshot)
    yield from _failing(snapshot, long=False)
    yield from _waiting_for_others(snapshot)


def _stopped(snapshot: Snapshot) -> Iterator[Finding]:
    if snapshot.mapping != ENABLED:
        queued = plural(snapshot.queue.total, "message")
        yield Finding(
            f"syncing is paused (event source mapping {snapshot.mapping}), {queued} queued",
            "If no maintenance is under way: plaid-sync resume",
        )
    if snapshot.stale:
        since = snapshot.stalest[0].synced_at if snapshot.stalest else None
        last = "never" if since is None else f"{duration(snapshot.read_at - since)} ago"
        yield Finding(
            f"{plural(snapshot.stale, 'Item')} not brought up to date for more than {duration(STALE_AFTER)} "
            f"(the stalest: {last})",
            "plaid-sync item ITEM_ID explains one; plaid-sync sync ITEM_ID brings it up to date. Runbook: items-stale",
        )
    if snapshot.unsynced:
        yield Finding(
            f"{plural(snapshot.unsynced, 'Item')} never synced, linked {duration(UNSYNCED_AFTER)} ago or earlier",
            "plaid-sync item ITEM_ID explains one; plaid-sync sync ITEM_ID requests the sync. Runbook: items-stale",
        )
    if snapshot.queue.oldest is not None and snapshot.queue.oldest > MAX_MESSAGE_AGE:
        yield Finding(
            f"a message has waited for {duration(snapshot.queue.oldest)}",
            "Check whether workers receive messages. Runbook: message-too-old",
        )


def failing_line(attempt_class: AttemptClass, failures: Failures, now: datetime) -> str:
    """Return how many Items of a class are failing, and for how long."""
    what = "with a bank that is down" if attempt_class is AttemptClass.BANK_DOWN else "for other reasons"
    longest = "" if failures.oldest is None else f", the longest for {duration(now - failures.oldest)}"
    return f"{failures.count:,} {what}{longest}"


def _failing(snapshot: Snapshot, *, long: bool) -> Iterator[Finding]:
    """Yield what fails for so long that an alarm rings, or what fails and is only retried."""
    for attempt_class, failures in snapshot.failing.items():
        age = timedelta(0) if failures.oldest is None else snapshot.read_at - failures.oldest
        if failures.count and (age > MAX_FAILURE_AGES[attempt_class]) is long:
            fix = f"plaid-sync items --failing lists them. Runbook: {FAILURE_ALARMS[attempt_class]}"
            yield Finding(
                f"Items that fail: {failing_line(attempt_class, failures, snapshot.read_at)}",
                fix if long else "No action; retried automatically.",
                action_required=long,
            )


def _unknown(snapshot: Snapshot) -> Iterator[Finding]:
    for state, count in snapshot.items.items():
        if count and state not in set(StateName):
            yield Finding(
                f"{plural(count, 'Item')} in state {state}, which this version does not know, not synced",
                f"plaid-sync items --state {state} lists them. Runbook: unknown-states",
            )


def _broken(snapshot: Snapshot) -> Iterator[Finding]:
    if snapshot.dead_letters.total:
        yield Finding(
            f"{plural(snapshot.dead_letters.total, 'dead-lettered message')}",
            "plaid-sync dlq list shows the causes; once they are fixed: plaid-sync dlq replay. Runbook: dead-letters",
        )
    for alarm in snapshot.in_alarm:
        yield Finding(
            f"alarm {alarm.slug} since {duration(snapshot.read_at - alarm.since)}",
            f"{alarm.meaning} Runbook: {alarm.slug}".lstrip(),
        )


def _cleared(snapshot: Snapshot) -> Iterator[Finding]:
    if snapshot.cleared:
        newest = sorted(snapshot.cleared.items(), key=lambda entry: entry[1], reverse=True)
        listed = ", ".join(f"{slug} {duration(snapshot.read_at - at)} ago" for slug, at in newest)
        yield Finding(
            f"alarms of the last {RECENT // timedelta(hours=1)} hours, cleared: {listed}",
            "Event alarms clear by themselves; check the runbook for each.",
            action_required=False,
        )


def _waiting_for_others(snapshot: Snapshot) -> Iterator[Finding]:
    texts = {
        StateName.NEEDS_USER: (
            "waiting for users to log in again",
            "Your application sends them through Link in update mode: plaid-sync items --state needs_user",
        ),
        StateName.DEGRADED: ("waiting for banks that are down", "No action; retried automatically."),
        StateName.REVOKED: (
            "ended at Plaid or at the bank",
            "Their users can link them again: plaid-sync items --state revoked",
        ),
    }
    for state, (what, fix) in texts.items():
        if count := snapshot.items.get(state, 0):
            yield Finding(f"{plural(count, 'Item')} {what}", fix, action_required=False)
