"""Is money data fresh, which Items are not, why, and what to do: decided from what was read, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from plaid_sync.core.items import ItemStatus
from plaid_sync.core.lifecycle.cadence import LONGEST_AGE

from plaid_sync_cli.output import duration, plural

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from plaid_sync.core.items_api.item_record import ItemRecord

    from plaid_sync_cli.readings import Alarm, QueueDepth

STALE_AFTER: Final = LONGEST_AGE
"""The threshold of the alarm items-stale."""
UNSYNCED_AFTER: Final = timedelta(hours=1)
"""A first sync takes seconds, and is asked for again after a quarter of an hour."""
OLDEST_MESSAGE: Final = timedelta(seconds=50_400)
"""The threshold of the alarm message-too-old: no healthy message lives longer."""
LATELY: Final = timedelta(hours=12)
"""How far back alarms are told that have cleared: as long as a night."""
ENABLED: Final = "Enabled"
_PARTS: Final = frozenset({"attention", "sync-idle", "sync-waiting"})
"""`attention` is any of the others; idle and waiting together are `sync-stopped`, and each alone is no trouble."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was read of a deployment.

    Attributes:
        mapping: how the event source mapping is, in Lambda's word.
        items: how many Items there are in each state.
        stale: how many of those that are synced were last fresh longer than `STALE_AFTER` ago.
        stalest: the least fresh Items that are synced.
        unsynced: how many more were linked longer than `UNSYNCED_AFTER` ago, and have never been synced.
        swept_at: when the sweep last ran; None where CloudWatch does not know.
        rang: which alarms went off `LATELY`, and when.
    """

    read_at: datetime
    queue: QueueDepth
    dead_letters: QueueDepth
    mapping: str
    alarms: tuple[Alarm, ...]
    items: Mapping[ItemStatus, int]
    stale: int
    stalest: tuple[ItemRecord, ...]
    unsynced: int = 0
    swept_at: datetime | None = None
    rang: Mapping[str, datetime] = field(default_factory=dict)

    @property
    def cleared(self) -> Mapping[str, datetime]:
        """The alarms that went off lately and are quiet now: those that tell of an event clear by themselves."""
        still = {alarm.slug for alarm in self.ringing} | _PARTS
        return {slug: at for slug, at in self.rang.items() if slug not in still}

    @property
    def ringing(self) -> tuple[Alarm, ...]:
        """The alarms that say something: not those that are only a part of others, or the sum of them all."""
        return tuple(alarm for alarm in self.alarms if alarm.state == "ALARM" and alarm.slug not in _PARTS)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be.

    Attributes:
        what: the matter and the reason.
        fix: what to do.
        needs_someone: an operator has to act; not so where the system or an Item's user will.
    """

    what: str
    fix: str
    needs_someone: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer.

    Attributes:
        fresh: every Item that can be synced is up to date, and goes on being so.
        sentence: the answer in one line.
        findings: what there is to do, the most urgent first.
    """

    fresh: bool
    sentence: str
    findings: tuple[Finding, ...] = field(default=())

    @property
    def needs_someone(self) -> bool:
        """Whether an operator has to act."""
        return any(finding.needs_someone for finding in self.findings)


def judge(facts: Facts) -> Verdict:
    """Judge what was read."""
    findings = tuple(_findings(facts))
    total = sum(facts.items.values()) - facts.items.get(ItemStatus.REMOVED, 0)
    if not total:
        return Verdict(not any(one.needs_someone for one in findings), _nothing_linked(findings), findings)
    behind = (
        facts.stale
        + facts.unsynced
        + sum(facts.items.get(state, 0) for state in (ItemStatus.DEGRADED, ItemStatus.NEEDS_USER, ItemStatus.REVOKED))
    )
    fresh = not facts.stale and not facts.unsynced and facts.mapping == ENABLED
    return Verdict(fresh, _sentence(facts, total, behind, findings), findings)


def _nothing_linked(findings: tuple[Finding, ...]) -> str:
    if findings and findings[0].needs_someone:
        return f"Nothing is linked yet, but somebody is needed: {findings[0].what}"
    return "Nothing is linked yet: there are no Items."


def _sentence(facts: Facts, total: int, behind: int, findings: tuple[Finding, ...]) -> str:
    urgent = next((finding for finding in findings if finding.needs_someone), None)
    if urgent is not None and (facts.stale or facts.unsynced or facts.mapping != ENABLED):
        so_far = "" if facts.mapping == ENABLED else " so far"
        return f"Money data is NOT fresh ({behind:,} of {plural(total, 'Item')} behind{so_far}): {urgent.what}"
    state = f"Money data is fresh for {total - behind:,} of {plural(total, 'Item')}"
    if urgent is not None:
        return f"{state}, but somebody is needed: {urgent.what}"
    others = "; the others wait for their banks or users" if behind else ""
    if facts.cleared:
        return f"{state}{others}. Nothing rings, but lately did: {', '.join(sorted(facts.cleared))}."
    return f"{state}{others}, nothing for you to do."


def _findings(facts: Facts) -> Iterator[Finding]:
    yield from _stopped(facts)
    yield from _broken(facts)
    yield from _cleared(facts)
    yield from _waiting_for_others(facts)


def _stopped(facts: Facts) -> Iterator[Finding]:
    if facts.mapping != ENABLED:
        yield Finding(
            f"syncing is paused (event source mapping {facts.mapping}), {plural(facts.queue.total, 'message')} queued",
            "If nobody is working on it: plaid-sync resume",
        )
    if facts.stale:
        since = facts.stalest[0].synced_at if facts.stalest else None
        last = "never" if since is None else f"{duration(facts.read_at - since)} ago"
        yield Finding(
            f"{plural(facts.stale, 'Item')} not brought up to date for more than {duration(STALE_AFTER)} "
            f"(the stalest: {last})",
            "plaid-sync item ID explains one; plaid-sync sync ID brings it up to date. Runbook: items-stale",
        )
    if facts.unsynced:
        yield Finding(
            f"{plural(facts.unsynced, 'Item')} without a first sync, {duration(UNSYNCED_AFTER)} or more after the link",
            "plaid-sync item ID explains one; plaid-sync sync ID asks for the sync. Runbook: items-stale",
        )
    if facts.queue.oldest is not None and facts.queue.oldest > OLDEST_MESSAGE:
        yield Finding(
            f"a message waits for {duration(facts.queue.oldest)}", "Look at the sync function. Runbook: message-too-old"
        )


def _broken(facts: Facts) -> Iterator[Finding]:
    if facts.dead_letters.total:
        yield Finding(
            f"{plural(facts.dead_letters.total, 'dead letter')}: changes that were given up",
            "plaid-sync dlq list says why; when the cause is gone: plaid-sync dlq replay. Runbook: dead-letters",
        )
    for alarm in facts.ringing:
        yield Finding(
            f"alarm {alarm.slug} since {duration(facts.read_at - alarm.since)}",
            f"{alarm.meaning} Runbook: {alarm.slug}".lstrip(),
        )


def _cleared(facts: Facts) -> Iterator[Finding]:
    if facts.cleared:
        newest = sorted(facts.cleared.items(), key=lambda one: one[1], reverse=True)
        told = ", ".join(f"{slug} {duration(facts.read_at - at)} ago" for slug, at in newest)
        yield Finding(
            f"rang in the last {LATELY // timedelta(hours=1)} hours and is quiet again: {told}",
            "What tells of an event is quiet after minutes, whether anybody has seen to it or not: look into the "
            "runbook.",
            needs_someone=False,
        )


def _waiting_for_others(facts: Facts) -> Iterator[Finding]:
    words = {
        ItemStatus.NEEDS_USER: (
            "waiting for users to log in again",
            "Your application asks them to (Link in update mode): plaid-sync items --state needs_user",
        ),
        ItemStatus.DEGRADED: ("waiting for banks that are down", "Nothing: they are tried again by themselves."),
        ItemStatus.REVOKED: (
            "ended at Plaid or at the bank",
            "Their users can link them anew: plaid-sync items --state revoked",
        ),
    }
    for state, (what, fix) in words.items():
        if count := facts.items.get(state, 0):
            yield Finding(f"{plural(count, 'Item')} {what}", fix, needs_someone=False)
