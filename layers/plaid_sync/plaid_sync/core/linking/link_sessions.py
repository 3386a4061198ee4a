"""Link sessions: who asked for a link token, and what came of it.

A public token completes only for the user that its link token was made for: /link/token/get names the public tokens of
a session (https://plaid.com/docs/api/link/#linktokenget), and the session is stored with the user's reference.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.core import exact_json
from plaid_sync.core.failures import ContractBrokenError
from plaid_sync.core.plain_text import is_plain, moment_or_none, plain_or_empty
from plaid_sync.core.sync.accounts import parse_accounts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from plaid_sync.core.items import Account, ItemId

SESSION_KEPT: Final = timedelta(days=1)
"""How long a session is kept after its link token has expired: Plaid tells of it for six hours after its end."""
LINK_TOKEN_LIFE: Final = timedelta(hours=4)
"""How long a link token lives where Plaid's answer does not say."""
_LONGEST_TOKEN: Final = 512
_MOST_SESSIONS: Final = 100
_MOST_RESULTS: Final = 100


@dataclass(frozen=True, slots=True)
class LinkSession:
    """What is stored of a link token.

    Attributes:
        key: the digest that it is stored under.
        client_user_id: the caller's reference of the user that it was made for.
        item_id: the Item whose update mode it opens; None for a new link.
        days_requested: days of history that were asked for; None in update mode.
        expires_at: when it is forgotten.
        link_id: digest of the public token that it led to, where the caller was given none (Hosted Link).
    """

    key: str
    client_user_id: str
    item_id: ItemId | None
    days_requested: int | None
    expires_at: datetime
    link_id: str | None = None


@dataclass(frozen=True, slots=True)
class AddedItem:
    """A bank connection that the user has made in Link, not yet exchanged.

    Attributes:
        institution_id: the bank, where Plaid names one.
        accounts: those that the user shares.
    """

    public_token: str = field(repr=False)
    institution_id: str | None = None
    accounts: tuple[Account, ...] = ()


@dataclass(frozen=True, slots=True)
class LinkResults:
    """What came of a link token so far; the user can open Link with it again.

    Attributes:
        added: the bank connections that were made.
        finished: at least one session has ended, and not by leaving Link.
        request_id: Plaid's id of the call; empty where there was none.
        finished_at: when the last of those sessions ended; None where that can't be read.
    """

    added: tuple[AddedItem, ...] = ()
    finished: bool = False
    request_id: str = ""
    finished_at: datetime | None = None

    def of(self, public_token: str) -> AddedItem | None:
        """Return the connection with this public token."""
        return next((added for added in self.added if added.public_token == public_token), None)


def session_key(link_token: str) -> str:
    """Return what the session of a link token is stored under."""
    return f"session#{hashlib.sha256(link_token.encode()).hexdigest()}"


def parse_link_results(document: bytes) -> LinkResults:
    """Parse the body of a /link/token/get answer, with its newer (`results`) and its deprecated (`on_success`) fields.

    Raises:
        InvalidJsonError: it is not JSON.
        ContractBrokenError: it is not an object.
    """
    answer = exact_json.loads(document)
    if not isinstance(answer, dict):
        raise ContractBrokenError("body")
    sessions = [one for one in _entries(answer.get("link_sessions"), _MOST_SESSIONS) if isinstance(one, dict)]
    added = {one.public_token: one for session in sessions for one in _added(session)}
    finished = [session for session in sessions if _is_finished(session)]
    ends = [moment for session in finished if (moment := moment_or_none(session.get("finished_at"))) is not None]
    return LinkResults(
        added=tuple(added.values()),
        finished=bool(finished),
        request_id=plain_or_empty(answer.get("request_id")),
        finished_at=max(ends, default=None),
    )


def _is_finished(session: dict[str, Any]) -> bool:
    left = session.get("exit") is not None or session.get("on_exit") is not None
    return session.get("finished_at") is not None and not left


def _added(session: dict[str, Any]) -> Iterator[AddedItem]:
    success = session.get("on_success")
    if isinstance(success, dict):
        metadata = success.get("metadata")
        yield from _one(success.get("public_token"), metadata if isinstance(metadata, dict) else {})
    results = session.get("results")
    if isinstance(results, dict):
        for result in _entries(results.get("item_add_results"), _MOST_RESULTS):
            if isinstance(result, dict):
                yield from _one(result.get("public_token"), result)


def _one(public_token: object, told: dict[str, Any]) -> Iterator[AddedItem]:
    """Yield the connection, if it has a public token; both forms name bank and accounts alike."""
    if not is_plain(public_token, _LONGEST_TOKEN):
        return
    institution = told.get("institution")
    institution_id = institution.get("institution_id") if isinstance(institution, dict) else None
    known = institution_id if is_plain(institution_id) else None
    yield AddedItem(public_token, known, parse_accounts(told.get("accounts"), id_field="id"))


def _entries(value: object, most: int) -> list[Any]:
    return value[:most] if isinstance(value, list) else []
