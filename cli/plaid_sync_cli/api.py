"""A client of the deployment's Items API (docs/api.md); requests are signed for IAM."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from plaid_sync.domain import exact_json
from plaid_sync.items_api import http

from plaid_sync_cli.errors import CommandError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from botocore.credentials import Credentials

    from plaid_sync_cli.deployment import Deployment

_TIMEOUT_SECONDS: Final = 35.0
"""API Gateway answers within 30."""
_NOT_AUTHORIZED: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


class ApiError(CommandError):
    """The Items API returned an error.

    Attributes:
        status: the HTTP status.
        code: one of the codes in docs/api.md.
        document: the problem details.
        retry_after: seconds after which the same request may succeed.
    """

    def __init__(self, status: int, document: Mapping[str, Any], retry_after: int | None) -> None:
        self.status = status
        self.code = str(document.get("code", ""))
        self.document = document
        self.retry_after = retry_after
        super().__init__(*_message_and_fix(status, document), _exit_code(status, self.code))

    @property
    def concerns_all(self) -> bool:
        """Whether every other request would fail, too: the caller is not allowed, or nothing works."""
        return self.exit_code is ExitCode.UNREACHABLE and not self.code


@dataclass(frozen=True, slots=True)
class ItemApi:
    """Sends requests to the Items API.

    Attributes:
        url: the stack's output ApiUrl.
        credentials: returns the caller's current credentials.
    """

    url: str
    region: str
    credentials: Callable[[], Credentials]
    http: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False))

    @classmethod
    def of(cls, deployment: Deployment) -> ItemApi:
        """Return the Items API of a deployment."""

        def credentials() -> Credentials:
            found = deployment.session.get_credentials()
            if found is None:
                raise CommandError("no AWS credentials found", "Give --profile.", ExitCode.UNREACHABLE)
            return found

        return cls(deployment.output("ApiUrl"), deployment.region, credentials)

    def call(
        self, method: str, path: str, body: object = None, if_match: str | None = None, **query: str | None
    ) -> Any:  # noqa: ANN401 - JSON
        """Send a request and return the response's document; amounts are exact decimals.

        Raises:
            ApiError: the response is an error.
            urllib3.exceptions.HTTPError: there is no response.
        """
        given = {name: value for name, value in query.items() if value is not None}
        url = f"{self.url}{path}" + (f"?{urlencode(given, quote_via=quote)}" if given else "")
        data = None if body is None else exact_json.dumps(body).encode()
        condition = {} if if_match is None else {"If-Match": if_match}
        request = AWSRequest(method, url, data=data, headers={"Content-Type": "application/json", **condition})
        SigV4Auth(self.credentials(), "execute-api", self.region).add_auth(request)
        headers = dict(request.headers.items())
        response = self.http.request(method, url, body=data, headers=headers, timeout=_TIMEOUT_SECONDS)
        document = _parse(response.data)
        if response.status >= HTTPStatus.BAD_REQUEST:
            after = response.headers.get("retry-after", "")
            raise ApiError(response.status, document, int(after) if after.isdigit() else None)
        return document

    def pages(self, path: str, name: str, **query: str | None) -> Iterator[dict[str, Any]]:
        """Iterate over a paginated list."""
        token: str | None = None
        while True:
            document = self.call("GET", path, next=token, **query)
            yield from document[name]
            token = document.get("next")
            if token is None:
                return


def item_path(item_id: str, action: str = "") -> str:
    """Return the path of an Item."""
    return http.item_path(item_id) + (f"/{action}" if action else "")


def token_export_path(item_id: str) -> str:
    """Return the path of the export of an Item's access token."""
    return f"/access-tokens/{http.format_path_id(item_id)}/export"


def user_path(client_user_id: str) -> str:
    """Return the path of a user."""
    return f"/users/{http.format_path_id(client_user_id)}"


def account_path(item_id: str, account_id: str, action: str = "") -> str:
    """Return the path of an account."""
    return item_path(item_id, f"accounts/{http.format_path_id(account_id)}" + (f"/{action}" if action else ""))


def annotations_path(item_id: str, transaction_id: str) -> str:
    """Return the path of a transaction's annotations."""
    return item_path(item_id, f"transactions/{http.format_path_id(transaction_id)}/annotations")


def _parse(data: bytes) -> Any:  # noqa: ANN401 - JSON
    try:
        return exact_json.loads(data)
    except exact_json.InvalidJsonError:
        return {}


def _message_and_fix(status: int, document: Mapping[str, Any]) -> tuple[str, str]:
    detail = document.get("detail") or document.get("message") or document.get("error") or HTTPStatus(status).phrase
    code = f" ({document['code']})" if "code" in document else ""
    if status in _NOT_AUTHORIZED and "code" not in document:
        fix = "Grant execute-api:Invoke on the Items API (docs/cli.md has a policy), or use another --profile."
        return f"the Items API denied the request: {detail}", fix
    if document.get("code") == "item_not_found":
        return str(detail), "plaid-sync items lists your Items; --state removed lists the removed ones."
    return f"the Items API returned {status}: {detail}{code}", str(
        document.get("fix", "docs/api.md explains the codes.")
    )


def _exit_code(status: int, code: str) -> ExitCode:
    if code == "invalid_request" or status == HTTPStatus.NOT_FOUND:
        return ExitCode.USAGE
    if status in _NOT_AUTHORIZED or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ExitCode.UNREACHABLE
    return ExitCode.ACTION_REQUIRED
