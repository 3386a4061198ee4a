"""The operator's endpoints, as the secret of the stack has them."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from plaid_sync.domain import exact_json
from plaid_sync.domain.errors import PlaidSyncError
from plaid_sync.domain.text import is_printable_ascii

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - a prefix
MAX_ENDPOINTS: Final = 20
"""Each event is a message for each endpoint; and the secret holds 64 KB."""
_SECRETS: Final = 2
"""The newest, and the one before it, until the receiver has the newest."""
_KEY_BYTES: Final = range(24, 65)
"""Of a signing secret, as Standard Webhooks requires."""
_NAME: Final = re.compile("[a-z0-9][a-z0-9-]{0,31}")
_MAX_URL: Final = 2048


class InvalidEndpointError(PlaidSyncError):
    """An endpoint that is not usable; the text names the field and the fix, and never quotes a secret."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where events are posted.

    Attributes:
        name: the operator's name for it; it does not change with the URL.
        secrets: sign each request, the newest first; a receiver needs to know one of them.
        types: the detail-types that are posted; empty for all.
        enabled: whether new events are for it; what already waits for a disabled endpoint is dead-lettered.
    """

    name: str
    url: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    types: tuple[str, ...] = ()
    enabled: bool = True

    def wants(self, detail_type: str) -> bool:
        """Return whether new events of this detail-type are for it."""
        return self.enabled and (not self.types or detail_type in self.types)

    def to_document(self) -> dict[str, Any]:
        """Return it as the secret has it."""
        return {
            "name": self.name,
            "url": self.url,
            "secrets": list(self.secrets),
            "types": list(self.types),
            "enabled": self.enabled,
        }


def parse_endpoints(text: str) -> tuple[Endpoint, ...]:
    """Read the value of the secret, `{"endpoints": [...]}`; an empty one, as on the emulator, has no endpoint.

    Raises:
        InvalidEndpointError: a part of it is not as `Endpoint.to_document` writes it.
    """
    if not text:
        return ()
    try:
        entries = exact_json.loads(text)["endpoints"]
        endpoints = tuple(
            Endpoint(
                entry["name"], entry["url"], tuple(entry["secrets"]), tuple(entry["types"]), enabled=entry["enabled"]
            )
            for entry in entries
        )
    except (exact_json.InvalidJsonError, KeyError, TypeError) as error:
        raise InvalidEndpointError("the secret of the endpoints is malformed: plaid-sync endpoints set") from error
    for endpoint in endpoints:
        check(endpoint)
    return endpoints


def dump_endpoints(endpoints: tuple[Endpoint, ...]) -> str:
    """Return the value of the secret.

    Raises:
        InvalidEndpointError: there are too many.
    """
    if len(endpoints) > MAX_ENDPOINTS:
        raise InvalidEndpointError(f"there can be {MAX_ENDPOINTS} endpoints: remove one first")
    return exact_json.dumps({"endpoints": [endpoint.to_document() for endpoint in endpoints]})


def check(endpoint: Endpoint) -> None:
    """Check all but what needs the network: whether the URL's host has a public address.

    Raises:
        InvalidEndpointError: a field is wrong.
    """
    if not is_printable_ascii(endpoint.name) or not _NAME.fullmatch(endpoint.name):
        raise InvalidEndpointError("name must be 1 to 32 of a-z, 0-9 and -, and not begin with -")
    _check_url(endpoint.url)
    if not 1 <= len(endpoint.secrets) <= _SECRETS or not all(map(_is_signing_secret, endpoint.secrets)):
        raise InvalidEndpointError(f"secrets must be one or two of {SECRET_PREFIX} and 24 to 64 bytes in base64")
    if not all(is_printable_ascii(name) for name in endpoint.types):
        raise InvalidEndpointError("types must be detail-types, such as ItemNeedsUser")
    if not isinstance(endpoint.enabled, bool):
        raise InvalidEndpointError("enabled must be true or false")


def _check_url(url: object) -> None:
    if not is_printable_ascii(url, _MAX_URL) or " " in url:
        raise InvalidEndpointError(f"url must be at most {_MAX_URL} printable ASCII characters without a space")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidEndpointError("url is not a URL: https://host/path") from None
    if parts.scheme not in {"https", "http"} or not parts.hostname or port == 0:
        raise InvalidEndpointError("url must have a scheme and a host: https://host/path")
    if "@" in parts.netloc or parts.fragment:
        raise InvalidEndpointError("url must have no user, no password and no fragment: the signature authenticates")


def _is_signing_secret(secret: object) -> bool:
    if not isinstance(secret, str) or not secret.startswith(SECRET_PREFIX):
        return False
    try:
        return len(base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)) in _KEY_BYTES
    except binascii.Error:
        return False
