"""Waiting for a pull that began after a request.

No clocks are compared: the API's and the workers' can disagree. What proves that a pull began after the request is the
order of writes on the Item: a commit counts if no attempt of before the request could still make it, and if its pull
does not continue one that had begun.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

    from plaid_sync.domain.item import Item

MAX_WAIT_SECONDS: Final = 20
"""API Gateway ends a request after 30 seconds, and the response shows Plaid's bank status, which can take five."""
POLL_SECONDS: Final = 0.5


@dataclass(slots=True)
class PullWatch:
    """Watches an Item since a request.

    Attributes:
        before: the Item as the request found it.
    """

    before: Item
    _older_pulls: set[datetime | None] = field(init=False)
    _is_certain: bool = field(init=False)

    def __post_init__(self) -> None:
        self._older_pulls = _pulls_of(self.before)
        self._is_certain = self.before.unfinished_attempts == 0

    def is_committed(self, item: Item) -> bool:
        """Return whether a pull that began after the request has committed, as the Item shows it now."""
        is_later_attempt = item.attempt_id != self.before.attempt_id
        is_concluded = item.unfinished_attempts == 0 and item.failure is None
        if self._is_certain and is_later_attempt and is_concluded and item.pull_began_at not in self._older_pulls:
            return True
        if not self._is_certain or not is_later_attempt:
            # The attempt of before the request may have committed this one.
            self._older_pulls |= _pulls_of(item)
        # The claim of a later attempt ends what earlier ones could write.
        self._is_certain = self._is_certain or is_later_attempt or item.unfinished_attempts == 0
        return False


def _pulls_of(item: Item) -> set[datetime | None]:
    """Return when the pulls began that have committed, or that an attempt can continue."""
    return {item.pull_began_at} | ({item.checkpoint.began_at} if item.checkpoint is not None else set())
