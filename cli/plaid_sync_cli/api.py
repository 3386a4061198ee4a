"""The deployment's Item API (docs/api.md), with requests that are signed for IAM."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from plaid_sync.core import exact_json

from plaid_sync_cli.errors import CommandError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from botocore.credentials import Credentials

    from plaid_sync_cli.deployment import Deployment

_SECONDS: Final = 35.0
"""API Gateway answers within 30."""
_NOT_ALLOWED: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


class ApiError(CommandError):
    """The Item API refuses.

    Attributes:
        status: the HTTP status.
        code: docs/api.md lists them.
        document: the problem details.
        retry_after: seconds after which the same request may succeed.
    """

    def __init__(self, status: int, document: Mapping[str, Any], retry_after: int | None) -> None:
        self.status = status
        self.code = str(document.get("code", ""))
        self.document = document
        self.retry_after = retry_after
        super().__init__(*_words(status, document), _exit_code(status, self.code))


@dataclass(frozen=True, slots=True)
class ItemApi:
    """Makes requests.

    Attributes:
        url: the stack's output ApiUrl.
        credentials: found when a request is made, and renewed as the SDK does.
    """

    url: str
    region: str
    credentials: Callable[[], Credentials]
    http: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False))

    @classmethod
    def of(cls, deployment: Deployment) -> ItemApi:
        """Return the API of a deployment."""

        def credentials() -> Credentials:
            found = deployment.session.get_credentials()
            if found is None:
                raise CommandError("there are no AWS credentials", "Give --profile.", ExitCode.UNREACHABLE)
            return found

        return cls(deployment.output("ApiUrl"), deployment.region, credentials)

    def call(self, method: str, path: str, body: object = None, **query: str | None) -> Any:  # noqa: ANN401 - JSON
        """Make a request and return the answer's document; amounts are exact decimals.

        Raises:
            ApiError: it is refused.
            urllib3.exceptions.HTTPError: there is no answer.
        """
        given = {name: value for name, value in query.items() if value is not None}
        url = f"{self.url}{path}" + (f"?{urlencode(given, quote_via=quote)}" if given else "")
        data = None if body is None else exact_json.dumps(body).encode()
        request = AWSRequest(method, url, data=data, headers={"Content-Type": "application/json"})
        SigV4Auth(self.credentials(), "execute-api", self.region).add_auth(request)
        answer = self.http.request(method, url, body=data, headers=dict(request.headers.items()), timeout=_SECONDS)
        document = _document(answer.data)
        if answer.status >= HTTPStatus.BAD_REQUEST:
            after = answer.headers.get("retry-after", "")
            raise ApiError(answer.status, document, int(after) if after.isdigit() else None)
        return document

    def pages(self, path: str, name: str, **query: str | None) -> Iterator[dict[str, Any]]:
        """Iterate over a list, page after page."""
        following: str | None = None
        while True:
            document = self.call("GET", path, next=following, **query)
            yield from document[name]
            following = document.get("next")
            if following is None:
                return


def item_path(item_id: str, action: str = "") -> str:
    """Return the path of an Item."""
    return f"/items/{quote(item_id, safe='')}" + (f"/{action}" if action else "")


def _document(data: bytes) -> Any:  # noqa: ANN401 - JSON
    try:
        return exact_json.loads(data)
    except exact_json.InvalidJsonError:
        return {}


def _words(status: int, document: Mapping[str, Any]) -> tuple[str, str]:
    detail = document.get("detail") or document.get("message") or document.get("error") or HTTPStatus(status).phrase
    code = f" ({document['code']})" if "code" in document else ""
    if status in _NOT_ALLOWED and "code" not in document:
        fix = "Grant execute-api:Invoke on the Item API (docs/cli.md has a policy), or use another --profile."
        return f"the Item API does not allow it: {detail}", fix
    if document.get("code") == "item_not_found":
        return str(detail), "plaid-sync items lists those that there are; removed ones with --state removed."
    return f"the Item API answered {status}: {detail}{code}", str(
        document.get("fix", "docs/api.md explains the codes.")
    )


def _exit_code(status: int, code: str) -> ExitCode:
    if code == "invalid_request" or status == HTTPStatus.NOT_FOUND:
        return ExitCode.USAGE
    if status in _NOT_ALLOWED or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ExitCode.UNREACHABLE
    return ExitCode.FOUND
