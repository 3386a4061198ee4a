"""Reads link sessions: the user of a link token, and the results of its session at Plaid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from plaid_sync.domain.errors import InvalidRequestError, PlaidError, Refusal, RefusedError
from plaid_sync.linking.sessions import session_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from plaid_sync.domain.clock import Clock
    from plaid_sync.linking.ports import Links, PlaidLink
    from plaid_sync.linking.sessions import AddedItem, LinkResults, LinkSession

_MAX_TRIES: Final = 3
_PAUSE_SECONDS: Final = 0.5
_RETRY_AFTER_SECONDS: Final = 2
_UNKNOWN_AT_PLAID: Final = "INVALID_LINK_TOKEN"
RESULTS_UNAVAILABLE: Final = frozenset({"link_session_unknown", "link_session_not_finished"})
"""Codes of the refusals of a session whose results Plaid does not have, or no longer has."""


@dataclass(frozen=True, slots=True)
class SessionReader:
    """Finds sessions and their results."""

    links: Links
    plaid: PlaidLink
    clock: Clock

    def find(self, link_token: str) -> LinkSession:
        """Return the session of a link token.

        Raises:
            RefusedError: this stack did not create the link token, or its session has expired.
        """
        session = self.links.session(session_key(link_token), self.clock.now())
        if session is None:
            raise _unknown_error()
        return session

    def added(self, link_token: str, public_token: str | None) -> tuple[AddedItem, str]:
        """Return the connection with this public token, or the session's only one, and Plaid's id of the call.

        Raises:
            RefusedError: the session is not finished, or the public token is not one of its own.
            InvalidRequestError: the session has several connections, and the request has no public token.
        """
        results = self._results(
            link_token, lambda found: bool(found.added if public_token is None else found.of(public_token))
        )
        if not results.added:
            raise _not_finished_error()
        if public_token is None:
            if len(results.added) > 1:
                raise InvalidRequestError("public_token", "several Items; specify public_token, one request for each")
            return results.added[0], results.request_id
        added = results.of(public_token)
        if added is None:
            raise public_token_error("the public token is not one of this link session's")
        return added, results.request_id

    def require_finished(self, link_token: str) -> LinkResults:
        """Return the results of a session that the user finished, other than by leaving Link.

        Raises:
            RefusedError: the session is not finished.
        """
        results = self._results(link_token, lambda found: found.finished)
        if not results.finished:
            raise _not_finished_error()
        return results

    def _results(self, link_token: str, suffice: Callable[[LinkResults], bool]) -> LinkResults:
        """Return the results, retried if they do not suffice: Plaid can list them a moment after Link ended."""
        try:
            results = self.plaid.link_results(link_token)
            for _ in range(_MAX_TRIES - 1):
                if suffice(results):
                    break
                self.clock.sleep(_PAUSE_SECONDS)
                results = self.plaid.link_results(link_token)
        except PlaidError as error:
            if error.code != _UNKNOWN_AT_PLAID:
                raise
            raise _unknown_error() from error
        return results


def public_token_error(detail: str) -> RefusedError:
    """Return the refusal of a public token of another session."""
    members = {"fix": "send it with the link token that its Link was opened with", "field": "public_token"}
    return RefusedError(Refusal.FORBIDDEN, "public_token_of_another_session", detail, members)


def _unknown_error() -> RefusedError:
    members = {"fix": "create a link token with POST /link-tokens, and run Link with it", "field": "link_token"}
    return RefusedError(Refusal.NOT_FOUND, "link_session_unknown", "unknown or expired link token", members)


def _not_finished_error() -> RefusedError:
    members = {"fix": "send the same request again after Link reports success", "field": "link_token"}
    detail = "the user has not finished Link, or left it"
    return RefusedError(Refusal.CONFLICT, "link_session_not_finished", detail, members, _RETRY_AFTER_SECONDS)
