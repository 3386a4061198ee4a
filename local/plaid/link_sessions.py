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
from local.plaid.wire import entity_id, timestamp, uuid4

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

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
            token = LinkToken(name, now, expires_at, options, config, item_id, hosted_url)
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
        (`deselect`). It clears ADDITIONAL_CONSENT_REQUIRED only with `additional_consented_products`. A multi-Item
        session stays open until `finish_link`.
        """
        with self.lock:
            token = self._valid_token(link_token)
            if (new_account or deselect) and (token.item_id is None or not token.config.account_selection):
                raise ValueError("only update mode with account_selection_enabled lets the user select accounts")
            if token.item_id is not None:
                self._update(token, self.items[token.item_id], deselect, new_account=new_account)
                self._finish_session(token)
                return None
            options = replace(
                token.options,
                institution_id=institution_id or token.options.institution_id,
                login=login or token.options.login,
            )
            return self._add_item(token, options)

    def finish_link(self, link_token: str) -> None:
        """Finish the session of a multi-Item link token, in which `complete_link` only adds an Item."""
        with self.lock:
            self._finish_session(self._valid_token(link_token))

    def leave_link(self, link_token: str, error_code: str | None = None) -> None:
        """Leave Link as the user; a multi-Item session to which Items were added is finished instead."""
        with self.lock:
            token = self._valid_token(link_token)
            session = self._open_session(token)
            session.exited = not session.added
            session.error_code = error_code if session.exited else None
            self._finish_session(token)

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

    def _open_session(self, token: LinkToken) -> LinkSession:
        """Return the session that is not finished yet, or start one."""
        unfinished = [session for session in token.sessions if session.finished_at is None]
        return unfinished[-1] if unfinished else self._start_session(token)

    def _finish_session(self, token: LinkToken) -> None:
        session = self._open_session(token)
        session.finished_at = self.clock()
        if token.is_complete or self.behavior.link_webhooks_always:
            added = [item["public_token"] for item in session.added]
            tokens: JsonObject = {"public_tokens": added} if added else {}
            if token.config.user_id:
                tokens["user_id"] = token.config.user_id
            status = "EXITED" if session.exited else "SUCCESS"
            self.emit_link(token, session, "SESSION_FINISHED", status=status, **tokens)
        if token.config.hosted or self.behavior.link_webhooks_always:
            self.emit_link(token, session, "EVENTS", events=session_events(session))

    def _add_item(self, token: LinkToken, options: ItemOptions) -> str:
        session = self._open_session(token)
        public_token = self.create_public_token_with(options)
        item = self.public_tokens[public_token].item
        if token.config.account_filters is not None:
            item.generator.keep_accounts(token.config.account_filters)
        session.added.append(_item_add_result(public_token, item))
        if token.is_complete or self.behavior.link_webhooks_always:
            self.emit_link(token, session, "ITEM_ADD_RESULT", public_token=public_token)
        if not token.config.multi_item:
            self._finish_session(token)
        return public_token

    def _update(self, token: LinkToken, item: Item, deselect: Collection[str], *, new_account: bool) -> None:
        if item.removed:
            raise PlaidError("ITEM_NOT_FOUND")
        if new_account:
            item.generator.open_account()
        if deselect:
            self.deselect_accounts(item, deselect)
        if item.error_code != "ADDITIONAL_CONSENT_REQUIRED" or token.config.consented_products:
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


def session_events(session: LinkSession) -> list[JsonObject]:
    """Return the events of a session, oldest first."""
    events = [_event(session, "OPEN", session.started_at)]
    if session.exited and session.finished_at:
        events.append(_event(session, "EXIT", session.finished_at, **_exit_fields(session)))
    elif session.finished_at:
        institution = session.added[-1]["institution"] if session.added else {}
        named = {"institution_" + name.removeprefix("institution_"): value for name, value in institution.items()}
        events.append(_event(session, "HANDOFF", session.finished_at, **named))
    return events


def _exit_fields(session: LinkSession) -> JsonObject:
    status = {"exit_status": "requires_credentials"}
    if session.error_code is None:
        return status
    error = PlaidError(session.error_code).webhook_body()
    return {**status, **{name: error[name] for name in ("error_code", "error_message", "error_type")}}


def _event(session: LinkSession, name: str, moment: datetime, **metadata: object) -> JsonObject:
    return {
        "event_id": event_id(session, name),
        "event_metadata": {"request_id": event_id(session, f"request {name}"), **metadata},
        "event_name": name,
        "timestamp": timestamp(moment),
    }


def event_id(session: LinkSession, name: str) -> str:
    """Return the id of an event of a session, the same on every call."""
    return str(uuid.uuid5(uuid.UUID(session.session_id), name))
