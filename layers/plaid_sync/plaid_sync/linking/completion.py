"""Completes link sessions that Plaid's webhooks report as finished, without the application."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.domain.errors import FailureClass, PlaidError, PlaidSyncError, RefusedError, TransientError
from plaid_sync.domain.text import is_token
from plaid_sync.linking.requests import LinkRequest
from plaid_sync.linking.sessions import link_id_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plaid_sync.domain.item import ItemId
    from plaid_sync.domain.requests import RequestContext
    from plaid_sync.linking.service import Linker
    from plaid_sync.linking.session_reader import SessionReader
    from plaid_sync.linking.sessions import LinkSession

_LEFT_TO_APPLICATION: Final = "left_to_application"
_EVENT: Final = "finished_link_session"
_PASSING: Final = frozenset({FailureClass.TRANSIENT, FailureClass.THROTTLED, FailureClass.INSTITUTION_DOWN})


@dataclass(frozen=True, slots=True)
class FinishedSession:
    """A session that Plaid's verified webhook reports as finished.

    Attributes:
        link_token: its link token.
        public_tokens: those that the webhook names; empty in update mode.
        correlation_id: the id of the webhook's request; empty where there was none.
        ended: whether the session ended; else a webhook reports that follows.
    """

    link_token: str
    public_tokens: tuple[str, ...]
    correlation_id: str = ""
    ended: bool = True


@dataclass(frozen=True, slots=True)
class Completion:
    """What became of a finished session.

    Attributes:
        item_ids: the Items that are linked, or whose update mode is finished.
        failures: why others are not.
        linked: how many of the Items were not linked before; of two completions at once, both may count one.
        update_mode: whether it is one of update mode.
        left_to_application: whether the application completes the session.
        client_user_id: the application's reference of its user; None where there is no such session.
    """

    item_ids: tuple[ItemId, ...] = ()
    failures: tuple[PlaidSyncError, ...] = ()
    linked: int = 0
    update_mode: bool = False
    left_to_application: bool = False
    client_user_id: str | None = None

    @property
    def retry(self) -> bool:
        """Whether the same webhook can have another result later."""
        return any(map(_passes, self.failures))

    @property
    def code(self) -> str | None:
        """Why it is not complete."""
        codes = (str(getattr(error, "code", type(error).__name__)) for error in self.failures)
        return next(codes, _LEFT_TO_APPLICATION if self.left_to_application else None)


@dataclass(frozen=True, slots=True)
class SessionCompleter:
    """Completes sessions; idempotent.

    Attributes:
        finish_update_mode: records that the user finished the update mode of an Item.
    """

    linker: Linker
    sessions: SessionReader
    finish_update_mode: Callable[[ItemId, str, RequestContext], object]

    def complete(self, finished: FinishedSession, context: RequestContext) -> Completion:
        """Link everything that the session led to, unless the application does.

        It does where Link returns a public token to it: what it then requests is the first word on that token.
        """
        item_ids: dict[ItemId, bool] = {}
        failures: list[PlaidSyncError] = []
        try:
            session = self.sessions.find(finished.link_token)
        except PlaidSyncError as error:
            return Completion(failures=(error,))
        if session.item_id is None and not session.hosted and not session.multi_item:
            return Completion(left_to_application=True, client_user_id=session.client_user_id)
        for step in self._steps(finished, session, context):
            try:
                item_ids |= step()
            except PlaidSyncError as error:
                failures.append(error)
        return Completion(
            tuple(item_ids),
            tuple(failures),
            linked=sum(item_ids.values()),
            update_mode=session.item_id is not None,
            client_user_id=session.client_user_id,
        )

    def _steps(
        self, finished: FinishedSession, session: LinkSession, context: RequestContext
    ) -> Iterator[Callable[[], dict[ItemId, bool]]]:
        """Yield steps, each of which returns the Items that it is about, and whether they are new."""
        item_id = session.item_id
        if item_id is not None:
            yield lambda: self._finish(item_id, finished.link_token, context)
            return
        for public_token in finished.public_tokens or (None,):
            request = LinkRequest(public_token, finished.link_token, session.client_user_id, proven=True)
            yield lambda request=request: self._link(request, finished, session, context)  # type: ignore[misc] # bound

    def _finish(self, item_id: ItemId, link_token: str, context: RequestContext) -> dict[ItemId, bool]:
        self.finish_update_mode(item_id, link_token, context)
        return {item_id: False}

    def _link(
        self, request: LinkRequest, finished: FinishedSession, session: LinkSession, context: RequestContext
    ) -> dict[ItemId, bool]:
        """Link one Item; before the session's end only where a duplicate shows before the exchange."""
        if not finished.ended and not self.sessions.lists(finished.link_token, request.public_token):
            return {}
        link_id = session.link_id if request.public_token is None else link_id_of(request.public_token)
        is_new = link_id is None or self.linker.index.id_by_link(link_id) is None
        return {self.linker.link(request, context): is_new}


def parse_finished_session(event: dict[str, Any]) -> FinishedSession | None:
    """Parse an event of the webhook function; None for an event of API Gateway, which wraps what callers send."""
    session = event.get(_EVENT)
    if "requestContext" in event or not isinstance(session, dict):
        return None
    public_tokens = tuple(token for token in session["public_tokens"] if is_token(token))
    correlation_id, ended = str(event.get("correlation_id", "")), bool(session.get("ended", True))
    return FinishedSession(str(session["link_token"]), public_tokens, correlation_id, ended)


def _passes(error: PlaidSyncError) -> bool:
    if isinstance(error, PlaidError):
        return error.failure_class in _PASSING
    # A session whose results Plaid lists a moment later.
    return isinstance(error, TransientError) or (isinstance(error, RefusedError) and error.retry_after is not None)
