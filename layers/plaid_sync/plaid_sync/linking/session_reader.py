"""Reads link sessions: the user of a link token, and the results of its session at Plaid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from plaid_sync.domain.errors import InvalidRequestError, PlaidError, Refusal, RefusedError
from plaid_sync.linking.sessions import AddedItem, LinkResults, ListedResults, UpdateMode, session_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from plaid_sync.domain.clock import Clock
    from plaid_sync.domain.item import ItemId
    from plaid_sync.linking.ports import Links, PlaidLink
    from plaid_sync.linking.sessions import LinkSession

_MAX_TRIES: Final = 3
_PAUSE_SECONDS: Final = 0.5
_RETRY_AFTER_SECONDS: Final = 2
_UNKNOWN_AT_PLAID: Final = "INVALID_LINK_TOKEN"
RESULTS_UNAVAILABLE: Final = "link_session_not_finished"
"""Code of the refusal of a session whose results Plaid does not have, or no longer has."""


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

    def added(self, session: LinkSession, link_token: str, public_token: str | None, *, proven: bool) -> AddedItem:
        """Return the connection with this public token, or the session's only one, with what Plaid lists of it.

        Plaid lists the results of Hosted Link and of multi-Item sessions for every client, and those of other sessions
        if it enabled the client for that. Otherwise the public token is all that is known before the exchange, and the
        session proves the user.

        Args:
            session: the session.
            link_token: its link token.
            public_token: None for the session's only one.
            proven: Plaid itself sent the public token as this session's.

        Raises:
            RefusedError: the session is not finished, or the public token is not one of its own.
            InvalidRequestError: the session has several connections, and the request has no public token.
        """
        if public_token is None:
            return self._only(self._results(link_token, lambda found: bool(found.added)))
        results = self._results(
            link_token, lambda found: (found.finished and not found.added) or found.of(public_token) is not None
        )
        added = results.of(public_token)
        if added is not None:
            return _listed(added, results)
        if not proven:
            if results.added:
                raise public_token_error("the public token is not one of this link session's")
            if session.hosted or session.multi_item:
                raise _not_finished_error()
        listed = ListedResults.PARTIAL if results.finished else ListedResults.ABSENT
        return AddedItem(public_token, proven=proven, listed=listed, request_id=results.request_id)

    def lists(self, link_token: str, public_token: str | None) -> bool:
        """Return whether Plaid lists a connection with institution and accounts already: this one, or any."""
        results = self.plaid.link_results(link_token)
        listed = [added for added in results.added if public_token in {None, added.public_token}]
        return any(added.is_complete for added in listed)

    def _only(self, results: LinkResults) -> AddedItem:
        if not results.added:
            raise _not_finished_error()
        if len(results.added) > 1:
            raise InvalidRequestError("public_token", "several Items; specify public_token, one request for each")
        return _listed(results.added[0], results)

    def update_mode(self, link_token: str, item_id: ItemId) -> UpdateMode:
        """Return an update mode that the application reports as finished.

        Where Plaid does not list when it ended, the application's word has to do.

        Raises:
            RefusedError: it is another Item's, or Plaid lists that it is not finished.
        """
        session = self.find(link_token)
        if session.item_id != item_id:
            raise RefusedError(
                Refusal.FORBIDDEN,
                "link_session_of_another_item",
                "the link token was not created for this Item's update mode",
                {"fix": "send the one that POST /link-tokens returned for this item_id", "field": "link_token"},
            )
        results = self._results(link_token, lambda found: found.finished)
        if not results.finished and (results.left or session.hosted):
            raise _not_finished_error()
        return UpdateMode(session.created_at, results.finished_at, results.request_id)

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
            return LinkResults(request_id=error.request_id)
        return results


def _listed(added: AddedItem, results: LinkResults) -> AddedItem:
    listed = ListedResults.FULL if added.is_complete else ListedResults.PARTIAL
    return replace(added, proven=True, listed=listed, request_id=results.request_id)


def public_token_error(detail: str) -> RefusedError:
    """Return the refusal of a public token of another session."""
    members = {"fix": "send it with the link token that its Link was opened with", "field": "public_token"}
    return RefusedError(Refusal.FORBIDDEN, "public_token_of_another_session", detail, members)


def _unknown_error() -> RefusedError:
    members = {"fix": "create a link token with POST /link-tokens, and run Link with it", "field": "link_token"}
    return RefusedError(Refusal.NOT_FOUND, "link_session_unknown", "unknown or expired link token", members)


def _not_finished_error() -> RefusedError:
    fix = "send the same request again after Link reports success, with the public token that Link returned, if any"
    members = {"fix": fix, "field": "link_token"}
    detail = "the user has not finished Link, or left it"
    return RefusedError(Refusal.CONFLICT, RESULTS_UNAVAILABLE, detail, members, _RETRY_AFTER_SECONDS)
