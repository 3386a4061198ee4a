"""The templates keep every rule, and every rule reports its breaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.template import rules_alarms, rules_data, rules_functions, rules_permissions, rules_queues
from tests.template.rules import RULES, Rule

if TYPE_CHECKING:
    from tests.template.cloudformation import Template

MODULES = (rules_alarms, rules_data, rules_functions, rules_permissions, rules_queues)
BREAKS = [
    pytest.param(rule, path, value, id=f"{rule.name}-{path.removeprefix('Resources/')}")
    for rule in RULES
    for path, value in rule.breaks
]


def templates(rule: Rule, request: pytest.FixtureRequest) -> list[Template]:
    return [request.getfixturevalue(name) for name in rule.documents]


def test_every_module_registers_rules_and_every_rule_has_breaks() -> None:
    assert {rule.check.__module__ for rule in RULES} == {module.__name__ for module in MODULES}
    assert all(rule.breaks for rule in RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_templates_keep_the_rule(rule: Rule, request: pytest.FixtureRequest) -> None:
    assert list(rule.check(*templates(rule, request))) == []


@pytest.mark.parametrize(("rule", "path", "value"), BREAKS)
def test_a_rule_reports_a_break(rule: Rule, path: str, value: object, request: pytest.FixtureRequest) -> None:
    first, *others = templates(rule, request)
    assert list(rule.check(first.broken(path, value), *others))
