"""Link tokens and Link sessions: the client's side, and the user's actions in Link."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from local.plaid.account_operations import AccountOperations
from local.plaid.errors import PlaidError
from local.plaid.item_operations import ItemOperations
from local.plaid.items import LinkSession, LinkToken, LinkTokenConfig
from local.plaid.lifecycle import LifecycleOperations
from local.plaid.sample_data import institution_name
from local.plaid.wire import entity_id, uuid4

if TYPE_CHECKING:
    from collections.abc import Collection

    from local.plaid.items import Item, ItemOptions
    from local.plaid.wire import JsonObject

_LIFETIME = timedelta(hours=4)
_SHORT_LIFETIME = timedelta(minutes=30)  # in update mode, and for Hosted Link


class LinkSessionOperations(LifecycleOperations, ItemOperations, AccountOperations):
    """Creates link tokens, and plays the user in Link."""

    def create_link_token(
        self, options: ItemOptions, item_id: str | None = None, config: LinkTokenConfig | None = None
    ) -> tuple[str, LinkToken]:
        """Create a link token; with an Item, for update mode."""
        with self.lock:
            config = config or LinkTokenConfig()
            name = self.new_token("link")
            now = self.clock()
            lifetime = _SHORT_LIFETIME if item_id is not None or config.hosted else _LIFETIME
            expires_at = now + (timedelta(seconds=config.lifetime) if config.lifetime else lifetime)
            hosted_url = f"https://secure.plaid.com/hl/{entity_id(self._ids)}" if config.hosted else None
            token = LinkToken(now, expires_at, options, config, item_id, hosted_url)
            self.link_tokens[name] = token
            return name, token

    def open_link(self, link_token: str) -> str:
        """Open Link as the user; return the id of the session, which `complete_link` or `leave_link` finishes."""
        with self.lock:
            return self._start_session(self._valid_token(link_token)).session_id

    def complete_link(
        self,
        link_token: str,
        *,
        institution_id: str | None = None,
        login: str | None = None,
        new_account: bool = False,
        deselect: Collection[str] = (),
    ) -> str | None:
        """Complete Link as the user; return a public token, or None in update mode.

        For a new Item, `institution_id` and `login` choose the institution and the user's login there (see
        `ItemOptions`). Update mode clears the Item's error and extends a consent that can expire. If the client enabled
        account selection, the user also shares another account (`new_account`) and ends the sharing of some
        (`deselect`).
        """
        with self.lock:
            token = self._valid_token(link_token)
            if (new_account or deselect) and (token.item_id is None or not token.config.account_selection):
                raise ValueError("only update mode with account_selection_enabled lets the user select accounts")
            if token.item_id is not None:
                self._update(self.items[token.item_id], deselect, new_account=new_account)
                self._finish_session(token)
                return None
            options = replace(
                token.options,
                institution_id=institution_id or token.options.institution_id,
                login=login or token.options.login,
            )
            public_token = self.create_public_token_with(options)
            self._finish_session(token).added = _item_add_result(public_token, self.public_tokens[public_token].item)
            return public_token

    def leave_link(self, link_token: str, error_code: str | None = None) -> None:
        with self.lock:
            session = self._finish_session(self._valid_token(link_token))
            session.exited = True
            session.error_code = error_code

    def link_token(self, link_token: str) -> LinkToken:
        """Return the record of a link token, even if it has expired."""
        with self.lock:
            if link_token not in self.link_tokens:
                raise PlaidError("INVALID_LINK_TOKEN")
            return self.link_tokens[link_token]

    def _valid_token(self, link_token: str) -> LinkToken:
        token = self.link_token(link_token)
        if token.expires_at <= self.clock():
            raise PlaidError("INVALID_LINK_TOKEN")
        return token

    def _start_session(self, token: LinkToken) -> LinkSession:
        session = LinkSession(uuid4(self._session_ids), self.clock())
        token.sessions.append(session)
        return session

    def _finish_session(self, token: LinkToken) -> LinkSession:
        """Finish the open session; without one, start and finish a new one."""
        unfinished = [session for session in token.sessions if session.finished_at is None]
        session = unfinished[-1] if unfinished else self._start_session(token)
        session.finished_at = self.clock()
        return session

    def _update(self, item: Item, deselect: Collection[str], *, new_account: bool) -> None:
        if item.removed:
            raise PlaidError("ITEM_NOT_FOUND")
        if new_account:
            item.generator.open_account()
        self.deselect_accounts(item, deselect)
        self.complete_update_mode(item)


def _item_add_result(public_token: str, item: Item) -> JsonObject:
    institution_id = item.options.institution_id
    return {
        "accounts": [_account(account) for account in item.generator.accounts],
        "institution": {"institution_id": institution_id, "name": institution_name(institution_id)},
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
    """Return the id of an event of a session, the same on every call."""
    return str(uuid.uuid5(uuid.UUID(session.session_id), name))
