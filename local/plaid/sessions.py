"""Link: tokens that open it, and what users do in it."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from local.plaid import identifiers, vocabulary
from local.plaid.accounts import AccountOperations
from local.plaid.errors import PlaidError
from local.plaid.health import HealthOperations
from local.plaid.items import LinkForm, LinkSession, LinkToken
from local.plaid.linking import LinkOperations

if TYPE_CHECKING:
    from local.plaid.items import Item, LinkOptions
    from local.plaid.wire import JsonObject

_LIFE = timedelta(hours=4)
_SHORT_LIFE = timedelta(minutes=30)  # in update mode, and where Plaid hosts the page


class LinkSessionOperations(LinkOperations, AccountOperations, HealthOperations):
    """The client's side of Link (tokens), and the user's."""

    def create_link_token(
        self, options: LinkOptions, item_id: str | None = None, form: LinkForm | None = None
    ) -> tuple[str, LinkToken]:
        """Create a link token; with an Item, one for update mode."""
        with self.lock:
            form = form or LinkForm()
            name = f"link-{self.behaviour.environment}-{identifiers.uuid4(self._ids)}"
            now = self.clock()
            life = _SHORT_LIFE if item_id is not None or form.hosted else _LIFE
            expires_at = now + (timedelta(seconds=form.lifetime) if form.lifetime else life)
            hosted_url = f"https://secure.plaid.com/hl/{identifiers.entity_id(self._ids)}" if form.hosted else None
            token = LinkToken(now, expires_at, options, form, item_id, hosted_url)
            self.link_tokens[name] = token
            return name, token

    def open_link(self, link_token: str) -> str:
        """Open Link as the user does; return the id of the session, which `complete_link` or `leave_link` ends.

        Raises:
            PlaidError: the link token is unknown or has expired.
        """
        with self.lock:
            return self._begin_session(self._open_token(link_token)).session_id

    def complete_link(
        self, link_token: str, *, bank: str | None = None, login: str | None = None, new_account: bool = False
    ) -> str | None:
        """Do what the user does in Link; return a public token, or None after update mode.

        For a new Item, `bank` is its `institution_id` and `login` the user's login there (see `LinkOptions`). Update
        mode ends the Item's error and renews a consent that can run out; `new_account` then also shares another
        account, if the client enabled account selection.

        Raises:
            PlaidError: the link token is unknown or has expired, or its Item is gone.
            ValueError: Link shows the user no such choice.
        """
        with self.lock:
            token = self._open_token(link_token)
            if new_account and (token.item_id is None or not token.form.account_selection):
                raise ValueError("only update mode with account_selection_enabled lets the user add an account")
            if token.item_id is not None:
                self._update(self.items[token.item_id], new_account=new_account)
                self._end_session(token)
                return None
            known = token.options
            options = replace(known, institution_id=bank or known.institution_id, login=login or known.login)
            public_token = self._public_token(options)
            self._end_session(token).added = _added(public_token, self.public_tokens[public_token].item)
            return public_token

    def leave_link(self, link_token: str, error_code: str | None = None) -> None:
        """Leave Link without finishing, because of an error if there is one.

        Raises:
            PlaidError: the link token is unknown or has expired.
        """
        with self.lock:
            session = self._end_session(self._open_token(link_token))
            session.left = True
            session.error_code = error_code

    def link_token(self, link_token: str) -> LinkToken:
        """Return what is known about a link token, even if it has expired.

        Raises:
            PlaidError: it is unknown.
        """
        with self.lock:
            if link_token not in self.link_tokens:
                raise PlaidError("INVALID_LINK_TOKEN")
            return self.link_tokens[link_token]

    def _open_token(self, link_token: str) -> LinkToken:
        token = self.link_token(link_token)
        if token.expires_at <= self.clock():
            raise PlaidError("INVALID_LINK_TOKEN")
        return token

    def _begin_session(self, token: LinkToken) -> LinkSession:
        session = LinkSession(identifiers.uuid4(self._session_ids), self.clock())
        token.sessions.append(session)
        return session

    def _end_session(self, token: LinkToken) -> LinkSession:
        """End the session that is open; a user who is not in Link goes there first."""
        opened = [session for session in token.sessions if session.finished_at is None]
        session = opened[-1] if opened else self._begin_session(token)
        session.finished_at = self.clock()
        return session

    def _update(self, item: Item, *, new_account: bool) -> None:
        if item.removed:
            raise PlaidError("ITEM_NOT_FOUND")
        self.renew(item)
        if new_account:
            item.generator.open_account()


def _added(public_token: str, item: Item) -> JsonObject:
    institution_id = item.options.institution_id
    return {
        "accounts": [_account(account) for account in item.generator.accounts],
        "institution": {"institution_id": institution_id, "name": vocabulary.institution_name(institution_id)},
        "public_token": public_token,
    }


def _account(account: JsonObject) -> JsonObject:
    return {
        "class_type": None,
        "id": account["account_id"],
        **{field: account[field] for field in ("mask", "name", "subtype", "type")},
        "verification_status": None,
    }


def event_id(session: LinkSession, name: str) -> str:
    """Return the id of one event of a session, the same whenever it is asked for."""
    return str(uuid.uuid5(uuid.UUID(session.session_id), name))
