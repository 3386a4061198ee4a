"""The local Items API refuses what API Gateway refuses: a signature of another service, region, time or request."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local.demo.application import Application
from tests.integration.in_process import runs_in_the_emulator

if TYPE_CHECKING:
    from tests.deployment import Deployment

pytestmark = runs_in_the_emulator


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Signs a request by AWS Signature Version 4, or nearly so."""

    credentials: Credentials
    region: str
    service: str = "execute-api"
    terminator: str = "aws4_request"
    minutes_ago: float = 0
    scope_date: str | None = None
    uncovered: frozenset[str] = frozenset()

    def sign(self, method: str, url: str, **headers: str) -> dict[str, str]:
        signer = self

        class Auth(SigV4Auth):
            _region_name: str
            _service_name: str
            _sign: Any

            def headers_to_sign(self, request: Any) -> Any:
                found = super().headers_to_sign(request)
                for name in signer.uncovered:
                    del found[name]
                return found

            def credential_scope(self, request: Any) -> str:
                date = signer.scope_date or request.context["timestamp"][:8]
                return f"{date}/{self._region_name}/{self._service_name}/{signer.terminator}"

            def scope(self, request: Any) -> str:
                return f"{self.credentials.access_key}/{self.credential_scope(request)}"

            def signature(self, string_to_sign: str, request: Any) -> str:
                key = f"AWS4{self.credentials.secret_key}".encode()
                for part in self.credential_scope(request).split("/"):
                    key = self._sign(key, part)
                return str(self._sign(key, string_to_sign, hex=True))

        request = AWSRequest(method, url, headers=headers)
        signed_at = datetime.now(UTC) - timedelta(minutes=self.minutes_ago)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("botocore.auth.get_current_datetime", lambda: signed_at)
            Auth(self.credentials, self.service, self.region).add_auth(request)
        return dict(request.headers.items())


@pytest.fixture(scope="module")
def signer(deployment: Deployment) -> Signer:
    application = Application.create(deployment.stack)
    return Signer(credentials=application.credentials, region=deployment.stack.emulator.region)


def answer_to(deployment: Deployment, headers: dict[str, str]) -> tuple[int, bytes]:
    response = urllib3.request("GET", f"{deployment.stack.api_url}/items", headers=headers, retries=False)
    return response.status, response.data


@pytest.mark.parametrize("minutes_ago", [0, 4, -4])
def test_a_right_signature_is_accepted(deployment: Deployment, signer: Signer, minutes_ago: float) -> None:
    headers = replace(signer, minutes_ago=minutes_ago).sign("GET", f"{deployment.stack.api_url}/items")
    assert answer_to(deployment, headers)[0] == 200


@pytest.mark.parametrize(
    "changed",
    [
        {"service": "sqs"},
        {"region": "eu-west-1"},
        {"terminator": "aws4_other"},
        {"scope_date": "20200101"},
        {"minutes_ago": 6},
        {"minutes_ago": -6},
        {"uncovered": frozenset({"host"})},
        {"uncovered": frozenset({"x-amz-date"})},
        {"credentials": Credentials("AKIAUNKNOWN", "secret")},
    ],
    ids="-".join,
)
def test_another_signature_is_refused(deployment: Deployment, signer: Signer, changed: dict[str, Any]) -> None:
    headers = replace(signer, **changed).sign("GET", f"{deployment.stack.api_url}/items")
    assert answer_to(deployment, headers) == (403, b'{"message":"Forbidden"}')


def test_a_signature_of_another_request_or_secret_is_refused(deployment: Deployment, signer: Signer) -> None:
    url = f"{deployment.stack.api_url}/items"
    wrong = replace(signer, credentials=Credentials(signer.credentials.access_key, "wrong"))
    for headers in (signer.sign("POST", url), signer.sign("GET", f"{url}/one"), wrong.sign("GET", url)):
        assert answer_to(deployment, headers) == (403, b'{"message":"Forbidden"}')


def test_an_identity_without_the_permission_is_refused(deployment: Deployment, signer: Signer) -> None:
    iam = deployment.stack.client("iam")
    iam.create_user(UserName="no-permission")
    key = iam.create_access_key(UserName="no-permission")["AccessKey"]
    other = replace(signer, credentials=Credentials(key["AccessKeyId"], key["SecretAccessKey"]))
    headers = other.sign("GET", f"{deployment.stack.api_url}/items")
    assert answer_to(deployment, headers) == (403, b'{"message":"Forbidden"}')
