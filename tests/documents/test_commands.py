"""Every command of every document is run, and does what the document says."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from markdown_it import MarkdownIt

from local.stack.paths import PROJECT
from tests.documents.commands import Command, commands_of, documents, stray
from tests.documents.kinds import ByTest, InGate, Kept, Rule, Run, Serve
from tests.documents.preparing import filled_in
from tests.documents.rules import RULES
from tests.documents.shapes import missing

if TYPE_CHECKING:
    from tests.documents.workplace import Workplace

TEXTS: Final = {str(path.relative_to(PROJECT)): path.read_text(encoding="utf-8") for path in documents()}
COMMANDS: Final[dict[str, list[Command]]] = defaultdict(list)
for _name, _text in TEXTS.items():
    for _command in commands_of(_text, _name):
        COMMANDS[_command.text].append(_command)
GATE: Final = (PROJECT / ".ci" / "run").read_text(encoding="utf-8")


RUNNER: Final = {"tests/sam_local": "make sam-local"}
"""Which step of the gate runs a folder's tests, if not `make test`."""


def runs(step: str) -> bool:
    """Tell whether the gate has a step."""
    return re.search(rf"^ *step {re.escape(step)}(?![\w-])", GATE, re.MULTILINE) is not None


def rules_for(text: str) -> list[Rule]:
    return [rule for rule in RULES if rule.covers(text)]


def ordered(kind: type[Rule]) -> list[str]:
    """Return the commands of a kind in the order of the rules."""
    return [text for rule in RULES if isinstance(rule, kind) for text in COMMANDS if rules_for(text)[:1] == [rule]]


def script_of(text: str, rule: Run) -> str:
    return rule.as_run.replace("{}", filled_in(text))


def runnable() -> list[str]:
    """Return the commands that are executed; of those that are the same once they are filled in, one."""
    found: dict[tuple[Rule, str], str] = {}
    for text in ordered(Run):
        (rule,) = rules_for(text)
        if isinstance(rule, Run):
            found.setdefault((rule, script_of(text, rule)), text)
    return list(found.values())


def test_each_command_has_one_rule() -> None:
    wrong = {text: [one.where for one in found] for text, found in COMMANDS.items() if len(rules_for(text)) != 1}
    assert not wrong, "say in rules.py how these are run"


def test_each_rule_has_a_command() -> None:
    idle = [rule.command for rule in RULES if not any(rule.covers(text) for text in COMMANDS)]
    assert not idle, "no document has such a command any more"


def test_no_command_hides_in_an_example_of_output() -> None:
    found = [line for name, text in TEXTS.items() for line in stray(text, name)]
    assert not found, "a block of commands has the language sh"


@pytest.mark.parametrize("text", ordered(Kept))
def test_what_keeps_the_stack_up(text: str, workplace: Workplace) -> None:
    assert text == "make local"  # which the fixture has started
    code, said = workplace.run("aws sts get-caller-identity")
    assert code == 0, said


@pytest.mark.parametrize("text", runnable())
def test_a_command_does_what_the_document_says(text: str, workplace: Workplace, item: str) -> None:
    (rule,) = rules_for(text)
    assert isinstance(rule, Run)
    script = script_of(text, rule)
    code, said = workplace.run(script, in_project=rule.in_project, ITEM=item)
    assert code == rule.code, f"{script}\n{said}"
    for pattern in rule.says:
        assert re.search(pattern, said, re.MULTILINE), f"{pattern!r} is not in:\n{said}"
    if rule.shows:
        covered = [command for one, found in COMMANDS.items() if rule.covers(one) for command in found]
        shown = [example for command in covered if (example := example_below(command))]
        assert shown, "the document shows no output of it"
        for example in shown:
            assert not missing(example, said), f"{missing(example, said)} not in:\n{said}"


@pytest.mark.parametrize("text", ordered(Serve))
def test_what_serves_says_when_it_is_ready_and_ends_in_order(text: str, workplace: Workplace) -> None:
    (rule,) = rules_for(text)
    assert isinstance(rule, Serve)
    with workplace.serving(rule.as_run, rule.ready) as said:
        assert rule.ready in said


@pytest.mark.parametrize("text", ordered(InGate))
def test_the_gate_runs_it(text: str) -> None:
    (rule,) = rules_for(text)
    assert isinstance(rule, InGate)
    for step in rule.steps or (text,):
        assert runs(step), step


@pytest.mark.parametrize("text", ordered(ByTest))
def test_another_test_runs_it(text: str) -> None:
    (rule,) = rules_for(text)
    assert isinstance(rule, ByTest)
    file, _, name = rule.test.partition("::")
    assert f"\ndef {name}(" in (PROJECT / file).read_text(encoding="utf-8")
    assert runs(RUNNER.get(str(Path(file).parent), "make test")), "the gate does not run that test"


def example_below(command: Command) -> str | None:
    """Return the example of output in a command's section: the first block without a language below it."""
    name, _, line = command.where.rpartition(":")
    for token in MarkdownIt().parse(TEXTS[name]):
        if token.map is None or token.map[1] <= int(line):
            continue
        if token.type == "heading_open" and token.map[0] > int(line) - 1:
            return None
        if token.type == "fence" and not token.info:
            return token.content
    return None
