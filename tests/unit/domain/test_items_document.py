"""docs/items.md shows the transition table and the error codes as they are in the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plaid_sync.domain.budget import SHARES as CALL_SHARES
from plaid_sync.domain.errors import CODES_BY_CLASS, FailureClass, Remedy, remedy_for
from plaid_sync.domain.history import DetailType
from plaid_sync.domain.item import StateName
from plaid_sync.domain.schedule import RETRY_DELAYS
from plaid_sync.domain.transitions import TRANSITIONS, Action, EventType
from plaid_sync.sweep import SHARES

if TYPE_CHECKING:
    from collections.abc import Iterable

DOCUMENT: Final = (Path(__file__).parents[3] / "docs" / "items.md").read_text()


def states_table() -> str:
    head = ["event", *(name.value for name in StateName)]
    rows = [[f"`{event.value}`", *(cell(name, event) for name in StateName)] for event in EventType]
    return markdown([head, *rows])


def cell(name: StateName, event: EventType) -> str:
    step = TRANSITIONS[name, event]
    state = f"**{step.state}**" if step.state != name else ""
    action = step.action.value if step.action is not Action.NONE else ""
    published_event = step.published_event.value if step.published_event else ""
    return ", ".join(filter(None, (state, action, published_event))) or "-"


def codes_table() -> str:
    rows = [[f"`{kind.value}`", " ".join(map(code_and_remedy, CODES_BY_CLASS[kind]))] for kind in FailureClass]
    return markdown([["class", "codes"], *rows])


def code_and_remedy(code: str) -> str:
    remedy = remedy_for(code)
    return f"`{code}` ({remedy.value})" if remedy is Remedy.BANK_THEN_UPDATE_MODE else f"`{code}`"


def markdown(rows: Iterable[list[str]]) -> str:
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, "|---" * head.count(" | ") + "|---|", *body])


def section(name: str) -> str:
    found = re.search(rf"<!-- {name} -->\n(.*?)\n<!-- end -->", DOCUMENT, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_document_shows_every_state_and_event() -> None:
    assert section("states") == states_table()


def test_the_document_shows_every_code() -> None:
    assert section("codes") == codes_table()


def test_the_document_shows_the_delays_of_every_class_that_is_retried() -> None:
    rows = [[f"`{kind.value}`", *(f"{delay.seconds} s" for delay in delays)] for kind, delays in RETRY_DELAYS.items()]
    assert section("retries") == markdown([["class", "first after", "at most after"], *rows])


def test_the_document_shows_the_share_of_every_class_of_attempts() -> None:
    shown = re.findall(r"^\| `(\w+)` \| .* \| (\d+) % \|$", section("classes"), re.MULTILINE)
    assert shown == [(attempt_class.value, f"{share * 100:.0f}") for attempt_class, share in SHARES.items()]


def test_the_document_explains_every_state_action_event_and_remedy() -> None:
    explained = set(re.findall(r"^\| `(\w+)` \|", DOCUMENT, re.MULTILINE))
    words = {member.value for vocabulary in (StateName, Action, DetailType, Remedy) for member in vocabulary}
    assert words - {Action.NONE.value} <= explained


def test_the_document_shows_the_level_and_the_part_of_every_class_of_calls() -> None:
    rows = [line.split(" | ") for line in section("calls").splitlines()[2:]]
    shown = [(row[0].strip("| `"), row[2], row[3]) for row in rows]
    assert shown == [
        (name.value, f"{share.level:.0%}"[:-1] + " %", f"{share.own:.0%}"[:-1] + " %")
        for name, share in CALL_SHARES.items()
    ]
