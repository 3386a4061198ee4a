"""Print how much the deployed system carries with so many Items, or write the tables of docs/capacity.md."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from local.capacity.figures import Plan, read
from local.capacity.report import capacity_table, model_table, raised_table, saturation_table, variants, write_document

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    figures = read()
    parser = argparse.ArgumentParser(prog="python -m local.capacity", description=__doc__)
    parser.add_argument("--items", type=int, default=100_000, help="Items that are linked (default: 100,000)")
    parser.add_argument(
        "--webhooks",
        type=float,
        default=figures["traffic"]["webhooks"],
        help="webhooks of an Item and day (default: 2)",
    )
    parser.add_argument("--local", action="store_true", help="compare the model with what `make load` measured")
    parser.add_argument("--document", action="store_true", help="write the tables of docs/capacity.md")
    options = parser.parse_args(arguments)
    if options.items < 1 or options.webhooks <= 0:
        parser.error("--items has to be 1 or more, and --webhooks more than 0")
    if options.document:
        write_document(figures)
        return 0
    if options.local:
        print(model_table(figures))
        return 0
    plan = Plan(options.items, options.webhooks, figures)
    parts = [saturation_table(figures, options.webhooks), capacity_table([plan])]
    if len(variants(plan)) > 1:
        parts.append(raised_table([plan]))
    print("\n\n".join(parts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
