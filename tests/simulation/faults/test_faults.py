"""Schedules that once diverged run again, with and without the guard that they need; and the harness itself."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

import pytest
from plaid_sync.aws.dynamodb.annotations import AnnotationMoves
from plaid_sync.aws.dynamodb.expressions import Expression
from plaid_sync.domain.accounts import compare_accounts
from plaid_sync.sync import accounts, engine, planner

from local.plaid.update_log import UpdateLog
from local.snapshot import tamper
from tests.simulation.faults.checker import DivergenceError
from tests.simulation.faults.harness import harness
from tests.simulation.faults.postings import POSTINGS_OF_AN_ITEM, Postings, run_postings
from tests.simulation.faults.run import Run, run
from tests.simulation.faults.runner import shrink
from tests.simulation.faults.schedule import Step, draw, parse
from tests.simulation.faults.world import LAMBDA_SECONDS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from plaid_sync.domain.accounts import Account, AccountComparison, AccountStates
    from plaid_sync.sync.planner import PartialWriteRecovery

    from tests.simulation.faults.harness import Harness

FILES = sorted(Path(__file__).with_name("regressions").glob("*.jsonl"))
"""Each is named after the guard that it needs."""
_recover = planner.recover_partial_writes
_mute = UpdateLog.mute


def _not_fenced(self: Expression, _generation: int) -> str:
    return f"{self.name('state')} <> {self.value('removed')}"


def _no_full_resync(*arguments: Any) -> PartialWriteRecovery:
    return replace(_recover(*arguments), needs_full_resync=False)


def _trust_the_hint(
    known: tuple[Account, ...],
    states: AccountStates,
    listed: tuple[Account, ...],
    reported: Collection[str],
    *,
    complete: bool,
) -> AccountComparison:
    others = tuple(account for account in listed if account.account_id not in reported)
    return compare_accounts(known, states, others, reported, complete=complete)


def _mute_removals_too(self: UpdateLog, account_id: str) -> None:
    """Let the local Plaid serve nothing of a closed account, not even what was removed before: no engine could know."""
    _mute(self, account_id)
    own = {change.transaction_id for change in self.changes if change.account_id == account_id and not change.mute}
    self.muted[account_id] |= own


REMOVED_GUARDS: Final[dict[str, tuple[Any, str, Any]]] = {
    "clock-skew": (engine, "MAX_CLOCK_SKEW", timedelta(0)),
    "fence": (Expression, "fenced", _not_fenced),
    "generations-of-parts": (planner, "in_ranges", lambda _generation, ranges: bool(ranges)),
    "full-resync": (planner, "recover_partial_writes", _no_full_resync),
    "removed-before-its-account-closed": (UpdateLog, "mute", _mute_removals_too),
    "hint-is-checked": (accounts, "compare_accounts", _trust_the_hint),
    "routine-comparison": (accounts, "ACCOUNTS_INTERVAL", timedelta(days=1000)),
}


@pytest.fixture(scope="module")
def shared() -> Iterator[Harness]:
    with harness() as shared:
        yield shared


def test_the_functions_have_the_time_that_the_template_gives_them(shared: Harness) -> None:
    functions = shared.stack.client("lambda")
    names = {name: shared.stack.functions[name] for name in LAMBDA_SECONDS}
    timeouts = {
        name: functions.get_function_configuration(FunctionName=full)["Timeout"] for name, full in names.items()
    }
    assert timeouts == LAMBDA_SECONDS


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_regression_does_not_diverge(shared: Harness, file: Path) -> None:
    assert run(shared, parse(file.read_text().splitlines()))["calls"] > 0


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_regression_diverges_without_its_guard(shared: Harness, file: Path) -> None:
    target, name, replacement = REMOVED_GUARDS[file.stem]

    with patch.object(target, name, replacement), pytest.raises(DivergenceError):
        run(shared, parse(file.read_text().splitlines()))


def test_a_schedule_is_deterministic(shared: Harness) -> None:
    assert parse([str(step) for step in draw(11)]) == draw(11)
    assert run(shared, draw(11)) == run(shared, draw(11))


def test_a_schedule_leaves_nothing_to_the_next(shared: Harness) -> None:
    """A link that is rolled back blocks the registration of its Item, whose id the next schedule uses again."""
    before = run(shared, draw(11))
    begin = draw(11)[0]
    rolled_back = Step("link", {"transactions": 2, "fault_at": 5, "fault": "transaction conflict"})

    assert run(shared, [begin, rolled_back])["commits"] == 0
    assert run(shared, draw(11)) == before


def test_a_tampered_row_is_a_divergence(shared: Harness) -> None:
    """The harness must be able to fail: one cent is enough."""
    with closing(Run(shared, draw(11))) as schedule:
        schedule.execute()
        tamper(shared.stack, Random(1))  # noqa: S311 - reproducible on purpose
        with pytest.raises(DivergenceError, match="amount"):
            schedule.checker.check_items(swept=True)


def test_annotations_of_transactions_that_post_under_faults_are_where_they_belong(shared: Harness) -> None:
    counts = run_postings(shared, 2 * POSTINGS_OF_AN_ITEM, 1)
    assert counts["annotations"] > POSTINGS_OF_AN_ITEM
    assert (counts["lost"], counts["misplaced"]) == (0, 0)


@pytest.mark.parametrize(("guard", "complaint"), [("_remove", "expires"), ("_move", "has not moved")])
def test_without_each_of_their_guards_annotations_do_not_arrive(shared: Harness, guard: str, complaint: str) -> None:
    with (
        patch.object(AnnotationMoves, guard, lambda *_: False),
        closing(Postings(shared, 1)) as world,
        pytest.raises(DivergenceError, match=complaint),
    ):
        world.execute()


def test_without_links_annotations_stay_behind(shared: Harness) -> None:
    with patch.object(AnnotationMoves, "_link"):
        assert run_postings(shared, 1, 1)["misplaced"] > 0


def test_a_schedule_is_shrunk_to_the_steps_that_it_needs() -> None:
    steps = [Step("begin"), *(Step("wait", {"seconds": number}) for number in range(40))]
    needed = [steps[8], steps[32]]
    assert shrink(steps, lambda candidate: all(step in candidate for step in needed)) == [steps[0], *needed]
