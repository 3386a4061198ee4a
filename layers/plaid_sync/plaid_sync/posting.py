"""Posts to endpoints with urllib3: over TLS, to public addresses, without redirects.

An operator sets the URLs, but the owner of a host name decides where it points: at the moment of the request it could
be an address of the network that the function is in. So the function resolves the name itself, checks each address,
and connects to what it has checked; the certificate is that of the name.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import urllib3

from plaid_sync.domain.errors import TransientError
from plaid_sync.outbound.delivery import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from urllib.parse import SplitResult

TIMEOUT_SECONDS: Final = 10.0
NOT_HTTPS: Final = "url_not_https"
NOT_PUBLIC: Final = "address_not_public"
_TRANSLATED: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
"""IPv4 addresses behind NAT64, which can be private."""
_MAX_DIGITS: Final = 6


@dataclass(frozen=True, slots=True)
class HttpPoster:
    """Posts; implements `Poster`. A connection serves one request: there is no state to be held by a slow endpoint.

    Attributes:
        public_only: refuse http and addresses that are not public. Without it, it serves a stack on this machine.
    """

    public_only: bool = True

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """See `Poster`. Neither body nor reason of the answer is read."""
        parts = urlsplit(url)
        if self.public_only and parts.scheme != "https":
            raise TransientError(NOT_HTTPS)
        host = str(parts.hostname)
        address = self._resolve(host, parts.port or (443 if parts.scheme == "https" else 80))
        path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        try:
            with _pool(parts, host, address) as pool:
                response = pool.urlopen(
                    "POST",
                    path,
                    body=body,
                    headers={**headers, "host": parts.netloc, "user-agent": "plaid-sync-engine"},
                    retries=False,
                    redirect=False,
                    preload_content=False,
                )
                answer = Answer(response.status, _seconds(response.headers.get("retry-after")))
                response.close()
                return answer
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise TransientError(type(error).__name__) from error

    def _resolve(self, host: str, port: int) -> str:
        """Return an address of the host; all of them are public, or none is used."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise TransientError("host_not_found") from error
        addresses = [str(entry[4][0]) for entry in found]
        if self.public_only and not all(map(is_public, addresses)):
            raise TransientError(NOT_PUBLIC)
        # A function in Lambda has IPv4 in any case.
        return min(addresses, key=lambda address: ":" in address)


def is_public(text: str) -> bool:
    """Return whether an address is one of the internet, also if it is an IPv4 address in IPv6's form."""
    address: IPv4Address | IPv6Address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        elif address.sixtofour or address.teredo or any(address in network for network in _TRANSLATED):
            return False
    return address.is_global and not address.is_multicast


def _pool(parts: SplitResult, host: str, address: str) -> urllib3.HTTPConnectionPool:
    timeout = urllib3.Timeout(total=TIMEOUT_SECONDS)
    if parts.scheme == "http":
        return urllib3.HTTPConnectionPool(address, parts.port, timeout=timeout)
    return urllib3.HTTPSConnectionPool(
        address, parts.port, timeout=timeout, server_hostname=host, assert_hostname=host, cert_reqs="CERT_REQUIRED"
    )


def _seconds(value: str | None) -> int | None:
    """Return the seconds of a Retry-After; None for a date, and for what is no number."""
    text = (value or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else None
