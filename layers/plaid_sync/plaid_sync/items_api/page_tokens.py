"""Page tokens that only this API can make, each bound to the list that it continues."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final

from plaid_sync.domain import exact_json
from plaid_sync.domain.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PURPOSE: Final = b"plaid-sync-engine: page tokens of transactions"
_MAC_BYTES: Final = 16
_MAX_LENGTH: Final = 4096
_FIX: Final = (
    "send the next of the previous page as it is, to the same path with the same other parameters (limit may differ); "
    "or leave it out, to begin again"
)


@dataclass(frozen=True, slots=True)
class ListPosition:
    """Where a list of transactions continues.

    Attributes:
        after: the key of the last row that was read: an id, or in an order by date its `date_id`; empty at the start.
        generation: rows of a later generation may have been written since the list began; None in the order by id.
        left_out: whether rows of a later generation were left out.
        changes: whether the ordered part is finished, and those rows follow.
    """

    after: str = ""
    generation: int | None = None
    left_out: bool = False
    changes: bool = False


@dataclass(frozen=True, slots=True)
class PageTokens:
    """Makes and checks page tokens.

    Attributes:
        secret: returns the secret from which the key is derived; raises `TransientError`.
    """

    secret: Callable[[], str] = field(repr=False)

    def format(self, position: ListPosition | None, bound_to: Mapping[str, str]) -> str | None:
        """Return the token of a position; None where the list ends.

        Args:
            position: where the list continues.
            bound_to: the Item, the account, and the query.
        """
        if position is None:
            return None
        content = exact_json.dumps(asdict(position)).encode()
        return base64.urlsafe_b64encode(self._mac(content, bound_to) + content).decode().rstrip("=")

    def parse(self, token: str | None, bound_to: Mapping[str, str]) -> ListPosition | None:
        """Return the position of a token, if there is one.

        Raises:
            InvalidRequestError: this stack made no such token for this list.
        """
        if token is None:
            return None
        try:
            if len(token) > _MAX_LENGTH:
                raise InvalidRequestError("next", _FIX)
            decoded = base64.b64decode(f"{token}{'=' * (-len(token) % 4)}", altchars=b"-_", validate=True)
        except ValueError as error:
            raise InvalidRequestError("next", _FIX) from error
        mac, content = decoded[:_MAC_BYTES], decoded[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(content, bound_to)):
            raise InvalidRequestError("next", _FIX)
        return ListPosition(**exact_json.loads(content))

    def _mac(self, content: bytes, bound_to: Mapping[str, str]) -> bytes:
        # A key of its own purpose: no other use of the secret can be made to sign a token.
        key = hmac.digest(self.secret().encode(), _PURPOSE, hashlib.sha256)
        message = exact_json.dumps([dict(bound_to), content.decode("latin-1")]).encode()
        return hmac.digest(key, message, hashlib.sha256)[:_MAC_BYTES]
