"""The result of a run: whether the table equals Plaid and every expectation was met, as text and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import simplejson

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from decimal import Decimal

    from local.comparison import Verdict
    from local.dashboard.render import Rendered
    from local.demo.logs import Totals

MAX_SHOWN_DIFFERENCES = 40
LOST = "webhooks lost"
_NEXT_STEPS = """\
Next:
  make local   keeps such a stack up: send it webhooks, read its tables
  make test    runs the tests
  README.md    explains how it works, and how to deploy it to AWS"""


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a run.

    Attributes:
        exact_amounts: Amounts that a float would spoil, as the table has them.
    """

    verdict: Verdict
    totals: Totals
    happened: Mapping[str, int]
    broken: tuple[str, ...]
    exact_amounts: tuple[Decimal, ...]
    seed: int
    seconds: float = 0.0
    dashboard: Rendered | None = None

    @property
    def good(self) -> bool:
        """Whether there is no difference and every expectation was met."""
        return not self.verdict.differences and not self.broken

    def as_json(self) -> str:
        verdict, totals = self.verdict, self.totals
        document = {
            "good": self.good,
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "rows_in_table": verdict.in_table,
            "rows_at_plaid": verdict.at_plaid,
            "changes": verdict.changes,
            "rows_written": totals.written.total(),
            "webhooks": {**totals.webhooks, "rejected_by_reason": totals.rejections},
            "messages": totals.messages,
            "syncs": totals.outcomes,
            "failures": totals.failures,
            "restarts": totals.restarts,
            "happened": self.happened,
            "exact_amounts": [format(amount, "f") for amount in self.exact_amounts],
            "items": [
                {"item_id": item.item_id, "in_table": item.in_table, "at_plaid": item.at_plaid, "changes": item.changes}
                for item in verdict.items
            ],
            "differences": [asdict(difference) for difference in verdict.differences],
            "broken_expectations": self.broken,
            "dashboard": self.dashboard.document() if self.dashboard else None,
        }
        text: str = simplejson.dumps(document, indent=2, use_decimal=True, ensure_ascii=False, default=repr)
        return text


def print_report(report: Report) -> None:
    """Print the result for a person; the last line before the next steps is the verdict."""
    print("\nThe Transactions table against Plaid, row by row, field by field\n")
    print(f"  {'Item':<40}{'In table':>10}{'At Plaid':>10}{'Changes':>10}{'Written':>10}{'Differences':>13}")
    for number, item in enumerate(report.verdict.items, start=1):
        counts = (
            f"{item.in_table:>10,}{item.at_plaid:>10,}{item.changes:>10,}{report.totals.written[item.item_id]:>10,}"
        )
        print(f"  {number} {item.item_id:<38}{counts}{len(item.differences):>13,}")
    print()
    for line in _activity(report):
        print(f"  {line}")
    for expectation in report.broken:
        print(f"\nNOT AS EXPECTED: {expectation}")
    _print_differences(report)
    verdict = report.verdict
    print(
        f"\n{verdict.in_table:,} rows in the table, {verdict.at_plaid:,} at Plaid, "
        f"{_count_differences(len(verdict.differences))} ({verdict.changes:,} changes to {len(verdict.items)} Items, "
        f"seed {report.seed}, {report.seconds:.1f} s)\n\n{_NEXT_STEPS}"
    )


def _activity(report: Report) -> Iterator[str]:
    totals, happened = report.totals, report.happened
    webhooks = totals.webhooks
    yield (
        f"webhooks  {webhooks['queued']} led to a sync, {webhooks['published']} needed none, "
        f"{happened.get(LOST, 0)} were lost on the way"
    )
    yield f"          {webhooks['failed']} got 503 and were retried, {webhooks['rejected']} were rejected: 401 or 429"
    yield f"syncs     {totals.outcomes['committed']} committed for {totals.messages} messages: one covers all that wait"
    yield f"          {totals.failures.total()} failed and were retried, {totals.restarts} restarted their pull"
    yield f"amounts   {', '.join(format(amount, 'f') for amount in report.exact_amounts)} are stored exactly"


def _print_differences(report: Report) -> None:
    lines = [
        f"Item {difference.item_id}, transaction {difference.transaction_id}, {difference.field}: "
        f"at Plaid {difference.at_plaid}, in the table {difference.in_table}"
        for difference in report.verdict.differences
    ]
    if lines:
        print(f"\n{_count_differences(len(lines))}:", *lines[:MAX_SHOWN_DIFFERENCES], sep="\n")
    if len(lines) > MAX_SHOWN_DIFFERENCES:
        print(f"… {len(lines) - MAX_SHOWN_DIFFERENCES:,} more; --json lists all")


def _count_differences(count: int) -> str:
    return f"{count:,} difference{'' if count == 1 else 's'}"
