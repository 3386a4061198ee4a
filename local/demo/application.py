"""The world outside: an application that links Items through the Item API, and whoever posts webhooks."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local.demo.options import DemoError

if TYPE_CHECKING:
    from local.stack import LocalStack

_USER = "demo-application"
_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The HTTP answer to a request.

    Attributes:
        text: what it says: the `result` or the `error` of its body.
    """

    status: int
    text: str


@dataclass(frozen=True, slots=True)
class Application:
    """A client of the deployed HTTP API, with credentials of its own that allow the Items API and nothing else."""

    stack: LocalStack
    credentials: Credentials
    http: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False))

    @classmethod
    def create(cls, stack: LocalStack) -> Application:
        """Create its IAM user."""
        iam = stack.client("iam")
        iam.create_user(UserName=_USER)
        api = f"arn:aws:execute-api:{stack.emulator.region}:*:{stack.resources.id('Api')}"
        routes = [f"{api}/*/POST/link-tokens", f"{api}/*/*/items", f"{api}/*/*/items/*"]
        statement = {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": routes}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(UserName=_USER, PolicyName="items-api", PolicyDocument=policy)
        key = iam.create_access_key(UserName=_USER)["AccessKey"]
        return cls(stack, Credentials(key["AccessKeyId"], key["SecretAccessKey"]))

    def link(self, public_token: str) -> str:
        """Link an Item; return its id.

        Raises:
            DemoError: it was refused.
        """
        return str(self.ask("POST", "/items", {"public_token": public_token})["item_id"])

    def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Make a request that must succeed; return the answer's document.

        Raises:
            DemoError: it was refused.
        """
        status, document = self.request(method, path, body)
        if status >= HTTPStatus.BAD_REQUEST:
            raise DemoError(f"{method} {path} was answered {status}: {document}")
        return document

    def request(self, method: str, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
        """Make a request signed by AWS Signature Version 4; return the status and the answer's document."""
        url, data = f"{self.stack.api_url}{path}", None if body is None else json.dumps(body)
        request = AWSRequest(method, url, data=data)
        request.headers["Content-Type"] = "application/json"
        SigV4Auth(self.credentials, "execute-api", self.stack.emulator.region).add_auth(request)
        answer = self.http.request(method, url, body=data, headers=dict(request.headers.items()), timeout=_SECONDS)
        document: Any = answer.json()
        return answer.status, document if isinstance(document, dict) else {"answer": document}

    def link_unsigned(self, public_token: str) -> int:
        """Try the same without a signature; return the HTTP status."""
        body = json.dumps({"public_token": public_token}).encode()
        url = f"{self.stack.api_url}/items"
        return self.http.request("POST", url, body=body, headers={"Content-Type": "application/json"}).status

    def post_webhook(self, body: bytes, token: str | None) -> Answer:
        """Post a webhook as anybody on the internet could."""
        headers = {"Content-Type": "application/json"} | ({} if token is None else {"Plaid-Verification": token})
        answer = self.http.request("POST", self.stack.webhook_url, body=body, headers=headers, timeout=_SECONDS)
        return Answer(answer.status, _text(answer))


def _text(answer: urllib3.BaseHTTPResponse) -> str:
    try:
        body: Any = answer.json()
    except ValueError:
        return ""
    return str(body.get("result") or body.get("error") or "") if isinstance(body, dict) else ""
