"""A read-through cache of recurring streams (/transactions/recurring/get), which a webhook invalidates.

An entry is served only under the number of the last invalidation that was read before its call of Plaid. So a webhook
that arrives while a call is in flight leaves no outdated entry: the call's is stored under a number that is over.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.domain import exact_json
from plaid_sync.domain.errors import TransientError
from plaid_sync.domain.item import StateName
from plaid_sync.items_api.ports import CachedResponse

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from plaid_sync.domain.clock import Clock
    from plaid_sync.domain.item import Item
    from plaid_sync.items_api.ports import PlaidResponse, ResponseCache

_NOT_SERVED: Final = frozenset({StateName.NEEDS_USER, StateName.REVOKED})
"""States in which only Plaid's own response counts: an error, as a rule."""


@dataclass(frozen=True, slots=True)
class RecurringStreams:
    """Serves stored responses, and stores those of Plaid.

    Attributes:
        max_age: how long a response is served; zero: none is stored or served.
    """

    cache: ResponseCache
    clock: Clock
    max_age: timedelta

    def serve(
        self, item: Item, request: dict[str, Any], fetch: Callable[[], PlaidResponse], *, fresh: bool
    ) -> PlaidResponse:
        """Return the stored response to a request, or else Plaid's.

        Args:
            item: the Item, live.
            request: the fields of Plaid's request.
            fetch: calls Plaid.
            fresh: whether Plaid is called in any case.
        """
        if not self.max_age or item.state.name in _NOT_SERVED:
            return fetch()
        try:
            invalidation, found = self.cache.look_up(item.item_id)
        except TransientError:
            return fetch()
        began_at, digest = self.clock.now(), _digest(item, request)
        if not fresh and found is not None and (found.digest, found.invalidation) == (digest, invalidation):
            age = began_at - found.fetched_at
            if age < self.max_age:
                return replace(found.response, age_seconds=max(0, int(age.total_seconds())))
        response = fetch()
        if response.code is None and response.request_id:  # a proxy's page has no id
            entry = CachedResponse(digest, invalidation, began_at, response)
            with suppress(TransientError):
                self.cache.store(item.item_id, entry, began_at + self.max_age)
        return response


def _digest(item: Item, request: dict[str, Any]) -> str:
    """Return what a response depends on: the request, and the accounts that are no longer shared, or were erased."""
    document = exact_json.dumps([request, sorted(item.account_states.all)], ascii_only=True)
    return hashlib.sha256(document.encode()).hexdigest()
