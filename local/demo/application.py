"""An application that uses the deployed HTTP API, and a sender of webhooks."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

if TYPE_CHECKING:
    from local.stack import LocalStack

_USER = "demo-application"
_SECONDS = 60.0


class DemoError(Exception):
    """The demo cannot go on; the message says why."""


@dataclass(frozen=True, slots=True)
class Response:
    """The HTTP response to a webhook.

    Attributes:
        text: The `result` or the `error` of its body.
    """

    status: int
    text: str


@dataclass(frozen=True, slots=True)
class Application:
    """A client of the HTTP API, whose own credentials allow the Items API and nothing else."""

    stack: LocalStack
    credentials: Credentials
    http: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False))

    @classmethod
    def create(cls, stack: LocalStack) -> Application:
        iam = stack.client("iam")
        iam.create_user(UserName=_USER)
        api = f"arn:aws:execute-api:{stack.emulator.region}:*:{stack.resources.id('Api')}"
        routes = [f"{api}/*/POST/link-tokens", f"{api}/*/*/items", f"{api}/*/*/items/*"]
        statement = {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": routes}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(UserName=_USER, PolicyName="items-api", PolicyDocument=policy)
        key = iam.create_access_key(UserName=_USER)["AccessKey"]
        return cls(stack, Credentials(key["AccessKeyId"], key["SecretAccessKey"]))

    def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        status, document = self.request(method, path, body)
        if status >= HTTPStatus.BAD_REQUEST:
            raise DemoError(f"{method} {path} returned {status}: {document}")
        return document

    def request(self, method: str, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
        """Make a signed request; return the status and the response's document."""
        response = self.send(method, path, body)
        document: Any = response.json()
        return response.status, document if isinstance(document, dict) else {"document": document}

    def send(self, method: str, path: str, body: object = None) -> urllib3.BaseHTTPResponse:
        """Make a request signed by AWS Signature Version 4; return the response as it is."""
        url, data = f"{self.stack.api_url}{path}", None if body is None else json.dumps(body)
        request = AWSRequest(method, url, data=data)
        request.headers["Content-Type"] = "application/json"
        SigV4Auth(self.credentials, "execute-api", self.stack.emulator.region).add_auth(request)
        return self.http.request(method, url, body=data, headers=dict(request.headers.items()), timeout=_SECONDS)

    def link_unsigned(self, public_token: str) -> int:
        body = json.dumps({"public_token": public_token}).encode()
        url = f"{self.stack.api_url}/items"
        return self.http.request("POST", url, body=body, headers={"Content-Type": "application/json"}).status

    def post_webhook(self, body: bytes, token: str | None) -> Response:
        """Post a webhook, as anyone on the internet can."""
        headers = {"Content-Type": "application/json"} | ({} if token is None else {"Plaid-Verification": token})
        response = self.http.request("POST", self.stack.webhook_url, body=body, headers=headers, timeout=_SECONDS)
        return Response(response.status, _text(response))


def _text(response: urllib3.BaseHTTPResponse) -> str:
    try:
        body: Any = response.json()
    except ValueError:
        return ""
    return str(body.get("result") or body.get("error") or "") if isinstance(body, dict) else ""
