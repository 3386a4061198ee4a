"""Reads link sessions: whose a link token is, and what came of it at Plaid."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from plaid_sync.core.failures import PlaidError
from plaid_sync.core.items_api.requests import InvalidRequestError, RefusedError
from plaid_sync.core.linking.link_sessions import LinkResults, LinkSession, session_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from plaid_sync.core.linking.link_sessions import AddedItem
    from plaid_sync.ports.common import Clock
    from plaid_sync.ports.items_api import Links, PlaidLink

_TRIES: Final = 3
_PAUSE_SECONDS: Final = 0.5
_RETRY_AFTER_SECONDS: Final = 2
_UNKNOWN_AT_PLAID: Final = "INVALID_LINK_TOKEN"
FORGOTTEN: Final = frozenset({"link_session_unknown", "link_session_not_finished"})
"""How a session is refused that Plaid tells nothing of (any more)."""


@dataclass(frozen=True, slots=True)
class SessionReader:
    """Finds sessions and their results.

    Attributes:
        pause: waits so many seconds.
    """

    links: Links
    plaid: PlaidLink
    clock: Clock
    pause: Callable[[float], None]

    def find(self, link_token: str) -> LinkSession:
        """Return the session of a link token.

        Raises:
            RefusedError: this stack has created no such link token, or it is forgotten.
        """
        session = self.links.session(session_key(link_token), self.clock())
        if session is None:
            raise _unknown()
        return session

    def added(self, link_token: str, public_token: str | None) -> tuple[AddedItem, str]:
        """Return the connection with this public token, or the session's only one, and Plaid's id of the call.

        Raises:
            RefusedError: the session is not finished, or the public token is not one of its own.
            InvalidRequestError: there are several connections, and none is named.
        """
        results = self._results(
            link_token, lambda found: bool(found.added if public_token is None else found.of(public_token))
        )
        if not results.added:
            raise _not_finished()
        if public_token is not None:
            added = results.of(public_token)
            if added is None:
                raise RefusedError(
                    HTTPStatus.FORBIDDEN,
                    "public_token_of_another_session",
                    "the public token is not one of this link session's",
                    {"fix": "send it with the link token that its Link was opened with", "field": "public_token"},
                )
            return added, results.request_id
        if len(results.added) > 1:
            raise InvalidRequestError("public_token", "the session has several: name one, and send each by itself")
        return results.added[0], results.request_id

    def require_finished(self, link_token: str) -> LinkResults:
        """Return what came of a session that the user has finished, and not left.

        Raises:
            RefusedError: the session is not finished.
        """
        results = self._results(link_token, lambda found: found.finished)
        if not results.finished:
            raise _not_finished()
        return results

    def _results(self, link_token: str, enough: Callable[[LinkResults], bool]) -> LinkResults:
        """Return the results as soon as they are there: Plaid can tell of a session a moment after Link has ended."""
        try:
            results = self.plaid.link_results(link_token)
            for _ in range(_TRIES - 1):
                if enough(results):
                    break
                self.pause(_PAUSE_SECONDS)
                results = self.plaid.link_results(link_token)
        except PlaidError as error:
            if error.code != _UNKNOWN_AT_PLAID:
                raise
            raise _unknown() from error
        return results


def _unknown() -> RefusedError:
    return RefusedError(
        HTTPStatus.NOT_FOUND,
        "link_session_unknown",
        "there is no session of this link token, or it is over for long",
        {"fix": "create a link token with POST /link-tokens, and run Link with it", "field": "link_token"},
    )


def _not_finished() -> RefusedError:
    return RefusedError(
        HTTPStatus.CONFLICT,
        "link_session_not_finished",
        "the user has not finished Link, or has left it",
        {"fix": "send the same request again when Link has told of success", "field": "link_token"},
        _RETRY_AFTER_SECONDS,
    )
