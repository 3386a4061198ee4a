"""The runbook has an entry for each alarm, and names nothing that does not exist."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tests.template.operations import COMMANDS, RUNBOOK, anchors, commands_in, slugs_of, widgets_of

if TYPE_CHECKING:
    from tests.template.cloudformation import Template

TARGETS: Final = {anchor for level in ("##", "###") for anchor in anchors(RUNBOOK, level)}
SHARED: Final = ("-errors", "-throttled", "-slow")
"""What the alarms of all functions have in common is said once, above them."""


def entries() -> dict[str, str]:
    """The text under each heading of the third level."""
    parts = re.split(r"^#{2,3} ", RUNBOOK, flags=re.MULTILINE)
    return {part.split("\n")[0]: part for part in parts[1:] if part.split("\n")[0] in anchors(RUNBOOK, "###")}


def test_each_alarm_has_its_heading_and_each_heading_its_alarm(alarms: Template) -> None:
    assert sorted(anchors(RUNBOOK, "###")) == sorted(slugs_of(alarms))


def test_each_entry_says_what_it_means_and_what_to_do() -> None:
    whole = ("**Means**", "**Confirm**", "**Causes**", "**Steps**", "**Clears**", "**Escalate**")
    for slug, text in entries().items():
        expected = whole[:1] if slug.endswith(SHARED) else whole
        assert [word for word in expected if f"- {word}: " not in text] == [], slug


def test_what_functions_have_in_common_is_said_above_them() -> None:
    for part in re.split(r"^## ", RUNBOOK, flags=re.MULTILINE):
        if part.startswith("A function"):
            said = set(re.findall(r"[*]{2}(\w+)[*]{2}", part.split("###")[0].lower()))
            assert {"confirm", "causes", "steps", "clears", "escalate"} <= said


def test_the_timeouts_are_those_of_the_functions(template: Template) -> None:
    for properties in template.functions.values():
        function = properties["FunctionName"]["Fn::Sub"].removeprefix("${AWS::StackName}-")
        seconds = properties["Timeout"]
        assert f"Timeout: {seconds} s." in entries()[f"{function}-errors"]
        assert f"{seconds * 8 // 10} s of {seconds}" in entries()[f"{function}-slow"]


def test_every_command_and_saved_query_exists(queries: Template) -> None:
    assert set(commands_in(RUNBOOK)) <= COMMANDS
    saved = {found["Properties"]["Name"]["Fn::Sub"].partition("/")[2] for found in queries.resources.values()}
    named = re.findall(r"[Ss]aved quer(?:y|ies) ((?:`[^`]+`(?:, | and )?)+)", RUNBOOK)
    assert {name for names in named for name in re.findall(r"`([^`]+)`", names)} <= saved


def test_every_link_into_the_runbook_leads_to_a_heading(dashboard: Template) -> None:
    linked = re.findall(r"\]\(#([\w-]+)\)", RUNBOOK)
    for widget in widgets_of(dashboard):
        linked += re.findall(r"\$\{RunbookUrl\}#([\w-]+)", str(widget.properties))
        assert set(commands_in(str(widget.properties))) <= COMMANDS
    assert set(linked) <= TARGETS
