"""Imports: an Item that another system linked moves in, with its access token, and without its user.

The other system has the Item until its webhooks are switched, and after that, too: nothing here ever removes it at
Plaid. It is registered first and its webhooks are switched then, so that no webhook meets an unknown Item; the sync
that follows the switch finds what the webhooks before it reported to the other system. A request that died in between
is continued by the same request, sent again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.domain.accounts import bounded
from plaid_sync.domain.claims import claim_keys, digest
from plaid_sync.domain.errors import (
    DEAD_TOKEN,
    ITEM_MODIFIED,
    FailureClass,
    InvalidRequestError,
    PlaidError,
    Refusal,
    RefusedError,
    TransientError,
)
from plaid_sync.domain.history import DetailType
from plaid_sync.domain.item import (
    CHECK_ACCOUNTS,
    MAX_HISTORY_DAYS,
    Cursor,
    Imported,
    Item,
    ItemId,
    ItemState,
    PendingCheck,
    StateName,
)
from plaid_sync.domain.requests import (
    MAX_USER_ID_LENGTH,
    item_removed_error,
    known_request_ids,
    optional_flag,
    optional_text,
)
from plaid_sync.domain.text import is_printable_ascii, is_token
from plaid_sync.linking.eligibility import is_left_behind
from plaid_sync.linking.sessions import ClaimHeldError, Registration

if TYPE_CHECKING:
    from collections.abc import Callable

    from plaid_sync.domain.accounts import Account
    from plaid_sync.domain.clock import Clock
    from plaid_sync.domain.ports import TokenEncryptor
    from plaid_sync.domain.requests import RequestContext
    from plaid_sync.linking.ports import DescribedItem, LinkIndex, LinkItems, Links, PlaidImports, Registrations

_FIELDS: Final = ("access_token", "client_user_id", "cursor", "dry_run")
_EXAMPLE: Final = '{"access_token": "access-...", "client_user_id": "..."}'
_FIELD_NAME: Final = re.compile("[a-z_]{1,32}")
"""No access token looks like this: a name of another form is not quoted."""
_IMPORTED: Final = "imported"
_PRESENT: Final = "present"
_WOULD_IMPORT: Final = "would_import"
MAX_CURSOR_LENGTH: Final = 1024  # Plaid documents 256
_MAX_TRIES: Final = 3
_PASSING: Final = frozenset({FailureClass.TRANSIENT, FailureClass.THROTTLED})


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """A request to import an Item.

    Attributes:
        client_user_id: the caller's reference of the user.
        cursor: where the other system's pulls ended; None to pull from the beginning.
        dry_run: whether to report only, and change nothing.
    """

    access_token: str = field(repr=False)
    client_user_id: str
    cursor: Cursor | None = None
    dry_run: bool = False

    @property
    def link_id(self) -> str:
        """The digest by which the Item is found when its access token is sent again."""
        return digest(self.access_token)


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did, or would do.

    Attributes:
        outcome: `imported`; `present`, where nothing was left to do; or `would_import`, of a dry run.
        duplicates: other Items of the user that hold the same bank accounts.
        institution_id: the bank, where Plaid names one.
        accounts: how many accounts Plaid lists; None where it does not, or was not called.
        error_code: what Plaid reports is wrong with the Item; None when nothing is.
    """

    item_id: ItemId
    outcome: str
    duplicates: tuple[ItemId, ...] = ()
    institution_id: str | None = None
    accounts: int | None = None
    error_code: str | None = None

    @property
    def is_new(self) -> bool:
        """Whether this request completed the import."""
        return self.outcome == _IMPORTED

    @property
    def document(self) -> dict[str, Any]:
        """The report, as its response shows it."""
        known = {"institution_id": self.institution_id, "accounts": self.accounts, "error_code": self.error_code}
        shown = {name: value for name, value in known.items() if value is not None}
        return {"item_id": self.item_id, "outcome": self.outcome, "duplicates": list(self.duplicates), **shown}


@dataclass(frozen=True, slots=True)
class _Claims:
    """The account claims of an Item that is imported.

    Attributes:
        keys: those that it can take.
        releasable_item_ids: the Items that it can take them from.
        duplicates: the Items that hold the others.
    """

    keys: frozenset[str]
    releasable_item_ids: frozenset[ItemId]
    duplicates: tuple[ItemId, ...]


@dataclass(frozen=True, slots=True)
class Importer:
    """Imports Items.

    Attributes:
        switch_webhook: makes Plaid send an Item's webhooks to this stack, and requests a sync.
    """

    plaid: PlaidImports
    tokens: TokenEncryptor
    links: Links
    items: LinkItems
    index: LinkIndex
    registrations: Registrations
    switch_webhook: Callable[[ItemId, RequestContext], object]
    clock: Clock

    def run(self, request: ImportRequest, context: RequestContext) -> ImportReport:
        """Import an Item, or continue an import; one that is present stays as it is.

        Raises:
            InvalidRequestError: Plaid knows no such access token.
            RefusedError: the Item is another user's, or removed, or cannot send its webhooks here.
            PlaidError: Plaid refused to describe the Item, or to switch its webhooks.
            TransientError: send the same request again.
        """
        item = self._imported_before(request)
        if item is not None:
            return self._continue(item, request, context)
        described = self._describe(request.access_token)
        item = self.items.load(described.item_id)
        if item is not None:
            return self._continue(item, request, context)
        return self._import(request, described, context)

    def _imported_before(self, request: ImportRequest) -> Item | None:
        # The index is eventually consistent; the Item is loaded consistently.
        item_id = self.index.id_by_link(request.link_id)
        item = None if item_id is None else self.items.load(item_id)
        return None if item is None or item.link_id != request.link_id else item

    def _continue(self, item: Item, request: ImportRequest, context: RequestContext) -> ImportReport:
        """Switch the webhooks of an Item whose import died before; one that was linked here has them here."""
        if item.removal is not None and item.removal.keeps_at_plaid:
            raise _left_error(item.item_id)
        if item.removed:
            raise item_removed_error(item.item_id)
        if item.client_user_id not in {None, request.client_user_id}:
            fix = {"fix": "send the client_user_id that it has in this stack", "field": "client_user_id"}
            raise RefusedError(Refusal.FORBIDDEN, "item_of_another_user", "the Item is another user's", fix)
        if item.imported is None or item.imported.switched_at is not None:
            return ImportReport(item.item_id, _PRESENT, institution_id=item.institution_id)
        claims = self._claims(request, item.item_id, item.institution_id, item.accounts)
        report = ImportReport(item.item_id, _WOULD_IMPORT, claims.duplicates, item.institution_id)
        if request.dry_run:
            return report
        self.switch_webhook(item.item_id, context)
        return replace(report, outcome=_IMPORTED)

    def _describe(self, access_token: str) -> DescribedItem:
        try:
            return self.plaid.describe(access_token)
        except PlaidError as error:
            if error.failure_class is not FailureClass.TERMINAL and error.code != DEAD_TOKEN:
                raise
            fix = "send one that Plaid knows, of this stack's client_id and environment"
            raise InvalidRequestError("access_token", fix) from error

    def _import(self, request: ImportRequest, described: DescribedItem, context: RequestContext) -> ImportReport:
        accounts, request_id = self._accounts(request.access_token)
        report = ImportReport(
            described.item_id,
            _WOULD_IMPORT if request.dry_run else _IMPORTED,
            institution_id=described.institution_id,
            accounts=None if accounts is None else len(accounts),
            error_code=described.error_code,
        )
        for _ in range(_MAX_TRIES):
            claims = self._claims(request, described.item_id, described.institution_id, accounts or ())
            report = replace(report, duplicates=claims.duplicates)
            if request.dry_run:
                return report
            request_ids = known_request_ids(described.request_id, request_id)
            registration = self._registration(request, described, accounts, claims, request_ids, context)
            try:
                self.registrations.register_imported(registration)
            except ClaimHeldError:
                continue  # taken meanwhile
            self.switch_webhook(described.item_id, context)
            return report
        raise TransientError(ITEM_MODIFIED)

    def _accounts(self, access_token: str) -> tuple[tuple[Account, ...] | None, str]:
        """Return the Item's accounts; None where Plaid cannot list them now, as while the Item needs its user."""
        try:
            listed = self.plaid.accounts(access_token)
        except PlaidError as error:
            if error.failure_class in _PASSING:
                raise
            return None, ""
        now = self.clock.now()
        return bounded(replace(account, as_of=now) for account in listed.accounts), listed.request_id

    def _claims(
        self, request: ImportRequest, item_id: ItemId, institution_id: str | None, accounts: tuple[Account, ...]
    ) -> _Claims:
        keys = claim_keys(request.client_user_id, institution_id, accounts)
        held, releasable, duplicates = set[str](), set[ItemId](), set[ItemId]()
        for claim in self.links.claims(keys).values():
            holder = self.items.load(claim.item_id)
            if holder is None or holder.removed or is_left_behind(claim, holder):
                releasable.add(claim.item_id)
            elif holder.item_id != item_id:
                held.add(claim.key)
                duplicates.add(holder.item_id)
        return _Claims(frozenset(keys) - held, frozenset(releasable), tuple(sorted(duplicates)))

    def _registration(  # noqa: PLR0913, PLR0917 - the parts of a registration
        self,
        request: ImportRequest,
        described: DescribedItem,
        accounts: tuple[Account, ...] | None,
        claims: _Claims,
        request_ids: list[str] | None,
        context: RequestContext,
    ) -> Registration:
        now, item_id, user_id = self.clock.now(), described.item_id, request.client_user_id
        item = Item(
            item_id=item_id,
            state=ItemState(StateName.ACTIVE),
            access_token=self.tokens.encrypt(item_id, request.access_token),
            cursor=request.cursor,
            # Where the other system never synced, the first sync decides how long the history is, for ever.
            days_requested=MAX_HISTORY_DAYS,
            linked_at=now,
            link_id=request.link_id,
            imported=Imported(described.webhook),
            client_user_id=user_id,
            institution_id=described.institution_id,
            accounts=accounts or (),
            accounts_checked_at=now if accounts else None,
            # The first sync lists the accounts where they are unknown, and calls /item/get where something is wrong.
            pending_checks=() if accounts and not described.error_code else (PendingCheck(CHECK_ACCOUNTS, now),),
            bank_login_ids=claims.keys,
        )
        entry = context.entry(
            item_id,
            now,
            _IMPORTED,
            DetailType.LINKED,
            plaid_request_ids=request_ids,
            duplicates=list(claims.duplicates) or None,
        )
        return Registration(item, None, entry, claims.releasable_item_ids)


def _left_error(item_id: ItemId) -> RefusedError:
    """Return the refusal of an Item that was removed here, and that another system goes on with."""
    fix = "go on with it in the other system, or import it into another stack: it cannot come back here"
    detail = "the Item was removed here, and is kept at Plaid"
    return RefusedError(Refusal.GONE, "item_removed", detail, {"fix": fix, "item_id": item_id})


def parse_import_request(body: object, plaid_env: str) -> ImportRequest:
    """Validate the parsed body of a request to import an Item; no error quotes what it holds.

    Args:
        body: the body.
        plaid_env: the environment that this stack's access tokens belong to.

    Raises:
        InvalidRequestError: a field is invalid; it names the field and the fix.
    """
    fields = _known_fields(body)
    access_token, prefix = fields.get("access_token"), f"access-{plaid_env}-"
    if not is_token(access_token) or not access_token.startswith(prefix):
        raise InvalidRequestError("access_token", f"send the Item's access token, {prefix}...")
    client_user_id = optional_text(fields, "client_user_id", MAX_USER_ID_LENGTH)
    if client_user_id is None:
        raise InvalidRequestError(
            "client_user_id", f"send your reference of the user, 1 to {MAX_USER_ID_LENGTH} characters"
        )
    cursor = fields.get("cursor")
    if "cursor" in fields and not is_printable_ascii(cursor, MAX_CURSOR_LENGTH):
        raise InvalidRequestError(
            "cursor", "send the next_cursor of your last complete /transactions/sync; or leave it out"
        )
    return ImportRequest(
        access_token, client_user_id, None if cursor is None else Cursor(cursor), optional_flag(fields, "dry_run")
    )


def _known_fields(body: object) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise InvalidRequestError("body", f"send a JSON object, {_EXAMPLE}")
    for name in sorted(set(body) - set(_FIELDS)):
        shown = name if _FIELD_NAME.fullmatch(name) else "body"
        raise InvalidRequestError(shown, f"send only {', '.join(_FIELDS)}")
    return body
