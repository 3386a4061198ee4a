"""The templates keep every rule, and every rule reports its breaks."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from tests.template.rules import RULES, Rule

for path in sorted(Path(__file__).parent.glob("rules_*.py")):
    importlib.import_module(f"tests.template.{path.stem}")  # which registers its rules
BREAKS = [
    pytest.param(rule, path, value, id=f"{rule.name}-{path.removeprefix('Resources/')}")
    for rule in RULES
    for path, value in rule.breaks
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_templates_keep_the_rule(rule: Rule, request: pytest.FixtureRequest) -> None:
    assert rule.breaks
    assert list(rule.check(*map(request.getfixturevalue, rule.documents))) == []


@pytest.mark.parametrize(("rule", "path", "value"), BREAKS)
def test_a_rule_reports_a_break(rule: Rule, path: str, value: object, request: pytest.FixtureRequest) -> None:
    first, *others = map(request.getfixturevalue, rule.documents)
    assert list(rule.check(first.broken(path, value), *others))
