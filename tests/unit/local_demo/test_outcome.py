"""The verdict as people and programs read it."""

from __future__ import annotations

import io
import json
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from local.comparison import Difference, ItemVerdict, Verdict
from local.demo import outcome as module
from local.demo.cli import main
from local.demo.outcome import SHOWN_DIFFERENCES, Outcome, print_outcome
from local.demo.progress import Progress
from local.stack import Places

if TYPE_CHECKING:
    from pathlib import Path


def an_outcome(*differences: Difference, problems: tuple[str, ...] = ()) -> Outcome:
    item = ItemVerdict("A", in_table=1200, at_plaid=1201, changes=3456, differences=differences)
    return Outcome(Verdict((item,)), Progress(), {"added": 4}, problems, (Decimal("0.1234567"),), 7, 12.34)


def differences(count: int) -> list[Difference]:
    return [Difference("A", f"t{number}", "amount", Decimal("0.10"), Decimal("0.2")) for number in range(count)]


def printed(outcome: Outcome) -> str:
    stream = io.StringIO()
    print_outcome(Console(file=stream, width=110), outcome)
    return stream.getvalue()


def test_a_good_outcome_says_so() -> None:
    text = printed(an_outcome())
    assert "1,200 rows in the table, 1,201 at Plaid, 0 differences (3,456 changes to 1 Items, seed 7, 12.3 s)" in text
    assert "make test" in text
    assert an_outcome().good


def test_a_difference_is_named_by_item_transaction_and_field() -> None:
    text = printed(an_outcome(*differences(1)))
    assert "Item A, transaction t0, amount: at Plaid 0.10, in the table 0.2" in text
    assert "at Plaid, 1 difference (" in text


def test_many_differences_are_all_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Places", lambda: Places(run=tmp_path))
    text = printed(an_outcome(*differences(SHOWN_DIFFERENCES + 3)))
    assert "3 more" in text
    assert len((tmp_path / "differences.txt").read_text().splitlines()) == SHOWN_DIFFERENCES + 3


def test_a_broken_promise_fails_the_run_and_is_said() -> None:
    outcome = an_outcome(problems=("no [forged] webhook reaches the queue",))
    assert not outcome.good
    assert "NOT AS PROMISED: no [forged] webhook reaches the queue" in printed(outcome)


def test_json_holds_everything_with_exact_numbers() -> None:
    document = json.loads(an_outcome(*differences(60)).as_json(), parse_float=str)
    assert len(document["differences"]) == 60
    assert document["differences"][0]["at_plaid"] == "0.10"
    assert document["exact_amounts"] == ["0.1234567"]
    assert not document["good"]


def test_too_few_items_are_refused_before_anything_starts(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refusal:
        main(["--items", "4"])
    assert refusal.value.code == 2
    assert "at least 5" in capsys.readouterr().err
