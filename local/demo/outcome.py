"""The end of a run: its figures, whether everything was as promised, and how that is told."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import simplejson
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from local.stack import Places

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from rich.console import Console

    from local.comparison import Difference, Verdict
    from local.dashboard.render import Rendered
    from local.demo.progress import Progress

SHOWN_DIFFERENCES = 40
LOST = "webhooks lost"
_NEXT = """\
What next:
  make local   keeps this stack up, for you to send it webhooks and look into its tables
  make test    runs the tests
  README.md    says how it works, and how to deploy it to AWS"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run has come to.

    Attributes:
        happened: how often each thing has happened.
        problems: promises that were not kept, other than differences.
        exhibits: amounts that a float would spoil, as the table has them.
        seconds: how long it took.
        dashboard: what was drawn, if it was asked for.
    """

    verdict: Verdict
    progress: Progress
    happened: Mapping[str, int]
    problems: tuple[str, ...]
    exhibits: tuple[Decimal, ...]
    seed: int
    seconds: float
    dashboard: Rendered | None = None

    @property
    def good(self) -> bool:
        """Whether everything was as promised."""
        return not self.verdict.differences and not self.problems

    def as_json(self) -> str:
        """Return everything, for programs; no difference is left out."""
        verdict, progress = self.verdict, self.progress
        document = {
            "good": self.good,
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "rows_in_table": verdict.in_table,
            "rows_at_plaid": verdict.at_plaid,
            "changes": verdict.changes,
            "rows_written": sum(item.written for item in progress.items.values()),
            "webhooks": {**progress.webhooks, "rejected_by_reason": progress.rejections},
            "triggers": progress.triggers,
            "triggers_coalesced": progress.coalesced,
            "syncs": progress.outcomes,
            "failures": progress.failures,
            "restarts": progress.restarts,
            "happened": self.happened,
            "exact_amounts": [format(amount, "f") for amount in self.exhibits],
            "items": [
                {"item_id": item.item_id, "in_table": item.in_table, "at_plaid": item.at_plaid, "changes": item.changes}
                for item in verdict.items
            ],
            "differences": [asdict(difference) for difference in verdict.differences],
            "problems": self.problems,
            "dashboard": self.dashboard.document() if self.dashboard else None,
        }
        text: str = simplejson.dumps(document, indent=2, use_decimal=True, ensure_ascii=False, default=repr)
        return text


def print_outcome(console: Console, outcome: Outcome) -> None:
    """Print the verdict for a person."""
    console.print()
    console.print(_table(outcome))
    console.print(_activity(outcome))
    for problem in outcome.problems:
        console.print(f"[bold red]NOT AS PROMISED[/]: {escape(problem)}", highlight=False)
    print_differences(console, outcome.verdict.differences)
    colour = "green" if outcome.good else "red"
    verdict = outcome.verdict
    console.print(
        f"\n[bold {colour}]{verdict.in_table:,} rows in the table, {verdict.at_plaid:,} at Plaid, "
        f"{_differences(len(verdict.differences))}[/] ({verdict.changes:,} changes to {len(verdict.items)} Items, "
        f"seed {outcome.seed}, {outcome.seconds:.1f} s)\n",
        highlight=False,
    )
    console.print(_NEXT, highlight=False, markup=False)


def _table(outcome: Outcome) -> Table:
    table = Table(title="The Transactions table against Plaid, row by row, field by field", title_justify="left")
    table.add_column("Item", no_wrap=True)
    for title in ("In table", "At Plaid", "Changes", "Written", "Differences"):
        table.add_column(title, justify="right")
    for number, item in enumerate(outcome.verdict.items, start=1):
        written = outcome.progress.item(item.item_id).written
        figures = (item.in_table, item.at_plaid, item.changes, written, len(item.differences))
        table.add_row(f"{number} {item.item_id}", *(f"{figure:,}" for figure in figures))
    return table


def _activity(outcome: Outcome) -> Table:
    progress, happened = outcome.progress, outcome.happened
    webhooks, failures = progress.webhooks, sum(progress.failures.values())
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(progress.rejections.items()))
    lines = (
        ("Happened", "; ".join(f"{name} {times}" for name, times in happened.items())),
        ("Webhooks", f"{webhooks['queued']} asked for a sync, {webhooks['ignored']} needed none"),
        ("", f"{webhooks['failed']} refused for a moment (503), and sent again by Plaid"),
        ("", f"{happened.get(LOST, 0)} lost on the way, and made up for by later ones"),
        ("", f"{webhooks['rejected']} forged and rejected (401): {reasons}"),
        (
            "Syncs",
            f"{progress.outcomes['committed']} for {progress.triggers} triggers: one covers all that are waiting",
        ),
        ("", f"{failures} failed, and came again"),
        ("Amounts", f"{', '.join(format(amount, 'f') for amount in outcome.exhibits)} in the table"),
        ("Access", "each function called AWS with its own role from the template, and IAM was enforced"),
    )
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column()
    for label, text in lines:
        grid.add_row(label, Text(text))
    return grid


def print_differences(console: Console, differences: list[Difference]) -> None:
    """Print the first differences, and where all of them are."""
    if not differences:
        return
    console.print(f"\n[bold red]{_differences(len(differences))}[/]", highlight=False)
    lines = [
        f"Item {difference.item_id}, transaction {difference.transaction_id}, {difference.field}: "
        f"at Plaid {difference.at_plaid}, in the table {difference.in_table}"
        for difference in differences
    ]
    for line in lines[:SHOWN_DIFFERENCES]:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if len(lines) > SHOWN_DIFFERENCES:
        everything = Places().run / "differences.txt"
        everything.write_text("\n".join(lines) + "\n", encoding="utf-8")
        console.print(f"… {len(lines) - SHOWN_DIFFERENCES:,} more; all are in {everything}", highlight=False)


def _differences(count: int) -> str:
    return f"{count:,} difference{'' if count == 1 else 's'}"
