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
    """A client of the deployed HTTP API, with credentials of its own that allow `POST /items` and nothing else."""

    stack: LocalStack
    credentials: Credentials
    http: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False))

    @classmethod
    def create(cls, stack: LocalStack) -> Application:
        """Create its IAM user."""
        iam = stack.client("iam")
        iam.create_user(UserName=_USER)
        resource = f"arn:aws:execute-api:{stack.emulator.region}:*:{stack.resources.id('Api')}/*/POST/items"
        statement = {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": resource}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(UserName=_USER, PolicyName="link-items", PolicyDocument=policy)
        key = iam.create_access_key(UserName=_USER)["AccessKey"]
        return cls(stack, Credentials(key["AccessKeyId"], key["SecretAccessKey"]))

    def link(self, public_token: str) -> str:
        """Link an Item with a request signed by AWS Signature Version 4; return its id.

        Raises:
            DemoError: it was refused.
        """
        url, body = f"{self.stack.api_url}/items", json.dumps({"public_token": public_token})
        request = AWSRequest("POST", url, data=body)
        request.headers["Content-Type"] = "application/json"
        SigV4Auth(self.credentials, "execute-api", self.stack.emulator.region).add_auth(request)
        answer = self.http.request("POST", url, body=body, headers=dict(request.headers.items()))
        if answer.status != HTTPStatus.CREATED:
            raise DemoError(f"POST /items was answered {answer.status}: {answer.data.decode(errors='replace')}")
        return str(answer.json()["item_id"])

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
