"""Steps in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.model.plaid import PageAnswer, Refusal
from tests.model.state import GONE, IDS, LOADED

if TYPE_CHECKING:
    from tests.model.calls import Written
    from tests.model.state import Worker


def name_of(worker: Worker) -> str:
    if worker.generation > 0:
        return f"attempt {worker.generation}"
    return "a worker that has loaded the Item" if worker.generation == LOADED else "a worker"


def verb_of(before: int, after: int) -> str:
    if after == GONE:
        return "is removed"
    return f"is {'added' if before == GONE else 'modified'} (content {after})"


def told_of(answer: PageAnswer | Refusal) -> str:
    if isinstance(answer, Refusal):
        return answer.code
    if answer.next_cursor is None:
        return "nothing is ready"
    change = f"{answer.kind} {IDS[answer.change.key]}={answer.change.value or 'removed'}" if answer.kind else "nothing"
    return f"{change}, {'more at' if answer.has_more else 'final cursor'} {answer.next_cursor}"


def fate_of(written: Written) -> str:
    return f": refused, {written.refused}" if written.refused else ""
