"""The commands and programs of the documents that a new user follows do what the documents say."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any, Final

import pytest
from botocore import xform_name
from botocore.session import get_session

from local.stack.paths import PROJECT
from tests.documents.reading import commands_of, programs_of
from tests.documents.rules import DOCUMENTS, RULES, ByGate, ByTest, OnAws, Rule, Run, Serve

if TYPE_CHECKING:
    from tests.documents.conftest import Workplace

TEXTS: Final = {name: (PROJECT / name).read_text(encoding="utf-8") for name in DOCUMENTS}
COMMANDS: Final = list(dict.fromkeys(command for text in TEXTS.values() for command in commands_of(text)))
_STEPS: Final = "\n".join(path.read_text() for path in (PROJECT / ".ci/run", *PROJECT.glob(".github/workflows/*.yml")))
GATE: Final = re.sub("#.*", "", _STEPS)
LINK_USER: Final = """\
import json, os, re, sys, urllib3
sys.path.append(os.environ["PROJECT"] + "/clients/python")
def input(prompt):  # goes through Link, as the user does
    token = re.search(r"link-[\\w-]+", prompt)[0]
    url = os.environ["PLAID_BASE_URL"] + "/_sim/link"
    return urllib3.PoolManager().request("POST", url, json={"link_token": token}).json()["public_token"]
"""
PROGRAMS: Final = {"docs/api.md": (LINK_USER, "assert item['item_id'] == linked['item_id']")}
"""By document: what a block of Python takes for granted, and what must be so after it."""


def scripts() -> list[tuple[Run, str]]:
    """Return what is executed, once where several commands come to the same."""
    pairs = [
        (rule, rule.script_of(text))
        for rule in RULES
        if isinstance(rule, Run)
        for text in COMMANDS
        if rule.covers(text)
    ]
    return list(dict.fromkeys(pairs))


def used(kind: type[Rule]) -> list[Rule]:
    return [rule for rule in RULES if isinstance(rule, kind)]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_one_rule(command: str) -> None:
    assert len([rule for rule in RULES if rule.covers(command)]) == 1, "add it to tests/documents/rules.py"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.command)
def test_each_rule_has_a_command(rule: Rule) -> None:
    assert any(map(rule.covers, COMMANDS)), "no document has such a command: remove the rule"


@pytest.mark.parametrize(
    ("rule", "script"), scripts(), ids=lambda value: value.command if isinstance(value, Run) else ""
)
def test_a_command_does_what_the_document_says(rule: Run, script: str, workplace: Workplace, item: str) -> None:
    workplace.require(rule.needs)
    code, output = workplace.run(script, ITEM=item)
    assert code == rule.code, output
    assert re.search(rule.prints, output, re.MULTILINE), output


@pytest.mark.parametrize("rule", used(Serve), ids=lambda rule: rule.command)
def test_what_serves_prints_when_it_is_ready_and_ends_in_order(rule: Serve, workplace: Workplace) -> None:
    with workplace.serving(rule.script, rule.ready):
        pass


@pytest.mark.parametrize("rule", used(ByTest), ids=lambda rule: rule.command)
def test_another_test_runs_it(rule: ByTest) -> None:
    file, _, name = rule.test.partition("::")
    assert re.search(rf"^def {name}\(", (PROJECT / file).read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("rule", used(ByGate), ids=lambda rule: rule.command)
def test_the_gate_or_a_workflow_runs_it(rule: ByGate) -> None:
    assert re.search(rf"\bmake {rule.target}(?![\w-])", GATE)


@pytest.mark.parametrize("command", [text for text in COMMANDS for rule in used(OnAws) if rule.covers(text)])
def test_aws_has_the_call_and_its_options(command: str) -> None:
    _, service, call, *words = shlex.split(command, comments=True)
    model: Any = get_session().get_service_model(service)
    (operation,) = [name for name in model.operation_names if xform_name(name, "-") == call]
    known = {xform_name(name, "-") for name in model.operation_model(operation).input_shape.members}
    assert {word.removeprefix("--") for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("name", [name for name, text in TEXTS.items() if any(programs_of(text))])
def test_a_program_runs(name: str, workplace: Workplace) -> None:
    before, after = PROGRAMS[name]
    for program in programs_of(TEXTS[name]):
        script = workplace.folder / "program.py"
        script.write_text(f"{before}\n{program}\n{after}\n")
        code, output = workplace.run(f"python -W error {script}")
        assert code == 0, output
