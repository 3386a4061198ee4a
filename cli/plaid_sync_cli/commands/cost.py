"""`cost`: what a month comes to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from plaid_sync.adapters.aws import utc_now

from plaid_sync_cli.command import Context, command
from plaid_sync_cli.costing import bill, cents, expected, total
from plaid_sync_cli.errors import ExitCode
from plaid_sync_cli.output import plural, table
from plaid_sync_cli.prices import LOOKED_UP, UNCONFIRMED
from plaid_sync_cli.usage import Period, measured

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from plaid_sync_cli.costing import Line

APP: Final = typer.Typer()


@command(APP, "cost")
def cost(
    context: Context,
    items: Annotated[int | None, typer.Option(min=1, help="Estimate for so many Items, without a deployment.")] = None,
    days: Annotated[int, typer.Option(min=1, max=60, help="Take the usage of so many last days.")] = 7,
) -> int:
    """Estimate what AWS charges for a month: from the usage of the last days, or for a number of Items.

    Prices are those of us-east-1 without free tiers, and Plaid's own are not in it.

    Example: `plaid-sync cost --items 10000`
    """
    if items is None:
        usage = measured(Period(context.deployment, utc_now(), days))
        basis = f"CloudWatch's usage of the last {plural(days, 'day')} x 30 / {days}"
        if not usage.invocations.value:
            context.output.say(
                "CloudWatch has no usage of these days (the emulator never has): only what is fixed counts."
            )
    else:
        usage = expected(items)
        basis = f"{plural(items, 'Item')}, each as docs/cli.md assumes"
    lines = bill(usage)
    context.output.show(_document(lines, basis), lambda: _picture(lines, basis))
    return ExitCode.FINE


def _document(lines: list[Line], basis: str) -> dict[str, Any]:
    return {
        "estimate": True,
        "basis": basis,
        "prices": "us-east-1, no free tier",
        "dollars_a_month": total(lines),
        "largest": lines[0].name,
        "lines": [
            {
                "name": line.name,
                "formula": line.quantity.formula,
                "quantity": line.quantity.value,
                "unit": line.price.unit,
                "unit_price": line.price.dollars,
                "dollars": cents(line.dollars),
                "source": line.price.source,
                "standing": line.price.standing,
            }
            for line in lines
        ],
    }


def _picture(lines: list[Line], basis: str) -> Iterator[RenderableType]:
    largest = lines[0]
    yield f"About ${total(lines):,} a month; the largest part is {largest.name} (${cents(largest.dollars):,})."
    yield f"[dim]An estimate: {basis}; prices of us-east-1, no free tier, without Plaid's.[/]"
    yield f"[dim]Prices are {LOOKED_UP}; those with a ? are {UNCONFIRMED}.[/]"
    yield ""
    rows = [
        (
            line.name,
            line.quantity.formula,
            f"{line.quantity.value:,.2f}".rstrip("0").rstrip("."),
            f"${line.price.dollars:f} / {line.price.unit}{' ?' if line.price.standing == UNCONFIRMED else ''}",
            f"{cents(line.dollars):,}",
        )
        for line in lines
    ]
    yield table("part", "formula", "quantity", "price", "$ a month", right=["quantity", "$ a month"], rows=rows)
