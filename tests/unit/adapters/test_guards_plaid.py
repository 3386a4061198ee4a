"""What the two clients of Plaid take care of, against a Plaid on localhost."""

from __future__ import annotations

import json
import logging
import socket
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import boto3
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from plaid_sync.adapters.plaid.credentials import PlaidSecret
from plaid_sync.adapters.plaid.items import PlaidItems
from plaid_sync.adapters.plaid.link import PlaidLinkClient
from plaid_sync.adapters.plaid.transport import PlaidTransport
from plaid_sync.adapters.plaid.verification_key_api import PlaidVerificationKeyApi
from plaid_sync.core.failures import PlaidError, RetryableError, UncertainError
from plaid_sync.core.webhooks.verification import RejectedError
from plaid_sync.core.webhooks.verification_keys import FRESH, UNKNOWN_FOR, VerificationKeys

from local.plaid import PlaidServer, PlaidSimulator, utc_now

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY_CALLS = "/webhook_verification_key/get"
EXCHANGES = "/item/public_token/exchange"


@dataclass(frozen=True, slots=True)
class Plaid:
    """A Plaid, and the engine's clients of it.

    Attributes:
        aws: Secrets Manager, which holds the credentials.
    """

    simulator: PlaidSimulator
    aws: Any
    transport: PlaidTransport
    link: PlaidLinkClient
    items: PlaidItems
    key_api: PlaidVerificationKeyApi

    def give_credentials(self, secret: str) -> None:
        document = {"client_id": self.simulator.client_id, "secret": secret}
        self.aws.put_secret_value(SecretId="plaid", SecretString=json.dumps(document))

    def answer_key(self, document: object) -> None:
        self.simulator.inject_fault(KEY_CALLS, status=200, body=json.dumps(document))


@pytest.fixture
def plaid(aws: None) -> Iterator[Plaid]:  # noqa: ARG001 - the mock has to be up first
    secrets = boto3.client("secretsmanager")
    secrets.create_secret(Name="plaid")
    simulator = PlaidSimulator(seed=7)
    with PlaidServer(simulator) as server:
        secret = PlaidSecret(lambda: secrets, "plaid", utc_now)
        transport = PlaidTransport(server.base_url, secret)
        clients = PlaidLinkClient(transport), PlaidItems(transport, "sandbox")
        found = Plaid(simulator, secrets, transport, *clients, PlaidVerificationKeyApi(server.base_url, secret))
        found.give_credentials(simulator.secret)
        yield found


def test_credentials_that_plaid_refuses_are_read_again(plaid: Plaid) -> None:
    token, kid = plaid.simulator.create_public_token(), plaid.simulator.keys.current.kid
    plaid.give_credentials("retired")
    with pytest.raises(PlaidError, match="INVALID_API_KEYS"):
        plaid.link.exchange(token)
    plaid.give_credentials(plaid.simulator.secret)
    assert plaid.link.exchange(token).access_token
    plaid.give_credentials("retired")
    plaid.transport.secret.forget()
    with pytest.raises(RetryableError, match="INVALID_API_KEYS"):
        plaid.key_api.fetch(kid)
    plaid.give_credentials(plaid.simulator.secret)
    assert plaid.key_api.fetch(kid) is not None


def jwk(public_key: Any, **fields: Any) -> dict[str, Any]:
    algorithm = jwt.algorithms.RSAAlgorithm if isinstance(public_key, rsa.RSAPublicKey) else jwt.algorithms.ECAlgorithm
    document: dict[str, Any] = json.loads(algorithm.to_jwk(public_key))
    return document | {"alg": "ES256", "kid": "kid", "use": "sig", "created_at": 1, "expired_at": None} | fields


P_256 = jwk(ec.generate_private_key(ec.SECP256R1()).public_key())
P_384 = jwk(ec.generate_private_key(ec.SECP384R1()).public_key())
RSA = jwk(rsa.generate_private_key(65537, 2048).public_key())


def test_plaids_own_keys_are_read(plaid: Plaid) -> None:
    plaid.answer_key({"key": P_256})
    assert plaid.key_api.fetch("kid") is not None


@pytest.mark.parametrize(
    "document",
    [
        {"key": P_384},
        {"key": P_384 | {"alg": "ES384"}},
        {"key": P_256 | {"crv": "secp256k1"}},
        {"key": RSA},
        {"key": P_256 | {"x": "AAAA"}},
        {"key": P_256 | {"expired_at": "soon"}},
        {"key": P_256 | {"expired_at": 10**30}},
        {"key": None},
        {},
        [],
    ],
    ids=str,
)
def test_a_key_that_es256_can_not_use_is_refused(plaid: Plaid, document: object) -> None:
    plaid.answer_key(document)
    with pytest.raises(RetryableError, match="verification_key_malformed"):
        plaid.key_api.fetch("kid")


@pytest.mark.parametrize(
    "fault", [{"drop": "before"}, {"status": 502, "body": "<html>"}, {"error_code": "INTERNAL_SERVER_ERROR"}], ids=str
)
def test_a_key_that_can_not_be_fetched_is_not_called_unknown(plaid: Plaid, fault: dict[str, Any]) -> None:
    plaid.simulator.inject_fault(KEY_CALLS, **fault)
    with pytest.raises(RetryableError):
        plaid.key_api.fetch(plaid.simulator.keys.current.kid)
    assert plaid.key_api.fetch(plaid.simulator.keys.current.kid) is not None
    assert plaid.key_api.fetch("of nobody") is None


def test_while_plaid_can_not_be_asked_a_known_key_costs_few_look_ups(plaid: Plaid) -> None:
    keys, kid, now = VerificationKeys(plaid.key_api), plaid.simulator.keys.current.kid, utc_now()
    known = keys.get(kid, now)
    plaid.simulator.inject_fault(KEY_CALLS, "INTERNAL_SERVER_ERROR", times=1_000)
    for tenth in range(40):
        assert keys.get(kid, now + FRESH + timedelta(seconds=tenth / 10)) is known
    assert plaid.simulator.calls[KEY_CALLS] == 2
    keys.get(kid, now + FRESH + timedelta(seconds=30))
    assert plaid.simulator.calls[KEY_CALLS] == 3


def test_a_key_that_plaid_has_forgotten_does_not_come_back_in_an_outage(plaid: Plaid) -> None:
    keys, kid, now = VerificationKeys(plaid.key_api), plaid.simulator.keys.current.kid, utc_now()
    keys.get(kid, now)
    plaid.simulator.inject_fault(KEY_CALLS, "INVALID_WEBHOOK_VERIFICATION_KEY_ID")
    with pytest.raises(RejectedError, match="unknown_key"):
        keys.get(kid, now + FRESH)
    plaid.simulator.inject_fault(KEY_CALLS, "INTERNAL_SERVER_ERROR")
    with pytest.raises(RetryableError):
        keys.get(kid, now + FRESH + UNKNOWN_FOR)


def test_the_memory_for_keys_known_and_unknown_is_bounded(plaid: Plaid) -> None:
    """Days of a flood within its budget, and more of Plaid's keys than it has ever had."""
    keys, now = VerificationKeys(plaid.key_api), utc_now()
    for number in range(1_020):
        now += timedelta(seconds=7)
        with pytest.raises(RejectedError, match="unknown_key"):
            keys.get(f"invented-{number}", now)
    assert len(keys._unknown) == 1_000  # noqa: SLF001 - memory shows nowhere else
    for _ in range(40):
        now += timedelta(seconds=7)
        keys.get(plaid.simulator.keys.current.kid, now)
        plaid.simulator.rotate_keys(overlap=3_600)
    assert len(keys._known) == 32  # noqa: SLF001


def test_a_call_whose_answer_was_lost_is_not_repeated(plaid: Plaid) -> None:
    plaid.simulator.inject_fault(EXCHANGES, drop="after")
    with pytest.raises(RetryableError, match="plaid_unreachable"):
        plaid.link.exchange(plaid.simulator.create_public_token())
    assert plaid.simulator.calls[EXCHANGES] == 1


@pytest.mark.parametrize(
    "fault",
    [{"drop": "before"}, {"drop": "after"}, {"status": 200, "body": "<"}, {"status": 200, "body": "{}"}],
    ids=str,
)
def test_a_call_that_was_sent_may_have_had_its_effect(plaid: Plaid, fault: dict[str, Any]) -> None:
    plaid.simulator.inject_fault(EXCHANGES, **fault)
    with pytest.raises(UncertainError):
        plaid.link.exchange(plaid.simulator.create_public_token())


def test_a_call_that_found_no_connection_was_never_sent(plaid: Plaid) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        host = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        for address in (host, "http://plaid.invalid"):
            link = PlaidLinkClient(PlaidTransport(address, plaid.transport.secret))
            with pytest.raises(RetryableError) as failed:
                link.exchange("public-sandbox-1")
            assert not isinstance(failed.value, UncertainError)


def test_without_the_secret_no_call_is_sent(plaid: Plaid) -> None:
    plaid.aws.put_secret_value(SecretId="plaid", SecretString="{}")
    plaid.transport.secret.forget()
    with pytest.raises(RetryableError) as failed:
        plaid.link.exchange("public-sandbox-1")
    assert not isinstance(failed.value, UncertainError)


def test_an_item_that_is_gone_is_removed_already(plaid: Plaid) -> None:
    token = plaid.link.exchange(plaid.simulator.create_public_token()).access_token
    plaid.simulator.inject_fault("/item/remove", "INTERNAL_SERVER_ERROR")
    with pytest.raises(PlaidError):
        plaid.items.remove(token)
    for _ in range(2):
        plaid.items.remove(token)
    assert plaid.simulator.calls["/item/remove"] == 3


def test_a_token_of_another_environment_is_not_taken_for_one_of_an_item_that_is_gone(plaid: Plaid) -> None:
    plaid.items.remove("access-sandbox-of-nobody")
    with pytest.raises(PlaidError, match="INVALID_ACCESS_TOKEN"):
        plaid.items.remove("access-production-of-nobody")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ("[]", "body"),
        ('{"item_id": "i"}', "access_token"),
        ('{"item_id": "i", "access_token": ""}', "access_token"),
        ('{"item_id": "i", "access_token": 7}', "access_token"),
    ],
)
def test_an_exchange_without_a_token_is_refused(plaid: Plaid, body: str, field: str) -> None:
    plaid.simulator.inject_fault(EXCHANGES, status=200, body=body)
    with pytest.raises(RetryableError, match=f"plaid_contract_broken_{field}"):
        plaid.link.exchange("public-sandbox-1")


@pytest.mark.parametrize(
    "body",
    [
        '{"access_token": "a"}',
        '{"item_id": null, "access_token": "a"}',
        '{"item_id": "a b", "access_token": "a"}',
        f'{{"item_id": "{"i" * 129}", "access_token": "a"}}',
        r'{"item_id": "\ud800", "access_token": "a"}',
    ],
)
def test_of_an_exchange_without_an_item_id_that_could_be_stored_the_token_is_there_to_undo_it(
    plaid: Plaid, body: str
) -> None:
    plaid.simulator.inject_fault(EXCHANGES, status=200, body=body)
    exchanged = plaid.link.exchange("public-sandbox-1")
    assert (exchanged.item_id, exchanged.access_token) == (None, "a")


NO_CODES = ["", "a b", "item_not_found", "_A", "1A", "A\n", "\u00c9", "\ud800", "A" * 65, 7, None, ["A"], {"A": 1}]


@pytest.mark.parametrize("code", NO_CODES, ids=ascii)
def test_what_is_no_error_code_is_not_taken_for_one_by_either_client(plaid: Plaid, code: object) -> None:
    for path in (EXCHANGES, KEY_CALLS):
        plaid.simulator.inject_fault(path, status=418, body=json.dumps({"error_code": code}))
    with pytest.raises(PlaidError) as refused:
        plaid.link.exchange("public-sandbox-1")
    assert refused.value.code == "HTTP_418"
    with pytest.raises(RetryableError) as failed:
        plaid.key_api.fetch("kid")
    assert failed.value.code == "verification_key_HTTP_418"


@pytest.mark.parametrize("code", ["A", "PRODUCT_2_NOT_READY", "A" * 64])
def test_an_error_code_that_nobody_knows_is_kept_by_both_clients(plaid: Plaid, code: str) -> None:
    for path in (EXCHANGES, KEY_CALLS):
        plaid.simulator.inject_fault(path, status=418, body=json.dumps({"error_code": code}))
    with pytest.raises(PlaidError) as refused:
        plaid.link.exchange("public-sandbox-1")
    assert refused.value.code == code
    with pytest.raises(RetryableError) as failed:
        plaid.key_api.fetch("kid")
    assert failed.value.code == f"verification_key_{code}"


@pytest.mark.parametrize(
    ("request_id", "kept"),
    [
        ("r" * 128, "r" * 128),
        ("r" * 129, ""),
        ("\ud800", ""),
        ("\u00e9", ""),
        ("a\nb", ""),
        (["r"], ""),
        (7, ""),
        (None, ""),
    ],
    ids=ascii,
)
def test_a_request_id_that_no_log_line_can_hold_is_left_out(plaid: Plaid, request_id: object, kept: str) -> None:
    body = json.dumps({"error_code": "ITEM_LOGIN_REQUIRED", "request_id": request_id})
    plaid.simulator.inject_fault(EXCHANGES, status=400, body=body)
    with pytest.raises(PlaidError, match="ITEM_LOGIN_REQUIRED") as refused:
        plaid.link.exchange("public-sandbox-1")
    assert refused.value.request_id == kept


@pytest.mark.parametrize("library", ["boto3.resources", "botocore.endpoint", "plaid.rest", "urllib3.connectionpool"])
def test_no_library_logs_what_it_sends_or_gets_whatever_the_log_level(
    caplog: pytest.LogCaptureFixture, library: str
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger(library).debug("a whole request")
    assert caplog.messages == []
