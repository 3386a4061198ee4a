"""`audit`: compares the table with Plaid, Item by Item and field by field, and repairs drift."""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from plaid_sync.audit.auditor import AUDITABLE, draw
from plaid_sync.audit.report import DriftKind

from plaid_sync_cli.audits import Auditor, Report, drifted_rows, has_drifted, is_bad, is_conclusive, repair
from plaid_sync_cli.bulk import RateLimiter, parse_rate, progress
from plaid_sync_cli.command import AllOption, Context, OptionalItemsArgument, RateOption, YesOption, command
from plaid_sync_cli.errors import ExitCode, usage_error
from plaid_sync_cli.monitoring import item_ids
from plaid_sync_cli.output import duration, plural, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

APP: Final = typer.Typer()


@command(APP, "audit")
def audit(  # noqa: PLR0913 - each is an option
    context: Context,
    items: OptionalItemsArgument = None,
    *,
    sample: Annotated[int | None, typer.Option(min=1, metavar="N", help="N random Items.")] = None,
    all_items: AllOption = False,
    rate: RateOption = "1/s",
    fix: Annotated[bool, typer.Option("--repair", help="Resync drifted Items, and audit them again.")] = False,
    values: Annotated[bool, typer.Option("--values", help="Show differing values: bank data.")] = False,
    yes: YesOption = False,
) -> int:
    """Compare the table with Plaid's whole history of Items, field by field; change nothing without `--repair`.

    Exit code 1 if rows have drifted (after a repair: still drift), or if an audit is inconclusive.

    Example: `plaid-sync audit --all --rate 30/min --repair`
    """
    limiter = RateLimiter(parse_rate(rate))
    selected = _select(context, items or [], sample, all_items=all_items)
    auditor = Auditor(context.deployment, values)
    if all_items:
        least = duration(timedelta(seconds=len(selected) / limiter.rate))
        context.output.log(f"{plural(len(selected), 'Item')}, {least} at least.")
    reports = _audit(context, auditor, selected, limiter, "audit")
    drifted = [report["item_id"] for report in reports if has_drifted(report)]
    not_repaired: dict[str, str] = {}
    after_repair: list[Report] = []
    if fix and drifted:
        rows = sum(map(drifted_rows, reports))
        what = f"{plural(len(drifted), 'Item')} with {plural(rows, 'drifted row')}"
        context.output.confirm(f"Resync {what}?", yes=yes)
        not_repaired = _repair(context, drifted)
        repaired = [item_id for item_id in drifted if item_id not in not_repaired]
        after_repair = _audit(context, auditor, repaired, limiter, "audit again")
    context.output.show(
        _document(reports, after_repair, not_repaired),
        lambda: _render(reports, after_repair, not_repaired, values=values, fixed=fix),
    )
    latest = {report["item_id"]: report for report in (*reports, *after_repair)}
    return ExitCode.ACTION_REQUIRED if any(map(is_bad, latest.values())) else ExitCode.OK


def _select(context: Context, items: list[str], sample: int | None, *, all_items: bool) -> list[str]:
    if (bool(items), sample is not None, all_items).count(True) != 1:
        raise usage_error("ITEM_ID", "Give the Items to audit, or --sample, or --all.")
    if items:
        return items
    listed = sorted(item_ids(context.deployment, AUDITABLE))
    return listed if sample is None else draw(listed, sample, random.randrange)


def _audit(context: Context, auditor: Auditor, items: list[str], limiter: RateLimiter, title: str) -> list[Report]:
    with progress(context.output.stderr, title, len(items)) as advance:
        return auditor.audit(items, limiter, lambda _report: advance(1))


def _repair(context: Context, items: list[str]) -> dict[str, str]:
    """Resync Items one by one; return those that failed, with the reason."""
    failed = {}
    with progress(context.output.stderr, "repair", len(items)) as advance:
        for item_id in items:
            if reason := repair(context.api, item_id):
                failed[item_id] = reason
            advance(1)
    return failed


def _document(reports: list[Report], after_repair: list[Report], not_repaired: dict[str, str]) -> dict[str, Any]:
    return {
        "audited": len(reports),
        "drifted_items": sum(map(has_drifted, reports)),
        "drifted_rows": sum(map(drifted_rows, reports)),
        "reports": reports,
        "after_repair": after_repair,
        "not_repaired": not_repaired,
    }


def _render(
    reports: list[Report], after_repair: list[Report], not_repaired: dict[str, str], *, values: bool, fixed: bool
) -> Iterator[RenderableType]:
    bad = [report for report in reports if is_bad(report)]
    yield _summary(reports)
    if bad or len(reports) <= 1:
        yield _item_table(bad or reports)
    differences = [
        (report["item_id"], difference)
        for report in reports
        if has_drifted(report)
        for difference in report["differences"]
    ]
    if differences:
        yield _difference_table(differences, values=values)
    for report in reports:
        if served := report["served_accounts"]:
            command = f"plaid-sync accounts compare {report['item_id']}"
            yield f"Plaid serves closed accounts of {report['item_id']}: {', '.join(served)}. {command} compares them."
    if not_repaired:
        yield table("not repaired", "why", rows=list(not_repaired.items()))
    if after_repair:
        left = [report for report in after_repair if is_bad(report)]
        yield f"Repaired {plural(len(after_repair) - len(left), 'Item')}." + (" Left:" if left else " Nothing is left.")
        yield from [_item_table(left)] if left else []
    elif any(map(drifted_rows, reports)) and not fixed:
        yield "Repair with --repair: a resync, which rewrites only these rows."


def _summary(reports: list[Report]) -> str:
    """Return what was found and compared; an inconclusive audit is not an audit without drift."""
    rows, items = sum(map(drifted_rows, reports)), sum(map(has_drifted, reports))
    conclusive = [report for report in reports if is_conclusive(report)]
    others = Counter(report["outcome"] for report in reports if not is_conclusive(report))
    not_compared = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(others.items()))
    if not conclusive:
        return f"Nothing could be compared: {not_compared or 'no such Items'}."
    found = f"{plural(rows, 'row')} of {plural(items, 'Item')} drifted" if rows else "No drift"
    compared = plural(sum(report["at_plaid"] for report in conclusive), "transaction")
    more = f" Not compared: {not_compared}." if not_compared else ""
    return f"{found}: {plural(len(conclusive), 'Item')}, {compared} at Plaid compared.{more}"


def _item_table(reports: list[Report]) -> RenderableType:
    kinds = [kind.value for kind in DriftKind]
    rows = [
        (
            report["item_id"],
            report["outcome"],
            report["code"] or "-",
            f"{report['at_plaid']:,}",
            *(f"{report[kind]:,}" for kind in kinds),
        )
        for report in reports
    ]
    return table("item_id", "outcome", "code", "at Plaid", *kinds, right=("at Plaid", *kinds), rows=rows)


def _difference_table(differences: list[tuple[str, dict[str, str]]], *, values: bool) -> RenderableType:
    names = ["transaction_id", "kind", "field", *(["at_plaid", "in_table"] if values else [])]
    rows = [(item_id, *(difference[name] for name in names)) for item_id, difference in differences]
    return table("item_id", *names, rows=rows)
