"""`audit`: whether the table equals Plaid, Item by Item and field by field, and the repair of what does not."""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from plaid_sync.core.audit.report import DriftKind
from plaid_sync.core.audit.sampling import AUDITABLE, draw

from plaid_sync_cli.auditing import Auditing, Report, drift_of, has_drifted, is_bad, is_judged, repair
from plaid_sync_cli.command import Context, command
from plaid_sync_cli.errors import ExitCode, usage_error
from plaid_sync_cli.output import duration, plural, table
from plaid_sync_cli.pacing import Pace, parse_rate
from plaid_sync_cli.progress import progress
from plaid_sync_cli.readings import item_ids

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

APP: Final = typer.Typer()


@command(APP, "audit")
def audit(  # noqa: PLR0913 - each is an option
    context: Context,
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID...]", help="item_ids.")] = None,
    *,
    sample: Annotated[int | None, typer.Option(min=1, help="So many Items, drawn at random.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All Items that Plaid serves.")] = False,
    rate: Annotated[str, typer.Option(help="How fast to begin with Items: 1/s, 30/min.")] = "1/s",
    fix: Annotated[bool, typer.Option("--repair", help="Resync what has drifted, and audit it again.")] = False,
    values: Annotated[bool, typer.Option("--values", help="Quote what differs: bank data.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before a repair.")] = False,
) -> int:
    """Compare the table with Plaid's whole history of Items, field by field, and change nothing.

    Exit code 1 if rows have drifted (after a repair: still do), or if nobody can tell now.

    Example: `plaid-sync audit --all --rate 30/min --repair`
    """
    pace = Pace(parse_rate(rate))
    chosen = _chosen(context, ids or [], sample, every=every)
    auditing = Auditing(context.deployment, values)
    if every:
        least = duration(timedelta(seconds=len(chosen) / pace.rate))
        context.output.say(f"{plural(len(chosen), 'Item')}, {least} at least.")
    reports = _audit(context, auditing, chosen, pace, "audit")
    drifted = [report["item_id"] for report in reports if has_drifted(report)]
    refused: dict[str, str] = {}
    again: list[Report] = []
    if fix and drifted:
        rows = sum(map(drift_of, reports))
        what = f"{plural(len(drifted), 'Item')} with {plural(rows, 'drifted row')}"
        context.output.confirm(f"Resync {what}?", yes=yes)
        refused = _repair(context, drifted)
        again = _audit(context, auditing, [one for one in drifted if one not in refused], pace, "audit again")
    context.output.show(
        _document(reports, again, refused), lambda: _picture(reports, again, refused, values=values, fixed=fix)
    )
    known_now = {report["item_id"]: report for report in (*reports, *again)}
    return ExitCode.FOUND if any(map(is_bad, known_now.values())) else ExitCode.FINE


def _chosen(context: Context, ids: list[str], sample: int | None, *, every: bool) -> list[str]:
    if (bool(ids), sample is not None, every).count(True) != 1:
        raise usage_error("ID", "Give the item_ids to audit, or --sample, or --all.")
    if ids:
        return ids
    listed = sorted(item_ids(context.deployment, AUDITABLE))
    return listed if sample is None else draw(listed, sample, random.randrange)


def _audit(context: Context, auditing: Auditing, ids: list[str], pace: Pace, title: str) -> list[Report]:
    with progress(context.output.notes, title, len(ids)) as advance:
        return auditing.audit(ids, pace, lambda _report: advance(1))


def _repair(context: Context, ids: list[str]) -> dict[str, str]:
    """Resync Items, one after the other; return those that are not, with the reason."""
    refused = {}
    with progress(context.output.notes, "repair", len(ids)) as advance:
        for item_id in ids:
            if reason := repair(context.api, item_id):
                refused[item_id] = reason
            advance(1)
    return refused


def _document(reports: list[Report], again: list[Report], refused: dict[str, str]) -> dict[str, Any]:
    return {
        "audited": len(reports),
        "drifted_items": sum(map(has_drifted, reports)),
        "drifted_rows": sum(map(drift_of, reports)),
        "reports": reports,
        "after_repair": again,
        "not_repaired": refused,
    }


def _picture(
    reports: list[Report], again: list[Report], refused: dict[str, str], *, values: bool, fixed: bool
) -> Iterator[RenderableType]:
    bad = [report for report in reports if is_bad(report)]
    rows = sum(map(drift_of, reports))
    yield _sentence(reports)
    if bad or len(reports) <= 1:
        yield _by_item(bad or reports)
    differences = [
        (report["item_id"], one) for report in reports if has_drifted(report) for one in report["differences"]
    ]
    if differences:
        yield _by_row(differences, values=values)
    if refused:
        yield table("not repaired", "why", rows=list(refused.items()))
    if again:
        left = [report for report in again if is_bad(report)]
        yield f"Repaired {plural(len(again) - len(left), 'Item')}." + (" Left:" if left else " Nothing is left.")
        yield from [_by_item(left)] if left else []
    elif rows and not fixed:
        yield "Repair with --repair: a resync, which rewrites these rows and no other."


def _sentence(reports: list[Report]) -> str:
    """Say what was found, of what: an Item that could not be compared is no Item without drift."""
    rows, items = sum(map(drift_of, reports)), sum(map(has_drifted, reports))
    judged = [report for report in reports if is_judged(report)]
    others = Counter(report["outcome"] for report in reports if not is_judged(report))
    left_out = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(others.items()))
    if not judged:
        return f"Nothing could be compared: {left_out or 'there are no such Items'}."
    found = f"{plural(rows, 'row')} of {plural(items, 'Item')} drifted" if rows else "No drift"
    compared = plural(sum(report["at_plaid"] for report in judged), "transaction")
    more = f" Not compared: {left_out}." if left_out else ""
    return f"{found}: {plural(len(judged), 'Item')}, {compared} at Plaid compared.{more}"


def _by_item(reports: list[Report]) -> RenderableType:
    kinds = [kind.value for kind in DriftKind]
    rows = [
        (
            one["item_id"],
            one["outcome"],
            one["code"] or "-",
            f"{one['at_plaid']:,}",
            *(f"{one[kind]:,}" for kind in kinds),
        )
        for one in reports
    ]
    return table("item_id", "outcome", "code", "at Plaid", *kinds, right=("at Plaid", *kinds), rows=rows)


def _by_row(differences: list[tuple[str, dict[str, str]]], *, values: bool) -> RenderableType:
    names = ["transaction_id", "kind", "field", *(["at_plaid", "in_table"] if values else [])]
    return table("item_id", *names, rows=[(item_id, *(one[name] for name in names)) for item_id, one in differences])
