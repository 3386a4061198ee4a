"""docs/items.md shows the table of states and the codes as they are in the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plaid_sync.core.error_codes import CODES_BY_CLASS, FailureClass, Remedy, remedy_of
from plaid_sync.core.items import ItemStatus
from plaid_sync.core.lifecycle.states import TABLE, Action, Announcement, Event

if TYPE_CHECKING:
    from collections.abc import Iterable

DOCUMENT: Final = (Path(__file__).parents[3] / "docs" / "items.md").read_text()


def states_table() -> str:
    """The table of `core.lifecycle.states`: a row an event, a column a state."""
    head = ["event", *(status.value for status in ItemStatus)]
    rows = [[f"`{event.value}`", *(cell(status, event) for status in ItemStatus)] for event in Event]
    return markdown([head, *rows])


def cell(status: ItemStatus, event: Event) -> str:
    step = TABLE[status, event]
    state = f"**{step.state.value}**" if step.state is not status else ""
    action = step.action.value if step.action is not Action.NONE else ""
    announcement = step.announcement.value if step.announcement else ""
    return ", ".join(filter(None, (state, action, announcement))) or "-"


def codes_table() -> str:
    """The table of `core.error_codes`: a row a class."""
    rows = [[f"`{kind.value}`", " ".join(map(code_and_remedy, CODES_BY_CLASS[kind]))] for kind in FailureClass]
    return markdown([["class", "codes"], *rows])


def code_and_remedy(code: str) -> str:
    remedy = remedy_of(code)
    return f"`{code}` ({remedy.value})" if remedy is Remedy.BANK_THEN_UPDATE_MODE else f"`{code}`"


def markdown(rows: Iterable[list[str]]) -> str:
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, "|---" * head.count(" | ") + "|---|", *body])


def section(name: str) -> str:
    """The table between two markers."""
    found = re.search(rf"<!-- {name} -->\n(.*?)\n<!-- end -->", DOCUMENT, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_document_shows_every_state_and_event() -> None:
    assert section("states") == states_table()


def test_the_document_shows_every_code() -> None:
    assert section("codes") == codes_table()


def test_the_document_explains_every_state_action_announcement_and_remedy() -> None:
    explained = set(re.findall(r"^\| `(\w+)` \|", DOCUMENT, re.MULTILINE))
    words = {member.value for vocabulary in (ItemStatus, Action, Announcement, Remedy) for member in vocabulary}
    assert words - {Action.NONE.value} <= explained
