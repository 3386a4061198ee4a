"""The result of the demo as people and programs read it."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from local.comparison import Difference, ItemVerdict, Verdict
from local.demo.__main__ import main
from local.demo.logs import Totals
from local.demo.report import MAX_SHOWN_DIFFERENCES, Report, print_report


def a_report(*differences: Difference, broken: tuple[str, ...] = ()) -> Report:
    item = ItemVerdict("A", in_table=1200, at_plaid=1201, changes=3456, differences=differences)
    return Report(Verdict((item,)), Totals(), {"added": 4}, broken, (Decimal("0.1234567"),), 7, 12.34)


def differences(count: int) -> list[Difference]:
    return [Difference("A", f"t{number}", "amount", Decimal("0.10"), Decimal("0.2")) for number in range(count)]


def printed(report: Report, capsys: pytest.CaptureFixture[str]) -> str:
    print_report(report)
    return capsys.readouterr().out


def test_a_good_report_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(a_report(), capsys)
    assert "1,200 rows in the table, 1,201 at Plaid, 0 differences (3,456 changes to 1 Items, seed 7, 12.3 s)" in text
    assert "make test" in text
    assert a_report().good


def test_a_difference_is_named_by_item_transaction_and_field(capsys: pytest.CaptureFixture[str]) -> None:
    report = a_report(*differences(1))
    text = printed(report, capsys)
    assert "Item A, transaction t0, amount: at Plaid 0.10, in the table 0.2" in text
    assert "at Plaid, 1 difference (" in text
    assert not report.good


def test_many_differences_are_counted_and_the_first_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(a_report(*differences(MAX_SHOWN_DIFFERENCES + 3)), capsys)
    assert text.count("Item A, transaction") == MAX_SHOWN_DIFFERENCES
    assert "3 more" in text


def test_an_expectation_that_is_not_met_fails_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    report = a_report(broken=("no forged webhook reaches the queue",))
    assert not report.good
    assert "NOT AS EXPECTED: no forged webhook reaches the queue" in printed(report, capsys)


def test_json_has_everything_with_exact_numbers() -> None:
    document = json.loads(a_report(*differences(60)).as_json(), parse_float=str)
    assert len(document["differences"]) == 60
    assert document["differences"][0]["at_plaid"] == "0.10"
    assert document["exact_amounts"] == ["0.1234567"]
    assert not document["good"]


def test_too_few_items_are_refused_before_anything_starts(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refusal:
        main(["--items", "4"])
    assert refusal.value.code == 2
    assert "at least 5" in capsys.readouterr().err
