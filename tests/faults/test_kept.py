"""Schedules that once diverged, or that a guard was seen to need, run again; and the harness itself."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.bench import bench
from tests.faults.run import Run, run
from tests.faults.schedule import Step, draw, read
from tests.faults.shrink import shrink
from tests.faults.watch import DivergenceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.bench import Bench

KEPT = sorted(Path(__file__).with_name("kept").glob("*.jsonl"))


@pytest.fixture(scope="module")
def stage() -> Iterator[Bench]:
    with bench() as shared:
        yield shared


@pytest.mark.parametrize("file", KEPT, ids=lambda file: file.stem)
def test_a_kept_schedule_ends_exact(stage: Bench, file: Path) -> None:
    assert run(stage, read(file.read_text().splitlines()))["schedules"] == 1


def test_a_schedule_runs_the_same_way_again(stage: Bench) -> None:
    assert draw(11) == draw(11)
    assert run(stage, draw(11)) == run(stage, draw(11))


def test_a_row_changed_behind_the_engines_back_is_a_divergence(stage: Bench) -> None:
    """The harness must be able to fail: one cent is enough."""
    one = Run(stage)
    try:
        for step in draw(11):
            getattr(one, step.name)(**step.arguments)
        one.end()
        item_id = next(item_id for item_id in one.world.items if one.world.plaid.truth(item_id))
        transaction_id, row = next(iter(one.world.plaid.truth(item_id).items()))
        stage.client("dynamodb").update_item(
            TableName=stage.deployment.stack.transactions_table,
            Key={"item_id": {"S": item_id}, "transaction_id": {"S": transaction_id}},
            UpdateExpression="SET amount = :amount",
            ExpressionAttributeValues={":amount": {"N": str(row["amount"] + Decimal("0.01"))}},
        )
        with pytest.raises(DivergenceError, match="amount"):
            one.world.watch.check_items(swept=True)
    finally:
        one.world.close()


def test_what_is_written_is_read() -> None:
    steps = draw(3)
    assert read([str(step) for step in steps]) == steps


def test_a_schedule_is_cut_down_to_what_it_needs() -> None:
    steps = [Step("begin"), *(Step("wait", {"seconds": number}) for number in range(40))]
    culprits = [steps[8], steps[32]]
    assert shrink(steps, lambda some: all(one in some for one in culprits)) == [steps[0], *culprits]
