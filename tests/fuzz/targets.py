"""The targets by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.fuzz.answers import AnswersTarget
from tests.fuzz.messages import MessagesTarget
from tests.fuzz.webhook import WebhookTarget

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fuzz.tally import Target

TARGETS: Final[dict[str, Callable[[], Target]]] = {
    "webhook": WebhookTarget,
    "messages": MessagesTarget,
    "answers": AnswersTarget,
}


def make(name: str) -> Target:
    """Return a new target."""
    return TARGETS[name]()
