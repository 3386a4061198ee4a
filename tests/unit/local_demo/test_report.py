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


@pytest.mark.parametrize(
    ("report", "lines"),
    [
        (
            a_report(),
            ["1,200 rows in the table, 1,201 at Plaid, 0 differences (3,456 changes to 1 Items, seed 7, 12.3 s)"],
        ),
        (
            a_report(*differences(1)),
            ["Item A, transaction t0, amount: at Plaid 0.10, in the table 0.2", "at Plaid, 1 difference ("],
        ),
        (a_report(*differences(MAX_SHOWN_DIFFERENCES + 3)), ["transaction t39, ", "3 more"]),
        (a_report(broken=("no forged webhook is queued",)), ["NOT AS EXPECTED: no forged webhook is queued"]),
    ],
)
def test_only_a_report_without_differences_and_broken_expectations_is_good(
    report: Report, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    print_report(report)
    text = capsys.readouterr().out
    assert [line for line in lines if line not in text] == []
    assert text.count("Item A, transaction") <= MAX_SHOWN_DIFFERENCES
    assert report.good is (not report.verdict.differences and "NOT AS EXPECTED" not in text)


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
